//! `Migration`: checked, counted and run.

use std::fs::File;
use std::sync::Arc;

use ezdfs_core::{Error, ErrorKind, Result};
use tokio_util::sync::CancellationToken;

use crate::drive::Drive;
use crate::journal::{Before, Header, Journal, VERSION, blocking};
use crate::lister::{Lister, TableLister, TreeLister};
use crate::options::{Options, SourceMode};
use crate::place::refuse_overlap;
use crate::progress::{Counts, FileDone, Progress};
use crate::reader::Reader;
use crate::report;
use crate::side::Side;
use crate::sides::Halves;
use crate::texts;
use crate::transfer::Meter;
use crate::worker::Worker;

/// A migration of one side to another, checked and ready to run.
pub struct Migration {
    source: Side,
    target: Side,
    halves: Halves,
    mode: SourceMode,
    lister: Arc<dyn Lister>,
    options: Options,
    progress: Arc<dyn Progress>,
    cancel: CancellationToken,
}

/// How a run came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Every file was dealt with.
    Complete,
    /// It was cancelled; the journal lets another run go on.
    Cancelled,
    /// It stopped at the first failure, as asked; the journal lets another run go on.
    FailedFast,
}

/// The result of a run and of those that it resumed.
#[derive(Debug)]
pub struct Summary {
    /// How the files ended, those of resumed runs included.
    pub counts: Counts,
    /// How this run ended.
    pub ending: Ending,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// Whether it went on with the journal of an earlier run.
    pub resumed: bool,
    journal: Arc<File>,
    /// Files that failed as the run was stopping: the journal does not have them, so that they are
    /// tried again.
    unjournalled: Vec<FileDone>,
}

impl Summary {
    /// Exit code of the command: 0 everything is migrated; 1 nothing was, and something failed or
    /// was missing on the source; 3 done in part.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let Counts { same, copied, replaced, missing, failed, .. } = self.counts;
        match self.ending {
            Ending::Complete if failed == 0 && missing == 0 => 0,
            Ending::Complete | Ending::FailedFast if same == 0 && copied == 0 && replaced == 0 => 1,
            Ending::Complete | Ending::FailedFast | Ending::Cancelled => 3,
        }
    }

    /// Hands every file of the combined report to `each`, in the order in which they finished.
    /// Reads the journal: blocks, and does not keep it in memory.
    ///
    /// # Errors
    /// Those of `each`, and when the journal cannot be read.
    pub fn each_file(&self, mut each: impl FnMut(&FileDone) -> Result<()>) -> Result<()> {
        report::each_file(&self.journal, &mut each)?;
        self.unjournalled.iter().try_for_each(each)
    }
}

impl Migration {
    /// Checks that the sides and options go together. Writes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for options that do not, [`ErrorKind::Config`] when the sides overlap,
    /// [`ErrorKind::Unsupported`] for `--source ibexa`.
    pub async fn new(source: Side, target: Side, options: Options) -> Result<Self> {
        options.check()?;
        let usage = |text: &str| Err(Error::new(ErrorKind::Usage, text));
        let Some(halves) = Halves::of(&source.pair, &target.pair) else {
            return usage(texts::NOTHING_TO_DO);
        };
        if options.delete_source && halves == Halves::MetadataOnly {
            return usage(
                "--delete-source cannot be used when both sides have the same binary data \
                 handler: they share the files",
            );
        }
        let rows = source.service.metadata();
        let derived = !rows.is_separate();
        let by_handler = if derived { SourceMode::Tree } else { SourceMode::Table };
        let mode = options.source.unwrap_or(by_handler);
        let lister: Arc<dyn Lister> = match mode {
            SourceMode::Tree => Arc::new(TreeLister::new(source.service.binary().clone())),
            SourceMode::Table if derived => {
                return usage(
                    "--source table needs a metadata handler with a table on the source; this one \
                     derives its metadata from the files, so use --source tree",
                );
            }
            SourceMode::Table => Arc::new(TableLister::new(rows.clone())),
            SourceMode::Ibexa => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "--source ibexa (Ibexa's content tables) is not there yet; use --source tree, \
                     which takes every file, drafts and unreferenced files included, or --source \
                     table where the source has one",
                ));
            }
        };
        let (a, b) = (source.clone(), target.clone());
        let report = options.report.clone();
        blocking(move || {
            report.as_deref().map_or(Ok(()), report::check)?;
            refuse_overlap(&a, &b, halves)
        })
        .await?;
        Ok(Self {
            source,
            target,
            halves,
            mode,
            lister,
            options,
            progress: Arc::new(()),
            cancel: CancellationToken::new(),
        })
    }

    /// Tells `progress` what goes on.
    #[must_use]
    pub fn with_progress(mut self, progress: Arc<dyn Progress>) -> Self {
        self.progress = progress;
        self
    }

    /// Stops when `cancel` is: files in flight are finished, no others are started, and the journal
    /// is kept.
    #[must_use]
    pub fn with_cancel(mut self, cancel: CancellationToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// Where the list of files comes from.
    #[must_use]
    pub fn mode(&self) -> SourceMode {
        self.mode
    }

    /// What is migrated.
    #[must_use]
    pub fn halves(&self) -> Halves {
        self.halves
    }

    /// How many files the source lists that the filter admits, bad names included. Walks the whole
    /// list once.
    ///
    /// # Errors
    /// When the source cannot be listed.
    pub async fn count(&self) -> Result<u64> {
        self.lister.count(&self.options.filter).await
    }

    /// Runs the migration, or goes on with an unfinished one.
    ///
    /// Dropping the future stops at once, as a crash would; cancelling is kinder.
    ///
    /// # Errors
    /// When the journal cannot be used, belongs to another migration or is in use
    /// ([`ErrorKind::Busy`]), when the source cannot be listed to its end, or when the report
    /// cannot be written. A file that fails is no error: see [`Summary`].
    pub async fn run(&self) -> Result<Summary> {
        let (journal, before) = self.journal().await?;
        let resumed = before.header.is_some();
        let worker = Arc::new(self.worker());
        let mut drive = Drive::new(worker, journal, before, self);
        let ending = drive.run(self).await?;
        let (journal, counts, unjournalled) = drive.finish();
        if let Some(path) = self.options.report.clone() {
            let (file, failed) = (journal.clone(), unjournalled.clone());
            blocking(move || report::write(&file, &failed, &path)).await?;
        }
        let file = journal.clone();
        blocking(move || {
            file.unlock().map_err(|e| {
                Error::new(ErrorKind::Unavailable, "cannot unlock the journal").with_source(e)
            })
        })
        .await?;
        let dry_run = self.options.dry_run;
        Ok(Summary { counts, ending, dry_run, resumed, journal, unjournalled })
    }

    async fn journal(&self) -> Result<(Journal, Before)> {
        let options = &self.options;
        let header = Header {
            version: VERSION,
            from: self.source.describe(),
            to: self.target.describe(),
            source: self.mode,
            include: options.filter.include().to_vec(),
            exclude: options.filter.exclude().to_vec(),
            verify: options.verify,
            delete_source: options.delete_source,
        };
        match &options.journal {
            Some(path) if !options.dry_run => {
                let now = self.source.service.clock().now().secs();
                Journal::open(path, header, options.restart, now).await
            }
            _ => Ok((Journal::temporary(header).await?, Before::default())),
        }
    }

    fn worker(&self) -> Worker {
        let options = &self.options;
        let deletes = options.delete_source && !options.dry_run;
        Worker {
            source: Reader::of(&self.source.service),
            // A migration of the bytes alone leaves the target's rows alone too: they are the source's.
            target: if options.dry_run || self.halves == Halves::BinaryOnly {
                Reader::of(&self.target.service)
            } else {
                Reader::live(&self.target.service)
            },
            writer: self.target.service.clone(),
            remover: deletes.then(|| self.source.service.clone()),
            halves: self.halves,
            verify: options.verify,
            dry_run: options.dry_run,
            meter: Meter::new(options.bwlimit, self.progress.clone()),
            retry_pauses: options.retry_pauses.clone().into(),
            cancel: self.cancel.clone(),
        }
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn lister(&self) -> &Arc<dyn Lister> {
        &self.lister
    }

    pub(crate) fn progress(&self) -> &Arc<dyn Progress> {
        &self.progress
    }

    pub(crate) fn cancel(&self) -> &CancellationToken {
        &self.cancel
    }
}

impl std::fmt::Debug for Migration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Migration")
            .field("source", &self.source.pair)
            .field("target", &self.target.pair)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}
