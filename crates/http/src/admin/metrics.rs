//! `GET /metrics`: the figures of this process and its store, for Prometheus.

use std::time::Duration;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use ezdfs_engine::FileService;
use tokio::sync::Mutex;

use super::{Admin, Cache, Memory, Status};
use crate::hot::HotState;
use crate::metrics::Page;

const HITS: &str = "Answers out of a cache.";
const MISSES: &str = "Answers that were not in a cache.";
const ENTRIES: &str = "What is in a cache.";
const BYTES: &str = "The size of what is in a cache.";

/// How old figures of the store may be: counting them reads its whole table.
const FIGURES_AGE: Duration = Duration::from_secs(60);
/// Longest wait for them.
const FIGURES_TIMEOUT: Duration = Duration::from_secs(10);

/// The last figures of the store, and when they were asked for, in time since boot.
#[derive(Debug, Default)]
pub(super) struct Figures(Mutex<Option<(Duration, Option<Status>)>>);

impl Figures {
    /// Figures that are not too old; `None` while the database does not say. One asks, and the
    /// others wait for it.
    async fn of(&self, admin: &Admin) -> Option<Status> {
        let mut last = self.0.lock().await;
        let now = admin.service.clock().boot();
        if let Some((at, status)) = &*last
            && now.saturating_sub(*at) < FIGURES_AGE
        {
            return status.clone();
        }
        let asking = Status::of(&admin.service, &admin.readiness);
        let status = match tokio::time::timeout(FIGURES_TIMEOUT, asking).await {
            Ok(Ok(status)) => Some(status),
            Ok(Err(e)) => {
                tracing::debug!(error = %e, "the figures of the store are not known");
                None
            }
            Err(_) => None,
        };
        *last = Some((now, status.clone()));
        status
    }
}

pub(super) async fn metrics(State(admin): State<Admin>) -> Response {
    let mut page = Page::default();
    page.gauge(
        "info",
        "The version of ezdfs.",
        concat!("version=\"", env!("CARGO_PKG_VERSION"), "\""),
        1,
    );
    let ready = u8::from(admin.readiness.is_ready());
    page.gauge("ready", "Whether requests are welcome.", "", ready);
    for (listener, requests) in [("assets", admin.assets.requests()), ("admin", &admin.requests)] {
        page.gauge(
            "http_requests_in_flight",
            "Requests whose answer is under way.",
            &format!("listener=\"{listener}\""),
            requests.under_way(),
        );
        requests.metrics().write(listener, &mut page);
    }
    handlers(&admin.service, &mut page);
    if let Some(memory) = Memory::of(&admin.service) {
        feed(&memory, &mut page);
    }
    if let Some(bodies) = admin.assets.hot().state() {
        hot(&bodies, &mut page);
    }
    if let Some(cache) = Cache::of(&admin.service) {
        disk(&cache, &mut page);
    }
    if let Some(status) = admin.figures.of(&admin).await {
        store(&status, &mut page);
    }
    let fields = [
        (CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (fields, page.into_text()).into_response()
}

fn handlers(service: &FileService, page: &mut Page) {
    let warnings = service.metadata().warnings().len();
    page.gauge("degraded", "What works, but not as it should; `status` says what.", "", warnings);
}

fn feed(memory: &Memory, page: &mut Page) {
    page.gauge(
        "feed_fresh",
        "Whether anything is answered from memory.",
        "",
        u8::from(memory.fresh),
    );
    if let Some(age) = memory.age_ms {
        let age = Duration::from_millis(age).as_secs_f64();
        page.gauge(
            "feed_lag_seconds",
            "How long ago every change had been told; missing when not fresh.",
            "",
            age,
        );
    }
    page.counter("feed_events_total", "Changes that were told.", "", memory.events);
    page.counter(
        "feed_resync_total",
        "How often everything in memory was dropped.",
        "",
        memory.resyncs,
    );
    page.counter("feed_errors_total", "Polls and heartbeats that failed.", "", memory.errors);
    let label = "cache=\"rows\"";
    page.counter("cache_hits_total", HITS, label, memory.hits);
    page.counter("cache_misses_total", MISSES, label, memory.misses);
    page.gauge("cache_entries", ENTRIES, label, memory.entries);
    page.gauge("cache_bytes", BYTES, label, memory.bytes);
}

fn hot(state: &HotState, page: &mut Page) {
    let label = "cache=\"bodies\"";
    page.counter("cache_hits_total", HITS, label, state.hits);
    page.counter("cache_misses_total", MISSES, label, state.misses);
    page.gauge("cache_entries", ENTRIES, label, state.entries);
    page.gauge("cache_bytes", BYTES, label, state.bytes);
}

fn disk(cache: &Cache, page: &mut Page) {
    let label = "cache=\"disk\"";
    page.counter("cache_hits_total", HITS, label, cache.hits);
    page.counter("cache_misses_total", MISSES, label, cache.misses);
    page.counter(
        "cache_bypassed_total",
        "Reads that went past the cache on disk.",
        "",
        cache.bypassed,
    );
    page.counter(
        "cache_fills_total",
        "Requests to the back end to fill the cache on disk.",
        "",
        cache.fills,
    );
    page.counter("cache_read_bytes_total", "Bytes out of the cache on disk.", "", cache.bytes_read);
    page.counter(
        "cache_filled_bytes_total",
        "Bytes into the cache on disk.",
        "",
        cache.bytes_filled,
    );
    page.counter("cache_evictions_total", "Files that made room.", label, cache.evictions);
    page.counter("cache_errors_total", "Faults of the disk, and torn files.", label, cache.errors);
}

fn store(status: &Status, page: &mut Page) {
    page.gauge("files", "Visible files.", "", status.files);
    page.gauge("file_bytes", "Their bytes.", "", status.bytes);
    page.gauge("files_hidden", "Rows that no reader sees.", "", status.hidden);
    page.gauge("directories", "Directories.", "", status.directories);
    page.gauge("pending_live", "Paths that are held.", "", status.held);
    page.gauge("pending_overdue", "Held paths whose lease has ended.", "", status.overdue);
    page.gauge("pending_reap", "Deleted objects that wait for the reaper.", "", status.reaps);
    page.gauge(
        "feed_unsettled",
        "Foreign changes that listings do not show yet.",
        "",
        status.feed_lag,
    );
}
