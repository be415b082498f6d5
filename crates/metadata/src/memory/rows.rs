//! Write transactions of the memory store: every write notes what was there, so that it can be
//! rolled back.

use ezdfs_core::{
    BaseRow, FeedOp, FilePath, Intent, IntentId, IntentState, Name, NameHash, NamePrefix, NodeKind,
    NodeRow, Result, Timestamp, Token,
};

use super::state::{FullRow, PendingRow, State};
use crate::change::TOUCH_EVERY;
use crate::rows::{BasePage, Found, HoldCount, Intend, Rows};

/// Base rows in a page of `unhidden_below`; small, so that tests cross its border.
const PAGE: usize = 16;

enum Undo {
    Base(NameHash, Option<FullRow>),
    Node(NameHash, Option<NodeRow>),
    Pending(i64, Option<PendingRow>),
}

pub(super) struct Transaction<'a> {
    pub(super) state: &'a mut State,
    prefix: &'a NamePrefix,
    undo: Vec<Undo>,
    first_seq: i64,
    materialised: i64,
}

impl<'a> Transaction<'a> {
    pub(super) fn begin(state: &'a mut State, prefix: &'a NamePrefix) -> Self {
        let (first_seq, materialised) = (state.last_seq, state.materialised);
        Self { state, prefix, undo: Vec::new(), first_seq, materialised }
    }

    pub(super) fn roll_back(self) {
        for step in self.undo.into_iter().rev() {
            match step {
                Undo::Base(hash, row) => drop(self.state.set_base(hash, row)),
                Undo::Node(hash, row) => drop(self.state.set_node(hash, row)),
                Undo::Pending(id, Some(row)) => drop(self.state.pending.insert(id, row)),
                Undo::Pending(id, None) => drop(self.state.pending.remove(&id)),
            }
        }
        self.state.feed.split_off(&(self.first_seq + 1));
        self.state.materialised = self.materialised;
    }

    fn set_base(&mut self, op: FeedOp, hash: NameHash, row: Option<FullRow>) {
        let named = row.as_ref().map(|r| r.base.name.clone());
        let old = self.state.set_base(hash, row);
        let named = named.or_else(|| old.as_ref().map(|r| r.base.name.clone()));
        self.undo.push(Undo::Base(hash, old));
        self.state.append_feed(op, hash, &named.unwrap_or_default(), false);
    }

    fn set_node(&mut self, hash: NameHash, row: Option<NodeRow>) {
        let old = self.state.set_node(hash, row);
        self.undo.push(Undo::Node(hash, old));
    }

    fn set_pending(&mut self, id: i64, row: Option<PendingRow>) {
        let old = match row {
            Some(row) => self.state.pending.insert(id, row),
            None => self.state.pending.remove(&id),
        };
        self.undo.push(Undo::Pending(id, old));
    }

    fn named(&self, name: &Name) -> Option<FullRow> {
        self.state.base.get(&name.hash()).filter(|r| r.base.name == name.as_str()).cloned()
    }

    fn held(&self, token: Token) -> Vec<(i64, PendingRow)> {
        self.state
            .pending
            .iter()
            .filter(|(_, r)| r.intent.token == token && r.intent.state == IntentState::Held)
            .map(|(id, r)| (*id, r.clone()))
            .collect()
    }
}

impl Rows for Transaction<'_> {
    async fn find(&mut self, names: &[Name], _: Intend, below: bool) -> Result<Found> {
        let below = below
            && names.first().is_some_and(|name| {
                self.state.base_below(name.as_str(), None).any(|(_, r)| r.base.visible())
            });
        let rows = names.iter().map(|n| self.state.stored(n.hash())).collect();
        Ok(Found { rows, below })
    }

    async fn unhidden_below(&mut self, name: &Name, after: Option<&[u8]>) -> Result<BasePage> {
        let after = after.map(|a| String::from_utf8_lossy(a).into_owned());
        let page: Vec<(NameHash, FullRow)> = self
            .state
            .base_below(name.as_str(), after.as_deref())
            .filter(|(_, r)| r.base.visible())
            .take(PAGE)
            .map(|(hash, row)| (hash, row.clone()))
            .collect();
        let next = page
            .last()
            .filter(|_| page.len() == PAGE)
            .map(|(_, row)| row.base.name.clone().into_bytes());
        let rows = page
            .into_iter()
            .filter(|(hash, row)| Name::from_row(&row.base.name).hash() == *hash)
            .map(|(hash, row)| (row.base, self.state.nodes.get(&hash).cloned()))
            .collect();
        Ok(BasePage { rows, next })
    }

    async fn put_base(&mut self, hash: NameHash, row: &BaseRow) -> Result<()> {
        let old = self.state.base.get(&hash);
        let op = if old.is_some() { FeedOp::Update } else { FeedOp::Insert };
        let (name, name_trunk) = old.map_or_else(
            || (row.name.clone(), row.name.clone()),
            |r| (r.base.name.clone(), r.name_trunk.clone()),
        );
        let base = BaseRow { name, expired: false, ..row.clone() };
        self.set_base(op, hash, Some(FullRow { base, name_trunk, status: false }));
        Ok(())
    }

    async fn hide_base(&mut self, name: &Name) -> Result<()> {
        if let Some(mut row) = self.named(name) {
            row.base.mtime = -row.base.mtime.saturating_abs();
            row.base.expired = true;
            self.set_base(FeedOp::Update, name.hash(), Some(row));
        }
        Ok(())
    }

    async fn delete_file(&mut self, name: &Name) -> Result<()> {
        let hash = name.hash();
        if self.named(name).is_some() {
            self.set_base(FeedOp::Delete, hash, None);
        }
        let place = crate::place::Place::of(name.as_str());
        let is_own = |n: &NodeRow| n.kind == NodeKind::File && crate::change::stands_at(n, place);
        if self.state.nodes.get(&hash).is_some_and(is_own) {
            self.set_node(hash, None);
        }
        Ok(())
    }

    async fn put_nodes(&mut self, nodes: &[(NameHash, NodeRow)]) -> Result<()> {
        for (hash, node) in nodes {
            let mut node = node.clone();
            node.attrs.ino = match self.state.nodes.get(hash) {
                Some(old) => old.attrs.ino,
                None => {
                    // Inode 1 is the root of every mount.
                    self.state.last_ino = self.state.last_ino.max(1) + 1;
                    self.state.last_ino
                }
            };
            self.set_node(*hash, Some(node));
        }
        Ok(())
    }

    async fn delete_nodes(&mut self, hashes: &[NameHash]) -> Result<()> {
        for hash in hashes {
            self.set_node(*hash, None);
        }
        Ok(())
    }

    async fn delete_dirs_below(&mut self, hash: NameHash) -> Result<()> {
        let mut open = vec![hash];
        while let Some(parent) = open.pop() {
            for child in dirs_in(self.state, parent) {
                self.set_node(child, None);
                open.push(child);
            }
        }
        Ok(())
    }

    async fn has_subdir(&mut self, hash: NameHash) -> Result<bool> {
        Ok(!dirs_in(self.state, hash).is_empty())
    }

    async fn touch_dirs(&mut self, hashes: &[NameHash], now: Timestamp) -> Result<()> {
        for hash in hashes {
            let due =
                |n: &&NodeRow| n.kind == NodeKind::Directory && n.mtime <= now.minus(TOUCH_EVERY);
            if let Some(mut node) = self.state.nodes.get(hash).filter(due).cloned() {
                node.mtime = now;
                node.attrs.ctime = now;
                self.set_node(*hash, Some(node));
            }
        }
        Ok(())
    }

    async fn count_holds(&mut self, token: Token) -> Result<HoldCount> {
        let mut count = HoldCount { held: 0, ended: 0 };
        for row in self.state.pending.values().filter(|r| r.intent.token == token) {
            match row.intent.state {
                IntentState::Held => count.held += 1,
                IntentState::Ended => count.ended += 1,
                IntentState::Queued => {}
            }
        }
        Ok(count)
    }

    async fn blocker(&mut self, path: &FilePath, subtree: bool) -> Result<Option<Intent>> {
        Ok(super::read::blocker(self.state, self.prefix, path, subtree))
    }

    async fn add_intent(&mut self, intent: &Intent) -> Result<bool> {
        if intent.state == IntentState::Held {
            let blocker =
                super::read::blocker(self.state, self.prefix, &intent.path, intent.subtree);
            if blocker.is_some() {
                return Ok(false);
            }
        }
        self.state.last_id += 1;
        let id = self.state.last_id;
        let intent = Intent { id: IntentId(id), ..intent.clone() };
        let hash = self.prefix.name(&intent.path).hash();
        self.set_pending(id, Some(PendingRow { prefix: self.prefix.clone(), hash, intent }));
        Ok(true)
    }

    async fn end_hold(&mut self, token: Token, keep: bool) -> Result<()> {
        for (id, mut row) in self.held(token) {
            row.intent.state = IntentState::Ended;
            self.set_pending(id, keep.then_some(row));
        }
        Ok(())
    }

    async fn renew(&mut self, token: Token, lease_end: Timestamp) -> Result<u64> {
        let held = self.held(token);
        let count = u64::try_from(held.len()).unwrap_or(u64::MAX);
        for (id, mut row) in held {
            row.intent.lease_end = lease_end;
            self.set_pending(id, Some(row));
        }
        Ok(count)
    }

    async fn forget(&mut self, id: IntentId) -> Result<()> {
        self.set_pending(id.0, None);
        Ok(())
    }
}

fn dirs_in(state: &State, parent: NameHash) -> Vec<NameHash> {
    state
        .children
        .range((parent, String::new())..)
        .take_while(|((p, _), _)| *p == parent)
        .map(|(_, hash)| *hash)
        .filter(|hash| state.nodes.get(hash).is_some_and(|n| n.kind == NodeKind::Directory))
        .collect()
}
