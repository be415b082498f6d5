//! Deleting objects.

use std::os::fd::AsFd as _;

use rustix::fs::{AtFlags, statat, unlinkat};
use rustix::io::Errno;

use super::disk::Disk;
use super::fault::Fault;
use super::identity::is_object;
use super::resolve::split;

impl Disk {
    /// Deletes an object; what is not there, or is no object, is left as it is. The directory
    /// stays, even when it is empty now (as Flysystem leaves it, ibexa-dfs.md §1.4).
    pub(super) fn delete(&self, key: &str) -> Result<(), Fault> {
        let (dir, base) = split(key);
        let dir = self.fresh(|root| {
            let dir = match self.resolver.open_dir(root, dir) {
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
                done => done?,
            };
            match statat(dir.as_fd(), base, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if is_object(&stat) => {}
                Ok(_) | Err(Errno::NOENT) => return Ok(None),
                Err(e) => return Err(e.into()),
            }
            match unlinkat(dir.as_fd(), base, AtFlags::empty()) {
                Ok(()) => Ok(Some(dir)),
                // Somebody else was faster.
                Err(Errno::NOENT | Errno::ISDIR) => Ok(None),
                Err(e) => Err(e.into()),
            }
        })?;
        dir.map_or(Ok(()), |dir| self.sync_dir(&dir))
    }
}
