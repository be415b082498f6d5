//! `ForeignWriter`: a program that changes base rows without ezdfs, as a PHP node does.

// A foreign writer that fails ends the test.
#![allow(clippy::expect_used)]

use std::fmt;

use async_trait::async_trait;
use ezdfs_core::{BaseRow, FilePath, Name, NameHash, Scope};
use ezdfs_metadata::memory::{ForeignRow, ForeignTable};

/// Changes base rows as PHP does: plain statements on the base table, no other table. Names are
/// whole, prefix included. A failing statement panics: the writer is part of a test.
#[async_trait]
pub trait ForeignWriter: Send + Sync + fmt::Debug {
    /// Ibexa's create: INSERT, and on any error an UPDATE of mtime, size, scope and datatype.
    /// `expired`, `name` and `name_trunk` of an existing row stay (ibexa-dfs.md §1.8).
    async fn store(&self, name: &str, size: u64, mtime: i64, datatype: &str);

    /// Ibexa's delete; `false` when there was no row.
    async fn delete(&self, name: &str) -> bool;

    /// Legacy eZ Publish's delete: `mtime = -abs(mtime), expired = 1`.
    async fn soft_delete(&self, name: &str);

    /// Ibexa's directory delete: `LIKE 'name/%'` with `%` and `_` escaped. LIKE folds ASCII case
    /// in SQLite and by MySQL's default collation, so names that differ in case go as well
    /// (ibexa-dfs.md §1.9).
    async fn delete_directory(&self, name: &str);

    /// Any row under any hash, inserted or overwritten.
    async fn set(&self, hash: NameHash, row: &ForeignRow);

    /// The row of a hash.
    async fn get(&self, hash: NameHash) -> Option<ForeignRow>;
}

/// A row as Ibexa inserts it.
#[must_use]
pub fn ibexa_row(name: &str, size: u64, mtime: i64, datatype: &str) -> ForeignRow {
    ForeignRow {
        base: BaseRow {
            name: name.to_owned(),
            datatype: datatype.to_owned(),
            scope: scope_of(name).to_owned(),
            size,
            mtime,
            expired: false,
        },
        name_trunk: name.to_owned(),
        status: false,
    }
}

/// The scope that Ibexa derives from the SPI id; here from the name below `storage/`.
pub(crate) fn scope_of(name: &str) -> &'static str {
    let id = name.split_once("storage/").map_or(name, |(_, id)| id);
    id.parse::<FilePath>().map_or(Scope::Unknown, |p| Scope::of(&p)).as_str()
}

pub(crate) fn hash_of(name: &str) -> NameHash {
    Name::from_row(name).hash()
}

#[async_trait]
impl ForeignWriter for ForeignTable {
    async fn store(&self, name: &str, size: u64, mtime: i64, datatype: &str) {
        let new = ibexa_row(name, size, mtime, datatype);
        let row = match ForeignTable::get(self, hash_of(name)) {
            None => new,
            Some(old) => ForeignRow {
                base: BaseRow { name: old.base.name, expired: old.base.expired, ..new.base },
                ..old
            },
        };
        ForeignTable::set(self, hash_of(name), row);
    }

    async fn delete(&self, name: &str) -> bool {
        ForeignTable::delete(self, hash_of(name))
    }

    async fn soft_delete(&self, name: &str) {
        if let Some(mut row) = ForeignTable::get(self, hash_of(name)) {
            row.base.mtime = -row.base.mtime.abs();
            row.base.expired = true;
            ForeignTable::set(self, hash_of(name), row);
        }
    }

    async fn delete_directory(&self, name: &str) {
        let below = format!("{name}/").to_ascii_lowercase();
        for (found, hash) in self.names() {
            if found.to_ascii_lowercase().starts_with(&below) {
                ForeignTable::delete(self, hash);
            }
        }
    }

    async fn set(&self, hash: NameHash, row: &ForeignRow) {
        ForeignTable::set(self, hash, row.clone());
    }

    async fn get(&self, hash: NameHash) -> Option<ForeignRow> {
        ForeignTable::get(self, hash)
    }
}
