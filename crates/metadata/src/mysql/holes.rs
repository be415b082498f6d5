//! Numbers of the feed that were not there when a higher one was.
//!
//! A number is given out before its transaction commits. So a hole is a change that shows later, or
//! one that never will, because its transaction was rolled back or the server counts in steps.
//! Nobody can tell which, so a hole is looked at again until it is too old.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A hole is kept for that long at least,
pub(super) const WINDOW: Duration = Duration::from_secs(10);
/// and until that many later rows were told.
pub(super) const WINDOW_ROWS: u32 = 4_096;
/// Most holes; beyond it the oldest are given up.
const MOST: usize = 65_536;

/// Numbers in a row that are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hole {
    last: i64,
    /// Boot time when it was first missed.
    since: Duration,
    /// Rows that were told by then.
    told: u64,
}

/// What is missing below the highest number.
#[derive(Debug, Default)]
pub(super) struct Holes {
    /// By their first number. All are made above the ones before, so they stand in the order of
    /// their age, too.
    holes: BTreeMap<i64, Hole>,
    /// Rows that were told so far.
    told: u64,
}

impl Holes {
    /// Numbers from `first` to `last` are missing, above all that are known to be.
    pub(super) fn miss(&mut self, first: i64, last: i64, boot: Duration) {
        if first > last {
            return;
        }
        self.holes.insert(first, Hole { last, since: boot, told: self.told });
        self.keep_few();
    }

    /// A row was told that is no hole.
    pub(super) fn tell(&mut self) {
        self.told = self.told.saturating_add(1);
    }

    /// A missing number showed: `false` if it is not known to be missing.
    pub(super) fn fill(&mut self, number: i64) -> bool {
        let Some((&first, &hole)) = self.holes.range(..=number).next_back() else { return false };
        if number > hole.last {
            return false;
        }
        self.holes.remove(&first);
        if first < number {
            self.holes.insert(first, Hole { last: number - 1, ..hole });
        }
        if number < hole.last {
            self.holes.insert(number + 1, hole);
        }
        self.keep_few();
        true
    }

    pub(super) fn contains(&self, number: i64) -> bool {
        self.holes.range(..=number).next_back().is_some_and(|(_, hole)| number <= hole.last)
    }

    /// Gives up what is too old.
    pub(super) fn forget(&mut self, boot: Duration) {
        while let Some(oldest) = self.holes.first_entry() {
            let Hole { since, told, .. } = *oldest.get();
            let is_old = boot.saturating_sub(since) > WINDOW
                && self.told.saturating_sub(told) > u64::from(WINDOW_ROWS);
            if !is_old {
                return;
            }
            oldest.remove();
        }
    }

    fn keep_few(&mut self) {
        while self.holes.len() > MOST {
            self.holes.pop_first();
        }
    }

    /// Both ends of each, if they are not more than that many.
    pub(super) fn ranges(&self, most: usize) -> Option<Vec<(i64, i64)>> {
        (self.holes.len() <= most)
            .then(|| self.holes.iter().map(|(first, hole)| (*first, hole.last)).collect())
    }

    /// The lowest and the highest missing number.
    pub(super) fn span(&self) -> Option<(i64, i64)> {
        let (first, _) = self.holes.first_key_value()?;
        let (_, Hole { last, .. }) = self.holes.last_key_value()?;
        Some((*first, *last))
    }
}

/// What is missing in `floor..=high`, given the numbers that are there, highest first.
pub(super) fn between(floor: i64, high: i64, numbers: &[i64]) -> VecDeque<(i64, i64)> {
    let mut missing = VecDeque::new();
    let mut above = high;
    for number in numbers.iter().copied().filter(|n| (floor..=high).contains(n)) {
        if number < above {
            missing.push_front((number + 1, above));
        }
        above = number - 1;
    }
    if floor <= above {
        missing.push_front((floor, above));
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_hole_is_filled_from_any_side() {
        let mut holes = Holes::default();
        holes.miss(3, 7, at(0));
        holes.miss(9, 9, at(0));
        holes.miss(12, 11, at(0));
        assert_eq!(holes.ranges(9), Some(vec![(3, 7), (9, 9)]));
        assert_eq!((holes.ranges(1), holes.span()), (None, Some((3, 9))));
        for missing in [2, 8, 10, 12] {
            assert!(!holes.contains(missing) && !holes.fill(missing), "{missing}");
        }
        assert!(holes.contains(5) && holes.fill(5) && !holes.fill(5));
        assert_eq!(holes.ranges(9), Some(vec![(3, 4), (6, 7), (9, 9)]));
        assert!(holes.fill(3) && holes.fill(4) && holes.fill(7) && holes.fill(9));
        assert_eq!(holes.ranges(9), Some(vec![(6, 6)]));
        assert!(holes.fill(6));
        assert_eq!(holes.span(), None);
    }

    #[test]
    fn a_hole_is_kept_by_time_and_by_rows() {
        let mut holes = Holes::default();
        holes.miss(1, 1, at(0));
        holes.forget(at(3600));
        assert!(holes.contains(1), "few rows came after it");
        for _ in 0..=WINDOW_ROWS {
            holes.tell();
        }
        holes.miss(5, 6, at(3600));
        holes.forget(at(10));
        assert!(holes.contains(1), "it is young");
        holes.forget(at(11));
        assert!(!holes.contains(1) && holes.contains(5));
    }

    #[test]
    fn the_oldest_holes_go_when_there_are_too_many() {
        let mut holes = Holes::default();
        let most = i64::try_from(MOST).unwrap();
        for n in 0..most + 10 {
            holes.miss(3 * n, 3 * n + 1, at(0));
        }
        assert_eq!(holes.holes.len(), MOST);
        assert!(!holes.contains(27) && holes.contains(30) && holes.contains(3 * most));
    }

    #[test]
    fn what_is_missing_at_the_start() {
        assert_eq!(between(1, 9, &[9, 8, 5, 2]), [(1, 1), (3, 4), (6, 7)]);
        assert_eq!(between(3, 9, &[9, 8, 5, 2]), [(3, 4), (6, 7)]);
        assert_eq!(between(1, 3, &[]), [(1, 3)]);
        assert_eq!(between(1, 3, &[3, 2, 1]), []);
        assert_eq!(between(1, 0, &[]), []);
    }
}
