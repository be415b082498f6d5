//! The change feed: what every writer of the base table did, foreign writers included.

use std::fmt;

use async_trait::async_trait;

use crate::error::Result;
use crate::time::Timestamp;

/// What was done to a base row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FeedOp {
    /// The row was made.
    Insert,
    /// The row was changed.
    Update,
    /// The row is gone.
    Delete,
}

impl FeedOp {
    /// As written to `ezdfs_change.op`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    /// As read from the table. What has no meaning is read as a change.
    #[must_use]
    pub fn from_row(text: &str) -> Self {
        match text {
            "insert" => Self::Insert,
            "delete" => Self::Delete,
            _ => Self::Update,
        }
    }
}

/// One change of a base row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedEvent {
    /// Number of the change. Changes of one row are numbered in the order in which they happened;
    /// those of different rows need not become visible in the order of their numbers.
    pub seq: u64,
    /// What was done.
    pub op: FeedOp,
    /// `name` of the row, prefix included, as it is stored.
    pub name: String,
    /// The ezdfs process that made the change; `None` for foreign writers.
    pub origin: Option<String>,
    /// When the statement ran, by database time.
    pub at: Timestamp,
}

/// Where a reader of the feed begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedStart {
    /// With what is committed from now on, changes included that were under way before.
    Now,
    /// With the changes above that number. A change with a lower number that became visible later
    /// than the caller's last one is not told: who goes on after a break begins some way back, and
    /// drops what it knows.
    After(u64),
}

/// What one poll brought.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FeedPoll {
    /// Changes of every store of the table that became visible since the last poll, each once; in
    /// the order of their numbers.
    pub events: Vec<FeedEvent>,
    /// More waits: poll again at once.
    pub more: bool,
    /// Changes may be missing between the last poll and this one (the log was trimmed or emptied,
    /// or the reader begins above what is still there): whoever cached anything drops it.
    pub lost: bool,
    /// Database time of the latest heartbeat that this poll saw. Whatever was committed before it
    /// has been told: by this poll, or by an earlier one. `None` while there is none, or while
    /// `more` waits.
    pub heartbeat: Option<Timestamp>,
}

/// A reader of the change feed. No event is lost or told twice, however transactions interleave,
/// as long as they are shorter than the feed's window (10 s).
#[async_trait]
pub trait FeedReader: Send + fmt::Debug {
    /// What is new; at most about `limit` events.
    ///
    /// # Errors
    /// When the database does not answer. The next poll goes on where the last one ended.
    async fn poll(&mut self, limit: u32) -> Result<FeedPoll>;
}
