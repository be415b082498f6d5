//! `FileService`, its parts and its options.

use std::sync::{Arc, Weak};
use std::time::Duration;

use ezdfs_core::{Clock, Entropy, MetadataStore};
use tokio::sync::Semaphore;

use crate::binary::BinaryStore;
use crate::breaker::Breaker;
use crate::cache::{CacheOptions, CacheState, MetadataCache};
use crate::cached::Files;
use crate::feed::{FeedState, Follower, Listener};
use crate::owner::Owner;
use crate::voiding::Voiding;

/// What a store is made of.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Rows.
    pub metadata: Arc<dyn MetadataStore>,
    /// Bytes.
    pub binary: BinaryStore,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// Numbers of the protocol. The defaults are those of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How long bytes stay after their row is gone.
    pub delete_grace: Duration,
    /// Above zero, deletes are soft and can be undone for this long.
    pub trash: Duration,
    /// Longest wait for another holder of a path, and for a version to settle while reading.
    pub io_timeout: Duration,
    /// Most files that one directory rename moves.
    pub rename_dir_max: u32,
    /// Lease of a held path.
    pub lease: Duration,
    /// How much lease must be left when the object is put in place, and how long rollers wait after
    /// a lease for steps that are still under way.
    pub step_timeout: Duration,
    /// Longest wait for an object to get into place, such as one that a store puts together of many
    /// parts; the lease is renewed meanwhile.
    pub put_timeout: Duration,
    /// A row is not changed for an object that changed less than this ago: its writer may be
    /// about to write the row.
    pub settle: Duration,
    /// How long ended work is remembered, so that a late object is recognised.
    pub remember_ended: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            delete_grace: Duration::from_secs(60),
            trash: Duration::ZERO,
            io_timeout: Duration::from_secs(30),
            rename_dir_max: 1000,
            lease: Duration::from_secs(15),
            step_timeout: Duration::from_secs(10),
            put_timeout: Duration::from_secs(600),
            settle: Duration::from_secs(5),
            remember_ended: Duration::from_secs(24 * 3600),
        }
    }
}

/// The file operations of one store. Cheap to clone; all clones are one service.
#[derive(Debug, Clone)]
pub struct FileService {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug, Clone)]
pub(crate) struct Inner {
    pub(crate) metadata: Arc<dyn MetadataStore>,
    pub(crate) binary: BinaryStore,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) options: Options,
    pub(crate) owner: Owner,
    /// Bounds the background writes that remember pins of foreign rows.
    pub(crate) remembering: Arc<Semaphore>,
    /// Rows in memory, and the feed that keeps them fresh.
    pub(crate) memory: Option<Memory>,
    /// Bytes on disk, of a remote back end.
    pub(crate) files: Option<Files>,
}

#[derive(Debug, Clone)]
pub(crate) struct Memory {
    pub(crate) cache: Arc<MetadataCache>,
    pub(crate) feed: Arc<crate::feed::Shared>,
}

impl FileService {
    /// The service over these parts.
    #[must_use]
    pub fn new(parts: Parts, options: Options) -> Self {
        let Parts { metadata, binary, clock, entropy } = parts;
        Self {
            inner: Arc::new(Inner {
                metadata,
                binary,
                clock,
                entropy,
                options,
                owner: Owner::this_process(),
                remembering: Arc::new(Semaphore::new(4)),
                memory: None,
                files: None,
            }),
        }
    }

    /// The same service, whose calls fail at once while its database is away, instead of waiting
    /// for it one by one. For processes that live long.
    #[must_use]
    pub fn with_breaker(&self) -> Self {
        let mut inner = (*self.inner).clone();
        let (clock, entropy) = (Arc::clone(&inner.clock), Arc::clone(&inner.entropy));
        inner.metadata = Arc::new(Breaker::new(inner.metadata, clock, entropy));
        Self { inner: Arc::new(inner) }
    }

    /// The same service, which answers [`Self::load`] and [`Self::open`] from memory while the
    /// follower is fresh. Without it, also after it has ended, it asks the database each time.
    #[must_use]
    pub fn with_follower(&self, follower: &Follower, options: CacheOptions) -> Self {
        let mut inner = (*self.inner).clone();
        let freshness = Arc::clone(follower.freshness());
        let prefix = inner.metadata.prefix().clone();
        let cache = MetadataCache::new(prefix, Arc::clone(&inner.clock), freshness, options);
        let cache = Arc::new(cache);
        let listener: Weak<dyn Listener> = Arc::<MetadataCache>::downgrade(&cache);
        let feed = Arc::clone(follower.shared());
        feed.listen(listener);
        inner.metadata = Arc::new(Voiding::new(inner.metadata, Arc::clone(&cache)));
        inner.memory = Some(Memory { cache, feed });
        Self { inner: Arc::new(inner) }
    }

    /// State of the feed that keeps memory fresh, and of what is in memory; `None` for a service
    /// that asks the database each time.
    #[must_use]
    pub fn memory_state(&self) -> Option<(FeedState, CacheState)> {
        let memory = self.inner.memory.as_ref()?;
        Some((memory.feed.state(), memory.cache.state()))
    }

    /// The metadata handler.
    #[must_use]
    pub fn metadata(&self) -> &Arc<dyn MetadataStore> {
        &self.inner.metadata
    }

    /// The binarydata handler.
    #[must_use]
    pub fn binary(&self) -> &BinaryStore {
        &self.inner.binary
    }

    /// The options.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// The source of randomness.
    #[must_use]
    pub fn entropy(&self) -> &Arc<dyn Entropy> {
        &self.inner.entropy
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }
}
