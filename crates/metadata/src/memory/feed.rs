//! The change feed of the memory store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ezdfs_core::{
    FeedEvent, FeedOp, FeedPoll, FeedReader, FeedStart, NameHash, Progress, Result, Timestamp,
};

use super::rows::Transaction;
use super::state::State;
use crate::materialise::{self, ForeignChange};

pub(super) async fn materialise(
    rows: &mut Transaction<'_>,
    now: Timestamp,
    limit: u32,
) -> Result<Progress> {
    let limit = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
    let state = &*rows.state;
    let since = state.materialised + 1;
    let batch: Vec<i64> = state
        .feed
        .range(since..)
        .filter(|(_, r)| r.foreign)
        .map(|(seq, _)| *seq)
        .take(limit)
        .collect();
    let Some(last) = batch.last().copied() else { return Ok(Progress::default()) };
    let own: BTreeMap<NameHash, i64> = state
        .feed
        .range(since..)
        .filter(|(_, r)| !r.foreign)
        .map(|(seq, r)| (r.hash, *seq))
        .collect();
    let mut changes: BTreeMap<&str, ForeignChange> = BTreeMap::new();
    for seq in &batch {
        let Some(row) = state.feed.get(seq) else { continue };
        let change = changes.entry(&row.name).or_insert_with(|| ForeignChange {
            name: row.name.clone(),
            hash: row.hash,
            overtakes: false,
            moves_parent: false,
        });
        change.hash = row.hash;
        change.overtakes =
            row.op != FeedOp::Delete && own.get(&row.hash).is_none_or(|own| own < seq);
        change.moves_parent |= row.op != FeedOp::Update;
    }
    let changes: Vec<ForeignChange> = changes.into_values().collect();
    let changed = materialise::place(rows, now, &changes).await?;
    rows.state.materialised = last;
    let more = rows.state.feed_lag() > 0;
    Ok(Progress { seen: u64::try_from(batch.len()).unwrap_or(u64::MAX), changed, more })
}

pub(super) fn trim(state: &mut State, before: Timestamp) -> u64 {
    let unseen = state
        .feed
        .range(state.materialised + 1..)
        .find(|(_, r)| r.foreign)
        .map_or(i64::MAX, |(seq, _)| *seq);
    let had = state.feed.len();
    let before = before.millis();
    let trimmed = &mut state.trimmed;
    state.feed.retain(|seq, row| {
        let stays = *seq >= unseen || row.at >= before;
        if !stays {
            *trimmed = (*trimmed).max(*seq);
        }
        stays
    });
    u64::try_from(had - state.feed.len()).unwrap_or(u64::MAX)
}

/// Who made the changes of the stores of one table, all of which live in this process.
const ORIGIN: &str = "memory";

/// A reader. Numbers have holes here, where transactions were rolled back, as they have on the
/// servers; what a trim deleted is known by its number.
#[derive(Debug)]
pub(super) struct Reader {
    table: Arc<Mutex<State>>,
    /// The number that was told last.
    position: i64,
}

impl Reader {
    pub(super) fn new(table: Arc<Mutex<State>>, start: FeedStart) -> Self {
        let position = match start {
            FeedStart::Now => super::lock(&table).last_seq,
            FeedStart::After(seq) => i64::try_from(seq).unwrap_or(i64::MAX),
        };
        Self { table, position }
    }
}

#[async_trait]
impl FeedReader for Reader {
    async fn poll(&mut self, limit: u32) -> Result<FeedPoll> {
        let limit = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
        let state = super::lock(&self.table);
        let lost = self.position < state.trimmed || self.position > state.last_seq;
        self.position = self.position.min(state.last_seq);
        let mut waiting = state.feed.range(self.position.saturating_add(1)..);
        let mut events = Vec::new();
        for (seq, row) in waiting.by_ref().take(limit) {
            self.position = *seq;
            events.push(FeedEvent {
                seq: u64::try_from(*seq).unwrap_or_default(),
                op: row.op,
                name: row.name.clone(),
                origin: (!row.foreign).then(|| ORIGIN.to_owned()),
                at: Timestamp::from_millis(row.at),
            });
        }
        let more = waiting.next().is_some();
        if !more {
            // Nobody is lost twice by the same trim.
            self.position = state.last_seq;
        }
        let heartbeat = state.heartbeat.filter(|_| !more);
        Ok(FeedPoll { events, more, lost, heartbeat })
    }
}

/// Writes a heartbeat unless a younger one stands.
pub(super) fn beat(state: &mut State, now: Timestamp, unless_younger: Duration) {
    let is_young = state.heartbeat.is_some_and(|at| at.plus(unless_younger) > now);
    if !is_young {
        state.heartbeat = Some(now);
    }
}
