//! Quarantine: where orphans wait before they are deleted.
//!
//! A quarantined object is one more queued reap, so everything that protects bytes on their way to
//! a reap protects these: the pin is checked before and after the move, what was moved by mistake
//! is given back by readers and the reaper, and the reaper looks for a row before anything goes. On
//! a store with atomic rename the object moves to `.ezdfs/quarantine/<token>/<path>`, a name that
//! tells where it came from without any database. Elsewhere it stays where it is, where nobody
//! sees it, and only its reap is queued.

use std::time::Duration;

use ezdfs_core::{
    Change, ErrorKind, FilePath, Guard, Intent, IntentState, Op, Pin, Result, Timestamp, Token,
    Work,
};
use object_store::path::Path as ObjectKey;

use super::walk::{Listed, Listing};
use crate::binary::BinaryStore;
use crate::hold::Held;
use crate::service::FileService;

/// Below the folder of ezdfs.
pub(super) const QUARANTINE: &str = "quarantine";
/// Rows of one query.
const BATCH: u32 = 500;

/// What bringing everything back did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Restored {
    /// Objects that are where they were.
    pub restored: u64,
    /// Objects that stay in quarantine: there is a newer one in their place, or a writer at work.
    pub kept: u64,
}

/// The key under which an orphan waits.
fn key(binary: &BinaryStore, token: Token, path: &FilePath) -> Result<ObjectKey> {
    binary.prefix.reserved_key(&format!("{QUARANTINE}/{token}/{path}"))
}

/// Token and path of a key in quarantine; `None` for other keys.
pub(crate) fn parse(binary: &BinaryStore, key: &str) -> Option<(Token, FilePath)> {
    let folder = binary.prefix.reserved_key(QUARANTINE).ok()?;
    let (token, path) = key.strip_prefix(folder.as_ref())?.strip_prefix('/')?.split_once('/')?;
    Some((token.parse().ok()?, path.parse().ok()?))
}

impl FileService {
    /// Sends an orphan into quarantine. The caller holds the path, and has just seen that no row
    /// names the object of `pin`.
    pub(super) async fn quarantine(
        &self,
        path: &FilePath,
        pin: &Pin,
        keep: Duration,
        held: &mut Held,
    ) -> Result<()> {
        self.refresh(held).await?;
        let token = self.inner.entropy.token();
        let key = key(&self.inner.binary, token, path)?;
        let not_before = self.inner.metadata.now().await?.plus(keep);
        let reap = self.reap_intent(path, token, key.to_string(), Some(pin.clone()), not_before);
        let change = Change::new()
            .guard(Guard::Holds(held.token))
            .guard(Guard::Unchanged { path: path.clone(), witness: None })
            .op(Op::AddIntent(reap));
        self.inner.metadata.apply(change).await?;
        self.to_limbo(path, &key, Some(pin)).await
    }

    /// Brings everything in quarantine back to its place, and forgets its reaps.
    ///
    /// # Errors
    /// When the database or the store does not answer.
    pub async fn restore_quarantine(&self) -> Result<Restored> {
        let mut done = Restored::default();
        if !self.inner.metadata.is_separate() {
            return Ok(done);
        }
        self.restore_by_reaps(&mut done).await?;
        if self.inner.binary.capabilities.atomic_rename {
            self.restore_by_names(&mut done).await?;
        }
        Ok(done)
    }

    async fn restore_by_reaps(&self, done: &mut Restored) -> Result<()> {
        let far = Timestamp::from_nanos(i64::MAX);
        let mut passed = std::collections::HashSet::new();
        loop {
            let limit = u32::try_from(passed.len()).unwrap_or(u32::MAX).saturating_add(BATCH);
            let queued = self.inner.metadata.due(IntentState::Queued, far, limit).await?;
            let fresh: Vec<Intent> =
                queued.into_iter().filter(|i| !passed.contains(&i.id)).collect();
            if fresh.is_empty() {
                return Ok(());
            }
            for reap in fresh {
                passed.insert(reap.id);
                let Work::Reap { key, pin, .. } = &reap.work else { continue };
                if parse(&self.inner.binary, key).is_none() {
                    continue;
                }
                let key = crate::limbo::limbo_key(key)?;
                let is_back = self.bring_out(&reap.path, &key, pin.as_ref(), Some(&reap)).await?;
                *(if is_back { &mut done.restored } else { &mut done.kept }) += 1;
            }
        }
    }

    /// What lies there without a reap: the database was restored to an older state.
    async fn restore_by_names(&self, done: &mut Restored) -> Result<()> {
        let binary = &self.inner.binary;
        let below = binary.prefix.reserved_key(QUARANTINE)?;
        let mut listing = Listing::start(binary, Some(&below));
        while let Some(listed) = listing.next().await? {
            let Listed::Object(meta) = listed else { continue };
            let Some((token, path)) = parse(binary, meta.location.as_ref()) else { continue };
            let reaps = self.inner.metadata.intents_on(&path).await?;
            if reaps.iter().any(|i| i.token == token) {
                // Counted already, and kept.
                continue;
            }
            let is_back = self.bring_out(&path, &meta.location, None, None).await?;
            *(if is_back { &mut done.restored } else { &mut done.kept }) += 1;
        }
        Ok(())
    }

    /// Moves one object back, unless there is another one by now; forgets its reap.
    async fn bring_out(
        &self,
        path: &FilePath,
        key: &ObjectKey,
        pin: Option<&Pin>,
        reap: Option<&Intent>,
    ) -> Result<bool> {
        let Some(held) = self.try_hold(path, Work::Repair).await? else { return Ok(false) };
        let back = async {
            let binary = &self.inner.binary;
            let live = binary.key(path)?;
            let is_back = if binary.capabilities.atomic_rename {
                let is_in_place = || async {
                    let object = binary.head(&live).await?;
                    Ok::<_, ezdfs_core::Error>(
                        pin.is_some() && object.and_then(|o| o.pin).as_ref() == pin,
                    )
                };
                match binary.move_new(key, &live).await {
                    // It never left its place, or was brought back before.
                    Ok(false) => is_in_place().await?,
                    Ok(true) => true,
                    Err(e) if e.kind() == ErrorKind::AlreadyExists => false,
                    Err(e) => return Err(e),
                }
            } else {
                binary.head(&live).await?.is_some()
            };
            if let Some(reap) = reap.filter(|_| is_back) {
                let change = Change::new().guard(Guard::Holds(held.token)).op(Op::Forget(reap.id));
                self.inner.metadata.apply(change).await?;
            }
            Ok(is_back)
        }
        .await;
        self.release(held, false).await;
        back
    }
}
