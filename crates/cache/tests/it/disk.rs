//! Files that are torn, foreign or gone; a disk that fails; several processes.

use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};

use futures::StreamExt as _;

use crate::world::{MIB, Remote, World, begin, blocks, content, key, leftovers, read};

/// Does something to the one block of a content, and reads it again.
async fn after(what: &str, damage: impl Fn(&std::path::Path)) {
    let world = World::new();
    let size = 600_000;
    let remote = Remote::new(content(1, size));
    let key = key("a", size);
    read(&world.cache, &key, 0..size, &remote).await.unwrap();
    remote.calls();
    let [block] = &*blocks(&world.root()) else { panic!("{what}") };
    damage(block);
    for expected in [1, 0] {
        let (bytes, is_hit) = read(&world.cache, &key, 0..size, &remote).await.unwrap();
        assert!(bytes == remote.content, "{what}");
        assert_eq!(remote.calls().len(), expected, "{what}");
        // The damage may lie behind the first piece.
        assert!(is_hit || expected == 1, "{what}");
    }
}

#[tokio::test]
async fn a_torn_block_is_a_miss_and_is_replaced() {
    for at in [0, 9, 40, 60, 300, 262_300, 500_000, 600_000] {
        after(&format!("byte {at}"), |block| {
            let file = fs::File::options().read(true).write(true).open(block).unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1], at).unwrap();
        })
        .await;
    }
    for len in [0, 10, 100, 300_000, 600_000, 600_100] {
        after(&format!("cut to {len}"), |block| {
            fs::File::options().write(true).open(block).unwrap().set_len(len).unwrap();
        })
        .await;
    }
    after("zeros of the right length", |block| {
        let len = fs::metadata(block).unwrap().len();
        fs::write(block, vec![0; usize::try_from(len).unwrap()]).unwrap();
    })
    .await;
    after("something else", |block| fs::write(block, "something else").unwrap()).await;
    after("nothing", |block| fs::remove_file(block).unwrap()).await;
    after("the directory is gone", |block| {
        fs::remove_dir_all(block.ancestors().nth(3).unwrap()).unwrap();
    })
    .await;
}

#[tokio::test]
async fn the_block_of_another_content_is_a_miss() {
    let world = World::new();
    let remote = Remote::new(content(1, 1000));
    read(&world.cache, &key("a", 1000), 0..1000, &remote).await.unwrap();
    let [first] = &*blocks(&world.root()) else { panic!() };
    let first = first.clone();
    let other = Remote::new(content(2, 1000));
    read(&world.cache, &key("b", 1000), 0..1000, &other).await.unwrap();
    let second = blocks(&world.root()).into_iter().find(|b| *b != first).unwrap();
    fs::copy(&first, &second).unwrap();
    let (bytes, is_hit) = read(&world.cache, &key("b", 1000), 0..1000, &other).await.unwrap();
    assert!(bytes == other.content && !is_hit);
}

#[tokio::test]
async fn a_block_that_is_torn_under_a_reader_is_fetched_again() {
    let world = World::new();
    let size = 3 * MIB;
    let remote = Remote::new(content(3, size));
    let key = key("a", size);
    read(&world.cache, &key, 0..size, &remote).await.unwrap();
    remote.calls();
    let mut stream = begin(&world.cache, &key, 0..size, &remote).await;
    let mut got = stream.next().await.unwrap().unwrap().to_vec();
    for block in blocks(&world.root()) {
        let file = fs::File::options().write(true).open(block).unwrap();
        file.write_all_at(&[0; 5000], 900_000).unwrap();
    }
    while let Some(bytes) = stream.next().await {
        got.extend_from_slice(&bytes.unwrap());
    }
    assert!(got == remote.content);
    assert_eq!(remote.calls(), [0..MIB, MIB..2 * MIB, 2 * MIB..size]);
    assert!(world.cache.state().errors >= 3);
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_makes_no_read_fail() {
    let world = World::new();
    // A file where the directory should be: also root cannot write there.
    fs::write(world.root(), "in the way").unwrap();
    let remote = Remote::new(content(4, 2 * MIB));
    let key = key("a", 2 * MIB);
    for _ in 0..2 {
        let (bytes, is_hit) = read(&world.cache, &key, 5..2 * MIB, &remote).await.unwrap();
        assert!(bytes == remote.content[5..] && !is_hit);
        assert_eq!(remote.calls(), [5..2 * MIB], "one request, past the cache");
    }
    let state = world.cache.state();
    assert_eq!((state.bypassed, state.hits, state.misses), (2, 0, 0));
    assert!(state.errors > 0);
}

#[tokio::test]
async fn a_directory_that_vanishes_under_a_fill_makes_no_read_fail() {
    let world = World::new();
    let remote = Remote::gated(content(5, 3 * MIB), 1);
    let key = key("a", 3 * MIB);
    let mut stream = begin(&world.cache, &key, 0..3 * MIB, &remote).await;
    let mut got = stream.next().await.unwrap().unwrap().to_vec();
    fs::remove_dir_all(world.root()).unwrap();
    remote.gate.add_permits(10_000);
    while let Some(bytes) = stream.next().await {
        got.extend_from_slice(&bytes.unwrap());
    }
    assert!(got == remote.content);
}

#[tokio::test]
async fn others_cannot_read_what_is_kept_and_backups_pass_over_it() {
    let world = World::new();
    let remote = Remote::new(content(6, 1000));
    read(&world.cache, &key("a", 1000), 0..1000, &remote).await.unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&world.root()), 0o700);
    assert_eq!(mode(&blocks(&world.root())[0]), 0o600);
    let tag = fs::read_to_string(world.root().join("CACHEDIR.TAG")).unwrap();
    assert!(tag.starts_with("Signature: 8a477f597d28d172789f06886806bc55\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_share_a_directory() {
    let world = World::of_size(64 * MIB);
    let remotes: Vec<_> =
        (0..20).map(|n| Remote::new(content(n, u64::from(n) * 150_001))).collect();
    let remotes = std::sync::Arc::new(remotes);
    let mut tasks = tokio::task::JoinSet::new();
    for process in 0..3_u64 {
        let cache = world.other(process + 10);
        for task in 0..4_u64 {
            let (cache, remotes) = (cache.clone(), remotes.clone());
            tasks.spawn(async move {
                for round in 0..30_u64 {
                    let n = (round * 7 + task * 3 + process) % 20;
                    let (size, remote) = (n * 150_001, &remotes[usize::try_from(n).unwrap()]);
                    let key = key(&n.to_string(), size);
                    let (bytes, _) = read(&cache, &key, 0..size, remote).await.unwrap();
                    assert!(bytes == remote.content, "{n}");
                }
            });
        }
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(leftovers(&world.root()), 0);
    for (n, remote) in (0..).zip(&*remotes) {
        let size = n * 150_001;
        assert!(read(&world.cache, &key(&n.to_string(), size), 0..size, remote).await.unwrap().1);
    }
}

const SMALL_FILES: &str = "EZDFS_CACHE_TEST_SMALL_FILES";

/// In a process that cannot write large files, when this test is run as one.
#[tokio::test]
async fn a_process_that_cannot_write_large_files() {
    if std::env::var_os(SMALL_FILES).is_none() {
        return;
    }
    let world = World::new();
    let large = Remote::new(content(1, 3 * MIB));
    let small = Remote::new(content(2, 100_000));
    for round in 1..3 {
        let (bytes, is_hit) =
            read(&world.cache, &key("large", 3 * MIB), 0..3 * MIB, &large).await.unwrap();
        assert!(bytes == large.content && !is_hit);
        let (bytes, is_hit) =
            read(&world.cache, &key("small", 100_000), 0..100_000, &small).await.unwrap();
        assert!(bytes == small.content && is_hit == (round > 1));
        assert!(world.cache.state().errors >= round);
    }
    assert_eq!(blocks(&world.root()).len(), 1);
    assert_eq!(leftovers(&world.root()), 0);
}

/// Writes fail in the middle of a block, as on a full disk.
#[test]
fn a_disk_that_fills_up_under_a_fill_makes_no_read_fail() {
    let limited = "trap '' XFSZ; ulimit -f 1000; exec \"$0\" --exact disk::a_process_that_cannot_write_large_files";
    let ran = std::process::Command::new("sh")
        .args(["-c", limited])
        .arg(std::env::current_exe().unwrap())
        .env(SMALL_FILES, "1")
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
    assert!(String::from_utf8_lossy(&ran.stdout).contains("1 passed"));
}
