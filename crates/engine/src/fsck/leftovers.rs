//! Bytes in limbo and quarantine that no pending work names: nobody would ever delete them, and
//! nobody gives them back. They are left when the database is restored to an older state.

use std::time::Duration;

use ezdfs_core::{Change, FilePath, Op, Result, Token, Work};
use object_store::path::Path as ObjectKey;

use super::quarantine::{self, QUARANTINE};
use super::walk::{Listed, Listing};
use crate::service::FileService;

/// Where a file goes whose path nobody knows any more.
const LOST: &str = "lost+found";

/// Bytes without a reap.
#[derive(Debug)]
pub(super) struct Leftover {
    pub(super) key: ObjectKey,
    pub(super) size: u64,
    token: Token,
    path: FilePath,
}

/// Looks for them, one after the other.
pub(super) struct Leftovers<'a> {
    service: &'a FileService,
    listings: Vec<Listing>,
}

impl FileService {
    pub(super) fn leftovers(&self) -> Result<Leftovers<'_>> {
        let binary = &self.inner.binary;
        let mut listings = Vec::new();
        // Elsewhere deleted bytes stay where they are.
        if binary.capabilities.atomic_rename {
            for folder in ["limbo", QUARANTINE] {
                let below = binary.prefix.reserved_key(folder)?;
                listings.push(Listing::start(binary, Some(&below)));
            }
        }
        Ok(Leftovers { service: self, listings })
    }

    /// Queues reaps for bytes in limbo and quarantine that no pending work names: they go after
    /// `keep`. Says how many.
    ///
    /// # Errors
    /// When the database or the store does not answer.
    pub async fn queue_leftovers(&self, keep: Duration) -> Result<u64> {
        let mut queued = 0;
        if !self.inner.metadata.is_separate() {
            return Ok(queued);
        }
        let mut leftovers = self.leftovers()?;
        while let Some(leftover) = leftovers.next().await? {
            let Some(object) = self.inner.binary.head(&leftover.key).await? else { continue };
            let not_before = self.inner.metadata.now().await?.plus(keep);
            let Leftover { key, token, path, .. } = &leftover;
            let reap = self.reap_intent(path, *token, key.to_string(), object.pin, not_before);
            self.inner.metadata.apply(Change::new().op(Op::AddIntent(reap))).await?;
            queued += 1;
        }
        Ok(queued)
    }
}

impl Leftovers<'_> {
    pub(super) async fn next(&mut self) -> Result<Option<Leftover>> {
        while let Some(listing) = self.listings.last_mut() {
            let Some(listed) = listing.next().await? else {
                self.listings.pop();
                continue;
            };
            let Listed::Object(meta) = listed else { continue };
            let Some((token, path)) = self.parse(&meta.location) else { continue };
            if self.service.is_named(token, &meta.location).await? {
                continue;
            }
            return Ok(Some(Leftover { key: meta.location, size: meta.size, token, path }));
        }
        Ok(None)
    }

    fn parse(&self, key: &ObjectKey) -> Option<(Token, FilePath)> {
        let binary = &self.service.inner.binary;
        if let Some(parsed) = quarantine::parse(binary, key.as_ref()) {
            return Some(parsed);
        }
        let token = key.as_ref().rsplit('/').next()?;
        Some((token.parse().ok()?, format!("{LOST}/{token}").parse().ok()?))
    }
}

impl FileService {
    /// Whether pending work names the key, or the reaper has just come for it.
    async fn is_named(&self, token: Token, key: &ObjectKey) -> Result<bool> {
        let inner = &self.inner;
        let intents = inner.metadata.intents_of(token).await?;
        let is_named = intents.iter().any(
            |intent| matches!(&intent.work, Work::Reap { key: named, .. } if named == key.as_ref()),
        );
        Ok(is_named || inner.binary.head(key).await?.is_none())
    }
}
