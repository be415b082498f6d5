//! The table as a foreign writer (a PHP node) sees it: base rows and the feed rows of the
//! triggers, nothing else.

use std::sync::{Arc, Mutex, MutexGuard};

use ezdfs_core::{BaseRow, FeedOp, NameHash};

use super::state::{FullRow, State};

/// A base row with all its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignRow {
    /// The columns that readers look at.
    pub base: BaseRow,
    /// As stored.
    pub name_trunk: String,
    /// As stored; no reader looks at it.
    pub status: bool,
}

/// Base rows as plain SQL would change them, one feed row per change.
#[derive(Debug, Clone)]
pub struct ForeignTable(Arc<Mutex<State>>);

impl ForeignTable {
    pub(super) fn new(table: Arc<Mutex<State>>) -> Self {
        Self(table)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        super::lock(&self.0)
    }

    /// The row of a hash.
    #[must_use]
    pub fn get(&self, hash: NameHash) -> Option<ForeignRow> {
        self.lock().base.get(&hash).map(|r| ForeignRow {
            base: r.base.clone(),
            name_trunk: r.name_trunk.clone(),
            status: r.status,
        })
    }

    /// Every hash of the table with its name, in byte order of the names.
    #[must_use]
    pub fn names(&self) -> Vec<(String, NameHash)> {
        self.lock().names.keys().cloned().collect()
    }

    /// Inserts the row of a hash, or overwrites it.
    pub fn set(&self, hash: NameHash, row: ForeignRow) {
        let mut state = self.lock();
        let name = row.base.name.clone();
        let row = FullRow { base: row.base, name_trunk: row.name_trunk, status: row.status };
        let op = match state.set_base(hash, Some(row)) {
            Some(_) => FeedOp::Update,
            None => FeedOp::Insert,
        };
        state.append_feed(op, hash, &name, true);
    }

    /// Deletes the row of a hash; `false` when there is none.
    pub fn delete(&self, hash: NameHash) -> bool {
        let mut state = self.lock();
        match state.set_base(hash, None) {
            Some(old) => {
                state.append_feed(FeedOp::Delete, hash, &old.base.name, true);
                true
            }
            None => false,
        }
    }
}
