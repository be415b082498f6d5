//! Progress on stderr: a bar on a terminal, else a line every 10 s.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use crate::size;

/// Between two lines where stderr is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Transfers below this are over before a bar says anything.
const WORTH_A_BAR: u64 = 8 << 20;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Bytes.
    Bytes,
    /// Things that are called so.
    Many(&'static str),
}

/// Progress of one piece of work.
#[derive(Debug)]
pub(crate) struct Progress {
    what: String,
    unit: Unit,
    bar: ProgressBar,
    quiet: bool,
    /// Where it started: what a resumed run has done already.
    before: u64,
    started: Instant,
    told: Instant,
}

impl Progress {
    /// Progress of `what`; `total` is `None` when it is not known.
    pub(crate) fn new(what: &str, unit: Unit, total: Option<u64>, quiet: bool) -> Self {
        let small = unit == Unit::Bytes && total.is_some_and(|t| t < WORTH_A_BAR);
        let bar = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
        // indicatif draws nothing where stderr is no terminal.
        if quiet || small {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        // The templates are constants: a refused one would only leave the plain bar.
        if let Ok(style) = ProgressStyle::with_template(&template(unit, total.is_some())) {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        let now = Instant::now();
        Self {
            what: what.to_owned(),
            unit,
            bar,
            quiet: quiet || small,
            before: 0,
            started: now,
            told: now,
        }
    }

    /// Counts on.
    pub(crate) fn add(&mut self, n: u64) {
        self.set(self.bar.position().saturating_add(n));
    }

    /// Sets the count.
    pub(crate) fn set(&mut self, n: u64) {
        self.bar.set_position(n);
        if self.bar.is_hidden() && !self.quiet && self.told.elapsed() >= LINE_EVERY {
            self.told = Instant::now();
            crate::say::note(&self.line());
        }
    }

    /// Starts from what earlier runs have done: it does not count for the rate.
    pub(crate) fn resume(&mut self, n: u64) {
        self.before = n;
        self.bar.set_position(n);
        self.bar.reset_eta();
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// Prints a line above the bar.
    pub(crate) fn note(&self, line: &str) {
        self.bar.suspend(|| crate::say::note(line));
    }

    fn line(&self) -> String {
        let position = self.bar.position();
        let show = |n| match self.unit {
            Unit::Bytes => size::human(n),
            Unit::Many(things) => format!("{n} {things}"),
        };
        let of = self.bar.length().map(|total| format!(" of {}", show(total))).unwrap_or_default();
        let rate = rate(position.saturating_sub(self.before), self.started.elapsed());
        let left = self.bar.length().and_then(|t| t.saturating_sub(position).checked_div(rate));
        let eta = left.map(|s| format!(", {s} s left")).unwrap_or_default();
        format!("{}: {}{of}, {}/s{eta}", self.what, show(position), show(rate))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

fn template(unit: Unit, bounded: bool) -> String {
    match (unit, bounded) {
        (Unit::Bytes, true) => {
            "{msg} {bar:30} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}"
                .to_owned()
        }
        (Unit::Bytes, false) => "{msg} {spinner} {binary_bytes} {binary_bytes_per_sec}".to_owned(),
        (Unit::Many(things), true) => {
            format!("{{msg}} {{bar:30}} {{pos}}/{{len}} {things} {{per_sec}} {{eta}}")
        }
        (Unit::Many(things), false) => format!("{{msg}} {{spinner}} {{pos}} {things} {{per_sec}}"),
    }
}

/// Whole units in a second.
fn rate(n: u64, elapsed: Duration) -> u64 {
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    n.saturating_mul(1000) / millis
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_per_second() {
        assert_eq!(rate(500, Duration::from_millis(250)), 2000);
        assert_eq!(rate(0, Duration::ZERO), 0);
    }

    #[test]
    fn every_template_is_understood() {
        for unit in [Unit::Bytes, Unit::Many("rows")] {
            for bounded in [true, false] {
                assert!(ProgressStyle::with_template(&template(unit, bounded)).is_ok());
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_names_count_rate_and_rest() {
        let mut progress = Progress::new("copying", Unit::Many("files"), Some(40), false);
        tokio::time::advance(Duration::from_secs(5)).await;
        progress.set(10);
        assert_eq!(progress.line(), "copying: 10 files of 40 files, 2 files/s, 15 s left");
        progress.resume(20);
        progress.set(30);
        assert_eq!(progress.line(), "copying: 30 files of 40 files, 2 files/s, 5 s left");
    }
}
