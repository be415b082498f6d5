//! What stands in for the feed's trigger: a walk over the base table that finds rows which no entry
//! tells of, or tells of wrongly, and entries whose row is gone. It writes a foreign change for
//! each, much as the trigger would have done; everything behind the feed is the same then.
//!
//! It cannot see a file that was written again with the same size in the same second. What it found
//! may be out of date when it is told: so a [`FOUND`] change never says that the foreign writer was
//! the last one, and the materialiser looks again, at locked rows.
//!
//! All nodes share one walk, by a row of `ezdfs_meta`: each takes the next step, and the end of the
//! walk says when the next one may begin. Where there is a trigger the walk is made once an hour,
//! for what the trigger could not tell.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ezdfs_core::{
    Clock as _, Error, ErrorKind, Name, NameHash, NodeKind, Progress, Result, SystemClock,
    Timestamp,
};

use super::Server;
use super::bind::hexes;
use super::dialect::Dialect;
use super::feed::nonsense;
use super::statement::params;
use super::transaction::Transaction;
use super::write::{Answer, Task, mixed_up};
use crate::change::stands_at;
use crate::decode;
use crate::place::{Place, is_listable};
use crate::rows::{Rows as _, Stored};

/// Key of `ezdfs_meta`: where the walk is, a [`Cursor`].
pub(crate) const CURSOR: &str = "scan";
/// Operation of a change that a walk found.
pub(super) const FOUND: &str = "found";
/// Pause between two walks where there is a trigger.
pub(crate) const SAFETY: Duration = Duration::from_secs(3_600);
/// Rows that one transaction looks at.
const AT_ONCE: u32 = 1_000;
/// A walk takes at most one part in this many of the time.
const SHARE: u32 = 10;
/// Longest time that a listing waits for a walk; it goes on then.
const PATIENCE: Duration = Duration::from_secs(2);
/// More levels than any name has.
const DEEPEST: usize = 2_048;

/// Where the walk is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cursor {
    /// Over; the next one may begin then.
    Idle { until: Timestamp },
    /// Among the base rows, behind that hash.
    Rows { since: Timestamp, after: String },
    /// Among the entries, behind that hash.
    Entries { since: Timestamp, after: String },
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle { until } => write!(f, "idle:{}:", until.nanos()),
            Self::Rows { since, after } => write!(f, "rows:{}:{after}", since.nanos()),
            Self::Entries { since, after } => write!(f, "entries:{}:{after}", since.nanos()),
        }
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts =
            text.split_once(':').and_then(|(kind, rest)| Some((kind, rest.split_once(':')?)));
        let Some((kind, (time, after))) = parts else { return Err(nonsense("`scan`")) };
        let time = Timestamp::from_nanos(time.parse().map_err(|_| nonsense("`scan`"))?);
        let after = after.to_owned();
        match kind {
            "idle" => Ok(Self::Idle { until: time }),
            "rows" => Ok(Self::Rows { since: time, after }),
            "entries" => Ok(Self::Entries { since: time, after }),
            _ => Err(nonsense("`scan`")),
        }
    }
}

/// Whether a step may begin a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// From the first row, whatever was there.
    Anew,
    /// If it is due.
    Due,
    /// No: the one that is under way is completed.
    No,
}

/// When this process last took part in a walk.
#[derive(Debug, Default)]
pub(super) struct Turn(Mutex<Option<Duration>>);

impl Turn {
    /// Whether it is time to look again; from now on it is not.
    fn take(&self, pause: Duration) -> bool {
        let now = SystemClock.boot();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| now.saturating_sub(last) >= pause);
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}

impl<D: Dialect> Server<D> {
    /// Takes part in the walk if it is due. Without a trigger waits for it, but not for long.
    pub(super) async fn scan_if_due(self: &Arc<Self>) -> Result<()> {
        let pause = self.scan_pause();
        if !self.scan_turn.take(pause) {
            return Ok(());
        }
        let server = Arc::clone(self);
        let running = tokio::spawn(async move {
            let done = server.scan(Start::Due).await;
            if let Err(e) = &done {
                tracing::warn!(error = %e, "the scan for untold changes stopped; it goes on later");
            }
            done
        });
        if !self.is_degraded {
            return Ok(());
        }
        match tokio::time::timeout(PATIENCE, running).await {
            // Logged; listings tell what there is.
            Ok(Ok(_)) | Err(_) => Ok(()),
            Ok(Err(e)) => Err(Error::new(ErrorKind::Internal, "a scan was cut off").with_source(e)),
        }
    }

    /// Walks over all rows, and says how many untold changes it found.
    pub(super) async fn scan_all(self: &Arc<Self>) -> Result<u64> {
        self.scan(Start::Anew).await
    }

    async fn scan(self: &Arc<Self>, mut start: Start) -> Result<u64> {
        let mut found = 0;
        loop {
            match self.write(Task::Scan { limit: AT_ONCE, start }).await? {
                Answer::Progress(done) => {
                    found += done.changed;
                    if !done.more {
                        break;
                    }
                }
                other => return Err(mixed_up(&other)),
            }
            start = Start::No;
        }
        if found > 0 && !self.is_degraded {
            tracing::warn!(
                found,
                "a scan found changes that no trigger had told of; see `ezdfs schema check`"
            );
        }
        Ok(found)
    }

    fn scan_pause(&self) -> Duration {
        if self.is_degraded { self.options.scan_pause } else { SAFETY }
    }
}

/// One step of the walk; `more` until it is through.
pub(super) async fn step<D: Dialect>(
    transaction: &mut Transaction<'_, D>,
    limit: u32,
    start: Start,
) -> Result<Progress> {
    let sql = &transaction.server.sql;
    let now = transaction.now;
    let found = transaction
        .rows("read the schema", &sql.lock_meta, params![CURSOR], |row| {
            Ok(decode::text(row, 0)?.unwrap_or_default())
        })
        .await?;
    let cursor = match found.first() {
        Some(text) => text.parse()?,
        None if start == Start::Due && !transaction.server.is_degraded => {
            return note(transaction, Cursor::Idle { until: now.plus(SAFETY) }, 0, 0).await;
        }
        None => Cursor::Idle { until: now },
    };
    let first = Cursor::Rows { since: now, after: String::new() };
    let cursor = match (start, cursor) {
        (Start::Anew, _) => first,
        (Start::Due, Cursor::Idle { until }) if until <= now => first,
        (_, under_way) => under_way,
    };
    let (next, seen, changed) = match cursor {
        Cursor::Idle { .. } => return Ok(Progress::default()),
        Cursor::Rows { since, after } => rows(transaction, since, &after, limit).await?,
        Cursor::Entries { since, after } => entries(transaction, since, &after, limit).await?,
    };
    note(transaction, next, seen, changed).await
}

async fn note<D: Dialect>(
    transaction: &mut Transaction<'_, D>,
    next: Cursor,
    seen: u64,
    changed: u64,
) -> Result<Progress> {
    let sql = &transaction.server.sql;
    let params = params![CURSOR, next.to_string()];
    transaction.run("note how far the scan is", &sql.set_meta, params).await?;
    Ok(Progress { seen, changed, more: !matches!(next, Cursor::Idle { .. }) })
}

type Step = (Cursor, u64, u64);

async fn rows<D: Dialect>(
    transaction: &mut Transaction<'_, D>,
    since: Timestamp,
    after: &str,
    limit: u32,
) -> Result<Step> {
    let sql = &transaction.server.sql;
    let params = params![after, i64::from(limit.max(1))];
    let batch = transaction
        .rows("read the base table", &sql.walk, params, |row| {
            let hash = decode::text(row, decode::BEHIND)?.unwrap_or_default();
            Ok((hash, decode::stored(row)?))
        })
        .await?;
    let mut changed = 0;
    for (hash, stored) in &batch {
        if let (true, Some(base)) = (is_untold(hash, stored), &stored.base) {
            tell(transaction, FOUND, hash, &base.name).await?;
            changed += 1;
        }
    }
    let next = match batch.last() {
        Some((last, _)) => Cursor::Rows { since, after: last.clone() },
        None => Cursor::Entries { since, after: String::new() },
    };
    Ok((next, count(batch.len()), changed))
}

/// Whether the materialiser would have something to do.
fn is_untold(hash: &str, stored: &Stored) -> bool {
    let Some(base) = &stored.base else { return false };
    match &stored.node {
        None => {
            base.visible()
                && is_listable(&base.name)
                && Name::from_row(&base.name).hash().to_hex() == hash
        }
        // A directory, or another name with the same MD5, stands there: nothing will change that.
        Some(node) if stored.is_dir() || !stands_at(node, Place::of(&base.name)) => false,
        Some(node) => !node.belongs_to(base),
    }
}

async fn entries<D: Dialect>(
    transaction: &mut Transaction<'_, D>,
    since: Timestamp,
    after: &str,
    limit: u32,
) -> Result<Step> {
    let sql = &transaction.server.sql;
    let params = params![after, i64::from(limit.max(1))];
    let batch = transaction
        .rows("read the entries", &sql.orphans, params, |row| {
            let text = |at| Ok::<_, sqlx::Error>(decode::text(row, at)?.unwrap_or_default());
            Ok(Orphan { hash: text(0)?, basename: text(1)?, parent: text(2)? })
        })
        .await?;
    let changed = count(batch.len());
    let names = dir_names(transaction, batch.iter().filter_map(|o| o.parent.parse().ok())).await?;
    let mut nameless = Vec::new();
    for orphan in &batch {
        let parent = orphan.parent.parse().ok().and_then(|hash: NameHash| names.get(&hash));
        let name = parent.map(|parent| join(parent, &orphan.basename));
        match name.filter(|name| Name::from_row(name).hash().to_hex() == orphan.hash) {
            Some(name) => tell(transaction, "delete", &orphan.hash, &name).await?,
            None => nameless.extend(orphan.hash.parse::<NameHash>().ok()),
        }
    }
    take_away(transaction, &nameless).await?;
    let next = match batch.last() {
        Some(last) => Cursor::Entries { since, after: last.hash.clone() },
        None => {
            let now = transaction.now;
            let took = now.since(since);
            let server = transaction.server;
            Cursor::Idle { until: now.plus(server.scan_pause().max(took * (SHARE - 1))) }
        }
    };
    Ok((next, count(batch.len()), changed))
}

/// An entry of a file that has no row.
struct Orphan {
    hash: String,
    basename: String,
    parent: String,
}

fn join(dir: &str, basename: &str) -> String {
    if dir.is_empty() { basename.to_owned() } else { format!("{dir}/{basename}") }
}

/// Names of directories, as far as there are entries all the way up.
async fn dir_names<D: Dialect>(
    transaction: &mut Transaction<'_, D>,
    dirs: impl Iterator<Item = NameHash>,
) -> Result<BTreeMap<NameHash, String>> {
    let sql = &transaction.server.sql;
    let root = Name::from_row("").hash();
    let wanted: BTreeSet<NameHash> = dirs.collect();
    let mut known: BTreeMap<NameHash, (NameHash, String)> = BTreeMap::new();
    let mut unknown = wanted.clone();
    for _ in 0..DEEPEST {
        unknown.remove(&root);
        if unknown.is_empty() {
            break;
        }
        let params = params![hexes(&unknown)];
        let rows = transaction.rows("read directories", &sql.nodes_keep, params, |row| {
            Ok((decode::text(row, decode::BEHIND)?.unwrap_or_default(), decode::stored(row)?.node))
        });
        let mut above = BTreeSet::new();
        for (hash, node) in rows.await? {
            let Some(node) = node.filter(|node| node.kind == NodeKind::Directory) else { continue };
            let Ok(hash) = hash.parse() else { continue };
            if !known.contains_key(&node.parent) {
                above.insert(node.parent);
            }
            known.insert(hash, (node.parent, node.basename));
        }
        unknown = above;
    }
    let name_of = |dir: &NameHash| {
        let mut name = String::new();
        let mut at = *dir;
        for _ in 0..DEEPEST {
            if at == root {
                return Some(name);
            }
            let (parent, basename) = known.get(&at)?;
            name = if name.is_empty() { basename.clone() } else { format!("{basename}/{name}") };
            at = *parent;
        }
        None
    };
    Ok(wanted.iter().filter_map(|dir| Some((*dir, name_of(dir)?))).collect())
}

/// Removes entries that no listing shows, because no directory leads to them. Nobody can be told.
async fn take_away<D: Dialect>(
    transaction: &mut Transaction<'_, D>,
    hashes: &[NameHash],
) -> Result<()> {
    if hashes.is_empty() {
        return Ok(());
    }
    let sql = &transaction.server.sql;
    let hash = |row: &D::Row| Ok(decode::text(row, decode::BEHIND)?.unwrap_or_default());
    let params = || params![hexes(hashes)];
    // Locked, and then looked at again: one of us may have published there meanwhile.
    let locked = transaction.rows("lock entries", &sql.nodes_change, params(), |row| {
        Ok((hash(row)?, decode::stored(row)?))
    });
    let locked = locked.await?;
    let bases: BTreeSet<String> = transaction
        .rows("read the base table", &sql.bases, params(), hash)
        .await?
        .into_iter()
        .collect();
    let gone: Vec<NameHash> = locked
        .iter()
        .filter(|(hash, stored)| !stored.is_dir() && !bases.contains(hash))
        .filter_map(|(hash, _)| hash.parse().ok())
        .collect();
    if gone.is_empty() { Ok(()) } else { transaction.delete_nodes(&gone).await }
}

async fn tell<D: Dialect>(
    transaction: &mut Transaction<'_, D>,
    op: &str,
    hash: &str,
    name: &str,
) -> Result<()> {
    let at = transaction.now.millis();
    let params = params![op, hash, name, None::<String>, at];
    let sql = &transaction.server.sql;
    transaction.run("write to the change feed", &sql.tell, params).await.map(drop)
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_as_they_are_written() {
        let time = Timestamp::from_nanos(1_700_000_000_123_456_789);
        for cursor in [
            Cursor::Idle { until: time },
            Cursor::Rows { since: time, after: String::new() },
            Cursor::Entries { since: time, after: "0123:4".to_owned() },
        ] {
            assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        }
        for wrong in ["", "idle", "idle:1", "idle:x:", "other:1:"] {
            assert!(wrong.parse::<Cursor>().is_err(), "{wrong}");
        }
    }
}
