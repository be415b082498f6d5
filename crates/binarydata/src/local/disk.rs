//! `Disk`: the root of a local store, and the retry after ESTALE. Everything here blocks.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError, RwLock};

use ezdfs_core::path::RESERVED_SEGMENT;
use ezdfs_core::{Error, ErrorKind, Result};
use rustix::fs::{Mode, OFlags, fstat, open};
use rustix::io::Errno;

use super::LocalOptions;
use super::fault::Fault;
use super::resolve::{DIRECTORY, DirHandle, Resolver};

/// Where uploads are staged.
pub(super) const STAGING: &str = ".ezdfs/staging";

/// How often an operation is tried when NFS answers ESTALE.
const STALE_TRIES: usize = 3;

/// The root directory of a store.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) path: PathBuf,
    pub(super) options: LocalOptions,
    pub(super) resolver: Resolver,
    /// Whether this file system still takes `RWF_NOWAIT`.
    pub(super) nowait: AtomicBool,
    root: RwLock<Arc<OwnedFd>>,
}

impl Disk {
    /// Opens the root. Nothing is made in it before the first write: a tree that is only read, as
    /// the source of a migration, stays as it is.
    pub(super) fn open(
        path: &Path,
        options: LocalOptions,
        resolver: Option<Resolver>,
    ) -> Result<Self> {
        options.check()?;
        if options.create_root {
            std::fs::create_dir_all(path).map_err(|e| {
                Error::new(ErrorKind::Config, format!("cannot make `{}`", path.display()))
                    .with_source(e)
            })?;
        }
        let root = open_root(path).map_err(|e| root_error(path, e))?;
        let resolver = resolver.unwrap_or_else(|| Resolver::probe(root.as_fd()));
        Ok(Self {
            path: path.to_owned(),
            options,
            resolver,
            nowait: AtomicBool::new(true),
            root: RwLock::new(Arc::new(root)),
        })
    }

    /// The root as it is open now.
    pub(super) fn root(&self) -> Arc<OwnedFd> {
        self.root.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens something below the root.
    pub(super) fn open_below(
        &self,
        root: &Arc<OwnedFd>,
        path: &str,
        flags: OFlags,
        mode: Mode,
    ) -> Result<OwnedFd, Errno> {
        self.resolver.open(root.as_fd(), path, flags, mode)
    }

    /// Syncs a directory after a change in it, if the store is durable.
    pub(super) fn sync_dir(&self, dir: &DirHandle) -> Result<(), Fault> {
        if !self.options.fsync {
            return Ok(());
        }
        Ok(rustix::io::retry_on_intr(|| rustix::fs::fsync(dir.as_fd()))?)
    }

    /// Runs a step from the root on, again when NFS answers ESTALE: a file or directory on the way
    /// was replaced on the server, and a fresh look-up finds what stands there now.
    pub(super) fn fresh<T>(
        &self,
        mut step: impl FnMut(&Arc<OwnedFd>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        for _ in 1..STALE_TRIES {
            match step(&self.root()) {
                Err(Fault::Os(Errno::STALE)) => self.reopen_root(),
                done => return done,
            }
        }
        step(&self.root())
    }

    /// Opens the root again if its own handle went stale.
    fn reopen_root(&self) {
        if fstat(self.root().as_fd()).err() != Some(Errno::STALE) {
            return;
        }
        let Ok(root) = open_root(&self.path) else { return };
        // Without `.ezdfs` it is an empty mount point, or another tree: never write into that.
        let own = rustix::fs::statat(
            root.as_fd(),
            RESERVED_SEGMENT,
            rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
        );
        if own.is_ok() {
            *self.root.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(root);
        }
    }
}

/// The root itself may be reached through symbolic links: it is configuration, not input.
fn open_root(path: &Path) -> Result<OwnedFd, Errno> {
    open(path, DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn root_error(path: &Path, errno: Errno) -> Error {
    let hint = match errno {
        Errno::NOENT => "; make it, or mount the file system that has it",
        Errno::NOTDIR => "; it must be a directory",
        Errno::ACCESS => "; check owner and mode",
        _ => "",
    };
    let text = format!("cannot open the root directory `{}`{hint}", path.display());
    Error::new(ErrorKind::Config, text).with_source(std::io::Error::from(errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_handles_are_tried_three_times_from_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path(), LocalOptions::default(), None).unwrap();
        let run = |stale: usize| {
            let mut calls = 0;
            let done = disk.fresh(|_| {
                calls += 1;
                if calls <= stale { Err(Errno::STALE.into()) } else { Ok(()) }
            });
            (calls, done)
        };
        assert!(matches!(run(0), (1, Ok(()))));
        assert!(matches!(run(2), (3, Ok(()))));
        assert!(matches!(run(9), (3, Err(Fault::Os(Errno::STALE)))));
    }

    #[test]
    fn a_root_must_be_there_unless_it_is_to_be_made() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("a/b");
        let missing = Disk::open(&root, LocalOptions::default(), None).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::Config);
        assert!(missing.to_string().contains("mount the file system"), "{missing}");
        assert!(!root.exists());
        let create = LocalOptions { create_root: true, ..LocalOptions::default() };
        Disk::open(&root, create, None).unwrap();
        assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0, "reading makes nothing");
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert!(Disk::open(&dir.path().join("file"), LocalOptions::default(), None).is_err());
        let modes = LocalOptions { file_mode: 0o444, ..LocalOptions::default() };
        assert_eq!(Disk::open(&root, modes, None).unwrap_err().kind(), ErrorKind::Config);
    }
}
