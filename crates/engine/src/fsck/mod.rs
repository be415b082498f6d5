//! fsck: compares rows with objects, and finds everything that neither readers nor maintenance
//! would mend by themselves.
//!
//! Rows are walked, objects are listed, and both are sorted by path, so that memory stays small
//! however many there are and no order of a store is relied upon. Where they seem to disagree the
//! path is looked at again by its primary key: what a running site does meanwhile, and what is
//! younger than [`FsckOptions::age`], is no finding. A listing or a database that fails ends the
//! run: nothing is ever repaired by half a view, and nothing when so much is wrong that the view
//! must be.
//!
//! | file | subject |
//! |---|---|
//! | [`finding`] | kinds, findings, counts |
//! | `judge` | what is a finding, as a pure function |
//! | `sorter`, `record` | sorting in bounded memory; what is sorted |
//! | `walk` | the walk over rows, the listing of objects |
//! | `compare`, `look` | both side by side; the second look at one path |
//! | `deep` | reading the bytes |
//! | `twins` | names that differ by case or Unicode form only |
//! | `place` | where PHP puts bytes |
//! | `queue`, `leftovers` | pending work, staging, uploads; deleted bytes without pending work |
//! | `repair` | repairs, each under a hold of its path |
//! | `quarantine` | where orphans wait before they are deleted |
//! | `suspects` | when so much is wrong that the view must be |

mod compare;
mod deep;
pub mod finding;
mod judge;
mod leftovers;
mod look;
mod place;
pub(crate) mod quarantine;
mod queue;
mod record;
mod repair;
mod sorter;
mod suspects;
mod twins;
mod walk;

use std::time::Duration;

use ezdfs_core::{DirPath, Result};

pub use self::finding::{Event, Finding, Kind, Summary};
pub use self::quarantine::Restored;
pub use self::repair::Repairs;
pub use self::suspects::MaxSuspects;

use crate::service::{FileService, Options};
use crate::throttle::Rate;

/// Below this age nothing is judged, unless the caller says otherwise.
pub const AGE: Duration = Duration::from_secs(3600);

/// What to check, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsckOptions {
    /// Only this directory (or file), and what lies below it.
    pub prefix: DirPath,
    /// What changed less than this ago is not judged.
    pub age: Duration,
    /// Reads every byte.
    pub deep: bool,
    /// Paths that are looked at, or read, at once; at least one.
    pub jobs: usize,
    /// Bytes per second of all reads together.
    pub bwlimit: Option<Rate>,
    /// Above this the view is taken to be wrong, not the store.
    pub max_suspects: MaxSuspects,
    /// What may be changed; nothing by default.
    pub repairs: Repairs,
}

impl FsckOptions {
    /// What is younger than this is neither judged nor touched: a repair waits at least for the
    /// grace of deletes.
    fn floor(&self, options: &Options) -> Duration {
        if self.repairs.any() {
            self.age.max(options.delete_grace).max(options.settle)
        } else {
            self.age
        }
    }
}

impl Default for FsckOptions {
    fn default() -> Self {
        Self {
            prefix: DirPath::root(),
            age: AGE,
            deep: false,
            jobs: 8,
            bwlimit: None,
            max_suspects: MaxSuspects::default(),
            repairs: Repairs::default(),
        }
    }
}

/// Where fsck tells what it does; an error ends the run.
pub type Tell<'a> = dyn FnMut(Event<'_>) -> Result<()> + Send + 'a;

/// A run.
struct Run<'a> {
    service: &'a FileService,
    options: &'a FsckOptions,
    tell: &'a mut Tell<'a>,
    summary: Summary,
    /// Findings that may be repaired.
    fixes: sorter::Sorter,
}

impl FileService {
    /// Compares rows and objects, and repairs what [`FsckOptions::repairs`] allows. Without it
    /// nothing is changed (foreign changes are materialised first, as by any listing).
    ///
    /// # Errors
    /// When a row, an object or a listing cannot be read: then what was told so far is all that is
    /// known, and nothing was repaired.
    pub async fn fsck<'a>(
        &'a self,
        options: &'a FsckOptions,
        tell: &'a mut Tell<'a>,
    ) -> Result<Summary> {
        let fixes = sorter::Sorter::new();
        let summary = Summary::default();
        let mut run = Run { service: self, options, tell, summary, fixes };
        if !self.inner.metadata.is_separate() {
            run.summary.nothing_to_compare = true;
            return Ok(run.summary);
        }
        self.materialise().await?;
        let mut sorter = sorter::Sorter::new();
        run.rows(&mut sorter).await?;
        run.objects(&mut sorter).await?;
        let names = run.compare(sorter.sorted().await?).await?;
        run.twins(names).await?;
        run.queue().await?;
        run.summary.refused = run.suspects().await?;
        if run.summary.refused.is_none() {
            run.repair().await?;
        }
        if options.repairs.prune_empty {
            run.prune().await?;
        }
        Ok(run.summary)
    }
}

impl Run<'_> {
    /// Counts and tells a finding.
    fn found(&mut self, finding: &Finding) -> Result<()> {
        *self.summary.found.entry(finding.kind).or_default() += 1;
        if finding.kind == Kind::Orphan {
            let bytes = finding.size.unwrap_or_default();
            self.summary.orphan_bytes = self.summary.orphan_bytes.saturating_add(bytes);
        }
        (self.tell)(Event::Found(finding))
    }

    fn progress(&mut self, what: &'static str, done: u64, total: Option<u64>) -> Result<()> {
        (self.tell)(Event::Progress { what, done, total })
    }
}
