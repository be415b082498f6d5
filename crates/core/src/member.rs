//! Members: the long-lived processes that work on a store, as rows of `ezdfs_lease`.

use crate::time::Timestamp;

/// What a long-lived process says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Host and process, `web1:3313`, at most 255 bytes.
    pub name: String,
    /// As in its pending rows, at most 255 bytes.
    pub owner: String,
    /// Of its program, at most 64 bytes.
    pub version: String,
    /// Number of the latest change that it has told its doors; `None` when it follows no feed.
    pub feed_seq: Option<u64>,
}

/// What a database knows of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberState {
    /// As it said.
    pub member: Member,
    /// When it last said so, in database time.
    pub heartbeat: Timestamp,
    /// Until when it counts as alive, in database time.
    pub lease_end: Timestamp,
    /// Changes that were logged after the one that it has told; `None` when it follows no feed.
    pub feed_lag: Option<u64>,
}
