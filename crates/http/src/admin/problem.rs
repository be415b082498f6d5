//! Problem details (RFC 9457): a stable type per kind of error, and nothing of the error's message,
//! which may name local paths.

use axum::http::StatusCode;
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::response::{IntoResponse, Response};
use ezdfs_core::{Error, ErrorKind};
use serde::Serialize;

use super::tokens::Denied;

/// Why a request is not carried out.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The token does not allow it.
    Denied(Denied),
    /// The path or what it means.
    Kind(ErrorKind),
    /// What of the request is wrong.
    Bad(&'static str),
    /// The changes that are asked for are not kept any more.
    Gone,
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Denied(denied) => self::denied(denied),
            Self::Kind(kind) => of_kind(kind, None),
            Self::Gone => answer(
                StatusCode::GONE,
                "trimmed",
                Some("changes behind this number may be missing: compare, and begin anew"),
            ),
            Self::Bad(detail) => of_kind(ErrorKind::InvalidArgument, Some(detail)),
        }
    }
}

#[derive(Serialize)]
struct Problem {
    r#type: String,
    title: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'static str>,
}

/// The problem of an error of the file service, which is logged here when it is ours to mend.
pub(super) fn of_error(what: &str, e: &Error) -> Response {
    let mut response = of_kind(e.kind(), None);
    if response.status().is_server_error() {
        tracing::warn!(error = %e, "{what} failed");
    }
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// The problem of a kind, and what of the request is wrong.
fn of_kind(kind: ErrorKind, detail: Option<&'static str>) -> Response {
    let status = StatusCode::from_u16(kind.answers().http);
    answer(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), slug(kind), detail)
}

/// 416 for a file of `size` bytes.
pub(super) fn unsatisfiable(size: u64) -> Response {
    let mut response = answer(StatusCode::RANGE_NOT_SATISFIABLE, "no-such-bytes", None);
    if let Ok(value) = HeaderValue::try_from(format!("bytes */{size}")) {
        response.headers_mut().insert(CONTENT_RANGE, value);
    }
    response
}

/// What a token does not allow.
fn denied(denied: Denied) -> Response {
    match denied {
        Denied::Unknown => {
            let mut response = answer(StatusCode::UNAUTHORIZED, "unauthenticated", None);
            let ask = HeaderValue::from_static("Bearer realm=\"ezdfs\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, ask);
            response
        }
        Denied::Forbidden => answer(StatusCode::FORBIDDEN, "forbidden", None),
    }
}

/// 405 with `Allow`.
pub(super) fn method_not_allowed(allow: &'static str) -> Response {
    let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", None);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

fn answer(status: StatusCode, slug: &str, detail: Option<&'static str>) -> Response {
    let problem = Problem {
        r#type: format!("urn:ezdfs:problem:{slug}"),
        title: status.canonical_reason().unwrap_or("Error"),
        status: status.as_u16(),
        detail,
    };
    let fields = [
        (CONTENT_TYPE, HeaderValue::from_static("application/problem+json")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, fields, axum::Json(problem)).into_response()
}

/// The stable end of a problem's type.
fn slug(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "not-found",
        ErrorKind::AlreadyExists => "already-exists",
        ErrorKind::IsDirectory => "is-directory",
        ErrorKind::NotDirectory => "not-directory",
        ErrorKind::NotEmpty => "not-empty",
        ErrorKind::PreconditionFailed => "precondition-failed",
        ErrorKind::InvalidPath | ErrorKind::NotUtf8 => "invalid-path",
        ErrorKind::NameTooLong => "name-too-long",
        ErrorKind::Reserved => "reserved",
        ErrorKind::InvalidArgument | ErrorKind::Usage => "bad-request",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnly => "read-only",
        ErrorKind::Busy | ErrorKind::Stale | ErrorKind::LostHold => "busy",
        ErrorKind::Unavailable | ErrorKind::TimedOut => "unavailable",
        ErrorKind::MissingBytes => "missing-bytes",
        ErrorKind::Corrupt => "corrupt",
        ErrorKind::HashCollision => "hash-collision",
        ErrorKind::TooManyEntries => "too-many-entries",
        ErrorKind::TooLarge => "too-large",
        ErrorKind::NoSpace => "no-space",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::Config | ErrorKind::Internal => "internal",
    }
}
