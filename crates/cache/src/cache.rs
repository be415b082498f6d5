//! `FileCache`: the cache as others see it.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use ezdfs_core::{Clock, Entropy, Result};
use futures::stream::BoxStream;

use crate::counters::{Counters, State, add};
use crate::disk::Disk;
use crate::fill::Fills;
use crate::key::Key;
use crate::read::Reading;
use crate::room::{self, Room};

/// A content larger than this part of the cache is not kept: it would displace everything else.
const LARGEST_PART: u64 = 8;

/// Where a cache is and how much it keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The directory. It is made at the first fill, and may be deleted at any time.
    pub dir: PathBuf,
    /// Most bytes that are kept.
    pub size: u64,
    /// Bytes of the file system that are left free.
    pub min_free: u64,
}

/// Where bytes come from that are not in the cache.
#[async_trait]
pub trait Source: Send + Sync {
    /// Exactly these bytes of the content that the key names, as a stream that fails rather than
    /// end early, or an error when the back end has another content by now. `0..0` of an empty
    /// content is an empty stream.
    ///
    /// # Errors
    /// Whatever the reader is to be told; nothing is kept then.
    async fn fetch(&self, range: Range<u64>) -> Result<BoxStream<'static, Result<Bytes>>>;
}

/// A cache of file contents in a local directory, which several processes may share. Cheap to
/// clone; all clones are one cache.
#[derive(Debug, Clone)]
pub struct FileCache(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) disk: Disk,
    pub(crate) room: Room,
    pub(crate) fills: Fills,
    pub(crate) counters: Counters,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    options: Options,
    /// The disk has failed before, and that was said.
    told: AtomicBool,
}

/// What is in a cache's directory, of all processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Files: one for each block of up to 1 MiB.
    pub files: u64,
    /// Bytes they occupy.
    pub bytes: u64,
}

impl FileCache {
    /// The cache of a directory. Nothing is done yet: a directory that cannot be used shows as
    /// misses and errors, because a cache never fails a read.
    #[must_use]
    pub fn new(options: Options, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self(Arc::new(Inner {
            disk: Disk::new(options.dir.clone()),
            room: Room::new(options.size, options.min_free),
            fills: Fills::default(),
            counters: Counters::default(),
            clock,
            entropy,
            options,
            told: AtomicBool::new(false),
        }))
    }

    /// Its options.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// Whether a content of so many bytes would be kept.
    #[must_use]
    pub fn takes(&self, size: u64) -> bool {
        size <= self.0.options.size / LARGEST_PART
    }

    /// Reads a range of a content that the cache [takes](Self::takes), from disk as far as it is
    /// there. What is missing is fetched from `source` once, whoever else asks for it meanwhile,
    /// and is handed out as it comes. The range lies within the size, and is empty only if the
    /// content is.
    ///
    /// # Errors
    /// What the source says before the first byte. Later errors are in the stream.
    pub async fn read(
        &self,
        key: Key,
        range: Range<u64>,
        source: Arc<dyn Source>,
    ) -> Result<Reading> {
        self.0.read(key, range, source).await
    }

    /// Counts a read that does not go through the cache.
    pub fn bypass(&self) {
        add(&self.0.counters.bypassed, 1);
    }

    /// Whether every block of a content is there. They are not looked into.
    pub async fn has(&self, key: &Key) -> bool {
        let (inner, key) = (Arc::clone(&self.0), key.clone());
        let blocks = key.blocks(&(0..key.size()));
        let look = move || blocks.into_iter().all(|block| inner.disk.has(&key, block));
        tokio::task::spawn_blocking(look).await.unwrap_or_default()
    }

    /// Counts of this process.
    #[must_use]
    pub fn state(&self) -> State {
        self.0.counters.state()
    }

    /// What is in the directory: a look at every file.
    ///
    /// # Errors
    /// When it cannot be read; one that is not there is empty.
    pub async fn usage(&self) -> io::Result<Usage> {
        let inner = Arc::clone(&self.0);
        let (files, bytes) =
            tokio::task::spawn_blocking(move || room::usage(&inner.disk)).await??;
        Ok(Usage { files, bytes })
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.0.disk.root()
    }
}

impl Inner {
    /// Counts a fault of the disk; the first is worth a warning.
    pub(crate) fn failed(&self, what: &str, e: &io::Error) {
        add(&self.counters.errors, 1);
        let dir = self.disk.root().display();
        if self.told.swap(true, Ordering::Relaxed) {
            tracing::debug!(error = %e, "{what} in the cache {dir}");
        } else {
            tracing::warn!(
                error = %e,
                "{what} in the cache {dir}; files are served without it. Look at `cache.dir`"
            );
        }
    }
}
