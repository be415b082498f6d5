//! Whether the events of one path are those of one register: linearizability, with writes that may
//! take effect late or never, and reads that may be old.
//!
//! The search is that of Wing and Gong with Lowe's memory of what was tried (each set of events
//! that took effect, with what is there after it, is looked at once). A path's contents are all
//! different, which prunes most of it: what was read must be read while it is there. Crates that
//! check linearizability want each call to return, or know no bound; here a call of a killed
//! process may take effect an hour later, and a read from memory is right when it is a second old.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use super::record::{Content, Event, Op, Outcome};

/// Configurations that are looked at before the search gives up.
const STEPS_MAX: u64 = 3_000_000;
/// Events that a [`Violation`] shows on each side.
const EXCERPT: usize = 12;

/// What can be said of the events of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// One register explains them.
    Explained,
    /// None does.
    Violated(Violation),
    /// Too many orders to look at.
    Undecided,
}

/// The events that no register explains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The event that cannot be explained by what went before, in the best order that was found.
    pub event: Event,
    /// What was there in that order.
    pub there: Option<Content>,
    /// The events around it.
    pub excerpt: Vec<Event>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let there = self.there.map_or_else(|| "nothing".to_owned(), |c| c.to_string());
        writeln!(f, "`{}`: no order explains, with {there} in place:", self.event.path)?;
        for event in &self.excerpt {
            let mark = if *event == self.event { "→" } else { " " };
            writeln!(f, "  {mark} {event}")?;
        }
        Ok(())
    }
}

/// What is asked of the state before a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Want {
    Any,
    Present,
    Is(Option<Content>),
    Not(Content),
}

impl Want {
    fn holds(self, state: Option<Content>) -> bool {
        match self {
            Self::Any => true,
            Self::Present => state.is_some(),
            Self::Is(content) => state == content,
            Self::Not(content) => state != Some(content),
        }
    }

    /// The content without which it does not hold.
    fn content(self) -> Option<Content> {
        if let Self::Is(content) = self { content } else { None }
    }
}

/// An event, as the register has it.
#[derive(Debug, Clone, Copy)]
struct Call {
    event: usize,
    invoked: Duration,
    /// `None`: at any later time, or never.
    returned: Option<Duration>,
    want: Want,
    /// What is there afterwards, for a write.
    to: Option<Option<Content>>,
    /// Nobody ever asks for its content: one of these is as good as another.
    anonymous: bool,
}

impl Call {
    fn of(event: usize, of: &Event) -> Option<Self> {
        let look = |want| Some((want, None, true));
        let set = |want, to, ends| Some((want, Some(to), ends));
        let (want, to, ends) = match (of.op, of.outcome) {
            (_, Outcome::Failed)
            | (Op::Read, Outcome::Unknown | Outcome::Refused)
            | (Op::Put(_), Outcome::Refused) => None,
            (Op::Read, Outcome::Seen(content)) => look(Want::Is(content)),
            (Op::Read, Outcome::Done) => look(Want::Present),
            // What was not acknowledged may take effect although its condition holds no more.
            (
                Op::Put(new) | Op::PutIfAbsent(new) | Op::PutIfMatch { new, .. },
                Outcome::Unknown,
            ) => set(Want::Any, Some(new), false),
            (Op::Delete | Op::Clear | Op::Take, Outcome::Unknown) => set(Want::Any, None, false),
            (Op::Clear, _) => set(Want::Any, None, true),
            (Op::Put(new), _) => set(Want::Any, Some(new), true),
            (Op::PutIfAbsent(_), Outcome::Refused) => look(Want::Present),
            (Op::PutIfAbsent(new), _) => set(Want::Is(None), Some(new), true),
            (Op::PutIfMatch { expected, .. }, Outcome::Refused) => look(Want::Not(expected)),
            (Op::PutIfMatch { expected, new }, _) => set(Want::Is(Some(expected)), Some(new), true),
            (Op::Delete | Op::Take, Outcome::Refused | Outcome::Seen(None)) => look(Want::Is(None)),
            (Op::Delete | Op::Take, Outcome::Seen(content)) => set(Want::Is(content), None, true),
            (Op::Delete | Op::Take, Outcome::Done) => set(Want::Present, None, true),
        }?;
        Some(Self {
            event,
            invoked: of.invoked.saturating_sub(of.allowance),
            returned: ends.then_some(of.returned),
            want,
            to,
            anonymous: false,
        })
    }
}

/// Whether one register explains these events, all of one path, that was empty at first.
#[must_use]
pub fn check(events: &[Event]) -> Verdict {
    let mut calls: Vec<Call> =
        events.iter().enumerate().filter_map(|(i, event)| Call::of(i, event)).collect();
    calls.sort_by_key(|call| call.invoked);
    close_what_was_seen(&mut calls);
    let mut search = Search::new(&calls);
    match search.run() {
        Some(true) => Verdict::Explained,
        None => Verdict::Undecided,
        Some(false) => {
            let (blocked, there) = search.best;
            let event = &events[calls[blocked].event];
            Verdict::Violated(Violation {
                event: event.clone(),
                there,
                excerpt: excerpt(events, event),
            })
        }
    }
}

/// A write whose content was seen took effect by then; one that nobody asks for is anonymous.
fn close_what_was_seen(calls: &mut [Call]) {
    let mut seen: HashMap<Content, Duration> = HashMap::new();
    let mut asked: HashSet<Content> = HashSet::new();
    for call in calls.iter() {
        if let (Some(content), Some(returned)) = (call.want.content(), call.returned) {
            let first = seen.entry(content).or_insert(returned);
            *first = returned.min(*first);
        }
        if let Want::Not(content) = call.want {
            asked.insert(content);
        }
    }
    for call in calls.iter_mut().filter(|call| call.returned.is_none()) {
        match call.to {
            Some(Some(new)) => {
                call.returned = seen.get(&new).map(|first| (*first).max(call.invoked));
                call.anonymous = call.returned.is_none() && !asked.contains(&new);
            }
            _ => call.anonymous = true,
        }
    }
}

fn excerpt(events: &[Event], around: &Event) -> Vec<Event> {
    let mut sorted: Vec<&Event> = events.iter().filter(|e| e.outcome != Outcome::Failed).collect();
    sorted.sort_by_key(|event| event.invoked);
    let at = sorted.iter().position(|event| *event == around).unwrap_or_default();
    let mut shown: BTreeSet<usize> =
        (at.saturating_sub(EXCERPT)..sorted.len().min(at + EXCERPT)).collect();
    // Whoever wrote what it saw, however long ago, and whoever saw it.
    let named = contents(around);
    for (i, event) in sorted.iter().enumerate() {
        let is_write = !matches!(event.op, Op::Read);
        if is_write && contents(event).iter().any(|content| named.contains(content)) {
            shown.insert(i);
        }
    }
    shown.into_iter().map(|i| sorted[i].clone()).collect()
}

fn contents(event: &Event) -> Vec<Content> {
    let mut contents = match event.op {
        Op::Put(new) | Op::PutIfAbsent(new) => vec![new],
        Op::PutIfMatch { expected, new } => vec![expected, new],
        Op::Delete | Op::Clear | Op::Take | Op::Read => Vec::new(),
    };
    if let Outcome::Seen(Some(content)) = event.outcome {
        contents.push(content);
    }
    contents
}

struct Search<'a> {
    calls: &'a [Call],
    /// Which calls have taken effect.
    done: Vec<bool>,
    /// Calls before this one all have.
    first: usize,
    state: Option<Content>,
    /// How many calls still have to find this content in place.
    wanted: HashMap<Content, u32>,
    /// Calls that return and have not taken effect.
    left: usize,
    hash: u128,
    tried: HashSet<u128>,
    steps: u64,
    /// The call that was in the way of the longest order, and what was there.
    best: (usize, Option<Content>),
    best_left: usize,
}

/// A step that can be taken back.
struct Taken {
    call: usize,
    first: usize,
    state: Option<Content>,
}

/// A choice: what was tried of it, and how to take it back.
struct Choice {
    options: Vec<usize>,
    next: usize,
    /// Looks that were taken before the choice.
    looks: Vec<Taken>,
    /// The option that is being tried.
    taken: Option<Taken>,
}

impl<'a> Search<'a> {
    fn new(calls: &'a [Call]) -> Self {
        let mut wanted = HashMap::new();
        for content in calls.iter().filter_map(|call| call.want.content()) {
            *wanted.entry(content).or_insert(0) += 1;
        }
        let left = calls.iter().filter(|call| call.returned.is_some()).count();
        Self {
            calls,
            done: vec![false; calls.len()],
            first: 0,
            state: None,
            wanted,
            left,
            hash: 0,
            tried: HashSet::new(),
            steps: 0,
            best: (0, None),
            best_left: usize::MAX,
        }
    }

    /// `None` when it gave up.
    fn run(&mut self) -> Option<bool> {
        let mut choices = vec![self.choose()];
        loop {
            if self.left == 0 {
                return Some(true);
            }
            self.steps += 1;
            if self.steps > STEPS_MAX {
                return None;
            }
            let Some(choice) = choices.last_mut() else { return Some(false) };
            if let Some(taken) = choice.taken.take() {
                self.undo(&taken);
            }
            match choice.options.get(choice.next).copied() {
                Some(option) => {
                    choice.next += 1;
                    choice.taken = Some(self.take(option));
                    if self.tried.insert(self.hash ^ mix(self.state.map_or(u64::MAX, |c| c.0))) {
                        let next = self.choose();
                        choices.push(next);
                    }
                }
                None => {
                    for taken in choice.looks.iter().rev() {
                        self.undo(taken);
                    }
                    choices.pop();
                }
            }
        }
    }

    /// Takes every look that finds what it wants, for they change nothing; then lists the writes
    /// that may be next.
    fn choose(&mut self) -> Choice {
        let mut looks = Vec::new();
        loop {
            let candidates = self.candidates();
            let fitting = candidates.iter().copied().find(|i| {
                let call = &self.calls[*i];
                call.to.is_none() && call.want.holds(self.state)
            });
            match fitting {
                Some(look) => {
                    let taken = self.take(look);
                    looks.push(taken);
                }
                None => {
                    self.note_the_best(&candidates);
                    let options = self.options(&candidates);
                    return Choice { options, next: 0, looks, taken: None };
                }
            }
        }
    }

    /// Calls that may be next: no other has returned before they were begun.
    fn candidates(&self) -> Vec<usize> {
        let mut bound = Duration::MAX;
        let mut candidates = Vec::new();
        for (i, call) in self.calls.iter().enumerate().skip(self.first) {
            if call.invoked > bound {
                break;
            }
            if !self.done[i] {
                candidates.push(i);
                bound = bound.min(call.returned.unwrap_or(Duration::MAX));
            }
        }
        candidates.retain(|i| self.calls[*i].invoked <= bound);
        candidates
    }

    fn options(&self, candidates: &[usize]) -> Vec<usize> {
        // Somebody still has to find this in place.
        let is_wanted = |content| self.wanted.get(content).is_some_and(|count| *count > 0);
        let mut anonymous = [false; 2];
        let mut options: Vec<usize> = candidates
            .iter()
            .copied()
            .filter(|i| {
                let call = &self.calls[*i];
                let Some(to) = call.to else { return false };
                if !call.want.holds(self.state) {
                    return false;
                }
                let takes_one = call.want.content().is_some();
                let left = self.state.as_ref().and_then(|content| self.wanted.get(content));
                if self.state.as_ref().is_some_and(is_wanted) && !(takes_one && left == Some(&1)) {
                    return false;
                }
                if call.anonymous {
                    // One that removes where nothing is does nothing.
                    let useless = to.is_none() && self.state.is_none();
                    return !useless
                        && !std::mem::replace(&mut anonymous[usize::from(to.is_some())], true);
                }
                true
            })
            .collect();
        // What must take effect first, first; what need not, last.
        options.sort_by_key(|i| self.calls[*i].returned.unwrap_or(Duration::MAX));
        options
    }

    fn note_the_best(&mut self, candidates: &[usize]) {
        if self.left >= self.best_left {
            return;
        }
        // Who asks too late for what is in place, or else who must be next and cannot.
        let late = self.state.and_then(|content| {
            let asks = |i: &usize| !self.done[*i] && self.calls[*i].want.content() == Some(content);
            (self.first..self.calls.len()).rev().find(asks)
        });
        let next = candidates
            .iter()
            .copied()
            .min_by_key(|i| self.calls[*i].returned.unwrap_or(Duration::MAX));
        // A read that must be next and finds something else is to blame itself.
        let blocked = match next {
            Some(next) if self.calls[next].to.is_none() => Some(next),
            _ => late.or(next),
        };
        if let Some(blocked) = blocked {
            self.best_left = self.left;
            self.best = (blocked, self.state);
        }
    }

    fn take(&mut self, i: usize) -> Taken {
        let taken = Taken { call: i, first: self.first, state: self.state };
        let call = &self.calls[i];
        self.done[i] = true;
        self.hash ^= mix(u64::try_from(i).unwrap_or(u64::MAX)).rotate_left(64);
        while self.done.get(self.first) == Some(&true) {
            self.first += 1;
        }
        self.left -= usize::from(call.returned.is_some());
        if let Some(content) = call.want.content()
            && let Some(count) = self.wanted.get_mut(&content)
        {
            *count -= 1;
        }
        if let Some(to) = call.to {
            self.state = to;
        }
        taken
    }

    fn undo(&mut self, taken: &Taken) {
        let call = &self.calls[taken.call];
        self.done[taken.call] = false;
        self.hash ^= mix(u64::try_from(taken.call).unwrap_or(u64::MAX)).rotate_left(64);
        self.first = taken.first;
        self.state = taken.state;
        self.left += usize::from(call.returned.is_some());
        if let Some(content) = call.want.content()
            && let Some(count) = self.wanted.get_mut(&content)
        {
            *count += 1;
        }
    }
}

/// Spreads a number over 128 bits, so that sets can be told apart by the XOR of their members.
fn mix(n: u64) -> u128 {
    let half = |seed: u64| {
        let mut z = n.wrapping_add(seed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    u128::from(half(0x9e37_79b9_7f4a_7c15)) << 64 | u128::from(half(0x6a09_e667_f3bc_c909))
}

#[cfg(test)]
mod tests;
