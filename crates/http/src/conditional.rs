//! Preconditions of GET and HEAD (RFC 9110 §13.1, §13.2.2) as pure functions of the request fields
//! and the validators of one version.
//!
//! Lists of entity tags are walked in place: linear in the field, which the limit on the request
//! head bounds, and without an allocation.

use std::time::UNIX_EPOCH;

use ezdfs_core::ETag;
use http::HeaderMap;
use http::header::{
    HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE,
};

/// What tells versions apart.
#[derive(Debug, Clone)]
pub struct Validators {
    /// The entity tag.
    pub etag: ETag,
    /// Last change in Unix seconds, what `Last-Modified` says once it is in the past; `None` when
    /// there is no `Last-Modified`.
    pub modified: Option<i64>,
}

/// What the preconditions say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Answer as if there were none.
    Proceed,
    /// The client has this version: 304.
    NotModified,
    /// The client wants another version: 412.
    Failed,
}

/// Whether the request has any precondition or `If-Range` at all.
#[must_use]
pub fn present(fields: &HeaderMap) -> bool {
    [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, IF_MATCH, IF_UNMODIFIED_SINCE]
        .iter()
        .any(|name| fields.contains_key(name))
}

/// Evaluates the preconditions of a GET or HEAD in the order of RFC 9110 §13.2.2. `now` is in
/// Unix seconds: an `If-Modified-Since` in the future is no date that this server sent and is
/// ignored, as is a date field that is repeated or not a date.
#[must_use]
pub fn evaluate(fields: &HeaderMap, version: &Validators, now: i64) -> Verdict {
    if fields.contains_key(IF_MATCH) {
        if !lists(fields, &IF_MATCH, |weak, tag| is_strong(weak, tag, &version.etag)) {
            return Verdict::Failed;
        }
    } else if let (Some(date), Some(modified)) =
        (date(fields, &IF_UNMODIFIED_SINCE), version.modified)
        && modified > date
    {
        return Verdict::Failed;
    }
    if fields.contains_key(IF_NONE_MATCH) {
        if lists(fields, &IF_NONE_MATCH, |_, tag| tag == version.etag.opaque().as_bytes()) {
            return Verdict::NotModified;
        }
    } else if let (Some(date), Some(modified)) =
        (date(fields, &IF_MODIFIED_SINCE), version.modified)
        && modified <= date
        && date <= now
    {
        return Verdict::NotModified;
    }
    Verdict::Proceed
}

/// Whether `Range` counts (RFC 9110 §13.1.5): there is no `If-Range`, or it is a strong tag that
/// matches strongly, or a date that is `Last-Modified` exactly.
#[must_use]
pub fn range_counts(fields: &HeaderMap, version: &Validators) -> bool {
    if !fields.contains_key(IF_RANGE) {
        return true;
    }
    let Some(value) = single(fields, &IF_RANGE) else { return false };
    match entity_tag(value.as_bytes()) {
        Some((weak, tag, rest)) => rest.is_empty() && is_strong(weak, tag, &version.etag),
        None => {
            let date = parse_date(value);
            date.is_some() && date == version.modified
        }
    }
}

fn is_strong(weak: bool, tag: &[u8], etag: &ETag) -> bool {
    !weak && matches!(etag, ETag::Strong(own) if own.as_bytes() == tag)
}

/// Whether a field is `*` or lists a tag that `matches`. The version exists, so `*` holds.
fn lists(fields: &HeaderMap, name: &HeaderName, matches: impl Fn(bool, &[u8]) -> bool) -> bool {
    fields.get_all(name).iter().any(|value| {
        let mut rest = value.as_bytes().trim_ascii();
        if rest == b"*" {
            return true;
        }
        loop {
            while let [b' ' | b'\t' | b',', tail @ ..] = rest {
                rest = tail;
            }
            // The end, or something that is no tag: what follows it cannot be told apart.
            let Some((weak, tag, tail)) = entity_tag(rest) else { return false };
            if matches(weak, tag) {
                return true;
            }
            rest = tail.trim_ascii_start();
            if !matches!(rest, [b',', ..]) {
                return false;
            }
        }
    })
}

/// The entity tag at the start of `text`: whether it is weak, its opaque part, and what follows.
fn entity_tag(text: &[u8]) -> Option<(bool, &[u8], &[u8])> {
    let (weak, quoted) = text.strip_prefix(b"W/").map_or((false, text), |rest| (true, rest));
    let rest = quoted.strip_prefix(b"\"")?;
    let end = rest.iter().position(|b| *b == b'"')?;
    // RFC 9110 §8.8.3: etagc is %x21, %x23-7E or obs-text.
    let valid = rest[..end].iter().all(|b| *b > b' ' && *b != 0x7f);
    valid.then(|| (weak, &rest[..end], &rest[end + 1..]))
}

/// A date field in Unix seconds; `None` when it is absent, repeated or not a date.
fn date(fields: &HeaderMap, name: &HeaderName) -> Option<i64> {
    parse_date(single(fields, name)?)
}

fn single<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = fields.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

fn parse_date(value: &HeaderValue) -> Option<i64> {
    let date = httpdate::parse_http_date(value.to_str().ok()?).ok()?;
    i64::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODIFIED: i64 = 784_111_777;
    const AT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const NOW: i64 = MODIFIED + 3600;

    fn strong() -> Validators {
        Validators { etag: ETag::Strong("abc".to_owned()), modified: Some(MODIFIED) }
    }

    fn weak() -> Validators {
        Validators { etag: ETag::Weak("abc".to_owned()), modified: Some(MODIFIED) }
    }

    fn undated() -> Validators {
        Validators { modified: None, ..strong() }
    }

    fn fields(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn check(version: &Validators, table: &[(&[(&'static str, &str)], Verdict)]) {
        for (pairs, expected) in table {
            assert_eq!(evaluate(&fields(pairs), version, NOW), *expected, "{pairs:?}");
        }
    }

    #[test]
    fn if_match_compares_strongly() {
        use Verdict::{Failed, Proceed};
        check(
            &strong(),
            &[
                (&[("if-match", "*")], Proceed),
                (&[("if-match", "\"abc\"")], Proceed),
                (&[("if-match", "\"x\", \"abc\"")], Proceed),
                (&[("if-match", "\"x\""), ("if-match", "\"abc\"")], Proceed),
                (&[("if-match", "W/\"abc\"")], Failed),
                (&[("if-match", "\"x\"")], Failed),
                (&[("if-match", "abc")], Failed),
                (&[("if-match", "")], Failed),
            ],
        );
        check(
            &weak(),
            &[(&[("if-match", "\"abc\"")], Failed), (&[("if-match", "W/\"abc\"")], Failed)],
        );
    }

    #[test]
    fn if_unmodified_since() {
        use Verdict::{Failed, Proceed};
        check(
            &strong(),
            &[
                (&[("if-unmodified-since", AT)], Proceed),
                (&[("if-unmodified-since", AFTER)], Proceed),
                (&[("if-unmodified-since", BEFORE)], Failed),
                (&[("if-unmodified-since", "garbage")], Proceed),
                (&[("if-unmodified-since", BEFORE), ("if-unmodified-since", BEFORE)], Proceed),
                // If-Match is there: the date does not count.
                (&[("if-match", "\"abc\""), ("if-unmodified-since", BEFORE)], Proceed),
            ],
        );
        check(&undated(), &[(&[("if-unmodified-since", BEFORE)], Proceed)]);
    }

    #[test]
    fn if_none_match_compares_weakly() {
        use Verdict::{NotModified, Proceed};
        for version in [strong(), weak()] {
            check(
                &version,
                &[
                    (&[("if-none-match", "*")], NotModified),
                    (&[("if-none-match", "\"abc\"")], NotModified),
                    (&[("if-none-match", "W/\"abc\"")], NotModified),
                    (&[("if-none-match", "\"x\",\t W/\"y\" , \"abc\"")], NotModified),
                    (&[("if-none-match", "\"x\""), ("if-none-match", "\"abc\"")], NotModified),
                    (&[("if-none-match", ", ,\"abc\"")], NotModified),
                    (&[("if-none-match", "\"x\"")], Proceed),
                    (&[("if-none-match", "\"*\"")], Proceed),
                    (&[("if-none-match", "\"abcd\"")], Proceed),
                    (&[("if-none-match", "\"a\",bad,\"abc\"")], Proceed),
                    (&[("if-none-match", "\"a\"\"abc\"")], Proceed),
                    (&[("if-none-match", "\"a b\", \"abc\"")], Proceed),
                    (&[("if-none-match", "\"abc")], Proceed),
                    (&[("if-none-match", "w/\"abc\"")], Proceed),
                ],
            );
        }
    }

    #[test]
    fn if_none_match_hides_if_modified_since() {
        check(
            &strong(),
            &[
                (&[("if-none-match", "\"x\""), ("if-modified-since", AT)], Verdict::Proceed),
                (
                    &[("if-none-match", "\"abc\""), ("if-modified-since", BEFORE)],
                    Verdict::NotModified,
                ),
            ],
        );
    }

    #[test]
    fn if_match_comes_before_if_none_match() {
        check(
            &strong(),
            &[
                (&[("if-match", "\"x\""), ("if-none-match", "\"abc\"")], Verdict::Failed),
                (&[("if-match", "\"abc\""), ("if-none-match", "\"abc\"")], Verdict::NotModified),
                (&[("if-unmodified-since", BEFORE), ("if-none-match", "*")], Verdict::Failed),
            ],
        );
    }

    #[test]
    fn abuse_37_empty_and_endless_tag_lists() {
        let many = vec!["\"x\""; 10_000].join(",");
        check(
            &strong(),
            &[
                (&[("if-none-match", ",")], Verdict::Proceed),
                (&[("if-none-match", "")], Verdict::Proceed),
                (&[("if-none-match", &many)], Verdict::Proceed),
                (&[("if-match", &many)], Verdict::Failed),
            ],
        );
        for if_range in ["W/\"abc\"", "W/\"x\""] {
            assert!(!range_counts(&fields(&[("if-range", if_range)]), &strong()));
        }
    }

    #[test]
    fn abuse_38_dates_that_do_not_count() {
        use Verdict::{NotModified, Proceed};
        check(
            &strong(),
            &[
                (&[("if-modified-since", AT)], NotModified),
                (&[("if-modified-since", AFTER)], NotModified),
                (&[("if-modified-since", BEFORE)], Proceed),
                (&[("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT")], NotModified),
                (&[("if-modified-since", "Sun Nov  6 08:49:37 1994")], NotModified),
                (&[("if-modified-since", "garbage")], Proceed),
                (&[("if-modified-since", "")], Proceed),
                (&[("if-modified-since", "784111777")], Proceed),
                (&[("if-modified-since", "Fri, 31 Dec 9999 23:59:59 GMT")], Proceed),
                (&[("if-modified-since", AT), ("if-modified-since", AT)], Proceed),
            ],
        );
        check(&undated(), &[(&[("if-modified-since", AFTER)], Proceed)]);
    }

    #[test]
    fn if_range_is_strong_only() {
        let counts = |value: &str, version: &Validators| {
            range_counts(&fields(&[("if-range", value)]), version)
        };
        assert!(range_counts(&HeaderMap::new(), &strong()));
        assert!(counts("\"abc\"", &strong()));
        assert!(!counts("\"abc\"", &weak()));
        assert!(!counts("W/\"abc\"", &weak()));
        assert!(!counts("\"x\"", &strong()));
        assert!(!counts("\"abc\", \"x\"", &strong()));
        assert!(!counts("*", &strong()));
        assert!(counts(AT, &strong()));
        assert!(!counts(BEFORE, &strong()));
        assert!(!counts(AFTER, &strong()));
        assert!(!counts("garbage", &undated()));
        assert!(!counts(AT, &undated()));
        assert!(!range_counts(&fields(&[("if-range", AT), ("if-range", AT)]), &strong()));
    }

    #[test]
    fn without_preconditions_nothing_is_present() {
        assert!(!present(&fields(&[("range", "bytes=0-1")])));
        assert!(present(&fields(&[("if-range", AT)])));
        assert_eq!(evaluate(&HeaderMap::new(), &strong(), NOW), Verdict::Proceed);
    }
}
