//! Fills: what is missing is fetched once, however many wait for it.
//!
//! A fill is a task of its own. It fetches a run of blocks with one request and writes them to
//! disk as they come; readers follow it through the file that grows. It goes on as long as anybody
//! reads, else to the end of the block it is at: whoever asked first may go, and what fails is
//! not remembered.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ezdfs_core::{Error, ErrorKind, Result};
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::watch;

use crate::cache::{Inner, Source};
use crate::counters::{add, add_len};
use crate::disk::{Block, Writer};
use crate::key::{BLOCK, Key, PIECE};

/// By hash of the key and number of the block.
type Table = HashMap<([u8; 16], u64), Arc<Fill>>;

/// Blocks that are being fetched.
#[derive(Debug, Default)]
pub(crate) struct Fills(Mutex<Table>);

/// A run of blocks that is being fetched.
#[derive(Debug)]
pub(crate) struct Fill {
    progress: watch::Receiver<Progress>,
    readers: AtomicU64,
}

/// How far a fill is.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    /// The back end has answered.
    pub(crate) is_open: bool,
    /// Where the content goes on behind what is on disk.
    pub(crate) written: u64,
    /// The latest block, complete or growing.
    pub(crate) block: Option<Block>,
    /// How it ended.
    pub(crate) end: Option<End>,
}

/// How a fill ended.
#[derive(Debug, Clone)]
pub(crate) enum End {
    /// Everything it had to fetch is on disk; also when that was there already.
    Complete,
    /// Nobody read any more.
    Deserted,
    /// The back end failed.
    Store(ErrorKind, Arc<str>),
    /// The cache has no room, or the disk fails: the back end is to be asked past the cache.
    Cache,
}

impl End {
    fn store(e: &Error) -> Self {
        Self::Store(e.kind(), e.to_string().into())
    }
}

/// A reader's part in a fill.
#[derive(Debug)]
pub(crate) struct Attached {
    fill: Arc<Fill>,
    progress: watch::Receiver<Progress>,
}

impl Attached {
    fn to(fill: &Arc<Fill>) -> Self {
        fill.readers.fetch_add(1, Ordering::SeqCst);
        Self { progress: fill.progress.clone(), fill: Arc::clone(fill) }
    }

    /// How far the fill is, as soon as `enough` or at its end.
    pub(crate) async fn wait(&mut self, enough: impl Fn(&Progress) -> bool) -> Progress {
        let reached = self.progress.wait_for(|p| p.end.is_some() || enough(p)).await;
        match reached {
            Ok(progress) => progress.clone(),
            // The task is gone without a word: it panicked, or the runtime ends.
            Err(_) => Progress { end: Some(End::Cache), ..self.fill.progress.borrow().clone() },
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.fill.readers.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Fills {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the fill of the first of these blocks, or starts one for as many as nobody fetches.
    pub(crate) fn join(
        &self,
        inner: &Arc<Inner>,
        key: &Arc<Key>,
        blocks: Range<u64>,
        source: &Arc<dyn Source>,
    ) -> Attached {
        let hash = key.hash();
        let mut fills = self.lock();
        if let Some(fill) = fills.get(&(hash, blocks.start)) {
            return Attached::to(fill);
        }
        let end = blocks.clone().find(|b| fills.contains_key(&(hash, *b))).unwrap_or(blocks.end);
        let start = key.bytes(blocks.start).start;
        let progress = Progress { is_open: false, written: start, block: None, end: None };
        let (told, progress) = watch::channel(progress);
        let fill = Arc::new(Fill { progress, readers: AtomicU64::new(0) });
        let attached = Attached::to(&fill);
        for block in blocks.start..end {
            fills.insert((hash, block), Arc::clone(&fill));
        }
        drop(fills);
        let claimed = Claimed { inner: Arc::clone(inner), hash, blocks: blocks.start..end };
        let task = Task {
            key: Arc::clone(key),
            source: Arc::clone(source),
            fill,
            told,
            claimed,
            started: tokio::runtime::Handle::current(),
        };
        task.spawn();
        attached
    }
}

/// Blocks that a fill has in the table: taken out when they are on disk, or when it ends.
#[derive(Debug)]
struct Claimed {
    inner: Arc<Inner>,
    hash: [u8; 16],
    blocks: Range<u64>,
}

impl Claimed {
    /// The first blocks, before this one, can be read from disk.
    fn release_before(&mut self, block: u64) {
        let mut fills = self.inner.fills.lock();
        while self.blocks.start < block.min(self.blocks.end) {
            fills.remove(&(self.hash, self.blocks.start));
            self.blocks.start += 1;
        }
    }

    /// The last blocks, from this one on, are not fetched after all.
    fn release_from(&mut self, block: u64) {
        let mut fills = self.inner.fills.lock();
        while self.blocks.end > block.max(self.blocks.start) {
            self.blocks.end -= 1;
            fills.remove(&(self.hash, self.blocks.end));
        }
    }

    /// Gives up if nobody reads; nobody can join in between.
    fn desert(&mut self, fill: &Fill) -> bool {
        let mut fills = self.inner.fills.lock();
        if fill.readers.load(Ordering::SeqCst) > 0 {
            return false;
        }
        for block in self.blocks.clone() {
            fills.remove(&(self.hash, block));
        }
        self.blocks.start = self.blocks.end;
        true
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        self.release_from(self.blocks.start);
    }
}

struct Task {
    key: Arc<Key>,
    source: Arc<dyn Source>,
    fill: Arc<Fill>,
    told: watch::Sender<Progress>,
    claimed: Claimed,
    started: tokio::runtime::Handle,
}

impl Task {
    fn spawn(mut self) {
        self.started.clone().spawn(async move {
            let end = self.run().await;
            // First out of the table, then the word: who asks anew after it starts anew.
            let blocks = self.claimed.blocks.start;
            self.claimed.release_from(blocks);
            self.told.send_modify(|p| p.end = Some(end));
        });
    }

    async fn run(&mut self) -> End {
        let blocks = self.claimed.blocks.clone();
        let (inner, key) = (Arc::clone(&self.claimed.inner), Arc::clone(&self.key));
        // Another fill may have ended between a reader's look at the disk and its claim.
        let looked = blocks.clone();
        let gap = tokio::task::spawn_blocking(move || inner.disk.gap(&key, looked)).await;
        let Ok(gap) = gap else { return End::Cache };
        self.claimed.release_from(gap.end);
        if gap.is_empty() {
            return End::Complete;
        }
        let start = self.key.bytes(gap.start).start;
        let mut bytes = start..self.key.bytes(gap.end - 1).end;
        let writer = match self.begin(gap.start).await {
            Ok(writer) => writer,
            Err(end) => return end,
        };
        add(&self.claimed.inner.counters.fills, 1);
        let mut coming = match self.source.fetch(bytes.clone()).await {
            Ok(stream) => Coming { stream, rest: Bytes::new() },
            Err(e) => return End::store(&e),
        };
        self.told.send_modify(|p| p.is_open = true);
        let mut writer = Some(writer);
        loop {
            let block = bytes.start / BLOCK;
            let begun = match writer.take() {
                Some(writer) => Ok(writer),
                None => self.begin(block).await,
            };
            let written = match begun {
                Ok(writer) => self.block(writer, &mut coming).await,
                Err(end) => Err(end),
            };
            if let Err(end) = written {
                return end;
            }
            self.claimed.release_before(block + 1);
            bytes.start = self.key.bytes(block).end;
            if bytes.is_empty() {
                return End::Complete;
            }
            if self.claimed.desert(&self.fill) {
                return End::Deserted;
            }
        }
    }

    /// Makes room for a block and begins it.
    async fn begin(&self, block: u64) -> std::result::Result<Writer, End> {
        let (inner, key) = (Arc::clone(&self.claimed.inner), Arc::clone(&self.key));
        let name = self.claimed.inner.entropy.token().to_string();
        let begun = tokio::task::spawn_blocking(move || inner.begin(&key, block, &name)).await;
        begun.ok().flatten().ok_or(End::Cache)
    }

    /// Fetches, writes and tells of one block.
    async fn block(&self, mut writer: Writer, coming: &mut Coming) -> std::result::Result<(), End> {
        loop {
            let bytes = if writer.left() > 0 {
                coming.portion(writer.left()).await.map_err(|e| End::store(&e))?
            } else {
                Vec::new()
            };
            let inner = Arc::clone(&self.claimed.inner);
            let block = writer.block().clone();
            let step = tokio::task::spawn_blocking(move || inner.write(writer, &bytes)).await;
            let Ok(Some((position, more))) = step else { return Err(End::Cache) };
            self.told.send_modify(|p| {
                p.block = Some(block);
                p.written = position;
            });
            match more {
                Some(more) => writer = more,
                None => return Ok(()),
            }
        }
    }
}

/// What comes of the back end.
struct Coming {
    stream: BoxStream<'static, Result<Bytes>>,
    /// Came already, and was not asked for yet.
    rest: Bytes,
}

impl Coming {
    /// What has come, up to a piece and no more than `most`, and at least something.
    async fn portion(&mut self, most: u64) -> Result<Vec<Bytes>> {
        let mut portion = Vec::new();
        let mut left = usize::try_from(most.min(PIECE)).unwrap_or(usize::MAX);
        while left > 0 {
            if self.rest.is_empty() {
                let next = if portion.is_empty() {
                    self.stream.next().await
                } else {
                    match self.stream.next().now_or_never() {
                        Some(next) => next,
                        None => break,
                    }
                };
                self.rest = next.ok_or_else(|| {
                    Error::new(ErrorKind::Corrupt, "the stored bytes ended early")
                })??;
            }
            let bytes = self.rest.split_to(self.rest.len().min(left));
            left -= bytes.len();
            if !bytes.is_empty() {
                portion.push(bytes);
            }
        }
        Ok(portion)
    }
}

impl Inner {
    /// Makes room and begins a block; `None` when the cache cannot. Blocks.
    fn begin(&self, key: &Key, block: u64, name: &str) -> Option<Writer> {
        let bytes = key.bytes(block);
        let len = bytes.end - bytes.start;
        let room = self.room.reserve(&self.disk, &*self.clock, &self.counters, key.fan(block), len);
        match room {
            Ok(true) => {}
            Ok(false) => return None,
            Err(e) => {
                self.failed("no room can be made", &e);
                return None;
            }
        }
        match self.disk.create(key, block, name) {
            Ok(writer) => Some(writer),
            Err(e) => {
                self.failed("a file cannot be begun", &e);
                None
            }
        }
    }

    /// Writes on, and puts a block that is complete into place. Says how far it is, and gives a
    /// writer back that is not done. Blocks.
    fn write(&self, mut writer: Writer, bytes: &[Bytes]) -> Option<(u64, Option<Writer>)> {
        let mut done = || {
            for bytes in bytes {
                writer.write(bytes)?;
                add_len(&self.counters.bytes_filled, bytes.len());
            }
            Ok(writer.position())
        };
        let written: std::io::Result<u64> = done();
        let finished = written.and_then(|position| {
            if writer.left() > 0 {
                return Ok((position, Some(writer)));
            }
            writer.finish(&self.disk, self.clock.now()).map(|()| (position, None))
        });
        finished.map_err(|e| self.failed("a file cannot be written", &e)).ok()
    }
}
