//! Guards and steps of a change, as far as objects know them.

use ezdfs_core::{
    Change, DirPath, Entry, Error, ErrorKind, FilePath, Guard, Op, Result, Timestamp, Witness,
};

use super::ObjectsMetadata;

impl ObjectsMetadata {
    /// What cannot be done at all is refused before anything is done; the rest is done step by
    /// step, because there is no transaction over objects.
    pub(super) async fn change(&self, change: Change) -> Result<()> {
        for op in &change.ops {
            self.check(op)?;
        }
        for guard in &change.guards {
            if let Guard::Unchanged { path, witness } = guard {
                self.unchanged(path, *witness).await?;
            }
        }
        for op in change.ops {
            self.step(op).await?;
        }
        Ok(())
    }

    fn check(&self, op: &Op) -> Result<()> {
        let text = match op {
            Op::HideFile(path) => format!(
                "`{path}` cannot be deleted softly: the objects are all the metadata there is; \
                 set trash = \"0s\" or use a dfs handler"
            ),
            Op::MakeDir { path, .. } if self.local.is_none() => format!(
                "`{path}` cannot be made: this store has no empty directories; put a file below it"
            ),
            _ => return Ok(()),
        };
        Err(Error::new(ErrorKind::Unsupported, text))
    }

    async fn unchanged(&self, path: &FilePath, witness: Option<Witness>) -> Result<()> {
        if self.look_up(path).await?.witness() == witness {
            return Ok(());
        }
        let text = format!("`{path}` was changed meanwhile; load it again");
        Err(Error::new(ErrorKind::Stale, text))
    }

    async fn step(&self, op: Op) -> Result<()> {
        match op {
            Op::MakeDir { path, exclusive, .. } => self.make_dir(&path, exclusive).await,
            Op::RemoveDir(path) => self.remove_dir(&path).await,
            Op::RemoveDirTree(dir) => self.remove_dir_tree(&dir).await,
            // The object is there or gone already, and nothing is kept beside it.
            Op::PutFile { .. }
            | Op::RemoveFile(_)
            | Op::SetPin { .. }
            | Op::AddIntent(_)
            | Op::EndHold { .. }
            | Op::Forget(_)
            // Refused by `check`.
            | Op::HideFile(_) => Ok(()),
        }
    }

    async fn make_dir(&self, path: &FilePath, exclusive: bool) -> Result<()> {
        let dir = self.dir_key(&DirPath::from(path.clone()))?;
        match (&self.local, dir) {
            (Some(local), Some(dir)) => local.make_dir(&dir, exclusive).await,
            // Refused by `check`.
            _ => Ok(()),
        }
    }

    async fn remove_dir(&self, path: &FilePath) -> Result<()> {
        let dir = self.dir_key(&DirPath::from(path.clone()))?;
        if let (Some(local), Some(dir)) = (&self.local, dir) {
            return local.remove_dir(&dir).await;
        }
        // Here a directory is there because it is not empty.
        match self.look_up(path).await?.entry(path, Timestamp::default()) {
            None => Err(Error::not_found(path)),
            Some(Entry::File(_)) => Err(Error::new(
                ErrorKind::NotDirectory,
                format!("`{path}` is a file, not a directory"),
            )),
            Some(Entry::Directory(_)) => {
                Err(Error::new(ErrorKind::NotEmpty, format!("`{path}` is not empty")))
            }
        }
    }

    async fn remove_dir_tree(&self, dir: &DirPath) -> Result<()> {
        match &self.local {
            Some(local) => local.remove_empty_dirs(self.dir_key(dir)?.as_ref()).await,
            None => Ok(()),
        }
    }
}
