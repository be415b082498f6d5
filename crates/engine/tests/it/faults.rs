//! A crash, or one failing call, at every call that changes something, in every operation, on every
//! pair of handlers: after a restart each file is whole and either old or new (P1, P2), acknowledged work is
//! visible, nothing stays blocked, no bytes of a visible row are lost and nothing is left over
//! (P6).

use std::time::Duration;

use ezdfs_core::{DirPath, Error, ErrorKind};
use ezdfs_engine::{FileService, Options, Precondition, PublishOptions, Touch};
use ezdfs_testkit::TestBucket;
use ezdfs_testkit::faults::{Loss, Plan};

use crate::world::{
    Backend, Files, MEMORY, MEMORY_LOCAL, Run, SECOND, SQLITE_CARELESS_S3,
    SQLITE_CARELESS_S3_SERVER, SQLITE_CLOUD, SQLITE_LOCAL, SQLITE_S3, SQLITE_S3_SERVER, World,
    is_retryable, options, path, put, put_with, read, run,
};

/// An operation, and the state it starts from.
struct Case {
    options: Options,
    setup: Run,
    run: Run,
    /// Whether the operation is one step for every reader, once it is over.
    atomic: bool,
    /// An orphan was there before.
    orphan: bool,
}

/// Who looks first after the crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    Readers,
    Maintenance,
}

/// How the process dies at a call, and who looks first afterwards.
type Fault = (fn(u64, Loss) -> Plan, First);

/// Every way to die at a call.
const ALL: [(Loss, Fault); 6] = [
    (Loss::Call, (Plan::crash_at, First::Readers)),
    (Loss::Call, (Plan::crash_at, First::Maintenance)),
    (Loss::Call, (Plan::fail_at, First::Readers)),
    (Loss::Reply, (Plan::crash_at, First::Readers)),
    (Loss::Reply, (Plan::crash_at, First::Maintenance)),
    (Loss::Reply, (Plan::fail_at, First::Readers)),
];

/// What is enough on a server, which takes its time.
const FEW: [(Loss, Fault); 2] = [ALL[0], ALL[4]];

async fn check(backend: Backend, case: Case) {
    check_with(backend, case, &ALL).await;
}

async fn check_with(backend: Backend, case: Case, faults: &[(Loss, Fault)]) {
    // What there is before and after, on the very same back end.
    let world = prepare(backend, &case).await;
    let before = world.files(&world.calm()).await;
    (case.run)(&world.calm(), &world).await.unwrap();
    let after = world.files(&world.calm()).await;

    let mut points = 0;
    for (loss, (plan, first)) in faults {
        let mut at = 1;
        while fault(backend, &case, plan(at, *loss), at, *loss, *first, &before, &after).await {
            at += 1;
        }
        points += at - 1;
    }
    assert!(points >= 2, "an operation without a fault point");
}

async fn prepare(backend: Backend, case: &Case) -> World {
    let world = World::new(backend, case.options).await;
    (case.setup)(&world.calm(), &world).await.unwrap();
    world
}

/// One run; `false` when the operation has no such call.
#[expect(clippy::too_many_arguments, reason = "the dimensions of one table")]
async fn fault(
    backend: Backend,
    case: &Case,
    plan: Plan,
    at: u64,
    loss: Loss,
    first: First,
    before: &Files,
    after: &Files,
) -> bool {
    let world = prepare(backend, case).await;
    let outcome = (case.run)(&world.node(&plan), &world).await;
    if !plan.fired() {
        assert!(outcome.is_ok(), "{outcome:?}");
        return false;
    }
    let context = format!(
        "{backend:?}, call {at} ({:?}), {loss:?} lost, {first:?} first",
        plan.calls().last()
    );
    let survivor = world.calm();
    let paths: Vec<_> = before.keys().chain(after.keys()).map(|p| path(p)).collect();

    // At once: a version or a retryable error.
    for one in &paths {
        match read(&survivor, one).await {
            Ok(bytes) => assert_version(&context, one.as_str(), &bytes, before, after),
            Err(e) => assert!(is_retryable(&e), "{context}: {one}: {e} ({:?})", e.kind()),
        }
    }
    world.outlast_lease();
    if first == First::Maintenance {
        let done = survivor.maintain().await.unwrap();
        assert_eq!(done.failed, 0, "{context}: {done:?}");
    }
    // Then: a version, or the file is not there.
    for one in &paths {
        match read(&survivor, one).await {
            Ok(bytes) => assert_version(&context, one.as_str(), &bytes, before, after),
            Err(e) => assert_eq!(e.kind(), ErrorKind::NotFound, "{context}: {one}: {e}"),
        }
    }
    let done = survivor.maintain().await.unwrap();
    assert_eq!(done.failed, 0, "{context}: {done:?}");
    let now = world.files(&survivor).await;
    if outcome.is_ok() {
        assert_eq!(&now, after, "{context}: acknowledged, but");
    } else if case.atomic {
        assert!(now == *before || now == *after, "{context}: neither old nor new: {now:?}");
    } else {
        for (path, bytes) in &now {
            assert!(
                before.get(path) == Some(bytes) || after.get(path) == Some(bytes),
                "{context}: {path}"
            );
        }
        assert!(after.keys().all(|p| now.contains_key(p)), "{context}: {now:?}");
    }
    // Listings agree.
    for one in now.keys() {
        let dir = path(one).parent();
        let page = survivor.list(&dir, None, 1000).await.unwrap();
        assert!(page.entries.iter().any(|e| e.path() == one), "{context}: {one} is not listed");
    }
    world.clean_up(&survivor).await;
    let expired = now.values().any(|(_, expires)| expires.is_some());
    if !expired {
        assert_eq!(world.files(&survivor).await, now, "{context}: changed by maintenance");
    }
    if !case.orphan {
        world.assert_no_leftovers(&context).await;
    }
    // Nothing stays blocked.
    for one in &paths {
        let done = put(&survivor, one.as_str(), "and on").await;
        assert!(done.is_ok(), "{context}: {one} is stuck: {done:?}");
        assert_eq!(read(&survivor, one).await.unwrap(), "and on", "{context}");
    }
    world.clean_up(&survivor).await;
    world.assert_no_leftovers(&context).await;
    true
}

fn assert_version(context: &str, path: &str, bytes: &[u8], before: &Files, after: &Files) {
    let is = |files: &Files| files.get(path).is_some_and(|(b, _)| b == bytes);
    assert!(
        is(before) || is(after),
        "{context}: {path} has bytes that were never published: {bytes:?}"
    );
}

fn case(setup: Run, run: Run) -> Case {
    Case { options: options(), setup, run, atomic: true, orphan: false }
}

macro_rules! cases {
    ($($name:ident => $case:expr;)*) => {
        mod memory_metadata_with_memory_objects { use super::*; $(
            #[tokio::test]
            async fn $name() { check(MEMORY, $case).await; }
        )* }
        mod memory_metadata_with_local_files { use super::*; $(
            #[tokio::test]
            async fn $name() { check(MEMORY_LOCAL, $case).await; }
        )* }
        mod sqlite_metadata_with_memory_objects { use super::*; $(
            #[tokio::test]
            async fn $name() { check(SQLITE_CLOUD, $case).await; }
        )* }
        mod sqlite_metadata_with_local_files { use super::*; $(
            #[tokio::test]
            async fn $name() { check(SQLITE_LOCAL, $case).await; }
        )* }
    };
}

cases! {
    a_crash_while_creating => case(
        run!(|s, _w| put(s, "other", "untouched").await?),
        run!(|s, _w| put(s, "images/a", "new").await?),
    );
    a_crash_while_overwriting => case(
        run!(|s, _w| put(s, "images/a", "old").await?),
        run!(|s, _w| put(s, "images/a", "brand-new").await?),
    );
    a_crash_while_overwriting_with_the_same_size => case(
        run!(|s, _w| put(s, "images/a", "old").await?),
        run!(|s, _w| put(s, "images/a", "new").await?),
    );
    a_crash_while_publishing_an_empty_file => case(
        run!(|s, _w| put(s, "images/a", "old").await?),
        run!(|s, _w| put(s, "images/a", "").await?),
    );
    a_crash_while_overwriting_a_foreign_file => case(
        run!(|s, w| w.php_create("images/a", "foreign").await),
        run!(|s, _w| put(s, "images/a", "ezdfs's").await?),
    );
    a_crash_while_creating_conditionally => case(
        run!(|s, _w| put(s, "other", "untouched").await?),
        run!(|s, _w| {
            let options = PublishOptions { precondition: Precondition::Absent, ..PublishOptions::default() };
            put_with(s, "images/a", "new", options).await?
        }),
    );
    a_crash_while_overwriting_conditionally => case(
        run!(|s, _w| put(s, "images/a", "old").await?),
        run!(|s, _w| {
            let etag = s.load(&path("images/a")).await?.etag();
            let options = PublishOptions {
                precondition: Precondition::Matches(vec![etag]),
                ..PublishOptions::default()
            };
            put_with(s, "images/a", "new", options).await?
        }),
    );
    a_crash_while_deleting => case(
        run!(|s, _w| { put(s, "images/a", "old").await?; put(s, "images/b", "other").await? }),
        run!(|s, _w| s.delete(&path("images/a"), &Precondition::None).await?),
    );
    a_crash_while_deleting_a_foreign_file => case(
        run!(|s, w| w.php_create("images/a", "foreign").await),
        run!(|s, _w| s.delete(&path("images/a"), &Precondition::None).await?),
    );
    a_crash_while_moving_to_trash => Case {
        options: Options { trash: Duration::from_secs(600), ..options() },
        ..case(
            run!(|s, w| { put(s, "images/a", "old").await?; w.php_create("images/b", "foreign").await }),
            run!(|s, _w| {
                s.delete(&path("images/b"), &Precondition::None).await?;
            }),
        )
    };
    a_crash_while_deleting_an_orphan => Case {
        orphan: true,
        ..case(
            run!(|s, w| {
                w.php_object("images/a", "orphan").await;
                w.clock.advance(10 * SECOND)
            }),
            run!(|s, _w| {
                match s.delete(&path("images/a"), &Precondition::None).await {
                    Err(e) if e.kind() == ErrorKind::NotFound => put(s, "images/a", "new").await?,
                    Err(e) => return Err(e),
                    Ok(()) => panic!("there is no row"),
                }
            }),
        )
    };
    a_crash_while_deleting_a_directory => Case {
        atomic: false,
        ..case(
            run!(|s, w| {
                for at in ["d/a", "d/b", "d/e/c", "d2", "dx/a"] { put(s, at, at).await?; }
                w.php_create("d/php", "foreign").await
            }),
            run!(|s, _w| s.delete_dir(&path("d"), |_| ()).await?),
        )
    };
    a_crash_while_renaming_a_file => case(
        run!(|s, _w| put(s, "images/a", "bytes").await?),
        run!(|s, _w| s.rename(&path("images/a"), &path("new/b"), false).await?),
    );
    a_crash_while_renaming_a_file_over_another => case(
        run!(|s, _w| { put(s, "images/a", "bytes").await?; put(s, "images/b", "replaced").await? }),
        run!(|s, _w| s.rename(&path("images/a"), &path("images/b"), true).await?),
    );
    a_crash_while_renaming_a_foreign_file => case(
        run!(|s, w| w.php_create("images/a", "foreign").await),
        run!(|s, _w| s.rename(&path("images/a"), &path("images/b"), false).await?),
    );
    a_crash_while_renaming_a_foreign_file_over_another => case(
        run!(|s, w| { put(s, "images/b", "replaced").await?; w.php_create("images/a", "foreign!").await }),
        run!(|s, _w| s.rename(&path("images/a"), &path("images/b"), true).await?),
    );
    a_crash_while_renaming_a_directory => case(
        run!(|s, w| {
            for at in ["d/a", "d/e/b", "dx/c"] { put(s, at, at).await?; }
            w.php_create("d/php", "foreign").await
        }),
        run!(|s, _w| s.rename(&path("d"), &path("moved/to"), false).await?),
    );
    a_crash_while_touching => case(
        run!(|s, _w| put(s, "images/a", "bytes").await?),
        run!(|s, w| {
            let expires = Some(Some(ezdfs_core::Clock::now(&w.clock).plus(Duration::from_secs(86_400))));
            s.touch(&path("images/a"), &Touch { expires, ..Touch::default() }).await?
        }),
    );
    a_crash_while_making_a_file_by_touch => case(
        run!(|s, _w| put(s, "other", "untouched").await?),
        run!(|s, _w| s.touch(&path("images/a"), &Touch::default()).await?),
    );
    a_crash_while_copying => case(
        run!(|s, _w| put(s, "images/a", "bytes").await?),
        run!(|s, _w| s.copy(&path("images/a"), &path("images/b"), false).await?),
    );
    a_crash_while_restoring => Case {
        options: Options { trash: Duration::from_secs(600), ..options() },
        ..case(
            run!(|s, _w| {
                put(s, "images/a", "bytes").await?;
                s.delete(&path("images/a"), &Precondition::None).await?
            }),
            run!(|s, _w| s.restore(&path("images/a")).await?),
        )
    };
    a_crash_while_purging => Case {
        options: Options { trash: Duration::from_secs(600), ..options() },
        ..case(
            run!(|s, _w| {
                put(s, "other", "untouched").await?;
                put(s, "images/a", "bytes").await?;
                s.delete(&path("images/a"), &Precondition::None).await?
            }),
            run!(|s, _w| s.purge(&path("images/a")).await?),
        )
    };
    a_crash_while_reaping => case(
        run!(|s, w| {
            put(s, "images/a", "bytes").await?;
            put(s, "images/b", "stays").await?;
            s.delete(&path("images/a"), &Precondition::None).await?;
            w.clock.advance(61 * SECOND)
        }),
        run!(|s, _w| fully_maintained(s).await?),
    );
    a_crash_while_reaping_a_path_that_was_created_again => case(
        run!(|s, w| {
            put(s, "images/a", "old").await?;
            s.delete(&path("images/a"), &Precondition::None).await?;
            w.clock.advance(61 * SECOND);
            put(s, "images/a", "new").await?
        }),
        run!(|s, _w| fully_maintained(s).await?),
    );
    a_crash_while_emptying_the_trash => Case {
        options: Options { trash: Duration::from_secs(600), ..options() },
        ..case(
            run!(|s, w| {
                put(s, "images/a", "bytes").await?;
                put(s, "images/b", "stays").await?;
                s.delete(&path("images/a"), &Precondition::None).await?;
                w.clock.advance(601 * SECOND)
            }),
            run!(|s, _w| fully_maintained(s).await?),
        )
    };
    a_crash_while_expiring => case(
        run!(|s, w| {
            let expires = Some(ezdfs_core::Clock::now(&w.clock).plus(10 * SECOND));
            put(s, "images/b", "stays").await?;
            put_with(s, "images/a", "short-lived", PublishOptions { expires, ..PublishOptions::default() }).await?;
            w.clock.advance(11 * SECOND)
        }),
        run!(|s, _w| fully_maintained(s).await?),
    );
    a_crash_while_making_and_removing_directories => case(
        run!(|s, _w| put(s, "other", "untouched").await?),
        run!(|s, _w| {
            s.mkdir(&path("d/e"), true, None).await?;
            s.rmdir(&path("d/e")).await?;
            put(s, "d/a", "bytes").await?
        }),
    );
}

/// The same on a cloud behind its real client, by HTTP: with conditional requests and without.
macro_rules! cloud_cases {
    ($($name:ident => $case:expr;)*) => {
        mod sqlite_metadata_with_s3 { use super::*; $(
            #[tokio::test]
            async fn $name() { check(SQLITE_S3, $case).await; }
        )* }
        mod sqlite_metadata_with_careless_s3 { use super::*; $(
            #[tokio::test]
            async fn $name() { check(SQLITE_CARELESS_S3, $case).await; }
        )* }
    };
}

cloud_cases! {
    a_crash_while_creating_on_a_cloud => case(
        run!(|s, _w| put(s, "other", "untouched").await?),
        run!(|s, _w| put(s, "images/a", "new").await?),
    );
    a_crash_while_overwriting_on_a_cloud => case(
        run!(|s, _w| put(s, "images/a", "old").await?),
        run!(|s, _w| put(s, "images/a", "brand-new").await?),
    );
    a_crash_while_overwriting_a_foreign_file_on_a_cloud => case(
        run!(|s, w| w.php_create("images/a", "foreign").await),
        run!(|s, _w| put(s, "images/a", "ezdfs's").await?),
    );
    a_crash_while_creating_what_is_not_reaped_yet_on_a_cloud => case(
        run!(|s, _w| {
            put(s, "images/a", "old").await?;
            s.delete(&path("images/a"), &Precondition::None).await?
        }),
        run!(|s, _w| put(s, "images/a", "new").await?),
    );
    a_crash_while_renaming_over_another_on_a_cloud => case(
        run!(|s, _w| { put(s, "images/a", "bytes").await?; put(s, "images/b", "replaced").await? }),
        run!(|s, _w| s.rename(&path("images/a"), &path("images/b"), true).await?),
    );
    a_crash_while_copying_on_a_cloud => case(
        run!(|s, _w| put(s, "images/a", "bytes").await?),
        run!(|s, _w| s.copy(&path("images/a"), &path("images/b"), false).await?),
    );
    a_crash_while_reaping_on_a_cloud => case(
        run!(|s, w| {
            put(s, "images/a", "bytes").await?;
            put(s, "images/b", "stays").await?;
            s.delete(&path("images/a"), &Precondition::None).await?;
            w.clock.advance(61 * SECOND)
        }),
        run!(|s, _w| fully_maintained(s).await?),
    );
}

/// A reduced set on a real S3 server. Unlike the fake it gives the same bytes the same etag.
macro_rules! server_cases {
    ($($name:ident => $case:expr;)*) => {
        mod sqlite_metadata_with_an_s3_server { use super::*; $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if TestBucket::s3().is_some() {
                    check_with(SQLITE_S3_SERVER, $case, &FEW).await;
                }
            }
        )* }
    };
}

server_cases! {
    a_crash_while_creating_on_s3 => case(
        run!(|s, _w| put(s, "other", "untouched").await?),
        run!(|s, _w| put(s, "images/a", "new").await?),
    );
    a_crash_while_uploading_in_parts_on_s3 => case(
        run!(|s, _w| put(s, "images/a", "old").await?),
        run!(|s, _w| put(s, "images/a", vec![7; (5 << 20) + 1]).await?),
    );
    a_crash_while_overwriting_on_s3 => case(
        run!(|s, _w| put(s, "images/a", "old").await?),
        run!(|s, _w| put(s, "images/a", "new").await?),
    );
    a_crash_while_overwriting_with_the_same_bytes_on_s3 => case(
        run!(|s, _w| put(s, "images/a", "same").await?),
        run!(|s, _w| put(s, "images/a", "same").await?),
    );
    a_crash_while_overwriting_a_foreign_file_on_s3 => case(
        run!(|s, w| w.php_create("images/a", "foreign").await),
        run!(|s, _w| put(s, "images/a", "ezdfs's").await?),
    );
    a_crash_while_deleting_on_s3 => case(
        run!(|s, _w| { put(s, "images/a", "same").await?; put(s, "images/b", "same").await? }),
        run!(|s, _w| s.delete(&path("images/a"), &Precondition::None).await?),
    );
    a_crash_while_renaming_over_another_on_s3 => case(
        run!(|s, _w| { put(s, "images/a", "bytes").await?; put(s, "images/b", "replaced").await? }),
        run!(|s, _w| s.rename(&path("images/a"), &path("images/b"), true).await?),
    );
    a_crash_while_renaming_over_the_same_bytes_on_s3 => case(
        run!(|s, _w| { put(s, "images/a", "same").await?; put(s, "images/b", "same").await? }),
        run!(|s, _w| s.rename(&path("images/a"), &path("images/b"), true).await?),
    );
    a_crash_while_copying_on_s3 => case(
        run!(|s, _w| put(s, "images/a", "bytes").await?),
        run!(|s, _w| s.copy(&path("images/a"), &path("images/b"), false).await?),
    );
    a_crash_while_creating_the_bytes_that_wait_for_their_reap_on_s3 => case(
        run!(|s, _w| {
            put(s, "images/a", "same").await?;
            s.delete(&path("images/a"), &Precondition::None).await?
        }),
        run!(|s, _w| put(s, "images/a", "same").await?),
    );
    a_crash_while_reaping_bytes_that_were_created_again_on_s3 => case(
        run!(|s, w| {
            put(s, "images/a", "same").await?;
            s.delete(&path("images/a"), &Precondition::None).await?;
            w.clock.advance(61 * SECOND);
            put(s, "images/a", "same").await?
        }),
        run!(|s, _w| fully_maintained(s).await?),
    );
}

/// Where the server ignores conditions, the publish looks once more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_while_overwriting_on_careless_s3() {
    let cases = [
        case(
            run!(|s, _w| put(s, "images/a", "old").await?),
            run!(|s, _w| put(s, "images/a", "new").await?),
        ),
        case(
            run!(|s, w| w.php_create("images/a", "foreign").await),
            run!(|s, _w| put(s, "images/a", "ezdfs's").await?),
        ),
    ];
    if TestBucket::s3().is_some() {
        for case in cases {
            check_with(SQLITE_CARELESS_S3_SERVER, case, &FEW).await;
        }
    }
}

/// A round of maintenance in which nothing failed.
async fn fully_maintained(service: &FileService) -> Result<(), Error> {
    let done = service.maintain().await?;
    if done.failed > 0 {
        return Err(Error::new(ErrorKind::Unavailable, format!("{done:?}")));
    }
    let root = DirPath::root();
    service.list(&root, None, 10).await.map(|_| ())
}
