//! `HotBodies`: small files in memory with the fields of their answers, within one budget.
//!
//! What is kept is a version: it is answered only when the rows, looked at under the usual rule,
//! name exactly that version. So nothing in here becomes wrong, and nothing has to be voided.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ezdfs_core::{FileMeta, FilePath, Result, Timestamp};
use ezdfs_engine::Known;
use http::HeaderMap;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// Largest file that is kept, in bytes.
const LARGEST: u64 = 1 << 20;
/// Smallest part of the budget that one file may take.
const SHARE: u64 = 8;
/// Memory of a file beside its bytes, roughly.
const OVERHEAD: u64 = 2048;
/// Longest wait for somebody else who fetches the same file, before it is read past the memory.
const PATIENCE: Duration = Duration::from_secs(10);

/// A file in memory.
#[derive(Debug)]
pub(crate) struct Hot {
    /// The version.
    pub(crate) meta: FileMeta,
    /// All its bytes.
    pub(crate) bytes: Bytes,
    /// Fields of a whole answer and of a 304; `None` where they depend on the time.
    pub(crate) prepared: Option<Prepared>,
    /// The state of the rows that it was fetched for.
    known: Option<Known>,
}

/// Fields that are the same for every answer of a version.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) whole: HeaderMap,
    pub(crate) not_modified: HeaderMap,
}

impl Hot {
    pub(crate) fn new(
        meta: FileMeta,
        bytes: Bytes,
        prepared: Option<Prepared>,
        known: Option<Known>,
    ) -> Self {
        Self { meta, bytes, prepared, known }
    }

    /// Whether it is the version that is known, and exists at `now`.
    fn is_current(&self, known: &Known, now: Timestamp) -> bool {
        self.known.as_ref().is_some_and(|own| own.is(known))
            && self.meta.expires.is_none_or(|at| at > now)
    }
}

/// Where an answer from memory came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// It was there.
    Hit,
    /// It was fetched for this request, and is kept.
    Filled,
    /// It was fetched for another request meanwhile.
    Collapsed,
}

/// How the memory for bodies does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HotState {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
}

/// Small files in memory. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(crate) struct HotBodies(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    files: Cache<Key, Arc<Hot>, Weight>,
    largest: u64,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// A path of one site.
type Key = (usize, FilePath);

impl HotBodies {
    /// Keeps files of at most `budget` bytes together; none for 0.
    pub(crate) fn new(budget: u64) -> Self {
        if budget == 0 {
            return Self(None);
        }
        let expected = usize::try_from(budget / (16 << 10)).unwrap_or(usize::MAX).max(16);
        Self(Some(Arc::new(Inner {
            files: Cache::with_weighter(expected, budget, Weight),
            largest: (budget / SHARE).min(LARGEST),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        })))
    }

    /// Whether a file may be kept.
    pub(crate) fn takes(&self, meta: &FileMeta) -> bool {
        self.0.as_ref().is_some_and(|inner| (1..=inner.largest).contains(&meta.size))
    }

    /// The file, if it is there and still the version that is known.
    pub(crate) fn current(&self, key: &Key, known: &Known, now: Timestamp) -> Option<Arc<Hot>> {
        let inner = self.0.as_ref()?;
        let hot = inner.files.get(key)?;
        let hot = hot.is_current(known, now).then_some(hot)?;
        inner.hits.fetch_add(1, Ordering::Relaxed);
        Some(hot)
    }

    /// The file of exactly the version `meta`, or one that is newer; else what `fetch` brings, once
    /// for all who ask meanwhile. `None` when it is to be read past the memory.
    ///
    /// # Errors
    /// Those of `fetch`, told to the one alone for whom it ran.
    pub(crate) async fn get_or_fetch(
        &self,
        key: &Key,
        meta: &FileMeta,
        fetch: impl Future<Output = Result<Option<Hot>>>,
    ) -> Result<Option<(Arc<Hot>, Found)>> {
        let Some(inner) = &self.0 else { return Ok(None) };
        let mut found = Found::Hit;
        if inner.files.peek(key).is_some_and(|hot| hot.meta != *meta) {
            inner.files.remove_if(key, |hot| hot.meta != *meta);
        } else if inner.files.peek(key).is_none() {
            found = Found::Collapsed;
        }
        let waiting = inner.files.get_value_or_guard_async(key);
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(Ok(hot)) if hot.meta == *meta => {
                inner.hits.fetch_add(1, Ordering::Relaxed);
                Ok(Some((hot, found)))
            }
            Ok(Err(place)) => {
                inner.misses.fetch_add(1, Ordering::Relaxed);
                let Some(hot) = fetch.await? else { return Ok(None) };
                let hot = Arc::new(hot);
                // Err: it was purged meanwhile.
                let _ = place.insert(Arc::clone(&hot));
                Ok(Some((hot, Found::Filled)))
            }
            Ok(Ok(_)) | Err(_) => {
                inner.misses.fetch_add(1, Ordering::Relaxed);
                Ok(None)
            }
        }
    }

    /// Lets go of the files of which `is_meant` holds.
    pub(crate) fn purge(&self, is_meant: impl Fn(&FilePath) -> bool) {
        if let Some(inner) = &self.0 {
            inner.files.retain(|(_, path), _| !is_meant(path));
        }
    }

    pub(crate) fn state(&self) -> Option<HotState> {
        let inner = self.0.as_ref()?;
        Some(HotState {
            entries: u64::try_from(inner.files.len()).unwrap_or(u64::MAX),
            bytes: inner.files.weight(),
            hits: inner.hits.load(Ordering::Relaxed),
            misses: inner.misses.load(Ordering::Relaxed),
        })
    }
}

#[derive(Debug, Clone)]
struct Weight;

impl Weighter<Key, Arc<Hot>> for Weight {
    fn weight(&self, (_, path): &Key, hot: &Arc<Hot>) -> u64 {
        let path = u64::try_from(path.as_str().len()).unwrap_or(u64::MAX);
        hot.meta.size.saturating_add(OVERHEAD).saturating_add(2 * path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::tests::meta;

    fn of(size: u64, mtime: i64) -> FileMeta {
        FileMeta { size, mtime: Timestamp::from_secs(mtime), ..meta() }
    }

    fn hot(meta: &FileMeta) -> Hot {
        let bytes = vec![0; usize::try_from(meta.size).unwrap()];
        Hot::new(meta.clone(), Bytes::from(bytes), None, None)
    }

    fn key(name: &str) -> Key {
        (0, name.parse().unwrap())
    }

    #[tokio::test]
    async fn a_version_is_found_and_another_one_is_fetched() {
        let bodies = HotBodies::new(1 << 20);
        let (first, second) = (of(3, 1), of(3, 2));
        let get = async |meta: &FileMeta| {
            let fetch = async { Ok(Some(hot(meta))) };
            let (hot, found) = bodies.get_or_fetch(&key("a"), meta, fetch).await.unwrap().unwrap();
            assert_eq!(hot.meta, *meta);
            found
        };
        assert_eq!(get(&first).await, Found::Filled);
        assert_eq!(get(&first).await, Found::Hit);
        assert_eq!(get(&second).await, Found::Filled);
        assert_eq!(get(&first).await, Found::Filled);
        bodies.purge(|path| path.as_str() == "a");
        assert_eq!(get(&first).await, Found::Filled);
        let state = bodies.state().unwrap();
        assert_eq!((state.entries, state.hits, state.misses), (1, 1, 4));
    }

    #[tokio::test]
    async fn what_is_kept_stays_within_the_budget() {
        let bodies = HotBodies::new(64 << 10);
        let meta = of(8 << 10, 1);
        assert!(bodies.takes(&meta) && !bodies.takes(&of((8 << 10) + 1, 1)));
        assert!(!bodies.takes(&of(0, 1)) && !HotBodies::new(0).takes(&meta));
        for i in 0..100 {
            let fetch = async { Ok(Some(hot(&meta))) };
            bodies.get_or_fetch(&key(&i.to_string()), &meta, fetch).await.unwrap().unwrap();
        }
        let state = bodies.state().unwrap();
        assert!(state.entries >= 4 && state.bytes <= 64 << 10, "{state:?}");
    }

    #[tokio::test]
    async fn an_error_is_told_and_not_kept() {
        let bodies = HotBodies::new(1 << 20);
        let meta = of(3, 1);
        let failing = async { Err(ezdfs_core::Error::not_found("a")) };
        assert!(bodies.get_or_fetch(&key("a"), &meta, failing).await.is_err());
        let fetch = async { Ok(Some(hot(&meta))) };
        let (_, found) = bodies.get_or_fetch(&key("a"), &meta, fetch).await.unwrap().unwrap();
        assert_eq!(found, Found::Filled);
    }
}
