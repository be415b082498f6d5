//! `Subscription`: changes for a task of its own, in a queue that cannot grow.

use std::sync::Arc;

use ezdfs_core::FeedEvent;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// What a subscriber hears.
#[derive(Debug, Clone)]
pub enum Told {
    /// These rows changed, in the order of their numbers; rows of every store of the table.
    Changed(Arc<[FeedEvent]>),
    /// Changes were missed: the log has a gap, or this subscriber was too slow. Whatever it knows
    /// may be out of date.
    Lost,
}

/// What the follower tells from the moment of subscription on.
#[derive(Debug)]
pub struct Subscription(broadcast::Receiver<Told>);

impl Subscription {
    pub(super) fn new(receiver: broadcast::Receiver<Told>) -> Self {
        Self(receiver)
    }

    /// The next news; `None` when the follower has ended. Nothing is missed when the future is
    /// dropped.
    pub async fn next(&mut self) -> Option<Told> {
        match self.0.recv().await {
            Ok(told) => Some(told),
            Err(RecvError::Lagged(_)) => Some(Told::Lost),
            Err(RecvError::Closed) => None,
        }
    }
}
