//! The mtime of a new version.

use std::time::Duration;

use ezdfs_core::Timestamp;

/// How far a version's mtime may run ahead of the clock so that watchers with whole seconds see a
/// difference.
const AHEAD: Duration = Duration::from_secs(2);

/// The mtime of a content publish at `now` over a version of `old`: never goes back, and differs
/// in whole seconds (`old` + 1 s) where that stays within two seconds of the clock. Tomcat and
/// Lucee detect a change only by a different `lastModified()` (seed-systems.md §1.3).
#[must_use]
pub fn next(now: Timestamp, old: Option<Timestamp>) -> Timestamp {
    let Some(old) = old else { return now };
    if now.secs() > old.secs() {
        return now;
    }
    let bumped = Timestamp::from_secs(old.secs().saturating_add(1));
    if bumped <= now.plus(AHEAD) { bumped } else { now.max(old) }
}

/// How far a clock of another node may run ahead of that of a publisher. An exact mtime, as
/// migration sets it, lies further back.
const SKEW: Duration = Duration::from_secs(60);

/// The mtime of a version that is rolled forward: what its pending row says, unless a version
/// published meanwhile, or by a clock that runs ahead, lies just before it.
#[must_use]
pub fn rolled(pending: Timestamp, old: Option<Timestamp>) -> Timestamp {
    match old {
        Some(old) if old >= pending && old.since(pending) <= SKEW => next(pending, Some(old)),
        _ => pending,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_publish_within_the_same_second_shows_the_next_one() {
        let now = Timestamp::from_millis(10_500);
        assert_eq!(next(now, Some(Timestamp::from_millis(10_100))), Timestamp::from_secs(11));
        assert_eq!(next(now, Some(Timestamp::from_secs(11))), Timestamp::from_secs(12));
        // Two seconds ahead of the clock is the end of it.
        assert_eq!(next(now, Some(Timestamp::from_secs(12))), Timestamp::from_secs(12));
        assert_eq!(next(now, Some(Timestamp::from_millis(9_999))), now);
        assert_eq!(next(now, None), now);
    }

    #[test]
    fn a_rolled_version_keeps_its_time_unless_it_would_just_step_back() {
        let pending = Timestamp::from_millis(10_500);
        assert_eq!(rolled(pending, Some(Timestamp::from_secs(11))), Timestamp::from_secs(12));
        // A clock that runs ahead must not let the mtime step back …
        assert_eq!(rolled(pending, Some(Timestamp::from_secs(40))), Timestamp::from_secs(40));
        // … and an exact one of long ago was asked for.
        assert_eq!(rolled(pending, Some(Timestamp::from_secs(9000))), pending);
        assert_eq!(rolled(pending, None), pending);
    }

    proptest! {
        #[test]
        fn mtime_never_goes_back_and_never_runs_away(now in 0_i64..1 << 60, old in 0_i64..1 << 60) {
            let (now, old) = (Timestamp::from_nanos(now), Timestamp::from_nanos(old));
            let new = next(now, Some(old));
            prop_assert!(new >= old && new >= now);
            prop_assert!(new <= now.max(old).plus(AHEAD));
        }
    }
}
