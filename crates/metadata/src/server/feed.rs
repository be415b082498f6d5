//! The change feed: foreign rows are materialised, seen ones trimmed, rows from before the feed
//! backfilled.
//!
//! Sequence order is not commit order on a server. So each foreign row carries a mark that there is
//! something to do, and whoever does it takes the mark away in the same transaction: nothing is
//! missed, however long a foreign transaction takes, and several nodes may work side by side.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ezdfs_core::{Error, ErrorKind, FeedOp, Name, NameHash, Progress, Result, Timestamp};

use super::bind::hexes;
use super::dialect::Dialect;
use super::statement::params;
use super::transaction::Transaction;
use super::write::{Answer, Task, mixed_up, number};
use super::{Server, scan};
use crate::decode;
use crate::materialise::{self, ForeignChange};

/// Feed rows that one transaction of a trim deletes.
const TRIM_AT_ONCE: u32 = 2_000;
/// Rows after which a backfill makes the planner look at what has grown; then at four times as many.
const FIRST_LOOK: u64 = 2_000;
/// Key of `ezdfs_meta`: how far the backfill came.
pub(super) const BACKFILL: &str = "backfill";

struct FeedRow {
    seq: i64,
    is_update: bool,
    is_delete: bool,
    /// A scan found that something had changed; what and when, it does not know.
    is_found: bool,
    hash: String,
    name: String,
}

pub(super) async fn materialise<D: Dialect>(
    transaction: &mut Transaction<'_, D>,
    limit: u32,
) -> Result<Progress> {
    let sql = &transaction.server.sql;
    let what = "read the change feed";
    let wanted = params![i64::from(limit.max(1))];
    let numbers = transaction.rows(what, &sql.todo_numbers, wanted, |row| number(row, 0)).await?;
    if numbers.is_empty() {
        return Ok(Progress::default());
    }
    let batch = transaction
        .rows(what, &sql.todo, params![numbers], |row| {
            let op = decode::text(row, 1)?.unwrap_or_default();
            Ok(FeedRow {
                seq: number(row, 0)?,
                is_update: op == "update",
                is_delete: op == "delete",
                is_found: op == scan::FOUND,
                hash: decode::text(row, 2)?.unwrap_or_default(),
                name: decode::text(row, 3)?.unwrap_or_default(),
            })
        })
        .await?;
    let Some(first) = batch.iter().map(|row| row.seq).min() else {
        return Ok(Progress { more: waits(transaction).await?, ..Progress::default() });
    };
    // Locked first: whoever publishes one of these has either committed, and its change is in the log,
    // or finds what is decided here.
    let mut names: Vec<Name> = batch.iter().map(|row| Name::from_row(&row.name)).collect();
    names.sort_by_key(Name::hash);
    names.dedup_by_key(|name| name.hash());
    transaction.lock_nodes(&names).await?;
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
        if row.is_found {
            continue;
        }
        // The number of a change is given out while its row is locked, so the numbers of one row
        // are in the order in which its changes were committed.
        change.overtakes = !row.is_delete && own.get(&row.hash).is_none_or(|own| *own < row.seq);
        change.moves_parent |= !row.is_update;
    }
    let changes: Vec<ForeignChange> = changes.into_values().collect();
    let now = transaction.now;
    let changed = materialise::place(transaction, now, &changes).await?;
    let seqs: Vec<i64> = batch.iter().map(|row| row.seq).collect();
    transaction.run("note what was seen", &sql.todo_done, params![seqs]).await?;
    let more = waits(transaction).await?;
    Ok(Progress { seen: u64::try_from(batch.len()).unwrap_or(u64::MAX), changed, more })
}

/// Whether there is more to do: rows that another node has worked on meanwhile may have made a batch
/// short.
async fn waits<D: Dialect>(transaction: &mut Transaction<'_, D>) -> Result<bool> {
    let sql = &transaction.server.sql;
    let rows = transaction.rows("read the change feed", &sql.foreign_waits, vec![], |_| Ok(()));
    Ok(!rows.await?.is_empty())
}

/// The last change that one of us made to each of these rows, after the foreign one.
async fn own_changes<D: Dialect>(
    transaction: &mut Transaction<'_, D>,
    first: i64,
    batch: &[FeedRow],
) -> Result<BTreeMap<String, i64>> {
    let hashes: Vec<NameHash> = batch.iter().filter_map(|r| r.hash.parse().ok()).collect();
    let sql = &transaction.server.sql;
    let rows = transaction
        .rows("read the change feed", &sql.own_changes, params![first, hexes(&hashes)], |row| {
            Ok((decode::text(row, 0)?.unwrap_or_default(), number(row, 1)?))
        })
        .await?;
    Ok(rows.into_iter().collect())
}

/// Places the next rows from before the feed, in order of their hashes.
pub(super) async fn backfill<D: Dialect>(
    transaction: &mut Transaction<'_, D>,
    limit: u32,
) -> Result<Progress> {
    let sql = &transaction.server.sql;
    let cursor = transaction
        .rows("read the schema", &sql.lock_meta, params![BACKFILL], |row| {
            Ok(decode::text(row, 0)?.unwrap_or_default())
        })
        .await?;
    // Another process has finished it.
    let Some(cursor) = cursor.into_iter().next() else { return Ok(Progress::default()) };
    let batch = transaction
        .rows("read the base table", &sql.walk, params![cursor, i64::from(limit.max(1))], |row| {
            let hash = decode::text(row, decode::BEHIND)?.unwrap_or_default();
            Ok((hash, decode::stored(row)?.base.map(|base| base.name).unwrap_or_default()))
        })
        .await?;
    let Some((last, _)) = batch.last() else {
        transaction
            .run("note the end of the backfill", &sql.delete_meta, params![BACKFILL])
            .await?;
        return Ok(Progress::default());
    };
    let note = params![BACKFILL, last.clone()];
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
    let now = transaction.now;
    let changed = materialise::place(transaction, now, &changes).await?;
    transaction.run("note the progress of the backfill", &sql.set_meta, note).await?;
    Ok(Progress { seen: u64::try_from(batch.len()).unwrap_or(u64::MAX), changed, more: true })
}

/// Deletes the next feed rows that are older than `before` and seen.
pub(super) async fn trim<D: Dialect>(
    transaction: &mut Transaction<'_, D>,
    before: Timestamp,
) -> Result<u64> {
    let sql = &transaction.server.sql;
    let params = params![before.millis(), i64::from(TRIM_AT_ONCE)];
    let seqs = transaction
        .rows("trim the change feed", &sql.trimmable, params, |row| number(row, 0))
        .await?;
    let Some(highest) = seqs.iter().max().copied() else { return Ok(0) };
    let trimmed = transaction.run("trim the change feed", &sql.trim, params![seqs]).await?;
    // Readers that have not come so far learn that they missed something.
    transaction
        .run("trim the change feed", &sql.note_trimmed, params![highest.to_string()])
        .await?;
    Ok(trimmed)
}

impl<D: Dialect> Server<D> {
    pub(super) async fn materialise(self: &Arc<Self>, limit: u32) -> Result<Progress> {
        match self.write(Task::Materialise { limit }).await? {
            Answer::Progress(progress) => Ok(progress),
            other => Err(mixed_up(&other)),
        }
    }

    pub(super) async fn trim(self: &Arc<Self>, before: Timestamp) -> Result<u64> {
        let mut trimmed = 0;
        loop {
            let deleted = match self.write(Task::Trim { before }).await? {
                Answer::Count(deleted) => deleted,
                other => return Err(mixed_up(&other)),
            };
            trimmed += deleted;
            if deleted < u64::from(TRIM_AT_ONCE) {
                return Ok(trimmed);
            }
        }
    }

    /// Places rows from before the feed; calls `progress` with how many were looked at so far.
    pub(crate) async fn backfill(
        self: &Arc<Self>,
        at_once: u32,
        mut progress: impl FnMut(u64) + Send,
    ) -> Result<u64> {
        let mut seen = 0;
        let mut looked = FIRST_LOOK;
        loop {
            if seen >= looked {
                looked = seen.saturating_mul(4);
                self.look_at_growth().await?;
            }
            match self.write(Task::Backfill { limit: at_once }).await? {
                Answer::Progress(done) => {
                    seen += done.seen;
                    progress(seen);
                    if !done.more {
                        return Ok(seen);
                    }
                }
                other => return Err(mixed_up(&other)),
            }
        }
    }

    /// A planner that believes a table to be empty reads all of it for each look-up.
    async fn look_at_growth(&self) -> Result<()> {
        let Some(text) = D::LOOK_AT_GROWTH else { return Ok(()) };
        let mut lent = self.connections.lend().await?;
        lent.is_dirty = true;
        D::run(&mut lent.conn, text)
            .await
            .map_err(|e| self.connections.failed("look at the growth of a table", e))?;
        lent.is_dirty = false;
        Ok(())
    }

    /// Writes a row of the feed for each name.
    pub(super) async fn tell(&self, names: &[String]) -> Result<()> {
        let at = self.database_time().await?.millis();
        for name in names {
            let params = params![
                FeedOp::Update.as_str(),
                Name::from_row(name).hash().to_hex(),
                name.clone(),
                Some(self.options.origin.clone()),
                at
            ];
            self.change("write to the change feed", &self.sql.tell, params).await?;
        }
        Ok(())
    }

    /// Writes a heartbeat unless a younger one stands.
    pub(super) async fn beat(&self, unless_younger: Duration) -> Result<()> {
        let now = self.database_time().await?;
        let params = params![now.nanos().to_string(), now.minus(unless_younger).nanos()];
        self.change("write a heartbeat", &self.sql.beat, params).await.map(drop)
    }
}

/// An answer that makes no sense.
pub(super) fn nonsense(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{what} in ezdfs_meta makes no sense"))
}
