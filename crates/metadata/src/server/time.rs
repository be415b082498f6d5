//! Database time without asking for it each time: what the server's clock was ahead of this
//! machine's boot clock, measured now and then.

use std::sync::Mutex;
use std::time::Duration;

use ezdfs_core::{Clock, Result, SystemClock, Timestamp};

use super::dialect::Dialect;
use super::{Server, TimeSource};
use crate::decode;

/// How long a measurement is good for: two clocks drift apart by less than a millisecond meanwhile.
const GOOD_FOR: Duration = Duration::from_secs(10);

/// An answer that took longer says too little: a connection may have had to be made, or waited for.
const GOOD_ANSWER: Duration = Duration::from_millis(100);
/// How often a good answer is tried for.
const TRIES: u32 = 3;

/// The last measurement.
#[derive(Debug, Default)]
pub(crate) struct DatabaseTime {
    last: Mutex<Option<Measured>>,
}

#[derive(Debug, Clone, Copy)]
struct Measured {
    /// Boot clock, when the answer came.
    boot: Duration,
    /// What the database answered.
    time: Timestamp,
}

impl DatabaseTime {
    fn guess(&self, boot: Duration) -> Option<Timestamp> {
        let last = *self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Measured { boot: asked, time } = last?;
        let since = boot.checked_sub(asked)?;
        // The database looked at its clock before the answer came, so the guess is early, never late, by
        // at most [`GOOD_ANSWER`].
        (since < GOOD_FOR).then(|| time.plus(since))
    }

    fn set(&self, measured: Measured) {
        *self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(measured);
    }
}

impl<D: Dialect> Server<D> {
    /// Database time.
    pub(super) async fn database_time(&self) -> Result<Timestamp> {
        if let TimeSource::Clock(clock) = &self.options.time {
            return Ok(clock.now());
        }
        let boot = SystemClock.boot();
        if let Some(now) = self.time.guess(boot) {
            return Ok(now);
        }
        let what = "ask for the time";
        let mut last = Measured { boot, time: Timestamp::default() };
        for _ in 0..TRIES {
            let asked = SystemClock.boot();
            let rows = self.query(what, &self.sql.now, Vec::new()).await?;
            let answered = SystemClock.boot();
            let nanos = rows.first().map(|row| decode::int(row, 0)).transpose();
            let nanos = nanos.map_err(|e| self.connections.failed(what, e))?;
            let time = Timestamp::from_nanos(nanos.flatten().unwrap_or_default());
            last = Measured { boot: answered, time };
            if answered.saturating_sub(asked) <= GOOD_ANSWER {
                self.time.set(last);
                break;
            }
        }
        Ok(last.time.plus(SystemClock.boot().saturating_sub(last.boot)))
    }
}
