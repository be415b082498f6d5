//! A real copy: shared extents where the file system can, never a hard link, which an in-place
//! write of a PHP node would show under both names.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{copy_file_range, fstat, ioctl_ficlone};
use rustix::io::{Errno, pread, pwrite, retry_on_intr};

use super::disk::Disk;
use super::fault::{Doing, Fault};
use super::get::changed;
use super::identity::Identity;
use super::place::Onto;
use super::staged::Staged;

/// Bytes per step where the kernel cannot copy by itself.
const STEP: usize = 256 * 1024;

impl Disk {
    /// Copies an object through a staged file.
    pub(super) fn copy(self: &Arc<Self>, from: &str, to: &str, create: bool) -> Result<(), Fault> {
        let (source, identity) = self
            .fresh(|root| Ok(self.open_object(root, from)?))
            .map_err(|fault| Doing::read("read", from).failed(fault))?;
        let staged = Staged::create(self)?;
        copy_bytes(&source, staged.file(), identity.size()).map_err(|fault| match fault {
            Fault::Os(Errno::NODATA) => changed(from),
            fault => fault,
        })?;
        if Identity::of(&fstat(&source)?) != identity {
            return Err(changed(from));
        }
        staged.seal(identity.size())?;
        let onto = if create { Onto::Nothing } else { Onto::Any };
        self.place(&staged, to, &onto)
    }
}

/// The cheapest way that works. ENODATA when the source ends early.
fn copy_bytes(source: &OwnedFd, target: &OwnedFd, size: u64) -> Result<(), Fault> {
    if size == 0 || ioctl_ficlone(target, source).is_ok() {
        return Ok(());
    }
    let done = copy_in_kernel(source, target, size)?;
    copy_by_hand(source, target, done, size)
}

/// copy_file_range(2) as far as it goes: some file systems refuse it, some stop early.
fn copy_in_kernel(source: &OwnedFd, target: &OwnedFd, size: u64) -> Result<u64, Fault> {
    let (mut from, mut to) = (0, 0);
    while to < size {
        let left = usize::try_from(size - to).unwrap_or(usize::MAX).min(1 << 30);
        match copy_file_range(source, Some(&mut from), target, Some(&mut to), left) {
            Err(Errno::INTR) => {}
            Err(e @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::IO | Errno::STALE)) => {
                return Err(e.into());
            }
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    Ok(to)
}

fn copy_by_hand(source: &OwnedFd, target: &OwnedFd, from: u64, size: u64) -> Result<(), Fault> {
    if from >= size {
        return Ok(());
    }
    let mut at = from;
    let mut buffer = vec![0; STEP];
    while at < size {
        let want = usize::try_from(size - at).unwrap_or(STEP).min(STEP);
        let n = retry_on_intr(|| pread(source, &mut buffer[..want], at))?;
        if n == 0 {
            return Err(Errno::NODATA.into());
        }
        let mut written = 0;
        while written < n {
            let step = u64::try_from(written).map_err(|_| Errno::FBIG)?;
            match retry_on_intr(|| pwrite(target, &buffer[written..n], at + step))? {
                0 => return Err(Errno::IO.into()),
                w => written += w,
            }
        }
        at += u64::try_from(n).map_err(|_| Errno::FBIG)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_copy_by_hand_takes_over_where_the_kernel_stopped() {
        let bytes: Vec<u8> =
            (0..u32::try_from(STEP).unwrap() + 77).map(|i| i.to_le_bytes()[0]).collect();
        let source = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(source.path(), &bytes).unwrap();
        let mut target = tempfile::tempfile().unwrap();
        let size = u64::try_from(bytes.len()).unwrap();
        let from = OwnedFd::from(source.reopen().unwrap());
        let to = OwnedFd::from(target.try_clone().unwrap());
        pwrite(&to, &bytes[..5], 0).unwrap();
        copy_by_hand(&from, &to, 5, size).unwrap();
        let mut got = Vec::new();
        target.read_to_end(&mut got).unwrap();
        assert!(got == bytes);
        let short = copy_by_hand(&from, &to, 0, size + 1);
        assert!(matches!(short, Err(Fault::Os(Errno::NODATA))), "{short:?}");
    }
}
