//! The reaper: removes the bytes of deleted versions when their time has come.
//!
//! It takes the path, sees that no visible row names the bytes, compares the pin immediately
//! before it acts, and forgets the reap row last. Whatever it cannot judge stays.

use ezdfs_core::{
    Change, Entry, ErrorKind, FilePath, Guard, Intent, Op, Pin, Record, Result, Work,
};

use crate::hold::Held;
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
        let reaped = self.reap_held(reap, key, pin.as_ref(), &held).await;
        self.release(held, false).await;
        reaped
    }

    async fn reap_held(
        &self,
        reap: &Intent,
        key: &str,
        pin: Option<&Pin>,
        held: &Held,
    ) -> Result<Reaped> {
        let record = self.inner.metadata.record(&reap.path).await?;
        let forget = |change: Change| change.guard(Guard::Holds(held.token));
        if names(&record, &reap.path, pin, self.inner.clock.now()) {
            let change = forget(Change::new()).op(Op::Forget(reap.id));
            return self.inner.metadata.apply(change).await.map(|()| Reaped::Kept);
        }
        if let Some(ours) = hidden(&record, &reap.path, pin) {
            // Soft-deleted, and its time in the trash is over: row before bytes.
            let change = forget(Change::new())
                .guard(Guard::Unchanged { path: reap.path.clone(), witness: Some(ours) })
                .op(Op::RemoveFile(reap.path.clone()));
            match self.inner.metadata.apply(change).await {
                Err(e) if e.kind() == ErrorKind::Stale => return Ok(Reaped::Busy),
                other => other?,
            }
        }
        self.remove_doomed(&reap.path, key, pin).await?;
        let change = forget(Change::new()).op(Op::Forget(reap.id));
        self.inner.metadata.apply(change).await.map(|()| Reaped::Removed)
    }

    /// The object of a reap: in limbo, or still in place under the pin that was recorded.
    async fn remove_doomed(&self, path: &FilePath, key: &str, pin: Option<&Pin>) -> Result<()> {
        let binary = &self.inner.binary;
        let live = binary.key(path)?;
        let in_place = match (pin, binary.head(&live).await?) {
            (Some(pin), Some(object)) => object.pin.as_ref() == Some(pin),
            _ => false,
        };
        if !binary.capabilities.atomic_rename {
            return if in_place { binary.delete(&live).await } else { Ok(()) };
        }
        let limbo = object_store::path::Path::parse(key).map_err(|e| {
            ezdfs_core::Error::new(ErrorKind::Corrupt, format!("`{key}` is no limbo key"))
                .with_source(e)
        })?;
        if in_place {
            self.to_limbo(path, &limbo, pin).await?;
        }
        binary.delete(&limbo).await
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
fn names(record: &Record, path: &FilePath, pin: Option<&Pin>, now: ezdfs_core::Timestamp) -> bool {
    match record.entry(path, now) {
        Some(Entry::File(file)) => file.pin.is_none() || file.pin.as_ref() == pin,
        _ => false,
    }
}

/// The witness of a soft-deleted row that this reap ends.
fn hidden(record: &Record, path: &FilePath, pin: Option<&Pin>) -> Option<ezdfs_core::Witness> {
    let base = record.base.as_ref().filter(|b| !b.visible())?;
    let file = record.file(path)?;
    let same = file.pin.is_none() || file.pin.as_ref() == pin;
    (same && base.expired).then_some(file.witness)
}
