//! `Requests`: the requests of a listener while they are under way: how many there may be, and how
//! long each took.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ezdfs_core::Clock;
use http::StatusCode;

use crate::metrics::{HttpMetrics, Route};

/// All requests of one listener.
#[derive(Debug)]
pub(crate) struct Requests {
    most: usize,
    under_way: AtomicUsize,
    clock: Arc<dyn Clock>,
    metrics: HttpMetrics,
}

impl Requests {
    /// At most `most` at a time.
    pub(crate) fn new(most: usize, clock: Arc<dyn Clock>) -> Arc<Self> {
        let metrics = HttpMetrics::default();
        Arc::new(Self { most, under_way: AtomicUsize::new(0), clock, metrics })
    }

    /// A request begins.
    pub(crate) fn begin(self: &Arc<Self>) -> Request {
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        let started = self.clock.boot();
        Request {
            all: Arc::clone(self),
            started,
            outcome: (Route::Other, StatusCode::OK),
            is_too_many: before >= self.most,
        }
    }

    /// Requests whose answer is under way.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// What became of those that have ended.
    pub(crate) fn metrics(&self) -> &HttpMetrics {
        &self.metrics
    }
}

/// A request that is under way; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Request {
    all: Arc<Requests>,
    started: Duration,
    outcome: (Route, StatusCode),
    is_too_many: bool,
}

impl Request {
    /// Whether there are too many with this one, which is to be refused.
    pub(crate) fn is_too_many(&self) -> bool {
        self.is_too_many
    }

    /// What it was for, and the status of its answer.
    pub(crate) fn answered(&mut self, route: Route, status: StatusCode) {
        self.outcome = (route, status);
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.all.under_way.fetch_sub(1, Ordering::Relaxed);
        let took = self.all.clock.boot().saturating_sub(self.started);
        let (route, status) = self.outcome;
        self.all.metrics.observe(route, status, took);
    }
}
