//! `ezdfs schema` on PostgreSQL.

use std::process::Command;
use std::time::Duration;

use ezdfs_core::ErrorKind;
use ezdfs_metadata::postgres::{self, check, ddl, install, uninstall};
use ezdfs_metadata::server::{
    FeedChoice, FeedKind, Findings, InstallStep, Installed, Password, ServerOptions,
};
use ezdfs_testkit::metadata_suite::{
    PREFIX, START_SECS, expect_kind, file, list, materialise, name, publish, version,
};
use ezdfs_testkit::servers::{BaseTable, PostgresVariant, TestDatabase};
use ezdfs_testkit::{ForeignWriter as _, PostgresForeignWriter};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, ConnectOptions as _};

use crate::postgres::options;
use crate::server_scans::{expect_list, publish_among_scans};

const TABLE: &str = "ezdfsfile";

fn database() -> Option<TestDatabase> {
    TestDatabase::postgres(PostgresVariant::default())
}

async fn put_in(options: &ServerOptions, feed: FeedChoice) -> Installed {
    install(options, feed, &mut |_| {}).await.unwrap()
}

fn problems(findings: &Findings) -> Vec<String> {
    findings.problems().map(ToString::to_string).collect()
}

/// A role that may log in and nothing else, gone with the value.
struct Role<'d> {
    database: &'d TestDatabase,
    name: String,
}

impl<'d> Role<'d> {
    fn new(database: &'d TestDatabase, what: &str) -> Self {
        let name = format!("{}_{what}", database.database());
        database.run(&format!("CREATE ROLE \"{name}\" LOGIN PASSWORD 'secret'"));
        Self { database, name }
    }

    /// On the base table all that PHP needs.
    fn may_write(self) -> Self {
        let name = &self.name;
        self.database
            .run(&format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {TABLE} TO \"{name}\""));
        self
    }

    fn options(&self) -> ServerOptions {
        ServerOptions {
            user: self.name.clone(),
            password: Some(Password::new("secret")),
            ..options(self.database, PREFIX)
        }
    }

    async fn connect(&self) -> PgConnection {
        let options = self.database.postgres_options();
        options.username(&self.name).password("secret").connect().await.unwrap()
    }
}

impl Drop for Role<'_> {
    fn drop(&mut self) {
        let name = &self.name;
        self.database.run(&format!("DROP OWNED BY \"{name}\" CASCADE; DROP ROLE \"{name}\""));
    }
}

async fn run(conn: &mut PgConnection, text: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(conn).await.map(drop)
}

/// What Ibexa does with a file, each statement alone.
async fn php_writes(conn: &mut PgConnection) {
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
    for (variant, table) in
        [(PostgresVariant::Linguistic, TABLE), (PostgresVariant::C, "ibexa_dfs_file")]
    {
        let Some(database) = TestDatabase::postgres(variant) else { return };
        let options = ServerOptions { table: table.to_owned(), ..options(&database, PREFIX) };
        let found = check(&options).await.unwrap();
        assert!(found.not_installed, "{found:?}");
        let first = put_in(&options, FeedChoice::Auto).await;
        assert_eq!(first.feed, FeedKind::Trigger);
        for made in [table, "ezdfs_node", "ezdfs_meta", "ezdfs_feed"] {
            assert!(first.made.iter().any(|name| name == made), "{made}: {first:?}");
        }
        let found = check(&options).await.unwrap();
        assert_eq!(problems(&found), Vec::<String>::new());
        assert!(!found.not_installed);
        // One note: what a linguistic collation costs.
        assert_eq!(found.notes().count(), usize::from(variant == PostgresVariant::Linguistic));
        let second = put_in(&options, FeedChoice::Auto).await;
        assert_eq!((second.made, second.feed), (Vec::new(), FeedKind::Trigger));
        let store = postgres::open(options).await.unwrap();
        publish(&*store, "a/b", version(1, 1)).await;
        assert_eq!(list(&*store, "a").await, ["b"]);
    }
}

#[tokio::test]
async fn what_is_printed_is_what_is_installed() {
    let Some(database) = database() else { return };
    for round in 0..2 {
        let mut psql = Command::new("psql");
        psql.args(["--no-psqlrc", "--quiet", "-v", "ON_ERROR_STOP=1", "-d"]).arg(database.url());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), ddl(TABLE).unwrap()).unwrap();
        let done = psql.arg("-f").arg(file.path()).output().unwrap();
        assert!(done.status.success(), "{round}: {done:?}");
    }
    let options = options(&database, PREFIX);
    assert_eq!(problems(&check(&options).await.unwrap()), Vec::<String>::new());
    assert!(put_in(&options, FeedChoice::Auto).await.made.is_empty());
    postgres::open(options).await.unwrap();
}

fn fill(database: &TestDatabase, rows: u32) {
    database.create_base_table(BaseTable::Ibexa, TABLE);
    let insert = format!(
        "INSERT INTO {TABLE} (name, name_hash, name_trunk, mtime, size, scope, datatype) \
         SELECT n, md5(n), n, {START_SECS}, 5, 'image', 'image/png' FROM \
         (SELECT '{PREFIX}/d' || i % 7 || '/f' || i FROM generate_series(1, {rows}) i) x (n)"
    );
    database.run(&insert);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_before_get_entries_and_a_killed_run_is_resumed() {
    let Some(database) = database() else { return };
    fill(&database, 5_000);
    let options = options(&database, PREFIX);
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
    tokio::time::sleep(Duration::from_millis(500)).await;
    let sql = PostgresForeignWriter::connect(&database, TABLE).await;
    let nodes = "SELECT count(*) FROM ezdfs_node WHERE kind = 'file'";
    let before = sql.number(nodes).await;
    assert!((1_000..5_000).contains(&before), "{before}");
    let refused = postgres::open(options.clone()).await.unwrap_err();
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
    let store = postgres::open(options.clone()).await.unwrap();
    let figures = store.figures().await.unwrap();
    assert_eq!((figures.files, figures.directories), (5_001, 7));
    assert_eq!(list(&*store, "d1").await.len(), 716);
    assert_eq!(problems(&check(&options).await.unwrap()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_install_at_once() {
    let Some(database) = database() else { return };
    fill(&database, 1_500);
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let options = options(&database, PREFIX);
        running.spawn(async move { put_in(&options, FeedChoice::Auto).await });
    }
    let made = running.join_all().await.iter().filter(|i| !i.made.is_empty()).count();
    assert_eq!(made, 1);
    let store = postgres::open(options(&database, PREFIX)).await.unwrap();
    assert_eq!(store.figures().await.unwrap().files, 1_500);
}

#[tokio::test]
async fn a_second_base_table_is_refused() {
    let Some(database) = database() else { return };
    let first = options(&database, PREFIX);
    put_in(&first, FeedChoice::Auto).await;
    let second = ServerOptions { table: "ibexa_dfs_file".to_owned(), ..first.clone() };
    let refused = install(&second, FeedChoice::Auto, &mut |_| {}).await;
    assert!(
        refused.as_ref().is_err_and(|e| e.to_string().contains("serves the table `ezdfsfile`"))
    );
    expect_kind(refused, ErrorKind::Config);
    expect_kind(uninstall(&second, true).await, ErrorKind::Config);
    let sql = PostgresForeignWriter::connect(&database, TABLE).await;
    let tables = "SELECT count(*) FROM pg_tables WHERE tablename = 'ibexa_dfs_file'";
    assert_eq!(sql.number(tables).await, 0);
    let found = problems(&check(&second).await.unwrap());
    assert!(found.iter().any(|l| l.contains("serves the table")), "{found:?}");
}

#[tokio::test]
async fn php_needs_no_privilege_on_our_tables_and_no_error_of_ours_reaches_it() {
    let Some(database) = database() else { return };
    database.create_base_table(BaseTable::Ibexa, TABLE);
    let options = options(&database, PREFIX);
    put_in(&options, FeedChoice::Auto).await;
    let php = Role::new(&database, "php").may_write();
    let mut conn = php.connect().await;
    let sql = PostgresForeignWriter::connect(&database, TABLE).await;
    php_writes(&mut conn).await;
    assert_eq!(sql.number("SELECT count(*) FROM ezdfs_change WHERE todo").await, 5);
    assert!(run(&mut conn, "SELECT 1 FROM ezdfs_change").await.is_err());

    // A function of PHP's own role in place of an operator does not run as ours.
    run(
        &mut conn,
        "CREATE FUNCTION pg_temp.spy(text, text) RETURNS boolean LANGUAGE plpgsql AS \
         'BEGIN RAISE EXCEPTION ''spied as %'', current_user; END'; \
         CREATE OPERATOR pg_temp.= (FUNCTION = pg_temp.spy, LEFTARG = text, RIGHTARG = text)",
    )
    .await
    .unwrap();
    run(&mut conn, "SET search_path = pg_temp, pg_catalog, public").await.unwrap();
    sql.run("DELETE FROM ezdfs_change").await;
    run(&mut conn, "INSERT INTO ezdfsfile (name, name_trunk, name_hash) VALUES ('s', 's', 's')")
        .await
        .unwrap();
    assert_eq!(sql.number("SELECT count(*) FROM ezdfs_change").await, 1);
    run(&mut conn, "RESET search_path").await.unwrap();

    for fault in [
        "ALTER TABLE ezdfs_change ADD CONSTRAINT broken CHECK (seq < 0) NOT VALID",
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
    assert_eq!(sql.number("SELECT count(*) FROM ezdfs_change WHERE todo").await, 5);
}

/// A user that may not make triggers: fed by scans, and by a trigger as soon as it may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_privilege_changes_are_found_by_scans() {
    let Some(database) = database() else { return };
    database.create_base_table(BaseTable::Ibexa, TABLE);
    let sql = PostgresForeignWriter::connect(&database, TABLE).await;
    sql.store(&name("d/before"), 1, START_SECS, "a/b").await;
    let role = Role::new(&database, "us").may_write();
    database.run(&format!("GRANT CREATE ON SCHEMA public TO \"{}\"", role.name));
    let options = ServerOptions { scan_pause: Duration::ZERO, ..role.options() };
    let refused = install(&options, FeedChoice::Trigger, &mut |_| {}).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    assert!(refused.to_string().contains("GRANT TRIGGER ON"), "{refused}");
    let installed = put_in(&options, FeedChoice::Auto).await;
    assert_eq!(installed.feed, FeedKind::Scan);
    assert!(installed.warnings[0].contains("GRANT TRIGGER ON"), "{installed:?}");
    assert!(installed.warnings[0].contains("show late"), "{installed:?}");
    let found = problems(&check(&options).await.unwrap());
    assert!(found.iter().any(|l| l.contains("degraded")), "{found:?}");

    let store = postgres::open(options.clone()).await.unwrap();
    expect_list(&*store, "d", &["before"]).await;
    sql.store(&name("d/php"), 2, START_SECS, "a/b").await;
    publish(&*store, "d/own", version(3, 1)).await;
    expect_list(&*store, "d", &["before", "own", "php"]).await;
    sql.delete(&name("d/before")).await;
    sql.store(&name("d/php"), 3, START_SECS, "a/b").await;
    expect_list(&*store, "d", &["own", "php"]).await;
    assert_eq!(file(&*store, "d/php").await.size, 3);
    assert!(file(&*store, "d/own").await.token.is_some(), "no scan voids what is ours");
    // Each of the four is found once. On a slow machine the last walk may not be over yet.
    let told = "SELECT count(*) FROM ezdfs_change";
    for _ in 0..60 {
        if sql.number(told).await >= 4 {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        list(&*store, "d").await;
    }
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        list(&*store, "d").await;
        assert_eq!(sql.number(told).await, 4);
    }
    let entries = "SELECT count(*) FROM ezdfs_node WHERE kind = 'file'";
    assert_eq!(sql.number(entries).await, 2);
    let idle = "SELECT count(*) FROM ezdfs_meta WHERE key = 'scan' AND value LIKE 'idle:%'";
    assert_eq!(sql.number(idle).await, 1);

    sql.store(&name("d/last"), 1, START_SECS, "a/b").await;
    database.run(&format!("GRANT TRIGGER ON {TABLE} TO \"{}\"", role.name));
    let installed = put_in(&options, FeedChoice::Auto).await;
    assert_eq!(
        (installed.feed, installed.made),
        (FeedKind::Trigger, vec!["ezdfs_feed".to_owned()])
    );
    assert_eq!(problems(&check(&options).await.unwrap()), Vec::<String>::new());
    let store = postgres::open(options.clone()).await.unwrap();
    expect_list(&*store, "d", &["last", "own", "php"]).await;
    // And back, as asked for.
    let installed = put_in(&options, FeedChoice::Scan).await;
    assert_eq!(installed.feed, FeedKind::Scan);
    let store = postgres::open(options.clone()).await.unwrap();
    sql.delete(&name("d/last")).await;
    expect_list(&*store, "d", &["own", "php"]).await;
    drop(store);
    let dropped = uninstall(&options, true).await.unwrap();
    assert_eq!(dropped.len(), 6, "{dropped:?}");
}

/// A trigger that was lost: the scan of a healthy server finds what it did not tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_trigger_comes_back_and_nothing_is_missed() {
    let Some(database) = database() else { return };
    let options = options(&database, PREFIX);
    put_in(&options, FeedChoice::Auto).await;
    let store = postgres::open(options.clone()).await.unwrap();
    publish(&*store, "l/ours", version(3, 1)).await;
    let sql = PostgresForeignWriter::connect(&database, TABLE).await;
    sql.run("DROP TRIGGER ezdfs_feed ON ezdfsfile").await;
    sql.store(&name("l/untold"), 1, START_SECS, "a/b").await;
    assert_eq!(list(&*store, "l").await, ["ours"]);
    let mut steps = Vec::new();
    install(&options, FeedChoice::Auto, &mut |step| steps.push(step)).await.unwrap();
    assert_eq!(steps, [InstallStep::Made(vec!["ezdfs_feed".to_owned()]), InstallStep::Scan]);
    assert_eq!(list(&*store, "l").await, ["ours", "untold"]);
    assert!(file(&*store, "l/ours").await.token.is_some());

    // Without anybody's help, once an hour.
    sql.run("ALTER TABLE ezdfsfile DISABLE TRIGGER ezdfs_feed").await;
    sql.store(&name("l/later"), 1, START_SECS, "a/b").await;
    sql.delete(&name("l/untold")).await;
    sql.run("UPDATE ezdfs_meta SET value = 'idle:0:' WHERE key = 'scan'").await;
    let store = postgres::open(options.clone()).await.unwrap();
    for _ in 0..100 {
        store.materialise(100).await.unwrap();
        if list(&*store, "l").await == ["later", "ours"] {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{:?}", list(&*store, "l").await);
}

/// Making the trigger waits for transactions on the table; PHP does not wait behind it for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn php_goes_on_while_an_installation_waits() {
    let Some(database) = database() else { return };
    database.create_base_table(BaseTable::Ibexa, TABLE);
    let mut long = database.postgres_options().connect().await.unwrap();
    run(&mut long, "BEGIN; INSERT INTO ezdfsfile (name, name_trunk) VALUES ('l', 'l')")
        .await
        .unwrap();
    let options = options(&database, PREFIX);
    let (told, mut steps) = tokio::sync::mpsc::unbounded_channel();
    let running = tokio::spawn(async move {
        install(&options, FeedChoice::Auto, &mut |step| drop(told.send(step))).await
    });
    let sql = PostgresForeignWriter::connect(&database, TABLE).await;
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
        ("DROP TRIGGER ezdfs_feed ON ezdfsfile", "trigger ezdfs_feed is missing"),
        ("ALTER TABLE ezdfsfile DISABLE TRIGGER ezdfs_feed", "ezdfs_feed is disabled"),
        ("ALTER FUNCTION ezdfs_feed() SECURITY INVOKER", "not SECURITY DEFINER"),
        ("ALTER FUNCTION ezdfs_feed() RESET ALL", "does not set its search_path"),
        (
            "CREATE OR REPLACE FUNCTION ezdfs_feed() RETURNS trigger LANGUAGE plpgsql SECURITY \
             DEFINER SET search_path = pg_catalog, pg_temp AS 'BEGIN RETURN NULL; END'",
            "is not as this version makes it",
        ),
        (
            "CREATE OR REPLACE FUNCTION ezdfs_feed() RETURNS trigger LANGUAGE plpgsql SECURITY \
             DEFINER SET search_path = pg_catalog, pg_temp AS 'BEGIN RETURN NULL; END'",
            "was not told by the trigger",
        ),
        ("ALTER FUNCTION ezdfs_feed() OWNER TO {role}", "lacks INSERT on ezdfs_change"),
        ("DROP TABLE ezdfs_lease", "table ezdfs_lease is missing"),
        ("ALTER TABLE ezdfs_node DROP COLUMN pin", "ezdfs_node has no column pin"),
        (
            "ALTER TABLE ezdfs_node ALTER size TYPE numeric",
            "ezdfs_node.size is numeric, not bigint",
        ),
        (
            "ALTER TABLE ezdfs_node ALTER basename TYPE text COLLATE \"default\"",
            "ezdfs_node.basename has the collation",
        ),
        ("ALTER TABLE ezdfs_node ALTER kind DROP NOT NULL", "ezdfs_node.kind takes NULL"),
        (
            "ALTER TABLE ezdfs_pending DROP CONSTRAINT ezdfs_pending_hold_key",
            "ezdfs_pending has no unique key on (hold)",
        ),
        ("DROP INDEX ezdfs_pending_lease", "no index on (prefix,state,lease_end)"),
        ("UPDATE ezdfs_meta SET value = '2' WHERE key = 'schema_version'", "schema version 2"),
        ("DELETE FROM ezdfs_meta WHERE key = 'schema_version'", "installation was interrupted"),
        ("INSERT INTO ezdfs_meta VALUES ('backfill', '')", "wait for their entries"),
        ("UPDATE ezdfs_meta SET value = 'x' WHERE key = 'base_table'", "serves the table `x`"),
        ("UPDATE ezdfs_meta SET value = 'scan' WHERE key = 'feed'", "(degraded)"),
        ("ALTER TABLE ezdfsfile DROP CONSTRAINT ezdfsfile_pkey", "no primary key on name_hash"),
        ("ALTER TABLE ezdfsfile DROP COLUMN scope", "no column scope"),
        (
            "ALTER TABLE ezdfsfile ALTER name_hash TYPE varchar(34) COLLATE \"C\"",
            "name_hash has the collation \"C\"",
        ),
        ("DROP INDEX ezdfsfile_name", "no index on name"),
        ("DROP TABLE ezdfsfile CASCADE", "table ezdfsfile is missing"),
        (
            "ALTER TABLE ezdfsfile ADD CONSTRAINT c CHECK (false) NOT VALID",
            "an INSERT into \"ezdfsfile\" fails",
        ),
    ];
    let Some(first) = database() else { return };
    let options = |database: &TestDatabase| options(database, PREFIX);
    put_in(&options(&first), FeedChoice::Auto).await;
    drop(first);
    for (fault, expected) in faults {
        let Some(database) = database() else { return };
        put_in(&options(&database), FeedChoice::Auto).await;
        let role = Role::new(&database, "r");
        database.run(&fault.replace("{role}", &format!("\"{}\"", role.name)));
        let found = check(&options(&database)).await.unwrap();
        let all: Vec<String> = found.all.iter().map(ToString::to_string).collect();
        assert!(all.iter().any(|line| line.contains(expected)), "{fault}: {all:?}");
    }
}

#[tokio::test]
async fn each_missing_privilege_is_named() {
    let Some(database) = database() else { return };
    let role = Role::new(&database, "us");
    let role_name = role.name.clone();
    let before = problems(&check(&role.options()).await.unwrap());
    assert!(before.iter().any(|l| l.contains("may not make tables")), "{before:?}");
    let refused = install(&role.options(), FeedChoice::Auto, &mut |_| {}).await.unwrap_err();
    assert!(refused.to_string().contains("GRANT CREATE ON SCHEMA public"), "{refused}");
    put_in(&options(&database, PREFIX), FeedChoice::Auto).await;
    let found = problems(&check(&role.options()).await.unwrap());
    for table in ["\"ezdfsfile\"", "ezdfs_node", "ezdfs_pending", "ezdfs_change", "ezdfs_meta"] {
        let expected = format!("lacks SELECT, INSERT, UPDATE, DELETE on {table}");
        assert!(found.iter().any(|l| l.contains(&expected)), "{expected}: {found:?}");
    }
    database.run(&format!(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ezdfsfile, ezdfs_node, ezdfs_pending, ezdfs_lease, \
         ezdfs_change, ezdfs_xattr, ezdfs_meta TO \"{role_name}\""
    ));
    assert_eq!(problems(&check(&role.options()).await.unwrap()), Vec::<String>::new());
    // These are enough.
    let store = postgres::open(role.options()).await.unwrap();
    publish(&*store, "a/b", version(1, 1)).await;
    store.materialise(10).await.unwrap();
    assert_eq!(list(&*store, "a").await, ["b"]);
    database.run(&format!("REVOKE DELETE ON ezdfs_pending FROM \"{role_name}\""));
    let found = problems(&check(&role.options()).await.unwrap());
    assert!(found[0].contains("lacks DELETE on ezdfs_pending"), "{found:?}");
}

#[tokio::test]
async fn uninstalling_leaves_the_base_table_and_its_rows() {
    let Some(database) = database() else { return };
    fill(&database, 10);
    let options = options(&database, PREFIX);
    put_in(&options, FeedChoice::Auto).await;
    database.run(
        "INSERT INTO ezdfs_pending (kind, prefix, path, path_hash, subtree, token, owner, state, \
         lease_end) VALUES ('reap', '', 'a', 'h', false, 't', 'o', 'queued', 0)",
    );
    expect_kind(uninstall(&options, false).await, ErrorKind::Busy);
    assert_eq!(problems(&check(&options).await.unwrap()), Vec::<String>::new());
    let dropped = uninstall(&options, true).await.unwrap();
    assert_eq!(dropped[0], "ezdfs_feed");
    assert_eq!(dropped.len(), 7);
    let sql = PostgresForeignWriter::connect(&database, TABLE).await;
    assert_eq!(sql.number("SELECT count(*) FROM ezdfsfile").await, 10);
    let left = "SELECT count(*) FROM pg_class WHERE relname LIKE 'ezdfs\\_%'";
    assert_eq!(sql.number(left).await, 0);
    assert_eq!(uninstall(&options, false).await.unwrap(), Vec::<String>::new());
    assert!(check(&options).await.unwrap().not_installed);
    assert_eq!(put_in(&options, FeedChoice::Auto).await.backfilled, 10);
}

/// What a scan found is out of date when it is told: it voids nothing that one of us wrote.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scans_and_publishers_side_by_side() {
    let Some(database) = database() else { return };
    let options = ServerOptions { scan_pause: Duration::ZERO, ..options(&database, PREFIX) };
    put_in(&options, FeedChoice::Scan).await;
    let store = postgres::open(options.clone()).await.unwrap();
    let neighbour = postgres::open(options).await.unwrap();
    let sql = PostgresForeignWriter::connect(&database, TABLE).await;
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
