//! `CachePolicies`: the `Cache-Control` and `CDN-Cache-Control` of a file by its path and expiry.

use std::time::Duration;

use ezdfs_core::{Error, ErrorKind, FileMeta, Result, Timestamp};
use globset::{GlobBuilder, GlobMatcher};
use http::HeaderMap;
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue};

/// What caches in front of the site heed in place of `Cache-Control` (RFC 9213).
pub const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// For names whose content may change, and for paths that no policy matches: a minute fresh, then
/// served stale while it is checked, and for a day when this server does not answer (RFC 5861).
pub const MUTABLE: &str = "public, max-age=60, stale-while-revalidate=600, stale-if-error=86400";

/// One policy, as it is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CachePolicy<'a> {
    /// A glob over the path: `*` stays within a segment, `**` does not.
    pub pattern: &'a str,
    /// Only names that Ibexa made of a hash of the content: twelve hex digits and a dash.
    pub hashed: bool,
    /// Value of `Cache-Control`.
    pub cache_control: &'a str,
    /// Value of `CDN-Cache-Control`.
    pub cdn_cache_control: Option<&'a str>,
}

/// Cache fields by path; the first match counts.
#[derive(Debug, Clone)]
pub struct CachePolicies {
    policies: Vec<Compiled>,
    fallback: HeaderValue,
}

#[derive(Debug, Clone)]
struct Compiled {
    glob: GlobMatcher,
    hashed: bool,
    cache_control: HeaderValue,
    cdn: Option<HeaderValue>,
}

impl CachePolicies {
    /// Compiles policies.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a glob or a value that is not one.
    pub fn new<'a>(policies: impl IntoIterator<Item = CachePolicy<'a>>) -> Result<Self> {
        let compiled = policies.into_iter().map(|policy| {
            let glob = GlobBuilder::new(policy.pattern)
                .literal_separator(true)
                .build()
                .map_err(|e| Error::new(ErrorKind::Config, e.to_string()))?;
            let value = |text: &str| {
                HeaderValue::from_str(text).map_err(|e| {
                    let message =
                        format!("the cache policy of `{}` is not a field value", policy.pattern);
                    Error::new(ErrorKind::Config, message).with_source(e)
                })
            };
            Ok(Compiled {
                glob: glob.compile_matcher(),
                hashed: policy.hashed,
                cache_control: value(policy.cache_control)?,
                cdn: policy.cdn_cache_control.map(value).transpose()?,
            })
        });
        let policies = compiled.collect::<Result<_>>()?;
        Ok(Self { policies, fallback: HeaderValue::from_static(MUTABLE) })
    }

    /// Adds the fields for one version. A file that expires is not kept beyond its time.
    pub fn apply(&self, meta: &FileMeta, now: Timestamp, fields: &mut HeaderMap) {
        let path = meta.path.as_str();
        let policy =
            self.policies.iter().find(|p| p.glob.is_match(path) && (!p.hashed || is_hashed(path)));
        let (browser, cdn) =
            policy.map_or((&self.fallback, None), |p| (&p.cache_control, p.cdn.as_ref()));
        let left = meta.expires.map(|expires| expires.since(now));
        let value = |policy: &HeaderValue| match left {
            Some(left) => until(policy, left),
            None => policy.clone(),
        };
        fields.insert(CACHE_CONTROL, value(browser));
        if let Some(cdn) = cdn {
            fields.insert(CDN_CACHE_CONTROL, value(cdn));
        }
    }
}

/// For what was read by a signed URL that ends in `left`: nobody else gets it, and not later.
#[must_use]
pub fn signed(left: Duration) -> HeaderValue {
    let seconds = left.min(Duration::from_secs(60)).as_secs();
    HeaderValue::try_from(format!("private, max-age={seconds}, must-revalidate"))
        .unwrap_or(HeaderValue::from_static("no-store"))
}

/// Whether the last segment begins with twelve lower-case hex digits and a dash: Ibexa puts a hash
/// of the content there, so that another content has another name.
fn is_hashed(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default().as_bytes();
    let is_hex = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
    name.get(..12).is_some_and(|hash| hash.iter().all(is_hex)) && name.get(12) == Some(&b'-')
}

impl Default for CachePolicies {
    fn default() -> Self {
        Self { policies: Vec::new(), fallback: HeaderValue::from_static(MUTABLE) }
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

    fn policy<'a>(pattern: &'a str, cache_control: &'a str) -> CachePolicy<'a> {
        CachePolicy { pattern, hashed: false, cache_control, cdn_cache_control: None }
    }

    fn fields(policies: &[CachePolicy<'_>], meta: &FileMeta, now: i64) -> HeaderMap {
        let policies = CachePolicies::new(policies.iter().copied()).unwrap();
        let mut fields = HeaderMap::new();
        policies.apply(meta, Timestamp::from_secs(now), &mut fields);
        fields
    }

    fn of(policies: &[CachePolicy<'_>], path: &str) -> String {
        let meta = FileMeta { path: path.parse().unwrap(), ..meta() };
        fields(policies, &meta, 100)[CACHE_CONTROL].to_str().unwrap().to_owned()
    }

    #[test]
    fn the_first_match_counts() {
        let list = [
            policy("images/logo/*", "a"),
            policy("images/**", "b"),
            policy("**/*.svg", "c"),
            policy("images/**", "d"),
        ];
        assert_eq!(of(&list, "images/logo/x.png"), "a");
        assert_eq!(of(&list, "images/logo/deep/x.png"), "b");
        assert_eq!(of(&list, "images/x.svg"), "b");
        assert_eq!(of(&list, "other/deep/x.svg"), "c");
        assert_eq!(of(&list, "imagesx/a"), MUTABLE);
        assert_eq!(of(&[], "images/a"), MUTABLE);
    }

    #[test]
    fn a_policy_may_be_for_hashed_names_only() {
        let forever = "public, max-age=31536000, immutable";
        let list = [
            CachePolicy { hashed: true, ..policy("images/**", forever) },
            policy("images/**", "no-cache"),
        ];
        assert_eq!(of(&list, "images/1/2/a1b2c3d4e5f6-photo.jpg"), forever);
        for name in
            ["photo.jpg", "a1b2c3d4e5f-photo.jpg", "A1B2C3D4E5F6-p.jpg", "a1b2c3d4e5f6.jpg", "é"]
        {
            assert_eq!(of(&list, &format!("images/1/{name}")), "no-cache", "{name}");
        }
    }

    #[test]
    fn caches_in_front_may_have_a_policy_of_their_own() {
        let list = [CachePolicy {
            cdn_cache_control: Some("max-age=3600"),
            ..policy("**", "public, max-age=60")
        }];
        let answer = fields(&list, &meta(), 0);
        assert_eq!(answer[CDN_CACHE_CONTROL], "max-age=3600");
        let expiring = FileMeta { expires: Some(Timestamp::from_secs(1007)), ..meta() };
        let answer = fields(&list, &expiring, 1000);
        assert_eq!(answer[CDN_CACHE_CONTROL], "public, max-age=7, must-revalidate");
        assert!(!fields(&[], &meta(), 0).contains_key(CDN_CACHE_CONTROL));
    }

    #[test]
    fn a_file_that_expires_is_not_cached_beyond_its_time() {
        let list = [policy("**", "public, max-age=31536000")];
        for (expires, max_age) in [(1005, 5), (9000, 60), (1000, 0)] {
            let meta = FileMeta { expires: Some(Timestamp::from_secs(expires)), ..meta() };
            let expected = format!("public, max-age={max_age}, must-revalidate");
            assert_eq!(fields(&list, &meta, 1000)[CACHE_CONTROL], expected);
        }
        let private = HeaderValue::from_static("private, max-age=600");
        assert_eq!(until(&private, Duration::from_secs(9)), "private, max-age=9, must-revalidate");
        let never = HeaderValue::from_static("no-store");
        assert_eq!(until(&never, Duration::from_secs(9)), "no-store");
        assert_eq!(signed(Duration::from_secs(9)), "private, max-age=9, must-revalidate");
        assert_eq!(signed(Duration::from_secs(900)), "private, max-age=60, must-revalidate");
    }

    #[test]
    fn bad_policies_are_refused() {
        for bad in [policy("images/[", "no-cache"), policy("images/**", "a\r\nX: y")] {
            assert_eq!(CachePolicies::new([bad]).unwrap_err().kind(), ErrorKind::Config);
        }
    }
}
