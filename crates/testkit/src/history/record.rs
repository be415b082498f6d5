//! `Event` and `History`: what was done to which path, when, and what came of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ezdfs_core::{Clock as _, SystemClock};
use serde_json::{Value, json};

/// Identity of one content of a path. Each write has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Content(pub u64);

/// As `writer.number`.
impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// A new version, whatever is there.
    Put(Content),
    /// A new version where there is none.
    PutIfAbsent(Content),
    /// A new version in place of that one.
    PutIfMatch {
        /// What must be there.
        expected: Content,
        /// What is to be there.
        new: Content,
    },
    /// No version, of one that is there.
    Delete,
    /// No version, whether there is one or not.
    Clear,
    /// The version goes somewhere else: a rename away.
    Take,
    /// What is there.
    Read,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A write took effect.
    Done,
    /// A read, or a take: what was there.
    Seen(Option<Content>),
    /// The condition does not hold (for a delete or a take: nothing is there), so nothing was done.
    Refused,
    /// Nothing was done, and nothing is known of what is there. Reads end so, too.
    Failed,
    /// A write that may take effect at any later time, or never.
    Unknown,
}

/// One operation on one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Which path.
    pub path: String,
    /// Who, for people.
    pub actor: String,
    /// What.
    pub op: Op,
    /// When it was begun, since the start of the history.
    pub invoked: Duration,
    /// When its answer was there.
    pub returned: Duration,
    /// The answer.
    pub outcome: Outcome,
    /// How old the answer of a read may be: zero for one that must be of the time of the read.
    pub allowance: Duration,
    /// What people should know of it: a fault, an error.
    pub note: String,
}

impl Event {
    /// For a file: one line of JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let op = match self.op {
            Op::Put(new) => format!("put {new}"),
            Op::PutIfAbsent(new) => format!("put-if-absent {new}"),
            Op::PutIfMatch { expected, new } => format!("put-if-match {expected} {new}"),
            Op::Delete => "delete".to_owned(),
            Op::Clear => "clear".to_owned(),
            Op::Take => "take".to_owned(),
            Op::Read => "read".to_owned(),
        };
        let outcome = match self.outcome {
            Outcome::Done => "done".to_owned(),
            Outcome::Seen(Some(content)) => format!("saw {content}"),
            Outcome::Seen(None) => "saw nothing".to_owned(),
            Outcome::Refused => "refused".to_owned(),
            Outcome::Failed => "failed".to_owned(),
            Outcome::Unknown => "unknown".to_owned(),
        };
        json!({
            "path": self.path, "actor": self.actor, "op": op, "outcome": outcome,
            "invoked_s": self.invoked.as_secs_f64(), "returned_s": self.returned.as_secs_f64(),
            "allowance_s": self.allowance.as_secs_f64(), "note": self.note,
        })
    }
}

/// Begin and end in seconds, who, what, what came of it.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = self.to_json();
        let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
        let (begin, end) = (self.invoked.as_secs_f64(), self.returned.as_secs_f64());
        write!(f, "{begin:9.3} – {end:9.3}  {:<12} {}", self.actor, text("op"))?;
        write!(f, " → {}", text("outcome"))?;
        if !self.allowance.is_zero() {
            write!(f, " (at most {:?} old)", self.allowance)?;
        }
        if !self.note.is_empty() {
            write!(f, "  [{}]", self.note)?;
        }
        Ok(())
    }
}

/// Events of all actors, as they end.
#[derive(Debug)]
pub struct History {
    start: Duration,
    events: Mutex<Vec<Event>>,
}

impl Default for History {
    fn default() -> Self {
        Self { start: SystemClock.boot(), events: Mutex::default() }
    }
}

impl History {
    /// Time since its start.
    #[must_use]
    pub fn now(&self) -> Duration {
        SystemClock.boot().saturating_sub(self.start)
    }

    /// Keeps an event that has ended.
    pub fn record(&self, event: Event) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }

    /// All so far, in the order of their begin.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner).clone();
        events.sort_by_key(|event| event.invoked);
        events
    }

    /// All so far, by path.
    #[must_use]
    pub fn by_path(&self) -> BTreeMap<String, Vec<Event>> {
        let mut paths: BTreeMap<String, Vec<Event>> = BTreeMap::new();
        for event in self.events() {
            paths.entry(event.path.clone()).or_default().push(event);
        }
        paths
    }
}
