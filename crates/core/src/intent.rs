//! Pending work: rows of `ezdfs_pending` that must be rolled forward or done later.

use crate::digest::{Pin, Sha256, Token};
use crate::path::FilePath;
use crate::time::Timestamp;

/// Row id of a piece of pending work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IntentId(pub i64);

/// What kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IntentKind {
    /// A new version of a file.
    Publish,
    /// One end of a rename.
    Rename,
    /// A delete of a file or of everything below a directory.
    Delete,
    /// Bytes that no row names any more and that are removed later.
    Reap,
    /// A repair: rows and object of one path are brought into agreement (reconcile).
    Repair,
}

impl IntentKind {
    /// As written to the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Rename => "rename",
            Self::Delete => "delete",
            Self::Reap => "reap",
            Self::Repair => "repair",
        }
    }

    /// As read from the table; `None` for a kind of a newer version.
    #[must_use]
    pub fn from_row(text: &str) -> Option<Self> {
        [Self::Publish, Self::Rename, Self::Delete, Self::Reap, Self::Repair]
            .into_iter()
            .find(|k| k.as_str() == text)
    }
}

/// What is needed to finish the work on another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Publish: the version that becomes visible.
    Publish {
        /// Bytes.
        size: u64,
        /// Digest of the bytes.
        sha256: Sha256,
        /// Media type.
        datatype: String,
        /// True mtime.
        mtime: Timestamp,
        /// Per-file expiry.
        expires: Option<Timestamp>,
        /// The staged object, where the store can tell it before it is complete.
        pin: Option<Pin>,
    },
    /// Rename: the other end. The row of the source has `to: Some`, that of the target `None`.
    Rename {
        /// The target, in the source's row.
        to: Option<FilePath>,
    },
    /// Delete of a file, or of everything below `path` when `Intent::subtree` is set.
    Delete,
    /// Reap: remove the object `key` if it still carries `pin`, not before `not_before`.
    Reap {
        /// Literal object key, e.g. `.ezdfs/limbo/<token>`.
        key: String,
        /// What the object must carry.
        pin: Option<Pin>,
        /// When the bytes may go.
        not_before: Timestamp,
    },
    /// Repair: nothing to remember; whoever finishes it looks at rows and object again.
    Repair,
}

impl Work {
    /// The kind.
    #[must_use]
    pub const fn kind(&self) -> IntentKind {
        match self {
            Self::Publish { .. } => IntentKind::Publish,
            Self::Rename { .. } => IntentKind::Rename,
            Self::Delete => IntentKind::Delete,
            Self::Reap { .. } => IntentKind::Reap,
            Self::Repair => IntentKind::Repair,
        }
    }
}

/// Whether a piece of work holds its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IntentState {
    /// The owner holds the path until the lease ends; afterwards any node may roll it forward.
    Held,
    /// It ended without a commit of its own; kept for 24 h, so that a late object with its token
    /// is recognised.
    Ended,
    /// Waits for its time and holds nothing (reap).
    Queued,
}

/// A row of `ezdfs_pending`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Row id; 0 before it is stored.
    pub id: IntentId,
    /// Which path.
    pub path: FilePath,
    /// The work reaches everything below `path` as well.
    pub subtree: bool,
    /// Identity of this work; both ends of a rename share it.
    pub token: Token,
    /// Which process: for people.
    pub owner: String,
    /// Held, ended or queued.
    pub state: IntentState,
    /// End of the lease, in database time.
    pub lease_end: Timestamp,
    /// What to do.
    pub work: Work,
}

/// Answer to [`crate::MetadataStore::hold`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// The paths are ours until the lease ends.
    Held,
    /// Another piece of work holds one of the paths, or an ancestor, or (for a subtree) something
    /// below it. Its lease may have ended: then it must be rolled forward first.
    Busy(Box<Intent>),
}
