//! Load, open and verified reads.
//!
//! A reader gets one version or an error: the object is opened pinned, the pin that comes back is
//! compared, and a stream that ends early is an error. When rows and object disagree the entry is
//! loaded again; when nobody is at work on the path, reconcile decides.

use std::ops::Range;
use std::pin::Pin as StdPin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use ezdfs_core::{
    Change, DirPath, Entry, Error, ErrorKind, FileMeta, FilePath, Guard, IntentState, Op, Pin,
    Record, Result, Work,
};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use object_store::GetResult;

use crate::binary::{self, ObjectInfo};
use crate::breaker::is_away;
use crate::publish::is_directory;
use crate::service::FileService;

/// Pause before an entry is loaded again while somebody is at work on its path.
const REREAD_PAUSE: Duration = Duration::from_millis(20);

/// An entry with its bytes, opened and verified to belong together.
#[derive(Debug)]
pub struct Opened {
    /// The version.
    pub meta: FileMeta,
    /// Its bytes in the range that was asked for; `None` when none was asked for.
    pub body: Option<Body>,
    /// The database is away, and this is the version that was known to be current so long ago. The
    /// answer is to be marked.
    pub stale: Option<Duration>,
}

/// The bytes of one version in one range. Fails rather than end early.
pub struct Body {
    stream: BoxStream<'static, Result<Bytes>>,
    range: Range<u64>,
    left: u64,
    path: FilePath,
    kept: bool,
}

impl Body {
    /// The bytes of a version in a range. `kept`: they go through the cache on disk.
    pub(crate) fn new(
        meta: &FileMeta,
        range: Range<u64>,
        stream: BoxStream<'static, Result<Bytes>>,
        kept: bool,
    ) -> Self {
        let left = range.end - range.start;
        Self { stream, range, left, path: meta.path.clone(), kept }
    }

    /// Whether the bytes go through the cache on disk.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept
    }

    /// The range of the version, in bytes.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// Bytes still to come.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.left
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("path", &self.path).field("range", &self.range).finish()
    }
}

impl Stream for Body {
    type Item = Result<Bytes>;

    fn poll_next(mut self: StdPin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let short = |path: &FilePath, left| {
            Error::new(ErrorKind::Corrupt, format!("`{path}` ended {left} bytes early"))
        };
        if self.left == 0 {
            return Poll::Ready(None);
        }
        match self.stream.poll_next_unpin(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(bytes))) => {
                let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                match self.left.checked_sub(len) {
                    Some(left) => {
                        self.left = left;
                        Poll::Ready(Some(Ok(bytes)))
                    }
                    None => {
                        self.left = 0;
                        Poll::Ready(Some(Err(Error::new(
                            ErrorKind::Corrupt,
                            format!("`{}` has more bytes than its version", self.path),
                        ))))
                    }
                }
            }
            Poll::Ready(Some(Err(e))) => {
                self.left = 0;
                let e = e.context(format_args!("reading `{}`", self.path));
                Poll::Ready(Some(Err(e)))
            }
            Poll::Ready(None) => {
                let e = short(&self.path, self.left);
                self.left = 0;
                Poll::Ready(Some(Err(e)))
            }
        }
    }
}

impl FileService {
    /// The entry of a file or directory.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], or a database error.
    pub async fn entry(&self, path: &DirPath) -> Result<Entry> {
        let now = self.inner.clock.now();
        let Some(file) = path.path() else { return Ok(self.root()) };
        if let Some(entry) = self.inner.metadata.record(file).await?.entry(file, now) {
            return Ok(entry);
        }
        // A directory that exists only by files which a foreign writer made a moment ago: listing
        // it waits for the materialiser.
        if !self.inner.metadata.list(path, None, 1).await?.entries.is_empty()
            && let Some(entry) = self.inner.metadata.record(file).await?.entry(file, now)
        {
            return Ok(entry);
        }
        Err(Error::not_found(path))
    }

    /// The metadata of a visible file: at most one indexed SELECT, none while it is in memory and
    /// fresh; never touches bytes.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::IsDirectory`], or a database error.
    pub async fn load(&self, path: &FilePath) -> Result<FileMeta> {
        match &self.inner.memory {
            Some(memory) => {
                let record = memory.cache.record(&*self.inner.metadata, path).await?;
                self.visible_file(path, &record)
            }
            None => self.load_past_memory(path).await,
        }
    }

    /// The same, of this moment: for those who change something, or found a mismatch.
    pub(crate) async fn load_past_memory(&self, path: &FilePath) -> Result<FileMeta> {
        let record = self.inner.metadata.record(path).await?;
        self.visible_file(path, &record)
    }

    pub(crate) fn visible_file(&self, path: &FilePath, record: &Record) -> Result<FileMeta> {
        match record.entry(path, self.inner.clock.now()) {
            Some(Entry::File(file)) => Ok(file),
            Some(Entry::Directory(_)) => Err(is_directory(path)),
            None => Err(Error::not_found(path)),
        }
    }

    /// The metadata of a visible file, as [`Self::load`]; while the database is away also what was
    /// last known of it, if the options allow that.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub async fn load_marked(&self, path: &FilePath) -> Result<Opened> {
        let e = match self.load(path).await {
            Ok(meta) => return Ok(Opened { meta, body: None, stale: None }),
            Err(e) => e,
        };
        let known = match &self.inner.memory {
            Some(memory) if is_away(e.kind()) => memory.cache.last_known(path),
            _ => None,
        };
        // That a file did not exist is nothing to answer from.
        let Some((Ok(meta), age)) = known.map(|(r, age)| (self.visible_file(path, &r), age)) else {
            return Err(e);
        };
        Ok(Opened { meta, body: None, stale: Some(age) })
    }

    /// Whether a visible file exists.
    ///
    /// # Errors
    /// A database error.
    pub async fn exists(&self, path: &FilePath) -> Result<bool> {
        match self.load(path).await {
            Ok(_) => Ok(true),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::IsDirectory) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Opens a file: loads its entry, lets `pick` choose what to read of it, and opens exactly
    /// that version. `pick` may be called again when the file is replaced meanwhile; it returns
    /// `None` when no bytes are needed. A range is clamped to the size. The entry is looked at as
    /// [`Self::load_marked`] does: it may be marked.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::IsDirectory`], [`ErrorKind::MissingBytes`] after a
    /// re-read past all caches, [`ErrorKind::Busy`] while a change does not come to an end, or a
    /// fault.
    pub async fn open<F>(&self, path: &FilePath, pick: F) -> Result<Opened>
    where
        F: Fn(&FileMeta) -> Option<Range<u64>> + Send,
    {
        let seen = self.load_marked(path).await?;
        self.open_seen(seen, pick).await
    }

    /// The same, beginning with what [`Self::load_marked`] just said of a file.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_seen<F>(&self, seen: Opened, pick: F) -> Result<Opened>
    where
        F: Fn(&FileMeta) -> Option<Range<u64>> + Send,
    {
        let path = &seen.meta.path.clone();
        let mut seen = Some((seen.meta, seen.stale));
        let deadline = self.inner.clock.boot() + self.inner.options.io_timeout;
        let mut reconciled = false;
        loop {
            let (meta, stale) = match seen.take() {
                Some(seen) => seen,
                None => (self.load_past_memory(path).await?, None),
            };
            let Some(range) = pick(&meta) else { return Ok(Opened { meta, body: None, stale }) };
            let range = clamp(range, meta.size);
            let why = match self.open_version(&meta, range).await? {
                Attempt::Opened(body) => return Ok(Opened { meta, body: Some(body), stale }),
                Attempt::Differs(why) => why,
            };
            tracing::debug!(%path, ?why, "rows and object differ; loading again");
            if let Some(memory) = &self.inner.memory {
                memory.cache.void(path);
            }
            let is_late = self.inner.clock.boot() >= deadline;
            // Work first, row second: a publish that ended in between has changed the row.
            let at_work = self.at_work(path).await?;
            if self.changed_since(&meta).await? {
                if is_late {
                    return Err(unsettled(path));
                }
                continue;
            }
            if at_work || !self.inner.metadata.is_separate() {
                if is_late {
                    return Err(unsettled(path));
                }
                tokio::time::sleep(REREAD_PAUSE + self.inner.entropy.jitter(REREAD_PAUSE)).await;
                continue;
            }
            if reconciled {
                return Err(definite(path, why));
            }
            self.reconcile(path).await?;
            reconciled = true;
        }
    }

    /// Opens the whole file, as it is now.
    ///
    /// # Errors
    /// As [`Self::open`]; also while the database is away.
    pub async fn open_whole(&self, path: &FilePath) -> Result<(FileMeta, Body)> {
        let opened = self.open(path, |meta| Some(0..meta.size)).await?;
        if opened.stale.is_some() {
            return Err(Error::new(ErrorKind::Unavailable, "the database does not answer"));
        }
        let body = opened.body.ok_or_else(|| {
            Error::new(ErrorKind::Internal, format!("`{path}` was opened without its bytes"))
        })?;
        Ok((opened.meta, body))
    }

    /// Opens a range of exactly this version: another part of what [`Self::open`] opened. A range
    /// is clamped to the size.
    ///
    /// # Errors
    /// [`ErrorKind::Stale`] when the version is no longer there, or a fault.
    pub async fn open_exact(&self, meta: &FileMeta, range: Range<u64>) -> Result<Body> {
        match self.open_version(meta, clamp(range, meta.size)).await? {
            Attempt::Opened(body) => Ok(body),
            Attempt::Differs(_) => Err(Error::new(
                ErrorKind::Stale,
                format!("`{}` was replaced while it was read", meta.path),
            )),
        }
    }

    /// Opens a version, through the cache on disk if there is one.
    async fn open_version(&self, meta: &FileMeta, range: Range<u64>) -> Result<Attempt> {
        if let Some(files) = &self.inner.files
            && let Some(attempt) = self.open_cached(files, meta, &range).await?
        {
            return Ok(attempt);
        }
        self.open_object(meta, range).await
    }

    /// Opens the object of a version, and compares that it is the one.
    pub(crate) async fn open_object(&self, meta: &FileMeta, range: Range<u64>) -> Result<Attempt> {
        let binary = &self.inner.binary;
        let key = binary.key(&meta.path)?;
        // An empty range cannot be asked of a store; the object must still be there and match.
        let ask = (!range.is_empty()).then(|| range.clone());
        let got = match binary.get(&key, meta.pin.as_ref(), ask).await {
            Ok(got) => got,
            Err(e) => {
                return match e.kind() {
                    ErrorKind::NotFound => Ok(Attempt::Differs(Difference::Missing)),
                    ErrorKind::PreconditionFailed => Ok(Attempt::Differs(Difference::Replaced)),
                    // A local store that refuses the range: the object was shorter than the row says.
                    // By now it may be whole again, since PHP cuts and writes it in place.
                    ErrorKind::InvalidArgument if !range.is_empty() => {
                        Ok(Attempt::Differs(Difference::Size))
                    }
                    // Others tell in their own ways.
                    _ => match binary.head(&key).await? {
                        Some(object) if object.size != meta.size => {
                            Ok(Attempt::Differs(Difference::Size))
                        }
                        _ => Err(e),
                    },
                };
            }
        };
        let object = binary::info(&got);
        if object.size != meta.size {
            return Ok(Attempt::Differs(Difference::Size));
        }
        match (&meta.pin, &object.pin) {
            (Some(expected), found) if found.as_ref() != Some(expected) => {
                return Ok(Attempt::Differs(Difference::Replaced));
            }
            (None, found) => {
                if !self.is_unpinned_safe(meta, &object).await? {
                    return Ok(Attempt::Differs(Difference::Replaced));
                }
                if let Some(found) = found {
                    self.remember_pin(meta, found.clone());
                }
            }
            _ => {}
        }
        Ok(Attempt::Opened(body(meta, range, got)))
    }

    /// Whether an object of the right size may be served under a row that names no pin: not when
    /// one of us has put it there, or may have, without having written the row.
    pub(crate) async fn is_unpinned_safe(
        &self,
        meta: &FileMeta,
        object: &ObjectInfo,
    ) -> Result<bool> {
        if !self.inner.metadata.is_separate() {
            return Ok(true);
        }
        if object.token.is_some() && object.token != meta.token {
            return Ok(false);
        }
        let intents = self.inner.metadata.intents_on(&meta.path).await?;
        let touched =
            |i: &ezdfs_core::Intent| matches!(i.work, Work::Publish { .. } | Work::Rename { .. });
        Ok(!intents.iter().any(touched) && !self.changed_since(meta).await?)
    }

    /// Whether the entry is another one by now.
    async fn changed_since(&self, meta: &FileMeta) -> Result<bool> {
        let now = self.load_past_memory(&meta.path).await?;
        Ok(now.witness != meta.witness || now.pin != meta.pin)
    }

    /// Whether a live piece of work holds the path or an ancestor.
    async fn at_work(&self, path: &FilePath) -> Result<bool> {
        for intent in self.inner.metadata.intents_on(path).await? {
            if intent.state == IntentState::Held && !self.is_abandoned(&intent).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Remembers the pin of a row that a foreign writer made, in the background: the next open is
    /// pinned. Skipped when many such writes are under way.
    pub(crate) fn remember_pin(&self, meta: &FileMeta, pin: Pin) {
        if !self.inner.metadata.is_separate() {
            return;
        }
        let Ok(permit) = self.inner.remembering.clone().try_acquire_owned() else { return };
        let change = Change::new()
            .guard(Guard::Unchanged { path: meta.path.clone(), witness: Some(meta.witness) })
            .op(Op::SetPin { path: meta.path.clone(), pin });
        let service = self.clone();
        tokio::spawn(async move {
            if let Err(e) = service.inner.metadata.apply(change).await {
                tracing::debug!(error = %e, "a pin was not remembered");
            }
            drop(permit);
        });
    }
}

/// What came of opening a version.
pub(crate) enum Attempt {
    Opened(Body),
    Differs(Difference),
}

/// How an object differs from its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Difference {
    Missing,
    Replaced,
    Size,
}

impl Difference {
    /// The kind of error it is where it cannot be mended.
    pub(crate) fn kind(self) -> ErrorKind {
        match self {
            Self::Missing => ErrorKind::MissingBytes,
            Self::Replaced => ErrorKind::Stale,
            Self::Size => ErrorKind::Corrupt,
        }
    }
}

fn body(meta: &FileMeta, range: Range<u64>, got: GetResult) -> Body {
    let stream = if range.is_empty() {
        futures::stream::empty().boxed()
    } else {
        got.into_stream().map_err(Error::from).boxed()
    };
    Body::new(meta, range, stream, false)
}

fn clamp(range: Range<u64>, size: u64) -> Range<u64> {
    let end = range.end.min(size);
    range.start.min(end)..end
}

pub(crate) fn definite(path: &FilePath, why: Difference) -> Error {
    match why {
        Difference::Missing => Error::new(
            ErrorKind::MissingBytes,
            format!("the bytes of `{path}` are gone; put it again, or delete it"),
        ),
        Difference::Replaced | Difference::Size => Error::new(
            ErrorKind::Corrupt,
            format!("the stored bytes of `{path}` do not belong to its row"),
        ),
    }
}

fn unsettled(path: &FilePath) -> Error {
    Error::new(ErrorKind::Busy, format!("`{path}` is being changed and did not settle in time"))
}
