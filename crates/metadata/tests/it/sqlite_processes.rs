//! Several processes on one file, and processes that die.

use std::sync::Arc;
use std::time::Duration;

use ezdfs_core::{Change, ErrorKind, Guard, Hold, MetadataStore, Op, SystemClock, Work};
use ezdfs_metadata::{SqliteMetadata, SqliteOptions};
use ezdfs_testkit::metadata_suite::{
    LEASE, PREFIX, START_SECS, clock, entry, expect_kind, file, intent, list, name, path, publish,
    put, token, version,
};
use ezdfs_testkit::{ForeignWriter as _, SqliteForeignWriter};

use crate::sqlite::{open, options};

/// Two stores and PHP write at once; both stores agree on everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_and_php() {
    let tmp = tempfile::tempdir().unwrap();
    let file_name = tmp.path().join("ezdfs.db");
    let one = Arc::new(open(&file_name, PREFIX, SystemClock).await);
    let two = Arc::new(open(&file_name, PREFIX, SystemClock).await);
    let php = SqliteForeignWriter::connect(&file_name, "ezdfsfile").await;
    let mut writers = tokio::task::JoinSet::new();
    for (n, store) in [(1_u8, &one), (2, &two)] {
        for task in 0..4_u8 {
            let store: Arc<dyn MetadataStore> = Arc::clone(store) as _;
            writers.spawn(async move {
                let mut wins = 0_u32;
                for round in 0..25 {
                    let own = token(n * 10 + task);
                    let wanted = intent("s/contended", own, Work::Repair);
                    if store.hold(&[wanted], LEASE).await.unwrap() == Hold::Held {
                        wins += 1;
                        let commit = put("s/contended", version(u64::from(wins), n))
                            .guard(Guard::Holds(own))
                            .op(Op::EndHold { token: own, keep: false });
                        store.apply(commit).await.unwrap();
                    }
                    publish(&*store, &format!("s/{n}-{task}-{round}"), version(1, n)).await;
                }
                wins
            });
        }
    }
    for n in 0..40 {
        php.store(&name(&format!("s/php{n}")), 1, START_SECS, "a/b").await;
    }
    let wins: u32 = writers.join_all().await.into_iter().sum();
    assert!(wins > 0);
    assert_eq!(list(&*one, "s").await.len(), 2 * 4 * 25 + 40 + 1);
    assert_eq!(list(&*two, "s").await, list(&*one, "s").await);
    let (a, b) = (one.figures().await.unwrap(), two.figures().await.unwrap());
    assert_eq!(a, b);
    assert_eq!((a.held, a.feed_lag), (0, 0));
    let twins = "SELECT count(*) - count(DISTINCT path_hash) FROM ezdfs_node";
    assert_eq!(php.number(twins).await, 0);
    let own = "SELECT count(*) FROM ezdfs_change WHERE origin = 'it''s me'";
    assert_eq!(php.number(own).await, i64::from(wins) + 200);
    assert_eq!(php.number("SELECT count(*) FROM ezdfs_change WHERE origin IS NULL").await, 40);
}

/// What was acknowledged is there when the database is opened again after a process died without
/// a word: its files are copied as they are, log included.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_loses_nothing() {
    let tmp = tempfile::tempdir().unwrap();
    let file_name = tmp.path().join("ezdfs.db");
    let store = open(&file_name, PREFIX, clock()).await;
    for n in 0..50 {
        publish(&store, &format!("k/f{n:02}"), version(n, 1)).await;
    }
    let held = store.hold(&[intent("k/held", token(9), Work::Delete)], LEASE).await.unwrap();
    assert_eq!(held, Hold::Held);
    let dead = tmp.path().join("dead");
    std::fs::create_dir(&dead).unwrap();
    for suffix in ["", "-wal"] {
        let from = tmp.path().join(format!("ezdfs.db{suffix}"));
        std::fs::copy(from, dead.join(format!("ezdfs.db{suffix}"))).unwrap();
    }
    let reborn = open(&dead.join("ezdfs.db"), PREFIX, clock()).await;
    assert_eq!(list(&reborn, "k").await, list(&store, "k").await);
    assert_eq!(file(&reborn, "k/f49").await.size, 49);
    let busy = reborn.hold(&[intent("k/held", token(8), Work::Delete)], LEASE).await.unwrap();
    assert!(matches!(busy, Hold::Busy(i) if i.token == token(9)));
    publish(&reborn, "k/new", version(1, 1)).await;
}

/// A lock that outlasts the wait is an error that says so; afterwards everything works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_of_another_process_is_waited_for_but_not_for_ever() {
    let tmp = tempfile::tempdir().unwrap();
    let file_name = tmp.path().join("ezdfs.db");
    let hasty = SqliteOptions { busy_timeout: Duration::from_millis(30), ..options(PREFIX) };
    let store = SqliteMetadata::open(&file_name, hasty, Arc::new(clock())).await.unwrap();
    publish(&store, "b/a", version(1, 1)).await;
    let php = SqliteForeignWriter::connect(&file_name, "ezdfsfile").await;
    php.run("BEGIN IMMEDIATE").await;
    let refused = store.apply(put("b/b", version(1, 1))).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(refused.to_string().contains("ezdfs.db"), "{refused}");
    // Readers are not in its way.
    assert_eq!(list(&store, "b").await, ["a"]);
    php.run("COMMIT").await;
    publish(&store, "b/b", version(1, 1)).await;
    assert!(entry(&store, "b/b").await.is_some());
}

/// Jobs of one batch do not see each other's failures: neither a refused guard nor a statement
/// that the database itself refuses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_job_fails_alone() {
    let tmp = tempfile::tempdir().unwrap();
    let file_name = tmp.path().join("ezdfs.db");
    let store = Arc::new(open(&file_name, PREFIX, clock()).await);
    let php = SqliteForeignWriter::connect(&file_name, "ezdfsfile").await;
    php.run(
        "CREATE TRIGGER poison BEFORE INSERT ON ezdfsfile WHEN NEW.name LIKE '%poison%' \
         BEGIN SELECT RAISE(ROLLBACK, 'poisoned'); END",
    )
    .await;
    // While PHP holds the lock they gather in the queue.
    php.run("BEGIN IMMEDIATE").await;
    let mut jobs = tokio::task::JoinSet::new();
    for n in 0..30_u8 {
        let store = Arc::clone(&store);
        let change = match n % 3 {
            0 => put(&format!("j/good{n}"), version(1, n)),
            1 => put(&format!("j/refused{n}"), version(1, n)).guard(Guard::Holds(token(n))),
            _ => put(&format!("j/poison{n}"), version(1, n)),
        };
        jobs.spawn(async move { (n % 3, store.apply(change).await) });
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    php.run("COMMIT").await;
    for (kind, outcome) in jobs.join_all().await {
        match kind {
            0 => outcome.unwrap(),
            1 => expect_kind(outcome, ErrorKind::LostHold),
            _ => expect_kind(outcome, ErrorKind::Unavailable),
        }
    }
    let listed = list(&*store, "j").await;
    assert_eq!(listed.len(), 10);
    assert!(listed.iter().all(|n| n.starts_with("good")), "{listed:?}");
    assert_eq!(store.figures().await.unwrap().feed_lag, 0);
}

/// Waiting writes share a transaction: far fewer commits than writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_writes_share_a_commit() {
    let tmp = tempfile::tempdir().unwrap();
    let file_name = tmp.path().join("ezdfs.db");
    let store = Arc::new(open(&file_name, PREFIX, clock()).await);
    let php = SqliteForeignWriter::connect(&file_name, "ezdfsfile").await;
    php.run("BEGIN IMMEDIATE").await;
    let mut jobs = tokio::task::JoinSet::new();
    for n in 0..60_u8 {
        let store = Arc::clone(&store);
        jobs.spawn(async move { publish(&*store, &format!("g/f{n}"), version(1, n)).await });
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    php.run("COMMIT").await;
    // Every commit of another connection changes what `data_version` shows.
    let mut seen = std::collections::BTreeSet::new();
    while !jobs.is_empty() {
        seen.insert(php.number("PRAGMA data_version").await);
        while let Some(done) = jobs.try_join_next() {
            done.unwrap();
        }
    }
    assert!(seen.len() < 20, "{} commits for 60 writes", seen.len());
    assert_eq!(list(&*store, "g").await.len(), 60);
}

/// The store outlives callers and ends with its last handle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_store_lets_go_of_the_file() {
    let tmp = tempfile::tempdir().unwrap();
    let file_name = tmp.path().join("ezdfs.db");
    let store = open(&file_name, PREFIX, clock()).await;
    let change = Change::new().op(Op::RemoveFile(path("nothing")));
    store.apply(change).await.unwrap();
    publish(&store, "d/a", version(1, 1)).await;
    drop(store);
    let wal = tmp.path().join("ezdfs.db-wal");
    for _ in 0..200 {
        if !wal.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!wal.exists(), "the last connection was not closed");
    let again = open(&file_name, PREFIX, clock()).await;
    assert_eq!(list(&again, "d").await, ["a"]);
}
