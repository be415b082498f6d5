use std::time::Duration;

use ezdfs_core::{Clock as _, ManualClock, SystemClock, Timestamp};
use proptest::prelude::*;

const NANOS: i64 = 1_000_000_000;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn conversions_round_down(nanos in any::<i64>()) {
        let t = Timestamp::from_nanos(nanos);
        prop_assert_eq!(t.nanos(), nanos);
        let (secs, millis) = (i128::from(t.secs()), i128::from(t.millis()));
        let nanos = i128::from(nanos);
        prop_assert!(secs * 1_000_000_000 <= nanos && nanos < (secs + 1) * 1_000_000_000);
        prop_assert!(millis * 1_000_000 <= nanos && nanos < (millis + 1) * 1_000_000);
    }

    #[test]
    fn whole_units_round_trip_within_the_range(
        secs in i64::MIN / NANOS..=i64::MAX / NANOS, millis in i64::MIN / 1_000_000..=i64::MAX / 1_000_000
    ) {
        prop_assert_eq!(Timestamp::from_secs(secs).secs(), secs);
        prop_assert_eq!(Timestamp::from_millis(millis).millis(), millis);
    }

    #[test]
    fn outside_the_range_it_saturates(secs in any::<i64>()) {
        let expected = i64::try_from(i128::from(secs) * i128::from(NANOS))
            .unwrap_or(if secs < 0 { i64::MIN } else { i64::MAX });
        prop_assert_eq!(Timestamp::from_secs(secs).nanos(), expected);
    }

    #[test]
    fn base_mtime_is_always_visible_and_fits_32_bits(nanos in any::<i64>()) {
        let base = Timestamp::from_nanos(nanos).base_mtime();
        prop_assert!((1..=i64::from(i32::MAX)).contains(&base));
        let secs = nanos.div_euclid(NANOS);
        prop_assert!(base == secs || !(1..=i64::from(i32::MAX)).contains(&secs));
    }

    #[test]
    fn later_and_earlier(nanos in -(1_i64 << 60)..(1 << 60), d in 0_u64..(1 << 60)) {
        let (t, d) = (Timestamp::from_nanos(nanos), Duration::from_nanos(d));
        prop_assert_eq!(t.plus(d).minus(d), t);
        prop_assert_eq!(t.plus(d).since(t), d);
        prop_assert_eq!(t.minus(d).since(t), Duration::ZERO);
        prop_assert_eq!(t.plus(d) >= t, true);
    }
}

#[test]
fn base_mtime_is_clamped() {
    let end = i64::from(i32::MAX);
    for (secs, base) in [
        (-86_400, 1),
        (-1, 1),
        (0, 1),
        (1, 1),
        (1_700_000_000, 1_700_000_000),
        (end, end),
        (end + 1, end),
        (4_102_444_800, end),
    ] {
        assert_eq!(Timestamp::from_secs(secs).base_mtime(), base, "{secs}");
    }
    assert_eq!(Timestamp::from_nanos(1_999_999_999).base_mtime(), 1);
    assert_eq!(Timestamp::from_nanos(-1).secs(), -1);
    assert_eq!(Timestamp::from_nanos(i64::MIN).base_mtime(), 1);
    assert_eq!(Timestamp::from_nanos(i64::MAX).base_mtime(), end);
}

#[test]
fn additions_saturate() {
    let (first, last) = (Timestamp::from_nanos(i64::MIN), Timestamp::from_nanos(i64::MAX));
    assert_eq!(last.plus(Duration::from_secs(1)), last);
    assert_eq!(first.minus(Duration::MAX), first);
    assert_eq!(Timestamp::from_secs(0).plus(Duration::MAX), last);
    assert_eq!(last.since(first), Duration::from_nanos(i64::MAX.unsigned_abs()));
}

#[test]
fn times_print_as_seconds() {
    assert_eq!(format!("{:?}", Timestamp::from_nanos(1_500_000_000)), "1.500000000");
    assert_eq!(format!("{:?}", Timestamp::from_nanos(-1)), "-1.999999999");
}

#[test]
fn a_manual_clock_moves_when_told() {
    let clock = ManualClock::at(Timestamp::from_secs(100));
    let twin = clock.clone();
    assert_eq!((clock.now(), clock.boot()), (Timestamp::from_secs(100), Duration::ZERO));
    clock.advance(Duration::from_millis(2500));
    assert_eq!(twin.now(), Timestamp::from_millis(102_500));
    assert_eq!(twin.boot(), Duration::from_millis(2500));
}

#[test]
fn the_system_clock_shows_this_century_and_does_not_go_back() {
    let clock = SystemClock;
    assert!((946_684_800..4_102_444_800).contains(&clock.now().secs()));
    let before = clock.boot();
    assert!(clock.boot() >= before && before > Duration::ZERO);
}
