//! What errors mean: mariadb.com/kb/en/mariadb-error-codes, and MySQL's error reference.

use ezdfs_core::ErrorKind as K;
use sqlx::mysql::MySqlDatabaseError;

use crate::server::dialect::Fault;

/// The number that says that a table is not there.
pub(super) const NO_SUCH_TABLE: u16 = 1146;

/// The server's number of an error.
pub(super) fn number(e: &sqlx::Error) -> Option<u16> {
    Some(e.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>()?.number())
}

/// What a failed statement means.
pub(super) fn of(e: &sqlx::Error) -> Fault {
    let Some(number) = number(e) else {
        return match e {
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
                Fault::Lost
            }
            sqlx::Error::Tls(_) => {
                Fault::Other(K::Unavailable, "; the encrypted connection cannot be made")
            }
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                Fault::Other(K::Corrupt, "")
            }
            _ => Fault::Other(K::Unavailable, ""),
        };
    };
    match by_number(number) {
        Some(fault) => fault,
        // What the server says of the connection and not of the statement.
        None if e
            .as_database_error()
            .and_then(|e| e.code())
            .is_some_and(|c| c.starts_with("08")) =>
        {
            Fault::Lost
        }
        None => Fault::Other(K::Unavailable, ""),
    }
}

fn by_number(number: u16) -> Option<Fault> {
    Some(match number {
        // A deadlock or a certification conflict, one over the numbers of a table, a lock that was
        // waited for or not to be waited for, a row that changed since the snapshot.
        1213 | 1467 | 1205 | 3572 | 1020 => Fault::Again,
        1062 => Fault::Duplicate,
        // Too many connections, shutting down, a connection that was cut, killed or is gone; a
        // Galera node that left its cluster.
        1040 | 1053 | 1077 | 1079 | 1927 | 2006 | 2013 | 1047 => Fault::Lost,
        1969 | 3024 => Fault::Other(K::TimedOut, "; the statement took too long"),
        1045 | 1698 => Fault::Other(K::PermissionDenied, "; check user and password"),
        1044 | 1142 | 1143 | 1227 | 1370 => Fault::Other(
            K::PermissionDenied,
            "; the user lacks a privilege, see `ezdfs schema check`",
        ),
        1049 => Fault::Other(K::Config, "; there is no such database"),
        NO_SUCH_TABLE | 1054 => {
            Fault::Other(K::Config, "; a table or column is missing, see `ezdfs schema check`")
        }
        1665 => Fault::Other(
            K::Config,
            "; the server's binlog_format is STATEMENT, set it to ROW or MIXED",
        ),
        1290 | 1792 | 1836 => Fault::Other(K::ReadOnly, "; the server takes no writes"),
        1021 | 1114 => Fault::Other(K::NoSpace, "; the server's disk is full"),
        1203 | 1226 | 1461 => {
            Fault::Other(K::Unavailable, "; a limit of the server or of its user is reached")
        }
        1071 | 1406 => Fault::Other(K::TooLarge, "; a name is too long for this database"),
        // A character set without that character, as of an old table.
        1300 | 1366 | 3854 => {
            Fault::Other(K::InvalidPath, "; the database cannot hold such a name")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_mean_something() {
        for again in [1213, 1467, 1205, 3572, 1020] {
            assert_eq!(by_number(again), Some(Fault::Again), "{again}");
        }
        assert_eq!(by_number(1062), Some(Fault::Duplicate));
        for lost in [1040, 2006, 2013, 1053, 1927] {
            assert_eq!(by_number(lost), Some(Fault::Lost), "{lost}");
        }
        for (number, kind) in [
            (3024, K::TimedOut),
            (1969, K::TimedOut),
            (1142, K::PermissionDenied),
            (1146, K::Config),
            (1290, K::ReadOnly),
            (1114, K::NoSpace),
            (1406, K::TooLarge),
            (1366, K::InvalidPath),
        ] {
            let found = by_number(number);
            assert!(matches!(found, Some(Fault::Other(k, _)) if k == kind), "{number}: {found:?}");
        }
        assert_eq!(by_number(1064), None);
        assert_eq!(of(&sqlx::Error::WorkerCrashed), Fault::Lost);
    }
}
