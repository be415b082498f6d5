//! `Budget`: how many retries one handler may cause.
//!
//! Retries help against single failures. When everything fails they only multiply the load of a
//! store that is in trouble, so all requests of a handler draw on one bucket: it allows a burst, and
//! after that one retry for every [`RETRY_COST`] requests that succeeded.

use std::sync::atomic::{AtomicU32, Ordering};

/// What the bucket holds, and holds at the start: ten retries.
const FULL: u32 = 100;
/// What a retry takes out. A success puts 1 in.
const RETRY_COST: u32 = 10;

#[derive(Debug)]
pub(super) struct Budget(AtomicU32);

impl Budget {
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(FULL))
    }

    /// Takes a retry out; `false` when there is none left.
    pub(super) fn spend(&self) -> bool {
        let take = |left: u32| left.checked_sub(RETRY_COST);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// A request succeeded.
    pub(super) fn earn(&self) {
        let put = |left: u32| (left < FULL).then_some(left + 1);
        // Full is full.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, put);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_a_tenth_of_what_succeeds() {
        let budget = Budget::new();
        assert_eq!((0..1000).filter(|_| budget.spend()).count(), 10);
        let retries = (0..1000).filter(|_| {
            budget.earn();
            budget.spend()
        });
        assert_eq!(retries.count(), 100);
        (0..1000).for_each(|_| budget.earn());
        assert_eq!((0..1000).filter(|_| budget.spend()).count(), 10, "it overflows");
    }
}
