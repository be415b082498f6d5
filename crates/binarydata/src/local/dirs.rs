//! Directories as such, which object_store does not know: for the `default` metadata handler.

use std::os::fd::AsFd as _;

use chrono::{DateTime, Utc};
use object_store::ObjectMeta;
use object_store::path::Path as ObjectKey;
use rustix::fs::{AtFlags, FileType, fstat, unlinkat};
use rustix::io::Errno;

use super::disk::Disk;
use super::fault::Fault;
use super::folder::{Folder, Visit, link_on_the_way};
use super::identity::Identity;
use super::list::is_own;
use super::parents;
use super::resolve::split;
use ezdfs_core::BadEntry;

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DirEntry {
    /// An object.
    File(ObjectMeta),
    /// A directory, empty or not.
    Directory {
        /// Its key.
        key: ObjectKey,
        /// Last change of its entries.
        modified: DateTime<Utc>,
    },
}

/// A part of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DirPage {
    /// Entries in byte order of their names.
    pub entries: Vec<DirEntry>,
    /// What else was met on the way.
    pub bad: Vec<BadEntry>,
    /// The last name that was looked at, when more follow: pass it as `after`.
    pub next: Option<String>,
}

impl Disk {
    /// Up to `limit` entries of a directory whose names come after `after`.
    pub(super) fn page(&self, dir: &str, after: &str, limit: usize) -> Result<DirPage, Fault> {
        let mut page = DirPage::default();
        let folder = match Folder::open(self, dir, is_own(dir)) {
            Err(Fault::Os(Errno::LOOP)) => {
                page.bad.push(link_on_the_way(self, dir));
                return Ok(page);
            }
            done => done?,
        };
        let Some(mut folder) = folder else { return Ok(page) };
        let mut items: Vec<_> = std::mem::take(&mut folder.items).collect();
        // Here a directory counts by its name alone.
        items.retain(|item| item.bare() > after.as_bytes());
        items.sort_unstable_by(|a, b| a.bare().cmp(b.bare()));
        let mut last = None;
        for item in items {
            if page.entries.len() >= limit {
                page.next = last;
                break;
            }
            let key = |name: &str| {
                ObjectKey::parse(format!("{}{name}", folder.prefix))
                    .map_err(object_store::Error::from)
            };
            match folder.visit(&item)? {
                Visit::Gone => {}
                Visit::Bad(bad) => page.bad.push(bad),
                Visit::File(name, identity) => {
                    page.entries.push(DirEntry::File(identity.meta(key(&name)?)));
                    last = Some(name);
                }
                Visit::Directory(name) => {
                    if let Some((FileType::Directory, identity)) = folder.stat(&name)? {
                        let (key, modified) = (key(&name)?, identity.modified());
                        page.entries.push(DirEntry::Directory { key, modified });
                        last = Some(name);
                    }
                }
            }
        }
        Ok(page)
    }

    /// When a directory was last changed; `None` when there is none.
    pub(super) fn dir_modified(&self, dir: &str) -> Result<Option<DateTime<Utc>>, Fault> {
        self.fresh(|root| match self.resolver.open_dir(root, dir) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            done => Ok(Some(Identity::of(&fstat(done?.as_fd())?).modified())),
        })
    }

    /// Makes a directory and its parents. EEXIST when it is there and `exclusive`, or when a file
    /// stands in its place.
    pub(super) fn make_dir(&self, dir: &str, exclusive: bool) -> Result<(), Fault> {
        let (parent, base) = split(dir);
        self.fresh(|root| {
            let at = parents::open_or_make(self, root, parent)?;
            match parents::make(self, &at, base) {
                Err(Fault::Os(Errno::EXIST)) if !exclusive => {
                    match self.resolver.open_dir(root, dir) {
                        Ok(_) => Ok(()),
                        Err(Errno::NOTDIR) => Err(Errno::EXIST.into()),
                        Err(e) => Err(e.into()),
                    }
                }
                done => done.map(drop),
            }
        })
    }

    /// Removes an empty directory.
    pub(super) fn remove_dir(&self, dir: &str) -> Result<(), Fault> {
        let (parent, base) = split(dir);
        let at = self.fresh(|root| {
            let at = self.resolver.open_dir(root, parent)?;
            match unlinkat(at.as_fd(), base, AtFlags::REMOVEDIR) {
                // POSIX allows either.
                Err(Errno::EXIST) => Err(Errno::NOTEMPTY.into()),
                done => Ok(done.map(|()| at)?),
            }
        })?;
        self.sync_dir(&at)
    }

    /// Removes the empty directories below `dir`, deepest first, and `dir` itself unless it is
    /// the root. What holds anything stays.
    pub(super) fn remove_empty_dirs(&self, dir: &str) -> Result<(), Fault> {
        let enter = |stack: &mut Vec<Folder>, key: &str| match Folder::open(self, key, false) {
            Ok(folder) => {
                stack.extend(folder);
                Ok(())
            }
            Err(Fault::Os(Errno::LOOP)) => Ok(()),
            Err(fault) => Err(fault),
        };
        let mut stack = Vec::new();
        enter(&mut stack, dir)?;
        while let Some(folder) = stack.last_mut() {
            if let Some(item) = folder.items.next() {
                if item.is_directory()
                    && let Visit::Directory(name) = folder.visit(&item)?
                {
                    let key = format!("{}{name}", folder.prefix);
                    enter(&mut stack, &key)?;
                }
                continue;
            }
            let done = stack.pop().map(|folder| folder.prefix).unwrap_or_default();
            let Some(done) = done.strip_suffix('/') else { continue };
            match self.remove_dir(done) {
                Ok(()) | Err(Fault::Os(Errno::NOTEMPTY | Errno::NOENT | Errno::NOTDIR)) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }
}
