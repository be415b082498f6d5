//! Room: the bound on what is kept, and what goes when it is reached.
//!
//! Blocks are spread evenly over 256 directories, and these are divided into groups, each with its
//! share of the size. Nobody keeps an index: a group is looked at when it is used for the first
//! time, then each time this process has added a sixteenth of the share, and when the share is used up; then
//! the blocks go that were not used for longest. So memory is bounded by one group's list, and
//! processes that share a directory find out of each other's blocks.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ezdfs_core::Clock;
use rustix::fs::{FlockOperation, flock};

use crate::counters::{Counters, add};
use crate::disk::Disk;

/// A group has a share of about this many bytes at least, so that shares fill evenly.
const SHARE: u64 = 128 << 20;
/// Most groups.
const GROUPS: u64 = 64;
/// What a file occupies is counted in these.
const UNIT: u64 = 4096;
/// Between two looks at a group while the disk is too full.
const FULL_PAUSE: Duration = Duration::from_secs(5);

/// The bound, and how far it is used.
#[derive(Debug)]
pub(crate) struct Room {
    share: u64,
    min_free: u64,
    groups: Vec<Mutex<Group>>,
}

#[derive(Debug, Default)]
struct Group {
    /// Bytes at the last look; `None` before the first.
    seen: Option<u64>,
    /// Bytes that this process has added since.
    added: u64,
    /// Time since boot of the last look that was made because the disk is too full.
    full_at: Option<Duration>,
}

/// A file of a group.
#[derive(Debug)]
struct Kept {
    used: (i64, i64),
    bytes: u64,
    fan: u8,
    name: String,
}

impl Room {
    pub(crate) fn new(size: u64, min_free: u64) -> Self {
        // A power of two, so that each group has as many directories.
        let groups = 1_u64 << (size / SHARE).clamp(1, GROUPS).ilog2();
        let mut all = Vec::new();
        all.resize_with(usize::try_from(groups).unwrap_or(1), Mutex::default);
        Self { share: size / groups, min_free, groups: all }
    }

    /// Makes room for a block; `false` when there is none to be had.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub(crate) fn reserve(
        &self,
        disk: &Disk,
        clock: &dyn Clock,
        counters: &Counters,
        fan: u8,
        bytes: u64,
    ) -> io::Result<bool> {
        let bytes = charge(bytes);
        let number = usize::from(fan) % self.groups.len();
        let Some(group) = self.groups.get(number) else { return Ok(false) };
        let mut group = group.lock().unwrap_or_else(PoisonError::into_inner);
        let short = self.short_of(disk, bytes);
        let fits = group.seen.is_some_and(|seen| seen + group.added + bytes <= self.share);
        if fits && short == 0 && group.added <= self.share / 16 {
            group.added += bytes;
            return Ok(true);
        }
        if short > 0 {
            let now = clock.boot();
            if group.full_at.is_some_and(|at| now.saturating_sub(at) < FULL_PAUSE) {
                return Ok(false);
            }
            group.full_at = Some(now);
        }
        // Processes take turns: two that evict at once would evict twice as much.
        let lock = match lock(disk, number) {
            Ok(lock) => lock,
            // No directory yet, so nothing to look at.
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        if let Err(e) = disk.sweep() {
            tracing::debug!(error = %e, "what dead writers left in the cache was not swept");
        }
        let seen = self.make(disk, counters, number, bytes, short)?;
        drop(lock);
        group.seen = Some(seen);
        group.added = 0;
        let is_there = seen + bytes <= self.share && self.short_of(disk, bytes) == 0;
        if is_there {
            group.added = bytes;
        }
        Ok(is_there)
    }

    /// How many bytes too few would be free.
    fn short_of(&self, disk: &Disk, bytes: u64) -> u64 {
        let needed = self.min_free.saturating_add(bytes);
        disk.available().map_or(0, |available| needed.saturating_sub(available))
    }

    /// Looks at a group and evicts from it what is necessary; says what is left.
    fn make(
        &self,
        disk: &Disk,
        counters: &Counters,
        group: usize,
        bytes: u64,
        short: u64,
    ) -> io::Result<u64> {
        let mut kept = Vec::new();
        let mut total = 0_u64;
        let fans = (0..=u8::MAX).filter(|fan| usize::from(*fan) % self.groups.len() == group);
        for fan in fans {
            each(disk, fan, |file| {
                total += file.bytes;
                kept.push(file);
            })?;
        }
        let mut bound = if total + bytes > self.share { self.share / 8 * 7 } else { u64::MAX };
        bound = bound.saturating_sub(bytes).min(total.saturating_sub(short));
        if total > bound {
            kept.sort_unstable_by_key(|file| file.used);
            for file in kept {
                if total <= bound {
                    break;
                }
                if std::fs::remove_file(disk.fan(file.fan).join(&file.name)).is_ok() {
                    add(&counters.evictions, 1);
                }
                total -= file.bytes;
            }
        }
        Ok(total)
    }
}

/// Number and bytes of all files; a look at every one.
///
/// # Errors
/// When the directory cannot be read.
pub(crate) fn usage(disk: &Disk) -> io::Result<(u64, u64)> {
    let (mut files, mut bytes) = (0_u64, 0_u64);
    for fan in 0..=u8::MAX {
        each(disk, fan, |file| {
            files += 1;
            bytes += file.bytes;
        })?;
    }
    Ok((files, bytes))
}

fn each(disk: &Disk, fan: u8, mut see: impl FnMut(Kept)) -> io::Result<()> {
    let entries = match std::fs::read_dir(disk.fan(fan)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        // What is gone meanwhile, and what is no file of ours, does not count.
        let (Ok(meta), Ok(name)) = (entry.metadata(), entry.file_name().into_string()) else {
            continue;
        };
        if meta.is_file() {
            let used = (meta.mtime(), meta.mtime_nsec());
            see(Kept { used, bytes: charge(meta.len()), fan, name });
        }
    }
    Ok(())
}

fn charge(bytes: u64) -> u64 {
    bytes.div_ceil(UNIT).saturating_mul(UNIT)
}

/// The lock of a group, released when it is dropped.
fn lock(disk: &Disk, group: usize) -> io::Result<Option<File>> {
    let path: PathBuf = disk.tmp().with_file_name(format!("lock-{group:02x}"));
    let file = File::options().write(true).create(true).truncate(false).open(path)?;
    flock(&file, FlockOperation::LockExclusive)?;
    Ok(Some(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_the_size() {
        for size in [1 << 20, 64 << 20, 300 << 20, 10 << 30, 10 << 40] {
            let room = Room::new(size, 0);
            let groups = u64::try_from(room.groups.len()).unwrap();
            assert!(256 % groups == 0 && groups <= GROUPS, "{size}");
            assert!(room.share * groups <= size, "{size}");
            assert!(room.share * groups > size - groups, "{size}");
            assert!(room.share >= SHARE || groups == 1, "{size}");
        }
    }
}
