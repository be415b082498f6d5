//! A reader of the change feed, on a connection of its own.
//!
//! Numbers are given by AUTOINCREMENT in the transaction that commits them, and SQLite has one
//! writer at a time: they are consecutive, and their order is the order of the commits. So the last
//! number told is all that a reader has to remember, and rows that were deleted before they were
//! told (a trim, an emptied or a new table) show as a hole, or as a last number in
//! `sqlite_sequence` that the rows do not reach.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use ezdfs_core::{Clock, FeedEvent, FeedOp, FeedPoll, FeedReader, FeedStart, Result, Timestamp};
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::{SqliteOptions, connect, decode, error};

/// The number that was given last, whether its row is still there or not.
const LAST: &str =
    "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'ezdfs_change'), 0)";

/// The next rows, each behind the last number; one row without a change when there is none. One
/// statement, so that both are of one moment.
const NEXT: &str = "SELECT l.last, c.seq, c.op, c.name, c.origin, c.at FROM \
     (SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'ezdfs_change'), 0) AS last) l \
     LEFT JOIN (SELECT seq, op, name, origin, at FROM ezdfs_change \
     WHERE seq > ?1 ORDER BY seq LIMIT ?2) c ORDER BY c.seq";

#[derive(Debug)]
pub(super) struct Reader {
    file: PathBuf,
    options: SqliteOptions,
    clock: Arc<dyn Clock>,
    /// `None` after a poll that failed or was given up.
    connection: Option<Connection>,
    /// The number that was told last.
    position: i64,
    /// The last poll left rows behind.
    behind: bool,
}

#[derive(Debug)]
struct Connection {
    conn: SqliteConnection,
    /// `PRAGMA data_version` of the last poll: it changes with each commit of another connection.
    version: Option<i64>,
}

impl Reader {
    pub(super) async fn open(
        file: PathBuf,
        options: SqliteOptions,
        clock: Arc<dyn Clock>,
        start: FeedStart,
    ) -> Result<Self> {
        let mut conn = connect::follower(&file, &options).await?;
        let position = match start {
            FeedStart::Now => number(&mut conn, LAST)
                .await
                .map_err(|e| error::database(&file, "read the change feed", e))?,
            FeedStart::After(seq) => i64::try_from(seq).unwrap_or(i64::MAX),
        };
        let connection = Some(Connection { conn, version: None });
        Ok(Self { file, options, clock, connection, position, behind: false })
    }

    async fn read(&mut self, connection: &mut Connection, limit: u32) -> Result<FeedPoll> {
        let failed = |e| error::database(&self.file, "read the change feed", e);
        let version = number(&mut connection.conn, "PRAGMA data_version").await.map_err(failed)?;
        if connection.version == Some(version) && !self.behind {
            return Ok(FeedPoll::default());
        }
        let rows = sqlx::query(NEXT)
            .bind(self.position)
            .bind(limit.max(1))
            .fetch_all(&mut connection.conn)
            .await
            .map_err(failed)?;
        let mut last = 0;
        let mut expected = self.position.saturating_add(1);
        let mut poll = FeedPoll::default();
        for row in &rows {
            last = decode::int(row, 0).map_err(failed)?.unwrap_or_default();
            if let Some((seq, event)) = event(row).map_err(failed)? {
                poll.lost |= seq != expected;
                expected = seq.saturating_add(1);
                poll.events.push(event);
            }
        }
        let told = expected.saturating_sub(1);
        let is_full = u32::try_from(poll.events.len()).is_ok_and(|n| n >= limit.max(1));
        poll.more = is_full && told < last;
        if !poll.more && told != last {
            // Rows are gone, or the table is another one by now.
            poll.lost = true;
        }
        self.position = if poll.more { told } else { last };
        self.behind = poll.more;
        connection.version = Some(version);
        Ok(poll)
    }
}

#[async_trait]
impl FeedReader for Reader {
    /// Every commit is in the one file that this connection reads: a poll that has seen it proves
    /// by itself that nothing older is missing. So the heartbeat is the time before the poll, and
    /// nobody has to write one.
    async fn poll(&mut self, limit: u32) -> Result<FeedPoll> {
        let now = self.clock.now();
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection {
                conn: connect::follower(&self.file, &self.options).await?,
                version: None,
            },
        };
        let mut poll = self.read(&mut connection, limit).await?;
        self.connection = Some(connection);
        poll.heartbeat = (!poll.more).then_some(now);
        Ok(poll)
    }
}

fn event(row: &SqliteRow) -> Result<Option<(i64, FeedEvent)>, sqlx::Error> {
    let Some(seq) = decode::int(row, 1)? else { return Ok(None) };
    let event = FeedEvent {
        seq: u64::try_from(seq).unwrap_or_default(),
        op: FeedOp::from_row(&decode::text(row, 2)?.unwrap_or_default()),
        name: decode::text(row, 3)?.unwrap_or_default(),
        origin: decode::text(row, 4)?,
        at: Timestamp::from_millis(decode::int(row, 5)?.unwrap_or_default()),
    };
    Ok(Some((seq, event)))
}

async fn number(conn: &mut SqliteConnection, query: &'static str) -> Result<i64, sqlx::Error> {
    let row = sqlx::query(query).fetch_one(conn).await?;
    Ok(decode::int(&row, 0)?.unwrap_or_default())
}
