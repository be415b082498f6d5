//! Making the directories above a key, with exactly the configured mode.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use rustix::fs::{Mode, fchmod, mkdirat};
use rustix::io::Errno;

use super::disk::Disk;
use super::fault::Fault;
use super::resolve::{DIRECTORY, DirHandle, open_segment};

/// How often a step is tried again because somebody removes the directories that it makes.
pub(super) const TRIES: usize = 64;

/// Opens a directory, and makes it and its missing parents if need be. Empty text is the root.
pub(super) fn open_or_make(
    disk: &Disk,
    root: &Arc<OwnedFd>,
    dir: &str,
) -> Result<DirHandle, Fault> {
    match disk.resolver.open_dir(root, dir) {
        Err(Errno::NOENT) => {}
        done => return Ok(done?),
    }
    let mut at = DirHandle::Root(root.clone());
    for segment in dir.split('/') {
        let below = match open_segment(at.as_fd(), segment, DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) => {
                // Somebody else may make it first: then it is theirs, mode and all.
                match make(disk, &at, segment) {
                    Err(Fault::Os(Errno::EXIST)) => {
                        open_segment(at.as_fd(), segment, DIRECTORY, Mode::empty())?
                    }
                    made => made?,
                }
            }
            done => done?,
        };
        at = DirHandle::Below(below);
    }
    Ok(at)
}

/// Makes one directory. EEXIST when there is something of that name.
pub(super) fn make(disk: &Disk, at: &DirHandle, segment: &str) -> Result<OwnedFd, Fault> {
    let mode = Mode::from_raw_mode(disk.options.dir_mode);
    mkdirat(at.as_fd(), segment, mode)?;
    let made = open_segment(at.as_fd(), segment, DIRECTORY, Mode::empty())?;
    // mkdir(2) takes the umask off.
    fchmod(&made, mode)?;
    disk.sync_dir(at)?;
    Ok(made)
}
