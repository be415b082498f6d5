//! What a reader gets, and what it costs.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use ezdfs_cache::PIECE;
use ezdfs_core::ErrorKind;
use futures::StreamExt as _;

use crate::world::{MIB, Remote, World, begin, content, key, leftovers, read};

#[tokio::test]
async fn a_second_read_needs_nothing_of_the_back_end() {
    let world = World::new();
    for (n, size) in
        [0, 1, PIECE - 1, PIECE, PIECE + 1, MIB, MIB + 1, 5 * MIB + 77].iter().enumerate()
    {
        let all = content(u8::try_from(n).unwrap(), *size);
        let remote = Remote::new(all.clone());
        let key = key(&format!("a/{n}"), *size);
        assert!(!world.cache.has(&key).await);
        assert_eq!(
            read(&world.cache, &key, 0..*size, &remote).await.unwrap(),
            (all.clone(), false)
        );
        assert_eq!(remote.calls(), [0..*size], "{size}");
        assert!(world.cache.has(&key).await, "{size}");
        for cache in [&world.cache, &world.other(7)] {
            assert_eq!(read(cache, &key, 0..*size, &remote).await.unwrap(), (all.clone(), true));
        }
        assert!(remote.calls().is_empty(), "{size}");
    }
    let state = world.cache.state();
    assert_eq!((state.hits, state.misses, state.fills, state.errors), (8, 8, 8, 0), "{state:?}");
    let usage = world.cache.usage().await.unwrap();
    assert_eq!(usage.files, 6 + 2 + 6, "{usage:?}");
    assert_eq!(leftovers(&world.root()), 0);
}

#[tokio::test]
async fn every_range_is_exact_whatever_is_there() {
    let world = World::new();
    let size = 3 * MIB + 12_345;
    let all = content(1, size);
    let edges = [
        0,
        1,
        PIECE - 1,
        PIECE,
        MIB - 1,
        MIB,
        MIB + 1,
        2 * MIB,
        3 * MIB,
        3 * MIB + 1,
        size - 1,
        size,
    ];
    let remote = Remote::new(all.clone());
    for round in 0..2 {
        for start in edges {
            for end in edges.into_iter().filter(|end| *end > start) {
                // In the first round each range meets an empty cache.
                let path = if round == 0 { format!("{start}-{end}") } else { "same".to_owned() };
                let (bytes, _) =
                    read(&world.cache, &key(&path, size), start..end, &remote).await.unwrap();
                let cut = |at: u64| usize::try_from(at).unwrap();
                assert!(bytes == all[cut(start)..cut(end)], "{start}..{end} in round {round}");
            }
        }
    }
    assert_eq!(world.cache.state().errors, 0);
}

#[tokio::test]
async fn only_what_is_missing_is_fetched_in_whole_blocks() {
    let world = World::new();
    let size = 6 * MIB;
    let remote = Remote::new(content(2, size));
    let key = key("a", size);
    read(&world.cache, &key, 2 * MIB + 5..2 * MIB + 6, &remote).await.unwrap();
    assert_eq!(remote.calls(), [2 * MIB..3 * MIB]);
    let (bytes, is_hit) = read(&world.cache, &key, 0..size, &remote).await.unwrap();
    assert!(bytes == remote.content && !is_hit);
    assert_eq!(remote.calls(), [0..2 * MIB, 3 * MIB..size]);
    assert!(read(&world.cache, &key, 0..size, &remote).await.unwrap().1);
    assert!(remote.calls().is_empty());
}

#[tokio::test]
async fn bytes_are_handed_out_before_the_rest_has_come() {
    let world = World::new();
    let remote = Remote::gated(content(3, 3 * MIB), 1);
    let key = key("a", 3 * MIB);
    let mut stream = begin(&world.cache, &key, 0..3 * MIB, &remote).await;
    let first = stream.next().await.unwrap().unwrap();
    assert_eq!(first, remote.content[..first.len()]);
    assert_eq!(first.len(), remote.piece);
    remote.gate.add_permits(1_000);
    let mut rest = Vec::new();
    while let Some(bytes) = stream.next().await {
        rest.extend_from_slice(&bytes.unwrap());
    }
    assert!(rest == remote.content[first.len()..]);
}

#[tokio::test]
async fn errors_are_told_and_not_remembered() {
    let world = World::new();
    let remote = Remote::new(content(4, 2 * MIB));
    let key = key("a", 2 * MIB);
    remote.is_down.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let e = read(&world.cache, &key, 0..MIB, &remote).await.unwrap_err();
        assert_eq!((e.kind(), e.message()), (ErrorKind::Unavailable, "the back end is away"));
        assert_eq!(remote.calls().len(), 1);
    }
    remote.is_down.store(false, Ordering::SeqCst);
    // Breaks in the second block: the first is kept, the error is told.
    remote.breaks_after.store(1_500_000, Ordering::SeqCst);
    let mut stream = begin(&world.cache, &key, 0..2 * MIB, &remote).await;
    let (mut got, mut error) = (Vec::new(), None);
    while let Some(bytes) = stream.next().await {
        match bytes {
            Ok(bytes) => got.extend_from_slice(&bytes),
            Err(e) => error = Some(e),
        }
    }
    assert_eq!(error.unwrap().message(), "the connection broke");
    assert!(got == remote.content[..got.len()]);
    assert_eq!(remote.calls().len(), 1);
    remote.breaks_after.store(usize::MAX, Ordering::SeqCst);
    assert_eq!(read(&world.cache, &key, 0..2 * MIB, &remote).await.unwrap().0, remote.content);
    assert_eq!(remote.calls(), [MIB..2 * MIB]);
    assert_eq!(leftovers(&world.root()), 0);
}

#[tokio::test]
async fn an_object_that_is_shorter_than_its_row_is_an_error_and_is_not_kept() {
    let world = World::new();
    let remote = Remote::new(content(5, 1000));
    let key = key("a", 2000);
    let source = std::sync::Arc::new(Short(remote.content.clone()));
    let error = match world.cache.read(key.clone(), 0..2000, source).await {
        Err(e) => e,
        Ok(reading) => reading.stream.filter_map(async |b| b.err()).boxed().next().await.unwrap(),
    };
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(!world.cache.has(&key).await);
}

struct Short(Bytes);

#[async_trait::async_trait]
impl ezdfs_cache::Source for Short {
    async fn fetch(
        &self,
        _: std::ops::Range<u64>,
    ) -> ezdfs_core::Result<futures::stream::BoxStream<'static, ezdfs_core::Result<Bytes>>> {
        Ok(futures::stream::iter([Ok(self.0.clone())]).boxed())
    }
}

/// Pieces that fit nothing: what is left over of each is carried on, however many there are.
#[tokio::test]
async fn pieces_of_any_size_make_the_whole() {
    let world = World::new();
    for piece in [1_001, 262_143, 262_145, 1_500_000] {
        let size = 40 * MIB + 3;
        let remote = Remote::in_pieces(content(8, size), piece);
        let key = key(&piece.to_string(), size);
        for is_warm in [false, true] {
            let (bytes, is_hit) = read(&world.cache, &key, 0..size, &remote).await.unwrap();
            assert!(bytes == remote.content && is_hit == is_warm, "{piece}");
        }
    }
}

#[tokio::test]
async fn a_content_larger_than_an_eighth_is_not_taken() {
    let world = World::of_size(16 * MIB);
    assert!(world.cache.takes(2 * MIB) && !world.cache.takes(2 * MIB + 1));
}
