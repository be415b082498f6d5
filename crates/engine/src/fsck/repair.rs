//! Repairs: each finding is looked at again under a hold of its path, and mended by the function
//! that mends it elsewhere: reconcile, the reaper's queue, the restore of the trash.
//!
//! Nothing is repaired before the whole view was complete and looked right. A repair that is
//! killed leaves a pending row, which anybody rolls forward; running it again finds what is left.

use std::time::Duration;

use ezdfs_core::{
    Change, DirMeta, DirPath, Entry, Error, ErrorKind, FilePath, Guard, Op, Pin, Result, Timestamp,
    Work,
};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use super::Run;
use super::compare::Closely;
use super::finding::{Event, Finding, Kind};
use super::judge::{Verdict, judge};
use super::sorter::{Sorted, Sorter};
use crate::hold::Held;
use crate::service::FileService;

/// New pins of one transaction.
const PINS_AT_ONCE: usize = 100;
/// Entries of one page while empty directories are looked for.
const PAGE: u32 = 500;

/// What may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repairs {
    /// Everything that is safe: orphans go to quarantine, rows follow their objects, missing
    /// entries are made, re-created files are shown, interrupted work is finished.
    pub safe: bool,
    /// New pins for objects that are the version of their row.
    pub adopt: bool,
    /// Rows whose bytes are gone are hidden.
    pub hide_missing: bool,
    /// Empty directories are removed.
    pub prune_empty: bool,
    /// How long orphans stay in quarantine.
    pub keep: Duration,
}

impl Default for Repairs {
    fn default() -> Self {
        Self {
            safe: false,
            adopt: false,
            hide_missing: false,
            prune_empty: false,
            keep: Duration::from_secs(30 * 24 * 3600),
        }
    }
}

impl Repairs {
    /// Whether anything may be changed.
    #[must_use]
    pub fn any(&self) -> bool {
        self.safe || self.adopt || self.hide_missing || self.prune_empty
    }

    /// Whether a finding may be mended.
    fn covers(&self, fix: &Fix) -> bool {
        match fix.kind {
            Kind::MissingObject => self.safe || self.hide_missing,
            Kind::Pin if fix.pin.is_some() => self.safe || self.adopt,
            Kind::Orphan
            | Kind::Size
            | Kind::Pin
            | Kind::Late
            | Kind::NotListed
            | Kind::StaleEntry
            | Kind::TombstoneTrap => self.safe,
            _ => false,
        }
    }
}

/// A finding that may be mended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fix {
    pub(super) path: FilePath,
    pub(super) kind: Kind,
    /// The object that is the version of the row.
    pub(super) pin: Option<Pin>,
}

impl Fix {
    fn record(&self) -> Option<Vec<u8>> {
        let kind = Kind::ALL.iter().position(|kind| *kind == self.kind)?;
        let mut record = self.path.as_str().as_bytes().to_vec();
        record.extend_from_slice(&[0, u8::try_from(kind).ok()?]);
        if let Some(pin) = &self.pin {
            record.push(b'=');
            record.extend_from_slice(pin.as_str().as_bytes());
        }
        Some(record)
    }

    fn of(record: &[u8]) -> Option<Self> {
        let at = record.iter().position(|b| *b == 0)?;
        let (path, rest) = record.split_at(at);
        let (kind, pin) = rest.get(1..)?.split_first()?;
        let pin = pin.strip_prefix(b"=").and_then(|pin| std::str::from_utf8(pin).ok());
        Some(Self {
            path: FilePath::from_bytes(path).ok()?,
            kind: *Kind::ALL.get(usize::from(*kind))?,
            pin: pin.map(Pin::from_row),
        })
    }
}

/// How a repair ended.
#[derive(Debug)]
enum Mended {
    /// In words.
    Done(&'static str),
    /// It stays as it was: why.
    Kept(&'static str),
}

impl Run<'_> {
    /// Remembers a finding that may be mended.
    pub(super) async fn remember(&mut self, fix: Fix) -> Result<()> {
        if self.options.repairs.covers(&fix)
            && let Some(record) = fix.record()
        {
            self.fixes.push(&record).await?;
        }
        Ok(())
    }

    /// Mends what was remembered.
    pub(super) async fn repair(&mut self) -> Result<()> {
        let fixes = std::mem::replace(&mut self.fixes, Sorter::new());
        let mut sorted = fixes.sorted().await?;
        let closely = self.closely();
        let mut under_way = FuturesUnordered::new();
        let mut pins = Vec::new();
        let mut done = 0;
        let total = self.summary.findings();
        // Another program may have put other bytes of the same size within the same second. Only
        // `--adopt` takes size and mtime for proof; otherwise the bytes were read, or are now.
        let takes_pins = self.options.repairs.adopt || self.options.deep;
        while let Some(fix) = next(&mut sorted).await? {
            if fix.kind == Kind::Pin && fix.pin.is_some() && takes_pins {
                pins.push(fix);
                if pins.len() == PINS_AT_ONCE {
                    self.adopt(std::mem::take(&mut pins)).await?;
                }
                continue;
            }
            let service = self.service.clone();
            let (closely, repairs) = (closely.clone(), self.options.repairs);
            under_way.push(async move {
                let mended = service.mend(&fix, &closely, &repairs).await;
                (fix, mended)
            });
            while under_way.len() >= self.options.jobs.max(1) {
                let Some((fix, mended)) = under_way.next().await else { break };
                self.mended(&fix, mended)?;
                done += 1;
                self.progress("findings repaired", done, Some(total))?;
            }
        }
        self.adopt(pins).await?;
        while let Some((fix, mended)) = under_way.next().await {
            self.mended(&fix, mended)?;
        }
        if self.options.repairs.safe && self.summary.of(Kind::StrayEntry) > 0 {
            self.service.inner.metadata.remove_strays().await?;
            self.service.materialise().await?;
            let gone = self.summary.of(Kind::StrayEntry);
            self.summary.repaired.insert(Kind::StrayEntry, gone);
        }
        if self.options.repairs.safe && self.summary.of(Kind::Limbo) > 0 {
            let queued = self.service.queue_leftovers(self.options.repairs.keep).await?;
            let queued = queued.min(self.summary.of(Kind::Limbo));
            self.summary.repaired.insert(Kind::Limbo, queued);
        }
        let uploads = self.service.inner.binary.side.uploads.is_some();
        if self.options.repairs.safe && uploads && self.summary.of(Kind::Staging) > 0 {
            let age = self.options.floor(&self.service.inner.options);
            let done = self.service.abort_uploads(age).await?;
            let aborted = done.aborted.min(self.summary.of(Kind::Staging));
            self.summary.repaired.insert(Kind::Staging, aborted);
        }
        if self.options.repairs.safe && self.summary.of(Kind::Overdue) > 0 {
            self.finish_work().await?;
        }
        Ok(())
    }

    fn mended(&mut self, fix: &Fix, mended: Result<Mended>) -> Result<()> {
        let text;
        let outcome = match mended {
            Ok(Mended::Done(how)) => {
                *self.summary.repaired.entry(fix.kind).or_default() += 1;
                Ok(how)
            }
            Ok(Mended::Kept(why)) => Err(why),
            Err(e) => {
                self.summary.failed += 1;
                let kind = fix.kind.as_str();
                tracing::warn!(path = %fix.path, kind, error = %e, "a repair failed");
                text = e.to_string();
                Err(text.as_str())
            }
        };
        (self.tell)(Event::Repaired { kind: fix.kind, path: fix.path.as_str(), outcome })
    }

    /// Pending work that nobody did.
    async fn finish_work(&mut self) -> Result<()> {
        let overdue = self.summary.of(Kind::Overdue);
        let done = self.service.maintain().await?;
        if done.failed == 0 {
            self.summary.repaired.insert(Kind::Overdue, overdue);
        } else {
            self.summary.failed += done.failed;
        }
        Ok(())
    }

    /// New pins, many in one transaction; one by one where somebody came between.
    async fn adopt(&mut self, fixes: Vec<Fix>) -> Result<()> {
        let service = self.service;
        let jobs = self.options.jobs.max(1);
        let looks: Vec<_> = futures::stream::iter(fixes)
            .map(|fix| async move {
                let ops = service.new_pin(&fix).await;
                (fix, ops)
            })
            .buffered(jobs)
            .collect()
            .await;
        let mut change = Change::new();
        let mut together = Vec::new();
        for (fix, part) in looks {
            match part {
                Ok(Some(part)) => {
                    change.guards.extend(part.guards.iter().cloned());
                    change.ops.extend(part.ops.iter().cloned());
                    together.push((fix, part));
                }
                Ok(None) => self.mended(&fix, Ok(Mended::Kept("it changed meanwhile")))?,
                Err(e) => self.mended(&fix, Err(e))?,
            }
        }
        if together.is_empty() {
            return Ok(());
        }
        let all = service.inner.metadata.apply(change).await;
        let is_contended = |e: &Error| {
            matches!(e.kind(), ErrorKind::Stale | ErrorKind::Busy | ErrorKind::IsDirectory)
        };
        for (fix, part) in together {
            let done = match &all {
                Ok(()) => Ok(Mended::Done("new pin")),
                Err(e) if is_contended(e) => match service.inner.metadata.apply(part).await {
                    Ok(()) => Ok(Mended::Done("new pin")),
                    Err(e) if is_contended(&e) => Ok(Mended::Kept("it changed meanwhile")),
                    Err(e) => Err(e),
                },
                Err(e) => Err(Error::new(e.kind(), e.to_string())),
            };
            self.mended(&fix, done)?;
        }
        let done = self.summary.repaired.get(&Kind::Pin).copied().unwrap_or_default();
        self.progress("pins adopted", done, Some(self.summary.adoptable))
    }

    /// Removes empty directories below the prefix, the deepest first.
    pub(super) async fn prune(&mut self) -> Result<()> {
        let start = self.options.prefix.clone();
        let mut levels = vec![Level::new(start, Timestamp::default())];
        while let Some(level) = levels.last_mut() {
            if let Some(dir) = level.dirs.pop() {
                levels.push(Level::new(dir.path, dir.mtime));
                continue;
            }
            if !level.is_read {
                let after = level.after.take();
                let service = self.service;
                let page = service.list(&level.dir, after.as_deref(), PAGE).await?;
                level.is_read = page.next.is_none();
                level.after = page.next;
                for entry in page.entries {
                    match entry {
                        Entry::Directory(dir) => level.dirs.push(dir),
                        Entry::File(_) => level.has_files = true,
                    }
                }
                continue;
            }
            let Some(level) = levels.pop() else { break };
            let Some(path) = level.dir.path() else { continue };
            let is_empty = !level.has_files && !level.has_dirs;
            let is_gone = is_empty && self.prune_one(path, level.mtime).await?;
            if let Some(parent) = levels.last_mut() {
                parent.has_dirs |= !is_gone;
            }
        }
        Ok(())
    }

    /// Whether the directory is gone.
    async fn prune_one(&mut self, path: &FilePath, mtime: Timestamp) -> Result<bool> {
        let inner = &self.service.inner;
        if inner.clock.now().since(mtime) < self.options.floor(&inner.options) {
            self.summary.young += 1;
            return Ok(false);
        }
        self.found(&Finding {
            kind: Kind::EmptyDirectory,
            path: path.to_string(),
            size: None,
            detail: "a directory without entries".to_owned(),
        })?;
        if self.summary.refused.is_some() {
            return Ok(false);
        }
        let mended = match self.service.rmdir(path).await {
            Ok(()) => Ok(Mended::Done("removed")),
            Err(e) if matches!(e.kind(), ErrorKind::NotEmpty | ErrorKind::NotFound) => {
                Ok(Mended::Kept("it changed meanwhile"))
            }
            Err(e) => Err(e),
        };
        let is_gone = matches!(mended, Ok(Mended::Done(_)));
        let fix = Fix { path: path.clone(), kind: Kind::EmptyDirectory, pin: None };
        self.mended(&fix, mended)?;
        Ok(is_gone)
    }
}

/// A directory on the way to the one that is being looked at.
struct Level {
    dir: DirPath,
    after: Option<String>,
    is_read: bool,
    /// As it was before the directories below went.
    mtime: Timestamp,
    dirs: Vec<DirMeta>,
    has_files: bool,
    has_dirs: bool,
}

impl Level {
    fn new(dir: DirPath, mtime: Timestamp) -> Self {
        Self {
            dir,
            mtime,
            after: None,
            is_read: false,
            dirs: Vec::new(),
            has_files: false,
            has_dirs: false,
        }
    }
}

async fn next(sorted: &mut Sorted) -> Result<Option<Fix>> {
    Ok(sorted.next().await?.as_deref().and_then(Fix::of))
}

impl FileService {
    async fn mend(&self, fix: &Fix, closely: &Closely, repairs: &Repairs) -> Result<Mended> {
        match fix.kind {
            Kind::Orphan => self.take_away(fix, closely, repairs.keep).await,
            Kind::TombstoneTrap => self.show_again(fix, closely).await,
            Kind::MissingObject => self.mend_missing(fix, closely, repairs).await,
            Kind::NotListed => self.list_again(fix, closely).await,
            _ => self.agree(fix, closely).await,
        }
    }

    /// The entry of a file comes with its reconcile, that of a directory is made.
    async fn list_again(&self, fix: &Fix, closely: &Closely) -> Result<Mended> {
        if self.inner.metadata.record(&fix.path).await?.base.is_some() {
            return self.agree(fix, closely).await;
        }
        match self.mkdir(&fix.path, false, None).await {
            Ok(()) => Ok(Mended::Done("the directory has its entry")),
            Err(e) if matches!(e.kind(), ErrorKind::AlreadyExists | ErrorKind::NotDirectory) => {
                Ok(Mended::Kept(CHANGED))
            }
            Err(e) => Err(e),
        }
    }

    /// Reconcile, and a look whether it helped.
    async fn agree(&self, fix: &Fix, closely: &Closely) -> Result<Mended> {
        match self.reconcile(&fix.path).await {
            Err(e) if e.kind() == ErrorKind::Busy => return Ok(Mended::Kept(BUSY)),
            done => done?,
        }
        let shallow = Closely { deep: false, ..closely.clone() };
        let checked = self.check(fix.path.clone(), false, &shallow).await?;
        match checked.verdict {
            Verdict::Judged(faults) if faults.iter().any(|f| f.kind == fix.kind) => {
                Ok(Mended::Kept("nobody can tell what is right"))
            }
            Verdict::Judged(_) | Verdict::Young | Verdict::Busy => {
                Ok(Mended::Done("rows and object agree"))
            }
        }
    }

    async fn mend_missing(
        &self,
        fix: &Fix,
        closely: &Closely,
        repairs: &Repairs,
    ) -> Result<Mended> {
        // What a deleter moved away by mistake comes back.
        if let Mended::Done(_) = self.agree(fix, closely).await? {
            return Ok(Mended::Done("the bytes are back"));
        }
        if !repairs.hide_missing {
            return Ok(Mended::Kept(
                "the row is kept: restore the bytes, or hide such rows with --hide-missing",
            ));
        }
        self.hidden(fix, closely).await
    }

    async fn hidden(&self, fix: &Fix, closely: &Closely) -> Result<Mended> {
        let Some(held) = self.try_hold(&fix.path, Work::Repair).await? else {
            return Ok(Mended::Kept(BUSY));
        };
        let hidden = async {
            let found = self.find(&fix.path, &held).await?;
            if !is_still(&judge(&found, false, closely.age), fix.kind) || found.object.is_some() {
                return Ok(Mended::Kept(CHANGED));
            }
            let change = Change::new()
                .guard(Guard::Holds(held.token))
                .guard(Guard::Unchanged { path: fix.path.clone(), witness: found.record.witness() })
                .op(Op::HideFile(fix.path.clone()));
            match self.inner.metadata.apply(change).await {
                Err(e) if e.kind() == ErrorKind::Stale => Ok(Mended::Kept(CHANGED)),
                done => done.map(|()| Mended::Done("hidden; `ezdfs trash restore` shows it again")),
            }
        };
        let hidden = hidden.await;
        self.release(held, false).await;
        hidden
    }

    async fn take_away(&self, fix: &Fix, closely: &Closely, keep: Duration) -> Result<Mended> {
        let Some(mut held) = self.try_hold(&fix.path, Work::Repair).await? else {
            return Ok(Mended::Kept(BUSY));
        };
        let taken = self.take_away_held(fix, closely, keep, &mut held).await;
        self.release(held, false).await;
        taken
    }

    async fn take_away_held(
        &self,
        fix: &Fix,
        closely: &Closely,
        keep: Duration,
        held: &mut Held,
    ) -> Result<Mended> {
        let found = self.find(&fix.path, held).await?;
        let is_orphan = is_still(&judge(&found, false, closely.age), Kind::Orphan);
        let pin = found.object.as_ref().and_then(|object| object.pin.as_ref());
        let (true, Some(pin)) = (is_orphan, pin) else { return Ok(Mended::Kept(CHANGED)) };
        match self.quarantine(&fix.path, pin, keep, held).await {
            Err(e) if e.kind() == ErrorKind::Stale => Ok(Mended::Kept(CHANGED)),
            done => done.map(|()| Mended::Done("in quarantine")),
        }
    }

    /// Shows a file that was created again over its soft-deleted row, if the bytes are its own.
    async fn show_again(&self, fix: &Fix, closely: &Closely) -> Result<Mended> {
        let Some(found) = self.look(&fix.path).await? else { return Ok(Mended::Kept(BUSY)) };
        let (Some(object), Some(file)) = (&found.object, found.record.file(&fix.path)) else {
            return Ok(Mended::Kept("its bytes are gone"));
        };
        if !is_still(&judge(&found, false, closely.age), Kind::TombstoneTrap)
            || found.now.since(object.mtime) < closely.age
        {
            return Ok(Mended::Kept(CHANGED));
        }
        if object.size != file.size {
            return Ok(Mended::Kept("the object is of another size than the row"));
        }
        match self.restore(&fix.path).await {
            Ok(()) => Ok(Mended::Done("visible again")),
            Err(e) => match e.kind() {
                ErrorKind::Busy | ErrorKind::Stale => Ok(Mended::Kept(BUSY)),
                ErrorKind::NotFound | ErrorKind::AlreadyExists | ErrorKind::MissingBytes => {
                    Ok(Mended::Kept(CHANGED))
                }
                _ => Err(e),
            },
        }
    }

    /// The change that pins the object that a fix names; `None` when it is another one by now.
    async fn new_pin(&self, fix: &Fix) -> Result<Option<Change>> {
        let record = self.inner.metadata.record(&fix.path).await?;
        let object = self.inner.binary.head(&self.inner.binary.key(&fix.path)?).await?;
        let (Some(file), Some(object)) = (record.file(&fix.path), object) else {
            return Ok(None);
        };
        let is_it = object.pin == fix.pin && object.size == file.size;
        let Some(pin) = object.pin.filter(|_| is_it) else { return Ok(None) };
        let path = || fix.path.clone();
        Ok(Some(
            Change::new()
                .guard(Guard::Free { path: path(), subtree: false })
                .guard(Guard::Unchanged { path: path(), witness: Some(file.witness) })
                .op(Op::SetPin { path: path(), pin }),
        ))
    }
}

const BUSY: &str = "somebody is at work on it";
const CHANGED: &str = "it changed meanwhile";

fn is_still(verdict: &Verdict, kind: Kind) -> bool {
    match verdict {
        Verdict::Judged(faults) => faults.iter().any(|fault| fault.kind == kind),
        Verdict::Young | Verdict::Busy => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixes_come_back_as_they_went() {
        for pin in [None, Some(Pin::from_row("e|v"))] {
            let fix = Fix { path: "a/ü b".parse().unwrap(), kind: Kind::Pin, pin };
            assert_eq!(Fix::of(&fix.record().unwrap()), Some(fix));
        }
    }

    #[test]
    fn only_what_was_asked_for_is_mended() {
        let fix = |kind, pin| Fix { path: "a".parse().unwrap(), kind, pin };
        let pin = || Some(Pin::from_row("e|"));
        let adopt = Repairs { adopt: true, ..Repairs::default() };
        assert!(adopt.covers(&fix(Kind::Pin, pin())) && !adopt.covers(&fix(Kind::Pin, None)));
        assert!(!adopt.covers(&fix(Kind::Orphan, None)));
        let safe = Repairs { safe: true, ..Repairs::default() };
        for kind in [Kind::Digest, Kind::CaseTwin, Kind::HalfHidden, Kind::Hash, Kind::BadName] {
            assert!(!safe.covers(&fix(kind, None)), "{kind:?}");
        }
        assert!(!Repairs::default().any());
    }
}
