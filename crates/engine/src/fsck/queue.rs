//! Pending work that nobody does, and what writers that are gone have staged.

use std::time::Duration;

use ezdfs_core::{FilePath, Intent, IntentState, Result, Timestamp};

use super::Run;
use super::finding::{Finding, Kind};
use super::walk::{Listed, Listing};
use crate::uploads::cannot_be_listed;

/// How long after its time work counts as forgotten: `serve` looks every few seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pieces of work of one state that are told.
const TOLD: u32 = 1_000;

impl Run<'_> {
    /// Looks at pending work and staged bytes.
    pub(super) async fn queue(&mut self) -> Result<()> {
        let options = &self.service.inner.options;
        let now = self.service.inner.metadata.now().await?;
        let held = now.minus(options.step_timeout).minus(PATIENCE);
        let age = self.options.floor(options);
        let ended = now.minus(options.remember_ended).minus(age);
        let queued = now.minus(age).minus(PATIENCE);
        for (state, before) in
            [(IntentState::Held, held), (IntentState::Queued, queued), (IntentState::Ended, ended)]
        {
            self.overdue(state, before).await?;
        }
        if self.options.prefix.is_root() {
            self.staged().await?;
            self.uploads().await?;
            self.limbo().await?;
            self.strays().await?;
        }
        Ok(())
    }

    async fn overdue(&mut self, state: IntentState, before: Timestamp) -> Result<()> {
        for intent in self.service.inner.metadata.due(state, before, TOLD).await? {
            if self.is_wanted(&intent.path) {
                let detail = overdue(&intent);
                let path = intent.path.to_string();
                self.found(&Finding { kind: Kind::Overdue, path, size: None, detail })?;
            }
        }
        Ok(())
    }

    /// Staged files, where a store keeps them as objects.
    async fn staged(&mut self) -> Result<()> {
        let binary = &self.service.inner.binary;
        let below = binary.prefix.reserved_key("staging")?;
        let mut listing = Listing::start(binary, Some(&below));
        while let Some(listed) = listing.next().await? {
            let Listed::Object(meta) = listed else { continue };
            let seen = super::record::SeenObject::of(&meta);
            let age = self.service.inner.clock.now().since(seen.mtime);
            if age >= self.options.age {
                self.found(&Finding {
                    kind: Kind::Staging,
                    path: meta.location.to_string(),
                    size: Some(meta.size),
                    detail: format!("last written {} s ago; `ezdfs gc` removes it", age.as_secs()),
                })?;
            }
        }
        Ok(())
    }

    /// Uploads in parts, where a store keeps them beside its objects.
    async fn uploads(&mut self) -> Result<()> {
        let service = self.service;
        let mut abandoned = service.abandoned_uploads(self.options.age);
        loop {
            let found = match abandoned.next().await {
                Ok(Some(found)) => found,
                Ok(None) => return Ok(()),
                Err(e) if cannot_be_listed(e.kind()) => {
                    self.summary.uploads_unknown = Some(e.to_string());
                    return Ok(());
                }
                Err(e) => return Err(e),
            };
            let (age, idle) = (found.upload.age.as_secs(), found.idle.as_secs());
            self.found(&Finding {
                kind: Kind::Staging,
                path: found.upload.key.to_string(),
                size: None,
                detail: format!(
                    "an upload in parts, begun {age} s ago and last written {idle} s ago; \
                     `ezdfs gc` aborts it"
                ),
            })?;
        }
    }

    /// Deleted bytes that no pending work names.
    async fn limbo(&mut self) -> Result<()> {
        let mut leftovers = self.service.leftovers()?;
        while let Some(leftover) = leftovers.next().await? {
            self.found(&Finding {
                kind: Kind::Limbo,
                path: leftover.key.to_string(),
                size: Some(leftover.size),
                detail: "no pending work names these bytes: nobody removes them or gives them back"
                    .to_owned(),
            })?;
        }
        Ok(())
    }

    /// Entries without a row, that foreign deletes have not just left.
    async fn strays(&mut self) -> Result<()> {
        let mut after: Option<String> = None;
        loop {
            let metadata = &self.service.inner.metadata;
            let seen = metadata.strays(after.as_deref(), TOLD).await?;
            let Some(last) = seen.last().map(|stray| stray.hash.clone()) else { return Ok(()) };
            self.service.materialise().await?;
            let again = metadata.strays(after.as_deref(), TOLD).await?;
            for stray in seen.iter().filter(|stray| again.contains(stray)) {
                self.found(&Finding {
                    kind: Kind::StrayEntry,
                    path: stray.basename.clone(),
                    size: None,
                    detail: format!(
                        "name_hash {}: its row is gone, and nothing told of it",
                        stray.hash
                    ),
                })?;
            }
            after = Some(last);
        }
    }

    pub(super) fn is_wanted(&self, path: &FilePath) -> bool {
        let prefix = &self.options.prefix;
        prefix.contains(path) || prefix.path() == Some(path)
    }
}

fn overdue(intent: &Intent) -> String {
    let work = intent.work.kind().as_str();
    match intent.state {
        IntentState::Held => format!(
            "a {work} by process {} broke off, and nobody has rolled it forward",
            intent.owner
        ),
        IntentState::Queued => format!("a {work} is overdue: does any `ezdfs serve` or gc run?"),
        IntentState::Ended => format!("a {work} ended long ago and was not forgotten"),
    }
}
