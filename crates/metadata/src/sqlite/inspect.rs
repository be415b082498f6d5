//! What `ezdfs schema` does beyond installing: looks at a database without touching it, and takes
//! away what ezdfs added.

use std::collections::BTreeMap;
use std::path::Path;

use ezdfs_core::{Error, ErrorKind, Result};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _};

use super::schema::{FEED_TRIGGERS, SIDE_TABLES, VERSION, ddl, meta};
use super::{SqliteOptions, connect, decode, error};

/// What a database lacks; nothing when it is as this ezdfs makes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// One line each, for people.
    pub lines: Vec<String>,
    /// Nothing of ezdfs is there at all.
    pub not_installed: bool,
}

/// Objects of a database by name: kind and defining statement.
type Objects = BTreeMap<String, (String, String)>;

/// Compares a database with what [`ddl`] makes. Changes nothing, and makes no file.
///
/// # Errors
/// When the database cannot be read.
pub async fn check(file: &Path, table: &str) -> Result<Findings> {
    let mut findings = Findings::default();
    if !file.exists() {
        findings.not_installed = true;
        findings.lines.push(format!("{} does not exist", file.display()));
        return Ok(findings);
    }
    let wanted = wanted(table).await?;
    let failed = |e| error::database(file, "read the schema", e);
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let mut conn = options.disable_statement_logging().connect().await.map_err(failed)?;
    let found = objects(&mut conn).await.map_err(failed)?;
    findings.not_installed = !SIDE_TABLES.iter().any(|t| found.contains_key(*t));
    for (name, (kind, statement)) in &wanted {
        match found.get(name) {
            None => findings.lines.push(format!("{kind} {name} is missing")),
            // Ibexa makes the base table and its indexes in its own words.
            Some(_) if name.starts_with(table) => {}
            Some((_, other)) if other != statement => {
                findings.lines.push(format!("{kind} {name} is not as this version makes it"));
            }
            Some(_) => {}
        }
    }
    if found.contains_key(table) {
        let columns = columns(&mut conn, table).await.map_err(failed)?;
        for column in self::columns(&mut memory(table).await?, table).await.map_err(failed)? {
            if !columns.contains(&column) {
                findings.lines.push(format!("table {table} has no column {column}"));
            }
        }
    }
    if found.contains_key("ezdfs_meta") {
        let version = meta(&mut conn, "schema_version").await.map_err(failed)?;
        if version.as_deref() != Some(&VERSION.to_string()) {
            let version = version.unwrap_or_else(|| "no version".to_owned());
            findings.lines.push(format!("schema version {version}, and this ezdfs has {VERSION}"));
        }
        let base = meta(&mut conn, "base_table").await.map_err(failed)?;
        if let Some(base) = base.filter(|base| base != table) {
            findings.lines.push(format!("it serves the table {base}, not {table}"));
        }
        if meta(&mut conn, "backfill").await.map_err(failed)?.is_some() {
            findings.lines.push("existing rows still wait for their entries".to_owned());
        }
    }
    Ok(findings)
}

/// Drops the triggers, then the side tables, in one transaction; the base table and its rows stay.
/// Says what was dropped. Unless `force`, pending work is not thrown away.
///
/// # Errors
/// [`ErrorKind::Busy`] while work is pending, [`ErrorKind::NotFound`] without a database, or what
/// SQLite says.
pub async fn uninstall(file: &Path, force: bool) -> Result<Vec<&'static str>> {
    if !file.exists() {
        return Err(Error::not_found(file.display()));
    }
    let mut conn = connect::writer(file, &SqliteOptions::default()).await?;
    connect::begin(&mut conn, file).await?;
    let dropped = drop_all(&mut conn, file, force).await;
    let end = if dropped.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = sqlx::query(end).execute(&mut conn).await;
    let dropped = dropped?;
    ended.map_err(|e| error::database(file, "remove the schema", e))?;
    Ok(dropped)
}

async fn drop_all(
    conn: &mut SqliteConnection,
    file: &Path,
    force: bool,
) -> Result<Vec<&'static str>> {
    let failed = |e| error::database(file, "remove the schema", e);
    let found = objects(conn).await.map_err(failed)?;
    if found.contains_key("ezdfs_pending") && !force {
        let pending = sqlx::query("SELECT count(*) FROM ezdfs_pending WHERE state <> 'ended'")
            .fetch_one(&mut *conn)
            .await
            .and_then(|row| decode::int(&row, 0))
            .map_err(failed)?;
        if let Some(pending) = pending.filter(|n| *n > 0) {
            return Err(Error::new(
                ErrorKind::Busy,
                format!(
                    "{pending} pieces of work are pending, e.g. bytes of deleted files: run `ezdfs \
                     gc` first, or use --force to forget them"
                ),
            ));
        }
    }
    let mut dropped = Vec::new();
    let triggers = FEED_TRIGGERS.iter().map(|name| ("TRIGGER", name));
    for (kind, name) in triggers.chain(SIDE_TABLES.iter().map(|name| ("TABLE", name))) {
        if found.contains_key(*name) {
            let statement = AssertSqlSafe(format!("DROP {kind} {name}"));
            sqlx::query(statement).execute(&mut *conn).await.map_err(failed)?;
            dropped.push(*name);
        }
    }
    Ok(dropped)
}

/// What [`ddl`] makes.
async fn wanted(table: &str) -> Result<Objects> {
    let failed = |e| error::database(Path::new(":memory:"), "make the schema", e);
    objects(&mut memory(table).await?).await.map_err(failed)
}

async fn memory(table: &str) -> Result<SqliteConnection> {
    let failed = |e| error::database(Path::new(":memory:"), "make the schema", e);
    let options = SqliteConnectOptions::new().in_memory(true).disable_statement_logging();
    let mut conn = options.connect().await.map_err(failed)?;
    sqlx::raw_sql(AssertSqlSafe(ddl(table)?)).execute(&mut conn).await.map_err(failed)?;
    Ok(conn)
}

async fn objects(conn: &mut SqliteConnection) -> Result<Objects, sqlx::Error> {
    let statement = "SELECT name, type, sql FROM sqlite_master WHERE sql IS NOT NULL \
                     AND substr(name, 1, 7) <> 'sqlite_'";
    let rows = sqlx::query(statement).fetch_all(conn).await?;
    rows.iter()
        .map(|row| {
            let text = |i| decode::text(row, i).map(Option::unwrap_or_default);
            Ok((text(0)?, (text(1)?, text(2)?)))
        })
        .collect()
}

async fn columns(conn: &mut SqliteConnection, table: &str) -> Result<Vec<String>, sqlx::Error> {
    let statement = "SELECT name FROM pragma_table_info(?)";
    let rows = sqlx::query(statement).bind(table.to_owned()).fetch_all(conn).await?;
    rows.iter().map(|row| decode::text(row, 0).map(Option::unwrap_or_default)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ezdfs_core::SystemClock;

    use super::*;
    use crate::SqliteMetadata;

    async fn install(file: &Path) {
        let clock = Arc::new(SystemClock);
        SqliteMetadata::open(file, SqliteOptions::default(), clock).await.unwrap();
    }

    async fn run(file: &Path, statement: &'static str) {
        let options = SqliteConnectOptions::new().filename(file);
        let mut conn = options.connect().await.unwrap();
        sqlx::raw_sql(statement).execute(&mut conn).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_installed_is_found_as_it_should_be() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("db");
        let before = check(&file, "ezdfsfile").await.unwrap();
        assert!(before.not_installed && !file.exists(), "{before:?}");
        install(&file).await;
        assert_eq!(check(&file, "ezdfsfile").await.unwrap(), Findings::default());
        let other = check(&file, "ibexa_dfs_file").await.unwrap();
        assert!(other.lines.iter().any(|l| l.contains("serves the table ezdfsfile")), "{other:?}");
    }

    #[tokio::test]
    async fn what_is_missing_or_different_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("db");
        install(&file).await;
        run(
            &file,
            "DROP TRIGGER ezdfs_feed_delete; DROP TRIGGER ezdfs_feed_insert; \
             CREATE TRIGGER ezdfs_feed_insert AFTER INSERT ON ezdfsfile BEGIN SELECT 1; END; \
             UPDATE ezdfs_meta SET value = '0' WHERE key = 'schema_version'",
        )
        .await;
        let found = check(&file, "ezdfsfile").await.unwrap();
        assert_eq!(
            found.lines,
            [
                "trigger ezdfs_feed_delete is missing",
                "trigger ezdfs_feed_insert is not as this version makes it",
                "schema version 0, and this ezdfs has 1",
            ]
        );
    }

    #[tokio::test]
    async fn uninstall_leaves_the_base_table_and_its_rows() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("db");
        assert_eq!(uninstall(&file, false).await.unwrap_err().kind(), ErrorKind::NotFound);
        install(&file).await;
        run(&file, "INSERT INTO ezdfsfile (name, name_trunk, name_hash) VALUES ('a', 'a', 'h')")
            .await;
        let dropped = uninstall(&file, false).await.unwrap();
        assert_eq!(dropped.len(), FEED_TRIGGERS.len() + SIDE_TABLES.len());
        let triggers = dropped.iter().position(|n| *n == "ezdfs_node").unwrap();
        assert_eq!(dropped[..triggers], FEED_TRIGGERS);
        let options = SqliteConnectOptions::new().filename(&file);
        let mut conn = options.connect().await.unwrap();
        let left: Vec<String> = objects(&mut conn).await.unwrap().into_keys().collect();
        assert!(left.iter().all(|name| name.starts_with("ezdfsfile")), "{left:?}");
        let rows =
            sqlx::query("SELECT count(*) FROM ezdfsfile").fetch_one(&mut conn).await.unwrap();
        assert_eq!(decode::int(&rows, 0).unwrap(), Some(1));
        assert!(uninstall(&file, false).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn pending_work_is_not_thrown_away_without_force() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("db");
        install(&file).await;
        run(
            &file,
            "INSERT INTO ezdfs_pending (kind, prefix, path, path_hash, subtree, token, owner, state, \
             lease_end) VALUES ('reap', '', 'a', 'h', 0, 't', 'o', 'queued', 0)",
        )
        .await;
        assert_eq!(uninstall(&file, false).await.unwrap_err().kind(), ErrorKind::Busy);
        assert_eq!(check(&file, "ezdfsfile").await.unwrap(), Findings::default());
        assert!(!uninstall(&file, true).await.unwrap().is_empty());
    }
}
