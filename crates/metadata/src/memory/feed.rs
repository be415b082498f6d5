//! The change feed of the memory store.

use std::collections::BTreeMap;

use ezdfs_core::{NameHash, Progress, Result, Timestamp};

use super::rows::Transaction;
use super::state::{FeedOp, State};
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
    state.feed.retain(|seq, row| *seq >= unseen || row.at >= before);
    u64::try_from(had - state.feed.len()).unwrap_or(u64::MAX)
}
