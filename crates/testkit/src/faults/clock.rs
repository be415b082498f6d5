//! `TickingClock`: stands still for everybody but those who wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ezdfs_core::{Clock, ManualClock, Timestamp};

/// A clock whose wall time only moves by [`TickingClock::advance`], while each look at the time
/// since boot takes a millisecond: a wait with a deadline ends after so many looks.
#[derive(Debug, Clone)]
pub struct TickingClock {
    manual: ManualClock,
    looks: Arc<AtomicU64>,
}

impl TickingClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self { manual: ManualClock::at(now), looks: Arc::default() }
    }

    /// Moves the clock forward.
    pub fn advance(&self, d: Duration) {
        self.manual.advance(d);
    }
}

impl Clock for TickingClock {
    fn now(&self) -> Timestamp {
        self.manual.now()
    }

    fn boot(&self) -> Duration {
        let looks = self.looks.fetch_add(1, Ordering::Relaxed);
        self.manual.boot() + Duration::from_millis(looks)
    }
}
