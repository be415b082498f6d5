//! Rename of a file: the object, then both rows in one transaction.

use ezdfs_core::{
    Change, DirPath, Entry, Error, ErrorKind, FileMeta, FilePath, Guard, Intent, NewFile, Op, Pin,
    Result, Work,
};

use crate::binary::ObjectInfo;
use crate::hold::Held;
use crate::publish::is_directory;
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
        let token = self.inner.entropy.token();
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
        let mut held = self.hold(&self.rename_intents(from, to, token, false)).await?;
        let renamed = self.rename_held(from, to, overwrite, &mut held).await;
        match renamed {
            Ok(()) => Ok(()),
            // Refused before anything was moved.
            Err(RenameError::Refused(e)) => {
                self.release(held, false).await;
                Err(e)
            }
            // Something may have moved: the rows stay and are rolled forward.
            Err(RenameError::Broken(e)) => Err(e),
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
        let source = self.load(from).await?;
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

    async fn rename_held(
        &self,
        from: &FilePath,
        to: &FilePath,
        overwrite: bool,
        held: &mut Held,
    ) -> Result<(), RenameError> {
        use RenameError::{Broken, Refused};
        let mut source = self.check_rename(from, to, overwrite).await.map_err(Refused)?;
        if source.pin.is_none() {
            let key = self.inner.binary.key(from).map_err(Refused)?;
            let object = self.inner.binary.head(&key).await.map_err(Refused)?;
            source.pin = object.and_then(|o| o.pin);
        }
        self.parents_are_directories(to).await.map_err(Refused)?;
        self.refresh(held).await.map_err(Refused)?;
        let pin = self.move_object(&source, to).await.map_err(|e| match e.kind() {
            ErrorKind::IsDirectory | ErrorKind::NotDirectory | ErrorKind::NameTooLong => Refused(e),
            ErrorKind::NotFound => Refused(e.context(format_args!("the bytes of `{from}`"))),
            _ => Broken(e),
        })?;
        self.commit_rename(&source, to, pin, held).await.map_err(Broken)
    }

    /// Moves or copies the object; the new pin. A store without rename keeps the source for the
    /// reaper.
    pub(crate) async fn move_object(
        &self,
        source: &FileMeta,
        to: &FilePath,
    ) -> Result<Option<Pin>> {
        let binary = &self.inner.binary;
        let (from_key, to_key) = (binary.key(&source.path)?, binary.key(to)?);
        if binary.capabilities.atomic_rename {
            binary.move_over(&from_key, &to_key).await?;
        } else {
            binary.copy_over(&from_key, &to_key).await?;
        }
        let object = binary.head(&to_key).await?;
        Ok(object.and_then(|o| o.pin))
    }

    /// Both rows in one transaction.
    async fn commit_rename(
        &self,
        source: &FileMeta,
        to: &FilePath,
        pin: Option<Pin>,
        held: &Held,
    ) -> Result<()> {
        let change = Change::new().guard(Guard::Holds(held.token));
        let change = self
            .rename_ops(change, source, to, pin)
            .await?
            .op(Op::EndHold { token: held.token, keep: false });
        self.inner.metadata.apply(change).await
    }

    /// The rows of one moved file; on a store without rename the source's bytes are queued.
    pub(crate) async fn rename_ops(
        &self,
        change: Change,
        source: &FileMeta,
        to: &FilePath,
        pin: Option<Pin>,
    ) -> Result<Change> {
        let mut change = change
            .op(Op::RemoveFile(source.path.clone()))
            .op(Op::PutFile { path: to.clone(), file: moved(source, pin) });
        if !self.inner.binary.capabilities.atomic_rename {
            let token = self.inner.entropy.token();
            let key = self.reap_key(&source.path, token)?;
            let not_before = self.inner.metadata.now().await?.plus(self.inner.options.delete_grace);
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

    /// Abandoned rename: finished if the object has moved, dropped if not.
    pub(crate) async fn roll_rename(&self, abandoned: &Intent) -> Result<()> {
        let Some((from, to)) = self.ends_of(abandoned).await? else {
            return self.end_abandoned(abandoned).await;
        };
        let token = self.inner.entropy.token();
        let rows = self.rename_intents(&from, &to, token, abandoned.subtree).to_vec();
        let held = self.take_over(abandoned, rows).await?;
        if abandoned.subtree {
            return self.finish_rename_dir(&from, &to, held).await;
        }
        let source = self.inner.metadata.record(&from).await?.file(&from);
        let Some(source) = source.filter(|f| f.witness.mtime > 0 && !f.witness.expired) else {
            self.release(held, false).await;
            return Ok(());
        };
        let to_key = self.inner.binary.key(&to)?;
        let at_target = self.inner.binary.head(&to_key).await?;
        match at_target.filter(|o| is_version(o, &source)) {
            Some(object) => self.commit_rename(&source, &to, object.pin, &held).await,
            None => {
                self.release(held, false).await;
                Ok(())
            }
        }
    }

    /// Both ends of a rename, from either row.
    async fn ends_of(&self, row: &Intent) -> Result<Option<(FilePath, FilePath)>> {
        if let Work::Rename { to: Some(to) } = &row.work {
            return Ok(Some((row.path.clone(), to.clone())));
        }
        let due = self
            .inner
            .metadata
            .due(ezdfs_core::IntentState::Held, ezdfs_core::Timestamp::from_nanos(i64::MAX), 10_000)
            .await?;
        Ok(due.into_iter().find_map(|i| match i.work {
            Work::Rename { to: Some(to) } if i.token == row.token => Some((i.path, to)),
            _ => None,
        }))
    }
}

/// Whether an object is this version under its old pin or by its token.
pub(crate) fn is_version(object: &ObjectInfo, file: &FileMeta) -> bool {
    (object.pin.is_some() && object.pin == file.pin)
        || (object.token.is_some() && object.token == file.token)
}

enum RenameError {
    Refused(Error),
    Broken(Error),
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
