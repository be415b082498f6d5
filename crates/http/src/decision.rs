//! What of one version a request gets: preconditions first, then `Range` (RFC 9110 §13.2.2).

use std::ops::Range;

use ezdfs_core::{FileMeta, Timestamp};
use http::HeaderMap;
use http::header::RANGE;

use crate::conditional::{self, Validators, Verdict};
use crate::fields;
use crate::range::{self, Selection};

/// The answer to a GET or HEAD of a visible file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// 200.
    Whole,
    /// 206 with these bytes.
    Part(Range<u64>),
    /// 206 as multipart/byteranges, in this order.
    Parts(Vec<Range<u64>>),
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
    /// 416.
    Unsatisfiable,
}

/// Decides from the request fields and the version alone. `ranges` is false for HEAD, on which
/// `Range` has no meaning (RFC 9110 §14.2).
#[must_use]
pub fn decide(request: &HeaderMap, ranges: bool, meta: &FileMeta, now: Timestamp) -> Decision {
    let mut range_counts = ranges;
    if conditional::present(request) {
        let version = Validators { etag: meta.etag(), modified: fields::modified(meta) };
        match conditional::evaluate(request, &version, now.secs()) {
            Verdict::NotModified => return Decision::NotModified,
            Verdict::Failed => return Decision::PreconditionFailed,
            Verdict::Proceed => {}
        }
        range_counts = ranges && conditional::range_counts(request, &version);
    }
    if !range_counts {
        return Decision::Whole;
    }
    // Range is no list field: repeated, it has no meaning.
    let mut ranges = request.get_all(RANGE).iter();
    let (Some(field), None) = (ranges.next(), ranges.next()) else { return Decision::Whole };
    match range::select(field.as_bytes(), meta.size) {
        Selection::Whole => Decision::Whole,
        Selection::Part(range) => Decision::Part(range),
        Selection::Parts(ranges) => Decision::Parts(ranges),
        Selection::Unsatisfiable => Decision::Unsatisfiable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::tests::meta;
    use ezdfs_core::Token;
    use http::HeaderValue;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000_000);

    fn of(pairs: &[(&'static str, &str)]) -> Decision {
        let meta = FileMeta { token: Some(Token::from_bytes([0; 16])), ..meta() };
        let mut request = HeaderMap::new();
        for (name, value) in pairs {
            request.append(*name, HeaderValue::from_str(value).unwrap());
        }
        decide(&request, true, &meta, NOW)
    }

    #[test]
    fn preconditions_come_before_ranges() {
        let tag = format!("\"t-{}\"", "0".repeat(32));
        assert_eq!(of(&[]), Decision::Whole);
        assert_eq!(of(&[("range", "bytes=1-")]), Decision::Part(1..3));
        assert_eq!(of(&[("range", "bytes=2-,0-0")]), Decision::Parts(vec![2..3, 0..1]));
        assert_eq!(of(&[("range", "bytes=1-"), ("range", "bytes=2-")]), Decision::Whole);
        assert_eq!(of(&[("range", "bytes=9-")]), Decision::Unsatisfiable);
        assert_eq!(of(&[("range", "bytes=9-"), ("if-none-match", &tag)]), Decision::NotModified);
        assert_eq!(
            of(&[("range", "bytes=9-"), ("if-match", "\"x\"")]),
            Decision::PreconditionFailed
        );
        assert_eq!(of(&[("range", "bytes=1-"), ("if-range", &tag)]), Decision::Part(1..3));
        assert_eq!(of(&[("range", "bytes=9-"), ("if-range", "\"x\"")]), Decision::Whole);
        let head = decide(
            &HeaderMap::from_iter([(RANGE, HeaderValue::from_static("bytes=1-"))]),
            false,
            &meta(),
            NOW,
        );
        assert_eq!(head, Decision::Whole);
    }

    #[test]
    fn a_version_of_the_next_second_is_not_that_of_this_one() {
        let this_second = "Sun, 09 Sep 2001 01:46:40 GMT";
        let meta = FileMeta { mtime: NOW.plus(Duration::from_secs(1)), ..meta() };
        for (name, expected) in
            [("if-modified-since", Decision::Part(1..3)), ("if-range", Decision::Whole)]
        {
            let mut request = HeaderMap::new();
            request.insert(RANGE, HeaderValue::from_static("bytes=1-"));
            request.insert(name, HeaderValue::from_static(this_second));
            assert_eq!(decide(&request, true, &meta, NOW), expected, "{name}");
        }
    }
}
