//! Reading: block after block from disk, from a fill that is under way, or past the cache.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use ezdfs_core::{Error, Result};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};

use crate::cache::{Inner, Source};
use crate::counters::{add, add_len};
use crate::disk::{Block, Unusable};
use crate::fill::{Attached, End};
use crate::key::{BLOCK, Key};

/// How often one position is looked for before the back end is asked past the cache.
const LOOKS: u32 = 4;

/// The bytes of a range, and where they come from.
pub struct Reading {
    /// The bytes: as many as were asked for, or an error.
    pub stream: BoxStream<'static, Result<Bytes>>,
    /// Everything was on disk when the read began.
    pub is_hit: bool,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").field("is_hit", &self.is_hit).finish_non_exhaustive()
    }
}

/// Where the next bytes come from.
enum At {
    /// From a block on disk, of which a piece is read already.
    Block(Block, Option<Bytes>),
    /// That is to be found out.
    Open,
    /// From the back end.
    Past(BoxStream<'static, Result<Bytes>>),
}

struct Reader {
    inner: Arc<Inner>,
    key: Arc<Key>,
    source: Arc<dyn Source>,
    left: Range<u64>,
    at: At,
    fill: Option<Attached>,
    looks: u32,
}

/// What a first look at the disk finds.
struct Look {
    first: Option<(Block, Bytes)>,
    /// The first block that is not there.
    missing: Option<u64>,
}

impl Inner {
    /// Reads a range of a content, see [`crate::FileCache::read`].
    pub(crate) async fn read(
        self: &Arc<Self>,
        key: Key,
        range: Range<u64>,
        source: Arc<dyn Source>,
    ) -> Result<Reading> {
        let key = Arc::new(key);
        let blocks = key.blocks(&range);
        let (inner, looked, within) = (Arc::clone(self), Arc::clone(&key), range.clone());
        let look = tokio::task::spawn_blocking(move || inner.look(&looked, within)).await;
        let Ok(look) = look else { return self.past(range, &*source).await };
        let fill = match look.missing {
            None => None,
            Some(missing) => {
                let mut fill = self.fills.join(self, &key, missing..blocks.end, &source);
                let progress = fill.wait(|p| p.is_open).await;
                match progress.end {
                    // Its error now, before anything is answered.
                    Some(End::Store(kind, message))
                        if progress.written <= key.bytes(missing).start =>
                    {
                        return Err(Error::new(kind, &*message));
                    }
                    Some(End::Cache) if look.first.is_none() => {
                        return self.past(range, &*source).await;
                    }
                    _ => {}
                }
                Some(fill)
            }
        };
        let is_hit = fill.is_none();
        add(if is_hit { &self.counters.hits } else { &self.counters.misses }, 1);
        let at = look.first.map_or(At::Open, |(block, piece)| At::Block(block, Some(piece)));
        let inner = Arc::clone(self);
        let reader = Reader { inner, key, source, left: range, at, fill, looks: 0 };
        let stream = stream::try_unfold(reader, Reader::next).boxed();
        Ok(Reading { stream, is_hit })
    }

    /// Asks the back end, and keeps nothing.
    pub(crate) async fn past(&self, range: Range<u64>, source: &dyn Source) -> Result<Reading> {
        add(&self.counters.bypassed, 1);
        Ok(Reading { stream: source.fetch(range).await?, is_hit: false })
    }

    fn look(&self, key: &Key, range: Range<u64>) -> Look {
        let blocks = key.blocks(&range);
        let first = self.open(key, blocks.start, range);
        if first.is_none() {
            return Look { first, missing: Some(blocks.start) };
        }
        let missing = (blocks.start + 1..blocks.end).find(|b| !self.disk.has(key, *b));
        Look { first, missing }
    }

    /// Opens a block, if it is there and whole. Blocks.
    fn open(&self, key: &Key, block: u64, within: Range<u64>) -> Option<(Block, Bytes)> {
        match self.disk.open(key, block, within, self.clock.now()) {
            Ok(opened) => Some(opened),
            Err(Unusable::Missing) => None,
            Err(Unusable::Torn) => {
                add(&self.counters.errors, 1);
                None
            }
            Err(Unusable::Failed(e)) => {
                self.failed("a file cannot be read", &e);
                None
            }
        }
    }
}

impl Reader {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        while !self.left.is_empty() {
            let Some(bytes) = self.step().await? else {
                self.looks += 1;
                if self.looks > LOOKS {
                    self.go_past().await?;
                }
                continue;
            };
            self.looks = 0;
            let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            // Too much can only come from a back end; whoever reads counts as well.
            self.left.start = self.left.start.saturating_add(len).min(self.left.end);
            if !bytes.is_empty() {
                return Ok(Some((bytes, self)));
            }
        }
        Ok(None)
    }

    /// The next bytes; `None` when another look is needed.
    async fn step(&mut self) -> Result<Option<Bytes>> {
        match std::mem::replace(&mut self.at, At::Open) {
            At::Past(mut stream) => {
                let bytes = stream.next().await.transpose()?;
                self.at = At::Past(stream);
                // The end, too early: whoever counts says so.
                if bytes.is_none() {
                    self.left.end = self.left.start;
                }
                Ok(bytes.or(Some(Bytes::new())))
            }
            At::Block(block, Some(piece)) => {
                self.at = At::Block(block, None);
                add_len(&self.inner.counters.bytes_read, piece.len());
                Ok(Some(piece))
            }
            At::Block(block, None) if block.covers(self.left.start) => self.on(block).await,
            At::Block(..) | At::Open => self.open().await,
        }
    }

    /// Reads on in a block on disk.
    async fn on(&mut self, block: Block) -> Result<Option<Bytes>> {
        let within = self.left.start..self.left.end.min(block.end());
        let read = match block.read_cached(within.clone()) {
            Some(read) => read,
            None => {
                let block = block.clone();
                let read = tokio::task::spawn_blocking(move || block.read(within)).await;
                read.unwrap_or(Err(Unusable::Missing))
            }
        };
        match read {
            Ok(piece) => {
                add_len(&self.inner.counters.bytes_read, piece.len());
                self.at = At::Block(block, None);
                Ok(Some(piece))
            }
            Err(unusable) => {
                let (inner, key) = (Arc::clone(&self.inner), Arc::clone(&self.key));
                let number = self.left.start / BLOCK;
                // Err: the runtime ends.
                let _ = tokio::task::spawn_blocking(move || {
                    inner.dropped(&unusable);
                    inner.disk.remove(&key, number);
                })
                .await;
                Ok(None)
            }
        }
    }

    /// The block at the position: as it is being filled, from disk, or by a new fill.
    async fn open(&mut self) -> Result<Option<Bytes>> {
        let number = self.left.start / BLOCK;
        if let Some(mut fill) = self.fill.take() {
            let pos = self.left.start;
            let progress = fill.wait(|p| p.written > pos).await;
            if progress.written > pos {
                self.fill = Some(fill);
                if let Some(block) = progress.block.filter(|b| b.covers(pos)) {
                    let written = self.left.start..self.left.end.min(progress.written);
                    return self.growing(block, written).await;
                }
            }
            match progress.end {
                Some(End::Store(kind, message)) if progress.written <= pos => {
                    return Err(Error::new(kind, &*message));
                }
                Some(End::Cache) if progress.written <= pos => {
                    self.go_past().await?;
                    return Ok(None);
                }
                _ => {}
            }
        }
        let (inner, key, within) =
            (Arc::clone(&self.inner), Arc::clone(&self.key), self.left.clone());
        let opened = tokio::task::spawn_blocking(move || inner.open(&key, number, within)).await;
        if let Ok(Some((block, piece))) = opened {
            self.at = At::Block(block, Some(piece));
            return self.take_piece();
        }
        if self.fill.is_none() {
            let blocks = number..self.key.blocks(&self.left).end;
            self.fill = Some(self.inner.fills.join(&self.inner, &self.key, blocks, &self.source));
        } else {
            // The fill went by here, and what it wrote is gone again.
            self.fill = None;
        }
        Ok(None)
    }

    fn take_piece(&mut self) -> Result<Option<Bytes>> {
        let At::Block(_, piece) = &mut self.at else { return Ok(None) };
        let piece = piece.take();
        add_len(&self.inner.counters.bytes_read, piece.as_ref().map_or(0, Bytes::len));
        Ok(piece)
    }

    /// Reads what this process has just written.
    async fn growing(&mut self, block: Block, written: Range<u64>) -> Result<Option<Bytes>> {
        if let Some(bytes) = block.read_growing_cached(written.clone()) {
            return Ok(Some(bytes));
        }
        let read = tokio::task::spawn_blocking(move || block.read_growing(written)).await;
        match read {
            Ok(Ok(bytes)) => Ok(Some(bytes)),
            Ok(Err(unusable)) => {
                self.inner.dropped(&unusable);
                self.go_past().await?;
                Ok(None)
            }
            Err(_) => Ok(None),
        }
    }

    /// Gives the cache up for the rest.
    async fn go_past(&mut self) -> Result<()> {
        self.fill = None;
        self.at = At::Past(self.source.fetch(self.left.clone()).await?);
        self.looks = 0;
        Ok(())
    }
}

impl Inner {
    fn dropped(&self, unusable: &Unusable) {
        match unusable {
            Unusable::Failed(e) => self.failed("a file cannot be read", e),
            Unusable::Torn | Unusable::Missing => add(&self.counters.errors, 1),
        }
    }
}
