//! Removal of what crashed writers left in `.ezdfs/staging`.

use std::os::fd::AsFd as _;

use ezdfs_core::Timestamp;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, fstat, unlinkat};
use rustix::io::Errno;

use super::disk::{Disk, STAGING};
use super::fault::Fault;
use super::identity::{Identity, is_object};
use super::names::{Kind, names};

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Staged files that were removed.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Staged files that stay: too young, or being written by a process that lives.
    pub kept: u64,
}

impl Disk {
    /// Removes staged files that were last written before `before` and that no process holds.
    pub(super) fn sweep(&self, before: Timestamp) -> Result<Swept, Fault> {
        let mut swept = Swept::default();
        let root = self.root();
        let dir = match self.resolver.open_dir(&root, STAGING) {
            Err(Errno::NOENT) => return Ok(swept),
            done => done?,
        };
        for entry in names(dir.as_fd())? {
            let (Ok(name), Kind::File) = (String::from_utf8(entry.name), entry.kind) else {
                continue;
            };
            match self.sweep_one(&dir, &name, before)? {
                Some(bytes) => {
                    swept.files += 1;
                    swept.bytes += bytes;
                }
                None => swept.kept += 1,
            }
        }
        Ok(swept)
    }

    fn sweep_one(
        &self,
        dir: &super::resolve::DirHandle,
        name: &str,
        before: Timestamp,
    ) -> Result<Option<u64>, Fault> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK;
        let file = match self.resolver.open(dir.as_fd(), name, flags, Mode::empty()) {
            // Published or discarded meanwhile.
            Err(Errno::NOENT) => return Ok(Some(0)),
            done => done?,
        };
        let stat = fstat(&file)?;
        let identity = Identity::of(&stat);
        let modified = identity.modified().timestamp_nanos_opt().map(Timestamp::from_nanos);
        if !is_object(&stat) || modified.is_none_or(|at| at >= before) {
            return Ok(None);
        }
        // Where there are no locks the age decides alone.
        if flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
            return Ok(None);
        }
        match unlinkat(dir.as_fd(), name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(Some(identity.size())),
            Err(e) => Err(e.into()),
        }
    }
}
