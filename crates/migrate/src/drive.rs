//! `Drive`: one run. A lister feeds a bounded number of files in flight; what finishes goes to the
//! journal, and only then counts.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use ezdfs_core::{Error, ErrorKind, FilePath, Result};
use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio_util::task::AbortOnDropHandle;

use crate::filter::Filter;
use crate::journal::{Before, Behind, Journal, Line, Seen};
use crate::lister::{Entry, Listed};
use crate::position::Spot;
use crate::progress::{Counts, FileDone, Progress, Symbol};
use crate::run::{Ending, Migration};
use crate::window::{Ticket, Window};
use crate::worker::{Outcome, Worker};

/// Files that pass between two watermark lines.
const WATERMARK_EVERY: usize = 100;
/// Pages of the lister that wait.
const PAGES: usize = 2;
/// How often a quiet run looks whether the journal is to be synced.
const TICK: Duration = Duration::from_millis(250);

pub(crate) struct Drive {
    worker: Arc<Worker>,
    journal: Journal,
    progress: Arc<dyn Progress>,
    filter: Filter,
    fail_fast: bool,
    jobs: usize,
    counts: Counts,
    window: Window,
    /// What the runs before did behind the watermark.
    behind: Behind,
    /// Where the lister starts.
    after: Option<Vec<u8>>,
    tasks: JoinSet<Step>,
    queue: VecDeque<Entry>,
    /// The lister has come to its end.
    exhausted: bool,
    ending: Ending,
    /// Copies that may be deleted from the source once the journal is on disk.
    spent: Vec<(Ticket, FilePath, Outcome)>,
    /// Files whose lines wait to be written; told when they are.
    told: Vec<FileDone>,
    unjournalled: Vec<FileDone>,
}

/// A task that ended.
enum Step {
    Migrated(Ticket, FilePath, Outcome),
    Removed(Ticket, FilePath, Outcome),
}

type Pages = mpsc::Receiver<Result<Vec<Entry>>>;

impl Drive {
    pub(crate) fn new(
        worker: Arc<Worker>,
        journal: Journal,
        before: Before,
        migration: &Migration,
    ) -> Self {
        let options = migration.options();
        Self {
            worker,
            journal,
            progress: migration.progress().clone(),
            filter: options.filter.clone(),
            fail_fast: options.fail_fast,
            jobs: options.jobs,
            counts: before.counts,
            window: Window::default(),
            behind: before.behind,
            after: before.watermark,
            tasks: JoinSet::new(),
            queue: VecDeque::new(),
            exhausted: false,
            ending: Ending::Complete,
            spent: Vec::new(),
            told: Vec::new(),
            unjournalled: Vec::new(),
        }
    }

    pub(crate) async fn run(&mut self, migration: &Migration) -> Result<Ending> {
        self.progress.started(&self.counts);
        self.settle_copied().await?;
        let page = migration.options().page();
        let mut walk = migration.lister().walk(self.after.take(), page);
        let (pages, mut listed) = mpsc::channel(PAGES);
        let lister = AbortOnDropHandle::new(tokio::spawn(async move {
            while let Some(page) = walk.next().await {
                if pages.send(page).await.is_err() {
                    break;
                }
            }
        }));
        let walked = self.walk(&mut listed, migration).await;
        // What was done is kept, however the walk ended.
        self.flush(true).await?;
        walked?;
        if self.ending == Ending::Complete {
            lister.await.map_err(|e| broken(&e))?;
            self.journal.add(&Line::End)?;
            self.journal.append(true).await?;
        }
        Ok(self.ending)
    }

    /// The file of the journal, the counts, and failures that the journal does not have.
    pub(crate) fn finish(self) -> (Arc<File>, Counts, Vec<FileDone>) {
        (self.journal.file(), self.counts, self.unjournalled)
    }

    async fn walk(&mut self, listed: &mut Pages, migration: &Migration) -> Result<()> {
        let mut tick = tokio::time::interval(TICK);
        let mut list_failed = None;
        loop {
            let going = self.ending == Ending::Complete && list_failed.is_none();
            if going {
                self.start_files()?;
            }
            let listed_all = self.exhausted && self.queue.is_empty();
            if self.tasks.is_empty() && self.spent.is_empty() && (listed_all || !going) {
                return list_failed.map_or(Ok(()), |e: Error| Err(self.list_broke_off(e)));
            }
            let wants_page = going && !self.exhausted && self.queue.is_empty() && self.has_room();
            tokio::select! {
                Some(step) = self.tasks.join_next() => {
                    self.absorb(step)?;
                    while let Some(step) = self.tasks.try_join_next() {
                        self.absorb(step)?;
                    }
                }
                page = listed.recv(), if wants_page => match page {
                    Some(Ok(page)) => self.queue.extend(page),
                    Some(Err(e)) => list_failed = Some(e),
                    None => self.exhausted = true,
                },
                () = migration.cancel().cancelled(), if going => self.ending = Ending::Cancelled,
                _ = tick.tick() => {}
            }
            self.flush(false).await?;
        }
    }

    fn has_room(&self) -> bool {
        self.tasks.len() < self.jobs && !self.window.is_full()
    }

    /// Starts files while there is room.
    fn start_files(&mut self) -> Result<()> {
        while self.ending == Ending::Complete && self.has_room() {
            let Some(Entry { listed, position }) = self.queue.pop_front() else { return Ok(()) };
            let spot = listed.spot();
            let seen = self.behind.take(&spot);
            let ticket = self.window.enter(position);
            if !self.filter.admits(&spot.raw) || matches!(seen, Some(Seen::Done(_))) {
                self.window.finish(ticket);
                self.mark(WATERMARK_EVERY)?;
                continue;
            }
            match listed {
                Listed::File(path) => {
                    self.progress.current(path.as_str());
                    let worker = self.worker.clone();
                    self.tasks.spawn(async move {
                        let mut outcome = worker.migrate(&path).await;
                        if let (Some(Seen::Copied(done)), Symbol::Same) = (seen, outcome.symbol) {
                            // Copied by a run that could not delete it any more.
                            (outcome.symbol, outcome.bytes) = (done.symbol, done.bytes);
                        }
                        Step::Migrated(ticket, path, outcome)
                    });
                }
                Listed::Bad { spot, why } => {
                    let why = Some(why);
                    self.done(ticket, FileDone { spot, symbol: Symbol::Failed, bytes: 0, why })?;
                }
            }
        }
        Ok(())
    }

    fn absorb(&mut self, step: Result<Step, JoinError>) -> Result<()> {
        match step.map_err(|e| broken(&e))? {
            Step::Migrated(ticket, path, outcome) if outcome.spent.is_some() => {
                self.journal.add(&Line::Copied(file_done(&path, &outcome)))?;
                self.spent.push((ticket, path, outcome));
                Ok(())
            }
            Step::Migrated(ticket, path, outcome) | Step::Removed(ticket, path, outcome) => {
                self.done(ticket, file_done(&path, &outcome))
            }
        }
    }

    fn done(&mut self, ticket: Ticket, done: FileDone) -> Result<()> {
        let failed = done.symbol == Symbol::Failed;
        if failed && self.fail_fast && self.ending == Ending::Complete {
            self.ending = Ending::FailedFast;
        }
        self.counts.add(done.symbol, done.bytes);
        if failed && self.ending != Ending::Complete {
            // A run that goes on from here tries it again.
            self.progress.finished(&done, &self.counts);
            self.unjournalled.push(done);
            return Ok(());
        }
        self.journal.add(&Line::Done(done.clone()))?;
        self.told.push(done);
        self.window.finish(ticket);
        self.mark(WATERMARK_EVERY)
    }

    /// Adds a watermark line when `every` files have passed since the last one.
    fn mark(&mut self, every: usize) -> Result<()> {
        if self.window.since() >= every
            && let Some(position) = self.window.watermark()
        {
            self.journal.add(&Line::Watermark(position))?;
        }
        Ok(())
    }

    /// Writes the journal; then what it says is told, and spent source files are deleted.
    async fn flush(&mut self, last: bool) -> Result<()> {
        if last {
            self.mark(1)?;
        }
        self.journal.append(last || !self.spent.is_empty()).await?;
        for done in self.told.drain(..) {
            self.progress.finished(&done, &self.counts);
        }
        for (ticket, path, mut outcome) in self.spent.drain(..) {
            let worker = self.worker.clone();
            self.tasks.spawn(async move {
                if let Some(spent) = outcome.spent.take() {
                    outcome = worker.remove(&path, spent, outcome).await;
                }
                Step::Removed(ticket, path, outcome)
            });
        }
        Ok(())
    }

    /// Files that a run before copied and perhaps deleted from the source: those that are gone are
    /// done; the lister finds the others.
    async fn settle_copied(&mut self) -> Result<()> {
        for done in self.behind.copied() {
            let Ok(path) = FilePath::from_bytes(&done.spot.raw) else { continue };
            if self.worker.is_gone(&path).await? {
                self.behind.insert(&done.spot, Seen::Done(done.spot.clone()));
                self.counts.add(done.symbol, done.bytes);
                self.journal.add(&Line::Done(done.clone()))?;
                self.told.push(done);
            }
        }
        self.flush(false).await
    }

    fn list_broke_off(&self, e: Error) -> Error {
        e.context(format_args!(
            "the list of the source's files broke off after {} files; run the command again to go \
             on from there",
            self.counts.processed()
        ))
    }
}

fn file_done(path: &FilePath, outcome: &Outcome) -> FileDone {
    FileDone {
        spot: Spot::of(path),
        symbol: outcome.symbol,
        bytes: outcome.bytes,
        why: outcome.why.clone(),
    }
}

fn broken(e: &JoinError) -> Error {
    Error::new(ErrorKind::Internal, format!("a task of the migration broke off: {e}"))
}
