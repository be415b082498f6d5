//! The reaper: removes the bytes of deleted versions when their time has come.
//!
//! It takes the path, sees that no visible row names the bytes, compares the pin immediately
//! before it acts, and forgets the reap row last. Whatever it cannot judge stays.

use ezdfs_core::{
    BaseRow, Change, ErrorKind, FilePath, Guard, Intent, NodeKind, Op, Pin, Record, Result,
    Witness, Work,
};

use object_store::path::Path as ObjectKey;

use crate::hold::Held;
use crate::limbo::limbo_key;
use crate::service::FileService;

/// How a reap ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaped {
    /// The bytes are gone.
    Removed,
    /// A visible row names the bytes again: they stay.
    Kept,
    /// Somebody else is at work on the path: later.
    Busy,
    /// Another node has carried it out.
    Done,
}

impl FileService {
    /// Carries out one due reap.
    ///
    /// # Errors
    /// A fault: then the row stays and the reap is tried again.
    pub(crate) async fn reap(&self, reap: &Intent) -> Result<Reaped> {
        let Work::Reap { key, pin, .. } = &reap.work else { return Ok(Reaped::Kept) };
        let held = match self.try_hold(&reap.path, Work::Delete).await? {
            Some(held) => held,
            None => return Ok(Reaped::Busy),
        };
        // Nodes list what is due at the same time; whoever held the path may have done it.
        let queued = self.inner.metadata.intents_on(&reap.path).await;
        if queued.as_ref().is_ok_and(|all| all.iter().all(|intent| intent.id != reap.id)) {
            self.release(held, false).await;
            return Ok(Reaped::Done);
        }
        let reaped = self.reap_held(reap, key, pin.as_ref(), &held).await;
        if !matches!(reaped, Ok(Reaped::Removed | Reaped::Kept)) {
            self.release(held, false).await;
        }
        reaped
    }

    /// Ends the hold together with the reap row, unless it says `Busy` or fails.
    async fn reap_held(
        &self,
        reap: &Intent,
        key: &str,
        pin: Option<&Pin>,
        held: &Held,
    ) -> Result<Reaped> {
        let binary = &self.inner.binary;
        let record = self.inner.metadata.record(&reap.path).await?;
        let held_change = || Change::new().guard(Guard::Holds(held.token));
        if let Some(ours) = hidden(&record, &reap.path, pin) {
            // Soft-deleted, and its time in the trash is over: row before bytes.
            let change = held_change()
                .guard(Guard::Unchanged { path: reap.path.clone(), witness: Some(ours) })
                .op(Op::RemoveFile(reap.path.clone()));
            match self.inner.metadata.apply(change).await {
                Err(e) if e.kind() == ErrorKind::Stale => return Ok(Reaped::Busy),
                other => other?,
            }
        }
        let named = names(&record, &reap.path, pin);
        let live = binary.key(&reap.path)?;
        let is_in_place = !named
            && pin.is_some()
            && binary.head(&live).await?.and_then(|o| o.pin).as_ref() == pin;
        if binary.capabilities.atomic_rename {
            let limbo = limbo_key(key)?;
            if is_in_place {
                self.to_limbo(&reap.path, &limbo, pin).await?;
            }
            let named_by_pin = named && row_pin(&record, &reap.path).as_ref() == pin;
            let is_wanted = named && self.wants_back(reap, &record, &live, &limbo).await?;
            self.clear_limbo(&reap.path, &limbo, pin, named_by_pin || is_wanted).await?;
        } else if is_in_place {
            binary.delete(&live).await?;
        }
        let change = held_change()
            .op(Op::Forget(reap.id))
            .op(Op::EndHold { token: held.token, keep: false });
        self.inner.metadata.apply(change).await?;
        Ok(if named { Reaped::Kept } else { Reaped::Removed })
    }

    /// Whether a visible row has come for bytes in quarantine, and there are no others.
    async fn wants_back(
        &self,
        reap: &Intent,
        record: &Record,
        live: &ObjectKey,
        quarantined: &ObjectKey,
    ) -> Result<bool> {
        let binary = &self.inner.binary;
        let Some(object) = binary.head(quarantined).await? else { return Ok(false) };
        Ok(self.is_wanted(&reap.work, record, &object) && binary.head(live).await?.is_none())
    }

    /// Takes a path without waiting; `None` while a live holder has it.
    pub(crate) async fn try_hold(&self, path: &FilePath, work: Work) -> Result<Option<Held>> {
        let intent = self.intent(path, self.inner.entropy.token(), work);
        for holder in self.inner.metadata.intents_on(path).await? {
            if holder.state == ezdfs_core::IntentState::Held && !self.is_abandoned(&holder).await? {
                return Ok(None);
            }
        }
        match self.hold(&[intent]).await {
            Ok(held) => Ok(Some(held)),
            Err(e) if e.kind() == ErrorKind::Busy => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// Whether a visible row names the bytes of a reap. A row with an unknown pin may: PHP revives
/// rows without writing bytes.
fn names(record: &Record, path: &FilePath, pin: Option<&Pin>) -> bool {
    if !record.base.as_ref().is_some_and(BaseRow::visible) {
        return false;
    }
    let named = row_pin(record, path);
    named.is_none() || named.as_ref() == pin
}

fn row_pin(record: &Record, path: &FilePath) -> Option<Pin> {
    record.file(path).and_then(|f| f.pin)
}

/// The witness of the soft-deleted row that this reap ends: the one of the same pin, or one that
/// lost its node row to a directory of that name. A row that PHP soft-deleted is PHP's to purge.
fn hidden(record: &Record, path: &FilePath, pin: Option<&Pin>) -> Option<Witness> {
    record.base.as_ref().filter(|b| b.expired)?;
    let file = record.file(path)?;
    let is_its = file.pin.is_some() && file.pin.as_ref() == pin;
    let gave_way = record.node.as_ref().is_some_and(|n| n.kind == NodeKind::Directory);
    (is_its || gave_way).then_some(file.witness)
}
