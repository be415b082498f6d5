//! `Sorter`: puts any number of records in order, in bounded memory.
//!
//! Stores list in different orders, and so do databases. What has to be compared is therefore
//! sorted here: in memory while it is little, else in runs in one file that has no name, so that
//! nothing stays behind after a kill -9.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use ezdfs_core::{Error, ErrorKind, Result};

/// Bytes of records that are sorted at once.
const RUN_BYTES: usize = 16 << 20;
/// Bytes that all runs together read ahead, and the bounds for one.
const AHEAD: usize = 8 << 20;
const AHEAD_MIN: usize = 4 << 10;
const AHEAD_MAX: usize = 64 << 10;
/// Records that are handed over at once.
const BATCH: usize = 1_024;

/// Takes records in any order.
#[derive(Debug)]
pub(super) struct Sorter {
    records: Records,
    run_bytes: usize,
    file: Option<Arc<File>>,
    end: u64,
    runs: Vec<Range<u64>>,
}

/// Records, one behind the other in one piece of memory.
#[derive(Debug, Default)]
struct Records {
    bytes: Vec<u8>,
    places: Vec<Range<usize>>,
}

impl Records {
    fn sort(&mut self) {
        let bytes = &self.bytes;
        self.places.sort_unstable_by(|a, b| bytes[a.clone()].cmp(&bytes[b.clone()]));
    }

    fn memory(&self) -> usize {
        self.bytes.len() + self.places.len() * size_of::<Range<usize>>()
    }
}

impl Sorter {
    pub(super) fn new() -> Self {
        Self::with_runs_of(RUN_BYTES)
    }

    fn with_runs_of(run_bytes: usize) -> Self {
        Self { records: Records::default(), run_bytes, file: None, end: 0, runs: Vec::new() }
    }

    /// Takes a record.
    ///
    /// # Errors
    /// When there is no room for temporary files.
    pub(super) async fn push(&mut self, record: &[u8]) -> Result<()> {
        if self.records.memory() + record.len() > self.run_bytes && !self.records.places.is_empty()
        {
            self.spill().await?;
        }
        let from = self.records.bytes.len();
        self.records.bytes.extend_from_slice(record);
        self.records.places.push(from..self.records.bytes.len());
        Ok(())
    }

    /// The records in the order of their bytes.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub(super) async fn sorted(mut self) -> Result<Sorted> {
        let Some(file) = self.file.clone() else {
            let mut records = self.records;
            let records = blocking(move || {
                records.sort();
                Ok(records)
            })
            .await?;
            let next = 0;
            return Ok(Sorted {
                source: Some(Source::Memory { records, next }),
                ready: VecDeque::new(),
            });
        };
        if !self.records.places.is_empty() {
            self.spill().await?;
        }
        let ahead = (AHEAD / self.runs.len().max(1)).clamp(AHEAD_MIN, AHEAD_MAX);
        let runs = self.runs.into_iter().map(|range| Run::new(range, ahead)).collect();
        let merge = blocking(move || Merge::start(file, runs)).await?;
        Ok(Sorted { source: Some(Source::Merge(merge)), ready: VecDeque::new() })
    }

    async fn spill(&mut self) -> Result<()> {
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => {
                let made = blocking(|| tempfile::tempfile().map_err(no_room)).await?;
                Arc::clone(self.file.insert(Arc::new(made)))
            }
        };
        let mut records = std::mem::take(&mut self.records);
        let from = self.end;
        self.end = blocking(move || {
            records.sort();
            let mut out = Vec::with_capacity(AHEAD_MAX + 4);
            let mut at = from;
            for place in &records.places {
                let record = &records.bytes[place.clone()];
                let len = u32::try_from(record.len()).map_err(|_| too_long())?;
                out.extend_from_slice(&len.to_le_bytes());
                out.extend_from_slice(record);
                if out.len() >= AHEAD_MAX {
                    at = write(&file, &mut out, at)?;
                }
            }
            write(&file, &mut out, at)
        })
        .await?;
        self.runs.push(from..self.end);
        Ok(())
    }
}

fn write(file: &File, out: &mut Vec<u8>, at: u64) -> Result<u64> {
    file.write_all_at(out, at).map_err(no_room)?;
    let end = at + u64::try_from(out.len()).unwrap_or(u64::MAX);
    out.clear();
    Ok(end)
}

/// Gives records in the order of their bytes.
#[derive(Debug)]
pub(super) struct Sorted {
    source: Option<Source>,
    ready: VecDeque<Vec<u8>>,
}

#[derive(Debug)]
enum Source {
    Memory { records: Records, next: usize },
    Merge(Merge),
}

impl Sorted {
    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// When the temporary file cannot be read.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        if self.ready.is_empty()
            && let Some(source) = self.source.take()
        {
            let (source, ready) = blocking(move || source.batch()).await?;
            // At the end the source goes, and with it memory and file.
            self.source = if ready.len() < BATCH { None } else { Some(source) };
            self.ready = ready;
        }
        Ok(self.ready.pop_front())
    }
}

impl Source {
    fn batch(mut self) -> Result<(Self, VecDeque<Vec<u8>>)> {
        let mut batch = VecDeque::with_capacity(BATCH);
        while batch.len() < BATCH {
            let record = match &mut self {
                Self::Memory { records, next } => {
                    let place = records.places.get(*next).cloned();
                    *next += 1;
                    place.map(|place| records.bytes[place].to_vec())
                }
                Self::Merge(merge) => merge.next()?,
            };
            let Some(record) = record else { break };
            batch.push_back(record);
        }
        Ok((self, batch))
    }
}

/// A run that is being read.
#[derive(Debug)]
struct Run {
    left: Range<u64>,
    ahead: usize,
    buffer: Vec<u8>,
    at: usize,
}

impl Run {
    fn new(left: Range<u64>, ahead: usize) -> Self {
        Self { left, ahead, buffer: Vec::new(), at: 0 }
    }

    fn next(&mut self, file: &File) -> Result<Option<Vec<u8>>> {
        let Some(len) = self.take(file, 4)? else { return Ok(None) };
        let len = <[u8; 4]>::try_from(len.as_slice()).map(u32::from_le_bytes).map_err(|_| cut())?;
        let len = usize::try_from(len).map_err(|_| cut())?;
        self.take(file, len)?.map(Some).ok_or_else(cut)
    }

    fn take(&mut self, file: &File, wanted: usize) -> Result<Option<Vec<u8>>> {
        if self.buffer.len() - self.at < wanted {
            self.fill(file, wanted)?;
        }
        if self.buffer.len() - self.at < wanted {
            return Ok(None);
        }
        let taken = self.buffer[self.at..self.at + wanted].to_vec();
        self.at += wanted;
        Ok(Some(taken))
    }

    fn fill(&mut self, file: &File, wanted: usize) -> Result<()> {
        self.buffer.drain(..self.at);
        self.at = 0;
        let left = usize::try_from(self.left.end - self.left.start).unwrap_or(usize::MAX);
        let more = self.ahead.max(wanted).min(left);
        let from = self.buffer.len();
        self.buffer.resize(from + more, 0);
        file.read_exact_at(&mut self.buffer[from..], self.left.start).map_err(|e| {
            Error::new(ErrorKind::Unavailable, "a temporary file cannot be read").with_source(e)
        })?;
        self.left.start += u64::try_from(more).unwrap_or(u64::MAX);
        Ok(())
    }
}

/// Many runs, read as one.
#[derive(Debug)]
struct Merge {
    file: Arc<File>,
    runs: Vec<Run>,
    heads: BinaryHeap<Reverse<(Vec<u8>, usize)>>,
}

impl Merge {
    fn start(file: Arc<File>, runs: Vec<Run>) -> Result<Self> {
        let mut merge = Self { file, heads: BinaryHeap::with_capacity(runs.len()), runs };
        for run in 0..merge.runs.len() {
            merge.advance(run)?;
        }
        Ok(merge)
    }

    fn advance(&mut self, run: usize) -> Result<()> {
        if let Some(record) = self.runs[run].next(&self.file)? {
            self.heads.push(Reverse((record, run)));
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let Some(Reverse((record, run))) = self.heads.pop() else { return Ok(None) };
        self.advance(run)?;
        Ok(Some(record))
    }
}

async fn blocking<T: Send + 'static>(
    step: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(step).await.map_err(|e| {
        Error::new(ErrorKind::Internal, "a thread that sorts broke off").with_source(e)
    })?
}

fn no_room(e: std::io::Error) -> Error {
    let kind = match e.kind() {
        std::io::ErrorKind::StorageFull => ErrorKind::NoSpace,
        _ => ErrorKind::Unavailable,
    };
    let dir = std::env::temp_dir();
    let text = format!(
        "a temporary file in {} cannot be written: fsck needs about 150 bytes there for each row \
         and object; set TMPDIR to a directory with more room",
        dir.display()
    );
    Error::new(kind, text).with_source(e)
}

fn too_long() -> Error {
    Error::new(ErrorKind::Internal, "a record of more than 4 GiB cannot be sorted")
}

fn cut() -> Error {
    Error::new(ErrorKind::Corrupt, "a temporary file was cut off")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sort(run_bytes: usize, records: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut sorter = Sorter::with_runs_of(run_bytes);
        for record in records {
            sorter.push(record).await.unwrap();
        }
        assert_eq!(sorter.file.is_some(), run_bytes < 1_000_000, "spilled");
        let mut sorted = sorter.sorted().await.unwrap();
        let mut all = Vec::new();
        while let Some(record) = sorted.next().await.unwrap() {
            all.push(record);
        }
        assert!(sorted.next().await.unwrap().is_none(), "the end stays the end");
        all
    }

    #[tokio::test]
    async fn order_is_the_same_in_memory_and_in_many_runs() {
        let records: Vec<Vec<u8>> = (0_u32..5_000)
            .map(|n| {
                let n = n.wrapping_mul(2_654_435_761) % 4_096;
                let tail = usize::try_from(n % 90).unwrap();
                [format!("{n:x}").as_bytes(), &vec![b'x'; tail]].concat()
            })
            .chain([Vec::new(), vec![7; 70_000]])
            .collect();
        let mut wanted = records.clone();
        wanted.sort();
        for run_bytes in [usize::MAX / 2, 40_000, 10_000, 1] {
            assert_eq!(sort(run_bytes, &records).await, wanted, "{run_bytes}");
        }
    }

    #[tokio::test]
    async fn nothing_is_nothing() {
        let mut sorted = Sorter::new().sorted().await.unwrap();
        assert!(sorted.next().await.unwrap().is_none());
    }
}
