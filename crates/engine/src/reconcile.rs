//! Reconcile: the one function that brings rows and object of a path into agreement. Readers that
//! meet a mismatch, rollers of abandoned work, and publishers that lost their hold all call it.

use ezdfs_core::{
    BaseRow, Change, ErrorKind, FilePath, Guard, Intent, IntentId, IntentState, NewFile, Op, Pin,
    Result, Sha256, Work,
};
use futures::TryStreamExt as _;
use sha2::Digest as _;

use crate::decide::{Decision, Found, adopted, decide, repinned};
use crate::hold::Held;
use crate::service::FileService;

impl FileService {
    /// Brings rows and object of `path` into agreement under a hold of its own.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while somebody else is at work on the path, or while its object changed
    /// too short a time ago; or a fault.
    pub async fn reconcile(&self, path: &FilePath) -> Result<()> {
        if !self.inner.metadata.is_separate() {
            return Ok(());
        }
        let repair = self.intent(path, self.inner.entropy.token(), Work::Repair);
        let held = self.hold(&[repair]).await?;
        self.reconcile_held(path, held).await
    }

    /// The same under a hold that was just taken, which ends with it.
    pub(crate) async fn reconcile_held(&self, path: &FilePath, held: Held) -> Result<()> {
        let settled = self.settle(path, &held).await;
        self.release(held, false).await;
        match settled? {
            Settled::Done => Ok(()),
            Settled::LateRename { from, to } => self.finish_late_rename(&from, &to).await,
        }
    }

    /// Reads the row before the object: a foreign writer changes the object first, so a row that
    /// was read later could be newer than the object, and would be overwritten with its past.
    pub(crate) async fn find(&self, path: &FilePath, held: &Held) -> Result<Found> {
        let key = self.inner.binary.key(path)?;
        let record = self.inner.metadata.record(path).await?;
        let mut intents = self.inner.metadata.intents_on(path).await?;
        intents.retain(|i| i.path == *path && i.token != held.token);
        let object = self.inner.binary.head(&key).await?;
        Ok(Found {
            path: path.clone(),
            record,
            object,
            intents,
            now: self.inner.clock.now(),
            settle: self.inner.options.settle,
        })
    }

    pub(crate) async fn settle(&self, path: &FilePath, held: &Held) -> Result<Settled> {
        let mut found = self.find(path, held).await?;
        if is_missing(&found) && self.bring_back(&found).await? {
            found = self.find(path, held).await?;
        }
        let decision = decide(&found);
        if decision != Decision::Leave {
            tracing::info!(%path, ?decision, "reconciled");
        }
        let is_strange =
            matches!(decision, Decision::NotSettled | Decision::Compare(_) | Decision::Adopt(_));
        if (is_missing(&found) || is_strange)
            && let Some((from, to)) = self.late_rename(&found).await?
        {
            return Ok(Settled::LateRename { from, to });
        }
        match decision {
            Decision::Leave | Decision::Doomed => Ok(()),
            Decision::RollForward(file, told_by) => {
                self.write_version(&found, *file, held, Some(told_by)).await
            }
            Decision::Adopt(file) => self.write_version(&found, *file, held, None).await,
            Decision::Repin(pin) => self.repin(&found, pin, held).await,
            Decision::Compare(pin) => self.compare(&found, pin, held).await,
            Decision::NotSettled => Err(ezdfs_core::Error::new(
                ErrorKind::Busy,
                format!("the bytes of `{path}` changed a moment ago and its row has not followed"),
            )),
        }
        .map(|()| Settled::Done)
    }

    /// Compare-and-set: the rows become `file` if they are still as they were found.
    async fn write_version(
        &self,
        found: &Found,
        file: NewFile,
        held: &Held,
        told_by: Option<IntentId>,
    ) -> Result<()> {
        let mut change = Change::new()
            .guard(Guard::Holds(held.token))
            .guard(Guard::Unchanged { path: found.path.clone(), witness: found.record.witness() })
            .op(Op::PutFile { path: found.path.clone(), file });
        if let Some(id) = told_by {
            change = change.op(Op::Forget(id));
        }
        match self.inner.metadata.apply(change).await {
            // A foreign writer was faster: its row is newer than what was found.
            Err(e) if e.kind() == ErrorKind::Stale => Ok(()),
            other => other,
        }
    }

    async fn repin(&self, found: &Found, pin: Pin, held: &Held) -> Result<()> {
        match found.record.file(&found.path) {
            Some(file) => self.write_version(found, repinned(&file, pin), held, None).await,
            None => Ok(()),
        }
    }

    /// Same size, other pin, digest known: the bytes decide whether it is the same version.
    async fn compare(&self, found: &Found, pin: Pin, held: &Held) -> Result<()> {
        let (Some(file), Some(object)) = (found.record.file(&found.path), &found.object) else {
            return Ok(());
        };
        let digest = self.keeping(held, self.digest(&found.path, &pin)).await?;
        let file =
            if file.sha256 == Some(digest) { repinned(&file, pin) } else { adopted(&file, object) };
        self.write_version(found, file, held, None).await
    }

    /// SHA-256 of the stored object, pinned.
    pub(crate) async fn digest(&self, path: &FilePath, pin: &Pin) -> Result<Sha256> {
        let key = self.inner.binary.key(path)?;
        let got = self.inner.binary.get(&key, Some(pin), None).await?;
        let mut stream = got.into_stream();
        let mut hasher = sha2::Sha256::new();
        while let Some(bytes) = stream.try_next().await? {
            hasher.update(&bytes);
        }
        Ok(Sha256::from_bytes(hasher.finalize().into()))
    }

    /// Rolls abandoned work forward, or drops it where nothing happened yet. On a fault the path
    /// stays taken, so that a later round tries again.
    pub(crate) async fn roll_forward(&self, abandoned: &Intent) -> Result<()> {
        tracing::info!(path = %abandoned.path, work = abandoned.work.kind().as_str(), owner = %abandoned.owner, "rolling abandoned work forward");
        let outcome = match &abandoned.work {
            Work::Publish { .. } | Work::Repair => self.roll_publish(abandoned).await,
            Work::Rename { .. } => self.roll_rename(abandoned).await,
            // Before its transaction a delete has done nothing; after it the reap row finishes it.
            // A directory delete stops where it was: it was not acknowledged, and running it again
            // resumes it.
            Work::Delete => self.end_abandoned(abandoned).await,
            Work::Reap { .. } => Ok(()),
        };
        match outcome {
            // Another node was faster.
            Err(e) if e.kind() == ErrorKind::LostHold => Ok(()),
            other => other,
        }
    }

    async fn roll_publish(&self, abandoned: &Intent) -> Result<()> {
        let repair = Intent {
            state: IntentState::Held,
            subtree: abandoned.subtree,
            ..self.intent(&abandoned.path, self.inner.entropy.token(), Work::Repair)
        };
        let held = self.take_over(abandoned, vec![repair]).await?;
        match self.settle(&abandoned.path, &held).await {
            Ok(settled) => {
                self.release(held, false).await;
                match settled {
                    Settled::Done => Ok(()),
                    Settled::LateRename { from, to } => self.finish_late_rename(&from, &to).await,
                }
            }
            // What is there now is a foreign writer's, or cannot become a file: nothing is left
            // of the publish that a later round could finish. Readers look at the rest.
            Err(e) if is_final(e.kind()) => {
                self.release(held, false).await;
                Ok(())
            }
            Err(e) => Err(e),
        }
    }

    pub(crate) async fn end_abandoned(&self, abandoned: &Intent) -> Result<()> {
        let change = Change::new()
            .guard(Guard::Holds(abandoned.token))
            .op(Op::EndHold { token: abandoned.token, keep: false });
        self.inner.metadata.apply(change).await
    }
}

/// How a reconcile ended.
#[derive(Debug)]
pub(crate) enum Settled {
    /// Rows and object agree, or nobody can make them.
    Done,
    /// A rename that had lost its hold moved the object late; it needs both paths.
    LateRename { from: FilePath, to: FilePath },
}

fn is_missing(found: &Found) -> bool {
    found.object.is_none() && found.record.base.as_ref().is_some_and(BaseRow::visible)
}

fn is_final(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Busy
            | ErrorKind::IsDirectory
            | ErrorKind::NotDirectory
            | ErrorKind::HashCollision
    )
}
