//! `Readiness`: whether this node should get requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shared between the server and `/readyz`: true until shutdown begins. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Ready.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    /// From now on `/readyz` fails: load balancers send requests elsewhere.
    pub fn withdraw(&self) {
        self.0.store(false, Ordering::Release);
    }

    /// Whether requests are welcome.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}
