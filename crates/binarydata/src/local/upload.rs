//! Multipart upload: parts are written to a staged file as they come; nothing is buffered.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use ezdfs_core::{Error, ErrorKind, Pin, Seal};
use futures::future::FutureExt as _;
use object_store::path::Path as ObjectKey;
use object_store::{MultipartUpload, PutPayload, PutResult, UploadPart};

use super::blocking;
use super::disk::Disk;
use super::fault::{Doing, Fault};
use super::identity::Identity;
use super::place::Onto;
use super::staged::Staged;

/// An upload, as its owner drives it.
#[derive(Debug)]
pub(super) struct Upload {
    disk: Arc<Disk>,
    key: ObjectKey,
    shared: Arc<Shared>,
    /// Where the next part goes: the order of the calls of `put_part`, not of their completion.
    offset: u64,
}

/// What parts and seal work on.
#[derive(Debug)]
struct Shared {
    staged: Staged,
    /// Bytes that arrived on disk.
    written: AtomicU64,
    /// Bytes that were announced.
    announced: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Open,
    Sealed(Identity),
    Ended,
}

impl Upload {
    pub(super) fn new(disk: Arc<Disk>, key: ObjectKey, staged: Staged) -> Self {
        let shared = Shared {
            staged,
            written: AtomicU64::new(0),
            announced: AtomicU64::new(0),
            state: Mutex::new(State::Open),
        };
        Self { disk, key, shared: Arc::new(shared), offset: 0 }
    }

    /// The seal of this upload.
    pub(super) fn seal(&self) -> Arc<dyn Seal> {
        Arc::new(UploadSeal { key: self.key.clone(), shared: self.shared.clone() })
    }
}

impl Shared {
    fn write(&self, part: &PutPayload, offset: u64) -> Result<(), Fault> {
        self.staged.write_at(part, offset)?;
        self.written.fetch_add(length(part)?, Ordering::SeqCst);
        Ok(())
    }

    /// Makes the bytes durable, once; says the same identity ever after.
    fn seal(&self) -> Result<Identity, Fault> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match *state {
            State::Sealed(identity) => return Ok(identity),
            State::Ended => return Err(ended()),
            State::Open => {}
        }
        let (written, announced) =
            (self.written.load(Ordering::SeqCst), self.announced.load(Ordering::SeqCst));
        if written != announced {
            let text = format!(
                "{written} of {announced} bytes were written: await every part before the upload \
                 is completed"
            );
            return Err(Error::new(ErrorKind::Internal, text).into());
        }
        let identity = self.staged.seal(written)?;
        *state = State::Sealed(identity);
        Ok(identity)
    }

    fn is_open(&self) -> bool {
        // Never waits: while the lock is taken the upload is being sealed.
        self.state.try_lock().is_ok_and(|state| matches!(*state, State::Open))
    }

    fn end(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::Ended;
    }
}

fn ended() -> Fault {
    let text = "the upload was completed, aborted or sealed already; start another one";
    Error::new(ErrorKind::Internal, text).into()
}

fn length(part: &PutPayload) -> Result<u64, Fault> {
    Ok(u64::try_from(part.content_length()).map_err(|_| rustix::io::Errno::FBIG)?)
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let doing = Doing::write("write", &self.key);
        let offset = self.offset;
        let end =
            length(&data).and_then(|n| offset.checked_add(n).ok_or(rustix::io::Errno::FBIG.into()));
        let end = match end {
            Ok(end) if self.shared.is_open() => end,
            Ok(_) => return futures::future::ready(Err(doing.failed(ended()))).boxed(),
            Err(fault) => return futures::future::ready(Err(doing.failed(fault))).boxed(),
        };
        self.offset = end;
        self.shared.announced.store(end, Ordering::SeqCst);
        let shared = self.shared.clone();
        blocking(doing, move || shared.write(&data, offset)).boxed()
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        let (disk, shared, key) = (self.disk.clone(), self.shared.clone(), self.key.clone());
        blocking(Doing::write("write", &self.key), move || {
            let identity = shared.seal()?;
            disk.place(&shared.staged, key.as_ref(), &Onto::Any)?;
            shared.end();
            Ok(PutResult {
                e_tag: Some(identity.etag()),
                version: None,
                extensions: object_store::Extensions::default(),
            })
        })
        .await
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        let shared = self.shared.clone();
        blocking(Doing::write("abort the upload of", &self.key), move || {
            shared.end();
            shared.staged.discard()
        })
        .await
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.shared.staged.is_gone() {
            return;
        }
        let shared = self.shared.clone();
        // Explicitly, because a seal that is still held keeps the staged file; and not on an
        // async worker, because unlink(2) may wait for a server.
        let discard = move || {
            shared.end();
            if let Err(fault) = shared.staged.discard() {
                tracing::warn!(?fault, "a staged file stays until the next sweep");
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(discard)),
            Err(_) => discard(),
        }
    }
}

#[derive(Debug)]
struct UploadSeal {
    key: ObjectKey,
    shared: Arc<Shared>,
}

#[async_trait]
impl Seal for UploadSeal {
    async fn seal(&self) -> ezdfs_core::Result<Pin> {
        let shared = self.shared.clone();
        let identity = blocking(Doing::write("sync", &self.key), move || shared.seal()).await?;
        Pin::new(Some(&identity.etag()), None)
            .ok_or_else(|| Error::new(ErrorKind::Internal, "a file without an etag"))
    }
}
