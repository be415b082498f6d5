//! Answers that are no file: status, fields and a fixed text per status. Nothing of an error's
//! message reaches a client, so no local path, SQL or credential can.

use ezdfs_core::{ErrorKind, FilePath};
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};

use crate::body::AssetBody;

/// The methods of the asset listener.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// The status of an error on the asset listener: that of the one table in `ezdfs_core`, except
/// that a directory is no asset (404), and that a store which refuses *us* is an outage (503).
#[must_use]
pub fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::IsDirectory | ErrorKind::NotDirectory => StatusCode::NOT_FOUND,
        ErrorKind::PermissionDenied => StatusCode::SERVICE_UNAVAILABLE,
        kind => {
            StatusCode::from_u16(kind.answers().http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// The answer to an error of the file service, which is logged here when it is ours to mend.
#[must_use]
pub fn from_error(path: &FilePath, e: &ezdfs_core::Error, head: bool) -> Response<AssetBody> {
    let status = status(e.kind());
    if status.is_server_error() {
        tracing::warn!(%path, status = status.as_u16(), error = %e, "a file could not be served");
    } else if e.kind() == ErrorKind::MissingBytes {
        tracing::warn!(%path, error = %e, "a visible file has no bytes");
    }
    let mut response = plain(status, head);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        // A path that settles does so within a second; an outage takes longer.
        let seconds = if e.kind() == ErrorKind::Busy { "1" } else { "5" };
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(seconds));
    }
    response
}

/// An answer with the fixed text of its status.
#[must_use]
pub fn plain(status: StatusCode, head: bool) -> Response<AssetBody> {
    let text = text(status);
    let mut response = Response::new(if head { AssetBody::empty() } else { AssetBody::text(text) });
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    fields.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let cache = if status == StatusCode::NOT_FOUND { "max-age=10" } else { "no-store" };
    fields.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}

/// 503, to be tried again after so many seconds.
#[must_use]
pub fn unavailable(head: bool, seconds: &'static str) -> Response<AssetBody> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, head);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(seconds));
    response
}

/// 416 for a file of `size` bytes.
#[must_use]
pub fn unsatisfiable(size: u64, head: bool) -> Response<AssetBody> {
    let mut response = plain(StatusCode::RANGE_NOT_SATISFIABLE, head);
    if let Ok(value) = HeaderValue::try_from(format!("bytes */{size}")) {
        response.headers_mut().insert(CONTENT_RANGE, value);
    }
    response
}

/// 405 with `Allow`.
#[must_use]
pub fn method_not_allowed() -> Response<AssetBody> {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, false);
    response.headers_mut().insert(ALLOW, METHODS);
    response
}

/// The answer to OPTIONS.
#[must_use]
pub fn options() -> Response<AssetBody> {
    let mut response = Response::new(AssetBody::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, METHODS);
    response
}

fn text(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => "The request is not valid.\n",
        StatusCode::FORBIDDEN => "This URL is not valid, or not any more.\n",
        StatusCode::NOT_FOUND => "There is no such file.\n",
        StatusCode::METHOD_NOT_ALLOWED => "Only GET, HEAD and OPTIONS are possible here.\n",
        StatusCode::PRECONDITION_FAILED => "The file is another version.\n",
        StatusCode::URI_TOO_LONG => "The URL is too long.\n",
        StatusCode::RANGE_NOT_SATISFIABLE => "The file has no such bytes.\n",
        StatusCode::MISDIRECTED_REQUEST => "This host is not served here.\n",
        StatusCode::SERVICE_UNAVAILABLE => "The file cannot be served now. Try again later.\n",
        status => status.canonical_reason().unwrap_or("The request failed."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_of_kinds() {
        for (kind, expected) in [
            (ErrorKind::NotFound, 404),
            (ErrorKind::IsDirectory, 404),
            (ErrorKind::NotDirectory, 404),
            (ErrorKind::MissingBytes, 404),
            (ErrorKind::NameTooLong, 400),
            (ErrorKind::PermissionDenied, 503),
            (ErrorKind::Busy, 503),
            (ErrorKind::Unavailable, 503),
            (ErrorKind::TimedOut, 503),
            (ErrorKind::Corrupt, 503),
            (ErrorKind::Internal, 500),
        ] {
            assert_eq!(status(kind).as_u16(), expected, "{kind:?}");
        }
    }

    #[test]
    fn errors_say_nothing_of_their_message() {
        let path = "images/a".parse().unwrap();
        for kind in ErrorKind::ALL {
            let e = ezdfs_core::Error::new(kind, "/srv/secret: SELECT * FROM ezdfsfile");
            let response = from_error(&path, &e, false);
            let shown = format!("{:?}", response);
            assert!(!shown.contains("secret") && !shown.contains("SELECT"), "{shown}");
            let retry = response.headers().contains_key(RETRY_AFTER);
            assert_eq!(retry, response.status() == StatusCode::SERVICE_UNAVAILABLE);
            let cache = response.headers()[CACHE_CONTROL].to_str().unwrap();
            assert_eq!(cache == "max-age=10", response.status() == StatusCode::NOT_FOUND);
        }
    }
}
