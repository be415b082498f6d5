//! The reader of the change feed on PostgreSQL: exact, by snapshots.
//!
//! Numbers are given out before transactions commit, so their order says nothing about what is
//! still to come. Each row carries the transaction that wrote it; what a reader has not seen is what
//! its last snapshot did not show.

use std::sync::Arc;

use async_trait::async_trait;
use ezdfs_core::{FeedEvent, FeedOp, FeedPoll, FeedReader, FeedStart, Result, Timestamp};
use sqlx::postgres::PgRow;

use super::Postgres;
use crate::decode;
use crate::server::Server;
use crate::server::statement::{Statement, params};

/// ?1 last snapshot, ?2 the snapshot that is being told, or NULL for the present one, ?3 above
/// which number, ?4 limit, ?5 base table. A row in any case: snapshot, heartbeat, trimmed, then the
/// change, then whether the trigger is there.
///
/// What the last snapshot did not show was begun later, or was under way then: both are found by the
/// index on `xact`, however old the oldest transaction is. `{order}` says by which index: see
/// [`by_xact`] and [`by_seq`].
const POLL: &str = "SELECT s.snap::text, \
     (SELECT value::bigint FROM ezdfs_meta WHERE key = 'heartbeat'), \
     (SELECT value::bigint FROM ezdfs_meta WHERE key = 'trimmed'), \
     c.seq, c.op, c.name, c.origin, c.at, \
     (EXISTS (SELECT 1 FROM ezdfs_meta WHERE key = 'feed' AND value = 'trigger') \
       AND EXISTS (SELECT 1 FROM pg_trigger WHERE tgrelid = to_regclass(?5) \
       AND tgname = 'ezdfs_feed' AND tgenabled <> 'D'))::int::bigint \
     FROM (SELECT coalesce(?2::pg_snapshot, pg_current_snapshot()) AS snap) s \
     LEFT JOIN LATERAL (SELECT * FROM ezdfs_change c WHERE (c.xact >= pg_snapshot_xmax(?1::pg_snapshot) \
       OR c.xact = ANY(ARRAY(SELECT pg_snapshot_xip(?1::pg_snapshot)))) \
       AND pg_visible_in_snapshot(c.xact, s.snap) AND c.seq > ?3 \
       ORDER BY {order} LIMIT ?4) c ON TRUE ORDER BY c.seq";

/// Of a snapshot that was begun: little is new in it, and `+ 0` keeps the index on `seq` out of it,
/// which would be walked from its beginning.
fn by_xact() -> Statement {
    Statement::numbered(&POLL.replace("{order}", "c.seq + 0"))
}

/// Of the rest of a snapshot, or of all that there is: walks on from the number that was told last.
fn by_seq() -> Statement {
    Statement::numbered(&POLL.replace("{order}", "c.seq"))
}

/// The present snapshot, and the highest number that was ever given out in it.
const NOW: &str = "SELECT pg_current_snapshot()::text, greatest( \
     (SELECT max(seq) FROM ezdfs_change), \
     (SELECT value::bigint FROM ezdfs_meta WHERE key = 'trimmed'))";

/// The state before any change: no transaction is visible in it.
const NOTHING: &str = "1:1:";

#[derive(Debug)]
pub(super) struct Reader {
    server: Arc<Server<Postgres>>,
    by_xact: Statement,
    by_seq: Statement,
    /// All that was visible in it has been told.
    seen: String,
    /// The snapshot that is being told, when it did not fit into one poll, and the last number.
    telling: Option<(String, i64)>,
    /// Of what the first snapshot shows, nothing at or below that number is told.
    floor: i64,
    /// Highest number that was told, or that the caller knows of.
    told: i64,
    /// The caller came with a number that makes no sense here; said once.
    is_lost: bool,
}

impl Reader {
    pub(super) async fn open(server: Arc<Server<Postgres>>, start: FeedStart) -> Result<Self> {
        let mut reader = Self {
            server,
            by_xact: by_xact(),
            by_seq: by_seq(),
            seen: NOTHING.to_owned(),
            telling: None,
            floor: 0,
            told: 0,
            is_lost: false,
        };
        let what = "read the change feed";
        let rows = reader.server.query(what, &Statement::numbered(NOW), vec![]).await?;
        let Some(row) = rows.first() else { return Ok(reader) };
        let failed = |e| reader.server.connections.failed(what, e);
        let snapshot = decode::text(row, 0).map_err(failed)?.unwrap_or_default();
        let highest = decode::int(row, 1).map_err(failed)?.unwrap_or_default();
        match start {
            FeedStart::Now => {
                reader.seen = snapshot;
                reader.told = highest;
            }
            FeedStart::After(seq) => {
                reader.floor = i64::try_from(seq).unwrap_or(i64::MAX);
                // A number that was never given out is one of another log.
                reader.is_lost = reader.floor > highest;
                reader.told = reader.floor.min(highest);
            }
        }
        Ok(reader)
    }
}

fn event(row: &PgRow) -> Result<Option<FeedEvent>, sqlx::Error> {
    let Some(seq) = decode::int(row, 3)? else { return Ok(None) };
    Ok(Some(FeedEvent {
        seq: u64::try_from(seq).unwrap_or_default(),
        op: FeedOp::from_row(&decode::text(row, 4)?.unwrap_or_default()),
        name: decode::text(row, 5)?.unwrap_or_default(),
        origin: decode::text(row, 6)?,
        at: Timestamp::from_millis(decode::int(row, 7)?.unwrap_or_default()),
    }))
}

#[async_trait]
impl FeedReader for Reader {
    async fn poll(&mut self, limit: u32) -> Result<FeedPoll> {
        let limit = limit.max(1);
        let is_rest = self.telling.is_some();
        let (snapshot, after) = match &self.telling {
            Some((snapshot, after)) => (Some(snapshot.clone()), *after),
            None => (None, self.floor),
        };
        let table = format!("\"{}\"", self.server.options.table);
        let params = params![self.seen.as_str(), snapshot, after, i64::from(limit), table];
        let what = "read the change feed";
        let failed = |e| self.server.connections.failed(what, e);
        let is_walk = is_rest || self.seen == NOTHING;
        let statement = if is_walk { &self.by_seq } else { &self.by_xact };
        let rows = self.server.query(what, statement, params).await?;
        let Some(first) = rows.first() else { return Ok(FeedPoll::default()) };
        let snapshot = decode::text(first, 0).map_err(failed)?.unwrap_or_default();
        let heartbeat = decode::int(first, 1).map_err(failed)?;
        let trimmed = decode::int(first, 2).map_err(failed)?.unwrap_or_default();
        let events: Result<Vec<_>, sqlx::Error> =
            rows.iter().filter_map(|row| event(row).transpose()).collect();
        let events = events.map_err(failed)?;

        let more = u32::try_from(events.len()).is_ok_and(|n| n >= limit);
        // Rows are trimmed long after they became visible: what was trimmed above all that was told
        // was never told.
        let lost = trimmed > self.told || std::mem::take(&mut self.is_lost);
        let last = events.last().map_or(0, |e| i64::try_from(e.seq).unwrap_or(i64::MAX));
        self.told = self.told.max(last).max(trimmed);
        if more {
            self.telling = Some((snapshot, last));
        } else {
            self.seen = snapshot;
            self.telling = None;
            self.floor = 0;
        }
        // A heartbeat that was written after the snapshot covers what the snapshot does not show.
        let is_fed = decode::int(first, 8).map_err(failed)? == Some(1);
        let covers = is_fed && !more && !is_rest && !self.server.is_degraded();
        let heartbeat = heartbeat.filter(|_| covers).map(Timestamp::from_nanos);
        Ok(FeedPoll { events, more, lost, heartbeat })
    }
}
