//! The step that makes a file visible under its key: rename(2), over what is there or not.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use ezdfs_core::{Entropy as _, Error, ErrorKind, OsEntropy};
use rustix::fs::{AtFlags, RenameFlags, linkat, renameat, renameat_with, statat, unlinkat};
use rustix::io::Errno;

use super::disk::Disk;
use super::fault::Fault;
use super::identity::{Identity, is_object};
use super::parents::{self, TRIES};
use super::resolve::{DirHandle, split};
use super::staged::Staged;

/// Longest pause before a step is tried again because its directory was removed.
const PAUSE: Duration = Duration::from_millis(1);

/// What may stand under the key already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Onto {
    /// Anything, or nothing.
    Any,
    /// Nothing.
    Nothing,
    /// An object of this etag.
    Version(String),
}

impl Disk {
    /// Gives a staged file its key, makes missing parents, and syncs the directory.
    pub(super) fn place(&self, staged: &Staged, key: &str, onto: &Onto) -> Result<(), Fault> {
        self.over_husk(key, || self.place_once(staged, key, onto))
    }

    /// Runs a step that puts an object at `key`, once more when only empty directories are in its
    /// way: deletes leave them behind, and no object is one.
    fn over_husk(
        &self,
        key: &str,
        mut step: impl FnMut() -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        match step() {
            Err(Fault::Os(Errno::ISDIR)) => {
                self.remove_empty_dirs(key)?;
                step()
            }
            done => done,
        }
    }

    fn place_once(&self, staged: &Staged, key: &str, onto: &Onto) -> Result<(), Fault> {
        let (dir, base) = split(key);
        let dir = self.fresh(|root| {
            self.with_parents(root, dir, |to| {
                if let Onto::Version(etag) = onto {
                    expect_version(to, base, key, etag)?;
                }
                let from = DirHandle::Root(root.clone());
                move_file(&from, staged.name(), to, base, *onto == Onto::Nothing)
            })
        })?;
        staged.placed();
        self.sync_dir(&dir)
    }

    /// Renames an object, makes missing parents, and syncs both directories. A directory or a
    /// symbolic link is not an object and stays where it is.
    pub(super) fn rename(&self, from: &str, to: &str, create: bool) -> Result<(), Fault> {
        self.over_husk(to, || self.rename_once(from, to, create))
    }

    fn rename_once(&self, from: &str, to: &str, create: bool) -> Result<(), Fault> {
        let ((from_dir, from_base), (to_dir, to_base)) = (split(from), split(to));
        let (source, target) = self.fresh(|root| {
            let source = match self.resolver.open_dir(root, from_dir) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Err(gone(from)),
                done => done?,
            };
            let target = self.with_parents(root, to_dir, |target| {
                let stat = statat(source.as_fd(), from_base, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|e| if e == Errno::NOENT { gone(from) } else { e.into() })?;
                if !is_object(&stat) {
                    return Err(gone(from));
                }
                move_file(&source, from_base, target, to_base, create)?;
                if stat.st_nlink > 1 {
                    drop_second_link(&source, from_base, Identity::of(&stat))?;
                }
                Ok(())
            })?;
            Ok((source, target))
        })?;
        self.sync_dir(&target)?;
        if from_dir == to_dir { Ok(()) } else { self.sync_dir(&source) }
    }

    /// Opens or makes a directory and runs a step in it, again while somebody removes it.
    fn with_parents(
        &self,
        root: &Arc<std::os::fd::OwnedFd>,
        dir: &str,
        mut step: impl FnMut(&DirHandle) -> Result<(), Fault>,
    ) -> Result<DirHandle, Fault> {
        for _ in 0..TRIES {
            let done = parents::open_or_make(self, root, dir).and_then(|to| {
                step(&to)?;
                Ok(to)
            });
            match done {
                // A random pause, or a rival that removes them in the same rhythm wins for ever.
                Err(Fault::Os(Errno::NOENT)) => std::thread::sleep(OsEntropy.jitter(PAUSE)),
                done => return done,
            }
        }
        let text = format!(
            "the directory `{dir}` was removed {TRIES} times while a file was to be put into it; \
             find out who removes it"
        );
        Err(Error::new(ErrorKind::Busy, text).into())
    }
}

/// The source of a rename is not an object: told at once, and not taken for a parent that was
/// removed.
fn gone(key: &str) -> Fault {
    let source = Error::new(ErrorKind::NotFound, format!("there is no object `{key}`"));
    object_store::Error::NotFound { path: key.to_owned(), source: Box::new(source) }.into()
}

/// The comparison of `PutMode::Update`. Another process may write between it and the rename: who
/// may write at all is decided in the metadata database.
fn expect_version(dir: &DirHandle, base: &str, key: &str, etag: &str) -> Result<(), Fault> {
    let found = match statat(dir.as_fd(), base, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if is_object(&stat) => Some(Identity::of(&stat).etag()),
        Ok(_) | Err(Errno::NOENT) => None,
        Err(e) => return Err(e.into()),
    };
    if found.as_deref() == Some(etag) {
        return Ok(());
    }
    let text = match found {
        Some(found) => format!("the object has etag {found}, not {etag}"),
        None => format!("there is no object, so none of etag {etag}"),
    };
    Err(object_store::Error::Precondition { path: key.to_owned(), source: text.into() }.into())
}

/// rename(2); with `create` EEXIST when there is something of that name.
fn move_file(
    from: &DirHandle,
    from_name: &str,
    to: &DirHandle,
    to_name: &str,
    create: bool,
) -> Result<(), Fault> {
    if !create {
        return match renameat(from.as_fd(), from_name, to.as_fd(), to_name) {
            // The answer for a directory that the source lies in.
            Err(Errno::NOTEMPTY) => Err(Errno::ISDIR.into()),
            done => Ok(done?),
        };
    }
    let flags = RenameFlags::NOREPLACE;
    match renameat_with(from.as_fd(), from_name, to.as_fd(), to_name, flags) {
        // NFS and some FUSE file systems have no RENAME_NOREPLACE.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            link_file(from, from_name, to, to_name)
        }
        done => Ok(done?),
    }
}

/// What RENAME_NOREPLACE does, in two steps: link(2) refuses an existing name atomically. For a
/// moment both names exist.
fn link_file(
    from: &DirHandle,
    from_name: &str,
    to: &DirHandle,
    to_name: &str,
) -> Result<(), Fault> {
    match linkat(from.as_fd(), from_name, to.as_fd(), to_name, AtFlags::empty()) {
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => {
            let text = "this file system can neither rename without replacing nor link, so it \
                        cannot create a file only if there is none";
            Err(Error::new(ErrorKind::Unsupported, text).into())
        }
        Err(e) => Err(e.into()),
        Ok(()) => Ok(unlinkat(from.as_fd(), from_name, AtFlags::empty())?),
    }
}

/// rename(2) of one hard link over another does nothing and succeeds; other programs make hard
/// links, so the source is removed by hand.
fn drop_second_link(dir: &DirHandle, base: &str, was: Identity) -> Result<(), Fault> {
    match statat(dir.as_fd(), base, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if Identity::of(&stat).ino() == was.ino() => {
            Ok(unlinkat(dir.as_fd(), base, AtFlags::empty())?)
        }
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::LocalOptions;

    #[test]
    fn the_link_fallback_creates_only_if_there_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path(), LocalOptions::default(), None).unwrap();
        let root = DirHandle::Root(disk.root());
        std::fs::write(dir.path().join("a"), "a").unwrap();
        link_file(&root, "a", &root, "b").unwrap();
        assert!(!dir.path().join("a").exists());
        std::fs::write(dir.path().join("c"), "c").unwrap();
        let refused = link_file(&root, "c", &root, "b");
        assert!(matches!(refused, Err(Fault::Os(Errno::EXIST))), "{refused:?}");
        assert_eq!(std::fs::read(dir.path().join("b")).unwrap(), b"a");
        assert_eq!(std::fs::read(dir.path().join("c")).unwrap(), b"c");
    }
}
