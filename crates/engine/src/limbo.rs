//! Limbo: where bytes wait between the delete of their row and their reap.
//!
//! On a store with atomic rename a deleted object leaves its key at once, so that reaping never
//! touches a live key. Its pin is checked before and after the move; if a foreign writer put
//! another object there in between, that one is moved back without replacing anything. Should the
//! mover die before it could, readers of the path and the reaper move it back: a limbo key belongs
//! to one reap, so whatever lies there under another pin came there by mistake. On other stores
//! the bytes stay where they are until the reaper has checked the pin.

use ezdfs_core::{
    Change, Error, ErrorKind, FilePath, Guard, IntentState, Op, Pin, Record, Result, Token, Work,
};
use object_store::path::Path as ObjectKey;

use crate::binary::ObjectInfo;
use crate::decide::Found;
use crate::fsck::quarantine;
use crate::hold::Held;
use crate::service::FileService;

impl FileService {
    /// Where a reap finds the bytes of a deleted version.
    pub(crate) fn reap_key(&self, path: &FilePath, token: Token) -> Result<ObjectKey> {
        if self.inner.binary.capabilities.atomic_rename {
            self.inner.binary.limbo_key(token)
        } else {
            self.inner.binary.key(path)
        }
    }

    /// Moves the bytes of a deleted version out of the way, if the store can. The caller holds the
    /// path, and a reap row names `limbo` and `pin`. Without a pin there is nothing to move.
    pub(crate) async fn to_limbo(
        &self,
        path: &FilePath,
        limbo: &ObjectKey,
        pin: Option<&Pin>,
    ) -> Result<()> {
        let binary = &self.inner.binary;
        let Some(pin) = pin.filter(|_| binary.capabilities.atomic_rename) else { return Ok(()) };
        let key = binary.key(path)?;
        let carries =
            |object: Option<ObjectInfo>| object.is_some_and(|o| o.pin.as_ref() == Some(pin));
        if !carries(binary.head(&key).await?) || !binary.move_new(&key, limbo).await? {
            return Ok(());
        }
        if !carries(binary.head(limbo).await?) {
            self.give_back(limbo, &key).await?;
        }
        Ok(())
    }

    /// Moves an object that came to limbo by mistake back to its key; `false` when there is a
    /// newer one by now, or nothing to move.
    async fn give_back(&self, limbo: &ObjectKey, key: &ObjectKey) -> Result<bool> {
        match self.inner.binary.move_new(limbo, key).await {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(false),
            other => other,
        }
    }

    /// The bytes of a visible row are not at their key: looks in the limbo keys of the path for
    /// what a deleter moved there by mistake and could not move back. Whether something came back.
    pub(crate) async fn bring_back(&self, found: &Found) -> Result<bool> {
        let binary = &self.inner.binary;
        if !binary.capabilities.atomic_rename {
            return Ok(false);
        }
        let key = binary.key(&found.path)?;
        let row_pin = found.record.file(&found.path).and_then(|f| f.pin);
        for intent in &found.intents {
            let Work::Reap { key: limbo, pin, .. } = &intent.work else { continue };
            let limbo = limbo_key(limbo)?;
            let Some(object) = binary.head(&limbo).await? else { continue };
            let is_doomed = object.pin == *pin && (row_pin.is_none() || object.pin != row_pin);
            let is_wanted = self.is_wanted(&intent.work, &found.record, &object);
            if (!is_doomed || is_wanted) && self.give_back(&limbo, &key).await? {
                tracing::warn!(path = %found.path, "bytes that were moved away by mistake are back in place");
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether an orphan in quarantine is what a row without bytes wants: fsck took it away before
    /// the row came.
    pub(crate) fn is_wanted(&self, work: &Work, record: &Record, object: &ObjectInfo) -> bool {
        let Work::Reap { key, .. } = work else { return false };
        quarantine::parse(&self.inner.binary, key).is_some()
            && record.base.as_ref().is_some_and(|row| row.visible() && row.size == object.size)
    }

    /// Ends what a reap has in limbo: removes the doomed bytes and gives others back. `named`: a
    /// visible row names the doomed bytes, so they go back as well.
    pub(crate) async fn clear_limbo(
        &self,
        path: &FilePath,
        limbo: &ObjectKey,
        pin: Option<&Pin>,
        named: bool,
    ) -> Result<()> {
        let binary = &self.inner.binary;
        let Some(object) = binary.head(limbo).await? else { return Ok(()) };
        let is_doomed = object.pin.as_ref() == pin && !named;
        if !is_doomed && self.give_back(limbo, &binary.key(path)?).await? {
            return Ok(());
        }
        binary.delete(limbo).await
    }

    /// Takes an object away that no row names: one that a refused publish has put in place, or an
    /// orphan. Where that takes two steps, a reap row makes sure of the second.
    pub(crate) async fn remove_unnamed(&self, path: &FilePath, pin: Option<&Pin>, held: &Held) {
        let removed = async {
            let binary = &self.inner.binary;
            let Some(pin) = pin else { return Ok(()) };
            let key = binary.key(path)?;
            if binary.head(&key).await?.and_then(|o| o.pin).as_ref() != Some(pin) {
                return Ok(());
            }
            if !binary.capabilities.atomic_rename {
                return binary.delete(&key).await;
            }
            let token = self.inner.entropy.token();
            let limbo = binary.limbo_key(token)?;
            let not_before = self.inner.metadata.now().await?.plus(self.inner.options.delete_grace);
            let reap =
                self.reap_intent(path, token, limbo.to_string(), Some(pin.clone()), not_before);
            let change = Change::new().guard(Guard::Holds(held.token)).op(Op::AddIntent(reap));
            self.inner.metadata.apply(change).await?;
            self.to_limbo(path, &limbo, Some(pin)).await
        };
        if let Err(e) = removed.await {
            tracing::warn!(%path, error = %e, "bytes that no row names stay behind as an orphan");
        }
    }

    /// Queued reaps of this path whose bytes carry `pin`.
    pub(crate) async fn reaps_of(
        &self,
        path: &FilePath,
        pin: Option<&Pin>,
    ) -> Result<Vec<ezdfs_core::Intent>> {
        let mut reaps = self.inner.metadata.intents_on(path).await?;
        reaps.retain(|i| {
            let reaped = match &i.work {
                Work::Reap { pin, .. } => pin.as_ref(),
                _ => return false,
            };
            i.path == *path && i.state == IntentState::Queued && reaped == pin
        });
        Ok(reaps)
    }
}

/// The key in a reap row.
pub(crate) fn limbo_key(text: &str) -> Result<ObjectKey> {
    ObjectKey::parse(text).map_err(|e| {
        Error::new(ErrorKind::Corrupt, format!("`{text}` is no limbo key")).with_source(e)
    })
}
