//! What each guard and step of a [`Change`] means, once for every store.

mod dirs;
mod files;
mod pending;

use ezdfs_core::{
    Change, DirPath, Error, ErrorKind, FilePath, Guard, Name, NamePrefix, Op, Result, Timestamp,
};

pub(crate) use dirs::{TOUCH_EVERY, new_dir};
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(crate) use files::{check_new_file, rows_of};
pub(crate) use files::{stands_at, unknown_version};
pub(crate) use pending::hold;

use crate::rows::{Intend, Rows, Stored};

/// One write transaction of one store.
pub(crate) struct Scope<'a, R> {
    pub(crate) rows: &'a mut R,
    pub(crate) prefix: &'a NamePrefix,
    /// Database time.
    pub(crate) now: Timestamp,
}

/// Checks the guards, then runs the steps. After an error the caller rolls back.
pub(crate) async fn apply<R: Rows>(scope: &mut Scope<'_, R>, change: &Change) -> Result<()> {
    for guard in &change.guards {
        scope.check(guard).await?;
    }
    for op in &change.ops {
        scope.run(op).await?;
    }
    Ok(())
}

impl<R: Rows> Scope<'_, R> {
    async fn check(&mut self, guard: &Guard) -> Result<()> {
        match guard {
            Guard::Holds(token) => self.check_holds(*token).await,
            Guard::Free { path, subtree } => self.check_free(path, *subtree).await,
            Guard::Unchanged { path, witness } => {
                let name = self.prefix.name(path);
                if self.stored(&name).await?.record(&name).witness() == *witness {
                    return Ok(());
                }
                Err(Error::new(ErrorKind::Stale, format!("`{path}` was changed meanwhile")))
            }
        }
    }

    async fn run(&mut self, op: &Op) -> Result<()> {
        match op {
            Op::PutFile { path, file } => self.put_file(path, file).await,
            Op::RemoveFile(path) => self.remove_file(path).await,
            Op::HideFile(path) => self.hide_file(path).await,
            Op::SetPin { path, pin } => self.set_pin(path, pin).await,
            Op::MakeDir { path, exclusive, mode, uid, gid } => {
                let attrs = new_dir::Attributes { mode: *mode, uid: *uid, gid: *gid };
                self.make_dir(path, *exclusive, attrs).await
            }
            Op::RemoveDir(path) => self.remove_dir(path).await,
            Op::RemoveDirTree(dir) => self.remove_dir_tree(dir).await,
            Op::AddIntent(intent) => self.add_intent(intent).await,
            Op::EndHold { token, keep } => self.rows.end_hold(*token, *keep).await,
            Op::Forget(id) => self.rows.forget(*id).await,
        }
    }

    /// The rows of one name.
    async fn stored(&mut self, name: &Name) -> Result<Stored> {
        let found = self.rows.find(std::slice::from_ref(name), Intend::ChangeFirst, false).await?;
        Ok(found.rows.into_iter().next().unwrap_or_default())
    }

    /// Bumps the mtime of the directory that lists `path`, at most once a second.
    async fn touch_parent(&mut self, path: &FilePath) -> Result<()> {
        let parent = self.prefix.dir_name(&path.parent());
        self.rows.touch_dirs(&[parent.hash()], self.now).await
    }

    /// The name of `path`, followed by those of the directories above it, nearest first.
    fn lineage(&self, path: &FilePath) -> (Vec<FilePath>, Vec<Name>) {
        let above: Vec<FilePath> = path.ancestors().collect();
        let names = std::iter::once(path).chain(&above).map(|p| self.prefix.name(p)).collect();
        (above, names)
    }

    fn dir_name(&self, dir: &DirPath) -> Name {
        self.prefix.dir_name(dir)
    }
}

fn collision(path: &FilePath) -> Error {
    Error::new(
        ErrorKind::HashCollision,
        format!(
            "`{path}` cannot be stored: another name with the same MD5 is in the table; rename one of them"
        ),
    )
}
