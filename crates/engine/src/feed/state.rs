//! `FeedState`: what the follower knows of itself, for `status` and metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// State and counts of a follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FeedState {
    /// How long ago everything had been told; `None` while that is longer than `max_staleness`:
    /// then nothing is answered from memory.
    pub age: Option<Duration>,
    /// Number of the latest change that was told; 0 before the first.
    pub seq: u64,
    /// Changes that were told.
    pub events: u64,
    /// How often everything in memory was dropped: after a gap, or a silence longer than
    /// `max_staleness`.
    pub resyncs: u64,
    /// Polls and heartbeats that failed.
    pub errors: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) seq: AtomicU64,
    pub(super) events: AtomicU64,
    pub(super) resyncs: AtomicU64,
    pub(super) errors: AtomicU64,
}

impl Counters {
    pub(super) fn state(&self, age: Option<Duration>) -> FeedState {
        FeedState {
            age,
            seq: self.seq.load(Ordering::Relaxed),
            events: self.events.load(Ordering::Relaxed),
            resyncs: self.resyncs.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
        }
    }
}

pub(super) fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(u64::try_from(n).unwrap_or(u64::MAX), Ordering::Relaxed);
}
