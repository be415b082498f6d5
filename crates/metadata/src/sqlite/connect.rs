//! Connections: one writer, a pool of readers, and where a database may live.

use std::path::Path;
use std::time::Duration;

use ezdfs_core::{Entropy, Error, ErrorKind, OsEntropy, Result};
use rustix::fs::FsWord;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions as _};

use super::{SqliteOptions, error};

/// How often a lock that outlasts `busy_timeout` is tried again.
const BUSY_TRIES: u32 = 3;
/// How often the switch to WAL is tried while others open the same new database: it does not wait.
const OPEN_TRIES: u32 = 40;
/// Longest pause between these tries.
const BUSY_PAUSE: Duration = Duration::from_millis(100);
/// How long a read waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Page cache of one connection, in KiB (negative by SQLite's convention): the inner pages of every
/// index of a table of some million rows stay in it, so that a look-up reads leaves only.
const CACHE_SIZE: &str = "-8192";
/// Rows that travel to the reader at once: a page of a directory is read without waiting.
const ROW_BUFFER: usize = 1024;
/// Page caches, in KiB when negative (sqlite.org/pragma.html#pragma_cache_size). Hashes are
/// scattered over the indexes, so a writer with a small cache reads and spills all the time; what
/// readers miss is mostly in the page cache of the system.
const WRITER_CACHE: &str = "-32768";
const READER_CACHE: &str = "-4096";
/// A follower reads the end of one table.
const FOLLOWER_CACHE: &str = "-256";

/// The connection that writes. Its changes are marked in the feed as ours.
pub(super) async fn writer(file: &Path, options: &SqliteOptions) -> Result<SqliteConnection> {
    let connect = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .busy_timeout(options.busy_timeout)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("cache_size", WRITER_CACHE)
        .row_buffer_size(ROW_BUFFER)
        .disable_statement_logging();
    let mut tries = 0;
    loop {
        // The switch to WAL needs the database for itself and does not always wait for it.
        match connect.connect().await {
            Ok(conn) => return Ok(conn),
            Err(e) if error::is_busy(&e) && tries < OPEN_TRIES => {
                tries += 1;
                pause().await;
            }
            Err(e) => return Err(error::database(file, "open the database", e)),
        }
    }
}

/// Marks each feed row that this connection causes, in the statement that causes it.
pub(super) async fn mark_own_changes(
    conn: &mut SqliteConnection,
    file: &Path,
    origin: &str,
) -> Result<()> {
    let origin: String = origin.chars().filter(|c| !c.is_control()).collect();
    let origin = origin.replace('\'', "''");
    let trigger = format!(
        "CREATE TEMP TRIGGER IF NOT EXISTS ezdfs_mark AFTER INSERT ON main.ezdfs_change BEGIN \
         UPDATE ezdfs_change SET origin = '{origin}' WHERE seq = NEW.seq; END"
    );
    sqlx::raw_sql(AssertSqlSafe(trigger))
        .execute(conn)
        .await
        .map(drop)
        .map_err(|e| error::database(file, "prepare the connection", e))
}

/// The connections that read.
pub(super) fn readers(file: &Path, options: &SqliteOptions) -> SqlitePool {
    let connect = SqliteConnectOptions::new()
        .filename(file)
        .read_only(true)
        .pragma("cache_size", CACHE_SIZE)
        .busy_timeout(options.busy_timeout)
        .pragma("cache_size", READER_CACHE)
        .row_buffer_size(ROW_BUFFER)
        .disable_statement_logging();
    SqlitePoolOptions::new()
        .max_connections(options.readers.max(1))
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(connect)
}

/// The connection of one reader of the change feed.
pub(super) async fn follower(file: &Path, options: &SqliteOptions) -> Result<SqliteConnection> {
    SqliteConnectOptions::new()
        .filename(file)
        .read_only(true)
        .busy_timeout(options.busy_timeout)
        .pragma("cache_size", FOLLOWER_CACHE)
        .row_buffer_size(ROW_BUFFER)
        .disable_statement_logging()
        .connect()
        .await
        .map_err(|e| error::database(file, "open the database", e))
}

/// Starts a write transaction; waits for other processes, but not for ever.
pub(super) async fn begin(conn: &mut SqliteConnection, file: &Path) -> Result<()> {
    let mut tries = 0;
    loop {
        match sqlx::query("BEGIN IMMEDIATE").execute(&mut *conn).await {
            Ok(_) => return Ok(()),
            Err(e) if error::is_busy(&e) && tries + 1 < BUSY_TRIES => {
                tries += 1;
                pause().await;
            }
            Err(e) => return Err(error::database(file, "start a write", e)),
        }
    }
}

/// Ends a transaction without its changes. SQLite may have done so already.
pub(super) async fn roll_back(conn: &mut SqliteConnection) {
    if let Err(e) = sqlx::query("ROLLBACK").execute(conn).await {
        tracing::debug!(error = %e, "nothing to roll back");
    }
}

async fn pause() {
    tokio::time::sleep(OsEntropy.jitter(BUSY_PAUSE)).await;
}

/// Refuses a file system on which WAL does not work: its shared memory needs one machine.
pub(super) fn check_file_system(file: &Path) -> Result<()> {
    let directory = file.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The file may be a link to another file system, or may not exist yet.
    let found = rustix::fs::statfs(file).or_else(|_| rustix::fs::statfs(directory));
    let found = found.map_err(|e| {
        Error::new(
            ErrorKind::Config,
            format!(
                "database {}: directory {} cannot be used; make it first",
                file.display(),
                directory.display()
            ),
        )
        .with_source(std::io::Error::from(e))
    })?;
    match shared_file_system(found.f_type) {
        None => Ok(()),
        Some(kind) => Err(Error::new(
            ErrorKind::Config,
            format!(
                "database {} is on {kind}, where SQLite cannot be shared safely: put it on a local disk, or use MySQL or PostgreSQL for several machines",
                file.display()
            ),
        )),
    }
}

/// Magic numbers of statfs(2).
fn shared_file_system(magic: FsWord) -> Option<&'static str> {
    match magic {
        0x6969 => Some("NFS"),
        0x6573_5546 => Some("a FUSE mount"),
        0xFF53_4D42 | 0xFE53_4D42 | 0x517B => Some("an SMB share"),
        0x0102_1997 => Some("a 9P share"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_shared_file_systems_only() {
        assert_eq!(shared_file_system(0x6969), Some("NFS"));
        assert_eq!(shared_file_system(0x6573_5546), Some("a FUSE mount"));
        let local = [0xEF53, 0x0102_1994, 0x9123_683E_u32, 0x794C_7630, 0x5846_5342];
        for magic in local {
            assert_eq!(shared_file_system(FsWord::from(magic)), None, "{magic:x}");
        }
    }

    #[test]
    fn names_a_missing_directory() {
        let e = check_file_system(Path::new("/no/such/directory/ezdfs.db")).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Config);
        assert!(e.to_string().contains("/no/such/directory"), "{e}");
    }
}
