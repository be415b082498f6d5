//! Reads through the file cache: what they cost, and that they never show another version.

use std::time::Duration;

use bytes::Bytes;
use ezdfs_core::ErrorKind;
use ezdfs_engine::{Precondition, Warmed};
use ezdfs_testkit::faults::Plan;
use futures::future::join_all;

use crate::memory::{node, until};
use crate::world::{
    MEMORY_CACHED, SECOND, SQLITE_CACHED, World, collect, options, path, put, read,
};

/// So long that a version is told from those that follow.
const GROWN: Duration = Duration::from_secs(31);

#[tokio::test]
async fn a_warm_hit_asks_neither_database_nor_store() {
    for backend in [MEMORY_CACHED, SQLITE_CACHED] {
        let world = World::new(backend, options()).await;
        let large = Bytes::from(vec![7; 3 << 20]);
        put(&world.calm(), "d/small", "bytes").await.unwrap();
        put(&world.calm(), "d/empty", "").await.unwrap();
        put(&world.calm(), "d/large", large.clone()).await.unwrap();
        let plan = Plan::calm();
        let (service, _follower) = node(&world, &plan, &Plan::calm()).await;
        for (at, bytes) in
            [("d/small", "bytes".into()), ("d/empty", Bytes::new()), ("d/large", large)]
        {
            for expected in [&["record", "get"][..], &[], &[]] {
                plan.reset();
                assert_eq!(read(&service, &path(at)).await.unwrap(), bytes);
                assert_eq!(plan.calls(), expected, "{at} on {backend:?}");
            }
        }
        let opened =
            service.open(&path("d/large"), |_| Some(1 << 20..(1 << 20) + 5)).await.unwrap();
        assert_eq!(collect(opened.body.unwrap()).await.unwrap(), vec![7; 5]);
        assert!(plan.calls().is_empty(), "{backend:?}");
        let state = service.file_cache().unwrap().state();
        assert_eq!((state.hits, state.misses, state.errors), (7, 3, 0), "{backend:?}");
    }
}

#[tokio::test]
async fn a_warm_hit_that_asks_the_database_asks_no_store() {
    for backend in [MEMORY_CACHED, SQLITE_CACHED] {
        let world = World::new(backend, options()).await;
        let plan = Plan::calm();
        let service = world.node(&plan);
        put(&service, "d/a", "bytes").await.unwrap();
        // A young version may have been overtaken in the same second: its object is looked at.
        for expected in [&["record", "head", "get"][..], &["record", "head"]] {
            plan.reset();
            assert_eq!(read(&service, &path("d/a")).await.unwrap(), "bytes");
            assert_eq!(plan.calls(), expected, "{backend:?}");
        }
        world.clock.advance(GROWN);
        plan.reset();
        assert_eq!(read(&service, &path("d/a")).await.unwrap(), "bytes");
        assert_eq!(plan.calls(), ["record"], "{backend:?}");
        // Another process on the same directory has it, too.
        let other = Plan::calm();
        assert_eq!(read(&world.node(&other), &path("d/a")).await.unwrap(), "bytes");
        assert_eq!(other.calls(), ["record"], "{backend:?}");
    }
}

#[tokio::test]
async fn what_was_replaced_or_deleted_is_never_read_from_the_cache() {
    for backend in [MEMORY_CACHED, SQLITE_CACHED] {
        let world = World::new(backend, options()).await;
        let service = world.calm();
        let at = path("d/a");
        for round in 0..3 {
            let ours = format!("ours {round}");
            put(&world.calm(), "d/a", ours.clone()).await.unwrap();
            assert_eq!(read(&service, &at).await.unwrap(), ours, "{backend:?}");
            // Of the same size in the same second: only the object tells, and it has to settle.
            let theirs = format!("PHP! {round}");
            world.php_create("d/a", theirs.clone()).await;
            let e = read(&service, &at).await.unwrap_err();
            assert!(e.kind().is_transient(), "{e} on {backend:?}");
            world.metadata.materialise(100).await.unwrap();
            assert_eq!(read(&service, &at).await.unwrap(), theirs, "{backend:?}");
            world.clock.advance(GROWN);
            assert_eq!(read(&service, &at).await.unwrap(), theirs, "{backend:?}");
            world.php_create("d/a", "of PHP, longer").await;
            assert_eq!(read(&service, &at).await.unwrap(), "of PHP, longer", "{backend:?}");
            world.php_delete("d/a").await;
            assert_eq!(read(&service, &at).await.unwrap_err().kind(), ErrorKind::NotFound);
            put(&service, "d/a", ours.clone()).await.unwrap();
            assert_eq!(read(&service, &at).await.unwrap(), ours, "{backend:?}");
            service.delete(&at, &Precondition::None).await.unwrap();
            assert_eq!(read(&service, &at).await.unwrap_err().kind(), ErrorKind::NotFound);
            world.clock.advance(SECOND);
        }
    }
}

/// The rows name one object and the store holds another: nothing of it is kept, also if the store
/// ignores `If-Match`.
#[tokio::test]
async fn bytes_of_another_version_do_not_land_in_the_cache() {
    for is_careless in [false, true] {
        let world = World::new(MEMORY_CACHED, options()).await;
        put(&world.calm(), "d/a", "ours").await.unwrap();
        world.clock.advance(GROWN);
        world.php_object("d/a", "PHP!").await;
        let service = if is_careless { world.on_a_careless_store() } else { world.calm() };
        // Not settled: neither version may be served as the other.
        let e = read(&service, &path("d/a")).await.unwrap_err();
        assert!(e.kind().is_transient(), "{e}");
        let usage = world.file_cache().usage().await.unwrap();
        assert_eq!(usage.files, 0, "careless: {is_careless}");
        world.php_row("d/a", 4).await;
        world.clock.advance(GROWN);
        assert_eq!(read(&service, &path("d/a")).await.unwrap(), "PHP!");
        assert_eq!(world.file_cache().usage().await.unwrap().files, 1);
    }
}

#[tokio::test]
async fn a_foreign_file_is_kept_once_its_object_is_known() {
    let world = World::new(MEMORY_CACHED, options()).await;
    world.php_create("d/a", "foreign").await;
    world.clock.advance(GROWN);
    let plan = Plan::calm();
    let service = world.node(&plan);
    assert_eq!(read(&service, &path("d/a")).await.unwrap(), "foreign");
    let gets = plan.calls().iter().filter(|c| **c == "get").count();
    let heads = plan.calls().iter().filter(|c| **c == "head").count();
    assert_eq!((heads, gets), (1, 1));
    // Its pin is remembered in the background.
    until("the pin", || plan.calls().contains(&"apply")).await;
    plan.reset();
    assert_eq!(read(&service, &path("d/a")).await.unwrap(), "foreign");
    assert_eq!(plan.calls(), ["record"]);
}

#[tokio::test]
async fn many_readers_are_one_request() {
    let world = World::new(MEMORY_CACHED, options()).await;
    put(&world.calm(), "d/a", Bytes::from(vec![3; 2_000_000])).await.unwrap();
    world.clock.advance(GROWN);
    let plan = Plan::calm();
    let service = world.node(&plan);
    let at = path("d/a");
    let all = join_all((0..20).map(|_| read(&service, &at))).await;
    assert!(all.into_iter().all(|bytes| bytes.unwrap().len() == 2_000_000));
    assert_eq!(plan.calls().iter().filter(|c| **c == "get").count(), 1);
}

#[tokio::test]
async fn what_is_kept_is_read_while_the_store_is_away() {
    let world = World::new(MEMORY_CACHED, options()).await;
    put(&world.calm(), "d/kept", "bytes").await.unwrap();
    put(&world.calm(), "d/other", "bytes").await.unwrap();
    world.clock.advance(GROWN);
    assert_eq!(world.calm().warm(&path("d/kept")).await.unwrap(), Warmed::Filled(5));
    let store = Plan::calm();
    let service = world.on_a_store(&store);
    store.go_down();
    assert_eq!(read(&service, &path("d/kept")).await.unwrap(), "bytes");
    let e = read(&service, &path("d/other")).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unavailable);
    store.come_back();
    assert_eq!(read(&service, &path("d/other")).await.unwrap(), "bytes");
}

#[tokio::test]
async fn warming_fetches_what_is_missing() {
    let world = World::new(MEMORY_CACHED, options()).await;
    put(&world.calm(), "d/a", "bytes").await.unwrap();
    world.php_create("d/php", "foreign").await;
    let service = world.calm();
    for (at, len) in [("d/a", 5), ("d/php", 7)] {
        assert_eq!(service.warm(&path(at)).await.unwrap(), Warmed::Filled(len), "{at}");
    }
    assert_eq!(service.warm(&path("d/a")).await.unwrap(), Warmed::Already);
    let e = service.warm(&path("d/none")).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotFound);
    // A file that is larger than an eighth of the cache is read past it.
    put(&service, "d/large", Bytes::from(vec![1; 100_000])).await.unwrap();
    let options =
        ezdfs_cache::Options { size: 500_000, ..service.file_cache().unwrap().options().clone() };
    let entropy = std::sync::Arc::new(ezdfs_core::SeededEntropy::new(5));
    let clock = std::sync::Arc::new(world.clock.clone());
    let small = service.with_file_cache(ezdfs_cache::FileCache::new(options, clock, entropy));
    assert_eq!(small.warm(&path("d/large")).await.unwrap(), Warmed::Unfit);
    assert_eq!(read(&small, &path("d/large")).await.unwrap().len(), 100_000);
}
