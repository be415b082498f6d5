//! The path of an API request, once per request: decoded once, refused rather than cleaned.

use axum::http::Uri;
use ezdfs_core::{DirPath, Error, ErrorKind, FilePath, PathError};
use percent_encoding::percent_decode;

use super::problem::Refusal;

/// What follows `route` in the request path, decoded.
fn decoded(uri: &Uri, route: &str) -> Result<Vec<u8>, Refusal> {
    let raw = uri.path().strip_prefix(route).unwrap_or_default().as_bytes();
    // An encoded slash is never a separator, and a backslash may be one elsewhere.
    let escaped = raw.windows(3).any(|w| w.eq_ignore_ascii_case(b"%2f"));
    let decoded: Vec<u8> = percent_decode(raw).collect();
    if escaped || decoded.contains(&b'\\') {
        return Err(Refusal::Kind(ErrorKind::InvalidPath));
    }
    Ok(decoded)
}

/// The file that a request is for.
pub(super) fn file(uri: &Uri, route: &str) -> Result<FilePath, Refusal> {
    FilePath::from_bytes(&decoded(uri, route)?).map_err(refused)
}

/// The directory that a request is for; the root for nothing.
pub(super) fn dir(uri: &Uri, route: &str) -> Result<DirPath, Refusal> {
    let path = decoded(uri, route)?;
    if path.is_empty() {
        return Ok(DirPath::root());
    }
    FilePath::from_bytes(&path).map(DirPath::from).map_err(refused)
}

/// A directory in a body or a query, with or without a slash at its end; the root for nothing.
pub(super) fn directory(text: &str) -> Result<DirPath, Refusal> {
    match text.strip_suffix('/').unwrap_or(text) {
        "" => Ok(DirPath::root()),
        path => named(path).map(DirPath::from),
    }
}

/// A path in a body.
pub(super) fn named(text: &str) -> Result<FilePath, Refusal> {
    if text.contains('\\') {
        return Err(Refusal::Kind(ErrorKind::InvalidPath));
    }
    text.parse().map_err(refused)
}

fn refused(e: PathError) -> Refusal {
    Refusal::Kind(Error::from(e).kind())
}
