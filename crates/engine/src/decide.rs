//! What reconcile does about one path, as a pure rule over what was found.

use std::time::Duration;

use ezdfs_core::{
    Entry, FileMeta, FilePath, Intent, IntentState, NewFile, Pin, Record, Timestamp, Work,
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
    /// Other pending rows of the path: ended ones, and queued reaps.
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
    /// The object is a version that was being published: its rows are written.
    RollForward(Box<NewFile>),
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
    let file = found.record.file(&found.path);
    if let Some(file) = &file {
        if file.pin.is_some() && file.pin == object.pin {
            return Decision::Leave;
        }
        // Same version, other pin: the object was copied within the store (rename, restore).
        if let (Some(token), Some(pin)) = (file.token, &object.pin)
            && object.token == Some(token)
        {
            return Decision::Repin(pin.clone());
        }
    }
    if found.intents.iter().any(|i| is_reap_of(i, object)) {
        return Decision::Doomed;
    }
    let old_mtime = match found.record.entry(&found.path, found.now) {
        Some(Entry::Directory(_)) => return Decision::Leave,
        Some(Entry::File(f)) => Some(f.mtime),
        None => None,
    };
    if let Some(file) = found.intents.iter().find_map(|i| version_of(i, object, old_mtime)) {
        return Decision::RollForward(Box::new(file));
    }
    let Some(file) = file.filter(|f| f.witness.mtime > 0 && !f.witness.expired) else {
        // No visible row: a foreign create that has written its bytes first, or an orphan.
        return Decision::Leave;
    };
    foreign(found, object, &file)
}

/// An object of no known version under a visible row.
fn foreign(found: &Found, object: &ObjectInfo, file: &FileMeta) -> Decision {
    if file.pin.is_none() && file.size == object.size {
        return object.pin.clone().map_or(Decision::Leave, Decision::Repin);
    }
    if found.now.since(object.mtime) < found.settle {
        return Decision::NotSettled;
    }
    if file.size == object.size
        && let Some(pin) = &object.pin
    {
        if file.sha256.is_some() {
            return Decision::Compare(pin.clone());
        }
        // After a restore or an NFS fail-over every pin differs; size and mtime do not.
        if file.mtime.secs() == object.mtime.secs() {
            return Decision::Repin(pin.clone());
        }
    }
    Decision::Adopt(Box::new(adopted(file, object)))
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

/// The version that a publish was making, if this is its object.
fn version_of(intent: &Intent, object: &ObjectInfo, old: Option<Timestamp>) -> Option<NewFile> {
    let Work::Publish { size, sha256, datatype, mtime, expires, pin } = &intent.work else {
        return None;
    };
    if intent.state == IntentState::Queued {
        return None;
    }
    let by_token = object.token == Some(intent.token);
    let by_pin = pin.is_some() && *pin == object.pin;
    if *size != object.size || !(by_token || by_pin) {
        return None;
    }
    Some(NewFile {
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
