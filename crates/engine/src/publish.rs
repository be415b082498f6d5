//! Publish: makes a staged version visible, whole, in one step.
//!
//! Stage, pending row, check, object, one transaction. Whatever goes wrong after the pending row
//! was written is finished by [`crate::reconcile`].

use bytes::Bytes;
use ezdfs_core::{
    Change, DirPath, Entry, Error, ErrorKind, FileMeta, FilePath, Guard, NewFile, Op, Pin, Record,
    Replaces, Result, Sha256, Timestamp, Work,
};
use futures::{Stream, StreamExt as _};

use crate::hold::Held;
use crate::mtime;
use crate::precondition::Precondition;
use crate::rename::is_refusal;
use crate::service::FileService;
use crate::upload::Upload;

/// How often an object that is not the expected one is looked at and replaced.
const REPLACE_TRIES: u32 = 3;

/// What a publish sets beyond the bytes.
#[derive(Debug, Clone, Default)]
pub struct PublishOptions {
    /// What must hold of the present version.
    pub precondition: Precondition,
    /// Media type; guessed from the name if `None`.
    pub datatype: Option<String>,
    /// An exact mtime (migration keeps the source's); `None` for now.
    pub mtime: Option<Timestamp>,
    /// From then on the file does not exist for a reader.
    pub expires: Option<Timestamp>,
    /// Permission bits; `None` keeps those of the present version.
    pub mode: Option<u32>,
    /// Owner; `None` keeps that of the present version.
    pub uid: Option<u32>,
    /// Group; `None` keeps that of the present version.
    pub gid: Option<u32>,
}

/// A version that is now visible and durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Bytes.
    pub size: u64,
    /// Digest of the bytes.
    pub sha256: Sha256,
    /// True mtime.
    pub mtime: Timestamp,
    /// Media type.
    pub datatype: String,
    /// Entity tag.
    pub etag: ezdfs_core::ETag,
    /// Whether no version was visible before.
    pub created: bool,
}

impl FileService {
    /// Publishes a stream as a new version of `path`.
    ///
    /// # Errors
    /// What the stream fails with (and then nothing was published), [`ErrorKind::IsDirectory`],
    /// [`ErrorKind::NotDirectory`], [`ErrorKind::PreconditionFailed`], or a fault: then the write
    /// is not acknowledged, and may still appear later, whole.
    pub async fn publish<S>(
        &self,
        path: &FilePath,
        body: S,
        options: PublishOptions,
    ) -> Result<Published>
    where
        S: Stream<Item = Result<Bytes>> + Send,
    {
        let mut upload = self.stage(path, options.datatype.as_deref()).await?;
        let mut body = std::pin::pin!(body);
        while let Some(chunk) = body.next().await {
            let written = match chunk {
                Ok(bytes) => upload.write(bytes).await,
                Err(e) => Err(e),
            };
            if let Err(e) = written {
                upload.discard().await;
                return Err(e);
            }
        }
        upload.publish(options).await
    }
}

impl Upload {
    /// Makes the staged bytes the visible version of the path.
    ///
    /// # Errors
    /// As [`FileService::publish`].
    pub async fn publish(mut self, options: PublishOptions) -> Result<Published> {
        let service = self.service.clone();
        let sealed = match self.seal().await {
            Ok(sealed) => sealed,
            Err(e) => {
                self.discard().await;
                return Err(e);
            }
        };
        if service.inner.metadata.is_separate() {
            service.publish_held(self, sealed, options).await
        } else {
            service.publish_object(self, sealed, options).await
        }
    }

    async fn seal(&mut self) -> Result<Sealed> {
        let (size, sha256) = self.finish().await?;
        let pin = match self.seal.get() {
            Some(seal) => Some(seal.seal().await?),
            None => None,
        };
        Ok(Sealed { size, sha256, pin })
    }
}

/// What is known of staged bytes before they are in place.
struct Sealed {
    size: u64,
    sha256: Sha256,
    /// The pin that the object will carry, where the store can tell.
    pin: Option<Pin>,
}

impl FileService {
    /// Steps 2 to 6 of the protocol.
    async fn publish_held(
        &self,
        mut upload: Upload,
        sealed: Sealed,
        options: PublishOptions,
    ) -> Result<Published> {
        let intents = || {
            let work = Work::Publish {
                size: sealed.size,
                sha256: sealed.sha256,
                datatype: upload.datatype.clone(),
                mtime: options.mtime.unwrap_or_else(|| self.inner.clock.now()),
                expires: options.expires,
                pin: sealed.pin.clone(),
            };
            vec![self.intent(&upload.path, upload.token, work)]
        };
        let mut held = match self.hold_as_of(intents).await {
            Ok(held) => held,
            Err(e) => {
                upload.discard().await;
                return Err(e);
            }
        };
        let present = match self.check_publish(&upload.path, &options.precondition).await {
            Ok(present) => present,
            Err(e) => {
                upload.discard().await;
                self.release(held, false).await;
                return Err(e);
            }
        };
        let mtime = options.mtime.unwrap_or_else(|| {
            mtime::next(self.inner.clock.now(), present.as_ref().map(|f| f.mtime))
        });
        if let Err(e) = self.refresh(&mut held).await {
            upload.discard().await;
            self.release(held, false).await;
            return Err(e);
        }
        let expected = Expected { present: present.as_ref(), precondition: &options.precondition };
        let put = self.put_in_place_of(&mut upload, sealed.size, expected, &mut held).await;
        let (pin, is_checked) = match put {
            Ok(put) => (put.pin.or(sealed.pin), put.is_checked),
            Err(NotPut { error, is_certain }) => {
                upload.discard().await;
                // The object may be in place all the same, or arrive yet: then the path stays
                // taken until the longest step is over, and is looked at again.
                if is_certain {
                    self.release(held, false).await;
                }
                return Err(self.name_trash(&upload.path, error).await);
            }
        };
        let file = NewFile {
            size: sealed.size,
            mtime,
            datatype: upload.datatype.clone(),
            sha256: Some(sealed.sha256),
            token: Some(upload.token),
            pin: pin.clone(),
            expires: options.expires,
            mode: options.mode,
            uid: options.uid,
            gid: options.gid,
        };
        let published = published(&file, sealed.sha256, present.is_none());
        self.commit(&upload.path, file, held, &options.precondition).await?;
        if !is_checked {
            self.look_after(&upload.path, pin.as_ref()).await;
        }
        Ok(published)
    }

    /// Step 3: the present version, if the preconditions hold of it.
    async fn check_publish(
        &self,
        path: &FilePath,
        precondition: &Precondition,
    ) -> Result<Option<FileMeta>> {
        let mut record = self.inner.metadata.record(path).await?;
        refuse_collision(path, &record)?;
        if record.node.is_none() && record.base.is_some() && self.inner.metadata.is_separate() {
            // A foreign row that is not materialised: it may turn out to be a directory, or to lie
            // below a file, and then its bytes must not be replaced. A listing materialises.
            self.inner.metadata.list(&path.parent(), None, 1).await?;
            record = self.inner.metadata.record(path).await?;
        }
        let present = match record.entry(path, self.inner.clock.now()) {
            Some(Entry::Directory(_)) => return Err(is_directory(path)),
            Some(Entry::File(file)) => Some(file),
            None => None,
        };
        precondition.check(present.as_ref())?;
        Ok(present)
    }

    /// Step 4: the object, in place of the version that was checked where the store can tell.
    /// Among ezdfs nodes the hold excludes others; this meets foreign writers, and objects of nodes
    /// that lost their hold, which arrive late.
    async fn put_in_place_of(
        &self,
        upload: &mut Upload,
        size: u64,
        expected: Expected<'_>,
        held: &mut Held,
    ) -> Result<Put, NotPut> {
        let capabilities = self.inner.binary.capabilities();
        if !capabilities.replace_slot {
            // On this machine a rename under the hold is one step.
            let is_checked = capabilities.atomic_rename;
            let pin = self.put_in_place(upload, held).await.map_err(NotPut::of)?;
            return Ok(Put { pin, is_checked });
        }
        let mut replaces = match expected.present {
            None => Replaces::Nothing,
            Some(FileMeta { pin: Some(pin), .. }) => Replaces::Version(pin.clone()),
            // A foreign row tells no pin: what is there is asked where that is of use.
            Some(FileMeta { pin: None, .. }) if capabilities.conditions.put_match => {
                self.what_is_there(&upload.path).await?
            }
            Some(FileMeta { pin: None, .. }) => Replaces::Anything,
        };
        for _ in 0..REPLACE_TRIES {
            let is_checked = replaces != Replaces::Anything && capabilities.heeds(size, &replaces);
            upload.replaces.set(if is_checked { replaces } else { Replaces::Anything });
            match self.put_in_place(upload, held).await {
                Ok(pin) => return Ok(Put { pin, is_checked }),
                Err(e) if e.kind() == ErrorKind::PreconditionFailed => {
                    tracing::info!(path = %upload.path, "another object is there than its row says; it is replaced if the path is still ours");
                }
                Err(e) => return Err(NotPut::of(e)),
            }
            self.refresh(held).await.map_err(NotPut::certainly)?;
            let checked = self.check_publish(&upload.path, expected.precondition).await;
            checked.map_err(NotPut::certainly)?;
            replaces = self.what_is_there(&upload.path).await?;
        }
        Err(NotPut::certainly(Error::new(
            ErrorKind::Busy,
            format!("cannot publish `{}`: other programs keep replacing it", upload.path),
        )))
    }

    async fn what_is_there(&self, path: &FilePath) -> Result<Replaces, NotPut> {
        let found = async { self.inner.binary.head(&self.inner.binary.key(path)?).await };
        match found.await.map_err(NotPut::certainly)? {
            None => Ok(Replaces::Nothing),
            Some(object) => Ok(object.pin.map_or(Replaces::Anything, Replaces::Version)),
        }
    }

    /// After step 5 where the store could not tell: if somebody else's object is there, rows and
    /// object are brought into agreement now, and not when the first reader meets them. The publish
    /// was done either way.
    async fn look_after(&self, path: &FilePath, pin: Option<&Pin>) {
        let looked = async {
            let there = self.inner.binary.head(&self.inner.binary.key(path)?).await?;
            if there.and_then(|object| object.pin).as_ref() == pin {
                return Ok(());
            }
            self.reconcile(path).await
        };
        if let Err(e) = looked.await {
            tracing::debug!(%path, error = %e, "a new object was not looked at again; its readers will");
        }
    }

    /// However long the store takes, as far as the lease can be renewed.
    async fn put_in_place(&self, upload: &mut Upload, held: &mut Held) -> Result<Option<Pin>> {
        let complete = upload.upload.complete();
        let put = self.while_held(held, self.inner.options.put_timeout, complete).await;
        match put.and_then(|put| put.map_err(Error::from)) {
            Ok(put) => Ok(Pin::new(put.e_tag.as_deref(), put.version.as_deref())),
            Err(e) => Err(e.context(format_args!("cannot publish `{}`", upload.path))),
        }
    }

    /// Files in the trash keep their place in the store; says so where they are in the way.
    async fn name_trash(&self, path: &FilePath, e: Error) -> Error {
        if e.kind() != ErrorKind::IsDirectory {
            return e;
        }
        let below = DirPath::from(path.clone());
        match self.inner.metadata.tombstones(&below, None, 1).await {
            Ok(deleted) if !deleted.is_empty() => Error::new(
                ErrorKind::IsDirectory,
                format!(
                    "`{path}` is still the directory of files in the trash; restore them, or \
                     remove them for good (`ezdfs trash purge -r {path}`)"
                ),
            ),
            _ => e,
        }
    }

    /// Step 5: rows and pending row in one transaction.
    async fn commit(
        &self,
        path: &FilePath,
        file: NewFile,
        held: Held,
        precondition: &Precondition,
    ) -> Result<()> {
        let (token, pin) = (file.token, file.pin.clone());
        let change = Change::new()
            .guard(Guard::Holds(held.token))
            .op(Op::PutFile { path: path.clone(), file })
            .op(Op::EndHold { token: held.token, keep: false });
        let Err(e) = self.inner.metadata.apply(change).await else { return Ok(()) };
        match e.kind() {
            // Refused for good: a directory or a file is in the way. The object must not stay
            // where the next row of that path would find it.
            kind if is_refusal(kind) => {
                self.remove_unnamed(path, pin.as_ref(), &held).await;
                self.release(held, false).await;
                Err(e)
            }
            // Another node took the path over after a pause. What is visible now decides; only
            // the precondition was checked too early to be called fulfilled.
            ErrorKind::LostHold => {
                self.reconcile(path).await?;
                let record = self.inner.metadata.record(path).await?;
                let is_ours = record.file(path).is_some_and(|f| f.token == token);
                if is_ours && *precondition == Precondition::None { Ok(()) } else { Err(e) }
            }
            // Unknown whether it was applied: the row is rolled forward, or is gone already.
            _ => Err(e.context(format_args!("cannot publish `{path}`"))),
        }
    }

    /// Publish where the object is the only truth (`default` metadata): no pending row, and
    /// preconditions as atomic as the store makes them.
    async fn publish_object(
        &self,
        mut upload: Upload,
        sealed: Sealed,
        options: PublishOptions,
    ) -> Result<Published> {
        let present = match self.check_publish(&upload.path, &options.precondition).await {
            Ok(present) => present,
            Err(e) => {
                upload.discard().await;
                return Err(e);
            }
        };
        let version = present.as_ref().and_then(|file| file.pin.clone());
        let replaces = match (&options.precondition, version) {
            (Precondition::Absent, _) => Replaces::Nothing,
            (Precondition::Matches(_) | Precondition::Present, Some(pin)) => Replaces::Version(pin),
            (Precondition::None | Precondition::Matches(_) | Precondition::Present, _) => {
                Replaces::Anything
            }
        };
        if self.inner.binary.capabilities().heeds(sealed.size, &replaces) {
            upload.replaces.set(replaces);
        }
        let put = upload.upload.complete().await.map_err(|e| {
            Error::from(e).context(format_args!("cannot publish `{}`", upload.path))
        })?;
        let file = NewFile {
            size: sealed.size,
            mtime: self.inner.clock.now(),
            datatype: upload.datatype.clone(),
            sha256: Some(sealed.sha256),
            token: Some(upload.token),
            pin: Pin::new(put.e_tag.as_deref(), put.version.as_deref()),
            expires: None,
            mode: None,
            uid: None,
            gid: None,
        };
        Ok(published(&file, sealed.sha256, present.is_none()))
    }
}

/// What a publish found and may replace.
#[derive(Clone, Copy)]
struct Expected<'a> {
    present: Option<&'a FileMeta>,
    precondition: &'a Precondition,
}

/// An object that is in place.
struct Put {
    pin: Option<Pin>,
    /// It replaced what was expected, and nothing else.
    is_checked: bool,
}

/// Why an object is not in place, or may not be.
struct NotPut {
    error: Error,
    /// It is not, and will not be.
    is_certain: bool,
}

impl NotPut {
    /// What the store answered.
    fn of(error: Error) -> Self {
        Self { is_certain: was_not_put(error.kind()), error }
    }

    fn certainly(error: Error) -> Self {
        Self { error, is_certain: true }
    }
}

/// The store says that the object was not put in place, and will not be.
fn was_not_put(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::IsDirectory
            | ErrorKind::NotDirectory
            | ErrorKind::NameTooLong
            | ErrorKind::InvalidPath
            | ErrorKind::PermissionDenied
            | ErrorKind::PreconditionFailed
            | ErrorKind::ReadOnly
            | ErrorKind::NoSpace
            | ErrorKind::Unsupported
    )
}

fn published(file: &NewFile, sha256: Sha256, created: bool) -> Published {
    Published {
        size: file.size,
        sha256,
        mtime: file.mtime,
        datatype: file.datatype.clone(),
        etag: ezdfs_core::ETag::Strong(sha256.to_string()),
        created,
    }
}

/// Two names with one MD5 share one row: the second one is refused (abuse case 57).
pub(crate) fn refuse_collision(path: &FilePath, record: &Record) -> Result<()> {
    if record.collision {
        tracing::error!(%path, "another name with the same MD5 is stored: somebody crafted it");
        return Err(Error::new(
            ErrorKind::HashCollision,
            format!("`{path}` cannot be stored: another name has the same MD5"),
        ));
    }
    Ok(())
}

pub(crate) fn is_directory(path: &FilePath) -> Error {
    Error::new(ErrorKind::IsDirectory, format!("`{path}` is a directory"))
}
