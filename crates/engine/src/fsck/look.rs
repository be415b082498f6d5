//! A second look at one path, by its primary key: what a walk saw may be over by now.

use ezdfs_core::{FilePath, IntentState, Result};

use crate::decide::Found;
use crate::service::FileService;

/// How often a path that changes under the eyes is looked at again.
const LOOKS: u32 = 3;

impl FileService {
    /// What there is of a path, without taking it. `None` when it changes too fast: then somebody
    /// is at work on it.
    ///
    /// The rows are read before and after the object: a writer that came between them would look
    /// like a fault.
    pub(super) async fn look(&self, path: &FilePath) -> Result<Option<Found>> {
        let metadata = &self.inner.metadata;
        let key = self.inner.binary.key(path)?;
        let mut record = metadata.record(path).await?;
        let mut intents = metadata.intents_on(path).await?;
        for _ in 0..LOOKS {
            let object = self.inner.binary.head(&key).await?;
            let again = metadata.record(path).await?;
            let intents_again = metadata.intents_on(path).await?;
            let is_same = again == record;
            record = again;
            // What was done meanwhile is forgotten at the end: what was pending before counts too.
            let done = intents.iter().filter(|i| !intents_again.contains(i)).cloned();
            let both = intents_again.iter().cloned().chain(done);
            if is_same {
                let of_path =
                    both.filter(|i| i.path == *path || i.state == IntentState::Held).collect();
                return Ok(Some(Found {
                    path: path.clone(),
                    record,
                    object,
                    intents: of_path,
                    now: self.inner.clock.now(),
                    settle: self.inner.options.settle,
                }));
            }
            intents = intents_again;
        }
        Ok(None)
    }
}
