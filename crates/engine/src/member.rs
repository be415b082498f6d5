//! A long-lived process tells the others that it lives.

use std::time::Duration;

use ezdfs_core::{Member, Result};

use crate::service::FileService;

/// How long a member that died is still shown.
const REMEMBERED: Duration = Duration::from_secs(3600);

impl FileService {
    /// Writes that the long-lived process `name` of this `version` is alive, for as long as a held
    /// path is its holder's. To be repeated several times within that.
    ///
    /// # Errors
    /// A database error.
    pub async fn announce(&self, name: &str, version: &str) -> Result<()> {
        let member = Member {
            name: name.to_owned(),
            owner: self.inner.owner.as_str().to_owned(),
            version: version.to_owned(),
            feed_seq: self.memory_state().map(|(feed, _)| feed.seq),
        };
        self.inner.metadata.announce(&member, self.inner.options.lease, REMEMBERED).await
    }
}
