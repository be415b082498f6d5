//! `Assets`: the handler of the asset listener.
//!
//! Conditional and range answers come from the very version whose bytes are sent: the decision is
//! made inside [`FileService::open`], and the object is open before the first field goes out. A
//! HEAD is answered from the rows alone and never opens the object.

use std::net::SocketAddr;
use std::time::Duration;

use ezdfs_core::{Error, ErrorKind, FileMeta, FilePath, Result, Timestamp};
use ezdfs_engine::FileService;
use http::header::{
    ACCEPT_RANGES, AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderName, HeaderValue, LAST_MODIFIED,
};
use http::{HeaderMap, Method, Request, Response, StatusCode, request};

use crate::access_log::AccessLog;
use crate::body::AssetBody;
use crate::cache_policy::CDN_CACHE_CONTROL;
use crate::decision::{Decision, decide};
use crate::failure;
use crate::fields;
use crate::multipart::Multipart;
use crate::policies::Policies;
use crate::signature::{Signed, SigningKeys};
use crate::target::{Candidates, Refusal, Resolved, Targets, authority};

/// The media type of what has none.
const OCTET_STREAM: HeaderValue = HeaderValue::from_static(ezdfs_core::entry::OCTET_STREAM);

/// What is asked of a file.
#[derive(Debug, Clone, Copy)]
struct Ask<'a> {
    fields: &'a HeaderMap,
    head: bool,
    now: Timestamp,
}

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// The asset handler of one store.
#[derive(Debug)]
pub struct Assets {
    service: FileService,
    targets: Targets,
    keys: SigningKeys,
    policies: Policies,
    log: Option<AccessLog>,
}

impl Assets {
    /// A handler over a file service.
    #[must_use]
    pub fn new(
        service: FileService,
        targets: Targets,
        keys: SigningKeys,
        policies: Policies,
        log: Option<AccessLog>,
    ) -> Self {
        Self { service, targets, keys, policies, log }
    }

    /// The file service.
    #[must_use]
    pub fn service(&self) -> &FileService {
        &self.service
    }

    /// The answer to a GET or HEAD of a file by its path, whoever asks, and its version.
    ///
    /// # Errors
    /// As [`FileService::open`].
    pub(crate) async fn version(
        &self,
        path: &FilePath,
        fields: &HeaderMap,
        head: bool,
    ) -> Result<(FileMeta, Response<AssetBody>)> {
        let ask = Ask { fields, head, now: self.service.clock().now() };
        self.load(path, &ask, None).await
    }

    /// Answers one request. Its body, if it has one, is not read.
    pub async fn answer<B>(&self, request: Request<B>, peer: SocketAddr) -> Response<AssetBody> {
        let (request, _) = request.into_parts();
        let pending = self.log.as_ref().map(|log| log.begin(&request, peer));
        let mut response = self.route(&request).await;
        self.policies.cors.apply(&request.method, &request.headers, response.headers_mut());
        if let Some(pending) = pending {
            let pending = pending.status(response.status());
            response.body_mut().logged(pending);
        }
        response
    }

    async fn route(&self, request: &request::Parts) -> Response<AssetBody> {
        let head = request.method == Method::HEAD;
        let refuse = |refusal: Refusal| failure::plain(refusal.status(), head);
        let host = match authority(request.version, &request.uri, &request.headers) {
            Ok(host) => host,
            Err(refusal) => return refuse(refusal),
        };
        if request.method == Method::OPTIONS {
            return failure::options();
        }
        if request.method != Method::GET && !head {
            return failure::method_not_allowed();
        }
        let ask = Ask { fields: &request.headers, head, now: self.service.clock().now() };
        match self.targets.resolve(&request.uri, host) {
            Ok(Resolved::Public(candidates)) => self.find(&candidates, &ask, None).await,
            Ok(Resolved::Private { path, signed }) => {
                match self.keys.check(&signed, request.uri.query(), ask.now) {
                    // As if it did not exist, whether it does or not.
                    Signed::No => refuse(Refusal::NotFound),
                    Signed::Refused => failure::plain(StatusCode::FORBIDDEN, head),
                    Signed::Until(until) => {
                        let candidates = Candidates { first: path, second: None };
                        self.find(&candidates, &ask, Some(until)).await
                    }
                }
            }
            Err(refusal) => refuse(refusal),
        }
    }

    async fn find(
        &self,
        candidates: &Candidates,
        ask: &Ask<'_>,
        until: Option<Timestamp>,
    ) -> Response<AssetBody> {
        let mut path = &candidates.first;
        let mut found = self.load(path, ask, until).await;
        if let (Err(e), Some(decoded)) = (&found, &candidates.second)
            && matches!(e.kind(), ErrorKind::NotFound | ErrorKind::IsDirectory)
        {
            path = decoded;
            found = self.load(path, ask, until).await;
        }
        match found {
            Ok((_, response)) => response,
            Err(e) => {
                let missing = failure::from_error(path, &e, ask.head);
                if missing.status() != StatusCode::NOT_FOUND {
                    return missing;
                }
                self.in_place_of(path, ask).await.unwrap_or(missing)
            }
        }
    }

    /// The placeholder of a missing file, whole and without validators: the client must not take it
    /// for a version of the file.
    async fn in_place_of(&self, path: &FilePath, ask: &Ask<'_>) -> Option<Response<AssetBody>> {
        let (shown, status) = self.policies.placeholders.of(path)?;
        let whole = Ask { fields: &HeaderMap::new(), ..*ask };
        let mut response = match self.load(shown, &whole, None).await {
            Ok((_, response)) => response,
            Err(e) => {
                tracing::warn!(path = %shown, error = %e, "a placeholder could not be served");
                return None;
            }
        };
        *response.status_mut() = status;
        let fields = response.headers_mut();
        for name in [ETAG, LAST_MODIFIED, ACCEPT_RANGES] {
            fields.remove(name);
        }
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=10"));
        fields.remove(CDN_CACHE_CONTROL);
        Some(response)
    }

    /// One SELECT for the version, and for a GET that needs bytes its open object.
    async fn load(
        &self,
        path: &FilePath,
        ask: &Ask<'_>,
        until: Option<Timestamp>,
    ) -> Result<(FileMeta, Response<AssetBody>)> {
        let Ask { fields: request, head, now } = *ask;
        if head {
            let seen = self.service.load_marked(path).await?;
            let decision = decide(request, false, &seen.meta, now);
            let response = self.respond(&seen.meta, decision, None, ask, until);
            return Ok((seen.meta, marked(response, seen.stale)));
        }
        let pick = |meta: &FileMeta| match decide(request, true, meta, now) {
            Decision::Whole => Some(0..meta.size),
            Decision::Part(range) => Some(range),
            Decision::Parts(ranges) => ranges.into_iter().next(),
            Decision::NotModified | Decision::PreconditionFailed | Decision::Unsatisfiable => None,
        };
        let opened = self.service.open(path, pick).await?;
        let decision = decide(request, true, &opened.meta, now);
        let needs_bytes =
            matches!(decision, Decision::Whole | Decision::Part(_) | Decision::Parts(_));
        if needs_bytes && opened.body.is_none() {
            return Err(Error::new(ErrorKind::Internal, format!("`{path}` was not opened")));
        }
        let response = self.respond(&opened.meta, decision, opened.body, ask, until);
        Ok((opened.meta, marked(response, opened.stale)))
    }

    fn respond(
        &self,
        meta: &FileMeta,
        decision: Decision,
        body: Option<ezdfs_engine::Body>,
        ask: &Ask<'_>,
        until: Option<Timestamp>,
    ) -> Response<AssetBody> {
        let head = ask.head;
        let mut content = HeaderMap::with_capacity(12);
        fields::validators(&mut content, meta, &self.policies, until, ask.now);
        if decision != Decision::NotModified {
            fields::content(&mut content, meta, &self.policies);
        }
        let file =
            |body: Option<ezdfs_engine::Body>| body.map_or_else(AssetBody::empty, AssetBody::file);
        let (status, length, body) = match decision {
            Decision::Whole => (StatusCode::OK, Some(meta.size), file(body)),
            Decision::Part(range) => {
                let place = format!("bytes {}-{}/{}", range.start, range.end - 1, meta.size);
                if let Ok(place) = HeaderValue::try_from(place) {
                    content.insert(CONTENT_RANGE, place);
                }
                (StatusCode::PARTIAL_CONTENT, Some(range.end - range.start), file(body))
            }
            Decision::Parts(ranges) => {
                let media_type = content.get(CONTENT_TYPE).cloned().unwrap_or(OCTET_STREAM);
                let token = self.service.entropy().token();
                let parts = Multipart::new(token, &media_type, meta.size, &ranges);
                content.insert(CONTENT_TYPE, parts.content_type());
                let length = parts.length();
                let body = body.map_or_else(AssetBody::empty, |first| {
                    AssetBody::parts(parts.stream(&self.service, meta, first), length)
                });
                (StatusCode::PARTIAL_CONTENT, Some(length), body)
            }
            Decision::NotModified => (StatusCode::NOT_MODIFIED, None, AssetBody::empty()),
            Decision::PreconditionFailed => {
                return failure::plain(StatusCode::PRECONDITION_FAILED, head);
            }
            Decision::Unsatisfiable => return failure::unsatisfiable(meta.size, head),
        };
        if let Some(length) = length {
            content.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = content;
        response
    }
}

/// Marks an answer that was given while the database is away (RFC 9211 §2.4, RFC 9111 §5.1): caches
/// count the time that has gone by since it was known to be right.
fn marked(mut response: Response<AssetBody>, stale: Option<Duration>) -> Response<AssetBody> {
    let Some(age) = stale else { return response };
    let seconds = age.as_millis().div_ceil(1000);
    let fields = response.headers_mut();
    let status = format!("ezdfs; hit; ttl=-{seconds}; detail=stale-if-error");
    if let (Ok(status), Ok(age)) =
        (HeaderValue::try_from(status), HeaderValue::try_from(seconds.to_string()))
    {
        fields.insert(CACHE_STATUS, status);
        fields.insert(AGE, age);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_answers_are_marked_and_others_are_not() {
        let fresh = marked(Response::new(AssetBody::empty()), None);
        assert!(fresh.headers().is_empty());
        for (millis, age) in [(1, "1"), (1000, "1"), (41_001, "42")] {
            let old =
                marked(Response::new(AssetBody::empty()), Some(Duration::from_millis(millis)));
            assert_eq!(old.headers()[AGE], age);
            let status = format!("ezdfs; hit; ttl=-{age}; detail=stale-if-error");
            assert_eq!(old.headers()[CACHE_STATUS], status);
        }
    }
}
