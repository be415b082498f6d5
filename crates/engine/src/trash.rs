//! Trash: soft-deleted files, ours and those of eZ Publish, listed, restored, purged.

use ezdfs_core::{
    Change, DirPath, Error, ErrorKind, FileMeta, FilePath, Guard, NewFile, Op, Record, Result,
    Tombstone, Work,
};

use crate::binary::ObjectInfo;
use crate::hold::Held;
use crate::rename::{is_version, moved};
use crate::service::FileService;

impl FileService {
    /// A page of soft-deleted files in byte order of their names, starting after `after`.
    ///
    /// # Errors
    /// A database error.
    pub async fn trash(
        &self,
        dir: &DirPath,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Tombstone>> {
        self.inner.metadata.tombstones(dir, after, limit).await
    }

    /// Makes a soft-deleted file visible again.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it is not in the trash, [`ErrorKind::AlreadyExists`] when a
    /// visible file took its place, [`ErrorKind::MissingBytes`] when its bytes are gone.
    pub async fn restore(&self, path: &FilePath) -> Result<()> {
        let held = self.hold_for(path, Work::Repair).await?;
        let restored = self.restore_held(path, &held).await;
        self.release(held, false).await;
        restored
    }

    async fn restore_held(&self, path: &FilePath, held: &Held) -> Result<()> {
        let record = self.inner.metadata.record(path).await?;
        let file = in_trash(path, &record)?;
        let object = self.inner.binary.head(&self.inner.binary.key(path)?).await?;
        let Some(object) = object else { return Err(bytes_are_gone(path)) };
        if !self.keeping(held, self.is_of_row(&file, &object)).await? {
            return Err(bytes_are_gone(path));
        }
        let revived = NewFile { expires: None, ..moved(&file, object.pin) };
        let mut change = Change::new()
            .guard(Guard::Holds(held.token))
            .guard(Guard::Unchanged { path: path.clone(), witness: record.witness() })
            .op(Op::PutFile { path: path.clone(), file: revived });
        for reap in self.reaps_of(path, file.pin.as_ref()).await? {
            change = change.op(Op::Forget(reap.id));
        }
        self.inner.metadata.apply(change).await
    }

    /// Whether an object is the version of a hidden row. Another one may lie there: a foreign
    /// writer writes the bytes first. Pins change when a store is restored; then the digest tells,
    /// or size and mtime.
    async fn is_of_row(&self, file: &FileMeta, object: &ObjectInfo) -> Result<bool> {
        if object.size != file.size {
            return Ok(false);
        }
        if file.pin.is_none() || is_version(object, file) {
            return Ok(true);
        }
        match (file.sha256, &object.pin) {
            (Some(digest), Some(pin)) => Ok(self.digest(&file.path, pin).await? == digest),
            _ => Ok(object.mtime.secs() == file.mtime.secs()),
        }
    }

    /// Removes a soft-deleted file for good, its bytes at once.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it is not in the trash, or a fault.
    pub async fn purge(&self, path: &FilePath) -> Result<()> {
        let held = self.hold_for(path, Work::Delete).await?;
        let purged = self.purge_held(path, &held).await;
        self.release(held, false).await;
        purged
    }

    async fn purge_held(&self, path: &FilePath, held: &Held) -> Result<()> {
        let record = self.inner.metadata.record(path).await?;
        let file = in_trash(path, &record)?;
        let pin = match file.pin {
            Some(pin) => Some(pin),
            None => {
                self.inner.binary.head(&self.inner.binary.key(path)?).await?.and_then(|o| o.pin)
            }
        };
        let now = self.inner.metadata.now().await?;
        let limbo = self.reap_key(path, held.token)?;
        let reap = self.reap_intent(path, held.token, limbo.to_string(), pin.clone(), now);
        let mut change = Change::new()
            .guard(Guard::Holds(held.token))
            .guard(Guard::Unchanged { path: path.clone(), witness: record.witness() })
            .op(Op::RemoveFile(path.clone()))
            .op(Op::AddIntent(reap));
        for old in self.reaps_of(path, pin.as_ref()).await? {
            change = change.op(Op::Forget(old.id));
        }
        self.inner.metadata.apply(change).await?;
        self.to_limbo(path, &limbo, pin.as_ref()).await
    }

    async fn hold_for(&self, path: &FilePath, work: Work) -> Result<Held> {
        let intent = self.intent(path, self.inner.entropy.token(), work);
        self.hold(&[intent]).await
    }
}

fn bytes_are_gone(path: &FilePath) -> Error {
    Error::new(
        ErrorKind::MissingBytes,
        format!("the bytes of `{path}` are gone: it cannot be restored"),
    )
}

fn in_trash(path: &FilePath, record: &Record) -> Result<FileMeta> {
    match (&record.base, record.file(path)) {
        (Some(base), Some(_)) if base.visible() => Err(Error::new(
            ErrorKind::AlreadyExists,
            format!("`{path}` is not in the trash: it is visible"),
        )),
        (Some(_), Some(file)) => Ok(file),
        _ => Err(Error::new(ErrorKind::NotFound, format!("`{path}` is not in the trash"))),
    }
}
