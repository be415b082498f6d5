//! Holds: who may work on a path.

use std::sync::Arc;
use std::time::Duration;

use ezdfs_core::{
    Change, ErrorKind, Guard, Hold, Intent, IntentId, IntentState, Op, Sha256, Timestamp, Token,
    Work,
};

use super::{LEASE, Setup, expect_kind, hold, intent, path, pin, put, token, version};

fn end(n: u8, keep: bool) -> Change {
    Change::new().op(Op::EndHold { token: token(n), keep })
}

fn holder(hold: Hold) -> Intent {
    match hold {
        Hold::Busy(holder) => *holder,
        Hold::Held => panic!("the path was free"),
    }
}

/// One holder at a time; the next one is told who holds.
pub async fn a_hold_is_exclusive(s: &Setup) {
    assert_eq!(hold(&*s.store, "h/a", 1).await, Hold::Held);
    let found = holder(hold(&*s.store, "h/a", 2).await);
    assert_eq!((found.token, found.path.as_str()), (token(1), "h/a"));
    assert_eq!(found.lease_end, s.store.now().await.unwrap().plus(LEASE));
    assert_eq!(holder(hold(&*s.store, "h/a", 1).await).token, token(1));
    for other in ["h", "h/a/b", "h/A", "h/aa", "a"] {
        let n = u8::try_from(other.len()).unwrap() + 100;
        assert_eq!(hold(&*s.store, other, n).await, Hold::Held, "{other}");
        s.store.apply(end(n, false)).await.unwrap();
    }
    s.store.apply(end(1, false)).await.unwrap();
    assert_eq!(hold(&*s.store, "h/a", 2).await, Hold::Held);
    assert_eq!(s.store.figures().await.unwrap().held, 1);
}

/// Both ends of a rename, whichever is taken.
pub async fn both_ends_or_none(s: &Setup) {
    let both = |a: &str, b: &str, n| {
        [
            intent(a, token(n), Work::Rename { to: Some(path(b)) }),
            intent(b, token(n), Work::Rename { to: None }),
        ]
    };
    for taken in ["r/a", "r/b"] {
        assert_eq!(hold(&*s.store, taken, 1).await, Hold::Held);
        for (a, b) in [("r/a", "r/b"), ("r/b", "r/a")] {
            let found = holder(s.store.hold(&both(a, b, 2), LEASE).await.unwrap());
            assert_eq!(found.path.as_str(), taken);
            assert_eq!(s.store.figures().await.unwrap().held, 1, "a half hold stayed");
        }
        s.store.apply(end(1, false)).await.unwrap();
    }
    assert_eq!(s.store.hold(&both("r/a", "r/b", 3), LEASE).await.unwrap(), Hold::Held);
    let [a] = s.store.intents_on(&path("r/a")).await.unwrap().try_into().unwrap();
    assert_eq!(a.work, Work::Rename { to: Some(path("r/b")) });
    assert_eq!(holder(hold(&*s.store, "r/b", 4).await).work, Work::Rename { to: None });
    s.store.apply(end(3, false)).await.unwrap();
    assert_eq!(s.store.figures().await.unwrap().held, 0);
}

/// A subtree row blocks everything below, and is blocked by it.
pub async fn subtrees(s: &Setup) {
    let tree = |at: &str, n| Intent { subtree: true, ..intent(at, token(n), Work::Delete) };
    let hold_tree = async |at: &str, n| s.store.hold(&[tree(at, n)], LEASE).await.unwrap();
    assert_eq!(hold_tree("t/d", 1).await, Hold::Held);
    for below in ["t/d", "t/d/a", "t/d/a/b/c"] {
        assert_eq!(holder(hold(&*s.store, below, 2).await).token, token(1), "{below}");
        assert_eq!(holder(hold_tree(below, 2).await).token, token(1), "{below}");
    }
    assert_eq!(holder(hold_tree("t", 2).await).token, token(1));
    for beside in ["t", "t/d.x", "t/d0", "t/dd", "t/D"] {
        assert_eq!(hold(&*s.store, beside, 3).await, Hold::Held, "{beside}");
        s.store.apply(end(3, false)).await.unwrap();
    }
    let [found] = s.store.intents_on(&path("t/d/a/b")).await.unwrap().try_into().unwrap();
    assert!(found.subtree && found.token == token(1));
    assert!(s.store.intents_on(&path("t")).await.unwrap().is_empty());
    s.store.apply(end(1, false)).await.unwrap();

    for (twin, below) in [("a_b", "aXb/f"), ("p%c", "pqc/f"), ("1", "10/f"), ("Dir", "dir/f")] {
        assert_eq!(hold(&*s.store, below, 4).await, Hold::Held);
        assert_eq!(hold_tree(twin, 5).await, Hold::Held, "{twin} against {below}");
        s.store
            .apply(end(4, false).op(Op::EndHold { token: token(5), keep: false }))
            .await
            .unwrap();
    }
    assert_eq!(hold(&*s.store, "u/a/b", 6).await, Hold::Held);
    assert_eq!(holder(hold_tree("u", 7).await).path.as_str(), "u/a/b");
    assert_eq!(hold(&*s.store, "u/a", 8).await, Hold::Held, "no subtree, so it is beside");
}

/// The end of a lease frees nothing: the work must be rolled forward first, in one change that
/// passes the path from hand to hand.
pub async fn an_overdue_hold_stays_until_it_is_taken_over(s: &Setup) {
    assert_eq!(hold(&*s.store, "v/a", 1).await, Hold::Held);
    s.clock.advance(LEASE * 10);
    let old = holder(hold(&*s.store, "v/a", 2).await);
    assert!(old.lease_end < s.store.now().await.unwrap());
    assert_eq!(s.store.figures().await.unwrap().overdue, 1);

    let lease_end = s.store.now().await.unwrap().plus(LEASE);
    let take = |n| {
        Change::new()
            .guard(Guard::Holds(token(1)))
            .op(Op::EndHold { token: token(1), keep: true })
            .op(Op::AddIntent(Intent { lease_end, ..intent("v/a", token(n), Work::Repair) }))
    };
    let (one, other) = tokio::join!(s.store.apply(take(3)), s.store.apply(take(4)));
    let won = [one.is_ok(), other.is_ok()];
    assert!(won[0] != won[1], "exactly one takes over: {one:?} {other:?}");
    for lost in [one, other].into_iter().filter_map(Result::err) {
        assert_eq!(lost.kind(), ErrorKind::LostHold);
    }
    let now = holder(hold(&*s.store, "v/a", 5).await);
    assert_eq!(now.token, if won[0] { token(3) } else { token(4) });
    assert_eq!((now.lease_end, &now.work), (lease_end, &Work::Repair));
    // The one who slept finds out.
    let late = put("v/a", version(1, 1)).guard(Guard::Holds(token(1)));
    expect_kind(s.store.apply(late).await, ErrorKind::LostHold);
    assert!(!s.store.renew(token(1), LEASE).await.unwrap());
}

/// A renewed lease is measured from now on.
pub async fn leases_are_renewed(s: &Setup) {
    assert_eq!(hold(&*s.store, "n/a", 1).await, Hold::Held);
    s.clock.advance(Duration::from_secs(14));
    assert!(s.store.renew(token(1), LEASE).await.unwrap());
    let now = s.store.now().await.unwrap();
    assert_eq!(holder(hold(&*s.store, "n/a", 2).await).lease_end, now.plus(LEASE));
    assert!(s.store.due(IntentState::Held, now, 10).await.unwrap().is_empty());
    s.store.apply(end(1, false)).await.unwrap();
    assert!(!s.store.renew(token(1), LEASE).await.unwrap());
    assert!(!s.store.renew(token(9), LEASE).await.unwrap());
}

/// Without a row, or with an ended one, a guarded change is refused.
pub async fn a_lost_hold_is_noticed(s: &Setup) {
    let guarded = || put("l/a", version(1, 1)).guard(Guard::Holds(token(1)));
    expect_kind(s.store.apply(guarded()).await, ErrorKind::LostHold);
    assert_eq!(hold(&*s.store, "l/a", 1).await, Hold::Held);
    s.store.apply(guarded()).await.unwrap();
    // The end of the lease alone takes nothing away.
    s.clock.advance(LEASE * 2);
    s.store.apply(guarded()).await.unwrap();
    s.store.apply(end(1, true)).await.unwrap();
    expect_kind(s.store.apply(guarded()).await, ErrorKind::LostHold);
}

/// Ended rows stay until they are forgotten, and hold nothing.
pub async fn ended_work_is_remembered(s: &Setup) {
    assert_eq!(hold(&*s.store, "e/a", 1).await, Hold::Held);
    s.store.apply(end(1, true)).await.unwrap();
    assert_eq!(hold(&*s.store, "e/a", 2).await, Hold::Held);
    let mut found = s.store.intents_on(&path("e/a")).await.unwrap();
    found.sort_by_key(|i| i.token);
    let states: Vec<(Token, IntentState)> = found.iter().map(|i| (i.token, i.state)).collect();
    assert_eq!(states, [(token(1), IntentState::Ended), (token(2), IntentState::Held)]);
    s.store.apply(Change::new().op(Op::Forget(found[0].id))).await.unwrap();
    assert_eq!(s.store.intents_on(&path("e/a")).await.unwrap().len(), 1);
    // Two ended rows on one path are no conflict.
    s.store.apply(end(2, true)).await.unwrap();
    assert_eq!(hold(&*s.store, "e/a", 3).await, Hold::Held);
    s.store.apply(end(3, true)).await.unwrap();
    assert_eq!(s.store.intents_on(&path("e/a")).await.unwrap().len(), 2);
}

/// Another node finishes the work from the row alone.
pub async fn every_kind_of_work_is_kept(s: &Setup) {
    let at = Timestamp::from_millis(1_700_000_123_456);
    let publish = |expires, pin| Work::Publish {
        size: 1 << 33,
        sha256: Sha256::from_bytes([7; 32]),
        datatype: "text/plain; charset=utf-8".to_owned(),
        mtime: Timestamp::from_nanos(-5),
        expires,
        pin,
    };
    let works = [
        publish(None, None),
        publish(Some(at), Some(pin("x'|y"))),
        Work::Rename { to: Some(path("w/it's %_\\ 😀")) },
        Work::Rename { to: None },
        Work::Delete,
        Work::Repair,
        Work::Reap { key: ".ezdfs/limbo/ä'".to_owned(), pin: None, not_before: at },
        Work::Reap { key: "k".to_owned(), pin: Some(pin("e")), not_before: at },
    ];
    for (n, work) in works.into_iter().enumerate() {
        let n = u8::try_from(n).unwrap();
        let state = match work {
            Work::Reap { .. } => IntentState::Queued,
            _ => IntentState::Held,
        };
        let wanted = Intent {
            subtree: n % 2 == 1,
            owner: format!("web'{n}\\"),
            state,
            lease_end: at.plus(Duration::from_nanos(7)),
            ..intent(&format!("w/'%_{n}"), token(n), work)
        };
        s.store.apply(Change::new().op(Op::AddIntent(wanted.clone()))).await.unwrap();
        let [found] = s.store.intents_on(&wanted.path).await.unwrap().try_into().unwrap();
        assert_ne!(found.id, IntentId(0));
        assert_eq!(found, Intent { id: found.id, ..wanted });
    }
}

/// A delete queues the reap under its own token before it gives the path back.
pub async fn reaps_do_not_count_as_holds(s: &Setup) {
    assert_eq!(hold(&*s.store, "q/a", 1).await, Hold::Held);
    let reap = |n: u8| Intent {
        state: IntentState::Queued,
        ..intent(
            "q/a",
            token(1),
            Work::Reap { key: format!("limbo/{n}"), pin: None, not_before: Timestamp::default() },
        )
    };
    for n in 0..3 {
        let step = Change::new().guard(Guard::Holds(token(1))).op(Op::AddIntent(reap(n)));
        s.store.apply(step).await.unwrap();
    }
    s.store.apply(end(1, false)).await.unwrap();
    assert_eq!(s.store.figures().await.unwrap().reaps, 3, "ending a hold keeps its reaps");
    assert_eq!(hold(&*s.store, "q/a", 2).await, Hold::Held, "a reap holds nothing");
    let alone = Change::new().guard(Guard::Holds(token(3))).op(Op::AddIntent(reap(9)));
    expect_kind(s.store.apply(alone).await, ErrorKind::LostHold);
}

/// Of many who ask at once one gets the path.
pub async fn one_of_many_holders_wins(s: &Setup) {
    for round in 0..5_u8 {
        let mut holders = tokio::task::JoinSet::new();
        for n in 0..16_u8 {
            let store = Arc::clone(&s.store);
            // Every second one wants a pair that overlaps.
            let mut wanted = vec![intent("m/a", token(n), Work::Delete)];
            if n % 2 == 0 {
                wanted.push(intent(&format!("m/b{}", n % 4), token(n), Work::Delete));
            }
            holders.spawn(async move { store.hold(&wanted, LEASE).await.map(|hold| (n, hold)) });
        }
        let outcomes: Vec<(u8, Hold)> =
            holders.join_all().await.into_iter().map(Result::unwrap).collect();
        let won: Vec<u8> =
            outcomes.iter().filter(|(_, hold)| *hold == Hold::Held).map(|(n, _)| *n).collect();
        assert_eq!(won.len(), 1, "round {round}: {outcomes:?}");
        let held = s.store.figures().await.unwrap().held;
        assert_eq!(held, if won[0].is_multiple_of(2) { 2 } else { 1 });
        s.store.apply(end(won[0], false)).await.unwrap();
    }
}
