//! Reconcile: the one function that brings rows and object of a path into agreement. Readers that
//! meet a mismatch, rollers of abandoned work, and publishers that lost their hold all call it.

use ezdfs_core::{
    Change, ErrorKind, FilePath, Guard, Intent, IntentState, NewFile, Op, Pin, Result, Sha256, Work,
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
        let decided = self.settle(path, &held).await;
        self.release(held, false).await;
        decided
    }

    async fn settle(&self, path: &FilePath, held: &Held) -> Result<()> {
        let key = self.inner.binary.key(path)?;
        let object = self.inner.binary.head(&key).await?;
        let record = self.inner.metadata.record(path).await?;
        let mut intents = self.inner.metadata.intents_on(path).await?;
        intents.retain(|i| i.path == *path && i.token != held.token);
        let found = Found {
            path: path.clone(),
            record,
            object,
            intents,
            now: self.inner.clock.now(),
            settle: self.inner.options.settle,
        };
        let decision = decide(&found);
        if decision != Decision::Leave {
            tracing::info!(%path, ?decision, "reconciled");
        }
        match decision {
            Decision::Leave => Ok(()),
            Decision::RollForward(file) | Decision::Adopt(file) => {
                self.write_version(&found, *file, held).await
            }
            Decision::Repin(pin) => self.repin(&found, pin, held).await,
            Decision::Compare(pin) => self.compare(&found, pin, held).await,
            Decision::Doomed => self.bury(&found, held).await,
            Decision::NotSettled => Err(ezdfs_core::Error::new(
                ErrorKind::Busy,
                format!("the bytes of `{path}` changed a moment ago and its row has not followed"),
            )),
        }
    }

    /// Compare-and-set: the rows become `file` if they are still as they were found.
    async fn write_version(&self, found: &Found, file: NewFile, held: &Held) -> Result<()> {
        let change = Change::new()
            .guard(Guard::Holds(held.token))
            .guard(Guard::Unchanged { path: found.path.clone(), witness: found.record.witness() })
            .op(Op::PutFile { path: found.path.clone(), file });
        match self.inner.metadata.apply(change).await {
            // A foreign writer was faster: its row is newer than what was found.
            Err(e) if e.kind() == ErrorKind::Stale => Ok(()),
            other => other,
        }
    }

    async fn repin(&self, found: &Found, pin: Pin, held: &Held) -> Result<()> {
        match found.record.file(&found.path) {
            Some(file) => self.write_version(found, repinned(&file, pin), held).await,
            None => Ok(()),
        }
    }

    /// Same size, other pin, digest known: the bytes decide whether it is the same version.
    async fn compare(&self, found: &Found, pin: Pin, held: &Held) -> Result<()> {
        let (Some(file), Some(object)) = (found.record.file(&found.path), &found.object) else {
            return Ok(());
        };
        let digest = self.digest(&found.path, &pin).await?;
        let file =
            if file.sha256 == Some(digest) { repinned(&file, pin) } else { adopted(&file, object) };
        self.write_version(found, file, held).await
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

    /// Rolls abandoned work forward, or drops it where nothing happened yet.
    pub(crate) async fn roll_forward(&self, abandoned: &Intent) -> Result<()> {
        tracing::info!(path = %abandoned.path, work = abandoned.work.kind().as_str(), owner = %abandoned.owner, "rolling abandoned work forward");
        let outcome = match &abandoned.work {
            Work::Publish { .. } | Work::Repair => {
                let token = self.inner.entropy.token();
                let row = Intent {
                    state: IntentState::Held,
                    ..self.intent(&abandoned.path, token, Work::Repair)
                };
                match self.take_over(abandoned, vec![row]).await {
                    Ok(held) => self.reconcile_held(&abandoned.path, held).await,
                    Err(e) => Err(e),
                }
            }
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

    pub(crate) async fn end_abandoned(&self, abandoned: &Intent) -> Result<()> {
        let change = Change::new()
            .guard(Guard::Holds(abandoned.token))
            .op(Op::EndHold { token: abandoned.token, keep: false });
        self.inner.metadata.apply(change).await
    }
}
