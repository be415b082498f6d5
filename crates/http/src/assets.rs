//! `Assets`: the handler of the asset listener.
//!
//! Conditional and range answers come from the very version whose bytes are sent: the decision is
//! made inside [`FileService::open`], and the object is open before the first field goes out. A
//! HEAD is answered from the rows alone and never opens the object.

use std::net::SocketAddr;

use ezdfs_core::{Error, ErrorKind, FileMeta, FilePath, Result, Timestamp};
use ezdfs_engine::FileService;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode, request};

use crate::access_log::AccessLog;
use crate::body::AssetBody;
use crate::cache_policy::CachePolicies;
use crate::decision::{Decision, decide};
use crate::failure;
use crate::fields;
use crate::target::{Candidates, Refusal, Targets, authority};

/// The asset handler of one store.
#[derive(Debug)]
pub struct Assets {
    service: FileService,
    targets: Targets,
    policies: CachePolicies,
    log: Option<AccessLog>,
}

impl Assets {
    /// A handler over a file service.
    #[must_use]
    pub fn new(
        service: FileService,
        targets: Targets,
        policies: CachePolicies,
        log: Option<AccessLog>,
    ) -> Self {
        Self { service, targets, policies, log }
    }

    /// Answers one request. Its body, if it has one, is not read.
    pub async fn answer<B>(&self, request: Request<B>, peer: SocketAddr) -> Response<AssetBody> {
        let (request, _) = request.into_parts();
        let pending = self.log.as_ref().map(|log| log.begin(&request, peer));
        let mut response = self.route(&request).await;
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
        match self.targets.resolve(&request.uri, host) {
            Ok(candidates) => self.find(&candidates, &request.headers, head).await,
            Err(refusal) => refuse(refusal),
        }
    }

    async fn find(
        &self,
        candidates: &Candidates,
        request: &HeaderMap,
        head: bool,
    ) -> Response<AssetBody> {
        let mut path = &candidates.first;
        let mut found = self.load(path, request, head).await;
        if let (Err(e), Some(decoded)) = (&found, &candidates.second)
            && matches!(e.kind(), ErrorKind::NotFound | ErrorKind::IsDirectory)
        {
            path = decoded;
            found = self.load(path, request, head).await;
        }
        found.unwrap_or_else(|e| failure::from_error(path, &e, head))
    }

    /// One SELECT for the version, and for a GET that needs bytes its open object.
    async fn load(
        &self,
        path: &FilePath,
        request: &HeaderMap,
        head: bool,
    ) -> Result<Response<AssetBody>> {
        let now = self.service.clock().now();
        if head {
            let meta = self.service.load(path).await?;
            let decision = decide(request, false, &meta, now);
            return Ok(self.respond(&meta, decision, None, true, now));
        }
        let pick = |meta: &FileMeta| match decide(request, true, meta, now) {
            Decision::Whole => Some(0..meta.size),
            Decision::Part(range) => Some(range),
            Decision::NotModified | Decision::PreconditionFailed | Decision::Unsatisfiable => None,
        };
        let opened = self.service.open(path, pick).await?;
        let decision = decide(request, true, &opened.meta, now);
        let needs_bytes = matches!(decision, Decision::Whole | Decision::Part(_));
        if needs_bytes && opened.body.is_none() {
            return Err(Error::new(ErrorKind::Internal, format!("`{path}` was not opened")));
        }
        Ok(self.respond(&opened.meta, decision, opened.body, false, now))
    }

    fn respond(
        &self,
        meta: &FileMeta,
        decision: Decision,
        body: Option<ezdfs_engine::Body>,
        head: bool,
        now: Timestamp,
    ) -> Response<AssetBody> {
        let (status, length) = match &decision {
            Decision::Whole => (StatusCode::OK, meta.size),
            Decision::Part(range) => (StatusCode::PARTIAL_CONTENT, range.end - range.start),
            Decision::NotModified => (StatusCode::NOT_MODIFIED, 0),
            Decision::PreconditionFailed => {
                return failure::plain(StatusCode::PRECONDITION_FAILED, head);
            }
            Decision::Unsatisfiable => return failure::unsatisfiable(meta.size, head),
        };
        let mut response = Response::new(body.map_or_else(AssetBody::empty, AssetBody::file));
        *response.status_mut() = status;
        let answer = response.headers_mut();
        answer.reserve(8);
        fields::validators(answer, meta, &self.policies, now);
        if decision == Decision::NotModified {
            return response;
        }
        fields::content(answer, meta);
        answer.insert(CONTENT_LENGTH, HeaderValue::from(length));
        if let Decision::Part(range) = decision
            && let Ok(value) = HeaderValue::try_from(format!(
                "bytes {}-{}/{}",
                range.start,
                range.end - 1,
                meta.size
            ))
        {
            answer.insert(CONTENT_RANGE, value);
        }
        response
    }
}
