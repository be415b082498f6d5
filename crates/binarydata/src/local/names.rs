//! The names in one directory.

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType, RawDir, statat};
use rustix::io::Errno;

/// Bytes of names that one getdents64(2) brings.
const BUFFER: usize = 64 * 1024;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink,
    Special,
}

impl Kind {
    fn of(file_type: FileType) -> Self {
        match file_type {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Symlink,
            _ => Self::Special,
        }
    }
}

/// A name and its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) name: Vec<u8>,
    pub(super) kind: Kind,
}

/// The names in a directory that was just opened, in no order, without `.` and `..`.
pub(super) fn names(dir: BorrowedFd<'_>) -> Result<Vec<Name>, Errno> {
    let mut buffer = Vec::with_capacity(BUFFER);
    let mut entries = RawDir::new(dir, buffer.spare_capacity_mut());
    let mut all = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let kind = match entry.file_type() {
            // Some file systems do not say.
            FileType::Unknown => match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => Kind::of(FileType::from_raw_mode(stat.st_mode)),
                Err(Errno::NOENT) => continue,
                Err(e) => return Err(e),
            },
            known => Kind::of(known),
        };
        all.push(Name { name: name.to_bytes().to_vec(), kind });
    }
    Ok(all)
}
