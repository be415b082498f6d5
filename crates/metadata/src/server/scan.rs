//! What stands in for the feed's trigger: a walk over the base table that finds rows which no entry
//! tells of, or tells of wrongly, and entries whose row is gone. It writes a foreign change for
//! each, as the trigger would have done; everything behind the feed is the same then.
//!
//! It cannot see a file that was written again with the same size in the same second.

use ezdfs_core::{Name, Progress, Result};

use super::dialect::Dialect;
use super::feed::nonsense;
use super::statement::params;
use super::transaction::Transaction;
use crate::change::stands_at;
use crate::decode;
use crate::place::Place;
use crate::rows::{Rows as _, Stored};

/// Key of `ezdfs_meta`: where the walk is, as `rows:HASH` or `entries:HASH`.
const CURSOR: &str = "scan";

/// One step of the walk; `more` until it is through the table.
pub(super) async fn step<D: Dialect>(
    transaction: &mut Transaction<'_, D>,
    limit: u32,
) -> Result<Progress> {
    let sql = &transaction.server.sql;
    let cursor = transaction
        .rows("read the schema", &sql.lock_meta, params![CURSOR], |row| {
            Ok(decode::text(row, 0)?.unwrap_or_default())
        })
        .await?;
    let cursor = cursor.into_iter().next().unwrap_or_else(|| "rows:".to_owned());
    match cursor.split_once(':') {
        Some(("rows", after)) => rows(transaction, after, limit).await,
        Some(("entries", after)) => entries(transaction, after, limit).await,
        _ => Err(nonsense("`scan`")),
    }
}

async fn rows<D: Dialect>(
    transaction: &mut Transaction<'_, D>,
    after: &str,
    limit: u32,
) -> Result<Progress> {
    let sql = &transaction.server.sql;
    let params = params![after, i64::from(limit.max(1))];
    let batch = transaction
        .rows("read the base table", &sql.walk, params, |row| {
            let hash = decode::text(row, decode::BEHIND)?.unwrap_or_default();
            Ok((hash, decode::stored(row)?))
        })
        .await?;
    let next = match batch.last() {
        Some((last, _)) => format!("rows:{last}"),
        None => "entries:".to_owned(),
    };
    let mut changed = 0;
    for (hash, stored) in &batch {
        if let (true, Some(base)) = (is_untold(stored), &stored.base) {
            tell(transaction, "update", hash, &base.name).await?;
            changed += 1;
        }
    }
    transaction.run("note how far the scan is", &sql.set_meta, params![CURSOR, next]).await?;
    Ok(Progress { seen: u64::try_from(batch.len()).unwrap_or(u64::MAX), changed, more: true })
}

/// Whether the materialiser would have something to do.
fn is_untold(stored: &Stored) -> bool {
    let Some(base) = &stored.base else { return false };
    match &stored.node {
        None => base.visible(),
        // A directory, or another name with the same MD5, stands there: nothing will change that.
        Some(node) if stored.is_dir() || !stands_at(node, Place::of(&base.name)) => false,
        Some(node) => !node.belongs_to(base),
    }
}

async fn entries<D: Dialect>(
    transaction: &mut Transaction<'_, D>,
    after: &str,
    limit: u32,
) -> Result<Progress> {
    let sql = &transaction.server.sql;
    let params = params![after, i64::from(limit.max(1))];
    let batch = transaction
        .rows("read the entries", &sql.orphans, params, |row| {
            Ok(decode::text(row, 0)?.unwrap_or_default())
        })
        .await?;
    let more = !batch.is_empty();
    let next = batch.last().map_or_else(|| "rows:".to_owned(), |last| format!("entries:{last}"));
    let gone: Vec<_> = batch.iter().filter_map(|hash| hash.parse().ok()).collect();
    // The name is not known from its hash, so the entry is taken away here, and nobody is told.
    if !gone.is_empty() {
        transaction.delete_nodes(&gone).await?;
    }
    let changed = u64::try_from(gone.len()).unwrap_or(u64::MAX);
    transaction.run("note how far the scan is", &sql.set_meta, params![CURSOR, next]).await?;
    Ok(Progress { seen: u64::try_from(batch.len()).unwrap_or(u64::MAX), changed, more })
}

async fn tell<D: Dialect>(
    transaction: &mut Transaction<'_, D>,
    op: &str,
    hash: &str,
    name: &str,
) -> Result<()> {
    let name = Name::from_row(name);
    let at = transaction.now.millis();
    let params = params![op, hash, name.as_str(), None::<String>, at];
    let sql = &transaction.server.sql;
    transaction.run("write to the change feed", &sql.tell, params).await.map(drop)
}
