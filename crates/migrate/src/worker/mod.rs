//! What is done for one file.

mod content;
mod index;
mod remove;

use std::sync::Arc;

use ezdfs_core::{Error, ErrorKind, FileMeta, FilePath, Pin, Result};
use ezdfs_engine::FileService;
use tokio_util::sync::CancellationToken;

use crate::options::Verify;
use crate::progress::Symbol;
use crate::reader::Reader;
use crate::sides::Halves;
use crate::transfer::Meter;

/// Everything that the files of one run share.
pub(crate) struct Worker {
    /// Reads the source; leaves it as it is.
    pub(crate) source: Reader,
    /// Reads the target, to compare and to verify.
    pub(crate) target: Reader,
    /// Writes the target.
    pub(crate) writer: FileService,
    /// Deletes from the source.
    pub(crate) remover: Option<FileService>,
    pub(crate) halves: Halves,
    pub(crate) verify: Verify,
    pub(crate) dry_run: bool,
    pub(crate) meter: Meter,
    pub(crate) retry_pauses: Arc<[std::time::Duration]>,
    pub(crate) cancel: CancellationToken,
}

/// What became of a file.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) symbol: Symbol,
    pub(crate) bytes: u64,
    pub(crate) why: Option<String>,
    /// The version that may now be deleted from the source.
    pub(crate) spent: Option<Spent>,
}

/// A version of the source whose copy was verified.
#[derive(Debug)]
pub(crate) struct Spent {
    meta: FileMeta,
    pin: Option<Pin>,
}

/// Why a file was not migrated.
enum Stop {
    /// The source has no such file, or no bytes for it.
    Missing(Error),
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(e: Error) -> Self {
        Self::Failed(e)
    }
}

impl Stop {
    /// Of an error of the source.
    fn of_source(e: Error) -> Self {
        match e.kind() {
            ErrorKind::NotFound | ErrorKind::MissingBytes => Self::Missing(e),
            _ => Self::Failed(e.context("source")),
        }
    }

    /// Of an error of the target.
    fn of_target(e: Error) -> Self {
        Self::Failed(e.context("target"))
    }
}

impl Outcome {
    fn of(symbol: Symbol, bytes: u64) -> Self {
        Self { symbol, bytes, why: None, spent: None }
    }

    pub(crate) fn failed(e: &Error) -> Self {
        let why = Some(e.to_string());
        Self { symbol: Symbol::Failed, bytes: 0, why, spent: None }
    }
}

impl Worker {
    /// Migrates one file. A failure that may pass is tried again after each of the pauses.
    pub(crate) async fn migrate(&self, path: &FilePath) -> Outcome {
        let mut pauses = self.retry_pauses.iter();
        let mut written = None;
        let outcome = loop {
            let attempt = match self.halves {
                Halves::Both | Halves::BinaryOnly => self.content(path, &mut written).await,
                Halves::MetadataOnly => self.index(path).await,
            };
            let failure = match attempt {
                Ok(mut outcome) => {
                    // Copied by an earlier try, whose check was not answered.
                    if let (Symbol::Same, Some(before)) = (outcome.symbol, written) {
                        (outcome.symbol, outcome.bytes) = before;
                    }
                    break outcome;
                }
                Err(Stop::Missing(e)) => {
                    let why = Some(e.to_string());
                    break Outcome { symbol: Symbol::Missing, bytes: 0, why, spent: None };
                }
                Err(Stop::Failed(e)) => e,
            };
            self.source.forget(path);
            self.target.forget(path);
            match pauses.next() {
                Some(pause) if failure.kind().is_transient() && !self.cancel.is_cancelled() => {
                    tracing::debug!(%path, error = %failure, "trying again in {pause:?}");
                    tokio::select! {
                        () = tokio::time::sleep(*pause) => {}
                        () = self.cancel.cancelled() => break Outcome::failed(&failure),
                    }
                }
                _ => break Outcome::failed(&failure),
            }
        };
        self.source.forget(path);
        self.target.forget(path);
        outcome
    }
}

/// What an object says of the row that should describe it.
enum Trust {
    /// It is the object of the row: the row's digest is that of the bytes.
    Pinned,
    /// It may be another one: only its bytes tell.
    Unknown,
    /// There is none.
    Missing,
}

/// Asks for the object of a row.
async fn trust(reader: &Reader, meta: &FileMeta) -> Result<Trust> {
    let binary = reader.service().binary();
    Ok(match binary.head(&binary.key(&meta.path)?).await? {
        None => Trust::Missing,
        Some(object) if meta.pin.is_some() && object.pin == meta.pin => Trust::Pinned,
        Some(_) => Trust::Unknown,
    })
}

/// The file changed while it was worked on: a second try sees the new version.
fn changed(path: &FilePath) -> Error {
    Error::new(ErrorKind::Stale, format!("`{path}` was changed while it was migrated"))
}
