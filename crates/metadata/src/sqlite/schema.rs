//! Installs the schema at first use and refuses databases that are not ours to use.

use std::path::Path;

use ezdfs_core::{Error, ErrorKind, Result};
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::bind::prepared;
use super::sql::Sql;
use super::{connect, decode, error};

/// Version of the side tables and triggers.
pub(super) const VERSION: i64 = 1;

const BASE: &str = include_str!("../../../../schema/sqlite/base.sql");
const SIDE: &str = include_str!("../../../../schema/sqlite/side.sql");
const TRIGGERS: &str = include_str!("../../../../schema/sqlite/triggers.sql");

pub(super) const SIDE_TABLES: [&str; 6] =
    ["ezdfs_node", "ezdfs_pending", "ezdfs_lease", "ezdfs_change", "ezdfs_xattr", "ezdfs_meta"];
pub(super) const FEED_TRIGGERS: [&str; 4] =
    ["ezdfs_feed_insert", "ezdfs_feed_update", "ezdfs_feed_rename", "ezdfs_feed_delete"];

/// The statements that make a database for `table`, as `schema print` shows them.
///
/// # Errors
/// [`ErrorKind::Config`] for a name that cannot be the base table's.
pub fn ddl(table: &str) -> Result<String> {
    crate::table::check(table)?;
    Ok([BASE, SIDE, TRIGGERS].map(|part| part.replace("{table}", table)).join("\n"))
}

/// Makes the database ready: checks what is there and adds what is missing. Several processes may
/// do so at once: one does it, the others find it done.
pub(super) async fn prepare(
    conn: &mut SqliteConnection,
    file: &Path,
    table: &str,
    sql: &Sql,
) -> Result<()> {
    if inspect(conn, file, table).await? {
        return Ok(());
    }
    connect::begin(conn, file).await?;
    match install(conn, file, table, sql).await {
        Ok(()) => sqlx::query("COMMIT")
            .execute(conn)
            .await
            .map(drop)
            .map_err(|e| error::database(file, "install the schema", e)),
        Err(e) => {
            connect::roll_back(conn).await;
            Err(e)
        }
    }
}

async fn install(conn: &mut SqliteConnection, file: &Path, table: &str, sql: &Sql) -> Result<()> {
    // Another process may have installed it while this one waited for the lock.
    if inspect(conn, file, table).await? {
        return Ok(());
    }
    let failed = |e| error::database(file, "install the schema", e);
    let script = ddl(table)?;
    sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut *conn).await.map_err(failed)?;
    // A table that somebody else made must have the columns and the key that the statements name.
    for statement in [&sql.put_base, &sql.record] {
        sqlx::query(AssertSqlSafe(format!("EXPLAIN {statement}")))
            .fetch_all(&mut *conn)
            .await
            .map_err(|e| {
                Error::new(
                    ErrorKind::Config,
                    format!(
                        "database {}: table `{table}` is not as Ibexa makes it; see `ezdfs schema print`",
                        file.display()
                    ),
                )
                .with_source(e)
            })?;
    }
    for (key, value) in [
        ("schema_version", VERSION.to_string()),
        ("base_table", table.to_owned()),
        ("materialised", "0".to_owned()),
        ("layout", "shared".to_owned()),
    ] {
        sqlx::query("INSERT INTO ezdfs_meta (key, value) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(key)
            .bind(value)
            .execute(&mut *conn)
            .await
            .map_err(failed)?;
    }
    // Rows that were there before the triggers get their entries now.
    sqlx::query(AssertSqlSafe(format!(
        "INSERT INTO ezdfs_meta (key, value) SELECT 'backfill', '' \
         WHERE EXISTS (SELECT 1 FROM \"{table}\") ON CONFLICT (key) DO UPDATE SET value = ''"
    )))
    .execute(&mut *conn)
    .await
    .map_err(failed)?;
    tracing::info!(file = %file.display(), table, "schema installed");
    Ok(())
}

/// Whether everything is there; refuses what another version or another table owns.
async fn inspect(conn: &mut SqliteConnection, file: &Path, table: &str) -> Result<bool> {
    let failed = |e| error::database(file, "read the schema", e);
    if !exists(conn, "ezdfs_meta").await.map_err(failed)? {
        return Ok(false);
    }
    check_version(file, meta(conn, "schema_version").await.map_err(failed)?)?;
    if let Some(other) = meta(conn, "base_table").await.map_err(failed)?
        && other != table
    {
        return Err(Error::new(
            ErrorKind::Config,
            format!(
                "database {} serves the table `{other}`, not `{table}`: one database has one base table; set `table = \"{other}\"` or use another database",
                file.display()
            ),
        ));
    }
    let wanted: Vec<&str> =
        SIDE_TABLES.iter().chain(&FEED_TRIGGERS).copied().chain([table]).collect();
    let found = sqlx::query(
        "SELECT count(*) FROM sqlite_master WHERE type IN ('table', 'trigger') \
         AND name IN (SELECT value FROM json_each(?))",
    )
    .bind(format!("[\"{}\"]", wanted.join("\",\"")))
    .fetch_one(conn)
    .await
    .and_then(|row| decode::int(&row, 0))
    .map_err(failed)?;
    Ok(found.and_then(|n| usize::try_from(n).ok()) == Some(wanted.len()))
}

fn check_version(file: &Path, version: Option<String>) -> Result<()> {
    let Some(text) = version else { return Ok(()) };
    match text.parse::<i64>() {
        Ok(VERSION) => Ok(()),
        Ok(newer) if newer > VERSION => Err(Error::new(
            ErrorKind::Config,
            format!(
                "database {} has schema version {newer}, and this ezdfs knows version {VERSION}: use the newer ezdfs that made it",
                file.display()
            ),
        )),
        _ => Err(Error::new(
            ErrorKind::Corrupt,
            format!(
                "database {} has the schema version `{text}`, which never existed",
                file.display()
            ),
        )),
    }
}

/// A value of `ezdfs_meta`.
pub(super) async fn meta(
    conn: &mut SqliteConnection,
    key: &'static str,
) -> Result<Option<String>, sqlx::Error> {
    let row = sqlx::query("SELECT value FROM ezdfs_meta WHERE key = ?")
        .bind(key)
        .fetch_optional(conn)
        .await?;
    row.map_or(Ok(None), |row| decode::text(&row, 0))
}

/// Whether rows still wait for their entries from before the triggers.
pub(super) async fn is_backfilling(conn: &mut SqliteConnection, file: &Path) -> Result<bool> {
    meta(conn, "backfill")
        .await
        .map(|cursor| cursor.is_some())
        .map_err(|e| error::database(file, "read the schema", e))
}

/// For `EXPLAIN QUERY PLAN` in tests.
pub(super) async fn plan(
    conn: &mut SqliteConnection,
    statement: &super::sql::Text,
) -> Result<Vec<String>, sqlx::Error> {
    let explained = super::sql::Text::from(format!("EXPLAIN QUERY PLAN {statement}"));
    let rows = prepared(&explained).fetch_all(conn).await?;
    rows.iter().map(|row| Ok(decode::text(row, 3)?.unwrap_or_default())).collect()
}

/// Whether a table of that name exists.
async fn exists(conn: &mut SqliteConnection, table: &str) -> Result<bool, sqlx::Error> {
    let found = sqlx::query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?")
        .bind(table.to_owned())
        .fetch_optional(conn)
        .await?;
    Ok(found.is_some_and(|row| row.len() == 1))
}
