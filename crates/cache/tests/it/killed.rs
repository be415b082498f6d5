//! Processes that die by kill -9 while they fill.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use ezdfs_core::SystemClock;

use crate::world::{MIB, Remote, blocks, cache, content, key, leftovers, read};

const DIR: &str = "EZDFS_CACHE_TEST_DIR";
const FILES: u8 = 40;

fn size(n: u8) -> u64 {
    u64::from(n) * 97_003 + 1
}

/// Fills a directory for ever, when this test is run as the process that is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_fills() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let cache = cache(dir.as_ref(), 16 * MIB, Arc::new(SystemClock), u64::from(std::process::id()));
    for n in (0..FILES).cycle() {
        let remote = Remote::new(content(n, size(n)));
        let key = key(&n.to_string(), size(n));
        read(&cache, &key, 0..size(n), &remote).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_killed_anywhere_leaves_nothing_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let mut found_leftovers = 0;
    for round in 0..25_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed::a_process_that_fills"])
            .env(DIR, dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(30 + round * 13 % 70)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        found_leftovers += leftovers(dir.path());
    }
    assert!(!blocks(dir.path()).is_empty(), "no process came so far");
    let cache = cache(dir.path(), 16 * MIB, Arc::new(SystemClock), 1);
    let mut hits = 0;
    for n in 0..FILES {
        let remote = Remote::new(content(n, size(n)));
        let (bytes, is_hit) =
            read(&cache, &key(&n.to_string(), size(n)), 0..size(n), &remote).await.unwrap();
        assert!(bytes == remote.content, "{n}");
        hits += u32::from(is_hit);
    }
    assert!(hits > 0, "what the dead processes finished is used");
    assert_eq!(cache.state().errors, 0, "nothing was torn");
    assert_eq!(leftovers(dir.path()), 0, "{found_leftovers} were left and are swept");
}
