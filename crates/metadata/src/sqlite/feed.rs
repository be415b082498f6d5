//! The change feed: foreign rows are materialised, seen ones trimmed, rows from before the feed
//! backfilled.
//!
//! SQLite has one writer at a time, so sequence order is commit order and a watermark suffices.

use std::collections::BTreeMap;

use ezdfs_core::{FeedOp, Name, NameHash, Progress, Result, Timestamp};

use super::bind::{json_hashes, prepared};
use super::decode;
use super::transaction::Transaction;
use crate::materialise::{self, ForeignChange};

/// Whether foreign changes wait, by the partial index.
pub(super) const FOREIGN_WAITS: &str = "SELECT EXISTS (SELECT 1 FROM ezdfs_change \
     WHERE origin IS NULL AND seq > (SELECT CAST(value AS INTEGER) FROM ezdfs_meta \
     WHERE key = 'materialised'))";

/// How many foreign changes wait.
pub(super) const FOREIGN_COUNT: &str = "SELECT count(*) FROM ezdfs_change \
     WHERE origin IS NULL AND seq > (SELECT CAST(value AS INTEGER) FROM ezdfs_meta \
     WHERE key = 'materialised')";

/// Feed rows that one statement of a trim deletes: others wait for the writer meanwhile.
const TRIM_AT_ONCE: i64 = 5_000;

struct FeedRow {
    seq: i64,
    is_update: bool,
    is_delete: bool,
    hash: String,
    name: String,
}

pub(super) async fn materialise(
    transaction: &mut Transaction<'_>,
    now: Timestamp,
    limit: u32,
) -> Result<Progress> {
    let query = sqlx::query(
        "SELECT seq, op, coalesce(name_hash, ''), coalesce(name, '') FROM ezdfs_change \
         WHERE origin IS NULL AND seq > (SELECT CAST(value AS INTEGER) FROM ezdfs_meta \
         WHERE key = 'materialised') ORDER BY seq LIMIT ?",
    )
    .bind(limit.max(1));
    let batch = transaction
        .rows("read the change feed", query, |row| {
            let op = decode::text(row, 1)?.unwrap_or_default();
            Ok(FeedRow {
                seq: decode::int(row, 0)?.unwrap_or_default(),
                is_update: op == "update",
                is_delete: op == "delete",
                hash: decode::text(row, 2)?.unwrap_or_default(),
                name: decode::text(row, 3)?.unwrap_or_default(),
            })
        })
        .await?;
    let (Some(first), Some(last)) = (batch.first(), batch.last()) else {
        return Ok(Progress::default());
    };
    let (first, last) = (first.seq, last.seq);
    let own = own_changes(transaction, first, &batch).await?;
    let mut changes: BTreeMap<&str, ForeignChange> = BTreeMap::new();
    for row in &batch {
        // A hash that is none is not the name's, and gets no entry.
        let Ok(hash) = row.hash.parse::<NameHash>() else { continue };
        let change = changes.entry(&row.name).or_insert_with(|| ForeignChange {
            name: row.name.clone(),
            hash,
            overtakes: false,
            moves_parent: false,
        });
        change.hash = hash;
        change.overtakes = !row.is_delete && own.get(&row.hash).is_none_or(|own| *own < row.seq);
        change.moves_parent |= !row.is_update;
    }
    let changes: Vec<ForeignChange> = changes.into_values().collect();
    let changed = materialise::place(transaction, now, &changes).await?;
    let query = sqlx::query("UPDATE ezdfs_meta SET value = ? WHERE key = 'materialised'")
        .bind(last.to_string());
    transaction.run("note the watermark", query).await?;
    let more = transaction.number("read the change feed", sqlx::query(FOREIGN_WAITS)).await? == 1;
    Ok(Progress { seen: u64::try_from(batch.len()).unwrap_or(u64::MAX), changed, more })
}

/// The last change that one of us made to each of these rows, after the foreign one.
async fn own_changes(
    transaction: &mut Transaction<'_>,
    first: i64,
    batch: &[FeedRow],
) -> Result<BTreeMap<String, i64>> {
    let hashes: Vec<NameHash> = batch.iter().filter_map(|r| r.hash.parse().ok()).collect();
    let query = sqlx::query(
        "SELECT name_hash, max(seq) FROM ezdfs_change WHERE seq > ? AND origin IS NOT NULL \
         AND name_hash IN (SELECT value FROM json_each(?)) GROUP BY name_hash",
    )
    .bind(first)
    .bind(json_hashes(hashes.iter()));
    let rows = transaction
        .rows("read the change feed", query, |row| {
            Ok((
                decode::text(row, 0)?.unwrap_or_default(),
                decode::int(row, 1)?.unwrap_or_default(),
            ))
        })
        .await?;
    Ok(rows.into_iter().collect())
}

/// Places the next rows from before the feed, in order of their hashes.
pub(super) async fn backfill(
    transaction: &mut Transaction<'_>,
    now: Timestamp,
    limit: u32,
) -> Result<Progress> {
    let cursor = transaction
        .rows(
            "read the schema",
            sqlx::query("SELECT value FROM ezdfs_meta WHERE key = 'backfill'"),
            |row| Ok(decode::text(row, 0)?.unwrap_or_default()),
        )
        .await?;
    // Another process has finished it.
    let Some(cursor) = cursor.into_iter().next() else { return Ok(Progress::default()) };
    let sql = transaction.sql;
    let query = prepared(&sql.backfill).bind(cursor).bind(limit.max(1));
    let batch = transaction
        .rows("read the base table", query, |row| {
            Ok((
                decode::text(row, 0)?.unwrap_or_default(),
                decode::text(row, 1)?.unwrap_or_default(),
            ))
        })
        .await?;
    let Some((last, _)) = batch.last() else {
        let done = sqlx::query("DELETE FROM ezdfs_meta WHERE key = 'backfill'");
        transaction.run("note the end of the backfill", done).await?;
        return Ok(Progress::default());
    };
    let note =
        sqlx::query("UPDATE ezdfs_meta SET value = ? WHERE key = 'backfill'").bind(last.clone());
    let changes: Vec<ForeignChange> = batch
        .iter()
        .filter(|(hash, name)| Name::from_row(name).hash().to_hex() == *hash)
        .map(|(_, name)| ForeignChange {
            name: name.clone(),
            hash: Name::from_row(name).hash(),
            overtakes: false,
            moves_parent: false,
        })
        .collect();
    let changed = materialise::place(transaction, now, &changes).await?;
    transaction.run("note the progress of the backfill", note).await?;
    Ok(Progress { seen: u64::try_from(batch.len()).unwrap_or(u64::MAX), changed, more: true })
}

/// Writes a row of the feed for each name. The connection's own trigger notes whose it is.
pub(super) async fn tell(
    transaction: &mut Transaction<'_>,
    now: Timestamp,
    names: &[String],
) -> Result<u64> {
    for name in names {
        let query = sqlx::query(
            "INSERT INTO ezdfs_change (op, name_hash, name, at) VALUES (?1, ?2, ?3, ?4)",
        )
        .bind(FeedOp::Update.as_str())
        .bind(Name::from_row(name).hash().to_hex())
        .bind(name.clone())
        .bind(now.millis());
        transaction.run("write to the change feed", query).await?;
    }
    Ok(u64::try_from(names.len()).unwrap_or(u64::MAX))
}

/// Deletes the next feed rows that are older than `before` and seen.
pub(super) async fn trim(transaction: &mut Transaction<'_>, before: Timestamp) -> Result<u64> {
    let query = sqlx::query(
        "DELETE FROM ezdfs_change WHERE seq IN (SELECT seq FROM ezdfs_change \
         WHERE at < ?1 AND seq < coalesce((SELECT min(seq) FROM ezdfs_change \
         WHERE origin IS NULL AND seq > (SELECT CAST(value AS INTEGER) FROM ezdfs_meta \
         WHERE key = 'materialised')), 9223372036854775807) ORDER BY seq LIMIT ?2)",
    )
    .bind(before.millis())
    .bind(TRIM_AT_ONCE);
    transaction.run("trim the change feed", query).await
}

/// Whether a trim that deleted so many rows may have left some.
pub(super) fn trims_more(deleted: u64) -> bool {
    u64::try_from(TRIM_AT_ONCE).is_ok_and(|full| deleted >= full)
}
