//! A directory of its own for each test, and a back end that counts, stalls and fails.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use ezdfs_cache::{FileCache, Key, Options, Source};
use ezdfs_core::{Clock, Error, ErrorKind, ManualClock, Result, SeededEntropy, Timestamp};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio::sync::Semaphore;

pub(crate) const MIB: u64 = 1 << 20;

pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) clock: ManualClock,
    pub(crate) cache: FileCache,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::of_size(1 << 30)
    }

    pub(crate) fn of_size(size: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(Timestamp::from_secs(1_700_000_000));
        let cache = cache(&dir.path().join("cache"), size, Arc::new(clock.clone()), 1);
        Self { dir, clock, cache }
    }

    /// Another process on the same directory.
    pub(crate) fn other(&self, seed: u64) -> FileCache {
        let options = self.cache.options();
        cache(&options.dir, options.size, Arc::new(self.clock.clone()), seed)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("cache")
    }
}

pub(crate) fn cache(dir: &Path, size: u64, clock: Arc<dyn Clock>, seed: u64) -> FileCache {
    let options = Options { dir: dir.to_owned(), size, min_free: 0 };
    FileCache::new(options, clock, Arc::new(SeededEntropy::new(seed)))
}

/// A content that is different everywhere, and for each seed.
pub(crate) fn content(seed: u8, len: u64) -> Bytes {
    let mut state = u64::from(seed) + 1;
    let mut all = Vec::new();
    while all.len() < usize::try_from(len).unwrap() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        all.extend_from_slice(&(state ^ (state >> 29)).to_le_bytes());
    }
    all.truncate(usize::try_from(len).unwrap());
    all.into()
}

pub(crate) fn key(path: &str, size: u64) -> Key {
    Key::new("test", path, "v1", size)
}

/// A back end with one content.
pub(crate) struct Remote {
    pub(crate) content: Bytes,
    /// Bytes of a piece.
    pub(crate) piece: usize,
    /// Permits for pieces.
    pub(crate) gate: Semaphore,
    /// Calls fail from now on.
    pub(crate) is_down: AtomicBool,
    /// Streams break after so many bytes.
    pub(crate) breaks_after: AtomicUsize,
    calls: Mutex<Vec<Range<u64>>>,
}

impl Remote {
    pub(crate) fn new(content: Bytes) -> Arc<Self> {
        Self::gated(content, Semaphore::MAX_PERMITS)
    }

    pub(crate) fn gated(content: Bytes, pieces: usize) -> Arc<Self> {
        Self::with(content, 50_000, pieces)
    }

    pub(crate) fn in_pieces(content: Bytes, piece: usize) -> Arc<Self> {
        Self::with(content, piece, Semaphore::MAX_PERMITS)
    }

    fn with(content: Bytes, piece: usize, pieces: usize) -> Arc<Self> {
        Arc::new(Self {
            content,
            piece,
            gate: Semaphore::new(pieces),
            is_down: AtomicBool::new(false),
            breaks_after: AtomicUsize::new(usize::MAX),
            calls: Mutex::default(),
        })
    }

    /// The ranges that were asked for since the last time.
    pub(crate) fn calls(&self) -> Vec<Range<u64>> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }
}

/// A reference to a back end, as the cache wants it.
struct Fetching(Arc<Remote>);

#[async_trait]
impl Source for Fetching {
    async fn fetch(&self, range: Range<u64>) -> Result<BoxStream<'static, Result<Bytes>>> {
        let remote = Arc::clone(&self.0);
        remote.calls.lock().unwrap().push(range.clone());
        let error = |text| Error::new(ErrorKind::Unavailable, text);
        if remote.is_down.load(Ordering::SeqCst) {
            return Err(error("the back end is away"));
        }
        let cut = |at: u64| usize::try_from(at).unwrap();
        let left = remote.content.slice(cut(range.start)..cut(range.end));
        let breaks = remote.breaks_after.load(Ordering::SeqCst);
        Ok(stream::try_unfold((remote, left, 0), move |(remote, mut left, sent)| async move {
            if left.is_empty() {
                return Ok(None);
            }
            if sent >= breaks {
                return Err(error("the connection broke"));
            }
            remote.gate.acquire().await.unwrap().forget();
            let piece = left.split_to(remote.piece.min(left.len()));
            let sent = sent + piece.len();
            Ok(Some((piece, (remote, left, sent))))
        })
        .boxed())
    }
}

/// Reads a range whole; says whether everything was there already.
pub(crate) async fn read(
    cache: &FileCache,
    key: &Key,
    range: Range<u64>,
    remote: &Arc<Remote>,
) -> Result<(Bytes, bool)> {
    let source = Arc::new(Fetching(Arc::clone(remote)));
    let mut reading = cache.read(key.clone(), range, source).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = reading.stream.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok((bytes.into(), reading.is_hit))
}

/// A stream that is begun and not read.
pub(crate) async fn begin(
    cache: &FileCache,
    key: &Key,
    range: Range<u64>,
    remote: &Arc<Remote>,
) -> BoxStream<'static, Result<Bytes>> {
    let source = Arc::new(Fetching(Arc::clone(remote)));
    cache.read(key.clone(), range, source).await.unwrap().stream
}

/// Every block of a cache, in no order.
pub(crate) fn blocks(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(fans) = std::fs::read_dir(root.join("v1")) else { return found };
    for fan in fans.map(|f| f.unwrap().path()) {
        if fan.is_dir() && !fan.ends_with("tmp") {
            found.extend(std::fs::read_dir(fan).unwrap().map(|f| f.unwrap().path()));
        }
    }
    found
}

/// What lies beside the blocks.
pub(crate) fn leftovers(root: &Path) -> usize {
    std::fs::read_dir(root.join("v1/tmp")).map_or(0, Iterator::count)
}

/// Waits for what comes by itself.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("waited in vain for {what}");
}
