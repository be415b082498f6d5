//! `MetadataCache`: rows in memory, for readers, while the change feed is fresh.
//!
//! An answer out of it is at most `max_staleness` old, whatever fails: the feed voids what changed,
//! and while the feed is not fresh nothing is answered from here. What was read before a change was
//! told is never kept after it: the place of a row is reserved before the database is asked, a void
//! takes the reservation away, and a row without its reservation is not kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ezdfs_core::{
    Clock, FeedEvent, FeedOp, FilePath, MetadataStore, NamePrefix, NodeKind, Record, Result,
};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::feed::{Freshness, Listener};

/// Bytes of a row beside its texts, roughly: the record, its key, and the cache's own.
const OVERHEAD: usize = 640;

/// How long a row is kept at most.
const TTL: Duration = Duration::from_secs(60);

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheOptions {
    /// Memory for rows, in bytes.
    pub bytes: u64,
}

impl Default for CacheOptions {
    /// 64 MiB: some 90,000 files.
    fn default() -> Self {
        Self { bytes: 64 * 1024 * 1024 }
    }
}

/// What a cache holds and how it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheState {
    /// Paths, those included that are known not to exist.
    pub entries: u64,
    /// Their memory, roughly.
    pub bytes: u64,
    /// Answers from memory.
    pub hits: u64,
    /// Answers from the database.
    pub misses: u64,
}

/// Rows in memory: path to record, records of paths that do not exist included.
#[derive(Debug)]
pub(crate) struct MetadataCache {
    rows: Cache<FilePath, Kept, Weight>,
    prefix: NamePrefix,
    clock: Arc<dyn Clock>,
    freshness: Arc<Freshness>,
    hits: AtomicU64,
    misses: AtomicU64,
}

#[derive(Debug, Clone)]
struct Kept {
    record: Arc<Record>,
    /// Time since boot before the database was asked.
    asked: Duration,
}

impl MetadataCache {
    pub(crate) fn new(
        prefix: NamePrefix,
        clock: Arc<dyn Clock>,
        freshness: Arc<Freshness>,
        options: CacheOptions,
    ) -> Self {
        let bytes = options.bytes.max(1);
        let expected = usize::try_from(bytes).unwrap_or(usize::MAX) / OVERHEAD;
        Self {
            rows: Cache::with_weighter(expected, bytes, Weight),
            prefix,
            clock,
            freshness,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// The record of a path: from memory, or by one SELECT that all who ask meanwhile share.
    pub(crate) async fn record(
        &self,
        metadata: &dyn MetadataStore,
        path: &FilePath,
    ) -> Result<Arc<Record>> {
        let fresh = self.freshness.take();
        if !self.freshness.holds(fresh) {
            return self.ask(metadata, path).await;
        }
        let now = self.clock.boot();
        if self.rows.peek(path).is_some_and(|kept| kept.is_over(now)) {
            self.rows.remove_if(path, |kept| kept.is_over(now));
        }
        match self.rows.get_value_or_guard_async(path).await {
            Ok(kept) if self.freshness.holds(fresh) => {
                self.hits.fetch_add(1, Ordering::Relaxed);
                Ok(kept.record)
            }
            // Freshness ran out while somebody else asked the database.
            Ok(_) => self.ask(metadata, path).await,
            Err(place) => {
                let record = self.ask(metadata, path).await?;
                if is_told(&record) {
                    // Err: the row was changed meanwhile. This reader asked before that.
                    let _ = place.insert(Kept { record: Arc::clone(&record), asked: now });
                }
                Ok(record)
            }
        }
    }

    async fn ask(&self, metadata: &dyn MetadataStore, path: &FilePath) -> Result<Arc<Record>> {
        self.misses.fetch_add(1, Ordering::Relaxed);
        metadata.record(path).await.map(Arc::new)
    }

    /// Forgets a path, and what is being read of it.
    pub(crate) fn void(&self, path: &FilePath) {
        self.rows.remove(path);
    }

    pub(crate) fn state(&self) -> CacheState {
        CacheState {
            entries: u64::try_from(self.rows.len()).unwrap_or(u64::MAX),
            bytes: self.rows.weight(),
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
        }
    }
}

impl Kept {
    fn is_over(&self, now: Duration) -> bool {
        now.saturating_sub(self.asked) >= TTL
    }
}

impl Listener for MetadataCache {
    fn changed(&self, events: &[FeedEvent]) {
        for event in events {
            // Names of other stores, and names that no reader can ask for, are not in here.
            let Some(Ok(path)) = self.prefix.path_of(&event.name) else { continue };
            self.void(&path);
            if event.op == FeedOp::Insert {
                // A new file makes its directories, also where a file was known to be.
                path.ancestors().for_each(|above| self.void(&above));
            }
        }
    }

    fn lost(&self) {
        self.rows.clear();
    }
}

/// Whether the feed tells when a record changes: it tells of files, not of directories.
fn is_told(record: &Record) -> bool {
    record.node.as_ref().is_none_or(|n| n.kind != NodeKind::Directory)
}

#[derive(Debug, Clone)]
struct Weight;

impl Weighter<FilePath, Kept> for Weight {
    fn weight(&self, path: &FilePath, kept: &Kept) -> u64 {
        let record = &kept.record;
        let base =
            record.base.as_ref().map_or(0, |b| b.name.len() + b.datatype.len() + b.scope.len());
        let node = record
            .node
            .as_ref()
            .map_or(0, |n| n.basename.len() + n.pin.as_ref().map_or(0, |p| p.as_str().len()));
        u64::try_from(OVERHEAD + path.as_str().len() + base + node).unwrap_or(u64::MAX)
    }
}
