//! Rows of SQLite, read as those of any database.

pub(super) use crate::decode::*;

crate::decode::fields!(sqlx::sqlite::SqliteRow);
