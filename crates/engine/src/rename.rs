//! Rename of a file: the object, then both rows in one transaction.

use ezdfs_core::{
    BaseRow, Change, DirPath, Entry, Error, ErrorKind, FileMeta, FilePath, Guard, Intent, NewFile,
    Op, Pin, Result, Timestamp, Work,
};

use crate::binary::ObjectInfo;
use crate::decide::adopted;
use crate::hold::Held;
use crate::publish::is_directory;
use crate::read::{Difference, definite};
use crate::reconcile::Settled;
use crate::service::FileService;

/// What a rename moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renamed {
    /// Files.
    pub files: u64,
}

impl FileService {
    /// Renames a file or a directory. A file replaces a file if `overwrite`; a directory replaces
    /// nothing but an empty directory.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::AlreadyExists`], [`ErrorKind::IsDirectory`],
    /// [`ErrorKind::NotDirectory`], [`ErrorKind::NotEmpty`], [`ErrorKind::TooManyEntries`] above
    /// `rename_dir_max`, or a fault: then the rename is not acknowledged and may be finished
    /// later.
    pub async fn rename(&self, from: &FilePath, to: &FilePath, overwrite: bool) -> Result<Renamed> {
        if from == to {
            return self.entry(&DirPath::from(from.clone())).await.map(|_| Renamed { files: 0 });
        }
        match self.entry(&DirPath::from(from.clone())).await? {
            Entry::File(_) => {
                self.rename_file(from, to, overwrite).await?;
                Ok(Renamed { files: 1 })
            }
            Entry::Directory(_) => self.rename_dir(from, to).await,
        }
    }

    async fn rename_file(&self, from: &FilePath, to: &FilePath, overwrite: bool) -> Result<()> {
        if DirPath::from(to.clone()).contains(from) {
            return Err(is_directory(to));
        }
        if !self.inner.metadata.is_separate() {
            self.check_rename(from, to, overwrite).await?;
            let binary = &self.inner.binary;
            let (from, to) = (binary.key(from)?, binary.key(to)?);
            if binary.capabilities.atomic_rename {
                return binary.move_over(&from, &to).await;
            }
            binary.copy_over(&from, &to).await?;
            return binary.delete(&from).await;
        }
        let token = self.inner.entropy.token();
        let mut held = self.hold(&self.rename_intents(from, to, token, false)).await?;
        let prepared = self.prepare_rename(from, to, overwrite, &mut held).await;
        let source = match prepared {
            Ok(source) => source,
            // Refused before anything was moved.
            Err(e) => {
                self.release(held, false).await;
                return Err(e);
            }
        };
        // A server-side copy may take longer than a lease.
        let moved = match self.keeping(&held, self.move_object(source, to)).await {
            Ok(moved) => moved,
            Err(e) if was_not_moved(e.kind()) => {
                self.release(held, false).await;
                return Err(e.context(format_args!("cannot move the bytes of `{from}`")));
            }
            // It may have moved, or may move yet: the rows stay and are rolled forward.
            Err(e) => return Err(e),
        };
        match self.commit_rename(&moved, to, held).await {
            // Another node took the paths over after a pause. If the object moved after that, the
            // rename is finished, so that no name is left without its bytes.
            Err(e) if e.kind() == ErrorKind::LostHold => {
                let finished = self.end_late_move(&moved, to).await?;
                if finished && overwrite { Ok(()) } else { Err(e) }
            }
            other => other,
        }
    }

    pub(crate) fn rename_intents(
        &self,
        from: &FilePath,
        to: &FilePath,
        token: ezdfs_core::Token,
        subtree: bool,
    ) -> [Intent; 2] {
        let source = Work::Rename { to: Some(to.clone()) };
        [
            Intent { subtree, ..self.intent(from, token, source) },
            Intent { subtree, ..self.intent(to, token, Work::Rename { to: None }) },
        ]
    }

    async fn check_rename(
        &self,
        from: &FilePath,
        to: &FilePath,
        overwrite: bool,
    ) -> Result<FileMeta> {
        let source = self.load_past_memory(from).await?;
        let target = self.inner.metadata.record(to).await?;
        crate::publish::refuse_collision(to, &target)?;
        match target.entry(to, self.inner.clock.now()) {
            Some(Entry::Directory(_)) => Err(is_directory(to)),
            Some(Entry::File(_)) if !overwrite => {
                Err(Error::new(ErrorKind::AlreadyExists, format!("`{to}` exists already")))
            }
            _ => Ok(source),
        }
    }

    /// Checks both ends and brings row and object of the source into agreement: what moves must
    /// be the version that the row describes.
    async fn prepare_rename(
        &self,
        from: &FilePath,
        to: &FilePath,
        overwrite: bool,
        held: &mut Held,
    ) -> Result<FileMeta> {
        let mut source = self.check_rename(from, to, overwrite).await?;
        self.parents_are_directories(to).await?;
        let from_key = self.inner.binary.key(from)?;
        let mut object = self.inner.binary.head(&from_key).await?;
        if object.as_ref().is_none_or(|o| o.size != source.size || !carries_pin(o, &source)) {
            if let Settled::LateRename { .. } = self.settle(from, held).await? {
                return Err(Error::new(ErrorKind::Busy, format!("`{from}` is being repaired")));
            }
            source = self.check_rename(from, to, overwrite).await?;
            object = self.inner.binary.head(&from_key).await?;
        }
        let Some(object) = object else { return Err(definite(from, Difference::Missing)) };
        if object.size != source.size || !carries_pin(&object, &source) {
            return Err(definite(from, Difference::Replaced));
        }
        self.refresh(held).await?;
        Ok(FileMeta { pin: object.pin, ..source })
    }

    /// Moves or copies the object. A store without rename keeps the source for the reaper.
    pub(crate) async fn move_object(&self, source: FileMeta, to: &FilePath) -> Result<Moved> {
        let binary = &self.inner.binary;
        let (from_key, to_key) = (binary.key(&source.path)?, binary.key(to)?);
        if binary.capabilities.atomic_rename {
            binary.move_over(&from_key, &to_key).await?;
        } else {
            binary.copy_over(&from_key, &to_key).await?;
        }
        let object = binary.head(&to_key).await.map_err(|e| {
            // Too late for a refusal: the object has moved.
            Error::new(ErrorKind::Unavailable, format!("`{to}` is in place unchecked"))
                .with_source(e)
        })?;
        self.moved(source, object).await
    }

    /// What is at the target after a move. A foreign writer may have replaced the source between
    /// the check and the move: then its bytes have moved, and the row must not call them by the
    /// size and digest of the version before.
    async fn moved(&self, source: FileMeta, object: Option<ObjectInfo>) -> Result<Moved> {
        let binary = &self.inner.binary;
        let Some(object) = object else {
            // Deleted at once by a foreign writer; the row shows that its bytes are missing.
            let file = moved(&source, None);
            return Ok(Moved { source, file });
        };
        // Of a version with a token, the copy has it too. Without one nothing is claimed of the
        // bytes but their size.
        let is_same = is_version(&object, &source)
            || (!binary.capabilities.atomic_rename
                && source.token.is_none()
                && source.sha256.is_none()
                && object.size == source.size
                && binary.head(&binary.key(&source.path)?).await?.and_then(|o| o.pin)
                    == source.pin);
        let file = if is_same { moved(&source, object.pin) } else { adopted(&source, &object) };
        Ok(Moved { source, file })
    }

    /// Both rows in one transaction. If it is refused for good the object goes back.
    pub(crate) async fn commit_rename(
        &self,
        moved: &Moved,
        to: &FilePath,
        held: Held,
    ) -> Result<()> {
        let not_before = self.inner.metadata.now().await?.plus(self.inner.options.delete_grace);
        let change = Change::new().guard(Guard::Holds(held.token));
        let change = self
            .rename_ops(change, moved, to, not_before)?
            .op(Op::EndHold { token: held.token, keep: false });
        match self.inner.metadata.apply(change).await {
            Err(e) if is_refusal(e.kind()) => {
                self.move_back(moved, to, &held).await?;
                self.release(held, false).await;
                Err(e)
            }
            other => other,
        }
    }

    /// Undoes the move of a rename whose transaction was refused: something foreign is in the way.
    pub(crate) async fn move_back(&self, moved: &Moved, to: &FilePath, held: &Held) -> Result<()> {
        let binary = &self.inner.binary;
        let there = self.inner.metadata.record(to).await?;
        if there.base.as_ref().is_some_and(BaseRow::visible)
            && there.file(to).is_some_and(|row| {
                (row.pin.is_some() && row.pin == moved.file.pin)
                    || (row.token.is_some() && row.token == moved.file.token)
            })
        {
            // Somebody has finished the rename.
            return Ok(());
        }
        if !binary.capabilities.atomic_rename {
            self.remove_unnamed(to, moved.file.pin.as_ref(), held).await;
            return Ok(());
        }
        match binary.move_new(&binary.key(to)?, &binary.key(&moved.source.path)?).await {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// The rows of one moved file; on a store without rename the source's bytes are queued.
    pub(crate) fn rename_ops(
        &self,
        change: Change,
        moved: &Moved,
        to: &FilePath,
        not_before: Timestamp,
    ) -> Result<Change> {
        let source = &moved.source;
        let mut change = change
            .op(Op::RemoveFile(source.path.clone()))
            .op(Op::PutFile { path: to.clone(), file: moved.file.clone() });
        if !self.inner.binary.capabilities.atomic_rename && source.pin.is_some() {
            let token = self.inner.entropy.token();
            let key = self.reap_key(&source.path, token)?;
            change = change.op(Op::AddIntent(self.reap_intent(
                &source.path,
                token,
                key.to_string(),
                source.pin.clone(),
                not_before,
            )));
        }
        Ok(change)
    }

    /// Every directory above `path` is one, or does not exist yet.
    pub(crate) async fn parents_are_directories(&self, path: &FilePath) -> Result<()> {
        for ancestor in path.ancestors() {
            let record = self.inner.metadata.record(&ancestor).await?;
            match record.entry(&ancestor, self.inner.clock.now()) {
                Some(Entry::File(_)) => return Err(crate::delete_dir::not_directory(&ancestor)),
                Some(Entry::Directory(_)) => return Ok(()),
                None => {}
            }
        }
        Ok(())
    }
}

/// A file whose object is at its new key.
#[derive(Debug)]
pub(crate) struct Moved {
    /// The version as its old row says.
    pub(crate) source: FileMeta,
    /// What its new row says.
    pub(crate) file: NewFile,
}

/// Whether an object is this version under its old pin or by its token.
pub(crate) fn is_version(object: &ObjectInfo, file: &FileMeta) -> bool {
    carries_known_pin(object, file) || (object.token.is_some() && object.token == file.token)
}

fn carries_known_pin(object: &ObjectInfo, file: &FileMeta) -> bool {
    object.pin.is_some() && object.pin == file.pin
}

/// The same, or the pin of the row is unknown.
fn carries_pin(object: &ObjectInfo, file: &FileMeta) -> bool {
    file.pin.is_none() || carries_known_pin(object, file)
}

/// A step that failed for good: nothing was changed by it, nor will be.
pub(crate) fn was_not_moved(kind: ErrorKind) -> bool {
    is_refusal(kind)
        || matches!(
            kind,
            ErrorKind::NotFound
                | ErrorKind::AlreadyExists
                | ErrorKind::PermissionDenied
                | ErrorKind::ReadOnly
                | ErrorKind::NoSpace
                | ErrorKind::Unsupported
        )
}

/// The transaction cannot ever succeed: something is in the way, or the database cannot hold the
/// name.
pub(crate) fn is_refusal(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::IsDirectory
            | ErrorKind::NotDirectory
            | ErrorKind::HashCollision
            | ErrorKind::TooLarge
            | ErrorKind::NameTooLong
            | ErrorKind::InvalidPath
    )
}

/// The version of a file under its new name: nothing changes but the pin.
pub(crate) fn moved(source: &FileMeta, pin: Option<Pin>) -> NewFile {
    NewFile {
        size: source.size,
        mtime: source.mtime,
        datatype: source.datatype.clone(),
        sha256: source.sha256,
        token: source.token,
        pin,
        expires: source.expires,
        mode: source.attrs.mode,
        uid: source.attrs.uid,
        gid: source.attrs.gid,
    }
}
