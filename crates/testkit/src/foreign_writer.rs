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
    /// Ibexa's create with any columns: INSERT, and on any error an UPDATE of mtime, size, scope
    /// and datatype. `expired`, `name` and `name_trunk` of an existing row stay, `status` is never
    /// written, and nobody looks whether the UPDATE met a row (ibexa-dfs.md §1.8). So a row that
    /// the server refuses is missing afterwards without an error; only an UPDATE that the server
    /// refuses fails.
    async fn store_row(&self, row: &ForeignRow) -> Result<(), ForeignError>;

    /// [`Self::store_row`] of what Ibexa writes for a name; a failure panics.
    async fn store(&self, name: &str, size: u64, mtime: i64, datatype: &str) {
        self.store_row(&ibexa_row(name, size, mtime, datatype)).await.expect("Ibexa's create");
    }

    /// Legacy eZ Publish's store: one upsert, which also clears `expired` (§1.8).
    async fn legacy_store(&self, name: &str, size: u64, mtime: i64, datatype: &str) {
        let new = ibexa_row(name, size, mtime, datatype);
        let row = match self.get(hash_of(name)).await {
            None => new,
            Some(old) => ForeignRow { base: BaseRow { name: old.base.name, ..new.base }, ..old },
        };
        self.set(hash_of(name), &row).await;
    }

    /// What Ibexa loads: the row of the name's hash unless `expired` is true or mtime not above 0.
    async fn load(&self, name: &str) -> Option<ForeignRow> {
        self.get(hash_of(name)).await.filter(|r| !r.base.expired && r.base.mtime > 0)
    }

    /// Ibexa's delete; `false` when there was no row.
    async fn delete(&self, name: &str) -> bool;

    /// Legacy eZ Publish's delete: `mtime = -abs(mtime), expired = 1`.
    async fn soft_delete(&self, name: &str);

    /// Legacy purge of one file: the row goes if it is expired; `false` when it stayed or was not
    /// there (§1.7).
    async fn purge(&self, name: &str) -> bool {
        let expired = self.get(hash_of(name)).await.is_some_and(|r| r.base.expired);
        expired && self.delete(name).await
    }

    /// Ibexa's directory delete: `LIKE 'name/%'` with `%` and `_` escaped. LIKE folds ASCII case
    /// in SQLite and by MySQL's default collation, so names that differ in case go as well
    /// (ibexa-dfs.md §1.9).
    async fn delete_directory(&self, name: &str);

    /// Any row under any hash, inserted or overwritten.
    async fn set(&self, hash: NameHash, row: &ForeignRow);

    /// The row of a hash. `expired` is what `expired = TRUE` says, so on MariaDB 2 is not expired
    /// (§1.2).
    async fn get(&self, hash: NameHash) -> Option<ForeignRow>;
}

/// What a database said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignError {
    /// The five characters, if the error came from the server.
    pub sqlstate: Option<String>,
    /// In the server's words.
    pub message: String,
}

impl fmt::Display for ForeignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sqlstate = self.sqlstate.as_deref().unwrap_or("no SQLSTATE");
        write!(f, "{} ({sqlstate})", self.message)
    }
}

impl std::error::Error for ForeignError {}

impl From<sqlx::Error> for ForeignError {
    fn from(e: sqlx::Error) -> Self {
        let sqlstate = e.as_database_error().and_then(|e| e.code()).map(|c| c.into_owned());
        Self { sqlstate, message: e.to_string() }
    }
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

/// Ibexa's pattern for all names below a directory. A backslash is not escaped (§1.9).
pub(crate) fn like_pattern(name: &str) -> String {
    format!("{}/%", name.replace('%', "\\%").replace('_', "\\_"))
}

pub(crate) fn hash_of(name: &str) -> NameHash {
    Name::from_row(name).hash()
}

#[async_trait]
impl ForeignWriter for ForeignTable {
    async fn store_row(&self, row: &ForeignRow) -> Result<(), ForeignError> {
        let hash = hash_of(&row.base.name);
        let new = row.clone();
        let row = match ForeignTable::get(self, hash) {
            None => {
                ForeignRow { base: BaseRow { expired: false, ..new.base }, status: false, ..new }
            }
            Some(old) => ForeignRow {
                base: BaseRow { name: old.base.name, expired: old.base.expired, ..new.base },
                ..old
            },
        };
        ForeignTable::set(self, hash, row);
        Ok(())
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
