//! The `Range` field (RFC 9110 §14.1.2, §14.2) as a pure function of the field and the size.
//!
//! Where the RFC leaves a choice the answers are pinned: a malformed `bytes` spec is 416, an empty
//! set is 200, another unit is 200, an overflowing first position is 416, an overflowing last
//! position or suffix is clamped, and an empty file ignores the field. A set with several
//! satisfiable ranges is answered with the whole file, which §14.2 allows at any time; a set of
//! which one range is left is that range.

use std::ops::Range;

/// Which bytes of a representation a `Range` field selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All of them, status 200.
    Whole,
    /// One range, status 206. Never empty and never beyond the size.
    Part(Range<u64>),
    /// None, status 416.
    Unsatisfiable,
}

/// A range spec that no `bytes` set may hold.
struct Malformed;

/// What the field value `field` selects of `size` bytes. Linear in the field, allocates nothing.
#[must_use]
pub fn select(field: &[u8], size: u64) -> Selection {
    let Some(equals) = field.iter().position(|b| *b == b'=') else { return Selection::Whole };
    let (unit, set) = (&field[..equals], &field[equals + 1..]);
    if size == 0 || !unit.eq_ignore_ascii_case(b"bytes") {
        return Selection::Whole;
    }
    let mut specs = 0_usize;
    let mut satisfiable = 0_usize;
    let mut part = 0..size;
    for spec in set.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|s| !s.is_empty()) {
        specs += 1;
        match resolve(spec, size) {
            Ok(Some(range)) => {
                satisfiable += 1;
                part = range;
            }
            Ok(None) => {}
            Err(Malformed) => return Selection::Unsatisfiable,
        }
    }
    match (specs, satisfiable) {
        (0, _) => Selection::Whole,
        (_, 0) => Selection::Unsatisfiable,
        (_, 1) => Selection::Part(part),
        _ => Selection::Whole,
    }
}

/// One spec: `first-last`, `first-` or `-suffix`; `None` when it selects nothing of `size` bytes.
fn resolve(spec: &[u8], size: u64) -> Result<Option<Range<u64>>, Malformed> {
    let dash = spec.iter().position(|b| *b == b'-').ok_or(Malformed)?;
    let (first, last) = (&spec[..dash], &spec[dash + 1..]);
    if first.is_empty() {
        let suffix = number(last)?;
        return Ok((suffix > 0).then(|| size - suffix.min(size)..size));
    }
    let first = number(first)?;
    if last.is_empty() {
        return Ok((first < size).then_some(first..size));
    }
    let last = number(last)?;
    if last < first {
        return Err(Malformed);
    }
    Ok((first < size).then(|| first..last.saturating_add(1).min(size)))
}

/// Decimal digits and nothing else; a number too large for 64 bits is the largest one.
fn number(digits: &[u8]) -> Result<u64, Malformed> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Malformed);
    }
    Ok(digits.iter().fold(0, |n: u64, d| n.saturating_mul(10).saturating_add(u64::from(d - b'0'))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn part(range: Range<u64>) -> Selection {
        Selection::Part(range)
    }

    #[test]
    fn pinned_answers_for_a_file_of_1024_bytes() {
        let cases: &[(&str, Selection)] = &[
            // Two satisfiable ranges: whole until multipart/byteranges is offered.
            ("bytes=0-0,5-8", Selection::Whole),
            ("bytes=-2000", part(0..1024)),
            ("bytes=2000-", Selection::Unsatisfiable),
            ("bytes=0-,1-,2-,3-", Selection::Whole),
            ("bytes=abc", Selection::Unsatisfiable),
            ("bytes=5-2", Selection::Unsatisfiable),
            ("bytes=1-2-3", Selection::Unsatisfiable),
            ("bytes=a-b", Selection::Unsatisfiable),
            ("bytes=0-99999999999999999999", part(0..1024)),
            ("items=0-1", Selection::Whole),
            ("bytes=-0", Selection::Unsatisfiable),
            ("bytes=", Selection::Whole),
        ];
        for (field, expected) in cases {
            assert_eq!(select(field.as_bytes(), 1024), *expected, "{field}");
        }
    }

    #[test]
    fn forms_of_one_range() {
        let cases: &[(&str, Selection)] = &[
            ("bytes=0-0", part(0..1)),
            ("bytes=0-1023", part(0..1024)),
            ("bytes=0-1024", part(0..1024)),
            ("bytes=1023-", part(1023..1024)),
            ("bytes=1024-", Selection::Unsatisfiable),
            ("bytes=1024-1030", Selection::Unsatisfiable),
            ("bytes=-1", part(1023..1024)),
            ("bytes=-1024", part(0..1024)),
            ("bytes=007-0010", part(7..11)),
            ("BYTES=0-9", part(0..10)),
            ("bytes= 0-9 ", part(0..10)),
            ("bytes=,0-9,", part(0..10)),
            ("bytes=0-9,5000-6000", part(0..10)),
            ("bytes=5000-6000,-0", Selection::Unsatisfiable),
            ("bytes=0-9,x", Selection::Unsatisfiable),
            ("bytes=,", Selection::Whole),
            ("bytes=-", Selection::Unsatisfiable),
            ("bytes=--5", Selection::Unsatisfiable),
            ("bytes=+1-2", Selection::Unsatisfiable),
            ("bytes=0 -9", Selection::Unsatisfiable),
            ("bytes=0-0x10", Selection::Unsatisfiable),
            ("bytes", Selection::Whole),
            ("bytes 0-9", Selection::Whole),
            ("bytes =0-9", Selection::Whole),
            ("", Selection::Whole),
        ];
        for (field, expected) in cases {
            assert_eq!(select(field.as_bytes(), 1024), *expected, "{field}");
        }
    }

    #[test]
    fn abuse_31_many_open_ranges() {
        let field = format!("bytes={}", vec!["0-"; 1300].join(","));
        assert_eq!(select(field.as_bytes(), 1024), Selection::Whole);
    }

    #[test]
    fn abuse_32_numbers_beyond_64_bits() {
        let cases: &[(&str, Selection)] = &[
            ("bytes=0-18446744073709551615", part(0..1024)),
            ("bytes=-9223372036854775808", part(0..1024)),
            ("bytes=18446744073709551615-", Selection::Unsatisfiable),
            ("bytes=18446744073709551616-", Selection::Unsatisfiable),
            ("bytes=18446744073709551616-18446744073709551617", Selection::Unsatisfiable),
            ("bytes=-99999999999999999999999999", part(0..1024)),
        ];
        for (field, expected) in cases {
            assert_eq!(select(field.as_bytes(), 1024), *expected, "{field}");
        }
        assert_eq!(select(b"bytes=18446744073709551615-", u64::MAX), Selection::Unsatisfiable);
        assert_eq!(select(b"bytes=0-18446744073709551615", u64::MAX), part(0..u64::MAX));
    }

    #[test]
    fn abuse_33_two_suffixes_beyond_the_start() {
        let field = b"bytes=-17208,-9223372036854758792";
        assert_eq!(select(field, 1024), Selection::Whole);
    }

    #[test]
    fn abuse_35_an_empty_file_ignores_the_field() {
        for field in ["bytes=0-0", "bytes=-1", "bytes=0-", "bytes=abc", "bytes=5-2", "items=0-1"] {
            assert_eq!(select(field.as_bytes(), 0), Selection::Whole, "{field}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_slicing(size in 1_usize..300, first in 0_usize..400, len in 0_usize..400) {
            let bytes: Vec<usize> = (0..size).collect();
            let selected = |field: String| match select(field.as_bytes(), size as u64) {
                Selection::Part(r) => {
                    bytes.get(usize::try_from(r.start).unwrap()..usize::try_from(r.end).unwrap())
                }
                Selection::Unsatisfiable => Some(&[][..]),
                Selection::Whole => None,
            };
            let last = first + len;
            let from = |at: usize| bytes.iter().skip(at).copied();
            let closed: Vec<usize> = from(first).take(len + 1).collect();
            prop_assert_eq!(selected(format!("bytes={first}-{last}")), Some(&closed[..]));
            let open: Vec<usize> = from(first).collect();
            prop_assert_eq!(selected(format!("bytes={first}-")), Some(&open[..]));
            let suffix: Vec<usize> = from(size.saturating_sub(first)).collect();
            prop_assert_eq!(selected(format!("bytes=-{first}")), Some(&suffix[..]));
        }

        #[test]
        fn never_panics_and_stays_inside(field in "(bytes=)?[-0-9, a=]{0,40}", size: u64) {
            if let Selection::Part(range) = select(field.as_bytes(), size) {
                prop_assert!(range.start < range.end && range.end <= size, "{:?}", range);
            }
        }

        #[test]
        fn takes_any_bytes(field: Vec<u8>, size: u64) {
            let _ = select(&field, size);
        }
    }
}
