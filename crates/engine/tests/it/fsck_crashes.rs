//! Repairs of fsck that break at each of their steps: the process dies there, or the call or its
//! reply is lost and it goes on. Nothing is lost, and the next run finishes the work (P6).

use std::collections::BTreeMap;
use std::time::Duration;

use ezdfs_core::{Change, DirPath, Entry, IntentState, Op, Timestamp};
use ezdfs_engine::fsck::{FsckOptions, Kind, Repairs};
use ezdfs_engine::{FileService, Precondition};
use ezdfs_testkit::faults::{Loss, Plan};

use crate::fsck::{an_hour, fsck};
use crate::world::*;

const KEEP: Duration = Duration::from_secs(7 * 24 * 3600);
/// More than one transaction takes new pins for.
const ADOPTED: usize = 120;

fn with(repairs: Repairs) -> FsckOptions {
    FsckOptions { repairs, jobs: 1, ..FsckOptions::default() }
}

/// Runs something once for each of its steps and each way in which that can break, on a world of its
/// own; then looks. `least` is how many steps it must have.
async fn break_at_every_step(
    backend: Backend,
    least: u64,
    prepare: impl AsyncFn(Backend) -> World,
    run: impl AsyncFn(&FileService) -> Result<(), ezdfs_core::Error>,
    look: impl AsyncFn(&World, &str),
) {
    let ways: [fn(u64, Loss) -> Plan; 2] = [Plan::crash_at, Plan::fail_at];
    for (way, plan) in ["killed", "failed"].into_iter().zip(ways) {
        for loss in [Loss::Call, Loss::Reply] {
            let mut at = 1;
            loop {
                let world = prepare(backend).await;
                let plan = plan(at, loss);
                // What it says of a fault is looked at below: the next run must find what is left.
                drop(run(&world.node(&plan)).await);
                if !plan.fired() {
                    break;
                }
                let step = plan.calls().last().copied().unwrap_or_default();
                let context = format!("{backend:?}, {way} at {at} ({step}), {loss:?} lost");
                world.outlast_lease();
                let done = world.calm().maintain().await.unwrap();
                assert_eq!(done.failed, 0, "{context}: {done:?}");
                look(&world, &context).await;
                at += 1;
            }
            assert!(at > least, "{backend:?}: {} steps only", at - 1);
        }
    }
}

async fn run_fsck(service: &FileService, repairs: Repairs) -> Result<(), ezdfs_core::Error> {
    fsck(service, &with(repairs)).await.map(|_| ())
}

/// Nothing is held and nothing waits.
async fn assert_nothing_pending(world: &World, context: &str) {
    let far = Timestamp::from_nanos(i64::MAX);
    for state in [IntentState::Held, IntentState::Queued] {
        let left = world.metadata.due(state, far, 9).await.unwrap();
        assert!(left.is_empty(), "{context}: {left:?}");
    }
}

/// A tree that was copied back: every pin is another one.
async fn restored_tree(backend: Backend) -> World {
    let world = World::new(backend, options()).await;
    let service = world.calm();
    for n in 0..ADOPTED {
        put(&service, &format!("ours/{n}"), format!("{n}")).await.unwrap();
    }
    an_hour(&world);
    world.restore_tree();
    world
}

#[tokio::test]
async fn an_adoption_that_breaks_anywhere_is_finished_by_the_next() {
    let adopt = Repairs { adopt: true, ..Repairs::default() };
    for backend in [MEMORY_LOCAL, SQLITE_LOCAL] {
        let run = async |service: &FileService| run_fsck(service, adopt).await;
        let look = async |world: &World, context: &str| {
            let service = world.calm();
            // Half adopted, every file can be read: no version was lost or mixed up.
            for n in [0, ADOPTED / 2, ADOPTED - 1] {
                let bytes = read(&service, &path(&format!("ours/{n}"))).await.unwrap();
                assert_eq!(bytes, format!("{n}"), "{context}");
            }
            let (_, summary) = fsck(&service, &with(adopt)).await.unwrap();
            assert_eq!((summary.failed, summary.busy), (0, 0), "{context}: {summary:?}");
            let (findings, _) = fsck(&service, &FsckOptions::default()).await.unwrap();
            assert!(findings.is_empty(), "{context}: {findings:?}");
            let plan = Plan::calm();
            let bytes = read(&world.node(&plan), &path("ours/1")).await.unwrap();
            assert_eq!((bytes.as_ref(), plan.calls()), (&b"1"[..], vec!["record", "get"]));
            assert_nothing_pending(world, context).await;
        };
        break_at_every_step(backend, 2, restored_tree, run, look).await;
    }
}

async fn empty_directories(backend: Backend) -> World {
    let world = World::new(backend, options()).await;
    let service = world.calm();
    put(&service, "kept/a/file", "x").await.unwrap();
    for dir in ["kept/b/c", "gone/a", "gone/b"] {
        service.mkdir(&path(dir), true, None).await.unwrap();
    }
    an_hour(&world);
    world
}

#[tokio::test]
async fn a_pruning_that_breaks_anywhere_is_finished_by_the_next() {
    let prune = Repairs { prune_empty: true, ..Repairs::default() };
    for backend in [MEMORY, SQLITE_LOCAL] {
        let run = async |service: &FileService| run_fsck(service, prune).await;
        let look = async |world: &World, context: &str| {
            let service = world.calm();
            assert_eq!(read(&service, &path("kept/a/file")).await.unwrap(), "x", "{context}");
            // Directories whose entries went a moment ago are young.
            an_hour(world);
            let (_, summary) = fsck(&service, &with(prune)).await.unwrap();
            assert_eq!((summary.failed, summary.busy), (0, 0), "{context}: {summary:?}");
            let (findings, _) = fsck(&service, &with(prune)).await.unwrap();
            assert!(findings.is_empty(), "{context}: {findings:?}");
            for (dir, left) in [("", vec!["kept"]), ("kept", vec!["kept/a"])] {
                let dir = if dir.is_empty() { DirPath::root() } else { path(dir).into() };
                let page = service.list(&dir, None, 9).await.unwrap();
                let paths: Vec<_> = page.entries.iter().map(Entry::path).collect();
                assert_eq!(paths, left, "{context}");
            }
            assert_eq!(read(&service, &path("kept/a/file")).await.unwrap(), "x", "{context}");
            assert_nothing_pending(world, context).await;
        };
        break_at_every_step(backend, 5, empty_directories, run, look).await;
    }
}

/// Deleted bytes and quarantined ones, of which a restored database knows nothing.
async fn leftovers(backend: Backend) -> World {
    let world = World::new(backend, options()).await;
    let service = world.calm();
    put(&service, "good", "good").await.unwrap();
    put(&service, "deleted", "bytes").await.unwrap();
    world.php_object("orphan", "bytes").await;
    an_hour(&world);
    run_fsck(&service, Repairs { safe: true, keep: KEEP, ..Repairs::default() }).await.unwrap();
    service.delete(&path("deleted"), &Precondition::None).await.unwrap();
    let far = Timestamp::from_nanos(i64::MAX);
    for reap in world.metadata.due(IntentState::Queued, far, 9).await.unwrap() {
        world.metadata.apply(Change::new().op(Op::Forget(reap.id))).await.unwrap();
    }
    world
}

#[tokio::test]
async fn leftovers_are_queued_once_wherever_their_queueing_breaks() {
    for backend in [MEMORY_LOCAL, SQLITE_LOCAL] {
        let run = async |service: &FileService| service.queue_leftovers(KEEP).await.map(|_| ());
        let look = async |world: &World, context: &str| {
            let service = world.calm();
            let left = async || world.all_objects().await.len() + world.quarantined().await.len();
            assert_eq!(left().await, 3, "{context}: it is not their time");
            service.queue_leftovers(KEEP).await.unwrap();
            let far = Timestamp::from_nanos(i64::MAX);
            let queued = world.metadata.due(IntentState::Queued, far, 9).await.unwrap();
            assert_eq!(queued.len(), 2, "{context}: {queued:?}");
            world.clock.advance(KEEP * 2);
            let done = service.maintain().await.unwrap();
            assert_eq!(done.failed, 0, "{context}: {done:?}");
            assert_eq!(left().await, 1, "{context}: only the good file");
            assert_eq!(read(&service, &path("good")).await.unwrap(), "good", "{context}");
            assert_nothing_pending(world, context).await;
        };
        break_at_every_step(backend, 2, leftovers, run, look).await;
    }
}

/// Entries of files that PHP deleted while nothing told of it.
async fn strays(backend: Backend) -> World {
    let world = World::new(backend, options()).await;
    let service = world.calm();
    for at in ["d/good", "d/gone", "d/e/gone"] {
        put(&service, at, "bytes").await.unwrap();
    }
    for at in ["d/gone", "d/e/gone"] {
        world.php_delete(at).await;
    }
    world.sql().await.run("DELETE FROM ezdfs_change").await;
    an_hour(&world);
    world
}

#[tokio::test]
async fn entries_without_a_row_go_wherever_their_removal_breaks() {
    let safe = Repairs { safe: true, keep: KEEP, ..Repairs::default() };
    let world = strays(SQLITE_LOCAL).await;
    let (findings, summary) = fsck(&world.calm(), &with(safe)).await.unwrap();
    let strays_of = |n| BTreeMap::from([(Kind::StrayEntry, n)]);
    assert_eq!(summary.repaired, strays_of(2), "{findings:?}");

    let run = async |service: &FileService| run_fsck(service, safe).await;
    let look = async |world: &World, context: &str| {
        let service = world.calm();
        let (findings, summary) = fsck(&service, &with(safe)).await.unwrap();
        assert!(
            summary.repaired.is_empty() || summary.repaired == strays_of(2),
            "{context}: {findings:?}"
        );
        let (findings, _) = fsck(&service, &FsckOptions::default()).await.unwrap();
        assert!(findings.is_empty(), "{context}: {findings:?}");
        let page = service.list(&path("d").into(), None, 9).await.unwrap();
        let paths: Vec<_> = page.entries.iter().map(Entry::path).collect();
        assert_eq!(paths, ["d/e", "d/good"], "{context}");
        assert_eq!(read(&service, &path("d/good")).await.unwrap(), "bytes", "{context}");
        assert_nothing_pending(world, context).await;
    };
    break_at_every_step(SQLITE_LOCAL, 1, strays, run, look).await;
}
