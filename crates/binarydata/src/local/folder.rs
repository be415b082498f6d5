//! `Folder`: one directory of a listing, sorted, its bad entries told apart.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use ezdfs_core::path::{MAX_PATH_BYTES, RESERVED_SEGMENT};
use rustix::fs::{AtFlags, FileType, Mode, statat};
use rustix::io::Errno;

use super::disk::Disk;
use super::fault::Fault;
use super::identity::Identity;
use super::names::{Kind, names};
use super::resolve::{DIRECTORY, split};
use ezdfs_core::{BadEntry, BadReason};

/// How often a status is asked for when NFS answers ESTALE.
const STALE_TRIES: usize = 3;

/// An open directory and the names in it that are still to be visited.
#[derive(Debug)]
pub(super) struct Folder {
    dir: OwnedFd,
    /// What the keys in it start with: empty, or the key of the directory and a slash.
    pub(super) prefix: String,
    /// Names with a slash behind those of directories. Sorted by [`Folder::open`] in the order of
    /// the keys, because all keys below `a/` start with `a/`.
    pub(super) items: std::vec::IntoIter<Item>,
}

/// A name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// With a slash behind it when it is a directory.
    pub(super) name: Vec<u8>,
    kind: Kind,
}

/// What an item turns out to be when it is visited.
#[derive(Debug)]
pub(super) enum Visit {
    /// A file: the last segment of its key.
    File(String, Identity),
    /// A directory: the last segment of its key.
    Directory(String),
    /// Neither.
    Bad(BadEntry),
    /// It was removed meanwhile.
    Gone,
}

impl Item {
    /// The bare name.
    pub(super) fn bare(&self) -> &[u8] {
        self.name.strip_suffix(b"/").unwrap_or(&self.name)
    }

    /// Whether it was a directory when its name was read.
    pub(super) fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }
}

impl Folder {
    /// Opens a directory (empty for the root) and reads its names.
    ///
    /// `Ok(None)`: there is no such directory. ELOOP: a symbolic link stands on the way to it.
    pub(super) fn open(disk: &Disk, key: &str, all: bool) -> Result<Option<Self>, Fault> {
        let read = disk.fresh(|root: &Arc<_>| {
            // Always a handle of its own: reading moves its position.
            let path = if key.is_empty() { "." } else { key };
            let dir = match disk.open_below(root, path, DIRECTORY, Mode::empty()) {
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
                done => done?,
            };
            match names(dir.as_fd()) {
                // It was removed while it was open.
                Err(Errno::NOENT) => Ok(None),
                done => Ok(Some((dir, done?))),
            }
        })?;
        let Some((dir, names)) = read else { return Ok(None) };
        let mut items: Vec<_> = names
            .into_iter()
            .filter(|n| all || !key.is_empty() || n.name != RESERVED_SEGMENT.as_bytes())
            .map(|mut n| {
                if n.kind == Kind::Directory {
                    n.name.push(b'/');
                }
                Item { name: n.name, kind: n.kind }
            })
            .collect();
        items.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let prefix = if key.is_empty() { String::new() } else { format!("{key}/") };
        Ok(Some(Self { dir, prefix, items: items.into_iter() }))
    }

    /// Passes over all items whose keys do not come after `offset`, a key's bytes.
    pub(super) fn skip_to(&mut self, offset: &[u8]) {
        let Some(rest) = offset.strip_prefix(self.prefix.as_bytes()) else {
            // The folder comes before or after the offset as a whole.
            if self.prefix.as_bytes() < offset {
                self.items = Vec::new().into_iter();
            }
            return;
        };
        let items = self.items.as_slice();
        let passed = items.partition_point(|item| match item.name.last() {
            // Keys below a directory may come after an offset that lies below it too.
            Some(b'/') => item.name.as_slice() < rest && !rest.starts_with(&item.name),
            _ => item.name.as_slice() <= rest,
        });
        if passed > 0 {
            let _ = self.items.nth(passed - 1);
        }
    }

    /// Looks at an item.
    pub(super) fn visit(&self, item: &Item) -> Result<Visit, Fault> {
        let directory = item.is_directory();
        let bad = |reason, subtree| {
            let raw = [self.prefix.as_bytes(), item.bare()].concat();
            Ok(Visit::Bad(BadEntry::new(raw, reason, subtree)))
        };
        let Ok(name) = std::str::from_utf8(item.bare()) else {
            return bad(BadReason::NotUtf8, directory);
        };
        // What object_store cannot name. C1 controls it can: rules K refuse them later on.
        if name.bytes().any(|b| b.is_ascii_control()) {
            return bad(BadReason::Control, directory);
        }
        // Nor could the path be opened.
        if self.prefix.len() + name.len() > MAX_PATH_BYTES {
            return bad(BadReason::TooLong, directory);
        }
        match item.kind {
            Kind::Directory => Ok(Visit::Directory(name.to_owned())),
            Kind::Symlink => bad(BadReason::Symlink, false),
            Kind::Special => bad(BadReason::Special, false),
            Kind::File => match self.stat(name)? {
                None => Ok(Visit::Gone),
                Some((FileType::RegularFile, identity)) => {
                    Ok(Visit::File(name.to_owned(), identity))
                }
                // Replaced since its name was read.
                Some((FileType::Symlink, _)) => bad(BadReason::Symlink, false),
                Some((FileType::Directory, _)) => Ok(Visit::Gone),
                Some(_) => bad(BadReason::Special, false),
            },
        }
    }

    /// Type and identity of a name; `None` when it is gone.
    pub(super) fn stat(&self, name: &str) -> Result<Option<(FileType, Identity)>, Fault> {
        for _ in 0..STALE_TRIES {
            match statat(self.dir.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => {
                    let kind = FileType::from_raw_mode(stat.st_mode);
                    return Ok(Some((kind, Identity::of(&stat))));
                }
                Err(Errno::NOENT) => return Ok(None),
                Err(Errno::STALE) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(Errno::STALE.into())
    }
}

/// The symbolic link on the way to a directory, as a bad entry.
pub(super) fn link_on_the_way(disk: &Disk, key: &str) -> BadEntry {
    let mut link = key;
    loop {
        let (parent, _) = split(link);
        // The nearest part whose own directory can still be opened is the link.
        if parent.is_empty() || disk.resolver.open_dir(&disk.root(), parent).is_ok() {
            return BadEntry::new(link.as_bytes().to_vec(), BadReason::Symlink, true);
        }
        link = parent;
    }
}
