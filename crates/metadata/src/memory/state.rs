//! The tables of the memory store.

use std::collections::BTreeMap;
use std::ops::Bound;

use ezdfs_core::{BaseRow, FeedOp, Intent, MemberState, NameHash, NamePrefix, NodeRow, Timestamp};

use crate::place::below;
use crate::rows::Stored;

/// A base row with the columns that no reader of ours looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FullRow {
    pub(super) base: BaseRow,
    pub(super) name_trunk: String,
    pub(super) status: bool,
}

/// A pending row and the store it belongs to.
#[derive(Debug, Clone)]
pub(super) struct PendingRow {
    pub(super) prefix: NamePrefix,
    pub(super) hash: NameHash,
    pub(super) intent: Intent,
}

/// A row of the change feed.
#[derive(Debug, Clone)]
pub(super) struct FeedRow {
    pub(super) op: FeedOp,
    pub(super) hash: NameHash,
    pub(super) name: String,
    pub(super) foreign: bool,
    /// Milliseconds since the epoch, by the system's clock as in a trigger.
    pub(super) at: i64,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) base: BTreeMap<NameHash, FullRow>,
    /// Scans go by name; the hash tells rows apart that share one.
    pub(super) names: BTreeMap<(String, NameHash), ()>,
    pub(super) nodes: BTreeMap<NameHash, NodeRow>,
    pub(super) children: BTreeMap<(NameHash, String), NameHash>,
    pub(super) last_ino: u64,
    pub(super) pending: BTreeMap<i64, PendingRow>,
    pub(super) last_id: i64,
    pub(super) feed: BTreeMap<i64, FeedRow>,
    pub(super) last_seq: i64,
    /// The materialiser has seen the feed up to here.
    pub(super) materialised: i64,
    /// The highest number that a trim has deleted.
    pub(super) trimmed: i64,
    pub(super) heartbeat: Option<Timestamp>,
    /// By name.
    pub(super) members: BTreeMap<String, MemberState>,
}

impl State {
    pub(super) fn stored(&self, hash: NameHash) -> Stored {
        Stored {
            base: self.base.get(&hash).map(|r| r.base.clone()),
            node: self.nodes.get(&hash).cloned(),
        }
    }

    /// Sets or removes a base row and returns what was there. Appends no feed row.
    pub(super) fn set_base(&mut self, hash: NameHash, row: Option<FullRow>) -> Option<FullRow> {
        if let Some(row) = &row {
            self.names.insert((row.base.name.clone(), hash), ());
        }
        let name = row.as_ref().map(|r| r.base.name.clone());
        let old = match row {
            Some(row) => self.base.insert(hash, row),
            None => self.base.remove(&hash),
        };
        if let Some(old) = &old
            && name.as_ref() != Some(&old.base.name)
        {
            self.names.remove(&(old.base.name.clone(), hash));
        }
        old
    }

    /// Sets or removes a node row and returns what was there.
    pub(super) fn set_node(&mut self, hash: NameHash, row: Option<NodeRow>) -> Option<NodeRow> {
        let old = self.nodes.remove(&hash);
        if let Some(old) = &old {
            self.children.remove(&(old.parent, old.basename.clone()));
        }
        if let Some(row) = row {
            self.children.insert((row.parent, row.basename.clone()), hash);
            self.nodes.insert(hash, row);
        }
        old
    }

    pub(super) fn append_feed(&mut self, op: FeedOp, hash: NameHash, name: &str, foreign: bool) {
        self.last_seq += 1;
        let at = ezdfs_core::Clock::now(&ezdfs_core::SystemClock).millis();
        let row = FeedRow { op, hash, name: name.to_owned(), foreign, at };
        self.feed.insert(self.last_seq, row);
    }

    /// Foreign feed rows that the materialiser has not seen.
    pub(super) fn feed_lag(&self) -> usize {
        self.feed.range(self.materialised + 1..).filter(|(_, r)| r.foreign).count()
    }

    /// Base rows of the names below `name`, after the name `after`, in byte order.
    pub(super) fn base_below<'a>(
        &'a self,
        name: &str,
        after: Option<&str>,
    ) -> impl Iterator<Item = (NameHash, &'a FullRow)> + use<'a> {
        let (low, high) = below(name).map_or_else(
            || (String::new(), Bound::Unbounded),
            |(low, high)| (low, Bound::Excluded((high, lowest()))),
        );
        let after = after.map(str::to_owned).filter(|a| *a >= low);
        let start = (after.clone().unwrap_or(low), lowest());
        // An `after` behind the range would make the bounds cross.
        let crossed = matches!(&high, Bound::Excluded(high) if *high <= start);
        let end = if crossed { Bound::Excluded(start.clone()) } else { high };
        self.names
            .range((Bound::Included(start), end))
            .map(|((name, hash), ())| (name, hash))
            .filter(move |(name, _)| after.as_ref().is_none_or(|a| *name > a))
            .filter_map(|(_, hash)| Some((*hash, self.base.get(hash)?)))
    }
}

/// The hash that sorts first.
fn lowest() -> NameHash {
    "0".repeat(32).parse().unwrap_or_else(|_| ezdfs_core::Name::from_row("").hash())
}
