//! The `Range` field (RFC 9110 §14.1.2, §14.2) as a pure function of the field and the size.
//!
//! Where the RFC leaves a choice the answers are pinned: a malformed `bytes` spec is 416, an empty
//! set is 200, another unit is 200, an overflowing first position is 416, an overflowing last
//! position or suffix is clamped, and an empty file ignores the field. Several satisfiable ranges
//! are sent in the order in which they were asked for; a set of which one is left is that range. A
//! set that asks for more than the file has, for many parts, or for more than two ranges that
//! overlap is answered with the whole file, which §14.2 allows at any time.

use std::ops::Range;

/// Most ranges of one answer; each costs a part's head and a read of its own.
const MAX_PARTS: usize = 16;

/// Which bytes of a representation a `Range` field selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All of them, status 200.
    Whole,
    /// One range, status 206. Never empty and never beyond the size.
    Part(Range<u64>),
    /// Two to sixteen such ranges in the order of the field, status 206 as multipart/byteranges
    /// (§14.6). Together they are no more than the size.
    Parts(Vec<Range<u64>>),
    /// None, status 416.
    Unsatisfiable,
}

/// A range spec that no `bytes` set may hold.
struct Malformed;

/// What the field value `field` selects of `size` bytes. Linear in the field; what it
/// allocates is bounded.
#[must_use]
pub fn select(field: &[u8], size: u64) -> Selection {
    let Some(equals) = field.iter().position(|b| *b == b'=') else { return Selection::Whole };
    let (unit, set) = (&field[..equals], &field[equals + 1..]);
    if size == 0 || !unit.eq_ignore_ascii_case(b"bytes") {
        return Selection::Whole;
    }
    let mut specs = 0_usize;
    let mut satisfiable = 0_usize;
    let mut parts = Vec::new();
    for spec in set.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|s| !s.is_empty()) {
        specs += 1;
        match resolve(spec, size) {
            Ok(Some(range)) => {
                satisfiable += 1;
                if parts.len() < MAX_PARTS {
                    parts.push(range);
                }
            }
            Ok(None) => {}
            Err(Malformed) => return Selection::Unsatisfiable,
        }
    }
    match (specs, parts.pop()) {
        (0, _) => Selection::Whole,
        (_, None) => Selection::Unsatisfiable,
        (_, Some(only)) if parts.is_empty() => Selection::Part(only),
        (_, Some(last)) => {
            parts.push(last);
            let is_fair = satisfiable <= MAX_PARTS && fits(&parts, size) && !overlaps(&parts);
            if is_fair { Selection::Parts(parts) } else { Selection::Whole }
        }
    }
}

/// Whether the parts together are no more than the file.
fn fits(parts: &[Range<u64>], size: u64) -> bool {
    parts.iter().fold(0, |n: u64, r| n.saturating_add(r.end - r.start)) <= size
}

/// Whether more than two ranges overlap (§14.2: a sign of a broken or hostile client).
fn overlaps(parts: &[Range<u64>]) -> bool {
    let mut sorted: Vec<&Range<u64>> = parts.iter().collect();
    sorted.sort_unstable_by_key(|r| r.start);
    let mut reached = 0;
    let mut overlapping = 0;
    for range in sorted {
        overlapping += usize::from(range.start < reached);
        reached = reached.max(range.end);
    }
    overlapping > 1
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
            ("bytes=0-0,5-8", Selection::Parts(vec![0..1, 5..9])),
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
    fn sets_of_ranges() {
        let parts = |ranges: &[Range<u64>]| Selection::Parts(ranges.to_vec());
        let cases: &[(&str, Selection)] = &[
            // Never reordered, never merged.
            ("bytes=500-599,0-9", parts(&[500..600, 0..10])),
            ("bytes=0-9,10-19", parts(&[0..10, 10..20])),
            ("bytes=-1,0-0", parts(&[1023..1024, 0..1])),
            ("bytes=0-511,512-", parts(&[0..512, 512..1024])),
            ("bytes=0-9,5000-,20-29", parts(&[0..10, 20..30])),
            // Two that overlap may be meant; three are not.
            ("bytes=0-9,5-14", parts(&[0..10, 5..15])),
            ("bytes=0-9,5-14,8-20", Selection::Whole),
            ("bytes=0-99,0-9,20-29", Selection::Whole),
            // More than there is.
            ("bytes=0-,0-0", Selection::Whole),
            ("bytes=0-0,x", Selection::Unsatisfiable),
        ];
        for (field, expected) in cases {
            assert_eq!(select(field.as_bytes(), 1024), *expected, "{field}");
        }
        let of = |n: u64| (0..n).map(|i| format!("{0}-{0}", 2 * i)).collect::<Vec<_>>().join(",");
        let sixteen = (0..16).map(|i| 2 * i..2 * i + 1).collect();
        assert_eq!(select(format!("bytes={}", of(16)).as_bytes(), 1024), Selection::Parts(sixteen));
        assert_eq!(select(format!("bytes={}", of(17)).as_bytes(), 1024), Selection::Whole);
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
                Selection::Whole | Selection::Parts(_) => None,
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
        fn sets_agree_with_slicing(
            size in 1_u64..300,
            specs in proptest::collection::vec((0_u64..400, 0_u64..40), 2..8),
        ) {
            let field: Vec<String> = specs.iter().map(|(a, n)| format!("{a}-{}", a + n)).collect();
            let within: Vec<Range<u64>> = specs
                .iter()
                .filter(|(a, _)| *a < size)
                .map(|(a, n)| *a..(a + n + 1).min(size))
                .collect();
            match select(format!("bytes={}", field.join(",")).as_bytes(), size) {
                Selection::Parts(parts) => prop_assert_eq!(parts, within),
                Selection::Part(part) => prop_assert_eq!(vec![part], within),
                Selection::Unsatisfiable => prop_assert!(within.is_empty()),
                Selection::Whole => {
                    prop_assert!(within.len() > 1 && (overlaps(&within) || !fits(&within, size)));
                }
            }
        }

        #[test]
        fn never_panics_and_stays_inside(field in "(bytes=)?[-0-9, a=]{0,40}", size: u64) {
            let parts = match select(field.as_bytes(), size) {
                Selection::Part(range) => vec![range],
                Selection::Parts(ranges) => ranges,
                Selection::Whole | Selection::Unsatisfiable => Vec::new(),
            };
            for range in parts {
                prop_assert!(range.start < range.end && range.end <= size, "{:?}", range);
            }
        }

        #[test]
        fn takes_any_bytes(field: Vec<u8>, size: u64) {
            let _ = select(&field, size);
        }
    }
}
