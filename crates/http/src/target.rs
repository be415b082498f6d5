//! The request target: from what the client sent to the paths it may mean, once per request.
//!
//! Nothing is cleaned and nothing redirects: one object has one URL. Rules K decide what is a path;
//! what they refuse is 400 where the client tries to leave the prefix or sends no text, and 404
//! where the URL is merely not one of a file.

use ezdfs_core::{FilePath, PathError};
use http::header::HOST;
use http::{HeaderMap, StatusCode, Uri, Version};
use percent_encoding::percent_decode;

use crate::url_prefix::{UrlPrefix, is_http};

/// Longest request target in bytes, query included; longer is 414.
pub const MAX_TARGET_BYTES: usize = 8 << 10;

/// Why a target names no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Not a valid target or host.
    BadRequest,
    /// No file has this URL.
    NotFound,
    /// Above [`MAX_TARGET_BYTES`].
    TooLong,
    /// For another host than that of the URL prefix (RFC 9110 §15.5.20).
    Misdirected,
}

impl Refusal {
    /// The status code of the answer.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::TooLong => StatusCode::URI_TOO_LONG,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
        }
    }
}

/// The paths that a target may mean, in the order in which they are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidates {
    /// The path as it was sent (Ibexa stores some names with literal `%XX`, ibexa-dfs.md §3.1),
    /// or the only one.
    pub first: FilePath,
    /// The decoded path, where it differs.
    pub second: Option<FilePath>,
}

/// What a target means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// Anyone may read it.
    Public(Candidates),
    /// Only with a signature of the URL's path, decoded.
    Private {
        /// The file, by its decoded path alone: one signature is for one file.
        path: FilePath,
        /// The URL's decoded path, prefix included.
        signed: String,
    },
}

/// The URL space of the assets.
#[derive(Debug, Clone)]
pub struct Targets {
    prefix: UrlPrefix,
    public: Vec<String>,
    max_path_bytes: usize,
}

impl Targets {
    /// Assets under `prefix`, of which anyone may read the first segments `public`, with paths of
    /// at most `max_path_bytes` bytes.
    #[must_use]
    pub fn new(prefix: UrlPrefix, public: Vec<String>, max_path_bytes: usize) -> Self {
        Self { prefix, public, max_path_bytes }
    }

    /// Whether a request is for these assets and no other ones.
    pub(crate) fn covers(&self, uri: &Uri, authority: Option<&str>) -> bool {
        let raw = uri.path().as_bytes();
        self.prefix.is_for(authority) && self.prefix.strip(raw, raw).is_some()
    }

    /// The path of the URL of a file, encoded.
    pub(crate) fn url_path(&self, path: &FilePath) -> String {
        self.prefix.url_path(path)
    }

    /// Among several that cover a request the one of the highest rank is meant.
    pub(crate) fn rank(&self) -> (bool, usize) {
        self.prefix.rank()
    }

    /// What a request for `uri` to the host `authority` means.
    ///
    /// # Errors
    /// The refusal.
    pub fn resolve(&self, uri: &Uri, authority: Option<&str>) -> Result<Resolved, Refusal> {
        let target = uri.path_and_query().ok_or(Refusal::BadRequest)?;
        if target.as_str().len() > MAX_TARGET_BYTES {
            return Err(Refusal::TooLong);
        }
        if !is_http(uri) {
            return Err(Refusal::BadRequest);
        }
        let raw = target.path().as_bytes();
        // An encoded slash is never a separator; refusing it leaves no second reading.
        if raw.windows(3).any(|w| w.eq_ignore_ascii_case(b"%2f")) {
            return Err(Refusal::BadRequest);
        }
        let decoded = std::borrow::Cow::from(percent_decode(raw));
        let url_path = check(&decoded)?;
        if !self.prefix.is_for(authority) {
            return Err(Refusal::Misdirected);
        }
        let (sent, meant) = self.prefix.strip(raw, &decoded).ok_or(Refusal::NotFound)?;
        let decoded = FilePath::from_bytes(meant).map_err(|e| refusal(&e))?;
        if decoded.as_str().len() > self.max_path_bytes {
            return Err(Refusal::BadRequest);
        }
        // The longer, encoded form is a name only if it, too, could be stored.
        let literal = (sent != meant)
            .then(|| FilePath::from_bytes(sent).ok())
            .flatten()
            .filter(|p| p.as_str().len() <= self.max_path_bytes && self.is_public(p));
        let is_public = self.is_public(&decoded);
        Ok(match literal {
            Some(first) => {
                Resolved::Public(Candidates { first, second: is_public.then_some(decoded) })
            }
            None if is_public => Resolved::Public(Candidates { first: decoded, second: None }),
            None => Resolved::Private { path: decoded, signed: url_path.to_owned() },
        })
    }

    fn is_public(&self, path: &FilePath) -> bool {
        path.segments().next().is_some_and(|first| self.public.iter().any(|p| p == first))
    }
}

/// Refuses, anywhere in the decoded path, what could be read in two ways by two programs: no
/// UTF-8, a control character, a backslash, a dot segment.
fn check(decoded: &[u8]) -> Result<&str, Refusal> {
    let text = std::str::from_utf8(decoded).map_err(|_| Refusal::BadRequest)?;
    let hostile = text.chars().any(|c| c == '\\' || c.is_control())
        || text.split('/').any(|segment| matches!(segment, "." | ".."));
    if hostile { Err(Refusal::BadRequest) } else { Ok(text) }
}

fn refusal(e: &PathError) -> Refusal {
    match e {
        PathError::Empty | PathError::EmptySegment | PathError::Reserved => Refusal::NotFound,
        PathError::NotUtf8(_)
        | PathError::Control(_)
        | PathError::DotSegment
        | PathError::SegmentTooLong(_)
        | PathError::TooLong { .. } => Refusal::BadRequest,
    }
}

/// The host and port that a request is for (RFC 9112 §3.2, §3.3); `None` for HTTP/1.0 without
/// `Host`. A missing, repeated or malformed `Host` is refused, and so is a target in absolute form
/// that names another host than `Host` does. No other field ever selects the host.
///
/// # Errors
/// [`Refusal::BadRequest`].
pub fn authority<'a>(
    version: Version,
    uri: &'a Uri,
    fields: &'a HeaderMap,
) -> Result<Option<&'a str>, Refusal> {
    let mut hosts = fields.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return Err(Refusal::BadRequest),
        (None, None) if version >= Version::HTTP_11 && version < Version::HTTP_2 => {
            return Err(Refusal::BadRequest);
        }
        (None, None) => None,
        (Some(host), None) => {
            let host = host.to_str().map_err(|_| Refusal::BadRequest)?;
            if !is_authority(host) {
                return Err(Refusal::BadRequest);
            }
            Some(host)
        }
    };
    match (uri.authority().map(http::uri::Authority::as_str), host) {
        (Some(target), _) if !is_authority(target) => Err(Refusal::BadRequest),
        (Some(target), Some(host)) if !target.eq_ignore_ascii_case(host) => {
            Err(Refusal::BadRequest)
        }
        (Some(target), _) => Ok(Some(target)),
        (None, host) => Ok(host),
    }
}

/// `uri-host [ ":" port ]` by its characters (RFC 3986 §3.2.2), without user information.
fn is_authority(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]%".contains(&b))
}

#[cfg(test)]
#[path = "target/tests.rs"]
mod tests;
