//! What is a finding: a pure rule over what was found of one path.
//!
//! It asks [`decide`] what reconcile would do, so that fsck and readers never disagree about what
//! belongs together.

use std::time::Duration;

use ezdfs_core::{BaseRow, IntentState, NodeKind, Pin};

use super::finding::Kind;
use crate::binary::ObjectInfo;
use crate::decide::{Decision, Found, decide};

/// The verdict on one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As it should be, or as far as anybody may say.
    Judged(Vec<Fault>),
    /// Something differs, but so short a time ago that its writer may be about to mend it.
    Young,
    /// Somebody is at work on it.
    Busy,
}

/// What is wrong with a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What.
    pub(crate) kind: Kind,
    /// In words.
    pub(crate) detail: String,
    /// Size and mtime of the object are those of the row: after a restore it is the same version.
    pub(crate) adoptable: bool,
}

/// The rule. `claimed`: a row of another name says that its bytes are this object. `age`: what
/// changed less than this ago is not judged.
pub(crate) fn judge(found: &Found, claimed: bool, age: Duration) -> Verdict {
    if found.intents.iter().any(|i| i.state == IntentState::Held) {
        return Verdict::Busy;
    }
    let mut faults = of_rows(found);
    let row = found.record.file(&found.path);
    let is_over = row.as_ref().and_then(|f| f.expires).is_some_and(|at| at <= found.now);
    let is_visible = found.record.base.as_ref().is_some_and(BaseRow::visible) && !is_over;
    if decide(found) == Decision::NotSettled && faults.is_empty() {
        return Verdict::Young;
    }
    let of_object = match &found.object {
        None if is_visible && !is_directory(found) => Some(fault(
            Kind::MissingObject,
            format!("the row says {} bytes, and there is no object", row.map_or(0, |f| f.size)),
        )),
        None => None,
        Some(object) => of_object(found, object, is_visible, claimed),
    };
    if let Some(fault) = of_object {
        let is_young = found.object.as_ref().is_some_and(|o| found.now.since(o.mtime) < age);
        if is_young && faults.is_empty() {
            return Verdict::Young;
        }
        if !is_young {
            faults.push(fault);
        }
    }
    Verdict::Judged(faults)
}

fn fault(kind: Kind, detail: impl Into<String>) -> Fault {
    Fault { kind, detail: detail.into(), adoptable: false }
}

fn is_directory(found: &Found) -> bool {
    found.record.node.as_ref().is_some_and(|n| n.kind == NodeKind::Directory)
}

/// What is wrong with the rows alone.
fn of_rows(found: &Found) -> Vec<Fault> {
    let mut faults = Vec::new();
    let Some(base) = &found.record.base else { return faults };
    if base.expired && base.mtime > 0 {
        faults.push(fault(
            Kind::TombstoneTrap,
            "the row was written again after a soft delete and is still marked as expired: nobody \
             sees the file",
        ));
    }
    if !base.expired && base.mtime <= 0 {
        faults.push(fault(
            Kind::HalfHidden,
            format!(
                "mtime is {} and expired is not set: the next create by Ibexa shows it",
                base.mtime
            ),
        ));
    }
    match &found.record.node {
        None if base.visible() => faults.push(fault(
            Kind::NotListed,
            "the row has no entry: readers see the file, listings do not",
        )),
        None => {}
        Some(node) if node.kind == NodeKind::Directory && base.visible() => faults.push(fault(
            Kind::FileAndDirectory,
            "the row of a file and a directory have the same path: only the directory is seen",
        )),
        Some(node) if node.kind == NodeKind::Directory => {}
        Some(node) if !node.belongs_to(base) => faults.push(fault(
            Kind::StaleEntry,
            format!(
                "the entry is of a row with {} bytes and mtime {}; the row has {} and {}",
                node.base_size, node.base_mtime, base.size, base.mtime
            ),
        )),
        Some(_) => {}
    }
    faults
}

/// What is wrong with an object beside its rows.
fn of_object(found: &Found, object: &ObjectInfo, is_visible: bool, claimed: bool) -> Option<Fault> {
    if is_directory(found) {
        let text = format!("an object of {} bytes has the path of a directory", object.size);
        let is_told = found.record.base.as_ref().is_some_and(BaseRow::visible);
        return (!is_told && !claimed).then(|| fault(Kind::FileAndDirectory, text));
    }
    let row = found.record.file(&found.path);
    match decide(found) {
        Decision::RollForward(..) => Some(fault(
            Kind::Late,
            "the object is a version whose publish was interrupted: its row was never written",
        )),
        Decision::Doomed if is_visible => Some(fault(
            Kind::MissingObject,
            "the object is the deleted version, and waits to be removed; that of the row is not \
             there",
        )),
        // Soft-deleted rows keep their bytes, whatever they are.
        Decision::Leave | Decision::Doomed if found.record.base.is_some() || claimed => None,
        Decision::Leave => Some(fault(
            Kind::Orphan,
            format!("an object of {} bytes that no row names", object.size),
        )),
        Decision::Doomed | Decision::NotSettled => None,
        Decision::Repin(_) | Decision::Compare(_) | Decision::Adopt(_) => {
            let row = row?;
            if row.size != object.size {
                return Some(fault(
                    Kind::Size,
                    format!("the row says {} bytes, the object has {}", row.size, object.size),
                ));
            }
            // A row that PHP wrote and that nobody has read since.
            row.pin.as_ref()?;
            let adoptable = row.mtime.secs() == object.mtime.secs()
                || (row.token.is_some() && row.token == object.token)
                || row.pin.as_ref().is_some_and(|pin| differs_by_inode(pin, object));
            let detail = if adoptable {
                "another object of the same size and mtime: restored, or moved"
            } else {
                "another object of the same size but another mtime: replaced by another program"
            };
            Some(Fault { adoptable, ..fault(Kind::Pin, detail) })
        }
    }
}

/// Whether the local file that was pinned had the size and the mtime (in seconds: archives keep no
/// more) of this one. Its pin tells that better than the row does: a file that was migrated has the
/// mtime of its source in the row.
fn differs_by_inode(pinned: &Pin, object: &ObjectInfo) -> bool {
    let secs = |pin: &Pin| {
        let mut parts = pin.etag()?.trim_matches('"').split('-');
        let (_ino, mtime, size) = (parts.next()?, parts.next()?, parts.next()?);
        let is_size = u64::from_str_radix(size, 16) == Ok(object.size);
        let nanos = i64::from_str_radix(mtime, 16).ok()?;
        (is_size && parts.next().is_none()).then_some(nanos.div_euclid(1_000_000_000))
    };
    let pinned = secs(pinned);
    pinned.is_some() && pinned == object.pin.as_ref().and_then(secs)
}

#[cfg(test)]
mod tests;
