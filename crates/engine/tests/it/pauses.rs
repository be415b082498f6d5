//! Two nodes on one store: A pauses before or after any call of an operation, B does something to
//! the same paths meanwhile, A goes on. The outcome is that of one after the other, whoever was
//! first; what was acknowledged took place; no file is ever a mix (P1, P2, P3).

use std::sync::{Arc, Mutex};

use ezdfs_core::{Error, ErrorKind};
use ezdfs_engine::{Precondition, PublishOptions, Touch};
use ezdfs_testkit::faults::{Plan, When};

use crate::world::{
    Backend, Files, MEMORY, MEMORY_LOCAL, Run, SECOND, SQLITE_LOCAL, World, is_retryable, options,
    path, put, put_with, read, run,
};

/// How long A pauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pause {
    /// Its lease still holds.
    Short,
    /// Others may roll its work forward.
    Long,
}

/// The files after some operations in a row, and whether all of them succeeded.
async fn serial(backend: Backend, setup: Run, runs: &[Run]) -> Files {
    let world = World::new(backend, options()).await;
    setup(&world.calm(), &world).await.unwrap();
    for run in runs {
        // An operation that is refused changes nothing.
        drop(run(&world.calm(), &world).await);
    }
    world.files(&world.calm()).await
}

/// `late` is what may come of A when it goes on after a pause longer than its lease: its condition
/// was checked too early, and a store that cannot rename still has the source to copy. It is not
/// acknowledged then.
async fn check(backend: Backend, setup: Run, a: Run, late: &[Run], others: &[(&str, Run)]) {
    let mut paused = 0;
    for (name, b) in others {
        let a_then_b = serial(backend, setup, &[a, *b]).await;
        let b_then_a = serial(backend, setup, &[*b, a]).await;
        let only_a = serial(backend, setup, &[a]).await;
        let only_b = serial(backend, setup, &[*b]).await;
        let nothing = serial(backend, setup, &[]).await;
        let mut too_late = Vec::new();
        for late in late {
            too_late.push(serial(backend, setup, &[*b, *late]).await);
        }
        for pause in [Pause::Short, Pause::Long] {
            for when in [When::Before, When::After] {
                for at in 1.. {
                    let context =
                        format!("{backend:?}: {pause:?} pause {when:?} call {at}, then {name}");
                    let Some(run) =
                        interleave(backend, setup, a, *b, at, when, pause, &context).await
                    else {
                        break;
                    };
                    paused += 1;
                    let context =
                        format!("{context}; calls {:?}; A: {:?}, B: {:?}", run.calls, run.a, run.b);
                    let allowed: &[&Files] = match (&run.a, &run.b) {
                        (Ok(()), Ok(())) => &[&a_then_b, &b_then_a],
                        // What was not acknowledged may have taken place all the same.
                        (Err(_), Ok(())) => &[&only_b, &a_then_b, &b_then_a],
                        (Ok(()), Err(_)) => &[&only_a, &a_then_b, &b_then_a],
                        (Err(_), Err(_)) => &[&nothing, &only_a, &only_b, &a_then_b, &b_then_a],
                    };
                    if pause == Pause::Long && run.a.is_err() && too_late.contains(&run.files) {
                        continue;
                    }
                    assert!(
                        allowed.contains(&&run.files),
                        "{context}: {:#?}\nnot in {allowed:#?}",
                        run.files
                    );
                }
            }
        }
    }
    assert!(paused >= 8, "nothing was paused");
}

struct Outcome {
    a: Result<(), Error>,
    b: Result<(), Error>,
    files: Files,
    calls: Vec<&'static str>,
}

#[expect(clippy::too_many_arguments, reason = "the dimensions of one table")]
async fn interleave(
    backend: Backend,
    setup: Run,
    a: Run,
    b: Run,
    at: u64,
    when: When,
    pause: Pause,
    context: &str,
) -> Option<Outcome> {
    let world = Arc::new(World::new(backend, options()).await);
    setup(&world.calm(), &world).await.unwrap();
    let said = Arc::new(Mutex::new(None));
    let meanwhile = {
        let (world, said) = (world.clone(), said.clone());
        async move {
            if pause == Pause::Long {
                world.outlast_lease();
            }
            let outcome = b(&world.calm(), &world).await;
            *said.lock().unwrap() = Some(outcome);
        }
    };
    let plan = Plan::interrupt_at(at, when, meanwhile);
    let outcome = a(&world.node(&plan), &world).await;
    if !plan.fired() {
        return None;
    }
    // Whatever is late or half done: readers alone bring it to an end.
    world.outlast_lease();
    let reader = world.calm();
    for one in world.visible().await {
        match read(&reader, &one).await {
            Ok(_) => {}
            Err(e) => assert!(
                is_retryable(&e),
                "{context}: {one}: {e} ({:?}) {:?}",
                e.kind(),
                plan.calls()
            ),
        }
    }
    world.clock.advance(10 * SECOND);
    let mut files = Files::new();
    for one in world.visible().await {
        match read(&reader, &one).await {
            Ok(bytes) => drop(files.insert(one.to_string(), (bytes, None))),
            Err(e) => {
                let gone = e.kind() == ErrorKind::NotFound;
                assert!(
                    gone,
                    "{context}: {one}: {e} ({:?}) {:?} A: {outcome:?}",
                    e.kind(),
                    plan.calls()
                );
            }
        }
    }
    world.clean_up(&reader).await;
    if !files.is_empty() {
        let kept = world.files(&reader).await;
        assert!(files.keys().all(|p| kept.contains_key(p)), "{context}: {files:?} {kept:?}");
    }
    let files = world.files(&reader).await;
    world.assert_no_leftovers(&format!("{context} {:?} A: {outcome:?}", plan.calls())).await;
    let b = said.lock().unwrap().take()?;
    Some(Outcome { a: outcome, b, files, calls: plan.calls() })
}

const PUBLISH: (&str, Run) = ("a publish", run!(|s, _w| put(s, "d/a", "of B").await?));
const CREATE: (&str, Run) = (
    "an exclusive create",
    run!(|s, _w| {
        let options =
            PublishOptions { precondition: Precondition::Absent, ..PublishOptions::default() };
        put_with(s, "d/a", "created by B", options).await?
    }),
);
const DELETE: (&str, Run) =
    ("a delete", run!(|s, _w| s.delete(&path("d/a"), &Precondition::None).await?));
const DELETE_AND_PUBLISH: (&str, Run) = (
    "a delete and a publish",
    run!(|s, _w| {
        s.delete(&path("d/a"), &Precondition::None).await?;
        put(s, "d/a", "of B").await?
    }),
);
const RENAME_AWAY: (&str, Run) =
    ("a rename away", run!(|s, _w| s.rename(&path("d/a"), &path("d/c"), true).await?));
const PUBLISH_TARGET: (&str, Run) =
    ("a publish of the target", run!(|s, _w| put(s, "d/b", "B's target").await?));
const PUBLISH_BOTH: (&str, Run) = (
    "a publish of both ends",
    run!(|s, _w| {
        put(s, "d/a", "B's source").await?;
        put(s, "d/b", "B's target").await?
    }),
);
const DELETE_DIR: (&str, Run) =
    ("a directory delete", run!(|s, _w| s.delete_dir(&path("d"), |_| ()).await?));
const READ: (&str, Run) = (
    "a read",
    run!(|s, _w| {
        for at in ["d/a", "d/b"] {
            match read(s, &path(at)).await {
                Ok(bytes) => assert!(
                    ["", "old", "of A", "target"].contains(&std::str::from_utf8(&bytes).unwrap())
                ),
                Err(e) => assert!(is_retryable(&e), "{at}: {e} ({:?})", e.kind()),
            }
        }
    }),
);

macro_rules! cases {
    ($($name:ident: $setup:expr, $a:expr, late [$($late:expr),*], [$($b:expr),*];)*) => {
        mod memory_metadata_with_memory_objects { use super::*; $(
            #[tokio::test]
            async fn $name() { check(MEMORY, $setup, $a, &[$($late),*], &[$($b),*]).await; }
        )* }
        mod memory_metadata_with_local_files { use super::*; $(
            #[tokio::test]
            async fn $name() { check(MEMORY_LOCAL, $setup, $a, &[$($late),*], &[$($b),*]).await; }
        )* }
    };
}

cases! {
    a_publisher_that_paused_while_overwriting:
        run!(|s, _w| put(s, "d/a", "old").await?),
        run!(|s, _w| put(s, "d/a", "of A").await?),
        late [],
        [PUBLISH, DELETE, DELETE_AND_PUBLISH, RENAME_AWAY, DELETE_DIR, READ];
    a_publisher_that_paused_while_creating:
        run!(|s, _w| put(s, "d/other", "other").await?),
        run!(|s, _w| put(s, "d/a", "of A").await?),
        late [],
        [PUBLISH, CREATE, DELETE, RENAME_AWAY, READ];
    a_conditional_publisher_that_paused:
        run!(|s, _w| put(s, "d/other", "other").await?),
        run!(|s, _w| {
            let options = PublishOptions { precondition: Precondition::Absent, ..PublishOptions::default() };
            put_with(s, "d/a", "created by A", options).await?
        }),
        late [run!(|s, _w| put(s, "d/a", "created by A").await?)],
        [CREATE, PUBLISH];
    a_toucher_that_paused_before_it_made_the_file:
        run!(|s, _w| put(s, "d/other", "other").await?),
        run!(|s, _w| s.touch(&path("d/a"), &Touch::default()).await?),
        late [run!(|s, _w| put(s, "d/a", "").await?)],
        [PUBLISH, CREATE, READ];
    a_deleter_that_paused:
        run!(|s, _w| { put(s, "d/a", "old").await?; put(s, "d/other", "other").await? }),
        run!(|s, _w| s.delete(&path("d/a"), &Precondition::None).await?),
        late [],
        [PUBLISH, CREATE, DELETE, DELETE_AND_PUBLISH, RENAME_AWAY, READ];
    a_renamer_that_paused:
        run!(|s, _w| put(s, "d/a", "old").await?),
        run!(|s, _w| s.rename(&path("d/a"), &path("d/b"), false).await?),
        late [
            run!(|s, _w| s.rename(&path("d/a"), &path("d/b"), true).await?),
            run!(|s, _w| put(s, "d/b", "old").await?)
        ],
        [PUBLISH, PUBLISH_TARGET, PUBLISH_BOTH, DELETE, DELETE_AND_PUBLISH, RENAME_AWAY, READ];
    a_renamer_that_paused_while_replacing:
        run!(|s, _w| { put(s, "d/a", "old").await?; put(s, "d/b", "target").await? }),
        run!(|s, _w| s.rename(&path("d/a"), &path("d/b"), true).await?),
        late [run!(|s, _w| put(s, "d/b", "old").await?)],
        [PUBLISH, PUBLISH_TARGET, PUBLISH_BOTH, DELETE, RENAME_AWAY, READ];
    a_directory_renamer_that_paused:
        run!(|s, _w| { put(s, "d/a", "old").await?; put(s, "d/e/f", "deep").await? }),
        run!(|s, _w| s.rename(&path("d"), &path("moved"), false).await?),
        late [],
        [PUBLISH, DELETE, DELETE_AND_PUBLISH, READ];
    a_directory_deleter_that_paused:
        run!(|s, _w| { put(s, "d/a", "old").await?; put(s, "other", "other").await? }),
        run!(|s, _w| s.delete_dir(&path("d"), |_| ()).await?),
        late [],
        [PUBLISH, DELETE, RENAME_AWAY, READ];
}

#[tokio::test]
async fn a_publisher_that_paused_on_the_embedded_default() {
    let setup: Run = run!(|s, _w| put(s, "d/a", "old").await?);
    let a: Run = run!(|s, _w| put(s, "d/a", "of A").await?);
    check(SQLITE_LOCAL, setup, a, &[], &[PUBLISH, DELETE_AND_PUBLISH]).await;
}

#[tokio::test]
async fn two_exclusive_creates_have_one_winner_even_if_one_paused() {
    let exclusive: Run = run!(|s, _w| {
        let options =
            PublishOptions { precondition: Precondition::Absent, ..PublishOptions::default() };
        put_with(s, "d/a", "created by A", options).await?
    });
    let setup: Run = run!(|s, _w| put(s, "d/other", "other").await?);
    for backend in [MEMORY, MEMORY_LOCAL] {
        for pause in [Pause::Short, Pause::Long] {
            for when in [When::Before, When::After] {
                for at in 1.. {
                    let context = format!("{backend:?} {pause:?} {when:?} {at}");
                    let run =
                        interleave(backend, setup, exclusive, CREATE.1, at, when, pause, &context)
                            .await;
                    let Some(run) = run else { break };
                    assert!(
                        !(run.a.is_ok() && run.b.is_ok()),
                        "{context}: both creates succeeded; calls {:?}",
                        run.calls
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn a_publisher_whose_lease_ended_before_the_object_does_not_touch_it() {
    for backend in [MEMORY, MEMORY_LOCAL] {
        let world = Arc::new(World::new(backend, options()).await);
        let meanwhile = {
            let world = world.clone();
            async move {
                world.outlast_lease();
                put(&world.calm(), "d/a", "of B").await.unwrap();
            }
        };
        // The check is the last call before the object.
        let plan = Plan::interrupt_at(4, When::After, meanwhile);
        let e = put(&world.node(&plan), "d/a", "of A").await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::LostHold, "{e}");
        assert_eq!(plan.calls()[3], "record");
        assert!(!plan.calls().contains(&"complete"), "{:?}", plan.calls());
        assert_eq!(read(&world.calm(), &path("d/a")).await.unwrap(), "of B");
    }
}

#[tokio::test]
async fn a_publisher_whose_lease_ended_renews_it_if_nobody_took_the_path() {
    let world = Arc::new(World::new(MEMORY, options()).await);
    let meanwhile = {
        let world = world.clone();
        async move { world.outlast_lease() }
    };
    let plan = Plan::interrupt_at(4, When::After, meanwhile);
    put(&world.node(&plan), "d/a", "of A").await.unwrap();
    assert!(plan.calls().contains(&"renew"));
    assert_eq!(read(&world.calm(), &path("d/a")).await.unwrap(), "of A");
}
