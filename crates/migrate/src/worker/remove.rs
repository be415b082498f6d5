//! Deletes from the source, after the copy was verified and journalled.

use ezdfs_core::{Error, ErrorKind, FilePath, Result};
use ezdfs_engine::{FileService, Precondition};
use object_store::ObjectStoreExt as _;

use super::{Outcome, Spent, Worker};
use crate::progress::Symbol;
use crate::sides::Halves;

impl Worker {
    /// Deletes a version from the source whose copy is safe. A version that was written meanwhile
    /// stays; only where the objects are the whole truth a foreign writer can still slip in between
    /// the last look at the object and its delete.
    pub(crate) async fn remove(&self, path: &FilePath, spent: Spent, outcome: Outcome) -> Outcome {
        match self.delete_spent(path, &spent).await {
            Ok(()) => outcome,
            Err(e) => Outcome {
                symbol: Symbol::Failed,
                why: Some(format!("copied and verified, but it stays on the source: {e}")),
                ..outcome
            },
        }
    }

    async fn delete_spent(&self, path: &FilePath, spent: &Spent) -> Result<()> {
        let Some(source) = &self.remover else { return Ok(()) };
        let newer = || {
            Error::new(
                ErrorKind::Stale,
                "it was changed after it was copied; run the command again to copy the new version",
            )
        };
        if self.pin(&self.source, path).await? != spent.pin {
            return Err(newer());
        }
        if self.halves == Halves::BinaryOnly {
            // The row stays: the target has the bytes that it describes.
            return self.delete_object(source, path).await;
        }
        let now = match self.source.service().load(path).await {
            Ok(now) => now,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        };
        if now.witness != spent.meta.witness {
            return Err(newer());
        }
        // The entity tag of a row that PHP wrote is weak and matches nothing.
        let precondition = match now.etag() {
            tag @ ezdfs_core::ETag::Strong(_) => Precondition::Matches(vec![tag]),
            ezdfs_core::ETag::Weak(_) => Precondition::None,
        };
        match source.delete(path, &precondition).await {
            Err(e) if e.kind() == ErrorKind::PreconditionFailed => Err(newer()),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Deletes an object and leaves its row alone.
    pub(super) async fn delete_object(&self, from: &FileService, path: &FilePath) -> Result<()> {
        let binary = from.binary();
        let key = binary.key(path)?;
        match tokio::time::timeout(binary.io_timeout, binary.store.delete(&key)).await {
            Ok(Ok(())) | Ok(Err(object_store::Error::NotFound { .. })) => Ok(()),
            Ok(Err(e)) => Err(e.into()),
            Err(_) => Err(Error::new(
                ErrorKind::TimedOut,
                format!("`{}`: no answer to a DELETE", binary.name),
            )),
        }
    }

    /// Whether the source has no such file any more.
    pub(crate) async fn is_gone(&self, path: &FilePath) -> Result<bool> {
        if self.halves == Halves::BinaryOnly {
            let binary = self.source.service().binary();
            return Ok(binary.head(&binary.key(path)?).await?.is_none());
        }
        self.source.service().exists(path).await.map(|exists| !exists)
    }
}
