//! Directories: list, make, remove.

use ezdfs_core::{
    Attrs, Change, DirMeta, DirPath, Entry, FilePath, Guard, Op, Page, Result, Timestamp,
};

use crate::service::FileService;

impl FileService {
    /// A page of a directory in byte order, starting after the basename `after`.
    ///
    /// # Errors
    /// A database error. An unknown directory lists nothing.
    pub async fn list(&self, dir: &DirPath, after: Option<&str>, limit: u32) -> Result<Page> {
        self.inner.metadata.list(dir, after, limit).await
    }

    /// Makes a directory with its missing ancestors.
    ///
    /// # Errors
    /// [`ezdfs_core::ErrorKind::AlreadyExists`] (for an existing directory only if `exclusive`),
    /// [`ezdfs_core::ErrorKind::NotDirectory`], or a database error.
    pub async fn mkdir(&self, dir: &FilePath, exclusive: bool, mode: Option<u32>) -> Result<()> {
        let op = Op::MakeDir { path: dir.clone(), exclusive, mode, uid: None, gid: None };
        self.change_free(dir, true, op).await
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// [`ezdfs_core::ErrorKind::NotEmpty`], [`ezdfs_core::ErrorKind::NotFound`],
    /// [`ezdfs_core::ErrorKind::NotDirectory`], or a database error.
    pub async fn rmdir(&self, dir: &FilePath) -> Result<()> {
        // Files whose time is over do not count as entries, but their rows would be left behind.
        self.expire_below(dir).await?;
        self.change_free(dir, true, Op::RemoveDir(dir.clone())).await
    }

    /// One step on a path that nobody holds; waits for live holders by taking the path.
    async fn change_free(&self, path: &FilePath, subtree: bool, op: Op) -> Result<()> {
        let change =
            Change::new().guard(Guard::Free { path: path.clone(), subtree }).op(op.clone());
        match self.inner.metadata.apply(change).await {
            Err(e) if e.kind() == ezdfs_core::ErrorKind::Busy => {
                let intent = ezdfs_core::Intent {
                    subtree,
                    ..self.intent(path, self.inner.entropy.token(), ezdfs_core::Work::Repair)
                };
                let held = self.hold(&[intent]).await?;
                let change = Change::new().guard(Guard::Holds(held.token)).op(op);
                let changed = self.inner.metadata.apply(change).await;
                self.release(held, false).await;
                changed
            }
            other => other,
        }
    }

    /// The root, which always exists and is stored nowhere.
    pub(crate) fn root(&self) -> Entry {
        Entry::Directory(DirMeta {
            path: DirPath::root(),
            mtime: Timestamp::default(),
            attrs: Attrs { ino: 1, mode: None, uid: None, gid: None, ctime: Timestamp::default() },
        })
    }
}
