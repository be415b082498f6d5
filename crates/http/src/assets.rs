//! `Assets`: the handler of the asset listener.
//!
//! Conditional and range answers come from the very version whose bytes are sent: the decision is
//! made inside [`FileService::open`], and the object is open before the first field goes out. A
//! HEAD is answered from the rows alone and never opens the object.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ezdfs_core::{Error, ErrorKind, FileMeta, FilePath, Result, Timestamp};
use ezdfs_engine::{FileService, Known, Opened, Told};
use futures::TryStreamExt as _;
use http::header::{
    ACCEPT_RANGES, AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderName, HeaderValue, LAST_MODIFIED,
};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version, request};

use crate::access_log::AccessLog;
use crate::body::AssetBody;
use crate::cache_policy::CDN_CACHE_CONTROL;
use crate::connection::Connection;
use crate::decision::{Decision, decide};
use crate::failure;
use crate::fields;
use crate::hot::{Found, Hot, HotBodies, Prepared};
use crate::inline_types::is_active;
use crate::metrics::Route;
use crate::multipart::Multipart;
use crate::offload::Offload;
use crate::policies::Policies;
use crate::request_id::RequestIds;
use crate::requests::Requests;
use crate::signature::{Signed, SigningKeys};
use crate::sites::{Site, Sites};
use crate::target::{Candidates, Refusal, Resolved, authority};

/// The media type of what has none.
const OCTET_STREAM: HeaderValue = HeaderValue::from_static(ezdfs_core::entry::OCTET_STREAM);

/// What is asked of a file.
#[derive(Debug, Clone, Copy)]
struct Ask<'a> {
    fields: &'a HeaderMap,
    head: bool,
    now: Timestamp,
    /// Whether somebody else may send the bytes.
    offload: bool,
}

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// How an answer came about, as `Cache-Status` says it (RFC 9211).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Out of memory.
    Memory(Found),
    /// Metadata alone, out of memory.
    Known,
    /// Metadata alone, of the database.
    Asked,
    /// Bytes of the store, or of the cache on disk.
    Store,
}

impl Origin {
    const fn status(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Memory(Found::Hit) | Self::Known => "ezdfs; hit",
            Self::Memory(Found::Filled) => "ezdfs; fwd=uri-miss; stored",
            Self::Memory(Found::Collapsed) => "ezdfs; fwd=uri-miss; collapsed",
            Self::Asked => "ezdfs; fwd=uri-miss",
            Self::Store => "ezdfs; fwd=bypass",
        })
    }
}

/// The bytes of an answer.
enum Source {
    /// None are wanted.
    Nothing,
    /// All of the file, in memory.
    Memory(Bytes),
    /// Those that were picked.
    Store(ezdfs_engine::Body),
}

/// The asset handler of one listener.
#[derive(Debug)]
pub struct Assets {
    /// The main site first.
    sites: Sites,
    keys: SigningKeys,
    policies: Policies,
    log: Option<AccessLog>,
    ids: RequestIds,
    requests: Arc<Requests>,
    hot: HotBodies,
    offload: Offload,
}

impl Assets {
    /// A handler of at most `most` requests at a time, with `memory` bytes for small files.
    #[must_use]
    pub fn new(
        sites: Sites,
        keys: SigningKeys,
        policies: Policies,
        log: Option<AccessLog>,
        most: usize,
        memory: u64,
    ) -> Self {
        let service = sites.main().service();
        let ids = RequestIds::new(&**service.entropy());
        let requests = Requests::new(most, Arc::clone(service.clock()));
        Self {
            sites,
            keys,
            policies,
            log,
            ids,
            requests,
            hot: HotBodies::new(memory),
            offload: Offload::Off,
        }
    }

    /// The same handler, whose large files somebody else sends.
    #[must_use]
    pub fn with_offload(mut self, offload: Offload) -> Self {
        self.offload = offload;
        self
    }

    /// The file service of the main site.
    #[must_use]
    pub fn service(&self) -> &FileService {
        self.sites.main().service()
    }

    /// The path of the URL of a file of the main site, encoded.
    pub(crate) fn url_path(&self, path: &FilePath) -> String {
        self.sites.main().url_path(path)
    }

    /// Forgets what other nodes purge, until the feed ends; what merely changed is known to be another
    /// version.
    pub(crate) async fn forget_purged(&self) {
        let service = self.service();
        let Some(mut told) = service.told() else { return std::future::pending().await };
        let prefix = service.metadata().prefix();
        while let Some(news) = told.next().await {
            let Told::Changed(events) = news else {
                // A purge may be among what was missed.
                self.hot.purge(|_| true);
                continue;
            };
            for dir in events.iter().filter_map(|event| event.name.strip_suffix('/')) {
                self.hot.purge(|path| {
                    let name = prefix.name(path);
                    let rest = name.as_str().strip_prefix(dir);
                    rest.is_some_and(|r| r.is_empty() || dir.is_empty() || r.starts_with('/'))
                });
            }
        }
        std::future::pending().await
    }

    /// Its files in memory.
    pub(crate) fn hot(&self) -> &HotBodies {
        &self.hot
    }

    /// Its requests.
    pub(crate) fn requests(&self) -> &Arc<Requests> {
        &self.requests
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
        let now = self.service().clock().now();
        let ask = Ask { fields, head, now, offload: false };
        self.load(self.sites.main(), path, &ask, None).await
    }

    /// Answers one request. Its body, if it has one, is not read.
    pub async fn answer<B>(
        &self,
        request: Request<B>,
        connection: &Connection,
    ) -> Response<AssetBody> {
        let (request, _) = request.into_parts();
        let mut under_way = self.requests.begin();
        let flight = (request.version == Version::HTTP_2).then(|| connection.begin());
        let id = self.ids.of(&request.headers, self.log.is_some());
        let log = self.log.as_ref();
        let pending = log.map(|log| log.begin(&request, connection.peer, id.clone()));
        let (route, mut response) = if under_way.is_too_many() {
            let head = request.method == Method::HEAD;
            (Route::Other, failure::unavailable(head, "1"))
        } else {
            self.route(&request).await
        };
        self.policies.cors.apply(&request.method, &request.headers, response.headers_mut());
        if let Some(id) = id {
            id.apply(response.headers_mut());
        }
        under_way.answered(route, response.status());
        let status = response.status();
        let body = response.body_mut();
        if let Some(pending) = pending {
            body.logged(pending.status(status));
        }
        if let Some(flight) = flight {
            // From here on it is the client that is waited for.
            flight.sent(0);
            body.watched(flight);
        }
        body.holds(under_way);
        response
    }

    async fn route(&self, request: &request::Parts) -> (Route, Response<AssetBody>) {
        let head = request.method == Method::HEAD;
        let refuse = |refusal: Refusal| (Route::Other, failure::plain(refusal.status(), head));
        let host = match authority(request.version, &request.uri, &request.headers) {
            Ok(host) => host,
            Err(refusal) => return refuse(refusal),
        };
        if request.method == Method::OPTIONS {
            return (Route::Other, failure::options());
        }
        if request.method != Method::GET && !head {
            return (Route::Other, failure::method_not_allowed());
        }
        let (site, resolved) = match self.sites.resolve(&request.uri, host) {
            Ok(found) => found,
            Err(refusal) => return refuse(refusal),
        };
        let now = site.service().clock().now();
        let ask = Ask { fields: &request.headers, head, now, offload: site.number() == 0 };
        match resolved {
            Resolved::Public(candidates) => {
                (Route::Asset, self.find(site, &candidates, &ask, None).await)
            }
            Resolved::Private { path, signed } => {
                match self.keys.check(&signed, request.uri.query(), ask.now) {
                    // As if it did not exist, whether it does or not.
                    Signed::No => refuse(Refusal::NotFound),
                    Signed::Refused => (Route::Signed, failure::plain(StatusCode::FORBIDDEN, head)),
                    Signed::Until(until) => {
                        let candidates = Candidates { first: path, second: None };
                        (Route::Signed, self.find(site, &candidates, &ask, Some(until)).await)
                    }
                }
            }
        }
    }

    async fn find(
        &self,
        site: &Site,
        candidates: &Candidates,
        ask: &Ask<'_>,
        until: Option<Timestamp>,
    ) -> Response<AssetBody> {
        if until.is_none()
            && let Some(response) = self.at_once(site, &candidates.first, ask)
        {
            return response;
        }
        let mut path = &candidates.first;
        let mut found = self.load(site, path, ask, until).await;
        if let (Err(e), Some(decoded)) = (&found, &candidates.second)
            && matches!(e.kind(), ErrorKind::NotFound | ErrorKind::IsDirectory)
        {
            path = decoded;
            found = self.load(site, path, ask, until).await;
        }
        match found {
            Ok((_, response)) => response,
            Err(e) => {
                let missing = failure::from_error(path, &e, ask.head);
                if missing.status() != StatusCode::NOT_FOUND {
                    return missing;
                }
                self.in_place_of(site, path, ask).await.unwrap_or(missing)
            }
        }
    }

    /// The placeholder of a missing file, whole and without validators: the client must not take it
    /// for a version of the file.
    async fn in_place_of(
        &self,
        site: &Site,
        path: &FilePath,
        ask: &Ask<'_>,
    ) -> Option<Response<AssetBody>> {
        let (shown, status) = self.policies.placeholders.of(path)?;
        let whole = Ask { fields: &HeaderMap::new(), offload: false, ..*ask };
        let mut response = match self.load(site, shown, &whole, None).await {
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
        fields.remove(CACHE_STATUS);
        Some(response)
    }

    /// One SELECT for the version, none while memory knows it; for a GET that needs bytes its open
    /// object, or its bytes out of memory.
    async fn load(
        &self,
        site: &Site,
        path: &FilePath,
        ask: &Ask<'_>,
        until: Option<Timestamp>,
    ) -> Result<(FileMeta, Response<AssetBody>)> {
        let Ask { fields: request, head, now, .. } = *ask;
        let service = site.service();
        let known = service.known(path);
        let seen = match &known {
            Some(known) => Opened { meta: service.meta_of(path, known)?, body: None, stale: None },
            None => service.load_marked(path).await?,
        };
        let decision = decide(request, !head, &seen.meta, now);
        let needs_bytes =
            !head && matches!(decision, Decision::Whole | Decision::Part(_) | Decision::Parts(_));
        if !needs_bytes {
            let response = self.respond(site, &seen.meta, decision, Source::Nothing, ask, until);
            let origin = if known.is_some() { Origin::Known } else { Origin::Asked };
            return Ok((seen.meta, marked(response, origin, seen.stale)));
        }
        if ask.offload && seen.stale.is_none() && self.is_offloaded(&seen.meta) {
            // The object is there and is that of the row; nothing is read of it.
            let opened = service.open_seen(seen, |_| Some(0..0)).await?;
            let response = self.offloaded(&opened.meta, ask, until).await?;
            return Ok((opened.meta, marked(response, Origin::Store, None)));
        }
        let is_plain = matches!(decision, Decision::Whole | Decision::Part(_));
        if is_plain
            && seen.stale.is_none()
            && self.hot.takes(&seen.meta)
            && service.may_keep(&seen.meta)
        {
            let key = (site.number(), path.clone());
            let fetch = self.fetch(site, &seen.meta, known);
            if let Some((hot, found)) = self.hot.get_or_fetch(&key, &seen.meta, fetch).await? {
                let decision = decide(request, true, &hot.meta, now);
                let bytes = Source::Memory(hot.bytes.clone());
                let response = self.respond(site, &hot.meta, decision, bytes, ask, until);
                return Ok((hot.meta.clone(), marked(response, Origin::Memory(found), None)));
            }
        }
        let pick = |meta: &FileMeta| match decide(request, true, meta, now) {
            Decision::Whole => Some(0..meta.size),
            Decision::Part(range) => Some(range),
            Decision::Parts(ranges) => ranges.into_iter().next(),
            Decision::NotModified | Decision::PreconditionFailed | Decision::Unsatisfiable => None,
        };
        let opened = service.open_seen(seen, pick).await?;
        let decision = decide(request, true, &opened.meta, now);
        let needs_bytes =
            matches!(decision, Decision::Whole | Decision::Part(_) | Decision::Parts(_));
        if needs_bytes && opened.body.is_none() {
            return Err(Error::new(ErrorKind::Internal, format!("`{path}` was not opened")));
        }
        let body = opened.body.map_or(Source::Nothing, Source::Store);
        let response = self.respond(site, &opened.meta, decision, body, ask, until);
        Ok((opened.meta, marked(response, Origin::Store, opened.stale)))
    }

    /// Whether somebody else sends a file. Who does drops fields that keep documents from doing harm,
    /// so it must need none.
    fn is_offloaded(&self, meta: &FileMeta) -> bool {
        let media_type = meta.media_type();
        self.offload.takes(meta.size)
            && self.policies.inline.allows(media_type)
            && !is_active(media_type)
    }

    async fn offloaded(
        &self,
        meta: &FileMeta,
        ask: &Ask<'_>,
        until: Option<Timestamp>,
    ) -> Result<Response<AssetBody>> {
        let mut content = HeaderMap::with_capacity(16);
        fields::validators(&mut content, meta, &self.policies, until, ask.now);
        fields::content(&mut content, meta, &self.policies);
        let key = self.service().binary().key(&meta.path)?;
        let ends = meta.expires.into_iter().chain(until).min();
        let left = ends.map(|at| at.since(ask.now));
        self.offload.answer(&meta.path, key.as_ref(), content, left).await
    }

    /// Brings a small file into memory, and the fields of its answers; `None` when what was opened
    /// is not to be kept.
    async fn fetch(
        &self,
        site: &Site,
        meta: &FileMeta,
        known: Option<Known>,
    ) -> Result<Option<Hot>> {
        let service = site.service();
        let seen = Opened { meta: meta.clone(), body: None, stale: None };
        let opened = service.open_seen(seen, |meta| Some(0..meta.size)).await?;
        let (meta, Some(mut body)) = (opened.meta, opened.body) else { return Ok(None) };
        if !self.hot.takes(&meta) || !service.may_keep(&meta) {
            return Ok(None);
        }
        let mut bytes = BytesMut::with_capacity(usize::try_from(meta.size).unwrap_or_default());
        while let Some(chunk) = body.try_next().await? {
            bytes.extend_from_slice(&chunk);
        }
        let known = known
            .or_else(|| service.known(&meta.path))
            .filter(|known| service.meta_of(&meta.path, known).is_ok_and(|known| known == meta));
        let now = service.clock().now();
        // A time in the future is shown as the present, and an expiry as what is left.
        let is_steady = meta.expires.is_none() && meta.mtime <= now;
        let prepared = is_steady.then(|| self.prepare(&meta, now));
        Ok(Some(Hot::new(meta, bytes.freeze(), prepared, known)))
    }

    fn prepare(&self, meta: &FileMeta, now: Timestamp) -> Prepared {
        let mut not_modified = HeaderMap::with_capacity(8);
        fields::validators(&mut not_modified, meta, &self.policies, None, now);
        not_modified.insert(CACHE_STATUS, Origin::Memory(Found::Hit).status());
        let mut whole = HeaderMap::with_capacity(16);
        whole.extend(not_modified.clone());
        fields::content(&mut whole, meta, &self.policies);
        whole.insert(CONTENT_LENGTH, HeaderValue::from(meta.size));
        Prepared { whole, not_modified }
    }

    /// The answer to a GET or HEAD of a file that is in memory whole, with its fields: without a wait
    /// and without asking anybody.
    fn at_once(&self, site: &Site, path: &FilePath, ask: &Ask<'_>) -> Option<Response<AssetBody>> {
        let known = site.service().known(path)?;
        let key = (site.number(), path.clone());
        let hot = self.hot.current(&key, &known, ask.now)?;
        let prepared = hot.prepared.as_ref()?;
        let (status, fields, body) = match decide(ask.fields, !ask.head, &hot.meta, ask.now) {
            Decision::Whole if ask.head => (StatusCode::OK, &prepared.whole, AssetBody::empty()),
            Decision::Whole => {
                (StatusCode::OK, &prepared.whole, AssetBody::bytes(hot.bytes.clone()))
            }
            Decision::NotModified => {
                (StatusCode::NOT_MODIFIED, &prepared.not_modified, AssetBody::empty())
            }
            _ => return None,
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = fields.clone();
        Some(response)
    }

    fn respond(
        &self,
        site: &Site,
        meta: &FileMeta,
        decision: Decision,
        source: Source,
        ask: &Ask<'_>,
        until: Option<Timestamp>,
    ) -> Response<AssetBody> {
        let head = ask.head;
        let mut content = HeaderMap::with_capacity(16);
        fields::validators(&mut content, meta, &self.policies, until, ask.now);
        if decision != Decision::NotModified {
            fields::content(&mut content, meta, &self.policies);
        }
        let (status, length, body) = match decision {
            Decision::Whole => {
                let body = source.whole();
                (StatusCode::OK, Some(meta.size), body)
            }
            Decision::Part(range) => {
                let place = format!("bytes {}-{}/{}", range.start, range.end - 1, meta.size);
                if let Ok(place) = HeaderValue::try_from(place) {
                    content.insert(CONTENT_RANGE, place);
                }
                let length = range.end - range.start;
                (StatusCode::PARTIAL_CONTENT, Some(length), source.part(range))
            }
            Decision::Parts(ranges) => {
                let media_type = content.get(CONTENT_TYPE).cloned().unwrap_or(OCTET_STREAM);
                let token = site.service().entropy().token();
                let parts = Multipart::new(token, &media_type, meta.size, &ranges);
                content.insert(CONTENT_TYPE, parts.content_type());
                let length = parts.length();
                let body = match source {
                    Source::Store(first) => {
                        AssetBody::parts(parts.stream(site.service(), meta, first), length)
                    }
                    Source::Nothing | Source::Memory(_) => AssetBody::empty(),
                };
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

impl Source {
    fn whole(self) -> AssetBody {
        match self {
            Self::Nothing => AssetBody::empty(),
            Self::Memory(bytes) => AssetBody::bytes(bytes),
            Self::Store(body) => AssetBody::file(body),
        }
    }

    /// `range` lies in the file; a store was asked for it alone.
    fn part(self, range: Range<u64>) -> AssetBody {
        match self {
            Self::Memory(bytes) => {
                let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(bytes.len());
                AssetBody::bytes(bytes.slice(at(range.start)..at(range.end)))
            }
            other => other.whole(),
        }
    }
}

/// Says how an answer came about (RFC 9211). One that was given while the database is away is marked
/// (§2.4, RFC 9111 §5.1): caches count the time that has gone by since it was known to be right.
fn marked(
    mut response: Response<AssetBody>,
    origin: Origin,
    stale: Option<Duration>,
) -> Response<AssetBody> {
    let fields = response.headers_mut();
    let Some(age) = stale else {
        fields.insert(CACHE_STATUS, origin.status());
        return response;
    };
    let seconds = age.as_millis().div_ceil(1000);
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
        let fresh = marked(Response::new(AssetBody::empty()), Origin::Known, None);
        assert_eq!(fresh.headers()[CACHE_STATUS], "ezdfs; hit");
        assert!(!fresh.headers().contains_key(AGE));
        for (millis, age) in [(1, "1"), (1000, "1"), (41_001, "42")] {
            let stale = Some(Duration::from_millis(millis));
            let old = marked(Response::new(AssetBody::empty()), Origin::Known, stale);
            assert_eq!(old.headers()[AGE], age);
            let status = format!("ezdfs; hit; ttl=-{age}; detail=stale-if-error");
            assert_eq!(old.headers()[CACHE_STATUS], status);
        }
    }
}
