//! The change feed. Numbers may have holes, and changes of different rows may become visible in
//! another order than that of their numbers; what is committed shows within moments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ezdfs_core::{
    Change, ErrorKind, FeedEvent, FeedOp, FeedPoll, FeedReader, FeedStart, Guard, MetadataStore,
    Op, Timestamp,
};
use tokio::time::Instant;

use super::{
    NEIGHBOUR_PREFIX, START_SECS, Setup, expect_kind, materialise, name, path, publish, put, token,
    version,
};

/// How long a case waits for what is committed.
const PATIENCE: Duration = Duration::from_secs(20);
/// Later than any row of the feed.
const END_OF_TIME: Timestamp = Timestamp::from_nanos(i64::MAX);

async fn reader(store: &dyn MetadataStore, start: FeedStart) -> Box<dyn FeedReader> {
    store.feed(start).await.unwrap()
}

/// Polls until `is_done` of what has come so far; nothing may be lost.
async fn polls_until(
    reader: &mut dyn FeedReader,
    limit: u32,
    mut is_done: impl FnMut(&[FeedEvent], &FeedPoll) -> bool,
) -> Vec<FeedEvent> {
    let begin = Instant::now();
    let mut told = Vec::new();
    loop {
        let mut poll = reader.poll(limit).await.unwrap();
        assert!(!poll.lost, "lost after {told:#?}");
        told.append(&mut poll.events);
        if is_done(&told, &poll) {
            return told;
        }
        assert!(begin.elapsed() < PATIENCE, "{told:#?} in {PATIENCE:?}");
        if !poll.more {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// The next `count` changes, and no more than these.
async fn told(reader: &mut dyn FeedReader, limit: u32, count: usize) -> Vec<FeedEvent> {
    let mut events = polls_until(reader, limit, |told, _| told.len() >= count).await;
    for _ in 0..3 {
        let mut poll = reader.poll(limit).await.unwrap();
        assert!(!poll.lost);
        events.append(&mut poll.events);
    }
    assert_eq!(events.len(), count, "{events:#?}");
    events
}

/// Per name, what was done, in the order of the numbers.
fn by_name(events: &[FeedEvent]) -> BTreeMap<&str, Vec<FeedOp>> {
    let mut sorted: Vec<&FeedEvent> = events.iter().collect();
    sorted.sort_by_key(|e| e.seq);
    let mut ops: BTreeMap<&str, Vec<FeedOp>> = BTreeMap::new();
    for event in sorted {
        ops.entry(&event.name).or_default().push(event.op);
    }
    ops
}

async fn delete(store: &dyn MetadataStore, at: &str) {
    store.apply(Change::new().op(Op::RemoveFile(path(at)))).await.unwrap();
}

/// All three of ours and all three of PHP, with whole names, and who did it.
pub async fn every_change_is_told(s: &Setup) {
    use FeedOp::{Delete, Insert, Update};
    let mut reader = reader(&*s.store, FeedStart::Now).await;
    publish(&*s.store, "f/own", version(1, 1)).await;
    publish(&*s.store, "f/own", version(2, 2)).await;
    s.store.apply(Change::new().op(Op::HideFile(path("f/own")))).await.unwrap();
    delete(&*s.store, "f/own").await;
    let odd = "not/of/this/store";
    for at in [&name("f/php"), odd] {
        s.foreign.store(at, 1, START_SECS, "a/b").await;
        s.foreign.store(at, 2, START_SECS + 1, "a/b").await;
        s.foreign.delete(at).await;
    }
    let events = told(&mut *reader, 100, 10).await;
    let (own, php) = (name("f/own"), name("f/php"));
    let expected = BTreeMap::from([
        (&*own, vec![Insert, Update, Update, Delete]),
        (&*php, vec![Insert, Update, Delete]),
        (odd, vec![Insert, Update, Delete]),
    ]);
    assert_eq!(by_name(&events), expected);
    let origins: BTreeSet<&Option<String>> =
        events.iter().filter(|e| e.name == own).map(|e| &e.origin).collect();
    assert_eq!(origins.len(), 1, "one process made them: {origins:?}");
    for event in &events {
        assert_eq!(event.origin.is_some(), event.name == own, "{event:?}");
        assert!(event.at > Timestamp::default(), "{event:?}");
    }
}

/// Once each, in the order of their numbers per row, however small the steps.
pub async fn small_polls_tell_everything_once(s: &Setup) {
    for limit in [1, 3, 1000] {
        let mut reader = reader(&*s.store, FeedStart::Now).await;
        for n in 0..25_u8 {
            publish(&*s.store, &format!("p/{}", n % 4), version(u64::from(n), n)).await;
        }
        let events = told(&mut *reader, limit, 25).await;
        let numbers: BTreeSet<u64> = events.iter().map(|e| e.seq).collect();
        assert_eq!(numbers.len(), 25, "with {limit}");
        for file in 0..4 {
            let name = name(&format!("p/{file}"));
            let of_row: Vec<u64> =
                events.iter().filter(|e| e.name == name).map(|e| e.seq).collect();
            assert!(of_row.is_sorted(), "{of_row:?}");
        }
    }
}

/// What was before is over, also for a reader that never polled.
pub async fn now_is_from_now_on(s: &Setup) {
    publish(&*s.store, "n/before", version(1, 1)).await;
    let mut first = reader(&*s.store, FeedStart::Now).await;
    publish(&*s.store, "n/between", version(1, 2)).await;
    let mut second = reader(&*s.store, FeedStart::Now).await;
    publish(&*s.store, "n/after", version(1, 3)).await;
    let names = |events: &[FeedEvent]| -> BTreeSet<String> {
        events.iter().map(|e| e.name.clone()).collect()
    };
    let events = told(&mut *first, 10, 2).await;
    assert_eq!(names(&events), BTreeSet::from([name("n/between"), name("n/after")]));
    let events = told(&mut *second, 10, 1).await;
    assert_eq!(names(&events), BTreeSet::from([name("n/after")]));
}

/// A reader goes on where another one ended.
pub async fn a_number_is_a_place_to_start(s: &Setup) {
    let mut first = reader(&*s.store, FeedStart::Now).await;
    for n in 0..10 {
        publish(&*s.store, "a/one", version(n, 1)).await;
    }
    let mut numbers: Vec<u64> = told(&mut *first, 100, 10).await.iter().map(|e| e.seq).collect();
    numbers.sort_unstable();
    for (at, seq) in numbers.iter().enumerate() {
        let mut later = reader(&*s.store, FeedStart::After(*seq)).await;
        let want = &numbers[at + 1..];
        // What lies in the rewind window may be told again.
        let above = |told: &[FeedEvent]| -> Vec<u64> {
            let mut above: Vec<u64> = told.iter().map(|e| e.seq).filter(|n| n > seq).collect();
            above.sort_unstable();
            above
        };
        let events =
            polls_until(&mut *later, 3, |told, poll| !poll.more && above(told).len() >= want.len())
                .await;
        assert_eq!(above(&events), want);
    }
}

/// Whoever has not heard of what was deleted is told so, and goes on.
pub async fn a_trimmed_log_is_a_gap(s: &Setup) {
    let mut idle = reader(&*s.store, FeedStart::Now).await;
    let mut busy = reader(&*s.store, FeedStart::Now).await;
    for n in 0..5 {
        publish(&*s.store, "t/a", version(n, 1)).await;
    }
    let events = told(&mut *busy, 100, 5).await;
    let first = events.iter().map(|e| e.seq).min().unwrap();
    materialise(&*s.store).await;
    assert!(s.store.trim_feed(END_OF_TIME).await.unwrap() >= 5);
    let mut late = reader(&*s.store, FeedStart::After(first)).await;
    for (who, reader) in [("idle", &mut idle), ("late", &mut late)] {
        let begin = Instant::now();
        loop {
            let poll = reader.poll(100).await.unwrap();
            if poll.lost {
                break;
            }
            assert!(begin.elapsed() < PATIENCE, "`{who}` does not know that it lost something");
        }
    }
    publish(&*s.store, "t/b", version(1, 2)).await;
    for reader in [&mut idle, &mut busy, &mut late] {
        let events = told(&mut **reader, 100, 1).await;
        assert_eq!((&*events[0].name, events[0].op), (&*name("t/b"), FeedOp::Insert));
    }
}

/// A store that is younger than the number that a reader comes with has lost it.
pub async fn a_number_of_another_life_is_a_gap(s: &Setup) {
    publish(&*s.store, "l/a", version(1, 1)).await;
    let mut reader = reader(&*s.store, FeedStart::After(1 << 40)).await;
    assert!(reader.poll(10).await.unwrap().lost);
    publish(&*s.store, "l/b", version(1, 2)).await;
    let events =
        polls_until(&mut *reader, 10, |told, _| told.iter().any(|e| e.name == name("l/b"))).await;
    assert!(!events.is_empty());
}

/// What was not committed is not told, and the holes that it leaves in the numbers are no loss.
pub async fn a_change_that_failed_is_not_told(s: &Setup) {
    let mut reader = reader(&*s.store, FeedStart::Now).await;
    publish(&*s.store, "r/a", version(1, 1)).await;
    for n in 0..3 {
        // The first step is done before the second one fails.
        let change = put("r/never", version(1, n))
            .op(Op::PutFile { path: path("r/a/below"), file: version(1, n) });
        expect_kind(s.store.apply(change).await, ErrorKind::NotDirectory);
        let change = put("r/never", version(1, n)).guard(Guard::Holds(token(9)));
        expect_kind(s.store.apply(change).await, ErrorKind::LostHold);
    }
    publish(&*s.store, "r/b", version(1, 2)).await;
    let events = told(&mut *reader, 2, 2).await;
    assert_eq!(by_name(&events).into_keys().collect::<Vec<_>>(), [name("r/a"), name("r/b")]);
}

/// Stores of one table hear of each other, by their whole names.
pub async fn a_neighbours_changes_are_told(s: &Setup) {
    let mut reader = reader(&*s.store, FeedStart::Now).await;
    publish(&*s.neighbour, "x/a", version(1, 1)).await;
    publish(&*s.store, "x/a", version(1, 2)).await;
    let events = told(&mut *reader, 10, 2).await;
    let theirs = format!("{NEIGHBOUR_PREFIX}/x/a");
    assert_eq!(by_name(&events).into_keys().collect::<Vec<_>>(), [&*name("x/a"), &*theirs]);
    assert!(events.iter().all(|e| e.origin.is_some()));
}

/// It comes back after it was written, never goes back, and what was committed before has been
/// told by then.
pub async fn the_heartbeat_comes_back(s: &Setup) {
    let mut reader = reader(&*s.store, FeedStart::Now).await;
    let mut latest = None;
    for n in 0..3_u8 {
        let at = format!("h/{n}");
        publish(&*s.store, &at, version(1, n)).await;
        s.clock.advance(Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(5)).await;
        s.store.beat(Duration::ZERO).await.unwrap();
        let mut seen = latest;
        let events = polls_until(&mut *reader, 10, |_, poll| {
            assert!(!(poll.more && poll.heartbeat.is_some()), "more waits: {poll:?}");
            if let Some(heartbeat) = poll.heartbeat {
                assert!(seen.is_none_or(|seen| heartbeat >= seen), "{heartbeat:?} after {seen:?}");
                seen = Some(heartbeat);
            }
            seen > latest
        })
        .await;
        assert_eq!(by_name(&events).into_keys().collect::<Vec<_>>(), [name(&at)]);
        latest = seen;
    }
}

/// What is told without a change reaches every reader, and changes nothing.
pub async fn names_are_told_without_a_change(s: &Setup) {
    publish(&*s.store, "t/a", version(1, 1)).await;
    let mut reader = reader(&*s.store, FeedStart::Now).await;
    let names = [name("t/a"), format!("{}/", name("t"))];
    s.store.tell(&names).await.unwrap();
    let events = told(&mut *reader, 10, 2).await;
    let seen: BTreeSet<String> = events.iter().map(|e| e.name.clone()).collect();
    assert_eq!(seen, BTreeSet::from(names));
    assert!(events.iter().all(|e| e.op == FeedOp::Update && e.origin.is_some()), "{events:?}");
    // The materialiser takes it for no foreign change.
    assert_eq!(s.store.materialise(10).await.unwrap().seen, 0);
}

/// Nothing is lost or told twice, however many write meanwhile.
pub async fn concurrent_changes_are_told_once(s: &Setup) {
    const WRITERS: u8 = 6;
    const EACH: u8 = 15;
    let mut reader = reader(&*s.store, FeedStart::Now).await;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = if writer % 2 == 0 { &s.store } else { &s.neighbour };
            let store = Arc::clone(store);
            tokio::spawn(async move {
                for n in 0..EACH {
                    publish(&*store, &format!("c/{writer}/{}", n % 5), version(1, n)).await;
                }
            })
        })
        .collect();
    let count = usize::from(WRITERS) * usize::from(EACH);
    let events = told(&mut *reader, 7, count).await;
    let numbers: BTreeSet<u64> = events.iter().map(|e| e.seq).collect();
    assert_eq!(numbers.len(), count);
    for (name, ops) in by_name(&events) {
        assert_eq!(ops, [FeedOp::Insert, FeedOp::Update, FeedOp::Update], "{name}");
    }
    for writer in writers {
        writer.await.unwrap();
    }
}
