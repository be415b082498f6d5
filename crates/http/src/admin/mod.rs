//! The admin listener: health, readiness, status, and the API that reads and writes files.
//!
//! Health, readiness and status ask for no token, so the listener belongs on loopback or on a
//! network of operators; everything else does.

mod digest;
mod dirs;
mod events;
mod files;
mod metrics;
mod openapi;
mod problem;
mod purge;
mod query;
mod target;
pub mod tokens;
mod transfer;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::http::{StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use ezdfs_core::{Error, ErrorKind, Result, Token};
use ezdfs_engine::FileService;
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::assets::Assets;
use crate::metrics::Route;
use crate::purge_hooks::PurgeHooks;
use crate::readiness::Readiness;
use crate::requests::Requests;
use crate::stall::Pace;
use problem::Refusal;
use tokens::Tokens;

/// Longest wait of a readiness check.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, Clone)]
struct Admin {
    service: FileService,
    assets: Arc<Assets>,
    readiness: Readiness,
    tokens: Arc<Tokens>,
    /// Most bytes of a file that a request may store.
    max_file: u64,
    /// How fast clients send.
    pace: Pace,
    requests: Arc<Requests>,
    figures: Arc<metrics::Figures>,
    hooks: Arc<PurgeHooks>,
    /// Clients that are told of changes.
    watchers: Arc<Semaphore>,
}

/// What the admin listener is told.
#[derive(Debug)]
pub(crate) struct Terms {
    /// Who may read and write files.
    pub(crate) tokens: Tokens,
    /// Most bytes of a file that a request may store.
    pub(crate) max_file: u64,
    /// How fast clients send.
    pub(crate) pace: Pace,
    /// What is told of a purge.
    pub(crate) hooks: PurgeHooks,
}

/// The routes of the admin listener. Everything else is 404, another method 405.
pub(crate) fn router(assets: Arc<Assets>, readiness: Readiness, terms: Terms) -> Router {
    let service = assets.service().clone();
    let admin = Admin {
        requests: Requests::new(usize::MAX, Arc::clone(service.clock())),
        figures: Arc::default(),
        service,
        assets,
        readiness,
        tokens: Arc::new(terms.tokens),
        max_file: terms.max_file,
        pace: terms.pace,
        hooks: Arc::new(terms.hooks),
        watchers: Arc::new(Semaphore::new(events::CLIENTS)),
    };
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics::metrics))
        .route("/v1/status", get(v1_status))
        .route("/v1/files/{*path}", any(files::files))
        .route("/v1/dirs", any(dirs::dirs))
        .route("/v1/dirs/", any(dirs::dirs))
        .route("/v1/dirs/{*path}", any(dirs::dirs))
        .route("/v1/events", get(events::events))
        .route("/v1/openapi.json", get(openapi::document))
        .route("/v1/purge", post(purge::purge))
        .route("/v1/copy", post(transfer::copy))
        .route("/v1/move", post(transfer::rename))
        .fallback(|_: Uri| async { Refusal::Kind(ErrorKind::NotFound) })
        .method_not_allowed_fallback(|uri: Uri| async move {
            let takes_post = matches!(uri.path(), "/v1/copy" | "/v1/move" | "/v1/purge");
            problem::method_not_allowed(if takes_post { "POST" } else { "GET, HEAD" })
        })
        .layer(middleware::from_fn_with_state(admin.clone(), observe))
        .with_state(admin)
}

/// Counts a request; its time is that to the head of its answer.
async fn observe(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let route = if path.starts_with(files::ROUTE) {
        Route::Files
    } else if path.starts_with("/v1/dirs") {
        Route::Dirs
    } else if path.starts_with("/v1/") {
        Route::Api
    } else if matches!(path, "/healthz" | "/readyz" | "/metrics") {
        Route::Health
    } else {
        Route::Other
    };
    let mut under_way = admin.requests.begin();
    let response = next.run(request).await;
    under_way.answered(route, response.status());
    response
}

async fn healthz() -> Response {
    line(StatusCode::OK, "ok\n")
}

async fn readyz(State(admin): State<Admin>) -> Response {
    if !admin.readiness.is_ready() {
        return line(StatusCode::SERVICE_UNAVAILABLE, "shutting down\n");
    }
    match check(&admin.service).await {
        Ok(()) => line(StatusCode::OK, "ready\n"),
        Err((what, e)) => {
            tracing::warn!(error = %e, "not ready: {what}");
            line(StatusCode::SERVICE_UNAVAILABLE, what)
        }
    }
}

/// Asks both handlers for an answer, whatever it is.
async fn check(service: &FileService) -> Result<(), (&'static str, Error)> {
    let metadata = "the metadata handler does not answer\n";
    let binarydata = "the binarydata handler does not answer\n";
    bounded(service.metadata().now()).await.map_err(|e| (metadata, e))?;
    let key =
        service.binary().limbo_key(Token::from_bytes([0; 16])).map_err(|e| (binarydata, e))?;
    bounded(service.binary().head(&key)).await.map_err(|e| (binarydata, e))?;
    Ok(())
}

async fn bounded<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(READY_TIMEOUT, call).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::new(ErrorKind::TimedOut, format!("no answer in {READY_TIMEOUT:?}"))),
    }
}

async fn v1_status(State(admin): State<Admin>) -> Response {
    match Status::of(&admin.service, &admin.readiness).await {
        Ok(status) => axum::Json(status).into_response(),
        Err(e) => problem::of_error("a status", &e),
    }
}

/// `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Whether requests are welcome.
    pub ready: bool,
    /// The metadata handler, in one line.
    pub metadata: String,
    /// What of it works, but not as it should; missing when there is nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub degraded: Vec<String>,
    /// Name of the binarydata handler.
    pub binarydata: String,
    /// Visible files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Rows that no reader sees.
    pub hidden: u64,
    /// Directories.
    pub directories: u64,
    /// Pending rows that hold a path.
    pub held: u64,
    /// Held rows whose lease has ended.
    pub overdue: u64,
    /// Queued reaps.
    pub reaps: u64,
    /// Feed rows that the materialiser has not seen.
    pub feed_lag: u64,
    /// The feed and what is in memory; missing where the database is asked each time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// What the cache on disk did since the start; missing where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
}

/// How the cache on disk does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Cache {
    /// Most bytes that are kept.
    pub size: u64,
    /// Reads that needed nothing of the back end.
    pub hits: u64,
    /// Reads that needed something of it.
    pub misses: u64,
    /// Reads that went past the cache: there was no room, or the file is too large.
    pub bypassed: u64,
    /// Times that the back end was asked to fill something.
    pub fills: u64,
    /// Bytes handed out from files that were there.
    pub bytes_read: u64,
    /// Bytes fetched and kept.
    pub bytes_filled: u64,
    /// Files that went to make room.
    pub evictions: u64,
    /// Faults of the disk, and torn files.
    pub errors: u64,
}

impl Cache {
    fn of(service: &FileService) -> Option<Self> {
        let cache = service.file_cache()?;
        let state = cache.state();
        Some(Self {
            size: cache.options().size,
            hits: state.hits,
            misses: state.misses,
            bypassed: state.bypassed,
            fills: state.fills,
            bytes_read: state.bytes_read,
            bytes_filled: state.bytes_filled,
            evictions: state.evictions,
            errors: state.errors,
        })
    }
}

/// How answers from memory do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Whether anything is answered from memory now.
    pub fresh: bool,
    /// How long ago everything had been told, in milliseconds; missing when not fresh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
    /// Number of the latest change.
    pub seq: u64,
    /// Changes that were told.
    pub events: u64,
    /// How often everything in memory was dropped.
    pub resyncs: u64,
    /// Polls and heartbeats that failed.
    pub errors: u64,
    /// Paths in memory.
    pub entries: u64,
    /// Their memory, in bytes, roughly.
    pub bytes: u64,
    /// Answers from memory.
    pub hits: u64,
    /// Answers from the database.
    pub misses: u64,
}

impl Memory {
    fn of(service: &FileService) -> Option<Self> {
        let (feed, cache) = service.memory_state()?;
        Some(Self {
            fresh: feed.age.is_some(),
            age_ms: feed.age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            seq: feed.seq,
            events: feed.events,
            resyncs: feed.resyncs,
            errors: feed.errors,
            entries: cache.entries,
            bytes: cache.bytes,
            hits: cache.hits,
            misses: cache.misses,
        })
    }
}

impl Status {
    /// Asks the metadata handler, which scans its table.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn of(service: &FileService, readiness: &Readiness) -> Result<Self> {
        let figures = service.metadata().figures().await?;
        Ok(Self {
            ready: readiness.is_ready(),
            metadata: service.metadata().describe(),
            degraded: service.metadata().warnings(),
            binarydata: service.binary().name.clone(),
            files: figures.files,
            bytes: figures.bytes,
            hidden: figures.hidden,
            directories: figures.directories,
            held: figures.held,
            overdue: figures.overdue,
            reaps: figures.reaps,
            feed_lag: figures.feed_lag,
            memory: Memory::of(service),
            cache: Cache::of(service),
        })
    }
}

fn line(status: StatusCode, text: &'static str) -> Response {
    (status, [(CACHE_CONTROL, HeaderValue::from_static("no-store"))], text).into_response()
}
