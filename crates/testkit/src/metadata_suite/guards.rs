//! Guards, and that a change takes effect as a whole or not at all.

use std::sync::Arc;

use ezdfs_core::{Change, ErrorKind, Guard, Hold, IntentState, NewFile, Op, Timestamp, Work};

use super::{
    START_SECS, Setup, entry, expect_kind, file, hold, intent, is_file, list, mkdir, name, path,
    publish, put, token, version,
};

fn unchanged(at: &str, witness: Option<ezdfs_core::Witness>) -> Guard {
    Guard::Unchanged { path: path(at), witness }
}

/// Any other writer makes the witness stale.
pub async fn compare_and_set(s: &Setup) {
    let put_if = |witness, n| put("c/a", version(u64::from(n), n)).guard(unchanged("c/a", witness));
    s.store.apply(put_if(None, 1)).await.unwrap();
    expect_kind(s.store.apply(put_if(None, 2)).await, ErrorKind::Stale);
    let seen = file(&*s.store, "c/a").await.witness;
    s.store.apply(put_if(Some(seen), 2)).await.unwrap();
    expect_kind(s.store.apply(put_if(Some(seen), 3)).await, ErrorKind::Stale);

    // The same size in the same second: the token differs.
    let seen = file(&*s.store, "c/a").await.witness;
    publish(&*s.store, "c/a", version(2, 9)).await;
    expect_kind(s.store.apply(put_if(Some(seen), 3)).await, ErrorKind::Stale);

    let seen = file(&*s.store, "c/a").await.witness;
    s.foreign.soft_delete(&name("c/a")).await;
    expect_kind(s.store.apply(put_if(Some(seen), 3)).await, ErrorKind::Stale);
    let hidden = s.store.record(&path("c/a")).await.unwrap().witness();
    s.store.apply(put_if(hidden, 3)).await.unwrap();

    let seen = file(&*s.store, "c/a").await.witness;
    s.foreign.store(&name("c/a"), 77, START_SECS + 1, "a/b").await;
    expect_kind(s.store.apply(put_if(Some(seen), 4)).await, ErrorKind::Stale);
    s.foreign.delete(&name("c/a")).await;
    expect_kind(s.store.apply(put_if(Some(seen), 4)).await, ErrorKind::Stale);
    s.store.apply(put_if(None, 5)).await.unwrap();
}

/// Whatever a refused change wanted is not there.
pub async fn a_failed_guard_changes_nothing(s: &Setup) {
    publish(&*s.store, "g/a", version(1, 1)).await;
    let before = s.store.figures().await.unwrap();
    let change = Change::new()
        .guard(unchanged("g/a", None))
        .op(Op::PutFile { path: path("g/new/b"), file: version(1, 2) })
        .op(Op::RemoveFile(path("g/a")))
        .op(Op::AddIntent(intent("g/q", token(3), Work::Delete)));
    expect_kind(s.store.apply(change).await, ErrorKind::Stale);
    assert_eq!(s.store.figures().await.unwrap(), before);
    assert_eq!(list(&*s.store, "g").await, ["a"]);
}

/// A step that fails takes back those before it.
pub async fn a_failed_step_changes_nothing(s: &Setup) {
    publish(&*s.store, "s/file", version(1, 1)).await;
    mkdir(&*s.store, "s/dir").await.unwrap();
    assert_eq!(hold(&*s.store, "s/held", 7).await, Hold::Held);
    let before = s.store.figures().await.unwrap();
    let steps = || {
        Change::new()
            .op(Op::PutFile { path: path("s/x/y/z"), file: version(5, 2) })
            .op(Op::PutFile { path: path("s/file"), file: version(6, 3) })
            .op(Op::HideFile(path("s/file")))
            .op(Op::MakeDir {
                path: path("s/made"),
                exclusive: false,
                mode: None,
                uid: None,
                gid: None,
            })
            .op(Op::RemoveDir(path("s/dir")))
            .op(Op::EndHold { token: token(7), keep: true })
            .op(Op::AddIntent(intent("s/other", token(8), Work::Repair)))
    };
    let fail = [
        (Op::RemoveDir(path("s/none")), ErrorKind::NotFound),
        (Op::RemoveDir(path("s")), ErrorKind::NotEmpty),
        (Op::AddIntent(intent("s/other", token(9), Work::Repair)), ErrorKind::Busy),
        (Op::SetPin { path: path("s/none"), pin: super::pin("p") }, ErrorKind::Stale),
        (
            Op::PutFile {
                path: path("s/t"),
                file: NewFile { datatype: "x".repeat(256), ..version(1, 1) },
            },
            ErrorKind::InvalidArgument,
        ),
        (
            Op::PutFile { path: path("s/t"), file: NewFile { size: u64::MAX, ..version(1, 1) } },
            ErrorKind::TooLarge,
        ),
    ];
    for (op, kind) in fail {
        expect_kind(s.store.apply(steps().op(op)).await, kind);
        assert_eq!(s.store.figures().await.unwrap(), before, "{kind:?}");
        assert_eq!(list(&*s.store, "s").await, ["dir", "file"], "{kind:?}");
        assert_eq!(file(&*s.store, "s/file").await.token, Some(token(1)), "{kind:?}");
        let held = s.store.intents_on(&path("s/held")).await.unwrap();
        assert_eq!(held[0].state, IntentState::Held, "{kind:?}");
    }
    let before_ino = file(&*s.store, "s/file").await.attrs.ino;
    s.store.apply(steps()).await.unwrap();
    assert!(entry(&*s.store, "s/file").await.is_none());
    assert!(is_file(&*s.store, "s/x/y/z").await);
    publish(&*s.store, "s/file", version(1, 1)).await;
    assert_eq!(file(&*s.store, "s/file").await.attrs.ino, before_ino);
}

/// The path, its ancestors, and what lies below.
pub async fn free_paths(s: &Setup) {
    let free = |at: &str, subtree| {
        s.store.apply(Change::new().guard(Guard::Free { path: path(at), subtree }))
    };
    assert_eq!(hold(&*s.store, "f/a", 1).await, Hold::Held);
    expect_kind(free("f/a", false).await, ErrorKind::Busy);
    expect_kind(free("f", true).await, ErrorKind::Busy);
    free("f", false).await.unwrap();
    free("f/a/b", true).await.unwrap();
    free("f/ab", true).await.unwrap();
    s.store.apply(Change::new().op(Op::EndHold { token: token(1), keep: false })).await.unwrap();
    free("f", true).await.unwrap();
    let tree = ezdfs_core::Intent { subtree: true, ..intent("f", token(2), Work::Delete) };
    assert_eq!(s.store.hold(&[tree], super::LEASE).await.unwrap(), Hold::Held);
    expect_kind(free("f/x/y", false).await, ErrorKind::Busy);
    free("fx", false).await.unwrap();
}

/// Of several writers that saw the same version exactly one replaces it.
pub async fn one_of_many_writers_wins(s: &Setup) {
    publish(&*s.store, "o/a", version(1, 0)).await;
    for round in 0..5 {
        let seen = file(&*s.store, "o/a").await.witness;
        let mut writers = tokio::task::JoinSet::new();
        for n in 1..=8 {
            let store = Arc::clone(&s.store);
            let mtime = Timestamp::from_secs(START_SECS + round);
            let file = NewFile { mtime, ..version(u64::from(n), n) };
            let change = put("o/a", file).guard(unchanged("o/a", Some(seen)));
            writers.spawn(async move { store.apply(change).await.map(|()| n) });
        }
        let outcomes = writers.join_all().await;
        let winners: Vec<u8> = outcomes.iter().filter_map(|o| o.as_ref().ok()).copied().collect();
        assert_eq!(winners.len(), 1, "round {round}: {outcomes:?}");
        assert_eq!(file(&*s.store, "o/a").await.token, Some(token(winners[0])));
    }
}
