//! Making and removing the schema on MySQL and MariaDB, where a statement that makes a table is no
//! part of any transaction. What is interrupted is completed by the next run: `schema_version` is
//! written last.

use ezdfs_core::{Error, ErrorKind, Result};
use sqlx::AssertSqlSafe;
use sqlx::mysql::{MySqlConnection, MySqlRow};

use super::check as checked;
use super::triggers::{self, FEED, Proof, TRIGGERS, prove};
use super::{Mysql, fault};
use crate::decode;
use crate::server::columns::objects;
use crate::server::dialect::Dialect as _;
use crate::server::schema::{
    self, DEGRADED, FeedChoice, FeedKind, InstallStep, Installed, Installer, LOCK_WAIT, Made,
    SIDE_TABLES, Stop, during, first_scan, is_pending, meta_rows, owner,
};
use crate::server::statement::{Param, Statement, params};
use crate::server::{Findings, ServerOptions};
use crate::table;

const BASE: &str = include_str!("../../../../schema/mysql/base.sql");
pub(super) const SIDE: &str = include_str!("../../../../schema/mysql/side.sql");

/// Whoever installs or removes has this lock of the server.
const LOCK: &str = "CONCAT('ezdfs.', MD5(DATABASE()))";
/// The binary log is on, and our user may not be trusted with a trigger.
pub(super) const NOT_TRUSTED: u16 = 1419;
/// The trigger exists.
const EXISTS: u16 = 1359;

/// The statements that make a database for `table`, for the clients `mariadb` and `mysql`.
///
/// # Errors
/// [`ErrorKind::Config`] for a name that cannot be the base table's.
pub fn ddl(table: &str) -> Result<String> {
    table::check(table)?;
    let drops: String =
        FEED.iter().map(|(name, _)| format!("DROP TRIGGER IF EXISTS {name}//\n")).collect();
    Ok([BASE, SIDE, "DELIMITER //", &drops, TRIGGERS.trim_end(), "DELIMITER ;\n", NOTES]
        .map(|part| part.replace("{table}", table))
        .join("\n"))
}

/// What `schema install` notes; a scan cursor comes by itself.
const NOTES: &str = "\
INSERT IGNORE INTO ezdfs_meta (`key`, `value`) VALUES
    ('base_table', '{table}'), ('layout', 'shared'), ('trimmed', '0'), ('gate', ''),
    ('feed', 'trigger'), ('schema_version', '1');
-- Rows that are there get their entries by `ezdfs schema install`.
INSERT IGNORE INTO ezdfs_meta (`key`, `value`) SELECT 'backfill', '' FROM DUAL
    WHERE EXISTS (SELECT 1 FROM `{table}`) AND NOT EXISTS (SELECT 1 FROM ezdfs_node);
";

/// Makes what is missing: base table, side tables, triggers, entries for rows that are there. May
/// be run again at any time, and by several at once.
///
/// # Errors
/// [`ErrorKind::Config`] when the database belongs to another base table or a newer ezdfs, or the
/// table lacks a column or its key; [`ErrorKind::PermissionDenied`]; else what the server says.
pub async fn install(
    options: &ServerOptions,
    feed: FeedChoice,
    progress: &mut (dyn FnMut(InstallStep) + Send),
) -> Result<Installed> {
    schema::install::<Mysql>(options, feed, progress).await
}

/// Compares a database with what [`install`] makes, and tries out the triggers in a transaction
/// that is rolled back. Changes nothing.
///
/// # Errors
/// When the database cannot be read.
pub async fn check(options: &ServerOptions) -> Result<Findings> {
    schema::check::<Mysql>(options).await
}

/// Drops the triggers, then the side tables; the base table and its rows stay. Says what was
/// dropped. Unless `force`, pending work is not thrown away.
///
/// # Errors
/// [`ErrorKind::Busy`] while work is pending, [`ErrorKind::Config`] when it belongs to another base
/// table, or what the server says.
pub async fn uninstall(options: &ServerOptions, force: bool) -> Result<Vec<String>> {
    schema::uninstall::<Mysql>(options, force).await
}

impl Installer for Mysql {
    async fn make(
        conn: &mut MySqlConnection,
        options: &ServerOptions,
        feed: FeedChoice,
    ) -> Result<Made, Stop> {
        lock(conn).await?;
        let made = make(conn, options, feed).await?;
        unlock(conn).await?;
        Ok(made)
    }

    fn estimate() -> Statement {
        Statement::pieces(
            "SELECT CAST(COALESCE(TABLE_ROWS, 0) AS SIGNED) FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?1",
        )
    }

    async fn check(conn: &mut MySqlConnection, options: &ServerOptions) -> Result<Findings, Stop> {
        checked::look(conn, options).await
    }

    async fn remove(
        conn: &mut MySqlConnection,
        options: &ServerOptions,
        force: bool,
    ) -> Result<Vec<String>, Stop> {
        lock(conn).await?;
        let dropped = remove(conn, options, force).await?;
        unlock(conn).await?;
        Ok(dropped)
    }
}

pub(super) async fn rows(
    conn: &mut MySqlConnection,
    text: &str,
    params: Vec<Param>,
) -> Result<Vec<MySqlRow>, Stop> {
    Mysql::fetch(conn, &Statement::pieces(text), params).await.map_err(during("read the schema"))
}

/// The first column of the first row; NULL without one.
pub(super) async fn text(
    conn: &mut MySqlConnection,
    query: &str,
    params: Vec<Param>,
) -> Result<Option<String>, Stop> {
    let rows = rows(conn, query, params).await?;
    let text = rows.first().map(|row| decode::text(row, 0)).transpose();
    Ok(text.map_err(during("read the schema"))?.flatten())
}

/// The first column of the first row; 0 without one.
pub(super) async fn number(
    conn: &mut MySqlConnection,
    query: &str,
    params: Vec<Param>,
) -> Result<i64, Stop> {
    let rows = rows(conn, query, params).await?;
    let number = rows.first().map(|row| decode::int(row, 0)).transpose();
    Ok(number.map_err(during("read the schema"))?.flatten().unwrap_or_default())
}

/// Runs a statement that may not be one of those that can be prepared.
pub(super) async fn execute(conn: &mut MySqlConnection, text: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(text)).execute(conn).await.map(drop)
}

async fn lock(conn: &mut MySqlConnection) -> Result<(), Stop> {
    let what = "wait for others who install the schema";
    let seconds = LOCK_WAIT.as_secs();
    // Whoever waits for the table keeps PHP's statements waiting too.
    execute(conn, format!("SET SESSION lock_wait_timeout = {seconds}"))
        .await
        .map_err(during(what))?;
    match number(conn, &format!("SELECT GET_LOCK({LOCK}, {seconds})"), vec![]).await? {
        1 => Ok(()),
        _ => Err(Stop::Busy(what)),
    }
}

async fn unlock(conn: &mut MySqlConnection) -> Result<(), Stop> {
    number(conn, &format!("SELECT RELEASE_LOCK({LOCK})"), vec![]).await.map(drop)
}

pub(super) async fn exists(conn: &mut MySqlConnection, table: &str) -> Result<bool, Stop> {
    let query = "SELECT COUNT(*) FROM information_schema.TABLES \
         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?1";
    Ok(number(conn, query, params![table]).await? > 0)
}

pub(super) async fn meta(conn: &mut MySqlConnection, key: &str) -> Result<Option<String>, Stop> {
    text(conn, "SELECT `value` FROM ezdfs_meta WHERE `key` = ?1", params![key]).await
}

async fn make(
    conn: &mut MySqlConnection,
    options: &ServerOptions,
    choice: FeedChoice,
) -> Result<Made, Stop> {
    let what = "install the schema";
    let (mut is_complete, mut feed_before) = (false, None);
    if exists(conn, "ezdfs_meta").await? {
        let version = meta(conn, "schema_version").await?;
        let base_table = meta(conn, "base_table").await?;
        let found = owner::<Mysql>(options, version.as_deref(), base_table.as_deref())?;
        is_complete = found.is_complete;
        feed_before = meta(conn, "feed").await?;
    }
    let mut made = Vec::new();
    if !exists(conn, &options.table).await? {
        execute(conn, BASE.replace("{table}", &options.table)).await.map_err(during(what))?;
        made.push(options.table.clone());
    }
    checked::refuse_base(conn, options).await?;
    let mut missing = Vec::new();
    for name in objects(SIDE) {
        if !exists(conn, name).await? {
            missing.push(name.to_owned());
        }
    }
    if !missing.is_empty() {
        execute(conn, SIDE.to_owned()).await.map_err(during(what))?;
        made.append(&mut missing);
    }
    // From here on the database belongs to this table, whatever happens.
    keep(conn, "base_table", &options.table).await?;
    let before = made.len();
    let (feed, warnings) = feed(conn, options, choice, &mut made).await?;
    let is_new_feed = made.len() > before;
    Mysql::run(conn, "START TRANSACTION").await.map_err(during(what))?;
    keep(conn, "gate", "").await?;
    put(conn, "feed", feed.as_str()).await?;
    if feed_before.as_deref() != Some(feed.as_str()) {
        let (key, value) = first_scan(options, feed);
        put(conn, key, &value).await?;
    }
    let table = &options.table;
    let rows = number(conn, &format!("SELECT EXISTS (SELECT 1 FROM `{table}`)"), vec![]).await?;
    if !is_complete && rows > 0 {
        keep(conn, "backfill", "").await?;
    }
    for (key, value) in meta_rows(options, feed) {
        keep(conn, key, &value).await?;
    }
    Mysql::run(conn, "COMMIT").await.map_err(during(what))?;
    Ok(Made { feed, objects: made, warnings, is_late: is_complete && is_new_feed })
}

/// Writes a row of `ezdfs_meta` unless there is one.
async fn keep(conn: &mut MySqlConnection, key: &str, value: &str) -> Result<(), Stop> {
    let insert = "INSERT INTO ezdfs_meta (`key`, `value`) VALUES (?1, ?2) \
         ON DUPLICATE KEY UPDATE `value` = `value`";
    write(conn, insert, key, value).await
}

async fn put(conn: &mut MySqlConnection, key: &str, value: &str) -> Result<(), Stop> {
    let upsert = "INSERT INTO ezdfs_meta (`key`, `value`) VALUES (?1, ?2) \
         ON DUPLICATE KEY UPDATE `value` = VALUES(`value`)";
    write(conn, upsert, key, value).await
}

async fn write(conn: &mut MySqlConnection, text: &str, key: &str, value: &str) -> Result<(), Stop> {
    let done = Mysql::execute(conn, &Statement::pieces(text), params![key, value]).await;
    done.map(drop).map_err(during("install the schema"))
}

/// Makes the triggers where that is wanted and possible.
async fn feed(
    conn: &mut MySqlConnection,
    options: &ServerOptions,
    choice: FeedChoice,
    made: &mut Vec<String>,
) -> Result<(FeedKind, Vec<String>), Stop> {
    let what = "make the triggers";
    let found = triggers::find(conn, options).await?;
    if choice == FeedChoice::Scan {
        for trigger in found {
            drop_trigger(conn, &trigger.name).await.map_err(during(what))?;
        }
        return Ok((FeedKind::Scan, vec![format!("no triggers, as asked for: {DEGRADED}")]));
    }
    for (name, _) in FEED {
        match found.iter().find(|trigger| trigger.name == name) {
            Some(trigger) if !trigger.differs => continue,
            Some(_) => drop_trigger(conn, name).await.map_err(during(what))?,
            None => {}
        }
        let e = match execute(conn, triggers::statement(name, &options.table)).await {
            Ok(()) => {
                made.push(name.to_owned());
                continue;
            }
            Err(e) => e,
        };
        let why = match fault::number(&e) {
            // Made by another node of a cluster, where locks are each node's own.
            Some(EXISTS) => continue,
            Some(NOT_TRUSTED) => format!("the server {DISTRUST} (error {NOT_TRUSTED}; {TRUST})"),
            Some(1044 | 1142 | 1143 | 1227) => may_not(conn, options).await?,
            _ => return Err(Stop::Sql(what, e)),
        };
        // An administrator may have made them for us, and then they cannot be seen.
        if choice != FeedChoice::Scan && matches!(prove(conn, options).await, Ok(Proof::Works)) {
            return Ok((FeedKind::Trigger, Vec::new()));
        }
        if choice == FeedChoice::Trigger {
            let what = format!("mysql {}: no triggers, because {why}", options.place());
            return Err(Error::new(ErrorKind::PermissionDenied, what).with_source(e).into());
        }
        return Ok((FeedKind::Scan, vec![format!("no triggers, because {why}: {DEGRADED}")]));
    }
    Ok((FeedKind::Trigger, Vec::new()))
}

/// What error 1419 means.
pub(super) const DISTRUST: &str =
    "writes a binary log and lets no user without SUPER make a trigger";
/// What helps.
pub(super) const TRUST: &str = "set log_bin_trust_function_creators = 1 on the server, or run \
     `ezdfs schema install` once as an administrator whose account stays";

/// What the missing privilege means, and what helps.
async fn may_not(conn: &mut MySqlConnection, options: &ServerOptions) -> Result<String, Stop> {
    let user = account(conn).await?;
    Ok(format!(
        "the user {user} lacks TRIGGER on {table} (run GRANT TRIGGER ON {grant} TO {user}, then `ezdfs schema install` again)",
        table = options.table,
        grant = granted(options, &options.table),
    ))
}

/// Our user as grants name it.
pub(super) async fn account(conn: &mut MySqlConnection) -> Result<String, Stop> {
    let user = text(conn, "SELECT CURRENT_USER()", vec![]).await?.unwrap_or_default();
    let (name, host) = user.rsplit_once('@').unwrap_or((&user, "%"));
    Ok(format!("'{name}'@'{host}'"))
}

/// A table as grants name it.
pub(super) fn granted(options: &ServerOptions, table: &str) -> String {
    format!("`{}`.`{table}`", options.database)
}

async fn drop_trigger(conn: &mut MySqlConnection, name: &str) -> Result<(), sqlx::Error> {
    execute(conn, format!("DROP TRIGGER IF EXISTS {name}")).await
}

async fn remove(
    conn: &mut MySqlConnection,
    options: &ServerOptions,
    force: bool,
) -> Result<Vec<String>, Stop> {
    let what = "remove the schema";
    if exists(conn, "ezdfs_meta").await?
        && let Some(other) = meta(conn, "base_table").await?
        && other != options.table
    {
        let other = table::is_another(&other, &options.table);
        let what = format!("mysql {}: {other}", options.place());
        return Err(Error::new(ErrorKind::Config, what).into());
    }
    if !force && exists(conn, "ezdfs_pending").await? {
        let query = "SELECT COUNT(*) FROM ezdfs_pending WHERE state <> 'ended'";
        let pending = number(conn, query, vec![]).await?;
        if pending > 0 {
            return Err(is_pending(u64::try_from(pending).unwrap_or_default()).into());
        }
    }
    let mut dropped = Vec::new();
    let found = triggers::find(conn, options).await?;
    for (name, _) in FEED {
        // One that cannot be seen is an error here: it must not outlive its table.
        drop_trigger(conn, name).await.map_err(during(what))?;
        if found.iter().any(|trigger| trigger.name == name) {
            dropped.push(name.to_owned());
        }
    }
    for table in SIDE_TABLES {
        if exists(conn, table).await? {
            execute(conn, format!("DROP TABLE IF EXISTS {table}")).await.map_err(during(what))?;
            dropped.push(table.to_owned());
        }
    }
    Ok(dropped)
}
