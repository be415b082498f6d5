//! The change feed beside transactions that run side by side: numbers are given out before a commit,
//! so they become visible out of order, late, or never.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ezdfs_core::{FeedEvent, FeedOp, FeedReader, FeedStart, MetadataStore};
use ezdfs_metadata::{mysql, postgres};
use ezdfs_testkit::metadata_suite::PREFIX;
use ezdfs_testkit::servers::{MariaVariant, PostgresVariant, ServerKind, TestDatabase};
use sqlx::{AssertSqlSafe, ConnectOptions as _, MySqlConnection, PgConnection};
use tokio::time::Instant;

use crate::servers::{install, options};

/// How long anything may take to be told.
const PATIENCE: Duration = Duration::from_secs(30);

async fn database(kind: ServerKind) -> Option<TestDatabase> {
    let database = match kind {
        ServerKind::Mariadb => TestDatabase::mariadb(MariaVariant::default())?,
        ServerKind::Postgres => TestDatabase::postgres(PostgresVariant::default())?,
    };
    install(&database).await;
    Some(database)
}

async fn open(database: &TestDatabase) -> Arc<dyn MetadataStore> {
    let options = options(database, PREFIX);
    match database.kind() {
        ServerKind::Mariadb => mysql::open(options).await,
        ServerKind::Postgres => postgres::open(options).await,
    }
    .unwrap()
}

/// A foreign connection.
enum Foreign {
    Mariadb(MySqlConnection),
    Postgres(PgConnection),
}

impl Foreign {
    async fn connect(database: &TestDatabase) -> Self {
        match database.kind() {
            ServerKind::Mariadb => Self::Mariadb(database.mysql_options().connect().await.unwrap()),
            ServerKind::Postgres => {
                Self::Postgres(database.postgres_options().connect().await.unwrap())
            }
        }
    }

    fn kind(&self) -> ServerKind {
        match self {
            Self::Mariadb(_) => ServerKind::Mariadb,
            Self::Postgres(_) => ServerKind::Postgres,
        }
    }

    async fn try_run(&mut self, statement: impl Into<String>) -> Result<(), sqlx::Error> {
        let statement = sqlx::raw_sql(AssertSqlSafe(statement.into()));
        match self {
            Self::Mariadb(conn) => statement.execute(conn).await.map(drop),
            Self::Postgres(conn) => statement.execute(conn).await.map(drop),
        }
    }

    async fn run(&mut self, statement: impl Into<String>) {
        self.try_run(statement).await.unwrap();
    }

    async fn insert(&mut self, names: impl IntoIterator<Item = String>) {
        self.run(Self::insert_statement(names)).await;
    }

    fn insert_statement(names: impl IntoIterator<Item = String>) -> String {
        let rows: Vec<String> =
            names.into_iter().map(|n| format!("('{n}', '{n}', md5('{n}'), 1, 1)")).collect();
        let rows = rows.join(", ");
        format!("INSERT INTO ezdfsfile (name, name_trunk, name_hash, size, mtime) VALUES {rows}")
    }
}

/// Polls until nothing has come for a while and `is_done`.
async fn follow(
    reader: &mut dyn FeedReader,
    limit: u32,
    is_done: impl Fn(&[FeedEvent]) -> bool,
) -> Vec<FeedEvent> {
    let mut told = Vec::new();
    let begin = Instant::now();
    let mut quiet = Instant::now();
    loop {
        let poll = reader.poll(limit).await.unwrap();
        assert!(!poll.lost, "nothing was trimmed");
        if !poll.events.is_empty() {
            quiet = Instant::now();
        }
        told.extend(poll.events);
        if is_done(&told) && !poll.more && quiet.elapsed() > Duration::from_millis(300) {
            return told;
        }
        assert!(begin.elapsed() < PATIENCE, "{} events after {PATIENCE:?}", told.len());
        if !poll.more {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn names(told: &[FeedEvent]) -> Vec<&str> {
    told.iter().map(|e| &*e.name).collect()
}

async fn numbers_become_visible_out_of_order(kind: ServerKind) {
    let Some(database) = database(kind).await else { return };
    let store = open(&database).await;
    let (mut early, mut never, mut late) = (
        Foreign::connect(&database).await,
        Foreign::connect(&database).await,
        Foreign::connect(&database).await,
    );
    let mut reader = store.feed(FeedStart::Now).await.unwrap();
    early.run("BEGIN").await;
    early.insert(["early".to_owned()]).await;
    never.run("BEGIN").await;
    never.insert(["never".to_owned()]).await;
    late.insert(["late".to_owned()]).await;
    // One that begins while a transaction is under way hears of it as well.
    let mut second = store.feed(FeedStart::Now).await.unwrap();
    assert_eq!(names(&follow(&mut *reader, 10, |t| !t.is_empty()).await), ["late"]);
    never.run("ROLLBACK").await;
    early.run("COMMIT").await;
    late.insert(["later".to_owned()]).await;
    for reader in [&mut reader, &mut second] {
        let told = follow(&mut **reader, 1, |t| t.len() >= 2).await;
        assert_eq!(names(&told), ["early", "later"]);
        assert!(told[0].seq < told[1].seq);
    }
    drop(store);
}

async fn a_long_transaction_is_told_when_it_ends(kind: ServerKind) {
    let Some(database) = database(kind).await else { return };
    let store = open(&database).await;
    let mut long = Foreign::connect(&database).await;
    let mut busy = Foreign::connect(&database).await;
    let mut reader = store.feed(FeedStart::Now).await.unwrap();
    long.run("BEGIN").await;
    long.insert((0..3).map(|n| format!("long{n}"))).await;
    let begin = Instant::now();
    let mut others = 0;
    while begin.elapsed() < Duration::from_secs(3) {
        busy.insert((others..others + 50).map(|n| format!("busy{n}"))).await;
        others += 50;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let told = follow(&mut *reader, 512, |t| t.len() >= others).await;
    assert_eq!(told.len(), others, "what others do is not held up");
    long.insert(["long3".to_owned()]).await;
    long.run("COMMIT").await;
    let told = follow(&mut *reader, 512, |t| t.len() >= 4).await;
    assert_eq!(names(&told), ["long0", "long1", "long2", "long3"]);
    drop(store);
}

const WRITERS: usize = 8;
/// Rows of each writer. Three changes each make more than 100,000 on PostgreSQL. On MariaDB the
/// statements of many rows are in each other's way, and every transaction that is taken back leaves
/// hundreds of holes: that is what is tried here; `mysql_feed` has the 100,000.
fn rows(kind: ServerKind) -> usize {
    match kind {
        ServerKind::Mariadb => 450,
        ServerKind::Postgres => 4_200,
    }
}

/// Rows of one transaction, at most.
const AT_ONCE: usize = 97;

/// Each row is made, changed and deleted, in transactions of different lengths, some of which are
/// taken back and done again.
async fn write(mut conn: Foreign, writer: usize) {
    if matches!(conn, Foreign::Mariadb(_)) {
        // With the locks on gaps of the default the writers wait for each other most of the time.
        conn.run("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await;
    }
    let rows = rows(conn.kind());
    let mut start = 0;
    while start < rows {
        let end = (start + 1 + (start * 7 + writer * 13) % AT_ONCE).min(rows);
        if start % 9 == 8 {
            change_rows(&mut conn, writer, start..end, "ROLLBACK").await;
        }
        change_rows(&mut conn, writer, start..end, "COMMIT").await;
        start = end;
    }
}

/// Statements of many rows are in each other's way now and then, without any trigger as well; then
/// the server has taken the transaction back.
async fn change_rows(conn: &mut Foreign, writer: usize, rows: Range<usize>, end_with: &str) {
    let names = || rows.clone().map(|n| format!("w{writer}/{n}"));
    let list: Vec<String> = names().map(|name| format!("md5('{name}')")).collect();
    let list = list.join(", ");
    let statements = [
        "BEGIN".to_owned(),
        Foreign::insert_statement(names()),
        format!("UPDATE ezdfsfile SET size = 2 WHERE name_hash IN ({list})"),
        format!("DELETE FROM ezdfsfile WHERE name_hash IN ({list})"),
        end_with.to_owned(),
    ];
    'again: loop {
        for statement in &statements {
            match conn.try_run(statement).await {
                Ok(()) => {}
                Err(sqlx::Error::Database(e)) if e.code().as_deref() == Some("40001") => {
                    continue 'again;
                }
                Err(e) => panic!("{e}"),
            }
            if rows.start.is_multiple_of(5) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        return;
    }
}

async fn eight_writers(kind: ServerKind) {
    let Some(database) = database(kind).await else { return };
    let store = open(&database).await;
    let mut readers = Vec::new();
    let is_over = Arc::new(AtomicBool::new(false));
    for limit in [37, 4_096] {
        let mut reader = store.feed(FeedStart::Now).await.unwrap();
        let is_over = Arc::clone(&is_over);
        readers.push(tokio::spawn(async move {
            let mut told: Vec<FeedEvent> = Vec::new();
            let mut empty = 0;
            while empty < 30 {
                let poll = reader.poll(limit).await.unwrap();
                assert!(!poll.lost);
                let ended = is_over.load(Ordering::SeqCst) && poll.events.is_empty();
                empty = if ended { empty + 1 } else { 0 };
                told.extend(poll.events);
                if !poll.more {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            told
        }));
    }
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write(Foreign::connect(&database).await, writer));
    }
    writers.join_all().await;
    is_over.store(true, Ordering::SeqCst);

    // What is in the log now was committed; nobody trims it here.
    let mut log = store.feed(FeedStart::After(0)).await.unwrap();
    let all = follow(&mut *log, 5_000, |t| t.len() >= WRITERS * rows(kind) * 3).await;
    let numbers: BTreeMap<u64, &FeedEvent> = all.iter().map(|e| (e.seq, e)).collect();
    assert_eq!(numbers.len(), all.len(), "doubles in the log itself");
    assert_eq!(all.len(), WRITERS * rows(kind) * 3);
    for reader in readers {
        let told = reader.await.unwrap();
        let seen: BTreeMap<u64, &FeedEvent> = told.iter().map(|e| (e.seq, e)).collect();
        assert_eq!(seen.len(), told.len(), "an event was told twice");
        assert_eq!(seen.len(), numbers.len(), "an event was lost");
        assert_eq!(seen, numbers);
        let mut last: BTreeMap<&str, &FeedEvent> = BTreeMap::new();
        for event in &told {
            if let Some(before) = last.insert(&event.name, event) {
                assert!(before.seq < event.seq, "{before:?} before {event:?}");
                assert_ne!(before.op, event.op);
            } else {
                assert_eq!(event.op, FeedOp::Insert);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_on_mariadb() {
    eight_writers(ServerKind::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_on_postgres() {
    eight_writers(ServerKind::Postgres).await;
}

/// `mysql_feed` has the same for MariaDB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_become_visible_out_of_order_on_postgres() {
    numbers_become_visible_out_of_order(ServerKind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_transaction_is_told_when_it_ends_on_postgres() {
    a_long_transaction_is_told_when_it_ends(ServerKind::Postgres).await;
}
