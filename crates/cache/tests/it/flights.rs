//! Single flight: one request however many wait, and nobody depends on who came first.

use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;

use crate::world::{MIB, Remote, World, begin, blocks, content, key, leftovers, read, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_misses_are_one_request() {
    let world = World::new();
    for size in [10_000, 3 * MIB + 5] {
        let remote = Remote::gated(content(1, size), 0);
        let key = key(&size.to_string(), size);
        let readers = (0..40).map(|n| {
            let (cache, key, remote) = (world.cache.clone(), key.clone(), remote.clone());
            tokio::spawn(async move {
                // Some read the end only, some come later.
                tokio::time::sleep(Duration::from_millis(n % 5)).await;
                let start = if n % 4 == 3 { size / 2 } else { 0 };
                (start, read(&cache, &key, start..size, &remote).await.unwrap().0)
            })
        });
        let readers: Vec<_> = readers.collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        remote.gate.add_permits(10_000);
        for reader in join_all(readers).await {
            let (start, bytes) = reader.unwrap();
            assert!(bytes == remote.content[usize::try_from(start).unwrap()..], "{start}");
        }
        let mut calls = remote.calls();
        calls.sort_by_key(|c| c.start);
        // One for the whole, or two runs that meet where the second reader came first.
        let mut at = 0;
        for call in &calls {
            assert_eq!(call.start, at, "{calls:?}");
            at = call.end;
        }
        assert_eq!(at, size, "{calls:?}");
        assert!(calls.len() <= 2, "{calls:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_the_same_range_share_exactly_one_request() {
    let world = World::new();
    for round in 0..20 {
        let remote = Remote::new(content(round, 700_000));
        let key = key(&round.to_string(), 700_000);
        let readers = (0..16).map(|_| {
            let (cache, key, remote) = (world.cache.clone(), key.clone(), remote.clone());
            tokio::spawn(async move { read(&cache, &key, 0..700_000, &remote).await.unwrap().0 })
        });
        for bytes in join_all(readers.collect::<Vec<_>>()).await {
            assert!(bytes.unwrap() == remote.content);
        }
        assert_eq!(remote.calls(), [0..700_000], "round {round}");
    }
}

#[tokio::test]
async fn a_leader_that_goes_away_takes_nobody_with_it() {
    let world = World::new();
    let remote = Remote::gated(content(2, 3 * MIB), 2);
    let key = key("a", 3 * MIB);
    let mut leader = begin(&world.cache, &key, 0..3 * MIB, &remote).await;
    leader.next().await.unwrap().unwrap();
    let follower = read(&world.cache, &key, 0..3 * MIB, &remote);
    let scenario = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(leader);
        remote.gate.add_permits(10_000);
    };
    let (bytes, ()) = tokio::join!(follower, scenario);
    assert!(bytes.unwrap().0 == remote.content);
    assert_eq!(remote.calls(), [0..3 * MIB]);
}

#[tokio::test]
async fn a_leader_that_goes_away_before_the_answer_takes_nobody_with_it() {
    let world = World::new();
    let remote = Remote::gated(content(3, 1000), 0);
    let key = key("a", 1000);
    let leader = tokio::spawn({
        let (cache, key, remote) = (world.cache.clone(), key.clone(), remote.clone());
        async move { read(&cache, &key, 0..1000, &remote).await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    let follower = tokio::spawn({
        let (cache, key, remote) = (world.cache.clone(), key.clone(), remote.clone());
        async move { read(&cache, &key, 0..1000, &remote).await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    leader.abort();
    remote.gate.add_permits(1);
    assert_eq!(follower.await.unwrap().unwrap().0, remote.content);
    assert_eq!(remote.calls(), [0..1000]);
}

#[tokio::test]
async fn a_fill_that_nobody_reads_ends_with_its_block() {
    let world = World::new();
    let size = 64 * MIB;
    let remote = Remote::gated(content(4, size), 1);
    let key = key("a", size);
    let mut only = begin(&world.cache, &key, 0..size, &remote).await;
    only.next().await.unwrap().unwrap();
    drop(only);
    remote.gate.add_permits(100_000);
    until("the block", || blocks(&world.root()).len() == 1).await;
    until("the end of the fill", || leftovers(&world.root()) == 0).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(blocks(&world.root()).len(), 1);
    // Whoever comes later has the first block, and gets the others.
    let (bytes, is_hit) = read(&world.cache, &key, 0..3 * MIB, &remote).await.unwrap();
    assert!(bytes == remote.content[..3 << 20] && !is_hit);
    assert_eq!(remote.calls(), [0..size, MIB..3 * MIB]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_holds_nobody_up_and_reads_the_whole() {
    let world = World::new();
    let size = 4 * MIB;
    let remote = Remote::new(content(5, size));
    let key = key("a", size);
    let mut slow = begin(&world.cache, &key, 0..size, &remote).await;
    let mut got = slow.next().await.unwrap().unwrap().to_vec();
    assert!(read(&world.cache, &key, 0..size, &remote).await.unwrap().0 == remote.content);
    while let Some(bytes) = slow.next().await {
        got.extend_from_slice(&bytes.unwrap());
    }
    assert!(got == remote.content);
    assert_eq!(remote.calls(), [0..size]);
}
