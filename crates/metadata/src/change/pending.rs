//! Holds and other pending work.

use std::time::Duration;

use ezdfs_core::{
    Error, ErrorKind, FilePath, Hold, Intent, IntentState, NamePrefix, Result, Timestamp, Token,
};

use super::Scope;
use crate::rows::{HoldCount, Rows};

/// Takes the paths of all intents in the order of their hashes, the one lock order. After
/// [`Hold::Busy`] the caller rolls back.
pub(crate) async fn hold<R: Rows>(
    rows: &mut R,
    prefix: &NamePrefix,
    now: Timestamp,
    intents: &[Intent],
    lease: Duration,
) -> Result<Hold> {
    let mut intents: Vec<Intent> = intents
        .iter()
        .map(|i| Intent { state: IntentState::Held, lease_end: now.plus(lease), ..i.clone() })
        .collect();
    intents.sort_by_cached_key(|i| prefix.name(&i.path).hash());
    for intent in &intents {
        if let Some(holder) = add_or_blocker(rows, intent).await? {
            return Ok(Hold::Busy(Box::new(holder)));
        }
    }
    Ok(Hold::Held)
}

/// How often a path is tried whose holder went away between two looks at it.
const LOOKS: u32 = 16;

/// Stores a pending row, or says who keeps it from its path.
async fn add_or_blocker<R: Rows>(rows: &mut R, intent: &Intent) -> Result<Option<Intent>> {
    for _ in 0..LOOKS {
        if rows.add_intent(intent).await? {
            return Ok(None);
        }
        if let Some(holder) = rows.blocker(&intent.path, intent.subtree).await? {
            return Ok(Some(holder));
        }
    }
    Err(Error::new(
        ErrorKind::Busy,
        format!("`{}` is taken and given back all the time; try again later", intent.path),
    ))
}

impl<R: Rows> Scope<'_, R> {
    pub(super) async fn check_holds(&mut self, token: Token) -> Result<()> {
        match self.rows.count_holds(token).await? {
            HoldCount { held: 1.., ended: 0 } => Ok(()),
            _ => Err(Error::new(
                ErrorKind::LostHold,
                "the hold on the path was taken over after a pause longer than its lease",
            )),
        }
    }

    pub(super) async fn check_free(&mut self, path: &FilePath, subtree: bool) -> Result<()> {
        self.rows.blocker(path, subtree).await?.map_or(Ok(()), |holder| Err(busy(path, &holder)))
    }

    pub(super) async fn add_intent(&mut self, intent: &Intent) -> Result<()> {
        match add_or_blocker(self.rows, intent).await? {
            None => Ok(()),
            Some(holder) => Err(busy(&intent.path, &holder)),
        }
    }
}

fn busy(path: &FilePath, holder: &Intent) -> Error {
    Error::new(
        ErrorKind::Busy,
        format!(
            "`{path}` is not free: a {} by {} holds `{}`; try again later",
            holder.work.kind().as_str(),
            holder.owner,
            holder.path
        ),
    )
}
