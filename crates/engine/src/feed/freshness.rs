//! `Freshness`: until when an answer from memory is at most `max_staleness` old.
//!
//! A poll that succeeds proves little: a replica or a cluster node that lags answers as well. What
//! proves is a heartbeat, written with database time and read back through the feed: whatever was
//! committed before it has been told. Age is counted on the clock that goes on while a process
//! stands still (SIGSTOP) or the machine sleeps, and that nobody sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ezdfs_core::{Clock, Timestamp};

/// Until when what was told is fresh. Shared by the follower, which extends it, and by readers.
#[derive(Debug)]
pub struct Freshness {
    clock: Arc<dyn Clock>,
    max_staleness: Duration,
    /// Nanoseconds since boot; 0 for not fresh.
    until: AtomicU64,
    /// Nanoseconds since boot up to which everything has ever been told.
    told: AtomicU64,
}

/// The freshness of one moment. Taken before a look into a cache and asked after it: then the
/// answer is of the time before the changes that were told in between, and is judged as such.
#[derive(Debug, Clone, Copy)]
pub struct Fresh(u64);

impl Freshness {
    pub(crate) fn new(clock: Arc<dyn Clock>, max_staleness: Duration) -> Self {
        Self { clock, max_staleness, until: AtomicU64::new(0), told: AtomicU64::new(0) }
    }

    /// What a look into a cache begins with.
    #[must_use]
    pub fn take(&self) -> Fresh {
        Fresh(self.until.load(Ordering::Acquire))
    }

    /// Whether an answer that was found since then is at most `max_staleness` old.
    #[must_use]
    pub fn holds(&self, taken: Fresh) -> bool {
        nanos(self.clock.boot()) < taken.0
    }

    /// Whether an answer from memory could be given now.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.holds(self.take())
    }

    /// Since when (in time since boot) changes may not have been told yet; `None` while that is
    /// longer ago than `max_staleness`.
    #[must_use]
    pub fn told_until(&self) -> Option<Duration> {
        let taken = self.take();
        self.holds(taken).then(|| Duration::from_nanos(taken.0).saturating_sub(self.max_staleness))
    }

    /// The latest time since boot up to which everything was told, however long ago.
    pub(crate) fn last_told(&self) -> Duration {
        Duration::from_nanos(self.told.load(Ordering::Acquire))
    }

    /// Everything that was committed up to `told` (time since boot) has been told.
    pub(crate) fn extend(&self, told: Duration) {
        self.told.fetch_max(nanos(told), Ordering::AcqRel);
        let until = told.saturating_add(self.max_staleness);
        if self.clock.boot() < until {
            self.until.fetch_max(nanos(until), Ordering::AcqRel);
        }
    }

    /// Ends a freshness that has run out; `true` if there was one.
    pub(crate) fn lapse(&self) -> bool {
        let taken = self.take();
        if taken.0 == 0 || self.holds(taken) {
            return false;
        }
        self.until.store(0, Ordering::Release);
        true
    }
}

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

/// Database time, and a time since boot that lies before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Calibration {
    /// Read before the database was asked.
    pub(super) boot: Duration,
    /// What it answered.
    pub(super) database: Timestamp,
}

/// A time since boot that does not lie after the heartbeat. Never later than the begin of the poll
/// that brought it: a database clock that was set forward must not make anything fresher.
pub(super) fn told_until(
    calibration: Calibration,
    heartbeat: Timestamp,
    poll_began: Duration,
) -> Duration {
    let later = heartbeat.since(calibration.database);
    let earlier = calibration.database.since(heartbeat);
    calibration.boot.saturating_add(later).saturating_sub(earlier).min(poll_began)
}

#[cfg(test)]
mod tests {
    use ezdfs_core::ManualClock;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn clock() -> ManualClock {
        let clock = ManualClock::at(Timestamp::from_secs(1_700_000_000));
        clock.advance(100 * SECOND);
        clock
    }

    #[test]
    fn fresh_for_as_long_as_allowed_and_not_a_moment_longer() {
        let clock = clock();
        let freshness = Freshness::new(Arc::new(clock.clone()), SECOND);
        assert!(!freshness.is_fresh() && !freshness.lapse());
        freshness.extend(clock.boot());
        let taken = freshness.take();
        clock.advance(SECOND - Duration::from_nanos(1));
        assert!(freshness.is_fresh() && freshness.holds(taken));
        assert_eq!(freshness.told_until(), Some(100 * SECOND));
        clock.advance(Duration::from_nanos(1));
        assert!(!freshness.is_fresh() && !freshness.holds(taken));
        assert_eq!(freshness.told_until(), None);
        assert!(freshness.lapse());
        assert!(!freshness.lapse(), "once");
    }

    #[test]
    fn what_was_taken_before_is_not_prolonged_by_what_is_told_later() {
        let clock = clock();
        let freshness = Freshness::new(Arc::new(clock.clone()), SECOND);
        freshness.extend(clock.boot());
        let taken = freshness.take();
        clock.advance(SECOND);
        freshness.extend(clock.boot());
        assert!(freshness.is_fresh() && !freshness.holds(taken));
    }

    #[test]
    fn an_old_proof_proves_nothing_and_takes_nothing_back() {
        let clock = clock();
        let freshness = Freshness::new(Arc::new(clock.clone()), SECOND);
        freshness.extend(clock.boot() - SECOND);
        assert!(!freshness.is_fresh());
        assert!(!freshness.lapse(), "it never was");
        freshness.extend(clock.boot());
        freshness.extend(clock.boot() - SECOND / 2);
        assert_eq!(freshness.told_until(), Some(clock.boot()));
    }

    #[test]
    fn a_heartbeat_is_as_old_as_the_database_says() {
        let database = Timestamp::from_secs(5_000);
        let calibration = Calibration { boot: 100 * SECOND, database };
        let of = |heartbeat, began| told_until(calibration, heartbeat, began);
        // A replica that lags by 3 s brings heartbeats all the time, each 3 s old.
        assert_eq!(of(database.minus(3 * SECOND), 101 * SECOND), 97 * SECOND);
        assert_eq!(of(database.plus(SECOND / 2), 101 * SECOND), 100 * SECOND + SECOND / 2);
        // The database clock was set forward by an hour.
        assert_eq!(of(database.plus(3600 * SECOND), 101 * SECOND), 101 * SECOND);
        // Set back.
        assert_eq!(of(database.minus(3600 * SECOND), 101 * SECOND), Duration::ZERO);
    }
}
