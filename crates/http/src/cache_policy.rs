//! `CachePolicies`: the `Cache-Control` of a file by its path and its expiry.

use std::time::Duration;

use ezdfs_core::{Error, ErrorKind, FileMeta, Result, Timestamp};
use globset::{GlobBuilder, GlobMatcher};
use http::HeaderValue;

/// For names whose content may change, and for paths that no policy matches: a minute fresh, then
/// served stale while it is checked, and for a day when this server does not answer (RFC 5861).
pub const MUTABLE: &str = "public, max-age=60, stale-while-revalidate=600, stale-if-error=86400";

/// `Cache-Control` by path; the first match counts.
#[derive(Debug, Clone)]
pub struct CachePolicies {
    policies: Vec<(GlobMatcher, HeaderValue)>,
    fallback: HeaderValue,
}

impl CachePolicies {
    /// From pairs of a glob over the path (`*` stays within a segment, `**` does not) and a
    /// `Cache-Control` value.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a glob or a value that is not one.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let mut policies = Vec::new();
        for (pattern, value) in pairs {
            let glob = GlobBuilder::new(pattern)
                .literal_separator(true)
                .build()
                .map_err(|e| Error::new(ErrorKind::Config, e.to_string()))?;
            let value = HeaderValue::from_str(value).map_err(|e| {
                let message = format!("the cache policy of `{pattern}` is not a field value");
                Error::new(ErrorKind::Config, message).with_source(e)
            })?;
            policies.push((glob.compile_matcher(), value));
        }
        Ok(Self { policies, fallback: HeaderValue::from_static(MUTABLE) })
    }

    /// The field value for one version. A file that expires is not kept beyond its time.
    #[must_use]
    pub fn of(&self, meta: &FileMeta, now: Timestamp) -> HeaderValue {
        let policy = self
            .policies
            .iter()
            .find(|(glob, _)| glob.is_match(meta.path.as_str()))
            .map_or(&self.fallback, |(_, value)| value);
        match meta.expires {
            Some(expires) => until(policy, expires.since(now)),
            None => policy.clone(),
        }
    }
}

/// What is left of a policy when the file has only `left` to live: nobody serves it later, stale
/// or not, and a policy that forbids caching stays in force.
fn until(policy: &HeaderValue, left: Duration) -> HeaderValue {
    let has = |directive: &str| policy.to_str().is_ok_and(|p| p.contains(directive));
    if has("no-store") || has("no-cache") {
        return policy.clone();
    }
    let who = if has("private") { "private" } else { "public" };
    let seconds = left.min(Duration::from_secs(60)).as_secs();
    HeaderValue::try_from(format!("{who}, max-age={seconds}, must-revalidate"))
        .unwrap_or(HeaderValue::from_static("no-store"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::tests::meta;

    fn of(policies: &[(&str, &str)], path: &str) -> String {
        let policies = CachePolicies::new(policies.iter().copied()).unwrap();
        let meta = FileMeta { path: path.parse().unwrap(), ..meta() };
        policies.of(&meta, Timestamp::from_secs(100)).to_str().unwrap().to_owned()
    }

    #[test]
    fn the_first_match_counts() {
        let list =
            [("images/logo/*", "a"), ("images/**", "b"), ("**/*.svg", "c"), ("images/**", "d")];
        assert_eq!(of(&list, "images/logo/x.png"), "a");
        assert_eq!(of(&list, "images/logo/deep/x.png"), "b");
        assert_eq!(of(&list, "images/x.svg"), "b");
        assert_eq!(of(&list, "other/deep/x.svg"), "c");
        assert_eq!(of(&list, "imagesx/a"), MUTABLE);
        assert_eq!(of(&[], "images/a"), MUTABLE);
    }

    #[test]
    fn a_file_that_expires_is_not_cached_beyond_its_time() {
        let policies = CachePolicies::new([("**", "public, max-age=31536000")]).unwrap();
        let now = Timestamp::from_secs(1000);
        for (expires, max_age) in [(1005, 5), (9000, 60), (1000, 0)] {
            let meta = FileMeta { expires: Some(Timestamp::from_secs(expires)), ..meta() };
            let expected = format!("public, max-age={max_age}, must-revalidate");
            assert_eq!(policies.of(&meta, now).to_str().unwrap(), expected);
        }
        let private = HeaderValue::from_static("private, max-age=600");
        assert_eq!(until(&private, Duration::from_secs(9)), "private, max-age=9, must-revalidate");
        let never = HeaderValue::from_static("no-store");
        assert_eq!(until(&never, Duration::from_secs(9)), "no-store");
    }

    #[test]
    fn bad_policies_are_refused() {
        for pair in [("images/[", "no-cache"), ("images/**", "a\r\nX: y")] {
            assert_eq!(CachePolicies::new([pair]).unwrap_err().kind(), ErrorKind::Config);
        }
    }
}
