//! What operations cost: calls on both stores, and memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use bytes::Bytes;
use ezdfs_core::{Clock as _, Error};
use ezdfs_engine::{Precondition, PublishOptions};
use ezdfs_testkit::faults::Plan;
use futures::StreamExt as _;

use crate::world::{MEMORY, MEMORY_LOCAL, SQLITE_LOCAL, World, options, path, put, read};

#[tokio::test]
async fn a_publish_is_one_statement_before_the_object_and_one_transaction_after_it() {
    for backend in [MEMORY, MEMORY_LOCAL, SQLITE_LOCAL] {
        let world = World::new(backend, options()).await;
        let plan = Plan::calm();
        let service = world.node(&plan);
        for (at, bytes) in [("d/a", "new"), ("d/a", "overwritten"), ("d/b", "second")] {
            plan.reset();
            put(&service, at, bytes).await.unwrap();
            let calls = plan.calls();
            let mut expected =
                vec!["put_multipart", "put_part", "hold", "record", "complete", "apply"];
            if !backend.local {
                // A store that does not heed conditions is looked at once more.
                expected.push("head");
            }
            assert_eq!(calls, expected, "{backend:?}");
        }
    }
}

#[tokio::test]
async fn a_read_is_one_select_and_one_get() {
    for backend in [MEMORY, MEMORY_LOCAL, SQLITE_LOCAL] {
        let world = World::new(backend, options()).await;
        let plan = Plan::calm();
        let service = world.node(&plan);
        put(&service, "d/a", "bytes").await.unwrap();
        for _ in 0..3 {
            plan.reset();
            assert_eq!(read(&service, &path("d/a")).await.unwrap(), "bytes");
            assert_eq!(plan.calls(), ["record", "get"], "{backend:?}");
        }
        // An entry needs no object at all.
        plan.reset();
        service.load(&path("d/a")).await.unwrap();
        assert_eq!(plan.calls(), ["record"]);
    }
}

#[tokio::test]
async fn a_foreign_file_costs_a_closer_look_once() {
    let world = World::new(MEMORY, options()).await;
    world.php_create("d/a", "foreign").await;
    let plan = Plan::calm();
    let service = world.node(&plan);
    read(&service, &path("d/a")).await.unwrap();
    // Its pin is remembered in the background.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    plan.reset();
    assert_eq!(read(&service, &path("d/a")).await.unwrap(), "foreign");
    assert_eq!(plan.calls(), ["record", "get"]);
}

#[tokio::test]
async fn a_delete_is_two_statements_and_a_release() {
    let world = World::new(MEMORY, options()).await;
    let plan = Plan::calm();
    let service = world.node(&plan);
    put(&service, "d/a", "bytes").await.unwrap();
    plan.reset();
    service.delete(&path("d/a"), &Precondition::None).await.unwrap();
    assert_eq!(plan.calls(), ["hold", "record", "apply", "apply"]);
}

/// Bytes that were handed out and are still referenced by somebody.
#[derive(Default)]
struct InFlight {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// A piece that is counted until nobody holds it any more.
struct Counted {
    bytes: Vec<u8>,
    in_flight: Arc<InFlight>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.in_flight.now.fetch_sub(self.bytes.len(), Ordering::SeqCst);
    }
}

const MIB: usize = 1 << 20;

#[tokio::test]
async fn a_transfer_holds_at_most_two_mebibytes() {
    let world = World::new(MEMORY_LOCAL, options()).await;
    let service = world.calm();
    let in_flight = Arc::new(InFlight::default());
    const PIECE: usize = 64 << 10;
    const SIZE: usize = 64 * MIB;
    let source = in_flight.clone();
    let mut sent = 0;
    let body = futures::stream::poll_fn(move |_| {
        if sent == SIZE {
            return Poll::Ready(None);
        }
        let bytes = vec![u8::try_from(sent / PIECE % 251).unwrap(); PIECE];
        sent += PIECE;
        let now = source.now.fetch_add(PIECE, Ordering::SeqCst) + PIECE;
        source.most.fetch_max(now, Ordering::SeqCst);
        let piece = Counted { bytes, in_flight: source.clone() };
        Poll::Ready(Some(Ok::<_, Error>(Bytes::from_owner(piece))))
    });
    let published = service.publish(&path("large"), body, PublishOptions::default()).await.unwrap();
    assert_eq!(published.size, 64 << 20);
    let part = service.binary().capabilities.part_bytes;
    // The service copies pieces into parts of its own: one of those is not in the count.
    assert!(in_flight.most.load(Ordering::SeqCst) + part <= 2 * MIB);
    assert_eq!(in_flight.now.load(Ordering::SeqCst), 0, "pieces were kept");

    let (meta, mut body) = service.open_whole(&path("large")).await.unwrap();
    let (mut left, mut largest) = (meta.size, 0);
    let mut hasher = <sha2::Sha256 as sha2::Digest>::new();
    while let Some(piece) = body.next().await {
        let piece = piece.unwrap();
        largest = largest.max(piece.len());
        left -= u64::try_from(piece.len()).unwrap();
        sha2::Digest::update(&mut hasher, &piece);
    }
    assert_eq!(left, 0);
    assert!(largest <= 2 * MIB, "{largest}");
    let digest: [u8; 32] = sha2::Digest::finalize(hasher).into();
    assert_eq!(meta.sha256.unwrap().as_bytes(), &digest);
    assert_eq!(published.sha256.as_bytes(), &digest);
}

#[tokio::test]
async fn a_large_transfer_leaves_the_resident_set_small() {
    let world = World::new(MEMORY_LOCAL, options()).await;
    let service = world.calm();
    let before = resident();
    let piece = Bytes::from(vec![7; MIB]);
    let body = futures::stream::iter((0..256).map(move |_| Ok(piece.clone())));
    service.publish(&path("large"), body, PublishOptions::default()).await.unwrap();
    let (_, mut body) = service.open_whole(&path("large")).await.unwrap();
    let mut most = resident();
    while let Some(piece) = body.next().await {
        drop(piece.unwrap());
        most = most.max(resident());
    }
    let grown = most.saturating_sub(before);
    assert!(grown <= 64 * MIB, "{} MiB for 256 MiB", grown / MIB);
    assert!(world.clock.boot().as_secs() < 60);
}

/// Bytes of anonymous memory of this process; files in /dev/shm do not count.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}
