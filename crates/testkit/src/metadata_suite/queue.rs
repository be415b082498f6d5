//! Work that is done later.

use std::time::Duration;

use ezdfs_core::{Change, Hold, Intent, IntentState, NewFile, Op, Timestamp, Work};

use super::{LEASE, START_SECS, Setup, file, hold, intent, name, path, publish, token, version};

fn reap(at: &str, n: u8, not_before: Timestamp) -> Change {
    let work = Work::Reap { key: format!("limbo/{n}"), pin: None, not_before };
    Change::new()
        .op(Op::AddIntent(Intent { state: IntentState::Queued, ..intent(at, token(n), work) }))
}

fn secs(n: i64) -> Timestamp {
    Timestamp::from_secs(START_SECS + n)
}

async fn due(s: &Setup, state: IntentState, before: Timestamp, limit: u32) -> Vec<String> {
    let due = s.store.due(state, before, limit).await.unwrap();
    assert!(due.iter().all(|i| i.state == state));
    due.into_iter().map(|i| i.path.to_string()).collect()
}

/// Oldest first, not before their time, until they are forgotten.
pub async fn reaps_come_due(s: &Setup) {
    for (n, at) in [(1, 30), (2, 10), (3, 20), (4, 20)] {
        s.store.apply(reap(&format!("r/{n}"), n, secs(at))).await.unwrap();
    }
    assert!(due(s, IntentState::Queued, secs(9), 10).await.is_empty());
    assert_eq!(due(s, IntentState::Queued, secs(10), 10).await, ["r/2"]);
    assert_eq!(due(s, IntentState::Queued, secs(99), 10).await, ["r/2", "r/3", "r/4", "r/1"]);
    assert_eq!(due(s, IntentState::Queued, secs(99), 2).await, ["r/2", "r/3"]);
    // By its token, with what else has that token.
    assert_eq!(hold(&*s.store, "other", 2).await, Hold::Held);
    let of_token = s.store.intents_of(token(2)).await.unwrap();
    assert_eq!(of_token.iter().map(|i| i.path.as_str()).collect::<Vec<_>>(), ["r/2", "other"]);
    assert!(matches!(&of_token[0].work, Work::Reap { key, .. } if key == "limbo/2"));
    assert!(s.store.intents_of(token(77)).await.unwrap().is_empty());
    let first = s.store.due(IntentState::Queued, secs(99), 1).await.unwrap().remove(0);
    s.store.apply(Change::new().op(Op::Forget(first.id))).await.unwrap();
    s.store.apply(Change::new().op(Op::Forget(first.id))).await.unwrap();
    assert_eq!(due(s, IntentState::Queued, secs(99), 10).await, ["r/3", "r/4", "r/1"]);
    assert_eq!(s.store.figures().await.unwrap().reaps, 3);
    assert_eq!(hold(&*s.store, "r/3", 9).await, Hold::Held, "a queued reap holds nothing");
}

/// Held rows whose lease is over, oldest first.
pub async fn overdue_holds_come_due(s: &Setup) {
    for n in 1..=3 {
        assert_eq!(hold(&*s.store, &format!("h/{n}"), n).await, Hold::Held);
        s.clock.advance(Duration::from_secs(1));
    }
    assert!(s.store.renew(token(1), LEASE).await.unwrap());
    let lease = i64::try_from(LEASE.as_secs()).unwrap();
    assert!(due(s, IntentState::Held, secs(lease), 10).await.is_empty());
    assert_eq!(due(s, IntentState::Held, secs(lease + 1), 10).await, ["h/2"]);
    assert_eq!(due(s, IntentState::Held, secs(lease + 9), 10).await, ["h/2", "h/3", "h/1"]);
    assert!(due(s, IntentState::Queued, secs(999), 10).await.is_empty());
}

/// Ended rows come due by the end of their lease.
pub async fn ended_work_is_forgotten(s: &Setup) {
    assert_eq!(hold(&*s.store, "e/a", 1).await, Hold::Held);
    s.store.apply(Change::new().op(Op::EndHold { token: token(1), keep: true })).await.unwrap();
    assert!(due(s, IntentState::Held, secs(999), 10).await.is_empty());
    assert!(due(s, IntentState::Ended, secs(14), 10).await.is_empty());
    assert_eq!(due(s, IntentState::Ended, secs(15), 10).await, ["e/a"]);
    let row = s.store.due(IntentState::Ended, secs(15), 1).await.unwrap().remove(0);
    s.store.apply(Change::new().op(Op::Forget(row.id))).await.unwrap();
    assert!(s.store.intents_on(&path("e/a")).await.unwrap().is_empty());
}

/// Visible ones of this store, soonest first; a version that a foreign writer overtook has none.
pub async fn expired_files_are_found(s: &Setup) {
    let at = |n, secs_on| NewFile { expires: Some(secs(secs_on)), ..version(1, n) };
    publish(&*s.store, "x/late", at(1, 30)).await;
    publish(&*s.store, "x/soon", at(2, 10)).await;
    publish(&*s.store, "x/never", version(1, 3)).await;
    publish(&*s.store, "x/hidden", at(4, 5)).await;
    publish(&*s.store, "x/overtaken", at(5, 5)).await;
    publish(&*s.neighbour, "x/other", at(6, 5)).await;
    s.store.apply(Change::new().op(Op::HideFile(path("x/hidden")))).await.unwrap();
    s.foreign.store(&name("x/overtaken"), 99, START_SECS, "a/b").await;
    let expired = async |before, limit| {
        let found = s.store.expired(secs(before), limit).await.unwrap();
        found.into_iter().map(|(p, _)| p.to_string()).collect::<Vec<_>>()
    };
    assert!(expired(9, 10).await.is_empty());
    assert_eq!(expired(10, 10).await, ["x/soon"]);
    assert_eq!(expired(30, 10).await, ["x/soon", "x/late"]);
    assert_eq!(expired(30, 1).await, ["x/soon"]);
    let (found, record) = s.store.expired(secs(10), 1).await.unwrap().remove(0);
    assert_eq!(record.witness(), Some(file(&*s.store, found.as_str()).await.witness));
}

/// Each row of this store is counted once, where it belongs.
pub async fn figures_count(s: &Setup) {
    assert_eq!(s.store.figures().await.unwrap(), ezdfs_core::Figures::default());
    publish(&*s.store, "f/a", version(100, 1)).await;
    publish(&*s.store, "f/b", version(23, 2)).await;
    publish(&*s.store, "f/d/c", version(1000, 3)).await;
    s.store.apply(Change::new().op(Op::HideFile(path("f/d/c")))).await.unwrap();
    publish(&*s.neighbour, "n", version(5, 4)).await;
    s.foreign.store(&name("g/php"), 7, START_SECS, "a/b").await;
    assert_eq!(hold(&*s.store, "f/a", 5).await, Hold::Held);
    s.clock.advance(LEASE);
    assert_eq!(hold(&*s.store, "f/b", 6).await, Hold::Held);
    s.store.apply(reap("f/z", 7, secs(0))).await.unwrap();
    let found = s.store.figures().await.unwrap();
    assert_eq!(
        found,
        ezdfs_core::Figures {
            files: 3,
            bytes: 130,
            hidden: 1,
            directories: 2,
            held: 2,
            overdue: 1,
            reaps: 1,
            feed_lag: 1,
        }
    );
    super::materialise(&*s.store).await;
    let found = s.store.figures().await.unwrap();
    assert_eq!((found.directories, found.feed_lag), (3, 0));
}
