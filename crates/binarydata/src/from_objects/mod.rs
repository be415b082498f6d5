//! `ObjectsMetadata`: the `default` metadata handler, which derives everything from the objects.
//!
//! A record is a HEAD; a directory is a prefix with objects below it, or on a local store a real
//! directory. The object is the truth: what the engine applies after a publish, a delete or a
//! rename is there already once the object is, so those steps do nothing here. There is no pending
//! work, no expiry and no soft delete, and no writer excludes another.

mod derive;
mod read;
mod write;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ezdfs_core::{
    Capabilities, Change, Clock, DirPath, Figures, FilePath, Hold, Intent, IntentState, KeyPrefix,
    MetadataStore, NamePrefix, Page, Progress, Record, Result, ScanPage, Timestamp, Token,
    Tombstone,
};
use object_store::ObjectStore;

use crate::local::LocalStore;
use crate::open::Opened;

/// Metadata derived from the objects of a store.
#[derive(Debug)]
pub struct ObjectsMetadata {
    store: Arc<dyn ObjectStore>,
    keys: KeyPrefix,
    capabilities: Capabilities,
    local: Option<Arc<LocalStore>>,
    names: NamePrefix,
    clock: Arc<dyn Clock>,
}

impl ObjectsMetadata {
    /// Over the objects of a binarydata handler. `names` is what a row of the same file would have
    /// before its path.
    #[must_use]
    pub fn new(objects: &Opened, names: NamePrefix, clock: Arc<dyn Clock>) -> Self {
        Self {
            store: objects.store.clone(),
            keys: objects.prefix.clone(),
            capabilities: objects.capabilities,
            local: objects.local.clone(),
            names,
            clock,
        }
    }
}

#[async_trait]
impl MetadataStore for ObjectsMetadata {
    fn prefix(&self) -> &NamePrefix {
        &self.names
    }

    fn describe(&self) -> String {
        match &self.local {
            Some(local) => format!("derived from the objects: {local}"),
            None => format!("derived from the objects: {}", self.store),
        }
    }

    fn is_separate(&self) -> bool {
        false
    }

    /// The clock of this machine: there is no database.
    async fn now(&self) -> Result<Timestamp> {
        Ok(self.clock.now())
    }

    async fn record(&self, path: &FilePath) -> Result<Record> {
        self.look_up(path).await
    }

    async fn list(&self, dir: &DirPath, after: Option<&str>, limit: u32) -> Result<Page> {
        self.page(dir, after, limit).await
    }

    async fn scan(&self, dir: &DirPath, after: Option<&str>, limit: u32) -> Result<ScanPage> {
        self.walk(dir, after, limit).await
    }

    async fn tombstones(&self, _: &DirPath, _: Option<&str>, _: u32) -> Result<Vec<Tombstone>> {
        Ok(Vec::new())
    }

    /// Always [`Hold::Held`], and excludes nobody.
    async fn hold(&self, _: &[Intent], _: Duration) -> Result<Hold> {
        Ok(Hold::Held)
    }

    async fn renew(&self, _: Token, _: Duration) -> Result<bool> {
        Ok(true)
    }

    async fn apply(&self, change: Change) -> Result<()> {
        self.change(change).await
    }

    async fn intents_on(&self, _: &FilePath) -> Result<Vec<Intent>> {
        Ok(Vec::new())
    }

    async fn due(&self, _: IntentState, _: Timestamp, _: u32) -> Result<Vec<Intent>> {
        Ok(Vec::new())
    }

    async fn expired(&self, _: Timestamp, _: u32) -> Result<Vec<(FilePath, Record)>> {
        Ok(Vec::new())
    }

    async fn materialise(&self, _: u32) -> Result<Progress> {
        Ok(Progress::default())
    }

    async fn trim_feed(&self, _: Timestamp) -> Result<u64> {
        Ok(0)
    }

    async fn figures(&self) -> Result<Figures> {
        self.count().await
    }
}
