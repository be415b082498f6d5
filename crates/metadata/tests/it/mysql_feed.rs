//! The change feed of MariaDB and MySQL: numbers that are given out before their transaction
//! commits, and numbers that nobody ever gets.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ezdfs_core::{FeedReader, FeedStart, MetadataStore};
use ezdfs_testkit::metadata_suite::{PREFIX, clock, materialise, publish, version};
use ezdfs_testkit::servers::MariaVariant;
use ezdfs_testkit::{MariadbForeignWriter, TestDatabase};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::mysql::{install, open};

const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    store: Arc<dyn MetadataStore>,
    database: TestDatabase,
}

impl World {
    async fn new() -> Option<Self> {
        let database = TestDatabase::mariadb(MariaVariant::Unicode520Ci)?;
        install(&database, None, "ezdfsfile").await;
        let store = open(&database, "ezdfsfile", PREFIX, clock()).await;
        Some(Self { store, database })
    }

    async fn writer(&self) -> MariadbForeignWriter {
        MariadbForeignWriter::connect(&self.database, "ezdfsfile").await
    }

    async fn reader(&self, start: FeedStart) -> Told {
        Told { reader: self.store.feed(start).await.unwrap(), all: Vec::new() }
    }
}

/// A reader and what it told.
struct Told {
    reader: Box<dyn FeedReader>,
    all: Vec<(u64, String)>,
}

impl Told {
    /// Polls until nothing more waits; says whether something was lost.
    async fn poll(&mut self, limit: u32) -> bool {
        let mut lost = false;
        loop {
            let poll = self.reader.poll(limit).await.unwrap();
            let numbers: Vec<u64> = poll.events.iter().map(|e| e.seq).collect();
            assert!(numbers.is_sorted(), "{numbers:?}");
            assert!(poll.events.len() <= usize::try_from(limit).unwrap());
            lost |= poll.lost;
            self.all.extend(poll.events.into_iter().map(|e| (e.seq, e.name)));
            if !poll.more {
                return lost;
            }
        }
    }

    /// Polls until `names` are told, and says which were; nothing may be lost or told twice.
    async fn wait_for(&mut self, count: usize, limit: u32) -> BTreeSet<String> {
        let begin = Instant::now();
        while self.all.len() < count {
            assert!(begin.elapsed() < PATIENCE, "{} of {count} in {PATIENCE:?}", self.all.len());
            assert!(!self.poll(limit).await, "lost");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        for _ in 0..3 {
            assert!(!self.poll(limit).await, "lost");
        }
        let numbers: BTreeSet<u64> = self.all.iter().map(|(seq, _)| *seq).collect();
        assert_eq!((self.all.len(), numbers.len()), (count, count), "too many, or twice");
        std::mem::take(&mut self.all).into_iter().map(|(_, name)| name).collect()
    }
}

fn insert(name: &str) -> String {
    format!(
        "INSERT INTO ezdfsfile (name, name_trunk, name_hash, mtime) \
         VALUES ('{name}', '{name}', MD5('{name}'), 1)"
    )
}

/// Rows of the log as the trigger writes them, many at once.
fn log(names: impl Iterator<Item = String>) -> String {
    let rows: Vec<String> =
        names.map(|name| format!("('insert', '{name}', UNIX_TIMESTAMP() * 1000)")).collect();
    format!("INSERT INTO ezdfs_change (op, name, at) VALUES {}", rows.join(","))
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

/// The lower number shows later; so does a number in the middle of a transaction.
#[tokio::test]
async fn transactions_that_interleave() {
    let Some(world) = World::new().await else { return };
    let (slow, fast) = (world.writer().await, world.writer().await);
    let mut told = world.reader(FeedStart::Now).await;
    slow.run(&format!("BEGIN; {}", insert("s1"))).await;
    fast.run(&insert("f1")).await;
    slow.run(&insert("s2")).await;
    fast.run(&insert("f2")).await;
    assert_eq!(told.wait_for(2, 1).await, set(&["f1", "f2"]));
    let mut late = world.reader(FeedStart::Now).await;
    slow.run("COMMIT").await;
    assert_eq!(told.wait_for(2, 1).await, set(&["s1", "s2"]));
    assert_eq!(late.wait_for(2, 9).await, set(&["s1", "s2"]), "it was under way at the start");
    fast.run(&insert("f3")).await;
    assert_eq!(told.wait_for(1, 9).await, set(&["f3"]));
}

/// It commits after seconds, and after more rows of others than a poll reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_transaction() {
    const OTHERS: usize = 9_000;
    let Some(world) = World::new().await else { return };
    let (slow, fast) = (world.writer().await, world.writer().await);
    let mut told = world.reader(FeedStart::Now).await;
    let begin = Instant::now();
    slow.run(&format!("BEGIN; {}", insert("slow"))).await;
    for n in 0..OTHERS / 500 {
        fast.run(&log((0..500).map(|row| format!("{n}-{row}")))).await;
    }
    assert_eq!(told.wait_for(OTHERS, 700).await.len(), OTHERS);
    let mut late = world.reader(FeedStart::Now).await;
    tokio::time::sleep(Duration::from_secs(3).saturating_sub(begin.elapsed())).await;
    slow.run("COMMIT").await;
    assert_eq!(told.wait_for(1, 10).await, set(&["slow"]));
    assert_eq!(late.wait_for(1, 10).await, set(&["slow"]), "more than a page above it");
}

/// Numbers that are never used, by rollbacks and by steps of three, in numbers: what is late among
/// them is told all the same.
#[tokio::test]
async fn holes_that_stay() {
    const ROLLBACKS: usize = 300;
    let Some(world) = World::new().await else { return };
    let (slow, fast) = (world.writer().await, world.writer().await);
    let mut told = world.reader(FeedStart::Now).await;
    slow.run(&format!("BEGIN; {}", insert("slow"))).await;
    for n in 0..ROLLBACKS {
        let (gone, row) = (insert("gone"), log([format!("f{n}")].into_iter()));
        fast.run(&format!("BEGIN; {gone}; ROLLBACK; {row}")).await;
    }
    assert_eq!(told.wait_for(ROLLBACKS, 64).await.len(), ROLLBACKS);
    slow.run(&format!("COMMIT; BEGIN; {}", insert("slow too"))).await;
    assert_eq!(told.wait_for(1, 1).await, set(&["slow"]), "among many holes");
    fast.run("SET auto_increment_increment = 3").await;
    fast.run(&log((0..2_000).map(|row| format!("steps {row}")))).await;
    assert_eq!(told.wait_for(2_000, 333).await.len(), 2_000);
    let mut late = world.reader(FeedStart::Now).await;
    slow.run("COMMIT").await;
    assert_eq!(told.wait_for(1, 1).await, set(&["slow too"]), "among very many holes");
    assert_eq!(late.wait_for(1, 1).await, set(&["slow too"]));
}

/// Nothing is lost and nothing told twice of 100,000 changes by eight writers whose transactions
/// overlap, some of which roll back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_changes() {
    const WRITERS: usize = 8;
    const STATEMENTS: usize = 125;
    const ROWS: usize = 100;
    let Some(world) = World::new().await else { return };
    let mut told = world.reader(FeedStart::Now).await;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let foreign = world.writer().await;
        writers.spawn(async move {
            for at in 0..STATEMENTS {
                let rows = log((0..ROWS).map(|row| format!("{writer}/{at}/{row}")));
                // Each writer has a rhythm of its own, so that all lengths overlap.
                let pause = Duration::from_millis(u64::try_from(at * (writer + 3) % 17).unwrap());
                if at % 5 == writer % 5 {
                    foreign
                        .run(&format!("BEGIN; {}", log([String::from("never")].into_iter())))
                        .await;
                    tokio::time::sleep(pause / 2).await;
                    foreign.run("ROLLBACK").await;
                }
                foreign.run(&format!("BEGIN; {rows}")).await;
                tokio::time::sleep(pause).await;
                foreign.run("COMMIT").await;
            }
        });
    }
    let names = told.wait_for(WRITERS * STATEMENTS * ROWS, 5_000).await;
    assert_eq!(names.len(), WRITERS * STATEMENTS * ROWS);
    assert!(!names.contains("never"));
    writers.join_all().await;
}

/// Whoever empties the log by hand makes a gap that is told once, whatever was trimmed before.
#[tokio::test]
async fn a_log_that_was_emptied() {
    let Some(world) = World::new().await else { return };
    let foreign = world.writer().await;
    for is_trimmed in [false, true] {
        for n in 0..5 {
            foreign.run(&log([format!("before {n}")].into_iter())).await;
        }
        let mut told = world.reader(FeedStart::Now).await;
        if is_trimmed {
            let end = ezdfs_core::Timestamp::from_nanos(i64::MAX);
            world.store.trim_feed(end).await.unwrap();
            assert!(!told.poll(10).await, "it knows all that was trimmed");
        }
        foreign.run("TRUNCATE TABLE ezdfs_change").await;
        foreign.run(&insert(&format!("after {is_trimmed}"))).await;
        assert!(told.poll(10).await, "trimmed: {is_trimmed}");
        foreign.run(&insert(&format!("later {is_trimmed}"))).await;
        told.all.clear();
        assert_eq!(told.wait_for(1, 10).await, set(&[&format!("later {is_trimmed}")]));
    }
}

/// A heartbeat is not told while an earlier change waits, late or not.
#[tokio::test]
async fn a_heartbeat_covers_what_was_late() {
    let Some(world) = World::new().await else { return };
    let slow = world.writer().await;
    let mut told = world.reader(FeedStart::Now).await;
    slow.run(&format!("BEGIN; {}; {}", insert("s1"), insert("s2"))).await;
    publish(&*world.store, "a", version(1, 1)).await;
    materialise(&*world.store).await;
    assert_eq!(told.wait_for(1, 9).await.len(), 1);
    slow.run("COMMIT").await;
    world.store.beat(Duration::ZERO).await.unwrap();
    let first = told.reader.poll(1).await.unwrap();
    assert_eq!((first.events.len(), first.more, first.heartbeat), (1, true, None));
    let second = told.reader.poll(9).await.unwrap();
    assert!(second.events.len() == 1 && !second.more && second.heartbeat.is_some(), "{second:?}");
}
