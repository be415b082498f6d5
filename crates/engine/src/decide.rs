//! What reconcile does about one path, as a pure rule over what was found.

use std::time::Duration;

use ezdfs_core::{
    BaseRow, Entry, FileMeta, FilePath, Intent, IntentId, IntentKind, NewFile, Pin, Record,
    Timestamp, Work,
};

use crate::binary::ObjectInfo;
use crate::media;
use crate::mtime;

/// Everything that reconcile looked at, under its own hold.
#[derive(Debug, Clone)]
pub struct Found {
    /// Which path.
    pub path: FilePath,
    /// Its rows.
    pub record: Record,
    /// Its object.
    pub object: Option<ObjectInfo>,
    /// Other pending rows of the path: ended work, and queued reaps.
    pub intents: Vec<Intent>,
    /// Store time as near as this node knows it.
    pub now: Timestamp,
    /// How long a foreign writer gets to write its row.
    pub settle: Duration,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Rows and object agree, or there is nothing that a repair may touch: a row without bytes
    /// and bytes without a row are for fsck to report.
    Leave,
    /// The object is a version that was being published: its rows are written, and the pending row
    /// that told of it is forgotten, so that a later delete of that version is not undone.
    RollForward(Box<NewFile>, IntentId),
    /// The object is the version of the row under a new pin.
    Repin(Pin),
    /// The object may be the version of the row: its digest decides between `Repin` and `Adopt`.
    Compare(Pin),
    /// A foreign writer replaced the object: the row follows it.
    Adopt(Box<NewFile>),
    /// Bytes of a deleted version, which their reap takes away.
    Doomed,
    /// The object changed a moment ago: its writer may be about to write the row.
    NotSettled,
}

/// The rule.
#[must_use]
pub fn decide(found: &Found) -> Decision {
    let Some(object) = &found.object else { return Decision::Leave };
    let entry = found.record.entry(&found.path, found.now);
    if matches!(entry, Some(Entry::Directory(_))) {
        return Decision::Leave;
    }
    let row = found.record.file(&found.path);
    // Agreement counts for soft-deleted rows too: they must not be revived.
    if row.as_ref().is_some_and(|f| f.pin.is_some() && f.pin == object.pin) {
        return Decision::Leave;
    }
    let visible = found.record.base.as_ref().is_some_and(BaseRow::visible);
    let row = row.filter(|_| visible);
    // Same version, other pin: the object was copied within the store (rename, restore).
    if let Some(row) = &row
        && row.token.is_some()
        && row.token == object.token
    {
        return object.pin.clone().map_or(Decision::Leave, Decision::Repin);
    }
    let old_mtime = row.as_ref().map(|f| f.mtime);
    let version = |by: fn(&Intent, &ObjectInfo) -> bool| {
        let intent = found.intents.iter().find(|i| by(i, object))?;
        let file = version_of(intent, object, old_mtime)?;
        Some(Decision::RollForward(Box::new(file), intent.id))
    };
    // A token is of one version only. A pin can come again: the etag of S3 is made of the bytes.
    if let Some(forward) = version(is_by_token) {
        return forward;
    }
    let unknown = row.as_ref().filter(|f| f.pin.is_none() && f.size == object.size);
    if found.intents.iter().any(|i| is_reap_of(i, object)) {
        // A foreign writer revived the row of a soft-deleted file: the bytes are its own.
        return match (unknown, &object.pin) {
            (Some(_), Some(pin)) => Decision::Repin(pin.clone()),
            _ => Decision::Doomed,
        };
    }
    if let Some(forward) = version(is_by_pin) {
        return forward;
    }
    match row {
        Some(row) => foreign(found, object, &row),
        // A foreign create that has written its bytes first, or an orphan.
        None => Decision::Leave,
    }
}

/// An object of no known version under a visible row.
fn foreign(found: &Found, object: &ObjectInfo, row: &FileMeta) -> Decision {
    if row.pin.is_none() && row.size == object.size {
        return object.pin.clone().map_or(Decision::Leave, Decision::Repin);
    }
    if is_fresh(found, object.mtime) {
        return Decision::NotSettled;
    }
    if row.size == object.size
        && let Some(pin) = &object.pin
    {
        if row.sha256.is_some() {
            return Decision::Compare(pin.clone());
        }
        // After a restore or an NFS fail-over every pin differs; size and mtime do not.
        if row.mtime.secs() == object.mtime.secs() {
            return Decision::Repin(pin.clone());
        }
    }
    Decision::Adopt(Box::new(adopted(row, object)))
}

/// Whether an object changed so short a time ago that its writer may not have written the row yet.
/// A time further in the future than that says nothing (clock skew, a restore with its times): the
/// object would be unreadable until then.
fn is_fresh(found: &Found, mtime: Timestamp) -> bool {
    mtime <= found.now.plus(found.settle) && found.now.since(mtime) < found.settle
}

/// The version that an object of unknown origin makes of a row: its own size and mtime, no digest,
/// no expiry; the row's media type, which PHP shows, or one by name.
#[must_use]
pub fn adopted(file: &FileMeta, object: &ObjectInfo) -> NewFile {
    let datatype = if file.datatype.is_empty() {
        media::guess(&file.path).to_owned()
    } else {
        file.datatype.clone()
    };
    NewFile {
        size: object.size,
        mtime: object.mtime,
        datatype,
        sha256: None,
        token: None,
        pin: object.pin.clone(),
        expires: None,
        mode: None,
        uid: None,
        gid: None,
    }
}

/// The version of a file under another pin.
#[must_use]
pub fn repinned(file: &FileMeta, pin: Pin) -> NewFile {
    NewFile {
        size: file.size,
        mtime: file.mtime,
        datatype: file.datatype.clone(),
        sha256: file.sha256,
        token: file.token,
        pin: Some(pin),
        expires: file.expires,
        mode: None,
        uid: None,
        gid: None,
    }
}

fn is_reap_of(intent: &Intent, object: &ObjectInfo) -> bool {
    match &intent.work {
        Work::Reap { pin: Some(pin), .. } => Some(pin) == object.pin.as_ref(),
        _ => false,
    }
}

fn is_by_token(intent: &Intent, object: &ObjectInfo) -> bool {
    intent.work.kind() == IntentKind::Publish && object.token == Some(intent.token)
}

fn is_by_pin(intent: &Intent, object: &ObjectInfo) -> bool {
    matches!(&intent.work, Work::Publish { pin: Some(pin), .. } if Some(pin) == object.pin.as_ref())
}

/// The version that a publish was making, whose object this is.
fn version_of(intent: &Intent, object: &ObjectInfo, old: Option<Timestamp>) -> Option<NewFile> {
    let Work::Publish { size, sha256, datatype, mtime, expires, .. } = &intent.work else {
        return None;
    };
    (*size == object.size).then(|| NewFile {
        size: *size,
        mtime: mtime::rolled(*mtime, old),
        datatype: datatype.clone(),
        sha256: Some(*sha256),
        token: Some(intent.token),
        pin: object.pin.clone(),
        expires: *expires,
        mode: None,
        uid: None,
        gid: None,
    })
}

#[cfg(test)]
mod tests;
