//! The change feed of SQLite: numbers are consecutive, and a hole in them is a loss.

use ezdfs_core::{Clock as _, FeedStart, MetadataStore as _, SystemClock};
use ezdfs_testkit::metadata_suite::{PREFIX, name, publish, version};
use ezdfs_testkit::{ForeignWriter as _, SqliteForeignWriter};

use crate::sqlite::open;

fn insert(names: &[&str]) -> String {
    let rows: Vec<String> =
        names.iter().map(|n| format!("('{n}', '{n}', 'hash-{n}', 1, 1)")).collect();
    format!(
        "INSERT INTO ezdfsfile (name, name_trunk, name_hash, mtime, size) VALUES {}",
        rows.join(", ")
    )
}

/// Whatever SQLite takes back, it takes the numbers back with it.
#[tokio::test]
async fn what_is_taken_back_leaves_no_hole() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ezdfs.db");
    let store = open(&file, PREFIX, SystemClock).await;
    let php = SqliteForeignWriter::connect(&file, "ezdfsfile").await;
    let mut reader = store.feed(FeedStart::Now).await.unwrap();
    php.run(&insert(&["there"])).await;
    php.run(&format!("BEGIN; {}; ROLLBACK", insert(&["a", "b"]))).await;
    php.run(&format!(
        "BEGIN; {}; SAVEPOINT s; {}; ROLLBACK TO s; RELEASE s; COMMIT",
        insert(&["kept"]),
        insert(&["c", "d"])
    ))
    .await;
    // The second row fails, after the first one and its trigger.
    assert!(php.try_run(&insert(&["e", "there"])).await.is_err());
    php.run(&insert(&["there"]).replace("INSERT", "INSERT OR IGNORE")).await;
    php.run(&insert(&["last"])).await;
    let poll = reader.poll(100).await.unwrap();
    assert!(!poll.lost, "{poll:#?}");
    let names: Vec<&str> = poll.events.iter().map(|e| &*e.name).collect();
    assert_eq!(names, ["there", "kept", "last"]);
    assert!(poll.events.iter().all(|e| e.origin.is_none()));
}

#[tokio::test]
async fn an_emptied_log_is_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ezdfs.db");
    let store = open(&file, PREFIX, SystemClock).await;
    let php = SqliteForeignWriter::connect(&file, "ezdfsfile").await;
    let mut reader = store.feed(FeedStart::Now).await.unwrap();
    for step in [
        "DELETE FROM ezdfs_change",
        "DELETE FROM ezdfs_change WHERE seq = (SELECT max(seq) FROM ezdfs_change)",
        "DELETE FROM ezdfs_change WHERE seq = (SELECT max(seq) - 1 FROM ezdfs_change)",
        "DELETE FROM ezdfs_change; DELETE FROM sqlite_sequence WHERE name = 'ezdfs_change'",
    ] {
        publish(&store, "a", version(1, 1)).await;
        publish(&store, "b", version(1, 1)).await;
        publish(&store, "c", version(1, 1)).await;
        php.run(step).await;
        let poll = reader.poll(100).await.unwrap();
        assert!(poll.lost, "{step}: {poll:#?}");
        let poll = reader.poll(100).await.unwrap();
        assert!(!poll.lost && poll.events.is_empty(), "once: {step}");
        php.store(&name("php"), 1, 1, "a/b").await;
        let poll = reader.poll(100).await.unwrap();
        assert!(!poll.lost && poll.events.len() == 1, "{step}: {poll:#?}");
    }
}

/// A poll on which nothing has changed still proves that nothing has.
#[tokio::test]
async fn an_idle_poll_is_as_fresh_as_its_begin() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ezdfs.db");
    let store = open(&file, PREFIX, SystemClock).await;
    let mut reader = store.feed(FeedStart::Now).await.unwrap();
    for _ in 0..3 {
        let before = SystemClock.now();
        let heartbeat = reader.poll(10).await.unwrap().heartbeat.unwrap();
        assert!(before <= heartbeat && heartbeat <= SystemClock.now());
    }
}
