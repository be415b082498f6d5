//! Many rows that travel as one JSON array (`sql::PACKED`).

use ezdfs_core::{Attrs, BaseRow, Error, NodeKind, NodeRow, Pin, Timestamp};
use serde::Deserialize;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::rows::Stored;

/// The columns of one row, in the order of `sql::PACKED`.
#[derive(Deserialize)]
struct Packed(
    Option<String>,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<u32>,
    Option<u32>,
    Option<u32>,
    Option<i64>,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    /// Which question the row answers.
    usize,
);

/// A row of the array in a result's first column.
#[derive(Debug)]
pub(super) struct Unpacked {
    pub(super) stored: Stored,
    /// Basename of the node row, also where its kind is one of a newer version.
    pub(super) basename: Option<String>,
    /// Which question the row answers.
    pub(super) key: usize,
}

/// The rows that `row` packs.
pub(super) fn unpack(row: &SqliteRow) -> Result<Vec<Unpacked>, sqlx::Error> {
    let bytes: Option<&[u8]> = row.try_get_unchecked(0)?;
    // PHP stores bytes that are no UTF-8 as they are, and SQLite hands them on as they are.
    let text = String::from_utf8_lossy(bytes.unwrap_or(b"[]"));
    let rows: Vec<Packed> =
        serde_json::from_str(&text).map_err(|e| sqlx::Error::Decode(Box::new(e)))?;
    rows.into_iter().map(one).collect()
}

fn one(row: Packed) -> Result<Unpacked, sqlx::Error> {
    let unsigned = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok()).unwrap_or_default();
    let nanos = |n: Option<i64>| Timestamp::from_nanos(n.unwrap_or_default());
    let base = row.0.map(|name| BaseRow {
        name,
        datatype: row.1.unwrap_or_default(),
        scope: row.2.unwrap_or_default(),
        size: unsigned(row.3),
        mtime: row.4.unwrap_or_default(),
        // NULL is not "not true": PHP's condition hides such a row.
        expired: row.5 != Some(0),
    });
    let basename = row.7.clone();
    let node = match row.8.as_deref().and_then(NodeKind::from_row) {
        None => None,
        Some(kind) => Some(NodeRow {
            parent: row
                .6
                .unwrap_or_default()
                .parse()
                .map_err(|e: Error| sqlx::Error::Decode(Box::new(e)))?,
            basename: row.7.unwrap_or_default(),
            kind,
            attrs: Attrs {
                ino: unsigned(row.9),
                mode: row.10,
                uid: row.11,
                gid: row.12,
                ctime: nanos(row.14),
            },
            mtime: nanos(row.13),
            pin: row.15.map(|p| Pin::from_row(&p)),
            token: row.16.and_then(|t| t.parse().ok()),
            sha256: row.17.and_then(|t| t.parse().ok()),
            expires: row.18.map(Timestamp::from_millis),
            base_size: unsigned(row.19),
            base_mtime: row.20.unwrap_or_default(),
        }),
    };
    Ok(Unpacked { stored: Stored { base, node }, basename, key: row.21 })
}
