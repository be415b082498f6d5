//! Whether the schema is there, and ours.

use ezdfs_core::{Error, ErrorKind, Result};

use super::ServerOptions;
use super::connect::Connections;
use super::dialect::Dialect;
use super::statement::params;
use crate::decode;
use crate::table;

/// Version of the side tables and triggers.
pub(crate) const VERSION: i64 = 1;

/// What `ezdfs_meta` says of an installation.
pub(super) struct Installed {
    pub(super) is_degraded: bool,
    /// Rows from before the feed wait for their entries: nothing but the installation goes on then.
    pub(super) is_backfilling: bool,
}

/// Refuses what another version or another table owns, and what was never installed.
pub(super) async fn check<D: Dialect>(
    conn: &mut D::Conn,
    options: &ServerOptions,
    connections: &Connections<D>,
) -> Result<Installed> {
    let place = format!("{} {}", D::KIND, options.place());
    let wrong = |what: String| Error::new(ErrorKind::Config, format!("{place}: {what}"));
    let mut values = Vec::new();
    for key in ["schema_version", "base_table", "feed", "backfill"] {
        let found = D::fetch(conn, &D::meta(), params![key]).await;
        let found = match found {
            Ok(rows) => rows,
            Err(e) if D::is_missing(&e) => {
                return Err(wrong(
                    "ezdfs is not installed in this database; run `ezdfs schema install`".into(),
                ));
            }
            Err(e) => return Err(connections.failed("read the schema", e)),
        };
        let value = found.first().map(|row| decode::text(row, 0)).transpose();
        values.push(value.map_err(|e| connections.failed("read the schema", e))?.flatten());
    }
    let [version, base_table, feed, backfill] = values.as_slice() else {
        return Err(wrong("ezdfs_meta does not answer".into()));
    };
    match version.as_deref().map(str::parse::<i64>) {
        None => {
            return Err(wrong(
                "the installation was interrupted; run `ezdfs schema install` again".into(),
            ));
        }
        Some(Ok(VERSION)) => {}
        Some(Ok(newer)) if newer > VERSION => {
            return Err(wrong(format!(
                "the database has schema version {newer}, and this ezdfs knows version {VERSION}: use the newer ezdfs that made it"
            )));
        }
        Some(_) => return Err(wrong("the schema version in ezdfs_meta never existed".into())),
    }
    if let Some(other) = base_table.as_deref().filter(|other| *other != options.table) {
        return Err(wrong(table::is_another(other, &options.table)));
    }
    Ok(Installed {
        is_degraded: feed.as_deref() == Some("scan"),
        is_backfilling: backfill.is_some(),
    })
}
