//! Reading: open once, look at the open file, and hand it out in pieces that are checked.
//!
//! The bytes travel as a stream of our own and never as `GetResultPayload::File`: object_store
//! turns a file into a stream of 8 KiB pieces with one thread hop each, and loops for ever when
//! the file shrinks meanwhile, as it does when a PHP node truncates it in place.

use std::io::IoSliceMut;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use ezdfs_core::{Error, ErrorKind};
use futures::stream::{self, BoxStream, StreamExt as _};
use object_store::path::Path as ObjectKey;
use object_store::{GetOptions, GetRange, ObjectMeta};
use rustix::fs::{Mode, OFlags, fstat};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2, retry_on_intr};

use super::disk::Disk;
use super::fault::{Doing, Fault, STORE};
use super::identity::{Identity, is_object};

/// Largest piece of a stream, in bytes. A stream holds one piece, and its consumer another.
pub(super) const PIECE: u64 = 256 * 1024;

/// What a get found.
pub(super) struct Found {
    pub(super) meta: ObjectMeta,
    pub(super) range: Range<u64>,
    /// Already read with the look-up, so that a small object costs one thread hop.
    first: Vec<u8>,
    rest: Reader,
}

/// An open object and the part of it that is still to be read.
struct Reader {
    disk: Arc<Disk>,
    key: ObjectKey,
    file: Arc<OwnedFd>,
    identity: Identity,
    next: u64,
    end: u64,
}

impl Disk {
    /// Opens an object. ENOENT for anything that is not a regular file.
    pub(super) fn open_object(
        &self,
        root: &Arc<OwnedFd>,
        key: &str,
    ) -> Result<(OwnedFd, Identity), Errno> {
        // A FIFO would block without O_NONBLOCK. A plain open, and not O_PATH, because it is what
        // makes NFS ask the server for the attributes (close-to-open).
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let file = self.open_below(root, key, flags, Mode::empty())?;
        let stat = fstat(&file)?;
        if is_object(&stat) { Ok((file, Identity::of(&stat))) } else { Err(Errno::NOENT) }
    }

    /// Looks an object up, checks the conditions, and reads its first piece.
    pub(super) fn get(
        self: &Arc<Self>,
        key: &ObjectKey,
        options: &GetOptions,
    ) -> Result<Found, Fault> {
        if options.version.is_some() {
            let text = "a local store keeps no versions; leave `version` out";
            return Err(Error::new(ErrorKind::Unsupported, text).into());
        }
        self.fresh(|root| {
            let (file, identity) = self.open_object(root, key.as_ref())?;
            let meta = identity.meta(key.clone());
            options.check_preconditions(&meta)?;
            let range = match &options.range {
                Some(range) => within(range, identity.size())?,
                None => 0..identity.size(),
            };
            let mut found = Found {
                first: Vec::new(),
                rest: Reader {
                    disk: self.clone(),
                    key: key.clone(),
                    file: Arc::new(file),
                    identity,
                    next: range.start,
                    end: range.end,
                },
                meta,
                range,
            };
            if !options.head && !found.range.is_empty() {
                let n = found.rest.next_len();
                found.first = vec![0; n];
                fill(&found.rest.file, &mut found.first, found.rest.next)
                    .map_err(|f| found.rest.explain(f))?;
                found.rest.advance(n)?;
                found.rest.check_at_end()?;
            }
            Ok(found)
        })
    }

    /// Reads several ranges of one version.
    pub(super) fn get_ranges(&self, key: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, Fault> {
        self.fresh(|root| {
            let (file, identity) = self.open_object(root, key)?;
            let mut parts = Vec::with_capacity(ranges.len());
            for range in ranges {
                let range = within(&GetRange::Bounded(range.clone()), identity.size())?;
                let len = usize::try_from(range.end - range.start).map_err(|_| Errno::FBIG)?;
                let mut part = vec![0; len];
                fill(&file, &mut part, range.start).map_err(|f| short(f, key))?;
                parts.push(Bytes::from(part));
            }
            check(&file, identity, key)?;
            Ok(parts)
        })
    }
}

impl Found {
    /// The bytes of the range.
    pub(super) fn into_stream(self) -> BoxStream<'static, object_store::Result<Bytes>> {
        let first = (!self.first.is_empty()).then(|| Ok(Bytes::from(self.first)));
        let rest = stream::try_unfold(self.rest, |reader| async move {
            if reader.next >= reader.end {
                return Ok(None);
            }
            reader.next_piece().await.map(Some)
        });
        stream::iter(first).chain(rest).boxed()
    }
}

impl Reader {
    fn next_len(&self) -> usize {
        // PIECE fits any usize, and so does what is less.
        usize::try_from((self.end - self.next).min(PIECE)).unwrap_or_default()
    }

    fn advance(&mut self, n: usize) -> Result<(), Fault> {
        self.next = u64::try_from(n)
            .ok()
            .and_then(|n| self.next.checked_add(n))
            .filter(|next| *next <= self.end)
            .ok_or(Errno::OVERFLOW)?;
        Ok(())
    }

    /// The piece from the page cache if it is there, else read on a blocking thread.
    async fn next_piece(mut self) -> object_store::Result<(Bytes, Self)> {
        let doing = Doing::read("read", &self.key);
        let mut piece = vec![0; self.next_len()];
        let step = match self.cached(&mut piece) {
            Some(n) => {
                piece.truncate(n);
                // No hop for the last look either: network file systems do not take RWF_NOWAIT.
                self.advance(n).and_then(|()| self.check_at_end()).map(|()| (piece, self))
            }
            None => {
                let read = move || {
                    self.read(&mut piece)?;
                    self.advance(piece.len())?;
                    self.check_at_end()?;
                    Ok((piece, self))
                };
                tokio::task::spawn_blocking(read).await.map_err(|e| joined(&e))?
            }
        };
        step.map(|(piece, reader)| (Bytes::from(piece), reader)).map_err(|f| doing.failed(f))
    }

    /// How many bytes the page cache had; `None` when this must be asked on a blocking thread.
    fn cached(&self, piece: &mut [u8]) -> Option<usize> {
        if !self.disk.nowait.load(Ordering::Relaxed) {
            return None;
        }
        let mut slices = [IoSliceMut::new(piece)];
        match preadv2(&*self.file, &mut slices, self.next, ReadWriteFlags::NOWAIT) {
            // Nothing is the end of the file, which a plain read shall confirm.
            Ok(n) => (n > 0).then_some(n),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                self.disk.nowait.store(false, Ordering::Relaxed);
                None
            }
            Err(_) => None,
        }
    }

    /// Fills the piece. After ESTALE the key is opened again: the same version may still be there.
    fn read(&mut self, piece: &mut [u8]) -> Result<(), Fault> {
        match fill(&self.file, piece, self.next) {
            Err(Fault::Os(Errno::STALE)) => {}
            done => return done.map_err(|f| self.explain(f)),
        }
        let opened = self.disk.fresh(|root| Ok(self.disk.open_object(root, self.key.as_ref())?));
        match opened {
            Ok((file, identity)) if identity == self.identity => self.file = Arc::new(file),
            Ok(_) | Err(Fault::Os(Errno::NOENT)) => return Err(changed(&self.key)),
            Err(fault) => return Err(fault),
        }
        fill(&self.file, piece, self.next).map_err(|f| self.explain(f))
    }

    /// Before the last piece is handed out: is this still the version that was opened?
    fn check_at_end(&self) -> Result<(), Fault> {
        if self.next == self.end { check(&self.file, self.identity, &self.key) } else { Ok(()) }
    }

    fn explain(&self, fault: Fault) -> Fault {
        short(fault, &self.key)
    }
}

/// A range as far as the object reaches. As in object_store: a start behind the end, and an empty
/// range, are errors; an end behind the end is cut.
fn within(range: &GetRange, size: u64) -> Result<Range<u64>, Fault> {
    range.as_range(size).map_err(|e| {
        let text = format!("the range is not within the {size} bytes of the object");
        Error::new(ErrorKind::InvalidArgument, text).with_source(e).into()
    })
}

/// Reads until `piece` is full; ENODATA when the file ends before.
fn fill(file: &OwnedFd, piece: &mut [u8], offset: u64) -> Result<(), Fault> {
    let mut done = 0;
    while done < piece.len() {
        let at = u64::try_from(done).ok().and_then(|d| offset.checked_add(d)).ok_or(Errno::FBIG)?;
        match retry_on_intr(|| pread(file, &mut piece[done..], at))? {
            0 => return Err(Errno::NODATA.into()),
            n => done += n,
        }
    }
    Ok(())
}

fn check(file: &OwnedFd, identity: Identity, key: impl std::fmt::Display) -> Result<(), Fault> {
    if Identity::of(&fstat(file)?) == identity { Ok(()) } else { Err(changed(key)) }
}

fn short(fault: Fault, key: impl std::fmt::Display) -> Fault {
    match fault {
        Fault::Os(Errno::NODATA) => changed(key),
        fault => fault,
    }
}

/// Somebody wrote in place. Renames over the key do not lead here: the open file stays as it was.
pub(super) fn changed(key: impl std::fmt::Display) -> Fault {
    let text = format!("`{key}` was changed in place while it was read; read it again");
    Error::new(ErrorKind::Stale, text).into()
}

/// A blocking step panicked or the runtime is shutting down.
pub(super) fn joined(error: &tokio::task::JoinError) -> object_store::Error {
    let text = format!("a step on disk did not finish: {error}");
    object_store::Error::Generic {
        store: STORE,
        source: Box::new(Error::new(ErrorKind::Internal, text)),
    }
}
