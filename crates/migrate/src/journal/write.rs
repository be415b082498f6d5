//! Writing a journal: locked, appended to, synced.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ezdfs_core::{Error, ErrorKind, Result};
use tokio::time::Instant;

use super::format::{Header, Line, MAGIC, VERSION};
use super::resume::{Before, may_be_journal};

/// Longest time that a line is not on disk.
pub(crate) const SYNC_EVERY: Duration = Duration::from_secs(1);

/// An open journal. The lock on the file keeps other runs away until it is finished or dropped.
#[derive(Debug)]
pub(crate) struct Journal {
    file: Arc<File>,
    /// For messages.
    path: PathBuf,
    lines: Vec<u8>,
    synced_at: Instant,
    unsynced: bool,
}

impl Journal {
    /// Opens the journal at `path` and says what the runs before have done. A finished journal,
    /// one that was torn in its first line, or with `restart` any journal is begun anew.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while another run has it; [`ErrorKind::Usage`] when it is unfinished and
    /// about other sides or filters, or the file is no journal; [`ErrorKind::Corrupt`].
    pub(crate) async fn open(
        path: &Path,
        header: Header,
        restart: bool,
        now: i64,
    ) -> Result<(Self, Before)> {
        let at = path.to_owned();
        let (file, before) = blocking(move || open(&at, &header, restart)).await?;
        let mut journal = Self::on(file, path);
        if before.good > 0 {
            journal.add(&Line::Resumed(now))?;
        }
        Ok((journal, before))
    }

    /// A journal that is gone with the process: for dry runs.
    ///
    /// # Errors
    /// When no temporary file can be made.
    pub(crate) async fn temporary(header: Header) -> Result<Self> {
        let path = std::env::temp_dir();
        let named = path.clone();
        let file = blocking(move || {
            tempfile::tempfile_in(&named).map_err(|e| failed("make a file in", &named, e))
        })
        .await?;
        let mut journal = Self::on(file, &path);
        journal.add(&Line::Header(header))?;
        Ok(journal)
    }

    fn on(file: File, path: &Path) -> Self {
        Self {
            file: Arc::new(file),
            path: path.to_owned(),
            lines: Vec::new(),
            synced_at: Instant::now(),
            unsynced: false,
        }
    }

    /// Adds a line; [`Self::append`] writes it.
    pub(crate) fn add(&mut self, line: &Line) -> Result<()> {
        line.write(&mut self.lines)
    }

    /// Hands the lines to the operating system, and with `sync`, or when the last time is
    /// [`SYNC_EVERY`] ago, to the disk.
    pub(crate) async fn append(&mut self, sync: bool) -> Result<()> {
        let lines = std::mem::take(&mut self.lines);
        self.unsynced |= !lines.is_empty();
        let sync = self.unsynced && (sync || self.synced_at.elapsed() >= SYNC_EVERY);
        if lines.is_empty() && !sync {
            return Ok(());
        }
        let (file, path) = (self.file.clone(), self.path.clone());
        blocking(move || {
            (&*file).write_all(&lines).map_err(|e| failed("write", &path, e))?;
            if sync {
                file.sync_data().map_err(|e| failed("sync", &path, e))?;
            }
            Ok(())
        })
        .await?;
        if sync {
            self.unsynced = false;
            self.synced_at = Instant::now();
        }
        Ok(())
    }

    /// The file, to read what was written. Appends do not mind where it is read.
    pub(crate) fn file(&self) -> Arc<File> {
        self.file.clone()
    }
}

fn open(path: &Path, header: &Header, restart: bool) -> Result<(File, Before)> {
    if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        fs::create_dir_all(dir).map_err(|e| failed("make the directory of", path, e))?;
    }
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .open(path)
        .map_err(|e| failed("open", path, e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Error::new(
                ErrorKind::Busy,
                format!(
                    "another migration is using the journal `{}`; wait for it, or name another \
                     file with --journal",
                    path.display()
                ),
            ));
        }
        Err(TryLockError::Error(e)) => return Err(failed("lock", path, e)),
    }
    let mut start = Vec::new();
    let magic = u64::try_from(MAGIC.len()).unwrap_or(u64::MAX);
    (&file).take(magic).read_to_end(&mut start).map_err(|e| failed("read", path, e))?;
    if !may_be_journal(&start) {
        return Err(Error::new(
            ErrorKind::Usage,
            format!(
                "`{}` is not a journal of migrate-files and is left alone; name another file with \
                 --journal",
                path.display()
            ),
        ));
    }
    let before = if restart { Before::default() } else { read(&mut file, path)? };
    let before = match &before.header {
        Some(_) if before.ended => Before::default(),
        Some(old) if *old != *header => return Err(other(path, old, header)),
        _ => before,
    };
    if before.header.is_none() {
        begin(&file, path, header)?;
        return Ok((file, Before::default()));
    }
    // What a crash tore goes, so that the next line starts a line.
    file.set_len(before.good).map_err(|e| failed("cut", path, e))?;
    Ok((file, before))
}

fn read(file: &mut File, path: &Path) -> Result<Before> {
    file.seek(SeekFrom::Start(0)).map_err(|e| failed("read", path, e))?;
    Before::read(BufReader::new(&*file)).map_err(|e| e.context(path.display()))
}

/// Empties the file and writes the header, durably, with the name of the file.
fn begin(file: &File, path: &Path, header: &Header) -> Result<()> {
    let mut first = Vec::new();
    Line::Header(header.clone()).write(&mut first)?;
    let dir = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = || -> io::Result<()> {
        file.set_len(0)?;
        { file }.write_all(&first)?;
        file.sync_all()?;
        File::open(dir)?.sync_all()
    };
    written().map_err(|e| failed("begin", path, e))
}

fn other(path: &Path, old: &Header, new: &Header) -> Error {
    let newer = if old.version > VERSION { " (it is of a newer ezdfs)" } else { "" };
    Error::new(
        ErrorKind::Usage,
        format!(
            "the journal `{}` is of an unfinished migration that differs in {}{newer}: it was from \
             {} to {}. Repeat that command to finish it, name another file with --journal, or give \
             --restart to forget it",
            path.display(),
            old.differences(new).join("; "),
            old.from,
            old.to,
        ),
    )
}

fn failed(what: &str, path: &Path, e: io::Error) -> Error {
    let kind = match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::NoSpace,
        io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        io::ErrorKind::ReadOnlyFilesystem => ErrorKind::ReadOnly,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("cannot {what} the journal `{}`", path.display())).with_source(e)
}

/// Runs file work on a blocking thread.
pub(crate) async fn blocking<T: Send + 'static>(
    step: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(step).await.map_err(|e| {
        Error::new(ErrorKind::Internal, "a file operation did not finish").with_source(e)
    })?
}
