//! Files that change under a reader: an error, and never a hang, a mix or a quiet end.

use std::os::unix::fs::FileExt as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use ezdfs_testkit::object_store_suite::pattern;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::{GetOptions, GetRange, ObjectStore as _};

use super::*;

const SIZE: usize = 2 * 1024 * 1024 + 5;

type Pieces = BoxStream<'static, object_store::Result<Bytes>>;

/// A file of [`SIZE`] bytes and a reader that has had its first piece; once with page-cache hits
/// on the async worker and once without.
async fn half_read() -> Vec<(Local, Vec<u8>, Pieces)> {
    let mut all = Vec::new();
    for nowait in [true, false] {
        let local = Local::new();
        local.disk().nowait.store(nowait, Ordering::SeqCst);
        let bytes = pattern(SIZE, 1);
        local.put("a", bytes.clone()).await;
        let mut pieces = local.store.get(&key("a")).await.unwrap().into_stream();
        let first = pieces.try_next().await.unwrap().unwrap();
        assert!(first.len() <= 256 * 1024 && bytes.starts_with(&first));
        all.push((local, bytes[first.len()..].to_vec(), pieces));
    }
    all
}

/// Reads on; the stream must end with an error and then be over.
async fn must_fail(mut pieces: Pieces) {
    let drain = async {
        let mut read = 0;
        loop {
            match pieces.next().await {
                Some(Ok(piece)) => {
                    assert!(!piece.is_empty(), "an empty piece");
                    read += piece.len();
                    assert!(read < SIZE, "more than the object had");
                }
                Some(Err(e)) => break kind(e),
                None => panic!("a quiet end after {read} bytes"),
            }
        }
    };
    let kind = tokio::time::timeout(Duration::from_secs(20), drain).await.expect("a hang");
    assert_eq!(kind, ErrorKind::Stale);
    assert!(pieces.next().await.is_none());
}

fn in_place(local: &Local) -> std::fs::File {
    std::fs::OpenOptions::new().write(true).open(local.root.join("a")).unwrap()
}

#[tokio::test]
async fn a_shrinking_file_is_an_error() {
    for (local, _, pieces) in half_read().await {
        in_place(&local).set_len(300 * 1024).unwrap();
        must_fail(pieces).await;
    }
    for (local, _, pieces) in half_read().await {
        in_place(&local).set_len(0).unwrap();
        must_fail(pieces).await;
    }
}

#[tokio::test]
async fn a_file_written_in_place_is_an_error() {
    for (local, _, pieces) in half_read().await {
        // As PHP does: the same inode, the same size, other bytes.
        in_place(&local).write_all_at(&pattern(SIZE, 2), 0).unwrap();
        must_fail(pieces).await;
    }
    for (local, _, pieces) in half_read().await {
        in_place(&local).write_all_at(b"more", u64::try_from(SIZE).unwrap()).unwrap();
        must_fail(pieces).await;
    }
}

#[tokio::test]
async fn a_published_or_deleted_version_is_read_to_its_end() {
    for (local, rest, pieces) in half_read().await {
        local.put("a", "new").await;
        local.store.delete(&key("a")).await.unwrap();
        let got: Vec<Bytes> = pieces.try_collect().await.unwrap();
        assert!(got.concat() == rest);
    }
}

#[tokio::test]
async fn a_range_is_checked_like_the_whole() {
    let local = Local::new();
    local.put("a", pattern(SIZE, 1)).await;
    let options = GetOptions::new().with_range(Some(GetRange::Bounded(10..700_000)));
    let mut pieces = local.store.get_opts(&key("a"), options).await.unwrap().into_stream();
    pieces.try_next().await.unwrap().unwrap();
    // Behind the range, but it is another version all the same.
    in_place(&local).write_all_at(b"x", 1_000_000).unwrap();
    must_fail(pieces).await;
}

#[tokio::test]
async fn one_piece_is_held_at_a_time() {
    let local = Local::new();
    local.put("a", pattern(SIZE, 1)).await;
    let pieces = local.store.get(&key("a")).await.unwrap().into_stream();
    let sizes: Vec<usize> = pieces.map_ok(|p| p.len()).try_collect().await.unwrap();
    assert!(sizes.iter().all(|n| *n <= 256 * 1024), "{sizes:?}");
    assert_eq!(sizes.iter().sum::<usize>(), SIZE);
}

#[tokio::test]
async fn versions_are_refused_and_not_ignored() {
    let local = Local::new();
    local.put("a", "1").await;
    let options = GetOptions { version: Some("7".into()), ..GetOptions::default() };
    let refused = local.store.get_opts(&key("a"), options).await.unwrap_err();
    assert_eq!(kind(refused), ErrorKind::Unsupported);
}
