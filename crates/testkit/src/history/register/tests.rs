use proptest::prelude::*;

use super::*;

const A: Content = Content(1);
const B: Content = Content(2);
const C: Content = Content(3);

/// An event from one moment to another, in milliseconds.
fn event(op: Op, outcome: Outcome, from: u64, to: u64) -> Event {
    Event {
        path: "x".to_owned(),
        actor: "test".to_owned(),
        op,
        invoked: Duration::from_millis(from),
        returned: Duration::from_millis(to),
        outcome,
        allowance: Duration::ZERO,
        note: String::new(),
    }
}

fn put(content: Content, from: u64, to: u64) -> Event {
    event(Op::Put(content), Outcome::Done, from, to)
}

fn lost(content: Content, from: u64) -> Event {
    event(Op::Put(content), Outcome::Unknown, from, from + 1)
}

fn read(content: impl Into<Option<Content>>, from: u64, to: u64) -> Event {
    event(Op::Read, Outcome::Seen(content.into()), from, to)
}

fn old(content: impl Into<Option<Content>>, from: u64, to: u64, allowance: u64) -> Event {
    Event { allowance: Duration::from_millis(allowance), ..read(content, from, to) }
}

fn delete(from: u64, to: u64) -> Event {
    event(Op::Delete, Outcome::Done, from, to)
}

#[track_caller]
fn good(events: &[Event]) {
    assert_eq!(check(events), Verdict::Explained);
}

/// The event that cannot be explained.
#[track_caller]
fn bad(events: &[Event]) -> Event {
    match check(events) {
        Verdict::Violated(violation) => {
            assert!(violation.excerpt.contains(&violation.event));
            violation.event
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_after_the_other() {
    good(&[]);
    good(&[read(None, 0, 1), put(A, 2, 3), read(A, 4, 5), delete(6, 7), read(None, 8, 9)]);
    good(&[put(A, 0, 1), event(Op::Take, Outcome::Seen(Some(A)), 2, 3), read(None, 4, 5)]);
}

#[test]
fn at_the_same_time_in_any_order() {
    good(&[put(A, 0, 10), put(B, 0, 10), read(A, 11, 12)]);
    good(&[put(A, 0, 10), put(B, 0, 10), read(B, 11, 12)]);
    good(&[put(A, 0, 10), read(None, 1, 2), read(A, 3, 4)]);
    // A read of the new version, then of the old one, while the write is under way.
    bad(&[put(A, 0, 10), read(A, 1, 2), read(None, 3, 4)]);
    bad(&[put(A, 0, 10), put(B, 0, 10), read(A, 11, 12), read(B, 13, 14)]);
}

#[test]
fn a_lost_acknowledged_write_is_seen() {
    let last = read(None, 10, 11);
    assert_eq!(bad(&[put(A, 0, 1), last.clone()]), last);
    let last = read(A, 10, 11);
    assert_eq!(bad(&[put(A, 0, 1), put(B, 2, 3), last.clone()]), last);
}

#[test]
fn a_stale_read_is_seen_unless_it_may_be_old() {
    let events = |read| [put(A, 0, 1), put(B, 2, 3), read];
    bad(&events(read(A, 1_000, 1_001)));
    bad(&events(old(A, 1_000, 1_001, 996)));
    good(&events(old(A, 1_000, 1_001, 998)));
    // However old: never something that was not there.
    bad(&events(old(C, 1_000, 1_001, 2_000)));
}

#[test]
fn what_nobody_wrote_is_seen() {
    bad(&[put(A, 0, 1), read(C, 2, 3)]);
    bad(&[event(Op::Put(A), Outcome::Failed, 0, 1), read(A, 2, 3)]);
}

#[test]
fn an_unacknowledged_write_takes_effect_once_at_any_time_or_never() {
    good(&[put(A, 0, 1), lost(B, 2), read(A, 10, 11)]);
    good(&[put(A, 0, 1), lost(B, 2), read(A, 10, 11), read(B, 12, 13)]);
    good(&[lost(B, 0), put(A, 2, 3), read(A, 4, 5), read(B, 1_000, 1_001)]);
    bad(&[lost(B, 0), read(B, 2, 3), put(A, 4, 5), read(B, 6, 7)]);
    // Before it was begun: never.
    bad(&[read(B, 0, 1), lost(B, 2)]);
    good(&[
        put(A, 0, 1),
        event(Op::Delete, Outcome::Unknown, 2, 3),
        read(A, 4, 5),
        read(None, 6, 7),
    ]);
    // Two unacknowledged deletes explain two disappearances, not three.
    let gone = |at| event(Op::Delete, Outcome::Unknown, at, at + 1);
    let thrice = [
        put(A, 0, 1),
        read(None, 2, 3),
        put(B, 4, 5),
        read(None, 6, 7),
        put(C, 8, 9),
        read(None, 10, 11),
    ];
    good(&[&[gone(0), gone(0), gone(0)], thrice.as_slice()].concat());
    bad(&[&[gone(0), gone(0)], thrice.as_slice()].concat());
}

#[test]
fn conditions_hold_when_they_are_said_to() {
    let absent = |content, outcome, from, to| event(Op::PutIfAbsent(content), outcome, from, to);
    good(&[absent(A, Outcome::Done, 0, 10), absent(B, Outcome::Refused, 0, 10), read(A, 11, 12)]);
    bad(&[absent(A, Outcome::Done, 0, 10), absent(B, Outcome::Done, 0, 10)]);
    bad(&[absent(A, Outcome::Refused, 0, 10)]);
    let matches = |expected, new, outcome, from, to| {
        event(Op::PutIfMatch { expected, new }, outcome, from, to)
    };
    good(&[
        put(A, 0, 1),
        matches(A, B, Outcome::Done, 2, 9),
        matches(A, C, Outcome::Refused, 2, 9),
    ]);
    // Both replace the same version: an update is lost.
    bad(&[put(A, 0, 1), matches(A, B, Outcome::Done, 2, 9), matches(A, C, Outcome::Done, 2, 9)]);
    bad(&[put(A, 0, 1), matches(A, B, Outcome::Refused, 2, 9)]);
    // Who was not acknowledged may come late, whatever is there.
    good(&[absent(A, Outcome::Unknown, 0, 1), put(B, 2, 3), read(B, 4, 5), read(A, 6, 7)]);
    let deletes = |outcome| event(Op::Delete, outcome, 2, 9);
    good(&[put(A, 0, 1), deletes(Outcome::Done), deletes(Outcome::Refused)]);
    bad(&[put(A, 0, 1), deletes(Outcome::Done), deletes(Outcome::Done)]);
    bad(&[put(A, 0, 1), event(Op::Take, Outcome::Seen(Some(B)), 2, 3)]);
}

/// Many at once, many lost, and one read at the end that is wrong.
#[test]
fn long_histories_are_decided() {
    let mut events = Vec::new();
    for round in 0..300 {
        let at = round * 100;
        for writer in 0..6 {
            let content = Content(round * 10 + writer + 10);
            let started = at + writer;
            events.push(match writer {
                0 => event(Op::Put(content), Outcome::Unknown, started, started + 1),
                1 => event(Op::Delete, Outcome::Unknown, started, started + 1),
                _ => put(content, started, at + 90),
            });
        }
        for reader in 0..6 {
            events.push(old(Content(round * 10 + 14), at + 91 + reader, at + 99, 50));
        }
    }
    good(&events);
    events.push(read(Content(10 * 10 + 14), 40_000, 40_001));
    bad(&events);
}

/// By trying every order of every choice of what took effect.
fn by_force(calls: &[Call], done: u32, state: Option<Content>) -> bool {
    let is_done = |i: usize| done & (1 << i) != 0;
    if calls.iter().enumerate().all(|(i, call)| is_done(i) || call.returned.is_none()) {
        return true;
    }
    let bound = calls.iter().enumerate().filter(|(i, _)| !is_done(*i));
    let bound = bound.filter_map(|(_, call)| call.returned).min().unwrap_or(Duration::MAX);
    calls.iter().enumerate().any(|(i, call)| {
        !is_done(i)
            && call.invoked <= bound
            && call.want.holds(state)
            && by_force(calls, done | 1 << i, call.to.unwrap_or(state))
    })
}

fn any_event() -> impl Strategy<Value = Event> {
    let content = || (1_u64..5).prop_map(Content);
    let seen = || prop::option::of(content()).prop_map(Outcome::Seen);
    let written =
        || prop_oneof![Just(Outcome::Done), Just(Outcome::Unknown), Just(Outcome::Refused)];
    let what = prop_oneof![
        4 => seen().prop_map(|outcome| (Op::Read, outcome)),
        3 => written().prop_map(|outcome| (Op::Put(A), if outcome == Outcome::Refused { Outcome::Done } else { outcome })),
        1 => written().prop_map(|outcome| (Op::PutIfAbsent(A), outcome)),
        1 => (content(), written()).prop_map(|(expected, outcome)| (Op::PutIfMatch { expected, new: A }, outcome)),
        2 => written().prop_map(|outcome| (Op::Delete, outcome)),
        1 => seen().prop_map(|outcome| (Op::Take, outcome)),
    ];
    (what, 0_u64..20, 0_u64..12, 0_u64..6).prop_map(|((op, outcome), from, takes, allowance)| {
        let allowance = if op == Op::Read { allowance } else { 0 };
        Event {
            allowance: Duration::from_millis(allowance),
            ..event(op, outcome, from, from + takes)
        }
    })
}

/// Each write has a content of its own.
fn numbered(mut events: Vec<Event>) -> Vec<Event> {
    let mut next = 0;
    for event in &mut events {
        if let Op::Put(new) | Op::PutIfAbsent(new) | Op::PutIfMatch { new, .. } = &mut event.op {
            next += 1;
            *new = Content(next);
        }
    }
    events
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_finds_what_trying_everything_finds(events in prop::collection::vec(any_event(), 0..8)) {
        let events = numbered(events);
        let calls: Vec<Call> =
            events.iter().enumerate().filter_map(|(i, event)| Call::of(i, event)).collect();
        let expected = by_force(&calls, 0, None);
        let found = check(&events) == Verdict::Explained;
        prop_assert_eq!(found, expected, "{:#?}", events);
    }
}
