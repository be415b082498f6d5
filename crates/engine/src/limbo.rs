//! Limbo: where bytes wait between the delete of their row and their reap.
//!
//! On a store with atomic rename a deleted object leaves its key at once, so that reaping never
//! touches a live key. Its pin is checked after the move; if a foreign writer put another object
//! there meanwhile, that one is moved back without replacing anything. On other stores the bytes
//! stay where they are until the reaper has checked the pin.

use ezdfs_core::{ErrorKind, FilePath, Pin, Result, Token};
use object_store::path::Path as ObjectKey;

use crate::decide::Found;
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
    /// path. With an unknown pin whatever is there goes.
    pub(crate) async fn to_limbo(
        &self,
        path: &FilePath,
        limbo: &ObjectKey,
        pin: Option<&Pin>,
    ) -> Result<()> {
        let binary = &self.inner.binary;
        if !binary.capabilities.atomic_rename {
            return Ok(());
        }
        let key = binary.key(path)?;
        if !binary.move_new(&key, limbo).await? {
            return Ok(());
        }
        let Some(pin) = pin else { return Ok(()) };
        let moved = binary.head(limbo).await?;
        if moved.is_some_and(|o| o.pin.as_ref() == Some(pin)) {
            return Ok(());
        }
        match binary.move_new(limbo, &key).await {
            // Replaced again in between: what was moved is older than what is there now.
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Bytes of a deleted version that are still at the live key: their reap row exists.
    pub(crate) async fn bury(&self, found: &Found, held: &Held) -> Result<()> {
        let Some(object) = &found.object else { return Ok(()) };
        let limbo = self.inner.binary.limbo_key(held.token)?;
        self.to_limbo(&found.path, &limbo, object.pin.as_ref()).await?;
        if self.inner.binary.capabilities.atomic_rename {
            // Their reap looks for them under its own key only; these bytes are doomed already.
            self.inner.binary.delete(&limbo).await?;
        }
        Ok(())
    }

    /// Takes an object away that a refused publish has put in place and that no row names.
    pub(crate) async fn remove_unnamed(&self, path: &FilePath, pin: Option<&Pin>) {
        let removed = async {
            let key = self.inner.binary.key(path)?;
            let object = self.inner.binary.head(&key).await?;
            if pin.is_none() || object.and_then(|o| o.pin).as_ref() != pin {
                return Ok(());
            }
            if self.inner.binary.capabilities.atomic_rename {
                let limbo = self.inner.binary.limbo_key(self.inner.entropy.token())?;
                self.to_limbo(path, &limbo, pin).await?;
                self.inner.binary.delete(&limbo).await
            } else {
                self.inner.binary.delete(&key).await
            }
        };
        if let Err(e) = removed.await {
            tracing::warn!(%path, error = %e, "the bytes of a refused publish stay behind as an orphan");
        }
    }
}
