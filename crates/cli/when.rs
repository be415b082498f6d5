//! Points in time on the command line and in results.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, NaiveDateTime, SecondsFormat, Utc};
use ezdfs_core::{Error, ErrorKind, Result, Timestamp};

/// `--expires`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// The file stays.
    Never,
    /// So long from now.
    After(Duration),
    /// At that time.
    At(Timestamp),
}

impl Expiry {
    /// The time at which the file ceases to exist; `None` for never.
    ///
    /// # Errors
    /// When it has passed.
    pub(crate) fn resolve(self, now: Timestamp) -> Result<Option<Timestamp>> {
        match self {
            Self::Never => Ok(None),
            Self::After(d) => Ok(Some(now.plus(d))),
            Self::At(at) if at <= now => Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("--expires {} has passed; give a time to come", rfc3339(at)),
            )),
            Self::At(at) => Ok(Some(at)),
        }
    }
}

/// `+3600` (seconds), `+12h`, an HTTP date, an RFC 3339 date, or `never`.
pub(crate) fn parse_expiry(text: &str) -> Result<Expiry, String> {
    if text == "never" {
        return Ok(Expiry::Never);
    }
    if let Some(after) = text.strip_prefix('+') {
        return parse_duration(after).map(Expiry::After);
    }
    parse_time(text).map(Expiry::At).map_err(|e| format!("{e}, or `+3600`, `+12h` or `never`"))
}

/// Seconds, or a number with ms, s, m, h or d.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let plain = text.parse::<u64>().ok().map(Duration::from_secs);
    plain
        .or_else(|| ezdfs_config::duration::parse(text))
        .ok_or_else(|| "write seconds, or a number with ms, s, m, h or d, as `12h`".to_owned())
}

/// RFC 3339 (`2030-01-31T12:00:00Z`), the same without zone as UTC, a date alone, an HTTP date, or
/// `@` and Unix seconds.
pub(crate) fn parse_time(text: &str) -> Result<Timestamp, String> {
    let nanos = |t: DateTime<Utc>| t.timestamp_nanos_opt().map(Timestamp::from_nanos);
    let unix = |s: &str| s.parse::<i64>().ok().map(Timestamp::from_secs);
    let naive = |s: &str| {
        let parse = |format| NaiveDateTime::parse_from_str(s, format).ok();
        parse("%Y-%m-%dT%H:%M:%S%.f").or_else(|| parse("%Y-%m-%d %H:%M:%S%.f")).map(|t| t.and_utc())
    };
    let at = text
        .strip_prefix('@')
        .and_then(unix)
        .or_else(|| DateTime::parse_from_rfc3339(text).ok().and_then(|t| nanos(t.to_utc())))
        .or_else(|| naive(text).and_then(nanos))
        .or_else(|| naive(&format!("{text}T00:00:00")).and_then(nanos))
        .or_else(|| httpdate::parse_http_date(text).ok().map(from_system));
    at.ok_or_else(|| {
        "write `2030-01-31T12:00:00Z`, `Thu, 31 Jan 2030 12:00:00 GMT` or `@1896091200`".to_owned()
    })
}

/// A time of the file system.
pub(crate) fn from_system(t: SystemTime) -> Timestamp {
    let epoch = Timestamp::default();
    match t.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => epoch.plus(after),
        Err(before) => epoch.minus(before.duration()),
    }
}

/// RFC 3339 in UTC, with nanoseconds where there are any.
pub(crate) fn rfc3339(t: Timestamp) -> String {
    DateTime::from_timestamp_nanos(t.nanos()).to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// RFC 3339 in UTC, whole seconds.
pub(crate) fn rfc3339_secs(t: Timestamp) -> String {
    DateTime::from_timestamp_nanos(t.nanos()).to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_time() {
        let noon = Timestamp::from_secs(1_896_091_200);
        for text in [
            "2030-01-31T12:00:00Z",
            "2030-01-31T13:00:00+01:00",
            "2030-01-31T12:00:00",
            "2030-01-31 12:00:00",
            "Thu, 31 Jan 2030 12:00:00 GMT",
            "@1896091200",
        ] {
            assert_eq!(parse_time(text), Ok(noon), "{text}");
        }
        assert_eq!(parse_time("2030-01-31"), Ok(noon.minus(Duration::from_secs(12 * 3600))));
        for bad in ["", "tomorrow", "2030-13-01", "@x", "12:00"] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_form_of_an_expiry() {
        assert_eq!(parse_expiry("+3600"), Ok(Expiry::After(Duration::from_secs(3600))));
        assert_eq!(parse_expiry("+12h"), Ok(Expiry::After(Duration::from_secs(12 * 3600))));
        assert_eq!(parse_expiry("never"), Ok(Expiry::Never));
        for bad in ["3600", "+", "+1y", "+-1", ""] {
            assert!(parse_expiry(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_expiry_lies_in_the_future() {
        let now = Timestamp::from_secs(100);
        assert_eq!(
            Expiry::After(Duration::from_secs(5)).resolve(now).unwrap(),
            Some(Timestamp::from_secs(105))
        );
        assert_eq!(Expiry::Never.resolve(now).unwrap(), None);
        assert!(Expiry::At(now).resolve(now).is_err());
    }

    #[test]
    fn times_are_shown_with_the_digits_they_have() {
        assert_eq!(rfc3339(Timestamp::from_secs(0)), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(Timestamp::from_nanos(1)), "1970-01-01T00:00:00.000000001Z");
        assert_eq!(rfc3339_secs(Timestamp::from_nanos(-1)), "1969-12-31T23:59:59Z");
    }
}
