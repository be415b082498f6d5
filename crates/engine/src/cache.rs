//! `MetadataCache`: rows in memory, for readers, while the change feed is fresh.
//!
//! An answer out of it is at most `max_staleness` old, whatever fails: the feed voids what changed,
//! and while the feed is not fresh nothing is answered from here. What was read before a change was
//! told is never kept after it: the place of a row is reserved before the database is asked, a void
//! takes the reservation away, and a row without its reservation is not kept.
//!
//! What was known to be current may be wanted while the database is away
//! ([`CacheOptions::stale_if_error`]): then the same rows are kept in a second place, which a
//! silence of the feed does not empty, and each is as old as the last proof that it was current.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ezdfs_core::{
    Clock, DirPath, FeedEvent, FeedOp, FilePath, MetadataStore, NamePrefix, NodeKind, Record,
    Result,
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
    /// How long after the last proof a row may be answered while the database is away; zero for
    /// never. Takes as much memory once more.
    pub stale_if_error: Duration,
}

impl Default for CacheOptions {
    /// 64 MiB: some 90,000 files.
    fn default() -> Self {
        Self { bytes: 64 * 1024 * 1024, stale_if_error: Duration::ZERO }
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
    /// Rows of existing files for times when the database is away.
    old: Option<Cache<FilePath, Kept, Weight>>,
    stale_if_error: Duration,
    epochs: Mutex<Epochs>,
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
    /// Of [`Epochs`], when the database was asked.
    epoch: u64,
}

/// Between two losses of the feed a row that was not voided was current up to what was told.
#[derive(Debug, Clone, Copy, Default)]
struct Epochs {
    now: u64,
    /// Up to when everything was told in the epoch before, in time since boot.
    told_before: Duration,
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
        let old = !options.stale_if_error.is_zero();
        Self {
            rows: Cache::with_weighter(expected, bytes, Weight),
            old: old.then(|| Cache::with_weighter(expected, bytes, Weight)),
            stale_if_error: options.stale_if_error,
            epochs: Mutex::default(),
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
        let epoch = self.epochs().now;
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
                    let kept = Kept { record: Arc::clone(&record), asked: now, epoch };
                    // First here, so that a void in between takes it away from both.
                    self.keep_old(path, &kept);
                    // Err: the row was changed meanwhile. This reader asked before that.
                    if place.insert(kept).is_err() {
                        self.forget_old(path);
                    }
                }
                Ok(record)
            }
        }
    }

    /// The record of a path, if it can be answered without a wait.
    pub(crate) fn known(&self, path: &FilePath) -> Option<Arc<Record>> {
        let fresh = self.freshness.take();
        let kept = self.rows.get(path)?;
        let is_good = !kept.is_over(self.clock.boot()) && self.freshness.holds(fresh);
        is_good.then(|| {
            self.hits.fetch_add(1, Ordering::Relaxed);
            kept.record
        })
    }

    async fn ask(&self, metadata: &dyn MetadataStore, path: &FilePath) -> Result<Arc<Record>> {
        self.misses.fetch_add(1, Ordering::Relaxed);
        metadata.record(path).await.map(Arc::new)
    }

    /// Whether answers may come from here now.
    pub(crate) fn is_fresh(&self) -> bool {
        self.freshness.is_fresh()
    }

    /// Forgets a path, and what is being read of it.
    pub(crate) fn void(&self, path: &FilePath) {
        self.rows.remove(path);
        self.forget_old(path);
    }

    /// Forgets what lies below a directory, by its name with prefix. That is rare: everything goes,
    /// for what is being read cannot be told apart.
    fn void_below(&self, dir: &str) {
        self.rows.clear();
        if let Some(old) = &self.old {
            old.retain(|path, _| {
                let name = self.prefix.name(path);
                let rest = name.as_str().strip_prefix(dir);
                !rest.is_some_and(|rest| dir.is_empty() || rest.starts_with('/'))
            });
        }
    }

    /// Forgets what lies below a directory.
    pub(crate) fn purge_below(&self, dir: &DirPath) {
        let below = self.prefix.below(dir);
        self.void_below(below.strip_suffix('/').unwrap_or(&below));
    }

    fn keep_old(&self, path: &FilePath, kept: &Kept) {
        if let Some(old) = self.old.as_ref().filter(|_| kept.record.base.is_some()) {
            old.insert(path.clone(), kept.clone());
        }
    }

    fn forget_old(&self, path: &FilePath) {
        if let Some(old) = &self.old {
            old.remove(path);
        }
    }

    fn epochs(&self) -> Epochs {
        *self.epochs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// While the database is away: what was last known of a file, and how long ago it was known to
    /// be current, if that is not too long.
    pub(crate) fn last_known(&self, path: &FilePath) -> Option<(Arc<Record>, Duration)> {
        let kept = self.old.as_ref()?.get(path)?;
        let epochs = self.epochs();
        let told = if kept.epoch == epochs.now {
            self.freshness.last_told()
        } else if kept.epoch + 1 == epochs.now {
            epochs.told_before
        } else {
            Duration::ZERO
        };
        // The feed misses what a long transaction changed: it proves a row for as long as a fresh
        // one is kept.
        let current = told.min(kept.asked + TTL).max(kept.asked);
        let age = self.clock.boot().saturating_sub(current);
        (age <= self.stale_if_error).then_some((kept.record, age))
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
            if let Some(dir) = event.name.strip_suffix('/') {
                self.void_below(dir);
                continue;
            }
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
        let mut epochs = self.epochs.lock().unwrap_or_else(PoisonError::into_inner);
        *epochs = Epochs { now: epochs.now + 1, told_before: self.freshness.last_told() };
        drop(epochs);
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
