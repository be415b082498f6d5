//! From SQLite's errors to ours.

use std::path::Path;

use ezdfs_core::{Error, ErrorKind};

/// Primary result codes (sqlite.org/rescode.html).
const BUSY: i32 = 5;
const LOCKED: i32 = 6;

/// What a failed statement means, with the file and what was being done.
pub(super) fn database(file: &Path, what: &str, e: sqlx::Error) -> Error {
    let (kind, hint) = match code(&e) {
        Some(3 | 23) => (ErrorKind::PermissionDenied, "; check its owner and mode"),
        Some(BUSY | LOCKED) => (ErrorKind::Unavailable, "; another process keeps it locked"),
        Some(8) => (ErrorKind::ReadOnly, "; check the mode of file and directory"),
        Some(11 | 26) => (
            ErrorKind::Corrupt,
            "; check it with `sqlite3 FILE 'PRAGMA integrity_check'` or restore it",
        ),
        Some(13) => (ErrorKind::NoSpace, "; the disk is full"),
        Some(14) => (
            ErrorKind::Unavailable,
            "; check that its directory exists and that this process may write there",
        ),
        Some(18) => (ErrorKind::TooLarge, ""),
        _ => match &e {
            sqlx::Error::PoolTimedOut => (ErrorKind::TimedOut, "; all read connections are busy"),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => (ErrorKind::Corrupt, ""),
            _ => (ErrorKind::Unavailable, ""),
        },
    };
    Error::new(kind, format!("database {}: cannot {what}{hint}", file.display())).with_source(e)
}

/// Whether another connection's lock is in the way.
pub(super) fn is_busy(e: &sqlx::Error) -> bool {
    matches!(code(e), Some(BUSY | LOCKED))
}

/// Whether the connection itself is of no further use.
pub(super) fn is_broken(e: &sqlx::Error) -> bool {
    matches!(e, sqlx::Error::WorkerCrashed | sqlx::Error::Io(_) | sqlx::Error::Protocol(_))
        || code(e) == Some(10)
}

fn code(e: &sqlx::Error) -> Option<i32> {
    let extended: i32 = e.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}
