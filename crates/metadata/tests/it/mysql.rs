//! MariaDB and MySQL.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ezdfs_core::{Clock, ErrorKind, Guard, Hold, MetadataStore, NamePrefix, Op, Work};
use ezdfs_metadata::mysql;
use ezdfs_metadata::server::{FeedChoice, Host, Password, ServerOptions, TimeSource, Tls};
use ezdfs_testkit::metadata_suite::{
    self as suite, NEIGHBOUR_PREFIX, PREFIX, Setup, clock, expect_kind,
};
use ezdfs_testkit::servers::{BaseTable, MariaVariant};
use ezdfs_testkit::{ForeignWriter as _, MariadbForeignWriter, TestDatabase};
use tokio::task::JoinSet;

pub(crate) fn options(database: &TestDatabase, table: &str, prefix: &str) -> ServerOptions {
    let host = Host { name: database.host().to_owned(), port: Some(database.port()) };
    ServerOptions {
        password: Some(Password::new(database.password())),
        prefix: NamePrefix::new(prefix),
        origin: "it's me".to_owned(),
        tls: Tls::Off,
        connections: 4,
        table: table.to_owned(),
        ..ServerOptions::new(host, database.user(), database.database())
    }
}

/// Side tables and triggers around a base table; `None` for the one that ezdfs makes.
pub(crate) async fn install(database: &TestDatabase, base: Option<BaseTable>, table: &str) {
    if let Some(base) = base {
        database.create_base_table(base, table);
    }
    let options = options(database, table, PREFIX);
    mysql::install(&options, FeedChoice::Trigger, &mut |_| {}).await.unwrap();
}

pub(crate) async fn open(
    database: &TestDatabase,
    table: &str,
    prefix: &str,
    clock: impl Clock,
) -> Arc<dyn MetadataStore> {
    let time = TimeSource::Clock(Arc::new(clock));
    mysql::open(ServerOptions { time, ..options(database, table, prefix) }).await.unwrap()
}

async fn setup_on(variant: MariaVariant, base: Option<BaseTable>, table: &str) -> Option<Setup> {
    let database = TestDatabase::mariadb(variant)?;
    install(&database, base, table).await;
    let clock = clock();
    Some(Setup {
        store: open(&database, table, PREFIX, clock.clone()).await,
        // As a second process would: connections of its own.
        neighbour: open(&database, table, NEIGHBOUR_PREFIX, clock.clone()).await,
        foreign: Arc::new(MariadbForeignWriter::connect(&database, table).await),
        clock,
        guard: Box::new(database),
    })
}

/// The table of an Ibexa 4.6 that follows the installation guide.
mod unicode_520_ci {
    use super::{MariaVariant, Setup, setup_on};

    async fn setup() -> Option<Setup> {
        setup_on(MariaVariant::Unicode520Ci, None, "ezdfsfile").await
    }

    ezdfs_testkit::metadata_suite!(setup);
}

/// The table of an Ibexa 5.0 on a server as it comes.
mod general_ci {
    use super::{BaseTable, MariaVariant, Setup, setup_on};

    async fn setup() -> Option<Setup> {
        let base = Some(BaseTable::IbexaGeneralCi);
        setup_on(MariaVariant::GeneralCi, base, "ibexa_dfs_file").await
    }

    ezdfs_testkit::metadata_suite!(setup);
}

/// The table of an eZ Publish, in a database whose own character set nobody ever chose.
mod legacy {
    use super::{BaseTable, MariaVariant, Setup, setup_on};

    async fn setup() -> Option<Setup> {
        setup_on(MariaVariant::Latin1, Some(BaseTable::Legacy), "ezdfsfile").await
    }

    ezdfs_testkit::metadata_suite! { @cases setup
        visibility::every_combination_of_marks
        visibility::a_soft_deleted_file_is_revived
        visibility::what_a_publish_stores_is_loaded
        visibility::a_base_row_has_ibexas_columns
        names::twins_are_distinct
        names::another_name_under_the_same_hash
        names::a_name_that_breaks_the_rules_is_reported_by_scans
        names::long_paths
        pages::scans_are_exact
        pages::scans_page
        pages::tombstones_are_listed
        directories::an_unseen_foreign_file_counts
        directories::removing_a_tree_is_exact
        directories::a_tree_with_foreign_files_keeps_their_directories
        foreign::an_insert_is_listed
        foreign::an_overwrite_voids_the_version
        foreign::a_directory_delete_is_followed
        foreign::odd_names_do_not_stop_the_materialiser
        foreign::a_hash_that_is_not_the_names
        feed::every_change_is_told
        queue::expired_files_are_found
        queue::figures_count
    }
}

/// A database of MariaDB with the base table of one.
async fn database(base: Option<BaseTable>) -> Option<TestDatabase> {
    let database = TestDatabase::mariadb(MariaVariant::GeneralCi)?;
    install(&database, base, "ezdfsfile").await;
    Some(database)
}

/// What the table's character set cannot hold is refused by name, and asked for without an error.
#[tokio::test]
async fn a_name_that_the_table_cannot_hold() {
    let Some(database) = database(Some(BaseTable::Legacy)).await else { return };
    let store = open(&database, "ezdfsfile", PREFIX, clock()).await;
    let refused = store.apply(suite::put("😀/a", suite::version(1, 1))).await;
    expect_kind(refused, ErrorKind::InvalidPath);
    assert!(suite::entry(&*store, "😀/a").await.is_none());
    assert!(suite::scan(&*store, "😀").await.is_empty());
    assert!(suite::list(&*store, "😀").await.is_empty());
    suite::publish(&*store, "ok/a", suite::version(1, 1)).await;
    assert_eq!(suite::scan(&*store, "").await, ["ok/a"]);
}

/// An hour that a server's or PHP's time zone knows twice is not taken for another one.
#[tokio::test]
async fn a_session_with_another_time_zone() {
    let Some(database) = database(None).await else { return };
    let foreign = MariadbForeignWriter::connect(&database, "ezdfsfile").await;
    for zone in ["-11:00", "+00:00", "+13:00"] {
        foreign.run(&format!("SET time_zone = '{zone}'")).await;
        foreign.run("DELETE FROM ezdfsfile").await;
        foreign
            .run("INSERT INTO ezdfsfile (name, name_trunk, name_hash) VALUES ('a', 'a', 'a')")
            .await;
        let told =
            "SELECT CAST(MAX(at) - UNIX_TIMESTAMP(SYSDATE()) * 1000 AS SIGNED) FROM ezdfs_change";
        let ahead = foreign.number(told).await;
        assert!(ahead.abs() < 5_000, "{zone}: {ahead} ms");
    }
}

/// Database time, and an outage that says what is wrong without the password.
#[tokio::test]
async fn the_clock_and_the_errors() {
    let Some(database) = database(None).await else { return };
    let options = options(&database, "ezdfsfile", PREFIX);
    let store = mysql::open(options.clone()).await.unwrap();
    let now = store.now().await.unwrap();
    let system = ezdfs_core::SystemClock.now();
    assert!(
        now.since(system).max(system.since(now)) < Duration::from_secs(2),
        "{now:?} {system:?}"
    );

    let wrong = ServerOptions { password: Some(Password::new("s3cret")), ..options.clone() };
    let denied = mysql::open(wrong).await;
    let text = format!("{:?} {}", denied.as_ref().err(), denied.as_ref().err().unwrap());
    assert!(!text.contains("s3cret"), "{text}");
    expect_kind(denied, ErrorKind::PermissionDenied);
    let other = ServerOptions { table: "ibexa_dfs_file".to_owned(), ..options.clone() };
    expect_kind(mysql::open(other).await, ErrorKind::Config);
    database.run("DROP TABLE ezdfsfile");
    expect_kind(mysql::open(options.clone()).await, ErrorKind::Config);
    database.run("DROP TABLE ezdfs_meta");
    expect_kind(mysql::open(options.clone()).await, ErrorKind::Config);
    let nowhere = ServerOptions { database: "ezdfs_nowhere".to_owned(), ..options };
    expect_kind(mysql::open(nowhere).await, ErrorKind::Config);
}

/// Takes a path, stores a version and gives the path back, as a publish does.
async fn publish_held(store: &dyn MetadataStore, at: &str, n: u8) {
    loop {
        let wanted = suite::intent(at, suite::token(n), Work::Repair);
        match store.hold(&[wanted], suite::LEASE).await.unwrap() {
            Hold::Held => break,
            Hold::Busy(_) => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    }
    let change = suite::put(at, suite::version(u64::from(n) + 1, n))
        .guard(Guard::Holds(suite::token(n)))
        .op(Op::EndHold { token: suite::token(n), keep: false });
    store.apply(change).await.unwrap();
}

/// Deadlocks and time-outs are the server's ordinary answer to a crowd, and never the caller's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crowds_do_not_fail() {
    let Some(database) = database(None).await else { return };
    let one = open(&database, "ezdfsfile", PREFIX, clock()).await;
    let other = open(&database, "ezdfsfile", PREFIX, clock()).await;
    let node = |n: u8| Arc::clone(if n.is_multiple_of(2) { &one } else { &other });
    let mut writers = JoinSet::new();
    for n in 0..8_u8 {
        let store = node(n);
        writers.spawn(async move {
            for round in 0..25_u8 {
                publish_held(&*store, &format!("crowd/d/f{n}-{round}"), n * 32 + round).await;
            }
        });
    }
    writers.join_all().await;
    assert_eq!(suite::list(&*one, "crowd/d").await.len(), 8 * 25);

    let mut writers = JoinSet::new();
    for n in 0..50_u8 {
        let store = node(n);
        writers.spawn(async move { publish_held(&*store, "crowd/one", n).await });
    }
    writers.join_all().await;
    let file = suite::file(&*one, "crowd/one").await;
    assert_eq!(
        file.token.map(|t| t == suite::token(u8::try_from(file.size - 1).unwrap())),
        Some(true)
    );
    assert_eq!(one.figures().await.unwrap().held, 0);
    let mut writers = JoinSet::new();
    for n in 0..50_u8 {
        let store = node(n);
        // Without a hold, as a repair does it: each comes with all its rows or not at all.
        writers.spawn(async move {
            store.apply(suite::put("new/deep/one", suite::version(9, n))).await
        });
    }
    assert!(writers.join_all().await.iter().all(Result::is_ok));
}

/// By the index on names, under any collation: what a directory's walk shows is what the bytes say.
/// LIKE would leave out rows under each of these but the last.
#[tokio::test]
async fn a_walk_by_the_index_is_exact_under_any_collation() {
    let odd = [
        "😀",
        "\u{1}",
        "\u{ad}x",
        "e\u{301}",
        "é",
        "\u{fffd}",
        "\u{10400}",
        " ",
        "ch",
        "aa",
        "Å",
        "0",
    ];
    for collation in [
        "utf8mb4_bin",
        "utf8mb4_unicode_ci",
        "utf8mb4_danish_ci",
        "utf8mb4_thai_520_w2",
        "utf8mb4_general_ci",
    ] {
        let Some(database) = database(None).await else { return };
        let convert = "ALTER TABLE ezdfsfile CONVERT TO CHARACTER SET utf8mb4 COLLATE";
        database.run(&format!("{convert} {collation}"));
        let foreign = MariadbForeignWriter::connect(&database, "ezdfsfile").await;
        for base in odd {
            for at in ["d", "D", "d ", "d-", "d0", "ch"] {
                foreign.store(&suite::name(&format!("{at}/{base}")), 1, 1, "a/b").await;
            }
        }
        foreign
            .run(
                "INSERT INTO ezdfsfile (name, name_trunk, name_hash, mtime) \
                 WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 60) \
                 SELECT CONCAT('x/', a.n, '/', b.n), '', MD5(CONCAT('x/', a.n, '/', b.n)), 1 \
                 FROM r a, r b; ANALYZE TABLE ezdfsfile",
            )
            .await;
        let store = open(&database, "ezdfsfile", PREFIX, clock()).await;
        for at in ["d", "D", "d ", "d-", "d0", "ch"] {
            let page = store.scan(&suite::dir(at), None, 1_000).await.unwrap();
            let names: BTreeSet<String> = page
                .rows
                .into_iter()
                .map(|row| row.map_or_else(|bad| bad.name, |(path, _)| suite::name(path.as_str())))
                .collect();
            let wanted = odd.iter().map(|base| suite::name(&format!("{at}/{base}"))).collect();
            assert_eq!(names, wanted, "{collation}: `{at}`");
        }
    }
}
