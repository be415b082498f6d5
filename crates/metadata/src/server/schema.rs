//! `ezdfs schema` on a server: what installing, checking and removing have in common.
//!
//! Order on a live site: the triggers first, then the walk over the rows that were there before
//! them, so that nothing written meanwhile is missed.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ezdfs_core::{Clock as _, Error, ErrorKind, Result, SystemClock, Timestamp};
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::connect::Connections;
use super::dialect::{Dialect, Fault};
use super::feed::BACKFILL;
use super::findings::Findings;
use super::installed::VERSION;
use super::statement::{Statement, params};
use super::{Server, ServerOptions, TimeSource, scan};
use crate::table;

/// Side tables, in the order in which they are made.
pub(crate) const SIDE_TABLES: [&str; 6] =
    ["ezdfs_node", "ezdfs_pending", "ezdfs_lease", "ezdfs_change", "ezdfs_xattr", "ezdfs_meta"];

/// Columns of the base table that statements name.
pub(crate) const BASE_COLUMNS: [&str; 9] =
    ["name", "name_trunk", "name_hash", "datatype", "scope", "size", "mtime", "expired", "status"];

/// Longest wait of a statement that needs the base table for itself: PHP's statements queue up
/// behind it.
pub(crate) const LOCK_WAIT: Duration = Duration::from_secs(2);
/// How often such a statement is tried. With the pauses between them: some minutes of a busy site.
const TRIES: u32 = 60;
/// Pause in which PHP's statements go on.
const PAUSE: Duration = Duration::from_secs(3);
/// Rows that one transaction of the backfill places.
const BACKFILL_AT_ONCE: u32 = 500;

/// What feeds the log of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedKind {
    /// A trigger on the base table: at once.
    Trigger,
    /// A walk over the base table now and then (degraded): late.
    Scan,
}

impl FeedKind {
    /// As `ezdfs_meta` has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trigger => "trigger",
            Self::Scan => "scan",
        }
    }
}

/// What is to feed the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FeedChoice {
    /// A trigger where the user may make one, else a scan.
    #[default]
    Auto,
    /// A trigger, or nothing is installed.
    Trigger,
    /// A scan.
    Scan,
}

/// How far an installation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstallStep {
    /// Somebody uses the base table or installs too; it is tried again.
    Waiting {
        /// What for.
        what: String,
    },
    /// Tables, triggers and their like were made.
    Made(Vec<String>),
    /// Rows from before the feed get their entries.
    Backfill {
        /// Rows that are done, those of an earlier run included.
        done: u64,
        /// All rows, by the server's estimate.
        total: u64,
    },
    /// Rows that were written while there was no trigger are looked for.
    Scan,
}

/// What an installation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// What feeds the log of changes now.
    pub feed: FeedKind,
    /// Tables, triggers and their like that were made; none when all was there.
    pub made: Vec<String>,
    /// Rows from before the feed that this run looked at.
    pub backfilled: u64,
    /// What the administrator must know.
    pub warnings: Vec<String>,
}

/// What the statements of an installation did.
pub(crate) struct Made {
    pub(crate) feed: FeedKind,
    pub(crate) objects: Vec<String>,
    pub(crate) warnings: Vec<String>,
    /// The feed began in this run, on an installation that was there: rows of the time before are
    /// to be looked for.
    pub(crate) is_late: bool,
}

/// Why a step of an installation ended.
pub(crate) enum Stop {
    /// What was being done, and what the server said.
    Sql(&'static str, sqlx::Error),
    /// Somebody else does the same.
    #[cfg(feature = "mysql")]
    Busy(&'static str),
    /// For good.
    Refused(Error),
}

impl From<Error> for Stop {
    fn from(e: Error) -> Self {
        Self::Refused(e)
    }
}

/// For `map_err`: what was being done.
pub(crate) fn during(what: &'static str) -> impl Fn(sqlx::Error) -> Stop {
    move |e| Stop::Sql(what, e)
}

/// A kind of server whose schema can be made.
pub(crate) trait Installer: Dialect {
    /// Makes what is missing, the triggers included, and notes in `ezdfs_meta` what it is. Nothing,
    /// or something that a next run completes, stays of it when it fails.
    fn make(
        conn: &mut Self::Conn,
        options: &ServerOptions,
        feed: FeedChoice,
    ) -> impl Future<Output = Result<Made, Stop>> + Send;

    /// ?1 base table. About how many rows it has.
    fn estimate() -> Statement;

    /// Looks at everything and changes nothing.
    fn check(
        conn: &mut Self::Conn,
        options: &ServerOptions,
    ) -> impl Future<Output = Result<Findings, Stop>> + Send;

    /// Takes away triggers, then side tables; says what.
    fn remove(
        conn: &mut Self::Conn,
        options: &ServerOptions,
        force: bool,
    ) -> impl Future<Output = Result<Vec<String>, Stop>> + Send;
}

/// Installs, or completes an installation.
pub(crate) async fn install<D: Installer>(
    options: &ServerOptions,
    feed: FeedChoice,
    progress: &mut (dyn FnMut(InstallStep) + Send),
) -> Result<Installed> {
    table::check(&options.table)?;
    let connections = Connections::<D>::new(Arc::new(options.clone()))?;
    let job = Arc::new(options.clone());
    let made = patiently::<D, _>(&connections, progress, move |conn| {
        let options = Arc::clone(&job);
        async move { D::make(conn, &options, feed).await }.boxed()
    })
    .await?;
    let Made { feed, objects, mut warnings, is_late } = made;
    for warning in &warnings {
        tracing::warn!(place = options.place(), "{warning}");
    }
    if !objects.is_empty() {
        tracing::info!(place = options.place(), table = options.table, "schema installed");
        progress(InstallStep::Made(objects.clone()));
    }
    let (server, installed) = Server::<D>::open(options.clone()).await?;
    let server = Arc::new(server);
    let mut backfilled = 0;
    if installed.is_backfilling {
        backfilled = backfill(&server, progress).await?;
    }
    if is_late {
        progress(InstallStep::Scan);
        server.scan_all().await?;
    }
    let findings = look::<D>(&connections, options).await?;
    warnings.extend(findings.all.iter().map(ToString::to_string));
    warnings.dedup();
    Ok(Installed { feed, made: objects, backfilled, warnings })
}

async fn backfill<D: Installer>(
    server: &Arc<Server<D>>,
    progress: &mut (dyn FnMut(InstallStep) + Send),
) -> Result<u64> {
    let what = "read the schema";
    let cursor = server.meta(BACKFILL).await?.unwrap_or_default();
    let table = params![server.options.table.as_str()];
    let [rows] = server.numbers(what, &server.query(what, &D::estimate(), table).await?)?;
    let before = part_done(&cursor, rows);
    server
        .backfill(BACKFILL_AT_ONCE, |seen| {
            let done = before + seen;
            progress(InstallStep::Backfill { done, total: rows.max(done) });
        })
        .await
}

/// How many of `rows` stand before the cursor: hashes are spread evenly.
fn part_done(cursor: &str, rows: u64) -> u64 {
    let part = cursor.get(..8).and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0);
    let done = (u128::from(rows) * u128::from(part)) >> 32;
    u64::try_from(done).unwrap_or(rows)
}

/// Looks at everything and changes nothing.
pub(crate) async fn check<D: Installer>(options: &ServerOptions) -> Result<Findings> {
    table::check(&options.table)?;
    look::<D>(&Connections::<D>::new(Arc::new(options.clone()))?, options).await
}

async fn look<D: Installer>(
    connections: &Connections<D>,
    options: &ServerOptions,
) -> Result<Findings> {
    let job = Arc::new(options.clone());
    patiently::<D, _>(connections, &mut |_| {}, move |conn| {
        let options = Arc::clone(&job);
        async move { D::check(conn, &options).await }.boxed()
    })
    .await
}

/// Takes away what was installed; the base table and its rows stay.
pub(crate) async fn uninstall<D: Installer>(
    options: &ServerOptions,
    force: bool,
) -> Result<Vec<String>> {
    table::check(&options.table)?;
    let connections = Connections::<D>::new(Arc::new(options.clone()))?;
    let job = Arc::new(options.clone());
    patiently::<D, _>(&connections, &mut |_| {}, move |conn| {
        let options = Arc::clone(&job);
        async move { D::remove(conn, &options, force).await }.boxed()
    })
    .await
}

/// Runs a step again while others are in the way, with pauses in which they go on.
async fn patiently<D: Dialect, T>(
    connections: &Connections<D>,
    progress: &mut (dyn FnMut(InstallStep) + Send),
    step: impl for<'c> Fn(&'c mut D::Conn) -> BoxFuture<'c, Result<T, Stop>> + Send,
) -> Result<T> {
    let mut tries = 0;
    loop {
        let mut lent = connections.lend().await?;
        // It is not used for anything else, whatever state it is in.
        lent.is_dirty = true;
        let stop = match step(&mut lent.conn).await {
            Ok(done) => return Ok(done),
            Err(stop) => stop,
        };
        drop(lent);
        tries += 1;
        let (what, e, may_retry) = match stop {
            Stop::Refused(e) => return Err(e),
            #[cfg(feature = "mysql")]
            Stop::Busy(what) => {
                let what_is = format!("{} {}: cannot {what}", D::KIND, connections.place());
                (what, Error::new(ErrorKind::Busy, what_is), true)
            }
            Stop::Sql(what, e) => {
                let fault = D::fault(&e);
                let may_retry = matches!(fault, Fault::Again | Fault::Duplicate | Fault::Lost);
                (what, connections.failed(what, e), may_retry)
            }
        };
        if !may_retry || tries == TRIES {
            return Err(e);
        }
        tracing::info!(error = %e, what, tries, "others are in the way; it is tried again");
        progress(InstallStep::Waiting { what: what.to_owned() });
        tokio::time::sleep(PAUSE).await;
    }
}

/// What `ezdfs_meta` says of an installation that is there, or was begun.
pub(crate) struct Owner {
    /// Everything was made once.
    pub(crate) is_complete: bool,
}

/// Refuses what another version or another base table owns. `values`: what `ezdfs_meta` has.
pub(crate) fn owner<D: Dialect>(
    options: &ServerOptions,
    version: Option<&str>,
    base_table: Option<&str>,
) -> Result<Owner> {
    let wrong = |what: String| {
        Error::new(ErrorKind::Config, format!("{} {}: {what}", D::KIND, options.place()))
    };
    if let Some(other) = base_table.filter(|other| *other != options.table) {
        return Err(wrong(table::is_another(other, &options.table)));
    }
    match version.map(str::parse::<i64>) {
        None => Ok(Owner { is_complete: false }),
        Some(Ok(VERSION)) => Ok(Owner { is_complete: true }),
        Some(Ok(newer)) if newer > VERSION => Err(wrong(format!(
            "the database has schema version {newer}, and this ezdfs knows version {VERSION}: use the newer ezdfs that made it"
        ))),
        Some(_) => Err(wrong("the schema version in ezdfs_meta never existed".to_owned())),
    }
}

/// The rows of `ezdfs_meta` that an installation makes, except `feed`; those that are there stay.
/// The last one says that all is there.
pub(crate) fn meta_rows(options: &ServerOptions, feed: FeedKind) -> [(&'static str, String); 5] {
    [
        ("base_table", options.table.clone()),
        ("layout", "shared".to_owned()),
        ("trimmed", "0".to_owned()),
        first_scan(options, feed),
        ("schema_version", VERSION.to_string()),
    ]
}

/// The row of `ezdfs_meta` by which the next scan starts: at once where it is all there is.
pub(crate) fn first_scan(options: &ServerOptions, feed: FeedKind) -> (&'static str, String) {
    // Minutes more or less do not matter here, so any clock will do.
    let now = match &options.time {
        TimeSource::Clock(clock) => clock.now(),
        TimeSource::Database => SystemClock.now(),
    };
    let until = match feed {
        FeedKind::Trigger => now.plus(scan::SAFETY),
        FeedKind::Scan => Timestamp::from_nanos(0),
    };
    (scan::CURSOR, scan::Cursor::Idle { until }.to_string())
}

/// The text of a trigger or function without comments and line breaks, which clients and servers
/// treat in their own ways.
pub(crate) fn essence(body: &str) -> String {
    let lines = body.lines().map(|line| line.split_once("--").map_or(line, |(code, _)| code));
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    words.join(" ")
}

/// What to say when work is pending.
pub(crate) fn is_pending(pending: u64) -> Error {
    Error::new(
        ErrorKind::Busy,
        format!(
            "{pending} pieces of work are pending, e.g. bytes of deleted files: run `ezdfs gc` first, or use --force to forget them"
        ),
    )
}

/// What the degraded mode costs.
pub(crate) const DEGRADED: &str = "changes by PHP are found by walking the table every few seconds: they show late in listings, a file that is written again with the same size in the same second is not noticed, and each walk reads the whole table";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_off_the_cursor() {
        assert_eq!(part_done("", 1_000), 0);
        assert_eq!(part_done("80000000ffffffffffffffffffffffff", 1_000), 500);
        assert_eq!(part_done("ffffffffffffffffffffffffffffffff", 1_000), 999);
        assert_eq!(part_done("not a hash", 1_000), 0);
        assert!(part_done("ffffffff", u64::MAX) < u64::MAX);
    }

    #[test]
    fn comments_and_blanks_are_no_difference() {
        let one = "BEGIN\n    -- why\n    INSERT INTO t -- and how\n    VALUES (1);\nEND";
        assert_eq!(essence(one), "BEGIN INSERT INTO t VALUES (1); END");
        assert_eq!(essence(one), essence("BEGIN INSERT INTO t VALUES (1);\r\nEND\n"));
        assert_ne!(essence(one), essence("BEGIN INSERT INTO t VALUES (2); END"));
    }
}
