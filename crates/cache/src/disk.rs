//! The directory: blocks are written aside and renamed into place whole, and looked at with
//! suspicion. Everything here blocks.
//!
//! ```text
//! DIR/CACHEDIR.TAG        tells backups to pass over
//! DIR/v1/tmp/             blocks that are being written, each locked by its writer
//! DIR/v1/00/ … v1/ff/     blocks
//! ```
//! Paths are walked anew each time, so that the directory may be deleted under a running process.
//! Several processes share it: a name only ever changes from nothing to a whole block and back.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ezdfs_core::Timestamp;
use rustix::fs::{FlockOperation, Timespec, Timestamps, UTIME_OMIT, flock, fstat, futimens};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2, pwrite, retry_on_intr};

use crate::format::{Layout, Summing};
use crate::key::{BLOCK, Key, PIECE};

/// A block that is used is marked as used when the last mark is older than this.
const MARK_EVERY: i64 = 60;

/// The signature of https://bford.info/cachedir/.
const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
                   # Copies of files that ezdfs serves. It may be deleted at any time.\n";

/// The directory of a cache.
#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
    blocks: PathBuf,
}

/// An open block. What of it is on disk may still grow.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    file: Arc<File>,
    /// Where it begins in the content.
    start: u64,
    data_at: u64,
    /// Checksum of each piece; none while the block is being written by this process.
    checksums: Arc<[u32]>,
    /// Bytes of the content in this block.
    len: u64,
}

/// Why a block could not be used.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// There is none.
    Missing,
    /// It is torn, or something else. It is removed.
    Torn,
    /// The disk fails.
    Failed(io::Error),
}

impl Disk {
    pub(crate) fn new(root: PathBuf) -> Self {
        let blocks = root.join("v1");
        Self { root, blocks }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn fan(&self, fan: u8) -> PathBuf {
        self.blocks.join(format!("{fan:02x}"))
    }

    pub(crate) fn tmp(&self) -> PathBuf {
        self.blocks.join("tmp")
    }

    fn path(&self, key: &Key, block: u64) -> PathBuf {
        self.fan(key.fan(block)).join(key.name(block))
    }

    /// Whether there is something under the name of a block.
    pub(crate) fn has(&self, key: &Key, block: u64) -> bool {
        rustix::fs::stat(self.path(key, block)).is_ok()
    }

    /// The blocks from the first on that are not there.
    pub(crate) fn gap(&self, key: &Key, blocks: Range<u64>) -> Range<u64> {
        let end = blocks.clone().find(|b| self.has(key, *b)).unwrap_or(blocks.end);
        blocks.start..end
    }

    /// Opens a block and reads the piece at `pos`, as far as `end`.
    pub(crate) fn open(
        &self,
        key: &Key,
        block: u64,
        within: Range<u64>,
        now: Timestamp,
    ) -> Result<(Block, Bytes), Unusable> {
        let path = self.path(key, block);
        let opened = Self::open_at(&path, key, block, within, now);
        if matches!(opened, Err(Unusable::Torn)) {
            self.remove(key, block);
        }
        opened
    }

    /// Takes a block away that turned out to be torn.
    pub(crate) fn remove(&self, key: &Key, block: u64) {
        let path = self.path(key, block);
        tracing::warn!(path = %path.display(), "a file in the cache is torn and is removed");
        // Err: somebody else was faster, or nothing can be done.
        let _ = std::fs::remove_file(path);
    }

    fn open_at(
        path: &Path,
        key: &Key,
        block: u64,
        within: Range<u64>,
        now: Timestamp,
    ) -> Result<(Block, Bytes), Unusable> {
        let layout = Layout::of(key, block).ok_or(Unusable::Missing)?;
        let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let stat = fstat(&file).map_err(io::Error::from)?;
        let is_file = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file();
        if !is_file || u64::try_from(stat.st_size) != Ok(layout.file_len()) {
            return Err(Unusable::Torn);
        }
        let bytes = key.bytes(block);
        let mut opened = Block {
            file: Arc::new(file),
            start: bytes.start,
            data_at: layout.data_at(),
            checksums: Arc::default(),
            len: bytes.end - bytes.start,
        };
        // Header and first piece in one call, if that is the piece that is asked for.
        let first = within.start.saturating_sub(bytes.start) < PIECE;
        let data = if first { opened.len.min(PIECE) } else { 0 };
        let want = usize::try_from(layout.data_at() + data).map_err(|_| Unusable::Torn)?;
        let head = read_exact(&opened.file, want, 0)?;
        let checksums = layout.decode(&head).ok_or(Unusable::Torn)?;
        opened.checksums = checksums.into();
        if now.secs().saturating_sub(stat.st_mtime) > MARK_EVERY {
            mark(&opened.file, now);
        }
        let piece = if first {
            let data = Bytes::from(head).slice(layout.header_len()..);
            opened.verified(bytes.start, data, &within)?
        } else {
            opened.read(within)?
        };
        Ok((opened, piece))
    }

    /// Begins a block beside the others. Directories are made as needed.
    pub(crate) fn create(&self, key: &Key, block: u64, temporary: &str) -> io::Result<Writer> {
        let layout = Layout::of(key, block)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the key is too long"))?;
        let path = self.tmp().join(temporary);
        let file = self.claim(&path)?;
        let temporary = Temporary(Some(path));
        let bytes = key.bytes(block);
        let opened = Block {
            file: Arc::new(file),
            start: bytes.start,
            data_at: layout.data_at(),
            checksums: Arc::default(),
            len: bytes.end - bytes.start,
        };
        let target = self.path(key, block);
        Ok(Writer { opened, layout, summing: Summing::default(), written: 0, temporary, target })
    }

    /// A new file that is locked until it is closed, by the death of the process at the latest.
    /// Between the two steps it looks like what a dead writer left, so sweeps are kept out.
    fn claim(&self, path: &Path) -> io::Result<File> {
        match self.try_claim(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.make_dir(&self.tmp())?;
                self.tag();
                self.try_claim(path)
            }
            claimed => claimed,
        }
    }

    fn try_claim(&self, path: &Path) -> io::Result<File> {
        let dir = File::open(self.tmp())?;
        retry_on_intr(|| flock(&dir, FlockOperation::LockShared))?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(path)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(file)
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
    }

    fn tag(&self) {
        let path = self.root.join("CACHEDIR.TAG");
        // Err: it is there, or backups take more than they need.
        if let Ok(mut file) = OpenOptions::new().write(true).create_new(true).open(path) {
            let _ = io::Write::write_all(&mut file, TAG.as_bytes());
        }
    }

    /// Removes what writers left that are dead. A lock that can be had is nobody's. Another time
    /// will do as well: while files are being made, nothing is done.
    pub(crate) fn sweep(&self) -> io::Result<()> {
        let dir = match File::open(self.tmp()) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            dir => dir?,
        };
        if flock(&dir, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(());
        }
        let entries = match std::fs::read_dir(self.tmp()) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            let Ok(file) = File::open(&path) else { continue };
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                // Err: it was put into place, or somebody else sweeps.
                let _ = std::fs::remove_file(&path);
            }
        }
        Ok(())
    }

    /// Bytes that others than root may still write; `None` when that is not known.
    pub(crate) fn available(&self) -> Option<u64> {
        let above = self.root.ancestors().find_map(|dir| rustix::fs::statvfs(dir).ok())?;
        Some(above.f_bavail.saturating_mul(above.f_frsize))
    }
}

impl From<io::Error> for Unusable {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing,
            io::ErrorKind::UnexpectedEof => Self::Torn,
            _ => Self::Failed(e),
        }
    }
}

/// Marks a file as used now.
fn mark(file: &File, now: Timestamp) {
    let time = Timespec { tv_sec: now.secs(), tv_nsec: now.nanos().rem_euclid(1_000_000_000) };
    let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    // Err: of another user; then it counts as used when it was written.
    let _ = futimens(file, &Timestamps { last_access: omit, last_modification: time });
}

impl Block {
    /// Where the content goes on behind this block.
    pub(crate) fn end(&self) -> u64 {
        self.start + self.len
    }

    pub(crate) fn covers(&self, pos: u64) -> bool {
        (self.start..self.end()).contains(&pos)
    }

    /// The piece at the start of a range, as far as its end, compared with its checksum.
    pub(crate) fn read(&self, within: Range<u64>) -> Result<Bytes, Unusable> {
        let from = self.piece_at(within.start);
        let len = self.piece_len(from)?;
        let piece = read_exact(&self.file, len, self.data_at + (from - self.start))?;
        self.verified(from, piece.into(), &within)
    }

    /// The same if the page cache has it.
    pub(crate) fn read_cached(&self, within: Range<u64>) -> Option<Result<Bytes, Unusable>> {
        let from = self.piece_at(within.start);
        let len = self.piece_len(from).ok()?;
        let piece = cached(&self.file, len, self.data_at + (from - self.start))?;
        Some(self.verified(from, piece.into(), &within))
    }

    /// What is written of a range, while this process writes the block.
    pub(crate) fn read_growing(&self, within: Range<u64>) -> Result<Bytes, Unusable> {
        let (len, at) = self.growing(&within);
        Ok(read_exact(&self.file, len, at)?.into())
    }

    /// The same if the page cache has it, as it should.
    pub(crate) fn read_growing_cached(&self, within: Range<u64>) -> Option<Bytes> {
        let (len, at) = self.growing(&within);
        cached(&self.file, len, at).map(Bytes::from)
    }

    fn growing(&self, within: &Range<u64>) -> (usize, u64) {
        let len = (within.end.min(self.end()) - within.start).min(PIECE);
        // PIECE fits any usize, and so does what is less.
        let len = usize::try_from(len).unwrap_or_default();
        (len, self.data_at + (within.start - self.start))
    }

    fn piece_at(&self, pos: u64) -> u64 {
        pos - (pos - self.start) % PIECE
    }

    fn piece_len(&self, from: u64) -> Result<usize, Unusable> {
        usize::try_from((self.end() - from).min(PIECE)).map_err(|_| Unusable::Torn)
    }

    /// A whole piece that begins at `from`, compared and cut to the range.
    fn verified(&self, from: u64, piece: Bytes, within: &Range<u64>) -> Result<Bytes, Unusable> {
        if self.len == 0 {
            return Ok(Bytes::new());
        }
        let number = usize::try_from((from - self.start) / PIECE).map_err(|_| Unusable::Torn)?;
        if self.checksums.get(number) != Some(&crc32fast::hash(&piece)) {
            return Err(Unusable::Torn);
        }
        let cut = |pos: u64| usize::try_from(pos.saturating_sub(from)).unwrap_or(usize::MAX);
        let end = cut(within.end).min(piece.len());
        Ok(piece.slice(cut(within.start).min(end)..end))
    }
}

/// So many bytes, or an error.
fn read_exact(file: &File, len: usize, at: u64) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; len];
    let mut done = 0;
    while done < len {
        let from = at.saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
        match retry_on_intr(|| pread(file, &mut buffer[done..], from))? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => done += n,
        }
    }
    Ok(buffer)
}

/// A whole buffer from the page cache, or nothing.
fn cached(file: &File, len: usize, at: u64) -> Option<Vec<u8>> {
    let mut buffer = vec![0; len];
    let mut slices = [io::IoSliceMut::new(&mut buffer)];
    let read = preadv2(file, &mut slices, at, ReadWriteFlags::NOWAIT).ok()?;
    (read == len).then_some(buffer)
}

/// A name that goes when nobody moved it into place.
#[derive(Debug)]
struct Temporary(Option<PathBuf>);

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // Err: the sweep removes it.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A block that is being written.
#[derive(Debug)]
pub(crate) struct Writer {
    opened: Block,
    layout: Layout,
    summing: Summing,
    written: u64,
    temporary: Temporary,
    target: PathBuf,
}

impl Writer {
    /// The block, for those who read it while it grows.
    pub(crate) fn block(&self) -> &Block {
        &self.opened
    }

    /// Where the content goes on behind what is written.
    pub(crate) fn position(&self) -> u64 {
        self.opened.start + self.written
    }

    /// Bytes of the block that are still to be written.
    pub(crate) fn left(&self) -> u64 {
        self.opened.len - self.written
    }

    /// Writes on.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        write_all(&self.opened.file, bytes, self.opened.data_at + self.written)?;
        self.summing.update(bytes);
        self.written += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Puts a block that is complete into place, over one that another process may have put there.
    /// It is not made durable: what a power cut leaves of it does not fit its checksums.
    pub(crate) fn finish(mut self, disk: &Disk, now: Timestamp) -> io::Result<()> {
        let header = self.layout.encode(&self.summing.finish());
        write_all(&self.opened.file, &header, 0)?;
        mark(&self.opened.file, now);
        let Some(from) = self.temporary.0.take() else { return Ok(()) };
        let moved = match std::fs::rename(&from, &self.target) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.target.parent().map_or(Ok(()), |dir| disk.make_dir(dir))?;
                std::fs::rename(&from, &self.target)
            }
            moved => moved,
        };
        if moved.is_err() {
            self.temporary.0 = Some(from);
        }
        moved
    }
}

fn write_all(file: &File, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let n = match retry_on_intr(|| pwrite(file, bytes, at))? {
            0 => return Err(Errno::NOSPC.into()),
            n => n,
        };
        bytes = &bytes[n..];
        at = at.saturating_add(u64::try_from(n).unwrap_or(u64::MAX));
    }
    Ok(())
}

// A block fits a header's 32-bit numbers.
const _: () = assert!(BLOCK <= 1 << 30 && BLOCK.is_multiple_of(PIECE));

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Ends the sweeps, also when the test fails.
    struct Over<'a>(&'a AtomicBool);

    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Sweeps come whenever a part of a cache is looked at, also by other processes.
    #[test]
    fn a_sweep_leaves_new_files_alone() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new(dir.path().to_owned());
        let now = Timestamp::from_secs(1_700_000_000);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let _over = Over(&is_over);
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    disk.sweep().unwrap();
                }
            });
            for n in 0..500 {
                let key = Key::new("s3", &format!("a/{n}"), "1", 3);
                let mut writer = disk.create(&key, 0, "new").unwrap();
                writer.write(b"abc").unwrap();
                writer.finish(&disk, now).unwrap();
                assert!(disk.has(&key, 0), "{n}");
            }
        });
    }
}
