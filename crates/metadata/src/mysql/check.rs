//! Looking at the schema on MySQL and MariaDB without changing it.

mod base;
mod feed;
mod grants;
mod privileges;

pub(super) use base::refuse_base;

use std::collections::BTreeMap;

use ezdfs_core::{Error, ErrorKind};
use sqlx::mysql::MySqlConnection;

use super::schema::{
    DISTRUST, NOT_TRUSTED, SIDE, TRUST, account, execute, exists, granted, meta, number, rows, text,
};
use super::triggers::{self, FEED, Proof, Trigger, prove};
use super::{Mysql, fault};
use crate::decode;
use crate::server::columns::{Column, columns};
use crate::server::dialect::{Dialect as _, Fault};
use crate::server::installed::VERSION;
use crate::server::schema::{BASE_COLUMNS, DEGRADED, SIDE_TABLES, Stop, during};
use crate::server::statement::params;
use crate::server::{Findings, ServerOptions};
use crate::table;

const NO_TRIGGERS: &str = "`ezdfs schema install` as that user makes no triggers, and changes are found by scans (degraded)";

const REINSTALL: &str = "run `ezdfs schema install`";

/// Length of Ibexa's indexes on names; legacy tables have 250.
const NAME_PREFIX: i64 = 191;
/// Characters of a hash.
const HASH: i64 = 32;

/// Keys of the side tables, under whatever name they are there.
const KEYS: [(&str, &str, bool); 18] = [
    ("ezdfs_node", "parent_hash,basename", true),
    ("ezdfs_node", "path_hash", true),
    ("ezdfs_node", "ino", false),
    ("ezdfs_node", "expires_at", false),
    ("ezdfs_pending", "id", true),
    ("ezdfs_pending", "hold", true),
    ("ezdfs_pending", "token,state", false),
    ("ezdfs_pending", "path_hash", false),
    ("ezdfs_pending", "state,lease_end", false),
    ("ezdfs_pending", "state,not_before", false),
    ("ezdfs_lease", "id", true),
    ("ezdfs_lease", "lock_hash,range_start", false),
    ("ezdfs_lease", "node", false),
    ("ezdfs_change", "seq", true),
    ("ezdfs_change", "todo,seq", false),
    ("ezdfs_change", "name_hash,seq", false),
    ("ezdfs_xattr", "path_hash,name", true),
    ("ezdfs_meta", "key", true),
];

/// Looks at everything.
pub(super) async fn look(
    conn: &mut MySqlConnection,
    options: &ServerOptions,
) -> Result<Findings, Stop> {
    let mut findings = Findings::default();
    let server = Server::ask(conn).await?;
    server.judge(&mut findings);
    let has_base = exists(conn, &options.table).await?;
    let has_meta = exists(conn, "ezdfs_meta").await?;
    let mut missing = Vec::new();
    for table in SIDE_TABLES {
        if !exists(conn, table).await? {
            missing.push(table);
        }
    }
    if has_base {
        base::base_table(conn, options, &mut findings).await?;
    } else {
        findings.problem(
            format!("the table {} is missing, or the user may not see it", options.table),
            "there is nothing that PHP nodes and ezdfs share",
            "check `url` and `table`; `ezdfs schema install` makes it as Ibexa does",
        );
    }
    if missing.len() == SIDE_TABLES.len() {
        findings.not_installed = true;
        findings.problem(
            "ezdfs is not installed in this database, or the user may not see its tables",
            "no store can use it",
            REINSTALL,
        );
    } else {
        for table in &missing {
            findings.problem(
                format!("the table {table} is missing, or the user may not see it"),
                "statements fail",
                REINSTALL,
            );
        }
        side_tables(conn, &missing, &mut findings).await?;
    }
    let lacks = privileges::privileges(conn, options, has_base, &missing, &mut findings).await?;
    let may_read_meta = !lacks.iter().any(|table| table == "ezdfs_meta");
    let feed = if has_meta && may_read_meta {
        installation(conn, options, &mut findings).await?
    } else {
        None
    };
    let is_degraded = feed.as_deref() == Some("scan");
    if is_degraded {
        findings.problem(
            "no triggers tell of changes by PHP (degraded)",
            DEGRADED,
            "run `ezdfs schema install` as soon as the user may make triggers; if it may not, the next lines say why",
        );
    }
    if is_degraded || findings.not_installed {
        privileges::may_trigger(conn, options, &server, &mut findings).await?;
    }
    if !is_degraded && has_meta && has_base {
        let engine = base::engine(conn, &options.table).await?;
        let may_try = missing.is_empty() && lacks.is_empty() && engine == "InnoDB";
        feed::triggers(conn, options, may_try, &mut findings).await?;
    }
    Ok(findings)
}

/// Settings of the server that matter.
struct Server {
    version: String,
    is_read_only: bool,
    has_binlog: bool,
    binlog_format: String,
    trusts: bool,
    is_galera: bool,
    sql_mode: String,
}

impl Server {
    async fn ask(conn: &mut MySqlConnection) -> Result<Self, Stop> {
        let names = [
            "version",
            "read_only",
            "log_bin",
            "binlog_format",
            "log_bin_trust_function_creators",
            "wsrep_on",
            "sql_mode",
        ];
        let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
        let query = format!("SHOW GLOBAL VARIABLES WHERE Variable_name IN ({})", quoted.join(", "));
        let found = rows(conn, &query, vec![]).await?;
        let mut values = BTreeMap::new();
        for row in &found {
            let text = |at| decode::text(row, at).map_err(during("read the server's settings"));
            values.insert(text(0)?.unwrap_or_default(), text(1)?.unwrap_or_default());
        }
        let is = |name: &str| values.get(name).is_some_and(|value| value == "ON" || value == "1");
        let value = |name: &str| values.get(name).cloned().unwrap_or_default();
        Ok(Self {
            version: value("version"),
            is_read_only: is("read_only"),
            has_binlog: is("log_bin"),
            binlog_format: value("binlog_format"),
            trusts: is("log_bin_trust_function_creators"),
            is_galera: is("wsrep_on"),
            sql_mode: value("sql_mode"),
        })
    }

    fn judge(&self, findings: &mut Findings) {
        if is_too_old(&self.version) {
            findings.problem(
                format!("the server is {}", self.version),
                "statements fail: ezdfs needs MariaDB 10.6 or MySQL 8.0, or later",
                "upgrade the server",
            );
        }
        if self.is_read_only {
            findings.problem(
                "the server is read-only",
                "it takes no writes",
                "name the primary in `url`, or all hosts",
            );
        }
        if self.has_binlog && self.binlog_format.eq_ignore_ascii_case("STATEMENT") {
            findings.problem(
                "binlog_format is STATEMENT",
                "each write fails with error 1665",
                "set binlog_format = MIXED or ROW",
            );
        }
        if self.is_galera {
            findings.note(
                "the server is a node of a Galera cluster",
                "writes to one path on two nodes conflict at commit and are run again; after a failure the first write waits for some seconds",
                "name the hosts in the same order in `url` on every web node, so that all write through one",
            );
        }
        if !self.sql_mode.contains("STRICT_") {
            findings.note(
                "sql_mode of the server is not strict",
                "what PHP writes is cut off silently where it does not fit; ezdfs's own sessions are strict",
                "add STRICT_TRANS_TABLES to the server's sql_mode",
            );
        }
    }
}

fn is_too_old(version: &str) -> bool {
    // Behind a prefix that old clients need: 5.5.5-10.6.1-MariaDB.
    let is_mariadb = version.contains("MariaDB");
    let version = version.strip_prefix("5.5.5-").unwrap_or(version);
    let mut parts = version.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    found < if is_mariadb { (10, 6) } else { (8, 0) }
}

/// What `ezdfs_meta` says; answers with the kind of feed.
async fn installation(
    conn: &mut MySqlConnection,
    options: &ServerOptions,
    findings: &mut Findings,
) -> Result<Option<String>, Stop> {
    match meta(conn, "schema_version").await? {
        None => {
            findings.problem("the installation was interrupted", "no store can use it", REINSTALL)
        }
        Some(version) if version != VERSION.to_string() => findings.problem(
            format!("schema version {version}, and this ezdfs has {VERSION}"),
            "this ezdfs cannot use it",
            "use the ezdfs that made it",
        ),
        Some(_) => {}
    }
    if let Some(other) = meta(conn, "base_table").await?.filter(|t| *t != options.table) {
        findings.problem(
            table::is_another(&other, &options.table),
            "no store with this table can use it",
            "change `table` or the database",
        );
    }
    if meta(conn, "backfill").await?.is_some() {
        findings.problem(
            "rows that were there before ezdfs still wait for their entries",
            "no store can use it before",
            "run `ezdfs schema install`, which goes on where it stopped",
        );
    }
    if meta(conn, "gate").await?.is_none() {
        findings.problem(
            "the row `gate` of ezdfs_meta is missing",
            "two processes may hold one path",
            REINSTALL,
        );
    }
    meta(conn, "feed").await
}

/// Engine, columns and keys.
async fn side_tables(
    conn: &mut MySqlConnection,
    missing: &[&str],
    findings: &mut Findings,
) -> Result<(), Stop> {
    let fix = "`ezdfs schema uninstall` and `ezdfs schema install` make it anew, without touching \
               the base table";
    for table in SIDE_TABLES.iter().filter(|t| !missing.contains(t)) {
        let engine = base::engine(conn, table).await?;
        if !engine.eq_ignore_ascii_case("InnoDB") {
            findings.problem(
                format!("the table {table} has the engine {engine}"),
                "its rows are not part of transactions",
                format!("ALTER TABLE {table} ENGINE=InnoDB"),
            );
        }
        let found = base::columns_of(conn, table).await?;
        for column in columns(SIDE).iter().filter(|c| c.table == *table) {
            match found.get(column.name) {
                None => findings.problem(
                    format!("the table {table} has no column {}", column.name),
                    "statements fail",
                    fix,
                ),
                Some(found) => {
                    if let Some(what) = difference(column, found) {
                        findings.problem(
                            format!("{table}.{} {what}", column.name),
                            "statements fail, or names are compared wrongly",
                            fix,
                        );
                    }
                }
            }
        }
    }
    let tables = SIDE_TABLES.iter().map(ToString::to_string).collect();
    let indexes = base::indexes(conn, tables).await?;
    for (table, columns, is_unique) in KEYS {
        let is_there = indexes.iter().any(|i| {
            i.table == table
                && i.columns == columns
                && i.is_unique == is_unique
                && i.prefix.is_none()
        });
        if is_there || missing.contains(&table) {
            continue;
        }
        if is_unique {
            findings.problem(
                format!("the table {table} has no unique key on ({columns})"),
                "statements fail, or two processes may hold one path",
                fix,
            );
        } else {
            findings.problem(
                format!("the table {table} has no index on ({columns})"),
                "statements read the whole table",
                fix,
            );
        }
    }
    Ok(())
}

fn difference(column: &Column<'_>, found: &base::Found) -> Option<String> {
    let mut words = column.definition.split_whitespace();
    let kind = words.next().unwrap_or_default().to_ascii_lowercase();
    let has_text = ["char", "varchar", "mediumtext"].iter().any(|text| kind.starts_with(text));
    let collation = match (has_text, column.definition.contains("ascii_bin")) {
        (false, _) => "",
        (true, true) => "ascii_bin",
        (true, false) => "utf8mb4_bin",
    };
    // Old servers tell how wide they would show a number.
    let plain = |kind: &str| {
        let is_number = kind.starts_with("bigint") || kind.starts_with("tinyint");
        let short = kind.split_once('(').map_or(kind, |(short, _)| short);
        if is_number { short.to_owned() } else { kind.to_owned() }
    };
    let has_rest = found.kind.contains("unsigned");
    if plain(&kind) != plain(&found.kind) || has_rest {
        return Some(format!("is {}, not {kind}", found.kind));
    }
    if collation != found.collation {
        return Some(format!("has the collation {}, not {collation}", found.collation));
    }
    match (column.is_not_null(), found.is_not_null) {
        (true, false) => Some("takes NULL".to_owned()),
        (false, true) => Some("takes no NULL".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers() {
        for old in ["10.5.28-MariaDB", "5.7.44", "5.5.5-10.4.1-MariaDB", "5.6"] {
            assert!(is_too_old(old), "{old}");
        }
        for good in
            ["10.6.0-MariaDB", "10.11.19-MariaDB-0+deb12u1", "11.4.2-MariaDB", "8.0.36", "9.1.0"]
        {
            assert!(!is_too_old(good), "{good}");
        }
    }
}
