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

/// The last measurement.
#[derive(Debug, Default)]
pub(crate) struct DatabaseTime {
    last: Mutex<Option<Measured>>,
}

#[derive(Debug, Clone, Copy)]
struct Measured {
    /// Boot clock, when the question was asked.
    boot: Duration,
    /// What the database answered.
    time: Timestamp,
}

impl DatabaseTime {
    fn guess(&self, boot: Duration) -> Option<Timestamp> {
        let last = *self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Measured { boot: asked, time } = last?;
        let since = boot.checked_sub(asked)?;
        // The answer is a moment later than the question, so the guess is late, never early, by at
        // most that round trip.
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
        let rows = self.query("ask for the time", &self.sql.now, Vec::new()).await?;
        let nanos = rows.first().map(|row| decode::int(row, 0)).transpose();
        let nanos = nanos.map_err(|e| self.connections.failed("ask for the time", e))?;
        let time = Timestamp::from_nanos(nanos.flatten().unwrap_or_default());
        self.time.set(Measured { boot, time });
        Ok(time.plus(SystemClock.boot().saturating_sub(boot)))
    }
}
