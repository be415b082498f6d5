//! Delete of a file: row before bytes.

use ezdfs_core::{
    Change, Entry, ErrorKind, FilePath, Guard, Intent, IntentState, Op, Pin, Record, Result,
    Timestamp, Token, Work,
};

use crate::hold::Held;
use crate::precondition::Precondition;
use crate::publish::is_directory;
use crate::service::FileService;

/// How often a delete looks again when a foreign writer changes the row under it.
const TRIES: u32 = 5;

impl FileService {
    /// Deletes a file. With `trash` configured it is hidden and can be restored until its bytes
    /// are reaped.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::IsDirectory`], [`ErrorKind::PreconditionFailed`], or
    /// a fault: then the delete is not acknowledged.
    pub async fn delete(&self, path: &FilePath, precondition: &Precondition) -> Result<()> {
        if !self.inner.metadata.is_separate() {
            self.check_delete(path, precondition).await?;
            return self.inner.binary.delete(&self.inner.binary.key(path)?).await;
        }
        let intent = self.intent(path, self.inner.entropy.token(), Work::Delete);
        let mut held = self.hold(&[intent]).await?;
        let deleted = self.delete_held(path, precondition, &mut held).await;
        self.release(held, false).await;
        deleted
    }

    async fn delete_held(
        &self,
        path: &FilePath,
        precondition: &Precondition,
        held: &mut Held,
    ) -> Result<()> {
        let mut tries = 0;
        loop {
            let record = match self.check_delete(path, precondition).await {
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    self.remove_orphan(path, held).await?;
                    return Err(e);
                }
                other => other?,
            };
            let now = self.inner.metadata.now().await?;
            let doomed = self.doom(path, &record, held.token, now).await?;
            let change = Change::new()
                .guard(Guard::Holds(held.token))
                .guard(Guard::Unchanged { path: path.clone(), witness: record.witness() });
            match self.inner.metadata.apply(doomed.ops(change, path)).await {
                Ok(()) => {
                    self.remove_bytes(path, &doomed, held).await;
                    return Ok(());
                }
                Err(e) if e.kind() == ErrorKind::Stale && tries < TRIES => tries += 1,
                Err(e) => return Err(e),
            }
        }
    }

    async fn check_delete(&self, path: &FilePath, precondition: &Precondition) -> Result<Record> {
        let record = self.inner.metadata.record(path).await?;
        match record.entry(path, self.inner.clock.now()) {
            Some(Entry::File(file)) => {
                precondition.check(Some(&file))?;
                Ok(record)
            }
            Some(Entry::Directory(_)) => Err(is_directory(path)),
            None => {
                precondition.check(None)?;
                Err(ezdfs_core::Error::not_found(path))
            }
        }
    }

    /// Tolerant mode of Ibexa: a delete of a path without row removes its bytes and still says
    /// "not found" (check 20 of ibexa-dfs.md). Bytes that are too young stay: their foreign
    /// writer is about to write the row. So do those that a reap takes away in its time.
    async fn remove_orphan(&self, path: &FilePath, held: &Held) -> Result<()> {
        if self.inner.metadata.record(path).await?.base.is_some() {
            return Ok(());
        }
        let key = self.inner.binary.key(path)?;
        let Some(object) = self.inner.binary.head(&key).await? else { return Ok(()) };
        let is_young = self.inner.clock.now().since(object.mtime) < self.inner.options.settle;
        if !is_young && self.reaps_of(path, object.pin.as_ref()).await?.is_empty() {
            self.remove_unnamed(path, object.pin.as_ref(), held).await;
        }
        Ok(())
    }

    /// What is to become of a version that is being deleted at `now`.
    pub(crate) async fn doom(
        &self,
        path: &FilePath,
        record: &Record,
        token: Token,
        now: Timestamp,
    ) -> Result<Doomed> {
        let options = &self.inner.options;
        let known = record.file(path).and_then(|f| f.pin);
        let is_pinned = known.is_some();
        let pin = match known {
            Some(pin) => Some(pin),
            None => {
                self.inner.binary.head(&self.inner.binary.key(path)?).await?.and_then(|o| o.pin)
            }
        };
        let soft = !options.trash.is_zero();
        let not_before = now.plus(options.delete_grace.max(options.trash));
        let key = self.reap_key(path, token)?;
        Ok(Doomed {
            reap: self.reap_intent(path, token, key.to_string(), pin.clone(), not_before),
            key,
            set_pin: pin.clone().filter(|_| soft && !is_pinned),
            pin,
            soft,
            moves: self.inner.binary.capabilities.atomic_rename,
        })
    }

    pub(crate) fn reap_intent(
        &self,
        path: &FilePath,
        token: Token,
        key: String,
        pin: Option<Pin>,
        not_before: Timestamp,
    ) -> Intent {
        let work = Work::Reap { key, pin, not_before };
        Intent { state: IntentState::Queued, ..self.intent(path, token, work) }
    }

    /// The bytes after the row. A fault here is not the caller's: the reap row finishes it. Nor is
    /// a hold that was lost after a pause: another version may be in place by now.
    pub(crate) async fn remove_bytes(&self, path: &FilePath, doomed: &Doomed, held: &mut Held) {
        if doomed.stays_in_place() {
            return;
        }
        match self.refresh(held).await {
            Ok(()) => self.move_one(path, doomed).await,
            Err(e) => left_in_place(path, &e),
        }
    }

    /// The same for a caller that has just refreshed its hold.
    pub(crate) async fn move_one(&self, path: &FilePath, doomed: &Doomed) {
        if doomed.stays_in_place() {
            return;
        }
        if let Err(e) = self.to_limbo(path, &doomed.key, doomed.pin.as_ref()).await {
            left_in_place(path, &e);
        }
    }
}

fn left_in_place(path: &FilePath, e: &ezdfs_core::Error) {
    tracing::warn!(%path, error = %e, "deleted bytes are still in place; the reaper takes them away");
}

/// A version that is being deleted: what is queued for its bytes.
#[derive(Debug)]
pub(crate) struct Doomed {
    reap: Intent,
    key: object_store::path::Path,
    pin: Option<Pin>,
    /// The pin is new to the row: the reap recognises a soft-deleted row by it.
    set_pin: Option<Pin>,
    soft: bool,
    /// The store moves deleted objects to limbo.
    moves: bool,
}

impl Doomed {
    /// Nothing to move: the bytes can still be restored, or only their reap may touch them.
    fn stays_in_place(&self) -> bool {
        self.soft || !self.moves
    }

    /// Row out, reap in.
    pub(crate) fn ops(&self, mut change: Change, path: &FilePath) -> Change {
        if let Some(pin) = &self.set_pin {
            change = change.op(Op::SetPin { path: path.clone(), pin: pin.clone() });
        }
        let row = if self.soft { Op::HideFile(path.clone()) } else { Op::RemoveFile(path.clone()) };
        change.op(row).op(Op::AddIntent(self.reap.clone()))
    }
}
