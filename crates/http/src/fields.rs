//! Response fields of one version.

use std::time::{Duration, UNIX_EPOCH};

use ezdfs_core::{FileMeta, Timestamp};
use http::HeaderMap;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    HeaderValue, LAST_MODIFIED, X_CONTENT_TYPE_OPTIONS,
};

use crate::cache_policy;
use crate::inline_types::is_active;
use crate::policies::Policies;
use crate::surrogate_keys::{self, SURROGATE_KEY, XKEY};

/// Nothing that a browser could run or load: uploaded documents share the host of the site.
const SANDBOX: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox");

/// When the version was made, in Unix seconds, as preconditions compare it; `None` unless above
/// zero.
///
/// It may lie in the future: a second publish within one second shows the next second. What is
/// sent then is the present (RFC 9110 §8.8.2.1), which the first version may have sent as well, so
/// that a comparison with what was sent would take the one for the other.
#[must_use]
pub fn modified(meta: &FileMeta) -> Option<i64> {
    Some(meta.mtime.secs()).filter(|secs| *secs > 0)
}

/// The fields that a 304 repeats (RFC 9110 §15.4.5), and every 200 and 206 has. `until` is the end of
/// the signature by which the file is read, if it needs one.
pub fn validators(
    fields: &mut HeaderMap,
    meta: &FileMeta,
    policies: &Policies,
    until: Option<Timestamp>,
    now: Timestamp,
) {
    if let Ok(etag) = HeaderValue::try_from(meta.etag().to_string()) {
        fields.insert(ETAG, etag);
    }
    if let Some(date) = modified(meta).and_then(|secs| http_date(secs.min(now.secs()))) {
        fields.insert(LAST_MODIFIED, date);
    }
    match until {
        Some(until) => {
            let until = meta.expires.map_or(until, |expires| expires.min(until));
            fields.insert(CACHE_CONTROL, cache_policy::signed(until.since(now)));
        }
        None => policies.cache.apply(meta, now, fields),
    }
    if policies.surrogate_keys
        && until.is_none()
        && let Some(tags) = surrogate_keys::value(&meta.path)
    {
        fields.insert(SURROGATE_KEY, tags.clone());
        fields.insert(XKEY, tags);
    }
}

/// The fields that describe the content, of a 200 or 206.
pub fn content(fields: &mut HeaderMap, meta: &FileMeta, policies: &Policies) {
    let media_type = meta.media_type();
    fields.insert(CONTENT_TYPE, content_type(media_type));
    fields.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let is_inline = policies.inline.allows(media_type);
    if !is_inline {
        fields.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    }
    // PDF viewers do not run in a sandbox: a PDF that is to be shown goes without.
    if is_active(media_type) && !(is_inline && is_pdf(media_type)) {
        fields.insert(CONTENT_SECURITY_POLICY, SANDBOX);
    }
}

fn is_pdf(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/pdf")
}

/// `Content-Type`: text without a charset is UTF-8. A media type that is no field value cannot
/// come from [`FileMeta::media_type`]; it would be served as bytes.
fn content_type(media_type: &str) -> HeaderValue {
    let unnamed_text =
        starts_with(media_type, "text/") && !media_type.to_ascii_lowercase().contains("charset=");
    let value = if unnamed_text {
        HeaderValue::try_from(format!("{media_type}; charset=utf-8"))
    } else {
        HeaderValue::from_str(media_type)
    };
    value.unwrap_or(HeaderValue::from_static(ezdfs_core::entry::OCTET_STREAM))
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

fn http_date(secs: i64) -> Option<HeaderValue> {
    // httpdate has no year above 9999; Timestamp ends in 2262.
    let date = UNIX_EPOCH + Duration::from_secs(u64::try_from(secs).ok()?);
    HeaderValue::try_from(httpdate::fmt_http_date(date)).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use ezdfs_core::{BaseRow, Record, Sha256, Token};

    /// A JPEG of three bytes from 1994, as a row that PHP wrote.
    pub(crate) fn meta() -> FileMeta {
        let base = BaseRow {
            name: "images/a.jpg".to_owned(),
            datatype: "image/jpeg".to_owned(),
            scope: "image".to_owned(),
            size: 3,
            mtime: 784_111_777,
            expired: false,
        };
        let path = "images/a.jpg".parse().unwrap();
        Record { base: Some(base), ..Record::default() }.file(&path).unwrap()
    }

    fn of(meta: &FileMeta) -> HeaderMap {
        let mut fields = HeaderMap::new();
        let policies = Policies::default();
        validators(&mut fields, meta, &policies, None, Timestamp::from_secs(1_000_000_000));
        content(&mut fields, meta, &policies);
        fields
    }

    fn with_type(datatype: &str) -> HeaderMap {
        of(&FileMeta { datatype: datatype.to_owned(), ..meta() })
    }

    #[test]
    fn etags_are_strong_only_for_known_versions() {
        assert_eq!(of(&meta())[ETAG], "W/\"2ebc98a1-3\"");
        let token = Some(Token::from_bytes([1; 16]));
        let known = of(&FileMeta { token, ..meta() });
        assert_eq!(known[ETAG], format!("\"t-{}\"", "01".repeat(16)));
        let sha256 = Some(Sha256::from_bytes([2; 32]));
        assert_eq!(
            of(&FileMeta { sha256, token, ..meta() })[ETAG],
            format!("\"{}\"", "02".repeat(32))
        );
    }

    #[test]
    fn last_modified_is_absent_without_an_mtime_and_never_in_the_future() {
        assert_eq!(of(&meta())[LAST_MODIFIED], "Sun, 06 Nov 1994 08:49:37 GMT");
        let future = FileMeta { mtime: Timestamp::from_secs(2_000_000_000), ..meta() };
        assert_eq!(of(&future)[LAST_MODIFIED], "Sun, 09 Sep 2001 01:46:40 GMT");
        for secs in [0, -5] {
            let odd = FileMeta { mtime: Timestamp::from_secs(secs), ..meta() };
            assert!(!of(&odd).contains_key(LAST_MODIFIED));
        }
    }

    #[test]
    fn content_types() {
        for (datatype, expected) in [
            ("image/jpeg", "image/jpeg"),
            ("text/plain", "text/plain; charset=utf-8"),
            ("TEXT/css", "TEXT/css; charset=utf-8"),
            ("text/plain; Charset=latin1", "text/plain; Charset=latin1"),
            ("", "application/octet-stream"),
            ("misc", "application/octet-stream"),
            ("text/html\r\nX: y", "application/octet-stream"),
        ] {
            assert_eq!(with_type(datatype)[CONTENT_TYPE], expected, "{datatype}");
        }
    }

    #[test]
    fn abuse_47_active_documents_are_sandboxed() {
        for datatype in [
            "image/svg+xml",
            "IMAGE/SVG+XML; charset=utf-8",
            "text/html",
            "application/xhtml+xml",
            "text/xml",
            "application/xml",
            "application/rss+xml",
            "application/pdf",
        ] {
            let fields = with_type(datatype);
            assert_eq!(fields[CONTENT_DISPOSITION], "attachment", "{datatype}");
            assert!(fields[CONTENT_SECURITY_POLICY].to_str().unwrap().ends_with("sandbox"));
            assert_eq!(fields[X_CONTENT_TYPE_OPTIONS], "nosniff");
        }
        for datatype in ["image/png", "text/plain", "text/css", "video/mp4"] {
            let fields = with_type(datatype);
            assert!(!fields.contains_key(CONTENT_DISPOSITION), "{datatype}");
            assert!(!fields.contains_key(CONTENT_SECURITY_POLICY), "{datatype}");
            assert_eq!(fields[X_CONTENT_TYPE_OPTIONS], "nosniff");
        }
    }

    #[test]
    fn what_is_not_on_the_list_is_downloaded() {
        for datatype in ["", "application/zip", "application/octet-stream", "application/msword"] {
            let fields = with_type(datatype);
            assert_eq!(fields[CONTENT_DISPOSITION], "attachment", "{datatype}");
            assert!(!fields.contains_key(CONTENT_SECURITY_POLICY), "{datatype}");
        }
        let inline = ["application/pdf", "image/svg+xml"];
        let policies = Policies {
            inline: crate::inline_types::InlineTypes::new(inline).unwrap(),
            ..Policies::default()
        };
        for (datatype, sandboxed) in [("application/pdf", false), ("image/svg+xml", true)] {
            let mut fields = HeaderMap::new();
            let meta = FileMeta { datatype: datatype.to_owned(), ..meta() };
            content(&mut fields, &meta, &policies);
            assert!(!fields.contains_key(CONTENT_DISPOSITION), "{datatype}");
            assert_eq!(fields.contains_key(CONTENT_SECURITY_POLICY), sandboxed, "{datatype}");
        }
    }

    #[test]
    fn what_needs_a_signature_stays_with_its_reader() {
        let mut fields = HeaderMap::new();
        let policies = Policies { surrogate_keys: true, ..Policies::default() };
        let now = Timestamp::from_secs(1_000);
        validators(&mut fields, &meta(), &policies, Some(Timestamp::from_secs(1_010)), now);
        assert_eq!(fields[CACHE_CONTROL], "private, max-age=10, must-revalidate");
        assert!(!fields.contains_key(XKEY));
        let expires = Some(Timestamp::from_secs(1_004));
        let meta = FileMeta { expires, ..meta() };
        validators(&mut fields, &meta, &policies, Some(Timestamp::from_secs(1_010)), now);
        assert_eq!(fields[CACHE_CONTROL], "private, max-age=4, must-revalidate");
        validators(&mut fields, &meta, &policies, None, now);
        assert_eq!(fields[XKEY], fields[SURROGATE_KEY]);
        assert_eq!(fields[XKEY], surrogate_keys::tag("images"));
    }
}
