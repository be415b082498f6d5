//! `ezdfs schema` on MariaDB and MySQL.

use std::fs::File;
use std::process::Command;
use std::time::Duration;

use ezdfs_core::ErrorKind;
use ezdfs_metadata::mysql::{self, check, ddl, install, uninstall};
use ezdfs_metadata::server::{
    FeedChoice, FeedKind, Findings, InstallStep, Installed, Password, ServerOptions,
};
use ezdfs_testkit::metadata_suite::{
    PREFIX, START_SECS, expect_kind, file, list, materialise, name, publish, version,
};
use ezdfs_testkit::servers::{BaseTable, MariaVariant, TestDatabase};
use ezdfs_testkit::skip::skipped;
use ezdfs_testkit::{ForeignWriter as _, MariadbForeignWriter};
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, ConnectOptions as _};

use crate::server_scans::{expect_list, publish_among_scans};

const TABLE: &str = "ezdfsfile";
const FEED: [&str; 3] = ["ezdfs_feed_insert", "ezdfs_feed_update", "ezdfs_feed_delete"];

fn database() -> Option<TestDatabase> {
    TestDatabase::mariadb(MariaVariant::default())
}

fn options(database: &TestDatabase) -> ServerOptions {
    crate::mysql::options(database, TABLE, PREFIX)
}

async fn put_in(options: &ServerOptions, feed: FeedChoice) -> Installed {
    install(options, feed, &mut |_| {}).await.unwrap()
}

fn problems(findings: &Findings) -> Vec<String> {
    findings.problems().map(ToString::to_string).collect()
}

/// A user without any privilege, gone with the value.
struct User<'d> {
    database: &'d TestDatabase,
    name: String,
}

impl<'d> User<'d> {
    fn new(database: &'d TestDatabase, what: &str) -> Self {
        let name = database.database().replace("ezdfs_test_", &format!("{what}_"));
        database.run(&format!("CREATE USER '{name}'@'%' IDENTIFIED BY 'secret'"));
        Self { database, name }
    }

    fn may(&self, privileges: &str, table: &str) {
        let database = self.database.database();
        self.database
            .run(&format!("GRANT {privileges} ON `{database}`.{table} TO '{}'@'%'", self.name));
    }

    /// A binary log would be a second reason against triggers.
    fn trusted(self) -> Self {
        self.database.run(&format!("GRANT SUPER ON *.* TO '{}'@'%'", self.name));
        self
    }

    fn options(&self) -> ServerOptions {
        ServerOptions {
            user: self.name.clone(),
            password: Some(Password::new("secret")),
            ..options(self.database)
        }
    }

    async fn connect(&self) -> MySqlConnection {
        let options = self.database.mysql_options();
        options.username(&self.name).password("secret").connect().await.unwrap()
    }
}

impl Drop for User<'_> {
    fn drop(&mut self) {
        self.database.run(&format!("DROP USER IF EXISTS '{}'@'%'", self.name));
    }
}

async fn run(conn: &mut MySqlConnection, text: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(conn).await.map(drop)
}

/// What Ibexa does with a file, each statement alone.
async fn php_writes(conn: &mut MySqlConnection) {
    for statement in [
        "INSERT INTO ezdfsfile (name, name_hash, name_trunk, mtime, size, scope, datatype) \
         VALUES ('p', md5('p'), 'p', 1, 1, 'image', 'a/b')",
        "UPDATE ezdfsfile SET mtime = 2, size = 2 WHERE name_hash = md5('p')",
        "UPDATE ezdfsfile SET name = 'q', name_hash = md5('q') WHERE name_hash = md5('p')",
        "DELETE FROM ezdfsfile WHERE name_hash = md5('q')",
    ] {
        run(conn, statement).await.unwrap_or_else(|e| panic!("{statement}: {e}"));
    }
}

#[tokio::test]
async fn a_second_installation_finds_all_there() {
    for (variant, base, table) in [
        (MariaVariant::GeneralCi, None, TABLE),
        (MariaVariant::Unicode520Ci, Some(BaseTable::Ibexa), "ibexa_dfs_file"),
        (MariaVariant::Bin, Some(BaseTable::IbexaGeneralCi), TABLE),
        (MariaVariant::Utf8mb3, Some(BaseTable::Legacy), TABLE),
        (MariaVariant::Latin1, Some(BaseTable::Legacy), "ibexa_dfs_file"),
        (MariaVariant::Latin1, None, TABLE),
    ] {
        let Some(database) = TestDatabase::mariadb(variant) else { return };
        let options = crate::mysql::options(&database, table, PREFIX);
        if let Some(base) = base {
            database.create_base_table(base, table);
        }
        assert!(check(&options).await.unwrap().not_installed);
        let first = put_in(&options, FeedChoice::Auto).await;
        assert_eq!(first.feed, FeedKind::Trigger);
        assert_eq!(first.made.iter().any(|name| name == table), base.is_none());
        for made in ["ezdfs_node", "ezdfs_meta"].iter().chain(&FEED) {
            assert!(first.made.iter().any(|name| name == made), "{made}: {first:?}");
        }
        let found = check(&options).await.unwrap();
        assert_eq!(problems(&found), Vec::<String>::new(), "{variant:?} {base:?}");
        assert!(!found.not_installed);
        let notes: Vec<String> = found.notes().map(ToString::to_string).collect();
        if base == Some(BaseTable::Legacy) {
            assert!(notes[0].contains("4-byte characters"), "{notes:?}");
        } else {
            assert_eq!(notes, Vec::<String>::new());
        }
        let second = put_in(&options, FeedChoice::Auto).await;
        assert_eq!((second.made, second.feed), (Vec::new(), FeedKind::Trigger));
        let store = mysql::open(options).await.unwrap();
        publish(&*store, "a/b", version(1, 1)).await;
        let sql = MariadbForeignWriter::connect(&database, table).await;
        sql.store(&name("a/c"), 1, START_SECS, "a/b").await;
        assert_eq!(list(&*store, "a").await, ["b", "c"]);
    }
}

#[tokio::test]
async fn what_is_printed_is_what_is_installed() {
    let Some(database) = database() else { return };
    for round in 0..2 {
        let script = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(script.path(), ddl(TABLE).unwrap()).unwrap();
        let done = Command::new("mariadb")
            .args(["--no-defaults", "--protocol=tcp", "--host", database.host()])
            .args(["--port", &database.port().to_string(), "--user", database.user()])
            .arg(database.database())
            .env("MYSQL_PWD", database.password())
            .stdin(File::open(script.path()).unwrap())
            .output()
            .unwrap();
        assert!(done.status.success(), "{round}: {done:?}");
    }
    let options = options(&database);
    assert_eq!(problems(&check(&options).await.unwrap()), Vec::<String>::new());
    let installed = put_in(&options, FeedChoice::Auto).await;
    assert_eq!((installed.made, installed.feed), (Vec::new(), FeedKind::Trigger));
    mysql::open(options).await.unwrap();
}

fn fill(database: &TestDatabase, rows: u32) {
    database.create_base_table(BaseTable::Ibexa, TABLE);
    database.run(&format!(
        "INSERT INTO {TABLE} (name, name_hash, name_trunk, mtime, size, scope, datatype) \
         SELECT n, md5(n), n, {START_SECS}, 5, 'image', 'image/png' FROM \
         (SELECT CONCAT('{PREFIX}/d', seq % 7, '/f', seq) AS n FROM seq_1_to_{rows}) x"
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_before_get_entries_and_a_killed_run_is_resumed() {
    let Some(database) = database() else { return };
    fill(&database, 5_000);
    let options = options(&database);
    let (told, mut steps) = tokio::sync::mpsc::unbounded_channel();
    let job = options.clone();
    let running = tokio::spawn(async move {
        install(&job, FeedChoice::Auto, &mut |step| drop(told.send(step))).await
    });
    loop {
        match steps.recv().await.unwrap() {
            InstallStep::Backfill { done, .. } if done >= 1_000 => break,
            _ => {}
        }
    }
    running.abort();
    drop(running.await);
    // The transaction that is under way ends.
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    let sql = MariadbForeignWriter::connect(&database, TABLE).await;
    let before = sql.number("SELECT count(*) FROM ezdfs_node WHERE kind = 'file'").await;
    assert!((1_000..5_000).contains(&before), "{before}");
    let refused = mysql::open(options.clone()).await.unwrap_err();
    assert!(refused.to_string().contains("goes on where it stopped"), "{refused}");
    let found = problems(&check(&options).await.unwrap());
    assert!(found.iter().any(|l| l.contains("wait for their entries")), "{found:?}");

    // Meanwhile PHP goes on.
    sql.store(&name("d1/new"), 1, START_SECS, "a/b").await;
    let mut last = (0, 0);
    let installed = install(&options, FeedChoice::Auto, &mut |step| {
        if let InstallStep::Backfill { done, total } = step {
            assert!(done <= total && done >= last.0, "{done} of {total} after {last:?}");
            last = (done, total);
        }
    })
    .await
    .unwrap();
    assert!(installed.backfilled < 4_500, "{installed:?}");
    assert!(last.0 > 4_000 && last.1 < 20_000, "{last:?}");
    let store = mysql::open(options.clone()).await.unwrap();
    let figures = store.figures().await.unwrap();
    assert_eq!((figures.files, figures.directories), (5_001, 7));
    assert_eq!(list(&*store, "d1").await.len(), 716);
    assert_eq!(problems(&check(&options).await.unwrap()), Vec::<String>::new());
}

/// Killed between the statements that make tables.
#[tokio::test]
async fn a_half_made_schema_is_completed() {
    let Some(database) = database() else { return };
    fill(&database, 10);
    let options = options(&database);
    put_in(&options, FeedChoice::Auto).await;
    database.run(
        "DROP TRIGGER ezdfs_feed_delete; DELETE FROM ezdfs_node; DROP TABLE ezdfs_xattr; \
         DELETE FROM ezdfs_meta WHERE `key` <> 'base_table'",
    );
    let refused = mysql::open(options.clone()).await.unwrap_err();
    assert!(refused.to_string().contains("was interrupted"), "{refused}");
    let other = crate::mysql::options(&database, "ibexa_dfs_file", PREFIX);
    expect_kind(install(&other, FeedChoice::Auto, &mut |_| {}).await, ErrorKind::Config);
    let installed = put_in(&options, FeedChoice::Auto).await;
    assert_eq!(installed.made, ["ezdfs_xattr", "ezdfs_feed_delete"]);
    assert_eq!(installed.backfilled, 10);
    assert_eq!(problems(&check(&options).await.unwrap()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_install_at_once() {
    let Some(database) = database() else { return };
    fill(&database, 1_500);
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let options = options(&database);
        running.spawn(async move { put_in(&options, FeedChoice::Auto).await });
    }
    let made = running.join_all().await.iter().filter(|i| !i.made.is_empty()).count();
    assert_eq!(made, 1);
    let store = mysql::open(options(&database)).await.unwrap();
    assert_eq!(store.figures().await.unwrap().files, 1_500);
}

#[tokio::test]
async fn a_second_base_table_is_refused() {
    let Some(database) = database() else { return };
    put_in(&options(&database), FeedChoice::Auto).await;
    let second = crate::mysql::options(&database, "ibexa_dfs_file", PREFIX);
    let refused = install(&second, FeedChoice::Auto, &mut |_| {}).await;
    assert!(
        refused.as_ref().is_err_and(|e| e.to_string().contains("serves the table `ezdfsfile`"))
    );
    expect_kind(refused, ErrorKind::Config);
    expect_kind(uninstall(&second, true).await, ErrorKind::Config);
    let sql = MariadbForeignWriter::connect(&database, TABLE).await;
    let tables = "SELECT count(*) FROM information_schema.tables \
         WHERE table_schema = DATABASE() AND table_name = 'ibexa_dfs_file'";
    assert_eq!(sql.number(tables).await, 0);
    let found = problems(&check(&second).await.unwrap());
    assert!(found.iter().any(|l| l.contains("serves the table")), "{found:?}");
}

#[tokio::test]
async fn php_needs_no_privilege_on_our_tables_and_no_error_of_ours_reaches_it() {
    let Some(database) = database() else { return };
    database.create_base_table(BaseTable::Ibexa, TABLE);
    let options = options(&database);
    put_in(&options, FeedChoice::Auto).await;
    let php = User::new(&database, "php");
    php.may("SELECT, INSERT, UPDATE, DELETE", TABLE);
    let mut conn = php.connect().await;
    let sql = MariadbForeignWriter::connect(&database, TABLE).await;
    php_writes(&mut conn).await;
    assert_eq!(sql.number("SELECT count(*) FROM ezdfs_change WHERE todo = 1").await, 5);
    assert!(run(&mut conn, "SELECT 1 FROM ezdfs_change").await.is_err());
    sql.run("DELETE FROM ezdfs_change").await;
    for fault in [
        "ALTER TABLE ezdfs_change ADD CONSTRAINT broken CHECK (op = 'none')",
        "ALTER TABLE ezdfs_change RENAME COLUMN op TO operation",
        "ALTER TABLE ezdfs_change RENAME TO elsewhere",
        "DROP TABLE elsewhere",
    ] {
        sql.run(fault).await;
        php_writes(&mut conn).await;
        let found = problems(&check(&options).await.unwrap());
        assert!(!found.is_empty(), "{fault}");
    }
    // Installing makes the table again, and the feed goes on.
    put_in(&options, FeedChoice::Auto).await;
    php_writes(&mut conn).await;
    assert_eq!(sql.number("SELECT count(*) FROM ezdfs_change WHERE todo = 1").await, 5);
}

/// A user that may not make triggers: fed by scans, and by triggers as soon as it may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_privilege_changes_are_found_by_scans() {
    let Some(database) = database() else { return };
    database.create_base_table(BaseTable::Ibexa, TABLE);
    let sql = MariadbForeignWriter::connect(&database, TABLE).await;
    sql.store(&name("d/before"), 1, START_SECS, "a/b").await;
    let user = User::new(&database, "us").trusted();
    user.may("SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, INDEX", "*");
    let options = ServerOptions { scan_pause: Duration::ZERO, ..user.options() };
    let refused = install(&options, FeedChoice::Trigger, &mut |_| {}).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    assert!(refused.to_string().contains("GRANT TRIGGER ON"), "{refused}");
    let installed = put_in(&options, FeedChoice::Auto).await;
    assert_eq!(installed.feed, FeedKind::Scan);
    assert!(installed.warnings[0].contains("GRANT TRIGGER ON"), "{installed:?}");
    assert!(installed.warnings[0].contains("show late"), "{installed:?}");
    let found = problems(&check(&options).await.unwrap());
    assert!(found.iter().any(|l| l.contains("degraded")), "{found:?}");
    assert!(found.iter().any(|l| l.contains("lacks TRIGGER on ezdfsfile")), "{found:?}");

    let store = mysql::open(options.clone()).await.unwrap();
    expect_list(&*store, "d", &["before"]).await;
    sql.store(&name("d/php"), 2, START_SECS, "a/b").await;
    publish(&*store, "d/own", version(3, 1)).await;
    expect_list(&*store, "d", &["before", "own", "php"]).await;
    sql.delete(&name("d/before")).await;
    sql.store(&name("d/php"), 3, START_SECS, "a/b").await;
    expect_list(&*store, "d", &["own", "php"]).await;
    assert_eq!(file(&*store, "d/php").await.size, 3);
    assert!(file(&*store, "d/own").await.token.is_some(), "no scan voids what is ours");
    // Nothing is found twice.
    let mut changes = Vec::new();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        list(&*store, "d").await;
        changes.push(sql.number("SELECT count(*) FROM ezdfs_change").await);
    }
    assert_eq!((changes[1], changes[2]), (changes[0], changes[0]));
    let entries = "SELECT count(*) FROM ezdfs_node WHERE kind = 'file'";
    assert_eq!(sql.number(entries).await, 2);

    // Uninstalling needs no privilege on triggers that are not there.
    drop(store);
    assert_eq!(uninstall(&options, true).await.unwrap().len(), 6);
    put_in(&options, FeedChoice::Auto).await;

    sql.store(&name("d/last"), 1, START_SECS, "a/b").await;
    user.may("TRIGGER", TABLE);
    let installed = put_in(&options, FeedChoice::Auto).await;
    assert_eq!((installed.feed, installed.made), (FeedKind::Trigger, FEED.map(Into::into).into()));
    assert_eq!(problems(&check(&options).await.unwrap()), Vec::<String>::new());
    let store = mysql::open(options.clone()).await.unwrap();
    assert_eq!(list(&*store, "d").await, ["last", "own", "php"]);
    // And back, as asked for.
    let installed = put_in(&options, FeedChoice::Scan).await;
    assert_eq!(installed.feed, FeedKind::Scan);
    let store = mysql::open(options.clone()).await.unwrap();
    sql.delete(&name("d/last")).await;
    expect_list(&*store, "d", &["own", "php"]).await;
}

/// An administrator made the triggers; the user that runs ezdfs may not even see them.
#[tokio::test]
async fn triggers_of_an_administrator_are_good_enough() {
    let Some(database) = database() else { return };
    put_in(&options(&database), FeedChoice::Auto).await;
    let user = User::new(&database, "us");
    user.may("SELECT, INSERT, UPDATE, DELETE", TABLE);
    for table in
        ["ezdfs_node", "ezdfs_pending", "ezdfs_lease", "ezdfs_change", "ezdfs_xattr", "ezdfs_meta"]
    {
        let found = problems(&check(&user.options()).await.unwrap());
        let is_named = |l: &String| {
            l.contains("ezdfs is not installed in this database, or the user may not see")
                || l.contains(&format!("table {table} is missing, or the user may not see it"))
        };
        assert!(found.iter().any(is_named), "{found:?}");
        user.may("SELECT, INSERT, UPDATE, DELETE", table);
    }
    assert_eq!(problems(&check(&user.options()).await.unwrap()), Vec::<String>::new());
    let installed = put_in(&user.options(), FeedChoice::Auto).await;
    assert_eq!((installed.feed, installed.made), (FeedKind::Trigger, Vec::new()));
    // These are enough.
    let store = mysql::open(user.options()).await.unwrap();
    publish(&*store, "a/b", version(1, 1)).await;
    store.materialise(10).await.unwrap();
    assert_eq!(list(&*store, "a").await, ["b"]);
    database.run(&format!(
        "REVOKE DELETE ON `{}`.ezdfs_pending FROM '{}'@'%'",
        database.database(),
        user.name
    ));
    let found = problems(&check(&user.options()).await.unwrap());
    assert!(found.iter().any(|l| l.contains("lacks DELETE on ezdfs_pending")), "{found:?}");
}

/// Error 1419: a binary log, and a user without SUPER.
#[tokio::test]
async fn a_binary_log_that_trusts_nobody_is_named() {
    let Some(database) = database() else { return };
    let sql = MariadbForeignWriter::connect(&database, TABLE).await;
    if sql.number("SELECT @@log_bin AND NOT @@log_bin_trust_function_creators").await == 0 {
        skipped("error 1419", "the server writes no binary log, or trusts every user");
        return;
    }
    let user = User::new(&database, "us");
    user.may("ALL PRIVILEGES", "*");
    let before = problems(&check(&user.options()).await.unwrap());
    assert!(before.iter().any(|l| l.contains("error 1419")), "{before:?}");
    let refused = install(&user.options(), FeedChoice::Trigger, &mut |_| {}).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    let installed = put_in(&user.options(), FeedChoice::Auto).await;
    assert_eq!(installed.feed, FeedKind::Scan);
    assert!(installed.warnings[0].contains("log_bin_trust_function_creators"), "{installed:?}");
    let found = problems(&check(&user.options()).await.unwrap());
    assert!(found.iter().any(|l| l.contains("error 1419")), "{found:?}");
    // An administrator's run is enough, and the user's next one leaves it so.
    assert_eq!(put_in(&options(&database), FeedChoice::Auto).await.feed, FeedKind::Trigger);
    assert_eq!(put_in(&user.options(), FeedChoice::Auto).await.feed, FeedKind::Trigger);
    assert_eq!(problems(&check(&user.options()).await.unwrap()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_triggers_come_back_and_nothing_is_missed() {
    let Some(database) = database() else { return };
    let options = options(&database);
    put_in(&options, FeedChoice::Auto).await;
    let store = mysql::open(options.clone()).await.unwrap();
    publish(&*store, "l/ours", version(3, 1)).await;
    let sql = MariadbForeignWriter::connect(&database, TABLE).await;
    sql.run("DROP TRIGGER ezdfs_feed_insert").await;
    sql.store(&name("l/untold"), 1, START_SECS, "a/b").await;
    assert_eq!(list(&*store, "l").await, ["ours"]);
    let mut steps = Vec::new();
    install(&options, FeedChoice::Auto, &mut |step| steps.push(step)).await.unwrap();
    assert_eq!(steps, [InstallStep::Made(vec![FEED[0].to_owned()]), InstallStep::Scan]);
    assert_eq!(list(&*store, "l").await, ["ours", "untold"]);
    assert!(file(&*store, "l/ours").await.token.is_some());

    // Without anybody's help, once an hour.
    sql.run("DROP TRIGGER ezdfs_feed_insert; DROP TRIGGER ezdfs_feed_delete").await;
    sql.store(&name("l/later"), 1, START_SECS, "a/b").await;
    sql.delete(&name("l/untold")).await;
    sql.run("UPDATE ezdfs_meta SET value = 'idle:0:' WHERE `key` = 'scan'").await;
    let store = mysql::open(options.clone()).await.unwrap();
    for _ in 0..100 {
        store.materialise(100).await.unwrap();
        if list(&*store, "l").await == ["later", "ours"] {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{:?}", list(&*store, "l").await);
}

/// Making a trigger waits for transactions on the table; PHP does not wait behind it for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn php_goes_on_while_an_installation_waits() {
    let Some(database) = database() else { return };
    database.create_base_table(BaseTable::Ibexa, TABLE);
    let mut long = database.mysql_options().connect().await.unwrap();
    run(&mut long, "START TRANSACTION").await.unwrap();
    run(&mut long, "INSERT INTO ezdfsfile (name, name_trunk) VALUES ('l', 'l')").await.unwrap();
    let options = options(&database);
    let (told, mut steps) = tokio::sync::mpsc::unbounded_channel();
    let running = tokio::spawn(async move {
        install(&options, FeedChoice::Auto, &mut |step| drop(told.send(step))).await
    });
    let sql = MariadbForeignWriter::connect(&database, TABLE).await;
    let begin = tokio::time::Instant::now();
    let mut longest = Duration::ZERO;
    let mut n = 0;
    while begin.elapsed() < Duration::from_secs(4) {
        let before = tokio::time::Instant::now();
        sql.store(&name(&format!("w/{n}")), 1, START_SECS, "a/b").await;
        longest = longest.max(before.elapsed());
        n += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(longest < Duration::from_secs(3), "{longest:?}");
    assert!(matches!(steps.recv().await, Some(InstallStep::Waiting { .. })));
    run(&mut long, "ROLLBACK").await.unwrap();
    assert_eq!(running.await.unwrap().unwrap().feed, FeedKind::Trigger);
}

#[tokio::test]
async fn what_is_amiss_is_named() {
    let faults = [
        ("DROP TRIGGER ezdfs_feed_delete", "trigger ezdfs_feed_delete is missing"),
        (
            "DROP TRIGGER ezdfs_feed_update",
            "the update of a row of ezdfsfile on trial was not told",
        ),
        (
            "CREATE OR REPLACE TRIGGER ezdfs_feed_insert AFTER INSERT ON ezdfsfile FOR EACH ROW \
             BEGIN END",
            "trigger ezdfs_feed_insert is not as this version makes it",
        ),
        (
            "CREATE OR REPLACE DEFINER='nobody'@'nowhere' TRIGGER ezdfs_feed_insert BEFORE INSERT \
             ON ezdfsfile FOR EACH ROW BEGIN END",
            "'nobody'@'nowhere', as whom the trigger ezdfs_feed_insert runs, does not exist",
        ),
        (
            "CREATE OR REPLACE DEFINER='nobody'@'nowhere' TRIGGER ezdfs_feed_insert AFTER INSERT \
             ON ezdfsfile FOR EACH ROW BEGIN END",
            "a change of a row of ezdfsfile on trial fails",
        ),
        ("DROP TABLE ezdfs_lease", "table ezdfs_lease is missing"),
        ("ALTER TABLE ezdfs_node DROP COLUMN pin", "ezdfs_node has no column pin"),
        ("ALTER TABLE ezdfs_node MODIFY size INT NOT NULL", "ezdfs_node.size is int(11)"),
        (
            "ALTER TABLE ezdfs_pending MODIFY owner VARCHAR(255) CHARACTER SET utf8mb4 COLLATE \
             utf8mb4_general_ci NOT NULL",
            "ezdfs_pending.owner has the collation utf8mb4_general_ci",
        ),
        (
            "ALTER TABLE ezdfs_node MODIFY kind VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin",
            "ezdfs_node.kind takes NULL",
        ),
        (
            "ALTER TABLE ezdfs_pending DROP INDEX ezdfs_pending_hold",
            "ezdfs_pending has no unique key on (hold)",
        ),
        ("ALTER TABLE ezdfs_change DROP INDEX ezdfs_change_todo", "no index on (todo,seq)"),
        ("ALTER TABLE ezdfs_xattr ENGINE=Aria", "table ezdfs_xattr has the engine Aria"),
        ("UPDATE ezdfs_meta SET value = '2' WHERE `key` = 'schema_version'", "schema version 2"),
        ("DELETE FROM ezdfs_meta WHERE `key` = 'schema_version'", "installation was interrupted"),
        ("DELETE FROM ezdfs_meta WHERE `key` = 'gate'", "the row `gate` of ezdfs_meta is missing"),
        ("INSERT INTO ezdfs_meta VALUES ('backfill', '')", "wait for their entries"),
        ("UPDATE ezdfs_meta SET value = 'x' WHERE `key` = 'base_table'", "serves the table `x`"),
        ("UPDATE ezdfs_meta SET value = 'scan' WHERE `key` = 'feed'", "(degraded)"),
        ("ALTER TABLE ezdfsfile DROP PRIMARY KEY", "no primary key on name_hash"),
        ("ALTER TABLE ezdfsfile DROP COLUMN scope", "no column scope"),
        ("ALTER TABLE ezdfsfile MODIFY name_hash VARCHAR(30) NOT NULL", "name_hash is varchar(30)"),
        ("ALTER TABLE ezdfsfile ENGINE=MyISAM", "table ezdfsfile has the engine MyISAM"),
        ("ALTER TABLE ezdfsfile DROP INDEX ezdfsfile_name", "no index on name"),
        (
            "ALTER TABLE ezdfsfile DROP INDEX ezdfsfile_name, ADD INDEX short (name(20))",
            "index on ezdfsfile.name has 20 characters",
        ),
        (
            "ALTER TABLE ezdfsfile CONVERT TO CHARACTER SET latin1",
            "ezdfsfile.name has the character set latin1",
        ),
        ("DROP TABLE ezdfsfile", "table ezdfsfile is missing"),
        ("DROP TABLE ezdfs_change", "table ezdfs_change is missing"),
    ];
    for (fault, expected) in faults {
        let Some(database) = database() else { return };
        put_in(&options(&database), FeedChoice::Auto).await;
        database.run(fault);
        let found = check(&options(&database)).await.unwrap();
        let all: Vec<String> = found.all.iter().map(ToString::to_string).collect();
        assert!(all.iter().any(|line| line.contains(expected)), "{fault}: {all:?}");
    }
}

/// The user as whom the triggers run loses a privilege, or goes.
#[tokio::test]
async fn trouble_with_the_definer_is_named() {
    let Some(database) = database() else { return };
    let definer = User::new(&database, "def").trusted();
    definer.may("ALL PRIVILEGES", "*");
    put_in(&definer.options(), FeedChoice::Auto).await;
    let options = options(&database);
    assert_eq!(problems(&check(&options).await.unwrap()), Vec::<String>::new());
    let database_name = database.database();
    database.run(&format!("REVOKE INSERT ON `{database_name}`.* FROM '{}'@'%'", definer.name));
    let found = problems(&check(&options).await.unwrap());
    assert!(found.iter().any(|l| l.contains("on trial was not told")), "{found:?}");
    let mut php = database.mysql_options().connect().await.unwrap();
    php_writes(&mut php).await;
    database.run(&format!("DROP USER '{}'@'%'", definer.name));
    let found = problems(&check(&options).await.unwrap());
    assert!(found.iter().any(|l| l.contains("error 1449")), "{found:?}");
    assert!(found.iter().any(|l| l.contains("on trial fails")), "{found:?}");
    // What the finding tells to do.
    for name in FEED {
        database.run(&format!("DROP TRIGGER {name}"));
    }
    put_in(&options, FeedChoice::Auto).await;
    assert_eq!(problems(&check(&options).await.unwrap()), Vec::<String>::new());
}

#[tokio::test]
async fn a_base_table_that_does_not_work_is_refused() {
    for (change, expected) in [
        ("ALTER TABLE ezdfsfile ENGINE=MyISAM", "has the engine MyISAM"),
        ("ALTER TABLE ezdfsfile DROP PRIMARY KEY", "no primary key"),
        ("ALTER TABLE ezdfsfile DROP COLUMN mtime", "no column mtime"),
    ] {
        let Some(database) = database() else { return };
        database.create_base_table(BaseTable::Ibexa, TABLE);
        database.run(change);
        let refused = install(&options(&database), FeedChoice::Auto, &mut |_| {}).await;
        assert!(refused.as_ref().is_err_and(|e| e.to_string().contains(expected)), "{refused:?}");
        expect_kind(refused, ErrorKind::Config);
        assert!(check(&options(&database)).await.unwrap().not_installed);
    }
}

#[tokio::test]
async fn uninstalling_leaves_the_base_table_and_its_rows() {
    let Some(database) = database() else { return };
    fill(&database, 10);
    let options = options(&database);
    put_in(&options, FeedChoice::Auto).await;
    database.run(
        "INSERT INTO ezdfs_pending (kind, prefix, path, path_hash, subtree, token, owner, state, \
         lease_end) VALUES ('reap', '', 'a', 'h', false, 't', 'o', 'queued', 0)",
    );
    expect_kind(uninstall(&options, false).await, ErrorKind::Busy);
    assert_eq!(problems(&check(&options).await.unwrap()), Vec::<String>::new());
    let dropped = uninstall(&options, true).await.unwrap();
    assert_eq!(dropped[..3], FEED);
    assert_eq!(dropped.len(), 9);
    let sql = MariadbForeignWriter::connect(&database, TABLE).await;
    assert_eq!(sql.number("SELECT count(*) FROM ezdfsfile").await, 10);
    let left = "SELECT count(*) FROM information_schema.tables \
         WHERE table_schema = DATABASE() AND table_name LIKE 'ezdfs\\_%'";
    assert_eq!(sql.number(left).await, 0);
    assert_eq!(uninstall(&options, false).await.unwrap(), Vec::<String>::new());
    assert!(check(&options).await.unwrap().not_installed);
    assert_eq!(put_in(&options, FeedChoice::Auto).await.backfilled, 10);
}

/// What a scan found is out of date when it is told: it voids nothing that one of us wrote.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scans_and_publishers_side_by_side() {
    let Some(database) = database() else { return };
    let options = ServerOptions { scan_pause: Duration::ZERO, ..options(&database) };
    put_in(&options, FeedChoice::Scan).await;
    let store = mysql::open(options.clone()).await.unwrap();
    let neighbour = mysql::open(options).await.unwrap();
    let sql = MariadbForeignWriter::connect(&database, TABLE).await;
    publish(&*store, "s/late", version(1, 1)).await;
    let hash = ezdfs_core::Name::from_row(&name("s/late")).hash();
    sql.run(&format!(
        "INSERT INTO ezdfs_change (op, name_hash, name, todo, at) \
         VALUES ('found', '{hash}', '{}', TRUE, 0)",
        name("s/late")
    ))
    .await;
    materialise(&*store).await;
    assert!(file(&*store, "s/late").await.token.is_some());
    publish_among_scans(store, neighbour, &sql).await;
}
