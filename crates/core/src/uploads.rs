//! `CloudSide`: what a cloud has besides its objects. `Uploads`: what it knows of uploads in parts
//! that nobody has completed. Their parts are no objects: no listing of objects shows them, and
//! they cost money until somebody aborts them.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use object_store::path::Path as ObjectKey;

use crate::capabilities::Conditions;
use crate::error::Result;

/// What only a cloud has; empty for other stores.
#[derive(Debug, Clone, Default)]
pub struct CloudSide {
    /// Uploads that nobody completed, where the store can list them.
    pub uploads: Option<Arc<dyn Uploads>>,
    /// What a probe found after the store was opened.
    pub probed: Probed,
}

/// Told once, when a store that was away at the start has been probed.
#[derive(Debug, Clone, Default)]
pub struct Probed(Arc<OnceLock<Conditions>>);

impl Probed {
    /// Tells it; what was told first counts.
    pub fn tell(&self, found: Conditions) {
        let _ = self.0.set(found);
    }

    /// What was told.
    #[must_use]
    pub fn get(&self) -> Option<Conditions> {
        self.0.get().copied()
    }

    /// Whether anybody else would hear of it.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

/// An upload in parts that was neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Key of the object that it would become.
    pub key: ObjectKey,
    /// The store's name of it.
    pub id: String,
    /// How long ago it was begun, by the store's own clock.
    pub age: Duration,
}

/// A page of uploads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UploadPage {
    /// Those whose key is one.
    pub uploads: Vec<Upload>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<UploadMarker>,
}

/// Where a page of uploads begins: behind this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadMarker {
    /// Its key, as the store wrote it.
    pub key: String,
    /// Its id.
    pub id: String,
}

/// The uploads below the prefix of a store.
#[async_trait]
pub trait Uploads: Send + Sync + fmt::Debug {
    /// The first ones, or those behind `after`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Unsupported`] where the store cannot list uploads,
    /// [`crate::ErrorKind::PermissionDenied`] where this user may not, else what the store says.
    async fn page(&self, after: Option<&UploadMarker>) -> Result<UploadPage>;

    /// How long ago its last part arrived, by the store's own clock, or the upload was begun; `None`
    /// when it was completed or aborted meanwhile.
    ///
    /// # Errors
    /// As [`Self::page`].
    async fn idle(&self, upload: &Upload) -> Result<Option<Duration>>;

    /// Aborts it: its parts are gone then, and whoever still writes it gets an error. One that is
    /// over is no error.
    ///
    /// # Errors
    /// As [`Self::page`].
    async fn abort(&self, upload: &Upload) -> Result<()>;
}
