//! Resolution of keys below the root without ever following a symbolic link.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, openat, openat2, statat};
use rustix::io::{self, Errno};

/// Flags of every open: nothing leaks to a child, no terminal is taken, no link is followed.
pub(super) const ALWAYS: OFlags = OFlags::CLOEXEC.union(OFlags::NOCTTY).union(OFlags::NOFOLLOW);

/// A directory to be read, or to be synced after a change in it.
pub(super) const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// openat2 answers EAGAIN when a rename anywhere races with it; more often than this is an error.
const RACES: usize = 16;

/// How a key is resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resolver {
    /// openat2(2): one system call, contained by the kernel (Linux 5.6).
    Kernel,
    /// openat(2) with O_NOFOLLOW for each segment: older kernels, and sandboxes without openat2.
    Stepwise,
}

impl Resolver {
    /// What this kernel and sandbox allow.
    pub(super) fn probe(root: BorrowedFd<'_>) -> Self {
        match openat2(root, ".", DIRECTORY | ALWAYS, Mode::empty(), resolve()) {
            // EPERM is how old seccomp filters refuse calls that they do not know.
            Err(Errno::NOSYS | Errno::PERM) => Self::Stepwise,
            _ => Self::Kernel,
        }
    }

    /// Opens `path`, relative to `root`. ELOOP when any part of it is a symbolic link.
    pub(super) fn open(
        self,
        root: BorrowedFd<'_>,
        path: &str,
        flags: OFlags,
        mode: Mode,
    ) -> io::Result<OwnedFd> {
        match self {
            Self::Kernel => {
                // Without O_NOFOLLOW, with which O_DIRECTORY answers ENOTDIR for a link; none is
                // followed anyway.
                let flags = (flags | ALWAYS) - OFlags::NOFOLLOW;
                for _ in 1..RACES {
                    match openat2(root, path, flags, mode, resolve()) {
                        Err(Errno::AGAIN | Errno::INTR) => {}
                        done => return done,
                    }
                }
                openat2(root, path, flags, mode, resolve())
            }
            Self::Stepwise => stepwise(root, path, flags, mode),
        }
    }

    /// Opens a directory; empty text is the root itself.
    pub(super) fn open_dir(self, root: &Arc<OwnedFd>, path: &str) -> io::Result<DirHandle> {
        if path.is_empty() {
            return Ok(DirHandle::Root(root.clone()));
        }
        self.open(root.as_fd(), path, DIRECTORY, Mode::empty()).map(DirHandle::Below)
    }
}

fn resolve() -> ResolveFlags {
    ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS
}

fn stepwise(root: BorrowedFd<'_>, path: &str, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    let mut dir: Option<OwnedFd> = None;
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        if matches!(segment, "" | "..") {
            return Err(Errno::INVAL);
        }
        let at = dir.as_ref().map_or(root, |d| d.as_fd());
        if segments.peek().is_none() {
            return open_segment(at, segment, flags, mode);
        }
        let step = OFlags::PATH | OFlags::DIRECTORY;
        let next = open_segment(at, segment, step, Mode::empty())?;
        dir = Some(next);
    }
    Err(Errno::NOENT)
}

/// Opens one segment below an open directory; ELOOP when it is a symbolic link.
pub(super) fn open_segment(
    at: BorrowedFd<'_>,
    segment: &str,
    flags: OFlags,
    mode: Mode,
) -> io::Result<OwnedFd> {
    match openat(at, segment, flags | ALWAYS, mode) {
        // With O_DIRECTORY the kernel answers ENOTDIR for a link as for a file.
        Err(Errno::NOTDIR) if is_symlink(at, segment) => Err(Errno::LOOP),
        done => done,
    }
}

fn is_symlink(at: BorrowedFd<'_>, segment: &str) -> bool {
    statat(at, segment, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Symlink)
}

/// An open directory: the root, which the store keeps open, or one below it.
#[derive(Debug)]
pub(super) enum DirHandle {
    /// The root.
    Root(Arc<OwnedFd>),
    /// Any other.
    Below(OwnedFd),
}

impl AsFd for DirHandle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Root(fd) => fd.as_fd(),
            Self::Below(fd) => fd.as_fd(),
        }
    }
}

/// Splits a key into its directory (empty for the root) and its last segment.
pub(super) fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('/').unwrap_or(("", key))
}
