//! Looking at the schema on MySQL and MariaDB without changing it.

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
const KEYS: [(&str, &str, bool); 17] = [
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
    ("ezdfs_xattr", "path_hash,name", true),
    ("ezdfs_meta", "key", true),
];

/// A column as it is.
struct Found {
    kind: String,
    charset: String,
    collation: String,
    is_not_null: bool,
    length: i64,
}

type Columns = BTreeMap<String, Found>;

async fn columns_of(conn: &mut MySqlConnection, table: &str) -> Result<Columns, Stop> {
    let found = rows(
        conn,
        "SELECT COLUMN_NAME, COLUMN_TYPE, COALESCE(CHARACTER_SET_NAME, ''), \
         COALESCE(COLLATION_NAME, ''), IS_NULLABLE, \
         CAST(LEAST(COALESCE(CHARACTER_MAXIMUM_LENGTH, 0), 2147483647) AS SIGNED) \
         FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?1",
        params![table],
    )
    .await?;
    let columns = found.iter().map(|row| {
        let text = |at| Ok::<_, sqlx::Error>(decode::text(row, at)?.unwrap_or_default());
        let found = Found {
            kind: text(1)?.to_ascii_lowercase(),
            charset: text(2)?,
            collation: text(3)?,
            is_not_null: text(4)? == "NO",
            length: decode::int(row, 5)?.unwrap_or_default(),
        };
        Ok((text(0)?.to_ascii_lowercase(), found))
    });
    columns.collect::<Result<_, _>>().map_err(during("read the schema"))
}

/// An index of a table.
struct Index {
    table: String,
    columns: String,
    is_unique: bool,
    /// Characters of the first column, if not all.
    prefix: Option<i64>,
}

async fn indexes(conn: &mut MySqlConnection, tables: Vec<String>) -> Result<Vec<Index>, Stop> {
    let found = rows(
        conn,
        "SELECT TABLE_NAME, GROUP_CONCAT(COLUMN_NAME ORDER BY SEQ_IN_INDEX), \
         CAST(MIN(NON_UNIQUE) AS SIGNED), \
         CAST(MIN(CASE SEQ_IN_INDEX WHEN 1 THEN SUB_PART END) AS SIGNED) \
         FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() \
         AND TABLE_NAME @in(?1) GROUP BY TABLE_NAME, INDEX_NAME",
        params![tables],
    )
    .await?;
    let indexes = found.iter().map(|row| {
        let text = |at| Ok::<_, sqlx::Error>(decode::text(row, at)?.unwrap_or_default());
        Ok(Index {
            table: text(0)?,
            columns: text(1)?.to_ascii_lowercase(),
            is_unique: decode::int(row, 2)? == Some(0),
            prefix: decode::int(row, 3)?,
        })
    });
    indexes.collect::<Result<_, _>>().map_err(during("read the schema"))
}

/// The storage engine, and whether it is a table at all.
async fn engine(conn: &mut MySqlConnection, table: &str) -> Result<String, Stop> {
    let query = "SELECT COALESCE(ENGINE, '') FROM information_schema.TABLES \
         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?1";
    Ok(text(conn, query, params![table]).await?.unwrap_or_default())
}

/// Refuses a base table that the statements cannot work with.
pub(super) async fn refuse_base(
    conn: &mut MySqlConnection,
    options: &ServerOptions,
) -> Result<(), Stop> {
    let mut findings = Findings::default();
    base_table(conn, options, &mut findings).await?;
    match findings.problems().next() {
        None => Ok(()),
        Some(problem) => {
            let what = format!("mysql {}: {problem}", options.place());
            Err(Error::new(ErrorKind::Config, what).into())
        }
    }
}

/// Engine, columns, keys, and what differs from Ibexa's.
async fn base_table(
    conn: &mut MySqlConnection,
    options: &ServerOptions,
    findings: &mut Findings,
) -> Result<(), Stop> {
    let table = &options.table;
    let engine = engine(conn, table).await?;
    if engine.is_empty() {
        findings.problem(
            format!("{table} is not a table"),
            "it takes no trigger and has no key",
            "name the table that Ibexa writes to as `table`",
        );
        return Ok(());
    }
    if !engine.eq_ignore_ascii_case("InnoDB") {
        findings.problem(
            format!("the table {table} has the engine {engine}"),
            "its rows are not part of transactions, so rows and entries come apart at any failure",
            format!("ALTER TABLE `{table}` ENGINE=InnoDB"),
        );
    }
    let found = columns_of(conn, table).await?;
    for column in BASE_COLUMNS.iter().filter(|c| !found.contains_key(**c)) {
        findings.problem(
            format!("the table {table} has no column {column}"),
            "neither Ibexa nor ezdfs can use it",
            "compare it with `ezdfs schema print`; is it another table?",
        );
    }
    if let Some(hash) = found.get("name_hash").filter(|hash| hash.length < HASH) {
        findings.problem(
            format!("{table}.name_hash is {}", hash.kind),
            "a hash does not fit into it",
            format!("ALTER TABLE `{table}` MODIFY name_hash varchar(34) NOT NULL DEFAULT ''"),
        );
    }
    let indexes = indexes(conn, vec![table.clone()]).await?;
    let has_key = indexes
        .iter()
        .any(|i| i.columns == "name_hash" && i.is_unique && i.prefix.is_none_or(|n| n >= HASH));
    if found.contains_key("name_hash") && !has_key {
        findings.problem(
            format!("the table {table} has no primary key on name_hash"),
            "a file could have two rows, and each look-up reads the whole table",
            format!("remove double rows, then ALTER TABLE `{table}` ADD PRIMARY KEY (name_hash)"),
        );
    }
    if let Some(name) = found.get("name") {
        names(table, name, &indexes, findings);
    }
    Ok(())
}

/// Character set and index of the names.
fn names(table: &str, name: &Found, indexes: &[Index], findings: &mut Findings) {
    if name.charset != "utf8mb4" && !name.charset.is_empty() {
        let lacks = if name.charset.starts_with("utf8") {
            "names with 4-byte characters (emoji) are refused"
        } else {
            "names with characters that it lacks are refused"
        };
        findings.note(
            format!("{table}.name has the character set {}", name.charset),
            format!("{lacks}, for PHP as for ezdfs"),
            format!("convert the table as Ibexa's upgrade does: ALTER TABLE `{table}` CONVERT TO CHARACTER SET utf8mb4"),
        );
    }
    let by_name = indexes.iter().filter(|i| i.columns == "name" || i.columns.starts_with("name,"));
    let longest = by_name.map(|i| i.prefix.unwrap_or(i64::MAX)).max();
    let what = match longest {
        Some(length) if length >= NAME_PREFIX => return,
        Some(length) => format!("the index on {table}.name has {length} characters"),
        None => format!("the table {table} has no index on name"),
    };
    findings.note(
        what,
        "PHP's deletes of a directory and ezdfs's walks of one store read more rows, or the whole table",
        format!("CREATE INDEX {table}_name ON `{table}` (name({NAME_PREFIX}))"),
    );
}

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
        base_table(conn, options, &mut findings).await?;
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
    let lacks = privileges(conn, options, has_base, &missing, &mut findings).await?;
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
        may_trigger(conn, options, &server, &mut findings).await?;
    }
    if !is_degraded && has_meta && has_base {
        let engine = engine(conn, &options.table).await?;
        let may_try = missing.is_empty() && lacks.is_empty() && engine == "InnoDB";
        triggers(conn, options, may_try, &mut findings).await?;
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
        let engine = engine(conn, table).await?;
        if !engine.eq_ignore_ascii_case("InnoDB") {
            findings.problem(
                format!("the table {table} has the engine {engine}"),
                "its rows are not part of transactions",
                format!("ALTER TABLE {table} ENGINE=InnoDB"),
            );
        }
        let found = columns_of(conn, table).await?;
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
    let indexes = indexes(conn, tables).await?;
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

fn difference(column: &Column<'_>, found: &Found) -> Option<String> {
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

/// What our user may not do, found out by statements that do nothing: grants are of too many kinds
/// to be added up. Answers with the tables where something is lacking.
async fn privileges(
    conn: &mut MySqlConnection,
    options: &ServerOptions,
    has_base: bool,
    missing: &[&str],
    findings: &mut Findings,
) -> Result<Vec<String>, Stop> {
    let user = account(conn).await?;
    let mut tables = Vec::new();
    if has_base {
        tables.push((options.table.as_str(), "name_hash"));
    }
    let side = [
        ("ezdfs_node", "path_hash"),
        ("ezdfs_pending", "path_hash"),
        ("ezdfs_lease", "node"),
        ("ezdfs_change", "op"),
        ("ezdfs_xattr", "path_hash"),
        ("ezdfs_meta", "value"),
    ];
    tables.extend(side.into_iter().filter(|(table, _)| !missing.contains(table)));
    let mut all = Vec::new();
    for (table, column) in tables {
        let mut lacks = Vec::new();
        for (privilege, statement) in [
            ("SELECT", format!("SELECT 1 FROM `{table}` LIMIT 0")),
            (
                "INSERT",
                format!("INSERT INTO `{table}` (`{column}`) SELECT '' FROM DUAL WHERE FALSE"),
            ),
            ("UPDATE", format!("UPDATE `{table}` SET `{column}` = '' WHERE FALSE")),
            ("DELETE", format!("DELETE FROM `{table}` WHERE FALSE")),
        ] {
            let done = execute(conn, statement).await;
            if done.is_err_and(|e| matches!(fault::number(&e), Some(1044 | 1142 | 1143))) {
                lacks.push(privilege);
            }
        }
        if lacks.is_empty() {
            continue;
        }
        let lacks = lacks.join(", ");
        findings.problem(
            format!("the user {user} lacks {lacks} on {table}"),
            "statements fail",
            format!("GRANT {lacks} ON {} TO {user}", granted(options, table)),
        );
        all.push(table.to_owned());
    }
    Ok(all)
}

/// Whether our user could make triggers.
async fn may_trigger(
    conn: &mut MySqlConnection,
    options: &ServerOptions,
    server: &Server,
    findings: &mut Findings,
) -> Result<(), Stop> {
    let user = account(conn).await?;
    let found = rows(conn, "SHOW GRANTS", vec![]).await?;
    let grants: Result<Vec<_>, _> = found.iter().map(|row| decode::text(row, 0)).collect();
    let grants: Vec<String> =
        grants.map_err(during("read the grants"))?.into_iter().flatten().collect();
    if !grants.iter().any(|grant| gives(grant, "TRIGGER", &options.database, &options.table)) {
        findings.problem(
            format!("the user {user} lacks TRIGGER on {}", options.table),
            NO_TRIGGERS,
            format!("GRANT TRIGGER ON {} TO {user}", granted(options, &options.table)),
        );
    }
    let is_trusted = server.trusts
        || ["SUPER", "BINLOG ADMIN"].iter().any(|p| grants.iter().any(|g| gives(g, p, "", "")));
    if server.has_binlog && !is_trusted {
        findings.problem(
            format!("the server {DISTRUST} (error {NOT_TRUSTED})"),
            NO_TRIGGERS,
            TRUST,
        );
    }
    Ok(())
}

/// Whether a line of `SHOW GRANTS` gives a privilege on a table, or on everything for no table.
fn gives(grant: &str, privilege: &str, database: &str, table: &str) -> bool {
    let Some((privileges, place)) =
        grant.strip_prefix("GRANT ").and_then(|rest| rest.split_once(" ON "))
    else {
        return false;
    };
    let place = place.split(" TO ").next().unwrap_or_default().replace('`', "");
    // In the names of databases `_` and `%` stand for any characters unless escaped.
    let place = place.replace('\\', "");
    let is_here = place == "*.*"
        || (!table.is_empty() && {
            let (of, what) = place.split_once('.').unwrap_or_default();
            is_like(of, database) && (what == "*" || what == table)
        });
    is_here && privileges.split(", ").any(|p| p == privilege || p == "ALL PRIVILEGES" || p == "ALL")
}

/// `LIKE`, as grants on databases mean it.
fn is_like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('%') {
        None => {
            pattern.len() == text.len()
                && pattern.bytes().zip(text.bytes()).all(|(p, t)| p == b'_' || p == t)
        }
        Some((before, rest)) => {
            text.is_char_boundary(before.len())
                && text.get(..before.len()).is_some_and(|begin| is_like(before, begin))
                && (before.len()..=text.len())
                    .filter_map(|at| text.get(at..))
                    .any(|end| is_like(rest, end))
        }
    }
}

/// The triggers, as whom they run, and whether they work.
async fn triggers(
    conn: &mut MySqlConnection,
    options: &ServerOptions,
    may_try: bool,
    findings: &mut Findings,
) -> Result<(), Stop> {
    let found = triggers::find(conn, options).await?;
    for trigger in &found {
        if trigger.differs {
            findings.problem(
                format!("the trigger {} is not as this version makes it", trigger.name),
                "changes by PHP may not be told, or its statements may fail",
                REINSTALL,
            );
        }
        definer(conn, options, trigger, findings).await?;
    }
    let proof = if may_try { Some(prove(conn, options).await?) } else { None };
    let works = matches!(proof, Some(Proof::Works));
    for (name, _) in FEED {
        // Without TRIGGER on the table nobody sees its triggers, and they work all the same.
        if !works && !found.iter().any(|trigger| trigger.name == name) {
            findings.problem(
                format!("the trigger {name} is missing, or the user may not see it"),
                "changes by PHP are not told: listings lack files until a scan finds them, once an hour",
                REINSTALL,
            );
        }
    }
    match proof {
        Some(Proof::Untold(ops)) => findings.problem(
            format!(
                "the {} of a row of {} on trial was not told by the triggers",
                ops.join(", "),
                options.table
            ),
            "changes by PHP are not told: listings lack files until a scan finds them, once an hour",
            "see the other lines, then run `ezdfs schema install`",
        ),
        Some(Proof::Fails(e)) => findings.problem(
            format!("a change of a row of {} on trial fails ({e})", options.table),
            "so does what PHP writes, and Ibexa reports success",
            "if it names a definer: DROP TRIGGER ezdfs_feed_insert, ezdfs_feed_update and \
             ezdfs_feed_delete, then run `ezdfs schema install` as a user that stays",
        ),
        Some(Proof::Works) | None => {}
    }
    Ok(())
}

/// Whether the user as whom a trigger runs is there.
async fn definer(
    conn: &mut MySqlConnection,
    options: &ServerOptions,
    trigger: &Trigger,
    findings: &mut Findings,
) -> Result<(), Stop> {
    let Some((user, host)) = trigger.definer.rsplit_once('@') else { return Ok(()) };
    let query = "SELECT COUNT(*) FROM mysql.user WHERE User = ?1 AND Host = ?2";
    // Few users may look there; the trial finds it out too.
    let count = match number(conn, query, params![user, host]).await {
        Ok(count) => count,
        Err(Stop::Sql(_, e)) if matches!(Mysql::fault(&e), Fault::Other(..)) => {
            return Ok(());
        }
        Err(stop) => return Err(stop),
    };
    if count == 0 {
        findings.problem(
            format!("'{user}'@'{host}', as whom the trigger {} runs, does not exist", trigger.name),
            format!(
                "each such statement of PHP on {} fails with error 1449, and Ibexa reports success",
                options.table
            ),
            format!(
                "DROP TRIGGER {}, then run `ezdfs schema install` as a user that stays",
                trigger.name
            ),
        );
    }
    Ok(())
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

    #[test]
    fn grants() {
        for grant in [
            "GRANT ALL PRIVILEGES ON *.* TO `a`@`%` IDENTIFIED BY PASSWORD 'x'",
            "GRANT SELECT, TRIGGER ON *.* TO `a`@`%`",
            "GRANT ALL PRIVILEGES ON `d\\_b`.* TO `a`@`%`",
            "GRANT TRIGGER, DROP ON `d%`.* TO `a`@`%`",
            "GRANT TRIGGER ON `d_b`.`t` TO `a`@`%`",
        ] {
            assert!(gives(grant, "TRIGGER", "d_b", "t"), "{grant}");
        }
        for grant in [
            "GRANT USAGE ON *.* TO `a`@`%`",
            "GRANT SELECT ON *.* TO `a`@`%`",
            "GRANT TRIGGER ON `d_b`.`other` TO `a`@`%`",
            "GRANT TRIGGER ON `e%`.* TO `a`@`%`",
            "GRANT `role` TO `a`@`%`",
        ] {
            assert!(!gives(grant, "TRIGGER", "d_b", "t"), "{grant}");
        }
        assert!(gives("GRANT SUPER ON *.* TO `a`@`%`", "SUPER", "", ""));
        assert!(!gives("GRANT ALL PRIVILEGES ON `d`.* TO `a`@`%`", "SUPER", "", ""));
    }
}
