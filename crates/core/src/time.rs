//! Time: `Timestamp`, and the clock that every rule about time asks.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Nanoseconds since the Unix epoch, negative before it. Reaches from 1677 to 2262.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

const NANOS: i64 = 1_000_000_000;

impl Timestamp {
    /// From nanoseconds since the epoch.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From whole seconds since the epoch; saturates at the ends of the range.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(NANOS))
    }

    /// From milliseconds since the epoch; saturates at the ends of the range.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since the epoch, rounded down.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(NANOS)
    }

    /// The base row's `mtime`: whole seconds, clamped to [1, 2³¹−1], because a row with
    /// `mtime <= 0` is invisible and the column is a signed 32-bit integer (ibexa-dfs.md §1.2).
    #[must_use]
    pub fn base_mtime(self) -> i64 {
        self.secs().clamp(1, i64::from(i32::MAX))
    }

    /// Later by `d`; saturates.
    #[must_use]
    pub fn plus(self, d: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(d.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// Earlier by `d`; saturates.
    #[must_use]
    pub fn minus(self, d: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(d.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// How long ago `earlier` was; zero when it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        u64::try_from(self.0.saturating_sub(earlier.0)).map_or(Duration::ZERO, Duration::from_nanos)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.secs(), self.0.rem_euclid(NANOS))
    }
}

/// The source of time. Rules ask it and never the system, so that tests control time.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Wall clock.
    fn now(&self) -> Timestamp;
    /// Time since an arbitrary start that also counts while the machine sleeps
    /// (`CLOCK_BOOTTIME`): how much of a lease is left is measured with it.
    fn boot(&self) -> Duration;
}

/// The clock of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        Timestamp(t.tv_sec.saturating_mul(NANOS).saturating_add(t.tv_nsec))
    }

    fn boot(&self) -> Duration {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(
            u64::try_from(t.tv_sec).unwrap_or_default(),
            u32::try_from(t.tv_nsec).unwrap_or_default(),
        )
    }
}

/// A clock that stands still until it is moved: for tests.
#[derive(Debug, Clone)]
pub struct ManualClock {
    start: Timestamp,
    now: Arc<AtomicI64>,
}

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self { start: now, now: Arc::new(AtomicI64::new(now.nanos())) }
    }

    /// Moves the clock forward.
    pub fn advance(&self, d: Duration) {
        self.now.store(self.now().plus(d).nanos(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::SeqCst))
    }

    fn boot(&self) -> Duration {
        self.now().since(self.start)
    }
}
