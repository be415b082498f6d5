//! `/v1/files/{path}`: one file.

use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, HeaderValue,
    IF_MATCH, IF_NONE_MATCH,
};
use axum::http::{HeaderMap, Method, StatusCode, request};
use axum::response::{IntoResponse as _, Response};
use ezdfs_core::{ETag, ErrorKind, FilePath, Timestamp};
use ezdfs_engine::{Precondition, PublishOptions, Published};

use super::problem::Refusal;
use super::tokens::Verb;
use super::upload::{Terms, receive};
use super::{Admin, digest, problem, target};

/// When a file ceases to exist: `+SECONDS`, Unix seconds or an HTTP date.
const EXPIRES: HeaderName = HeaderName::from_static("x-ezdfs-expires");

pub(super) const ROUTE: &str = "/v1/files/";

pub(super) async fn files(
    State(admin): State<Admin>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let verb = match parts.method {
        Method::GET | Method::HEAD => Verb::Get,
        Method::PUT => Verb::Put,
        Method::DELETE => Verb::Delete,
        _ => return Ok(problem::method_not_allowed("GET, HEAD, PUT, DELETE")),
    };
    // Who it is comes first: without a token nobody learns what a path means.
    admin.tokens.of(&parts.headers)?;
    let path = target::file(&parts.uri, ROUTE)?;
    let who = admin.tokens.authorise(&parts.headers, &[(verb, path.as_str())])?;
    match verb {
        Verb::Put => put(&admin, &path, &parts, body, who).await,
        Verb::Delete => delete(&admin, &path, &parts.headers, who).await,
        Verb::Get | Verb::List | Verb::Purge => get(&admin, &path, &parts).await,
    }
}

async fn get(admin: &Admin, path: &FilePath, parts: &request::Parts) -> Result<Response, Refusal> {
    let head = parts.method == Method::HEAD;
    let (meta, answer) = match admin.assets.version(path, &parts.headers, head).await {
        Ok(found) => found,
        Err(e) => return Ok(problem::of_error("a read", &e)),
    };
    match answer.status() {
        StatusCode::PRECONDITION_FAILED => {
            return Err(Refusal::Kind(ErrorKind::PreconditionFailed));
        }
        StatusCode::RANGE_NOT_SATISFIABLE => return Ok(problem::unsatisfiable(meta.size)),
        _ => {}
    }
    let mut response = answer.map(Body::new);
    let fields = response.headers_mut();
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if let Some(value) = meta.sha256.and_then(digest::field) {
        fields.insert(digest::REPR_DIGEST, value);
    }
    Ok(response)
}

async fn put(
    admin: &Admin,
    path: &FilePath,
    parts: &request::Parts,
    body: Body,
    who: &str,
) -> Result<Response, Refusal> {
    let fields = &parts.headers;
    if fields.contains_key(CONTENT_RANGE) {
        // RFC 9110 §14.5: taken for the whole file a part would destroy it.
        return Err(Refusal::Bad("Content-Range has no meaning in a PUT"));
    }
    let options = options(fields, admin.service.clock().now()).map_err(Refusal::Bad)?;
    let promised = digest::promised(fields)
        .map_err(|_| Refusal::Bad("Content-Digest or Repr-Digest is malformed"))?;
    let announced = fields.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > admin.max_file) {
        return Err(Refusal::Kind(ErrorKind::TooLarge));
    }
    let terms = Terms { most: admin.max_file, pace: admin.pace, promised };
    match admin.service.publish(path, receive(body, terms), options).await {
        Ok(published) => {
            tracing::info!(%path, token = who, size = published.size, "stored by the admin API");
            Ok(stored(&published))
        }
        Err(e) => Ok(problem::of_error("a PUT", &e)),
    }
}

/// 201 or 204 with the validators of the version.
pub(super) fn stored(published: &Published) -> Response {
    let status = if published.created { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
    let mut response = status.into_response();
    let fields = response.headers_mut();
    if let Ok(etag) = HeaderValue::try_from(published.etag.to_string()) {
        fields.insert(ETAG, etag);
    }
    if let Some(value) = digest::field(published.sha256) {
        fields.insert(digest::REPR_DIGEST, value);
    }
    response
}

async fn delete(
    admin: &Admin,
    path: &FilePath,
    fields: &HeaderMap,
    who: &str,
) -> Result<Response, Refusal> {
    let precondition = precondition(fields).map_err(Refusal::Bad)?;
    match admin.service.delete(path, &precondition).await {
        Ok(()) => {
            tracing::info!(%path, token = who, "deleted by the admin API");
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        Err(e) => Ok(problem::of_error("a DELETE", &e)),
    }
}

/// What a PUT sets, or what of its fields is wrong.
fn options(fields: &HeaderMap, now: Timestamp) -> Result<PublishOptions, &'static str> {
    let datatype = match fields.get(CONTENT_TYPE) {
        Some(value) => Some(value.to_str().map_err(|_| "Content-Type is not text")?.to_owned()),
        None => None,
    };
    let expires = match fields.get(EXPIRES) {
        Some(value) => Some(expiry(value, now).ok_or("X-Ezdfs-Expires is no time")?),
        None => None,
    };
    if expires.is_some_and(|at| at <= now) {
        return Err("X-Ezdfs-Expires is over");
    }
    Ok(PublishOptions {
        precondition: precondition(fields)?,
        datatype,
        expires,
        ..PublishOptions::default()
    })
}

fn expiry(value: &HeaderValue, now: Timestamp) -> Option<Timestamp> {
    let text = value.to_str().ok()?;
    let seconds = |digits: &str| {
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u32>().ok()).flatten()
    };
    if let Some(later) = text.strip_prefix('+') {
        return Some(now.plus(Duration::from_secs(seconds(later)?.into())));
    }
    if let Some(at) = seconds(text) {
        return Some(Timestamp::from_secs(at.into()));
    }
    let date = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp::from_secs(i64::try_from(date.as_secs()).ok()?))
}

/// The preconditions of a write (RFC 9110 §13.1.1, §13.1.2), or what of them is wrong.
pub(super) fn precondition(fields: &HeaderMap) -> Result<Precondition, &'static str> {
    let one = |name| {
        let mut values = fields.get_all(name).iter();
        match (values.next(), values.next()) {
            (value, None) => Ok(value.map(HeaderValue::as_bytes)),
            _ => Err("a precondition is repeated"),
        }
    };
    match (one(IF_MATCH)?, one(IF_NONE_MATCH)?) {
        (None, None) => Ok(Precondition::None),
        (Some(b"*"), None) => Ok(Precondition::Present),
        (Some(tags), None) => tag_list(tags).map(Precondition::Matches),
        (None, Some(b"*")) => Ok(Precondition::Absent),
        (None, Some(_)) => Err("If-None-Match of a write takes * only"),
        (Some(_), Some(_)) => Err("If-Match and If-None-Match exclude each other"),
    }
}

fn tag_list(field: &[u8]) -> Result<Vec<ETag>, &'static str> {
    const MALFORMED: &str = "If-Match is no list of entity tags";
    let text = std::str::from_utf8(field).map_err(|_| MALFORMED)?;
    let parse = |tag: &str| {
        let tag = tag.trim_matches([' ', '\t']);
        let is_quoted = tag.starts_with('"') || tag.starts_with("W/\"");
        if is_quoted { tag.parse().map_err(|_| MALFORMED) } else { Err(MALFORMED) }
    };
    text.split(',').map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    #[test]
    fn preconditions_of_writes() {
        let of = |pairs: &[(&'static str, &str)]| precondition(&fields(pairs)).ok();
        let tag = |t: &str| ETag::Strong(t.to_owned());
        assert_eq!(of(&[]), Some(Precondition::None));
        assert_eq!(of(&[("if-match", "*")]), Some(Precondition::Present));
        assert_eq!(of(&[("if-none-match", "*")]), Some(Precondition::Absent));
        let two = Precondition::Matches(vec![tag("a"), ETag::Weak("b".to_owned())]);
        assert_eq!(of(&[("if-match", "\"a\", W/\"b\"")]), Some(two));
        for bad in [
            &[("if-none-match", "\"a\"")][..],
            &[("if-match", "a")],
            &[("if-match", "")],
            &[("if-match", "\"a\""), ("if-match", "\"b\"")],
            &[("if-match", "*"), ("if-none-match", "*")],
        ] {
            assert_eq!(of(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn times_at_which_files_end() {
        let now = Timestamp::from_secs(1_000);
        let of = |text: &str| {
            options(&fields(&[("x-ezdfs-expires", text)]), now).ok()?.expires.map(Timestamp::secs)
        };
        assert_eq!(of("+60"), Some(1_060));
        assert_eq!(of("2000"), Some(2_000));
        assert_eq!(of("Thu, 01 Jan 1970 01:00:00 GMT"), Some(3_600));
        for bad in ["1000", "999", "+0", "", "+", "-1", "+-1", "1e9", "soon", "99999999999999"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
