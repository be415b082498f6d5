//! Verified reads through the file cache: what a remote back end gave once is read from disk.
//!
//! The entry was loaded under the rule for fresh answers and names a version; the cache keeps the
//! bytes of versions and never of paths. What is missing is opened as any version is, pinned and
//! compared, so nothing lands in the cache that does not belong to its row, and a mismatch goes
//! the way of every mismatch.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use ezdfs_cache::{FileCache, Key, Source};
use ezdfs_core::{Error, FileMeta, FilePath, Result};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};

use crate::binary::BinaryStore;
use crate::read::{Attempt, Body, Difference};
use crate::service::FileService;

/// A version that is younger than this may have been overtaken by one of the same size and second,
/// which only the feed tells from it. Without a fresh feed its object is looked at.
const YOUNG: Duration = Duration::from_secs(30);

/// The file cache of a service.
#[derive(Clone)]
pub(crate) struct Files {
    cache: FileCache,
    /// Tells the objects of one store from those of others in the same directory.
    scope: String,
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("cache", &self.cache).finish_non_exhaustive()
    }
}

/// What [`FileService::warm`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warmed {
    /// It was fetched: so many bytes.
    Filled(u64),
    /// It was there.
    Already,
    /// It is larger than the cache takes, or cannot be told from other versions.
    Unfit,
}

impl Files {
    fn new(cache: FileCache, binary: &BinaryStore) -> Self {
        let scope = format!("{}|{}|{:?}", binary.name, binary.store, binary.prefix);
        Self { cache, scope }
    }

    /// The key of a version; `None` when nothing names it.
    fn key(&self, meta: &FileMeta) -> Option<Key> {
        let version = match (meta.token, meta.sha256, &meta.pin) {
            (Some(token), ..) => format!("t-{token}"),
            (None, Some(sha256), _) => format!("s-{sha256}"),
            (None, None, Some(pin)) => format!("p-{}|{}", pin.as_str(), meta.mtime.nanos()),
            (None, None, None) => return None,
        };
        Some(Key::new(&self.scope, meta.path.as_str(), &version, meta.size))
    }
}

impl FileService {
    /// The same service, which reads bytes through a cache on disk.
    #[must_use]
    pub fn with_file_cache(&self, cache: FileCache) -> Self {
        let mut inner = (*self.inner).clone();
        inner.files = Some(Files::new(cache, &inner.binary));
        Self { inner: Arc::new(inner) }
    }

    /// The cache on disk, if there is one.
    #[must_use]
    pub fn file_cache(&self) -> Option<&FileCache> {
        self.inner.files.as_ref().map(|files| &files.cache)
    }

    /// Brings a file into the cache on disk; without one it is [`Warmed::Unfit`].
    ///
    /// # Errors
    /// As [`Self::open`], and what goes wrong while the bytes come.
    pub async fn warm(&self, path: &FilePath) -> Result<Warmed> {
        let Some(files) = &self.inner.files else { return Ok(Warmed::Unfit) };
        let meta = self.load(path).await?;
        if !files.cache.takes(meta.size) {
            return Ok(Warmed::Unfit);
        }
        if let Some(key) = files.key(&meta)
            && files.cache.has(&key).await
        {
            return Ok(Warmed::Already);
        }
        let (meta, mut body) = self.open_whole(path).await?;
        while body.try_next().await?.is_some() {}
        // A row that PHP wrote has a pin since just now.
        let kept = match files.key(&meta) {
            Some(key) => files.cache.has(&key).await,
            None => body.is_kept(),
        };
        Ok(if kept { Warmed::Filled(meta.size) } else { Warmed::Unfit })
    }

    /// Opens a version through the cache; `None` when it has to be opened past it.
    pub(crate) async fn open_cached(
        &self,
        files: &Files,
        meta: &FileMeta,
        range: &Range<u64>,
    ) -> Result<Option<Attempt>> {
        // An empty part of a file needs no bytes, and its object must be there all the same.
        if range.is_empty() && meta.size > 0 {
            return Ok(None);
        }
        if !files.cache.takes(meta.size) {
            files.cache.bypass();
            return Ok(None);
        }
        let meta = if meta.pin.is_some() && self.is_told_apart(meta) {
            meta.clone()
        } else {
            match self.looked_at(meta).await? {
                Ok(Some(meta)) => meta,
                Ok(None) => {
                    files.cache.bypass();
                    return Ok(None);
                }
                Err(difference) => return Ok(Some(Attempt::Differs(difference))),
            }
        };
        let Some(key) = files.key(&meta) else { return Ok(None) };
        let source = Arc::new(Version { service: self.clone(), meta: meta.clone() });
        match files.cache.read(key, range.clone(), source).await {
            Ok(reading) => {
                Ok(Some(Attempt::Opened(Body::new(&meta, range.clone(), reading.stream, true))))
            }
            Err(e) => match Difference::of(&e) {
                Some(difference) => Ok(Some(Attempt::Differs(difference))),
                None => Err(e),
            },
        }
    }

    /// Whether the row tells this version from one that overtook it a moment ago.
    pub(crate) fn is_told_apart(&self, meta: &FileMeta) -> bool {
        let is_fresh = self.inner.memory.as_ref().is_some_and(|m| m.cache.is_fresh());
        is_fresh
            || !self.inner.metadata.is_separate()
            || self.inner.clock.now().since(meta.mtime) >= YOUNG
    }

    /// A version with the pin of its object, which is looked at. A row that names no object gets
    /// its pin: several requests may be needed to fill the cache, and without one they could be
    /// answered by several objects. `None` for a store that has no pins.
    async fn looked_at(
        &self,
        meta: &FileMeta,
    ) -> Result<std::result::Result<Option<FileMeta>, Difference>> {
        let key = self.inner.binary.key(&meta.path)?;
        let Some(object) = self.inner.binary.head(&key).await? else {
            return Ok(Err(Difference::Missing));
        };
        if object.size != meta.size {
            return Ok(Err(Difference::Size));
        }
        if meta.pin.is_some() {
            let is_same = meta.pin == object.pin;
            return Ok(if is_same { Ok(Some(meta.clone())) } else { Err(Difference::Replaced) });
        }
        if !self.is_unpinned_safe(meta, &object).await? {
            return Ok(Err(Difference::Replaced));
        }
        let Some(pin) = object.pin else { return Ok(Ok(None)) };
        self.remember_pin(meta, pin.clone());
        Ok(Ok(Some(FileMeta { pin: Some(pin), ..meta.clone() })))
    }
}

/// A version in the back end.
struct Version {
    service: FileService,
    meta: FileMeta,
}

#[async_trait]
impl Source for Version {
    async fn fetch(&self, range: Range<u64>) -> Result<BoxStream<'static, Result<Bytes>>> {
        match self.service.open_object(&self.meta, range).await? {
            Attempt::Opened(body) => Ok(body.boxed()),
            Attempt::Differs(difference) => Err(difference.error(&self.meta.path)),
        }
    }
}

impl Difference {
    /// As an error that goes through the cache.
    fn error(self, path: &FilePath) -> Error {
        let message = format!("the object of `{path}` is another than its row names");
        Error::new(self.kind(), message)
    }

    /// The difference that an error stands for.
    fn of(e: &Error) -> Option<Self> {
        [Self::Missing, Self::Replaced, Self::Size].into_iter().find(|d| d.kind() == e.kind())
    }
}
