//! Rows and objects side by side.

use std::sync::Arc;

use ezdfs_core::{BaseRow, ErrorKind, FilePath, NodeKind, Pin, Result};
use futures::stream::FuturesOrdered;
use futures::{FutureExt as _, StreamExt as _};

use super::Run;
use super::finding::{Finding, Kind};
use super::judge::{Fault, Verdict, judge};
use super::record::Group;
use super::repair::Fix;
use super::sorter::Sorted;
use super::twins::{self, Names};
use crate::service::FileService;
use crate::throttle::Throttle;

/// Paths between two words of progress.
const TELL_EVERY: u64 = 1_000;

/// What a closer look at one path gave.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) path: FilePath,
    pub(super) verdict: Verdict,
    /// Bytes of the object.
    pub(super) size: Option<u64>,
    /// Identity of the object.
    pub(super) pin: Option<Pin>,
    /// Its bytes were read.
    pub(super) was_read: bool,
}

/// How closely to look.
#[derive(Debug, Clone)]
pub(super) struct Closely {
    pub(super) age: std::time::Duration,
    pub(super) deep: bool,
    pub(super) throttle: Option<Arc<Throttle>>,
}

impl Run<'_> {
    pub(super) fn closely(&self) -> Closely {
        Closely {
            age: self.options.floor(&self.service.inner.options),
            deep: self.options.deep,
            throttle: self.options.bwlimit.map(|rate| Arc::new(Throttle::new(rate))),
        }
    }

    /// Compares what was seen, and gives the names of the visible files and their directories.
    pub(super) async fn compare(&mut self, mut sorted: Sorted) -> Result<Names> {
        let closely = self.closely();
        let service = self.service;
        let total = self.summary.rows.max(self.summary.objects);
        let mut names = Names::new();
        let mut above = Above::default();
        let mut under_way = FuturesOrdered::new();
        let mut next = sorted.next().await?;
        let mut done = 0;
        while let Some(group) = next.as_deref().and_then(Group::start) {
            let mut group = group;
            loop {
                next = sorted.next().await?;
                if !next.as_deref().is_some_and(|record| group.take(record)) {
                    break;
                }
            }
            let is_visible = group.row.as_ref().is_some_and(|row| row.visible);
            if is_visible {
                for dir in names.add(&group.path).await? {
                    under_way.push_back(service.check_dir(dir).boxed());
                }
            }
            if let Some(finding) = above.pass(&group, service.inner.clock.now(), closely.age) {
                self.found(&finding)?;
            }
            let is_read = closely.deep && is_visible && group.object.is_some();
            if self.is_young(&group, closely.age) {
                self.summary.young += 1;
            } else if is_read || group.is_suspect() {
                let closely = closely.clone();
                let Group { path, claimed, .. } = group;
                let check = async move { service.check(path, claimed, &closely).await };
                under_way.push_back(check.boxed());
            }
            while under_way.len() >= self.options.jobs.max(1) {
                let Some(checked) = under_way.next().await else { break };
                self.checked(checked?).await?;
            }
            done += 1;
            if done % TELL_EVERY == 0 {
                self.progress("paths compared", done, Some(total))?;
            }
        }
        while let Some(checked) = under_way.next().await {
            self.checked(checked?).await?;
        }
        self.progress("paths compared", done, Some(total))?;
        Ok(names)
    }

    /// An object without a row that was just written: its row is on its way.
    fn is_young(&self, group: &Group, age: std::time::Duration) -> bool {
        let now = self.service.inner.clock.now();
        group.row.is_none()
            && !group.claimed
            && group.object.as_ref().is_some_and(|object| now.since(object.mtime) < age)
    }

    async fn checked(&mut self, checked: Checked) -> Result<()> {
        let Checked { path, verdict, size, pin, was_read } = checked;
        self.summary.read += u64::from(was_read);
        let faults = match verdict {
            Verdict::Young => {
                self.summary.young += 1;
                return Ok(());
            }
            Verdict::Busy => {
                self.summary.busy += 1;
                return Ok(());
            }
            Verdict::Judged(faults) => faults,
        };
        for Fault { kind, detail, adoptable } in faults {
            self.found(&Finding { kind, path: path.to_string(), size, detail })?;
            self.summary.adoptable += u64::from(adoptable);
            let pin = pin.clone().filter(|_| adoptable);
            self.remember(Fix { path: path.clone(), kind, pin }).await?;
        }
        Ok(())
    }

    /// Twins among the names, as far as they are still there.
    pub(super) async fn twins(&mut self, names: Names) -> Result<()> {
        let mut twins = names.twins().await?;
        while let Some(mut group) = twins.next().await? {
            for path in group.clone() {
                let record = self.service.inner.metadata.record(&path).await?;
                if record.entry(&path, self.service.inner.clock.now()).is_none() {
                    group.remove(&path);
                }
            }
            if group.len() > 1
                && let Some(finding) = twins::finding(&group)
            {
                self.found(&finding)?;
            }
        }
        Ok(())
    }
}

impl FileService {
    /// Looks at a path by its primary key.
    pub(super) async fn check(
        &self,
        path: FilePath,
        claimed: bool,
        closely: &Closely,
    ) -> Result<Checked> {
        let mut checked =
            Checked { path, verdict: Verdict::Busy, size: None, pin: None, was_read: false };
        if let Err(e) = self.inner.binary.key(&checked.path) {
            if e.kind() != ErrorKind::NameTooLong {
                return Err(e);
            }
            let detail = e.to_string();
            let fault = Fault { kind: Kind::BadName, detail, adoptable: false };
            checked.verdict = Verdict::Judged(vec![fault]);
            return Ok(checked);
        }
        let Some(mut found) = self.look(&checked.path).await? else { return Ok(checked) };
        let mut verdict = judge(&found, claimed, closely.age);
        if is_of_entry(&verdict) {
            // What PHP did a moment ago is on its way to the listings.
            self.materialise().await?;
            match self.look(&checked.path).await? {
                Some(again) => found = again,
                None => return Ok(checked),
            }
            verdict = judge(&found, claimed, closely.age);
        }
        let is_visible = found.record.base.as_ref().is_some_and(BaseRow::visible);
        checked.was_read = closely.deep && is_visible && found.object.is_some();
        checked.verdict = if checked.was_read {
            self.check_bytes(&found, verdict, claimed, closely).await?
        } else {
            verdict
        };
        if let Some(object) = found.object {
            checked.size = Some(object.size);
            checked.pin = object.pin;
        }
        Ok(checked)
    }
}

impl FileService {
    /// Looks whether a directory with visible files has its entry.
    async fn check_dir(&self, path: FilePath) -> Result<Checked> {
        let mut is_listed = self.has_dir(&path).await?;
        if !is_listed {
            self.materialise().await?;
            is_listed = self.has_dir(&path).await?;
        }
        let mut faults = Vec::new();
        if !is_listed {
            let detail = "the directory has no entry: readers see the files below, listings do not";
            faults.push(Fault {
                kind: Kind::NotListed,
                detail: detail.to_owned(),
                adoptable: false,
            });
        }
        let verdict = Verdict::Judged(faults);
        Ok(Checked { path, verdict, size: None, pin: None, was_read: false })
    }

    async fn has_dir(&self, path: &FilePath) -> Result<bool> {
        let node = self.inner.metadata.record(path).await?.node;
        Ok(node.is_some_and(|node| node.kind == NodeKind::Directory))
    }
}

fn is_of_entry(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Judged(faults) => {
            faults.iter().any(|f| matches!(f.kind, Kind::NotListed | Kind::StaleEntry))
        }
        Verdict::Young | Verdict::Busy => false,
    }
}

/// The objects whose keys the current path starts with, to see files beside directories of the
/// same path. Paths come in byte order, so all those that start with a path follow it.
#[derive(Debug, Default)]
struct Above(Vec<(FilePath, bool)>);

impl Above {
    /// Passes a path; a finding when an object has the path of a directory above it.
    fn pass(
        &mut self,
        group: &Group,
        now: ezdfs_core::Timestamp,
        age: std::time::Duration,
    ) -> Option<Finding> {
        group.object.as_ref().filter(|object| now.since(object.mtime) >= age)?;
        let path = group.path.as_str();
        while self.0.last().is_some_and(|(above, _)| !path.starts_with(above.as_str())) {
            self.0.pop();
        }
        let conflict = self.0.iter_mut().find(|(above, told)| {
            let rest = path.strip_prefix(above.as_str());
            !told && rest.is_some_and(|rest| rest.starts_with('/'))
        });
        let finding = conflict.map(|(above, told)| {
            *told = true;
            Finding {
                kind: Kind::FileAndDirectory,
                path: above.to_string(),
                size: None,
                detail: format!(
                    "an object, and a directory of the object `{}`: a local disk cannot hold both",
                    group.path
                ),
            }
        });
        // Where the row is odd the judge tells of it.
        let is_told = group.row.as_ref().is_some_and(|row| row.odd);
        self.0.push((group.path.clone(), is_told));
        finding
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::SeenObject;
    use super::*;
    use ezdfs_core::Timestamp;
    use std::time::Duration;

    #[test]
    fn objects_with_the_path_of_a_directory_are_told_once() {
        let mut above = Above::default();
        let mut told = Vec::new();
        for path in ["a", "a-b", "a.c/1", "a/b", "a/c", "ab", "b/c", "b/c/d/e"] {
            let group = Group {
                path: path.parse().unwrap(),
                row: None,
                object: Some(SeenObject { size: 1, mtime: Timestamp::default(), pin: None }),
                claimed: false,
            };
            let now = Timestamp::from_secs(10);
            told.extend(above.pass(&group, now, Duration::from_secs(1)).map(|f| f.path));
        }
        assert_eq!(told, ["a", "b/c"]);
    }
}
