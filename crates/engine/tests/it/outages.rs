//! The database is away: errors at once, or what was last known, marked and bounded.

use std::sync::Arc;
use std::time::Duration;

use ezdfs_core::{ErrorKind, SeededEntropy};
use ezdfs_engine::{CacheOptions, FileService, Follower, FollowerOptions, Precondition};
use ezdfs_testkit::faults::{FaultyMetadata, Plan, When};
use futures::future::join_all;

use crate::memory::until;
use crate::world::{MEMORY, SECOND, World, collect, options, path, put, read};

/// Longer than calls are refused for.
const PAUSE: Duration = Duration::from_secs(2);

async fn fails(service: &FileService, at: &str) {
    let e = service.load(&path(at)).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unavailable, "{e}");
}

#[tokio::test]
async fn while_the_database_is_away_one_call_asks_and_the_others_fail_at_once() {
    let world = World::new(MEMORY, options()).await;
    put(&world.calm(), "d/a", "bytes").await.unwrap();
    let plan = Plan::calm();
    let service = world.node(&plan).with_breaker();
    assert_eq!(read(&service, &path("d/a")).await.unwrap(), "bytes");
    plan.go_down();
    for asked in 1..4 {
        join_all((0..50).map(|_| fails(&service, "d/a"))).await;
        assert_eq!(plan.in_vain(), asked, "one call in each pause");
        world.clock.advance(PAUSE);
    }
    plan.come_back();
    assert_eq!(read(&service, &path("d/a")).await.unwrap(), "bytes");
    put(&service, "d/b", "written").await.unwrap();
}

#[tokio::test]
async fn when_it_comes_back_one_call_tries_and_then_all_are_let_in() {
    let world = World::new(MEMORY, options()).await;
    put(&world.calm(), "d/a", "bytes").await.unwrap();
    let slowly = tokio::time::sleep(Duration::from_millis(100));
    let plan = Plan::interrupt_at(1, When::Before, slowly);
    let service = world.node(&plan).with_breaker();
    plan.go_down();
    fails(&service, "d/a").await;
    plan.come_back();
    world.clock.advance(PAUSE);
    let at = path("d/a");
    let tried = join_all((0..20).map(|_| service.load(&at))).await;
    assert_eq!(tried.iter().filter(|t| t.is_ok()).count(), 1);
    assert_eq!(plan.calls(), ["record"]);
    assert!(join_all((0..20).map(|_| service.load(&at))).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_try_that_nobody_waits_for_any_more_is_made_by_another() {
    let world = World::new(MEMORY, options()).await;
    put(&world.calm(), "d/a", "bytes").await.unwrap();
    let plan = Plan::interrupt_at(1, When::Before, std::future::pending());
    let service = world.node(&plan).with_breaker();
    plan.go_down();
    fails(&service, "d/a").await;
    plan.come_back();
    world.clock.advance(PAUSE);
    let at = path("d/a");
    let gone = tokio::time::timeout(Duration::from_millis(20), service.load(&at)).await;
    assert!(gone.is_err());
    fails(&service, "d/a").await;
    world.clock.advance(PAUSE);
    assert_eq!(service.load(&at).await.unwrap().size, 5);
}

/// One call fails while another was answered: the database is there.
#[tokio::test]
async fn a_call_that_fails_while_others_are_answered_stops_nobody() {
    let world = World::new(MEMORY, options()).await;
    put(&world.calm(), "d/a", "bytes").await.unwrap();
    let database = Plan::calm();
    let failing = database.clone();
    let slowly = async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        failing.go_down();
    };
    let slow = Plan::interrupt_at(1, When::Before, slowly);
    let inner = Arc::new(FaultyMetadata::new(world.metadata.clone(), database.clone()));
    let service = world.on(Arc::new(FaultyMetadata::new(inner, slow))).with_breaker();
    let at = path("d/a");
    let (lost, answered) = tokio::join!(service.load(&at), service.load(&at));
    assert_eq!(lost.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(answered.unwrap().size, 5);
    database.come_back();
    assert_eq!(service.load(&at).await.unwrap().size, 5);
}

/// A node that may answer what was last known for ten minutes.
async fn lenient(world: &World, own: &Plan, feed: &Plan) -> (FileService, Follower) {
    let metadata = Arc::new(FaultyMetadata::new(world.metadata.clone(), feed.clone()));
    let clock = Arc::new(world.clock.clone());
    let entropy = Arc::new(SeededEntropy::new(7));
    let follower = Follower::start(metadata, clock, entropy, FollowerOptions::default()).unwrap();
    let options = CacheOptions { stale_if_error: 600 * SECOND, ..CacheOptions::default() };
    let service = world.on_a_database(own).with_breaker().with_follower(&follower, options);
    until("a fresh feed", || follower.freshness().is_fresh()).await;
    (service, follower)
}

async fn stale(service: &FileService, at: &str) -> Option<Duration> {
    let opened = service.open(&path(at), |meta| Some(0..meta.size)).await.unwrap();
    assert_eq!(collect(opened.body.unwrap()).await.unwrap(), "bytes");
    opened.stale
}

#[tokio::test]
async fn what_was_last_known_is_answered_marked_and_bounded() {
    let world = World::new(MEMORY, options()).await;
    for at in ["d/a", "d/deleted", "d/replaced", "d/unseen"] {
        put(&world.calm(), at, "bytes").await.unwrap();
    }
    let (own, feed) = (Plan::calm(), Plan::calm());
    let (service, follower) = lenient(&world, &own, &feed).await;
    for at in ["d/a", "d/deleted", "d/replaced"] {
        assert_eq!(stale(&service, at).await, None);
    }
    assert_eq!(service.load(&path("d/none")).await.unwrap_err().kind(), ErrorKind::NotFound);
    // What was told of is not known any more.
    let before = follower.state().events;
    world.calm().delete(&path("d/deleted"), &Precondition::None).await.unwrap();
    put(&world.calm(), "d/replaced", "other").await.unwrap();
    until("both changes", || follower.state().events >= before + 2).await;

    own.go_down();
    feed.go_down();
    let strict = world.on_a_database(&own);
    for later in [2, 60, 500] {
        world.clock.advance(later * SECOND);
        let age = stale(&service, "d/a").await.expect("a mark");
        assert!(age >= (later - 1) * SECOND && age <= 600 * SECOND, "{age:?}");
        // Only where the mark is shown.
        fails(&service, "d/a").await;
        fails(&strict, "d/a").await;
        assert!(service.open_whole(&path("d/a")).await.is_err());
        assert!(service.exists(&path("d/a")).await.is_err());
        for at in ["d/deleted", "d/replaced", "d/unseen", "d/none"] {
            let e = service.load_marked(&path(at)).await.unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Unavailable, "{at}: {e}");
        }
    }
    world.clock.advance(60 * SECOND);
    assert_eq!(service.load_marked(&path("d/a")).await.unwrap_err().kind(), ErrorKind::Unavailable);

    own.come_back();
    feed.come_back();
    until("a fresh feed", || follower.freshness().is_fresh()).await;
    world.clock.advance(PAUSE);
    assert_eq!(stale(&service, "d/a").await, None);
    assert_eq!(service.load(&path("d/deleted")).await.unwrap_err().kind(), ErrorKind::NotFound);
}

/// What changed during the outage is not passed off as current when the database goes away again.
#[tokio::test]
async fn a_second_outage_counts_from_the_last_proof() {
    let world = World::new(MEMORY, options()).await;
    put(&world.calm(), "d/a", "bytes").await.unwrap();
    let (own, feed) = (Plan::calm(), Plan::calm());
    let (service, follower) = lenient(&world, &own, &feed).await;
    assert_eq!(stale(&service, "d/a").await, None);
    own.go_down();
    feed.go_down();
    world.clock.advance(100 * SECOND);
    feed.come_back();
    until("a fresh feed", || follower.freshness().is_fresh()).await;
    // The feed was back and proved nothing of this row, which nobody loaded since.
    feed.go_down();
    world.clock.advance(10 * SECOND);
    let age = stale(&service, "d/a").await.expect("a mark");
    assert!(age >= 109 * SECOND, "{age:?}");
}

#[tokio::test]
async fn without_the_option_nothing_old_is_answered() {
    let world = World::new(MEMORY, options()).await;
    put(&world.calm(), "d/a", "bytes").await.unwrap();
    let (own, feed) = (Plan::calm(), Plan::calm());
    let (service, _follower) = crate::memory::node(&world, &own, &feed).await;
    assert_eq!(stale(&service, "d/a").await, None);
    own.go_down();
    feed.go_down();
    world.clock.advance(2 * SECOND);
    assert!(service.load_marked(&path("d/a")).await.is_err());
}
