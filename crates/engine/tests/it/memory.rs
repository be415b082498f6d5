//! Answers from memory: what they cost, and that they are never older than they may be.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ezdfs_core::{ErrorKind, FilePath, SeededEntropy, Timestamp};
use ezdfs_engine::{
    CacheOptions, FileService, Follower, FollowerOptions, Options, Precondition, Told,
};
use ezdfs_testkit::faults::{FaultyMetadata, Plan, When};

use crate::world::{
    Backend, MEMORY, MEMORY_LOCAL, PREFIX, SECOND, SQLITE_LOCAL, World, options, path, put, read,
};

/// How long the tests wait for what comes by itself.
const PATIENCE: u32 = 4_000;

fn follow_with(world: &World, plan: &Plan, options: FollowerOptions) -> Follower {
    let metadata = Arc::new(FaultyMetadata::new(world.metadata.clone(), plan.clone()));
    let clock = Arc::new(world.clock.clone());
    Follower::start(metadata, clock, Arc::new(SeededEntropy::new(7)), options).unwrap()
}

/// A node that answers from memory. `service` is the plan of its own calls, `feed` that of its
/// follower's; the feed is fresh.
pub(crate) async fn node(world: &World, service: &Plan, feed: &Plan) -> (FileService, Follower) {
    let follower = follow_with(world, feed, FollowerOptions::default());
    let service = world.node(service).with_follower(&follower, CacheOptions::default());
    until("a fresh feed", || follower.freshness().is_fresh()).await;
    (service, follower)
}

/// Each look at the clock takes a millisecond, and a look into memory is two.
fn patient() -> Options {
    Options { io_timeout: 30 * SECOND, ..options() }
}

pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..PATIENCE {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("waited in vain for {what}");
}

/// What a load shows: the size, or nothing.
async fn size(service: &FileService, at: &str) -> Option<u64> {
    match service.load(&path(at)).await {
        Ok(meta) => Some(meta.size),
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        Err(e) => panic!("{e}"),
    }
}

async fn until_size(service: &FileService, at: &str, expected: Option<u64>) {
    for _ in 0..PATIENCE {
        if size(service, at).await == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("`{at}` never had {expected:?}");
}

#[tokio::test]
async fn a_warm_hit_is_no_select_and_a_miss_is_one() {
    for backend in [MEMORY, MEMORY_LOCAL, SQLITE_LOCAL] {
        let world = World::new(backend, options()).await;
        put(&world.calm(), "d/a", "bytes").await.unwrap();
        let plan = Plan::calm();
        let (service, _follower) = node(&world, &plan, &Plan::calm()).await;
        for expected in [&["record", "get"][..], &["get"], &["get"]] {
            plan.reset();
            assert_eq!(read(&service, &path("d/a")).await.unwrap(), "bytes");
            assert_eq!(plan.calls(), expected, "{backend:?}");
        }
        plan.reset();
        assert_eq!(size(&service, "d/a").await, Some(5));
        assert!(plan.calls().is_empty(), "{backend:?}: {:?}", plan.calls());
        for expected in [&["record"][..], &[]] {
            plan.reset();
            assert_eq!(size(&service, "d/none").await, None);
            assert_eq!(plan.calls(), expected, "{backend:?}");
        }
        let (_, cache) = service.memory_state().unwrap();
        assert_eq!((cache.entries, cache.hits, cache.misses), (2, 4, 2), "{backend:?}");
    }
}

#[tokio::test]
async fn loads_of_one_path_share_a_select() {
    let world = World::new(MEMORY, options()).await;
    put(&world.calm(), "d/a", "bytes").await.unwrap();
    let slow = tokio::time::sleep(Duration::from_millis(100));
    let plan = Plan::interrupt_at(1, When::Before, slow);
    let (service, _follower) = node(&world, &plan, &Plan::calm()).await;
    let loads = (0..20).map(|_| size(&service, "d/a"));
    assert!(futures::future::join_all(loads).await.iter().all(|s| *s == Some(5)));
    assert_eq!(plan.calls(), ["record"]);
}

/// A SELECT is answered, the row changes, the feed tells of it, and only then does the answer
/// arrive: it must not be kept.
#[tokio::test]
async fn what_was_read_before_a_change_is_not_kept_after_it() {
    for is_lost in [false, true] {
        let world = Arc::new(World::new(MEMORY, options()).await);
        put(&world.calm(), "d/a", "old").await.unwrap();
        let feed = Plan::calm();
        let follower = Arc::new(follow_with(&world, &feed, FollowerOptions::default()));
        until("a fresh feed", || follower.freshness().is_fresh()).await;
        let (other, told) = (world.clone(), follower.clone());
        let meanwhile = async move {
            let before = told.state();
            put(&other.calm(), "d/a", "newer").await.unwrap();
            if is_lost {
                other.metadata.trim_feed(Timestamp::from_nanos(i64::MAX)).await.unwrap();
                until("a gap", || told.state().resyncs > before.resyncs).await;
            } else {
                until("the change", || told.state().events > before.events).await;
            }
            until("a fresh feed", || told.freshness().is_fresh()).await;
        };
        let plan = Plan::interrupt_at(1, When::After, meanwhile);
        let service = world.node(&plan).with_follower(&follower, CacheOptions::default());
        assert_eq!(size(&service, "d/a").await, Some(3), "what the database said");
        assert!(plan.fired());
        assert_eq!(size(&service, "d/a").await, Some(5), "lost: {is_lost}");
        assert_eq!(plan.calls(), ["record", "record"]);
    }
}

#[tokio::test]
async fn what_others_change_shows_in_memory() {
    for backend in [MEMORY, SQLITE_LOCAL] {
        let world = World::new(backend, options()).await;
        let plan = Plan::calm();
        let (service, _follower) = node(&world, &plan, &Plan::calm()).await;
        let other = world.calm();
        let name = format!("{PREFIX}/d/a");

        // Each step is warm before the next one.
        assert_eq!(size(&service, "d/a").await, None);
        put(&other, "d/a", "1").await.unwrap();
        until_size(&service, "d/a", Some(1)).await;
        put(&other, "d/a", "22").await.unwrap();
        until_size(&service, "d/a", Some(2)).await;
        other.delete(&path("d/a"), &Precondition::None).await.unwrap();
        until_size(&service, "d/a", None).await;
        world.php_create("d/a", "333").await;
        until_size(&service, "d/a", Some(3)).await;
        world.foreign.soft_delete(&name).await;
        until_size(&service, "d/a", None).await;
        world.foreign.delete(&name).await;
        world.php_create("d/a", "4444").await;
        until_size(&service, "d/a", Some(4)).await;
        world.foreign.delete_directory(&format!("{PREFIX}/d")).await;
        until_size(&service, "d/a", None).await;
    }
}

/// Size and second are those of the version before: only the feed tells, and the row knows it
/// when the change has been materialised.
#[tokio::test]
async fn a_foreign_overwrite_in_the_same_second_voids_what_is_in_memory() {
    for backend in [MEMORY, SQLITE_LOCAL] {
        let world = World::new(backend, options()).await;
        put(&world.calm(), "d/a", "ours").await.unwrap();
        let (service, _follower) = node(&world, &Plan::calm(), &Plan::calm()).await;
        let warm = service.load(&path("d/a")).await.unwrap();
        assert!(warm.sha256.is_some());
        world.php_create("d/a", "PHP!").await;
        for left in (0..PATIENCE).rev() {
            if service.load(&path("d/a")).await.unwrap().sha256.is_none() {
                break;
            }
            assert!(left > 0, "{backend:?}: the digest of other bytes is still told");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.clock.advance(10 * SECOND);
        assert_eq!(read(&service, &path("d/a")).await.unwrap(), "PHP!");
    }
}

#[tokio::test]
async fn an_answer_is_never_older_than_the_bound_whatever_fails() {
    for backend in [MEMORY, SQLITE_LOCAL] {
        let world = World::new(backend, options()).await;
        put(&world.calm(), "d/a", "old").await.unwrap();
        let (own, feed) = (Plan::calm(), Plan::calm());
        let (service, follower) = node(&world, &own, &feed).await;
        assert_eq!(size(&service, "d/a").await, Some(3));

        // The feed falls silent: what is in memory may be served a little longer, not more.
        feed.go_down();
        world.php_create("d/a", "newer").await;
        own.reset();
        assert_eq!(size(&service, "d/a").await, Some(3));
        assert!(own.calls().is_empty(), "within the bound nobody is asked");
        world.clock.advance(SECOND);
        assert_eq!(size(&service, "d/a").await, Some(5), "{backend:?}");
        assert_eq!(own.calls(), ["record"]);

        // The database is gone altogether: an error, and not what was once right.
        own.go_down();
        let e = service.load(&path("d/a")).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unavailable);
        assert_eq!(follower.state().age, None);

        until("a poll that fails", || follower.state().errors > 0).await;
        own.come_back();
        feed.come_back();
        let before = follower.state().resyncs;
        until("a fresh feed", || follower.freshness().is_fresh()).await;
        assert_eq!(follower.state().resyncs, before + 1, "a silence drops everything");
        assert_eq!(size(&service, "d/a").await, Some(5));
    }
}

#[tokio::test]
async fn own_changes_show_before_they_are_acknowledged() {
    let world = World::new(MEMORY_LOCAL, options()).await;
    let (own, feed) = (Plan::calm(), Plan::calm());
    let (service, follower) = node(&world, &own, &feed).await;
    // The feed is fresh and tells nothing more.
    feed.go_down();
    for n in 1..4 {
        assert_eq!(size(&service, "d/a").await, None);
        assert_eq!(size(&service, "d/b").await, None);
        put(&service, "d/a", vec![b'x'; n]).await.unwrap();
        let expected = u64::try_from(n).unwrap();
        assert_eq!(size(&service, "d/a").await, Some(expected));
        service.rename(&path("d/a"), &path("d/b"), false).await.unwrap();
        assert_eq!(size(&service, "d/a").await, None);
        assert_eq!(size(&service, "d/b").await, Some(expected));
        service.delete(&path("d/b"), &Precondition::None).await.unwrap();
    }
    assert!(follower.freshness().is_fresh(), "the test shows nothing without");
    let (_, cache) = service.memory_state().unwrap();
    assert!(cache.hits > 0, "{cache:?}");
}

#[tokio::test]
async fn a_mismatch_is_looked_up_past_memory() {
    for backend in [MEMORY, SQLITE_LOCAL] {
        let world = World::new(backend, patient()).await;
        put(&world.calm(), "d/a", "old").await.unwrap();
        let (own, feed) = (Plan::calm(), Plan::calm());
        let (service, follower) = node(&world, &own, &feed).await;
        assert_eq!(read(&service, &path("d/a")).await.unwrap(), "old");
        feed.go_down();
        put(&world.calm(), "d/a", "new").await.unwrap();
        assert_eq!(read(&service, &path("d/a")).await.unwrap(), "new", "{backend:?}");
        own.reset();
        assert_eq!(read(&service, &path("d/a")).await.unwrap(), "new");
        assert_eq!(own.calls(), ["record", "get"], "memory forgot the old version");
        if backend.local {
            // Elsewhere deleted bytes stay in place until their reap, and may be served meanwhile.
            world.calm().delete(&path("d/a"), &Precondition::None).await.unwrap();
            let e = read(&service, &path("d/a")).await.unwrap_err();
            assert_eq!(e.kind(), ErrorKind::NotFound, "{backend:?}");
        }
        assert!(follower.freshness().is_fresh(), "the test shows nothing without");
    }
}

#[tokio::test]
async fn a_gap_drops_everything() {
    let world = World::new(MEMORY, options()).await;
    for at in ["d/a", "d/b", "d/c"] {
        put(&world.calm(), at, "old").await.unwrap();
    }
    let plan = Plan::calm();
    let (service, follower) = node(&world, &plan, &Plan::calm()).await;
    let mut subscription = follower.subscribe();
    for at in ["d/a", "d/b", "d/c"] {
        assert_eq!(size(&service, at).await, Some(3));
    }
    // On one thread and without a pause, so that the follower hears nothing in between.
    put(&world.calm(), "d/a", "newer").await.unwrap();
    world.metadata.trim_feed(Timestamp::from_nanos(i64::MAX)).await.unwrap();
    until_size(&service, "d/a", Some(5)).await;
    plan.reset();
    for at in ["d/b", "d/c"] {
        assert_eq!(size(&service, at).await, Some(3));
    }
    assert_eq!(plan.calls(), ["record", "record"]);
    assert_eq!(follower.state().resyncs, 1);
    assert!(matches!(subscription.next().await, Some(Told::Lost)));
}

#[tokio::test]
async fn subscribers_hear_every_change_in_order_or_that_they_were_too_slow() {
    let world = World::new(MEMORY, options()).await;
    let with = FollowerOptions { queue: 2, ..FollowerOptions::default() };
    let follower = follow_with(&world, &Plan::calm(), with);
    until("a fresh feed", || follower.freshness().is_fresh()).await;
    let (mut quick, mut slow) = (follower.subscribe(), follower.subscribe());
    for n in 0..5_u64 {
        let at = format!("d/{n}");
        put(&world.calm(), &at, "x").await.unwrap();
        let Some(Told::Changed(events)) = quick.next().await else { panic!("not told of {at}") };
        let names: Vec<&str> = events.iter().map(|e| &*e.name).collect();
        assert_eq!(names, [format!("{PREFIX}/{at}")]);
    }
    assert!(matches!(slow.next().await, Some(Told::Lost)));
    for n in 3..5 {
        let Some(Told::Changed(events)) = slow.next().await else { panic!("nothing of {n}") };
        assert_eq!(events[0].name, format!("{PREFIX}/d/{n}"));
    }
    follower.stop().await;
    assert!(slow.next().await.is_none() && quick.next().await.is_none());
}

#[tokio::test]
async fn without_its_follower_a_service_asks_the_database() {
    let world = World::new(MEMORY, options()).await;
    put(&world.calm(), "d/a", "bytes").await.unwrap();
    let plan = Plan::calm();
    let (service, follower) = node(&world, &plan, &Plan::calm()).await;
    assert_eq!(size(&service, "d/a").await, Some(5));
    follower.stop().await;
    world.clock.advance(SECOND);
    plan.reset();
    for _ in 0..2 {
        assert_eq!(size(&service, "d/a").await, Some(5));
    }
    assert_eq!(plan.calls(), ["record", "record"]);
}

/// A change that the feed could not tell.
#[tokio::test]
async fn a_row_is_kept_for_a_minute_at_most() {
    let world = World::new(MEMORY, options()).await;
    put(&world.calm(), "d/a", "bytes").await.unwrap();
    let long = FollowerOptions { max_staleness: 300 * SECOND, ..FollowerOptions::default() };
    let follower = follow_with(&world, &Plan::calm(), long);
    until("a fresh feed", || follower.freshness().is_fresh()).await;
    let plan = Plan::calm();
    let service = world.node(&plan).with_follower(&follower, CacheOptions::default());
    for (later, expected) in [(0, 1), (50, 1), (20, 2), (0, 2)] {
        world.clock.advance(later * SECOND);
        assert_eq!(size(&service, "d/a").await, Some(5));
        assert_eq!(plan.calls().len(), expected, "{later} s later");
    }
}

#[tokio::test]
async fn memory_is_bounded() {
    let world = World::new(MEMORY, options()).await;
    let follower = follow_with(&world, &Plan::calm(), FollowerOptions::default());
    let bytes = 128 * 1024;
    let service =
        world.calm().with_follower(&follower, CacheOptions { bytes, ..CacheOptions::default() });
    until("a fresh feed", || follower.freshness().is_fresh()).await;
    for n in 0..2_000 {
        assert_eq!(size(&service, &format!("d/{n}")).await, None);
    }
    let (_, cache) = service.memory_state().unwrap();
    assert!(cache.bytes <= bytes && cache.entries > 20, "{cache:?}");
}

/// Two nodes with memory: each reads its own writes at once, the other's never backwards, and
/// every version whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_never_go_back_on_nodes_with_memory() {
    const ROUNDS: u8 = 60;
    for backend in [MEMORY_LOCAL, SQLITE_LOCAL] {
        let world = World::new(backend, patient()).await;
        let (writer, _one) = node(&world, &Plan::calm(), &Plan::calm()).await;
        let (reader, _two) = node(&world, &Plan::calm(), &Plan::calm()).await;
        let at = path("d/a");
        put(&writer, "d/a", version(0)).await.unwrap();
        let watching = {
            let (reader, at) = (reader.clone(), at.clone());
            tokio::spawn(async move {
                let mut latest = 0;
                while latest + 1 < ROUNDS {
                    let seen = whole(&reader, &at, backend).await;
                    assert!(seen >= latest, "{backend:?}: {seen} after {latest}");
                    latest = seen;
                    tokio::task::yield_now().await;
                }
            })
        };
        for n in 0..ROUNDS {
            put(&writer, "d/a", version(n)).await.unwrap();
            assert_eq!(whole(&writer, &at, backend).await, n, "{backend:?}");
        }
        watching.await.unwrap();
    }
}

fn version(n: u8) -> Bytes {
    Bytes::from(vec![n; 1_000 + usize::from(n)])
}

async fn whole(service: &FileService, at: &FilePath, backend: Backend) -> u8 {
    let bytes = read(service, at).await.unwrap();
    let n = bytes[0];
    assert_eq!(bytes, version(n), "{backend:?}");
    n
}
