//! Counters of a cache.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) hits: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) bypassed: AtomicU64,
    pub(crate) fills: AtomicU64,
    pub(crate) bytes_read: AtomicU64,
    pub(crate) bytes_filled: AtomicU64,
    pub(crate) evictions: AtomicU64,
    pub(crate) errors: AtomicU64,
}

/// Counts of a cache, of this process since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct State {
    /// Reads that needed nothing of the back end.
    pub hits: u64,
    /// Reads that needed something of it.
    pub misses: u64,
    /// Reads that the cache had no room for, or that are too large for it.
    pub bypassed: u64,
    /// Times that the back end was asked to fill something.
    pub fills: u64,
    /// Bytes handed out from files that were there.
    pub bytes_read: u64,
    /// Bytes fetched and kept.
    pub bytes_filled: u64,
    /// Files that went to make room.
    pub evictions: u64,
    /// Faults of the disk, and torn files.
    pub errors: u64,
}

impl Counters {
    pub(crate) fn state(&self) -> State {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        State {
            hits: of(&self.hits),
            misses: of(&self.misses),
            bypassed: of(&self.bypassed),
            fills: of(&self.fills),
            bytes_read: of(&self.bytes_read),
            bytes_filled: of(&self.bytes_filled),
            evictions: of(&self.evictions),
            errors: of(&self.errors),
        }
    }
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

/// As [`add`], of a length.
pub(crate) fn add_len(counter: &AtomicU64, n: usize) {
    add(counter, u64::try_from(n).unwrap_or(u64::MAX));
}
