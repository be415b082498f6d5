//! The change feed, followed: one task per process polls it and tells the caches and the doors.
//!
//! | file | subject |
//! |---|---|
//! | `follower` | [`Follower`]: the task, from start to end |
//! | `freshness` | [`Freshness`]: until when what was told is all there is to know |
//! | `subscription` | [`Subscription`]: changes for a task of its own |
//! | `state` | [`FeedState`]: figures for people |

mod follower;
mod freshness;
mod state;
mod subscription;

pub(crate) use follower::Shared;
pub use follower::{Follower, FollowerOptions};
pub use freshness::{Fresh, Freshness};
pub use state::FeedState;
pub use subscription::{Subscription, Told};

use ezdfs_core::FeedEvent;

/// Hears of changes in the task that follows the feed, before the feed counts as fresh up to them.
/// Must not wait for anything.
pub(crate) trait Listener: Send + Sync + std::fmt::Debug {
    /// These rows changed.
    fn changed(&self, events: &[FeedEvent]);
    /// Any row may have changed.
    fn lost(&self);
}
