//! `Fault`: how a step on disk ends, and what the caller of the store is told.

use std::fmt;

use ezdfs_core::{Error, ErrorKind};
use rustix::io::Errno;

/// Name of this store in errors.
pub(super) const STORE: &str = "LocalStore";

/// How a step on disk ends when it does not succeed.
#[derive(Debug)]
pub(super) enum Fault {
    /// A system call failed.
    Os(Errno),
    /// An error of ezdfs that no errno tells.
    Told(Error),
    /// An answer of the trait's own kind (precondition, not modified).
    Store(object_store::Error),
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        Self::Os(errno)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Told(error)
    }
}

impl From<object_store::Error> for Fault {
    fn from(error: object_store::Error) -> Self {
        Self::Store(error)
    }
}

/// What was done to which key: the words of an error.
#[derive(Debug, Clone)]
pub(super) struct Doing {
    /// A verb: `read`, `write`.
    pub(super) verb: &'static str,
    /// The key.
    pub(super) key: String,
    /// Reads: whatever is not a regular file reached without symbolic links does not exist.
    pub(super) reads: bool,
}

impl Doing {
    pub(super) fn read(verb: &'static str, key: impl fmt::Display) -> Self {
        Self { verb, key: key.to_string(), reads: true }
    }

    pub(super) fn write(verb: &'static str, key: impl fmt::Display) -> Self {
        Self { verb, key: key.to_string(), reads: false }
    }

    /// The error that the caller of the store gets.
    pub(super) fn failed(&self, fault: Fault) -> object_store::Error {
        let errno = match fault {
            Fault::Store(error) => return error,
            Fault::Told(error) => return told(error),
            Fault::Os(errno) => errno,
        };
        let absent = [Errno::NOTDIR, Errno::ISDIR, Errno::LOOP, Errno::NXIO];
        let path = self.key.clone();
        let source = self.source(errno);
        match errno {
            Errno::NOENT => object_store::Error::NotFound { path, source },
            e if self.reads && absent.contains(&e) => {
                object_store::Error::NotFound { path, source }
            }
            Errno::EXIST => object_store::Error::AlreadyExists { path, source },
            Errno::ACCESS | Errno::PERM | Errno::LOOP => {
                object_store::Error::PermissionDenied { path, source }
            }
            _ => object_store::Error::Generic { store: STORE, source },
        }
    }

    fn source(&self, errno: Errno) -> Box<dyn std::error::Error + Send + Sync> {
        let (kind, hint) = match errno {
            Errno::NOENT => (ErrorKind::NotFound, ""),
            Errno::EXIST => (ErrorKind::AlreadyExists, ""),
            Errno::ACCESS | Errno::PERM => {
                (ErrorKind::PermissionDenied, "; check owner and mode of the directory")
            }
            Errno::LOOP => {
                (ErrorKind::PermissionDenied, "; symbolic links below the root are never followed")
            }
            Errno::XDEV => (
                ErrorKind::Unsupported,
                "; the directory lies on another file system than the root of the store",
            ),
            Errno::NOSPC | Errno::DQUOT => (ErrorKind::NoSpace, "; free some space or quota"),
            Errno::FBIG => (ErrorKind::TooLarge, ""),
            Errno::ROFS => (ErrorKind::ReadOnly, ""),
            Errno::NAMETOOLONG => (ErrorKind::NameTooLong, ""),
            Errno::NOTDIR => (ErrorKind::NotDirectory, "; a part of the path is a file"),
            Errno::ISDIR => (ErrorKind::IsDirectory, ""),
            Errno::NOTEMPTY => (ErrorKind::NotEmpty, ""),
            _ => (ErrorKind::Unavailable, ""),
        };
        let text = format!("cannot {} `{}`{hint}", self.verb, self.key);
        Box::new(Error::new(kind, text).with_source(std::io::Error::from(errno)))
    }
}

/// Wraps an error of ezdfs where the trait has no kind of its own for it.
pub(super) fn told(error: Error) -> object_store::Error {
    object_store::Error::Generic { store: STORE, source: Box::new(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_errno_reaches_the_doors_as_its_kind() {
        let kind = |doing: Doing, errno| Error::from(doing.failed(Fault::Os(errno))).kind();
        let write = |errno| kind(Doing::write("write", "a/b"), errno);
        let read = |errno| kind(Doing::read("read", "a/b"), errno);
        for (errno, expected) in [
            (Errno::NOENT, ErrorKind::NotFound),
            (Errno::EXIST, ErrorKind::AlreadyExists),
            (Errno::ACCESS, ErrorKind::PermissionDenied),
            (Errno::PERM, ErrorKind::PermissionDenied),
            (Errno::LOOP, ErrorKind::PermissionDenied),
            (Errno::NOSPC, ErrorKind::NoSpace),
            (Errno::DQUOT, ErrorKind::NoSpace),
            (Errno::FBIG, ErrorKind::TooLarge),
            (Errno::ROFS, ErrorKind::ReadOnly),
            (Errno::NAMETOOLONG, ErrorKind::NameTooLong),
            (Errno::NOTDIR, ErrorKind::NotDirectory),
            (Errno::ISDIR, ErrorKind::IsDirectory),
            (Errno::NOTEMPTY, ErrorKind::NotEmpty),
            (Errno::XDEV, ErrorKind::Unsupported),
            (Errno::STALE, ErrorKind::Unavailable),
            (Errno::IO, ErrorKind::Unavailable),
        ] {
            assert_eq!(write(errno), expected, "{errno:?}");
        }
        for errno in [Errno::NOENT, Errno::NOTDIR, Errno::ISDIR, Errno::LOOP, Errno::NXIO] {
            assert_eq!(read(errno), ErrorKind::NotFound, "{errno:?}");
        }
        assert_eq!(read(Errno::IO), ErrorKind::Unavailable);
        assert_eq!(read(Errno::ACCESS), ErrorKind::PermissionDenied);
        let text = Doing::write("write", "a/b").failed(Fault::Os(Errno::NOSPC)).to_string();
        assert!(text.contains("cannot write `a/b`; free some space or quota: No space"), "{text}");
    }
}
