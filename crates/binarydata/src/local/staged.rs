//! `Staged`: a file in `.ezdfs/staging`, on its way to become an object.

use std::fmt;
use std::io::IoSlice;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ezdfs_core::{Clock as _, Entropy as _, Error, ErrorKind, OsEntropy, SystemClock};
use object_store::PutPayload;
use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, fchmod, flock, fstat,
    fsync, futimens, unlinkat,
};
use rustix::io::{Errno, pwritev, retry_on_intr};

use super::disk::{Disk, STAGING};
use super::fault::Fault;
use super::identity::Identity;
use super::parents;

/// Slices handed to one pwritev(2); Linux takes up to 1,024.
const SLICES: usize = 64;

/// A staged file. It is removed when it is dropped, unless it was placed.
pub(super) struct Staged {
    disk: Arc<Disk>,
    /// Relative to the root.
    name: String,
    file: OwnedFd,
    gone: AtomicBool,
}

impl Staged {
    /// Makes a file of a random name with the configured mode. It carries a shared flock, by which
    /// a sweep of any process knows that it is alive.
    pub(super) fn create(disk: &Arc<Disk>) -> Result<Self, Fault> {
        let name = format!("{STAGING}/{}", OsEntropy.token());
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let file = disk.fresh(|root| {
            let private = Mode::RUSR | Mode::WUSR;
            match disk.open_below(root, &name, flags, private) {
                Err(Errno::NOENT) => {
                    parents::open_or_make(disk, root, STAGING)?;
                    Ok(disk.open_below(root, &name, flags, private)?)
                }
                done => Ok(done?),
            }
        })?;
        let staged = Self { disk: disk.clone(), name, file, gone: AtomicBool::new(false) };
        // NFS without locking: then the age limit of the sweep protects it alone.
        let _ = flock(&staged.file, FlockOperation::NonBlockingLockShared);
        fchmod(&staged.file, Mode::from_raw_mode(disk.options.file_mode))?;
        Ok(staged)
    }

    /// Path relative to the root.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The open file.
    pub(super) fn file(&self) -> &OwnedFd {
        &self.file
    }

    /// Writes all of `payload` at `offset`.
    pub(super) fn write_at(&self, payload: &PutPayload, mut offset: u64) -> Result<(), Fault> {
        for group in payload.as_ref().chunks(SLICES) {
            let mut slices: Vec<_> = group.iter().map(|b| IoSlice::new(b)).collect();
            let mut rest = slices.as_mut_slice();
            // Takes empty slices off, with which pwritev would write nothing.
            IoSlice::advance_slices(&mut rest, 0);
            while !rest.is_empty() {
                let n = retry_on_intr(|| pwritev(&self.file, rest, offset))?;
                if n == 0 {
                    return Err(Errno::IO.into());
                }
                offset =
                    u64::try_from(n).ok().and_then(|n| offset.checked_add(n)).ok_or(Errno::FBIG)?;
                IoSlice::advance_slices(&mut rest, n);
            }
        }
        Ok(())
    }

    /// Stamps and syncs the file and says what it will be identified by. No write may follow.
    ///
    /// The stamp is this machine's time in nanoseconds and not the file system's tick of some
    /// milliseconds: an inode number that is used again within one tick must not give two
    /// versions of one size the same identity.
    pub(super) fn seal(&self, expected: u64) -> Result<Identity, Fault> {
        let now = SystemClock.now();
        let stamp = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec {
                tv_sec: now.secs(),
                tv_nsec: now.nanos().rem_euclid(1_000_000_000),
            },
        };
        match futimens(&self.file, &stamp) {
            // A file system that takes no time stamps gives its own.
            Ok(()) | Err(Errno::PERM | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            Err(e) => return Err(e.into()),
        }
        if self.disk.options.fsync {
            retry_on_intr(|| fsync(&self.file))?;
        }
        let identity = Identity::of(&fstat(&self.file)?);
        if identity.size() == expected {
            Ok(identity)
        } else {
            let text = format!(
                "`{}` has {} bytes after {expected} were written; somebody else changed it",
                self.name,
                identity.size()
            );
            Err(Error::new(ErrorKind::Corrupt, text).into())
        }
    }

    /// It has another name now.
    pub(super) fn placed(&self) {
        self.gone.store(true, Ordering::SeqCst);
    }

    /// Whether it was placed or discarded.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    /// Removes it. Does nothing the second time, or once it was placed.
    pub(super) fn discard(&self) -> Result<(), Fault> {
        if self.gone.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        match unlinkat(self.disk.root().as_fd(), self.name.as_str(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Err(fault) = self.discard() {
            tracing::warn!(file = self.name, ?fault, "a staged file stays until the next sweep");
        }
    }
}

impl fmt::Debug for Staged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Staged").field(&self.name).finish()
    }
}
