//! The bound on the size, and who goes.

use std::time::Duration;

use ezdfs_cache::{FileCache, Options};
use ezdfs_core::SeededEntropy;

use crate::world::{MIB, Remote, World, content, key, read};

const SIZE: u64 = 16 * MIB;

async fn fill(cache: &FileCache, path: &str, size: u64) -> bool {
    let remote = Remote::new(content(1, size));
    let (bytes, is_hit) = read(cache, &key(path, size), 0..size, &remote).await.unwrap();
    assert!(bytes == remote.content);
    is_hit
}

#[tokio::test]
async fn what_is_kept_stays_within_the_size() {
    let world = World::of_size(SIZE);
    for n in 0..60 {
        world.clock.advance(Duration::from_secs(1));
        assert!(!fill(&world.cache, &n.to_string(), 700_000).await);
        assert!(world.cache.usage().await.unwrap().bytes <= SIZE, "after {n}");
    }
    let state = world.cache.state();
    assert!(state.evictions > 30 && state.errors == 0 && state.bypassed == 0, "{state:?}");
    assert!(world.cache.usage().await.unwrap().bytes > SIZE / 2);
}

#[tokio::test]
async fn what_was_not_used_for_longest_goes_first() {
    let world = World::of_size(SIZE);
    fill(&world.cache, "used", 700_000).await;
    fill(&world.cache, "forgotten", 700_000).await;
    for n in 0..60 {
        world.clock.advance(Duration::from_secs(70));
        assert!(fill(&world.cache, "used", 700_000).await, "after {n}");
        fill(&world.cache, &n.to_string(), 700_000).await;
    }
    assert!(!fill(&world.cache, "forgotten", 700_000).await);
    assert!(fill(&world.cache, "59", 700_000).await);
}

#[tokio::test]
async fn what_another_process_keeps_counts() {
    let world = World::of_size(SIZE);
    let others = [world.other(8), world.other(9)];
    for n in 0..90 {
        world.clock.advance(Duration::from_secs(1));
        let cache = if n % 3 == 0 { &world.cache } else { &others[n % 3 - 1] };
        fill(cache, &n.to_string(), 500_000).await;
        // A sixteenth for each process that has not looked again.
        let bytes = world.cache.usage().await.unwrap().bytes;
        assert!(bytes <= SIZE + 2 * (SIZE / 16), "{bytes} after {n}");
    }
}

#[tokio::test]
async fn a_disk_that_is_too_full_is_left_alone_and_no_read_fails() {
    let world = World::new();
    let options = Options { dir: world.root(), size: SIZE, min_free: u64::MAX / 2 };
    let clock = std::sync::Arc::new(world.clock.clone());
    let full = FileCache::new(options, clock, std::sync::Arc::new(SeededEntropy::new(3)));
    fill(&world.cache, "a", 700_000).await;
    assert!(fill(&full, "a", 700_000).await, "what is there is used");
    for n in 0..3 {
        world.clock.advance(Duration::from_secs(10));
        assert!(!fill(&full, &format!("b{n}"), 700_000).await);
    }
    let state = full.state();
    assert_eq!((state.bypassed, state.fills, state.errors), (3, 0, 0), "{state:?}");
    assert_eq!(full.usage().await.unwrap().files, 0, "its own part is given back");
}
