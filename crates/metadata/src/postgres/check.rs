//! Looking at the schema on PostgreSQL without changing it.

use std::collections::BTreeMap;

use ezdfs_core::{Entropy as _, Error, ErrorKind, OsEntropy};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::schema::{Feed, SIDE, exists, is, meta, rows, settle, text};
use super::{Postgres, is_bytewise};
use crate::decode;
use crate::server::columns::{Column, columns};
use crate::server::dialect::{Dialect as _, Fault};
use crate::server::installed::VERSION;
use crate::server::schema::{BASE_COLUMNS, DEGRADED, SIDE_TABLES, Stop, during};
use crate::server::statement::params;
use crate::server::{Findings, ServerOptions};
use crate::table;

const REINSTALL: &str = "run `ezdfs schema install`";

/// Oldest version: `xid8` and `pg_current_xact_id` came with it.
const OLDEST: i64 = 130_000;

/// Keys of the side tables, in whatever order and under whatever name they are there.
const KEYS: [(&str, &str, bool); 18] = [
    ("ezdfs_node", "path_hash", true),
    ("ezdfs_node", "parent_hash,basename", true),
    ("ezdfs_node", "expires_at", false),
    ("ezdfs_pending", "id", true),
    ("ezdfs_pending", "hold", true),
    ("ezdfs_pending", "token,state", false),
    ("ezdfs_pending", "path_hash", false),
    ("ezdfs_pending", "prefix,state,lease_end", false),
    ("ezdfs_pending", "prefix,not_before", false),
    ("ezdfs_lease", "id", true),
    ("ezdfs_lease", "lock_hash,range_start", false),
    ("ezdfs_lease", "node", false),
    ("ezdfs_change", "seq", true),
    ("ezdfs_change", "xact", false),
    ("ezdfs_change", "seq", false),
    ("ezdfs_change", "name_hash,seq", false),
    ("ezdfs_xattr", "path_hash,name", true),
    ("ezdfs_meta", "key", true),
];

/// A column as it is.
struct Found {
    kind: String,
    collation: String,
    is_not_null: bool,
}

type Columns = BTreeMap<String, Found>;

async fn columns_of(conn: &mut PgConnection, table: &str) -> Result<Columns, Stop> {
    let found = rows(
        conn,
        "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), \
         coalesce(c.collname::text, ''), a.attnotnull::int::bigint FROM pg_attribute a \
         LEFT JOIN pg_collation c ON c.oid = a.attcollation \
         WHERE a.attrelid = to_regclass(?1) AND a.attnum > 0 AND NOT a.attisdropped",
        params![format!("\"{table}\"")],
    )
    .await?;
    let columns = found.iter().map(|row| {
        let text = |at| Ok::<_, sqlx::Error>(decode::text(row, at)?.unwrap_or_default());
        let is_not_null = decode::int(row, 3)? == Some(1);
        Ok((text(0)?, Found { kind: text(1)?, collation: text(2)?, is_not_null }))
    });
    columns.collect::<Result<_, _>>().map_err(during("read the schema"))
}

/// Whether the table has a unique key on `name_hash` alone, for all rows.
async fn has_key(conn: &mut PgConnection, table: &str) -> Result<bool, Stop> {
    let query = "SELECT EXISTS (SELECT 1 FROM pg_index i JOIN pg_attribute a \
         ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] \
         WHERE i.indrelid = to_regclass(?1) AND i.indisunique AND i.indisvalid AND i.indimmediate \
         AND i.indpred IS NULL AND i.indnkeyatts = 1 AND a.attname = 'name_hash')";
    is(conn, query, params![format!("\"{table}\"")]).await
}

/// Refuses a base table that the statements cannot work with.
pub(super) async fn refuse_base(
    conn: &mut PgConnection,
    options: &ServerOptions,
) -> Result<(), Stop> {
    let mut findings = Findings::default();
    base_table(conn, options, &mut findings).await?;
    match findings.problems().next() {
        None => Ok(()),
        Some(problem) => {
            Err(Error::new(ErrorKind::Config, format!("postgres {}: {problem}", options.place()))
                .into())
        }
    }
}

/// Columns, types and key.
async fn base_table(
    conn: &mut PgConnection,
    options: &ServerOptions,
    findings: &mut Findings,
) -> Result<(), Stop> {
    let table = &options.table;
    let kind = text(
        conn,
        "SELECT relkind::text FROM pg_class WHERE oid = to_regclass(?1)",
        params![format!("\"{table}\"")],
    )
    .await?;
    let kind = kind.unwrap_or_default();
    if kind != "r" && kind != "p" {
        findings.problem(
            format!("{table} is not a table"),
            "it takes no trigger and has no key",
            "name the table that Ibexa writes to as `table`",
        );
        return Ok(());
    }
    let found = columns_of(conn, table).await?;
    for column in BASE_COLUMNS.iter().filter(|c| !found.contains_key(**c)) {
        findings.problem(
            format!("the table {table} has no column {column}"),
            "neither Ibexa nor ezdfs can use it",
            "compare it with `ezdfs schema print`; is it another table?",
        );
    }
    if found.contains_key("name_hash") && !has_key(conn, table).await? {
        findings.problem(
            format!("the table {table} has no primary key on name_hash"),
            "a file could have two rows, and each look-up reads the whole table",
            format!("remove double rows, then ALTER TABLE \"{table}\" ADD PRIMARY KEY (name_hash)"),
        );
    }
    if let Some(hash) = found.get("name_hash").filter(|hash| hash.collation != "default") {
        findings.problem(
            format!("{table}.name_hash has the collation \"{}\"", hash.collation),
            "it cannot be compared with the side tables, and statements fail",
            format!(
                "ALTER TABLE \"{table}\" ALTER COLUMN name_hash TYPE varchar(34) COLLATE \"default\""
            ),
        );
    }
    Ok(())
}

/// Looks at everything.
pub(super) async fn look(
    conn: &mut PgConnection,
    options: &ServerOptions,
) -> Result<Findings, Stop> {
    let begin = "BEGIN TRANSACTION READ ONLY";
    Postgres::run(conn, begin).await.map_err(during("read the schema"))?;
    let mut findings = Findings::default();
    server(conn, &mut findings).await?;
    let schema = settle(conn, options).await?;
    let has_base = exists(conn, &format!("\"{}\"", options.table)).await?;
    let has_meta = exists(conn, "ezdfs_meta").await?;
    let mut missing = Vec::new();
    for table in SIDE_TABLES {
        if !exists(conn, table).await? {
            missing.push(table);
        }
    }
    if has_base {
        base_table(conn, options, &mut findings).await?;
        base_indexes(conn, options, &mut findings).await?;
    } else {
        findings.problem(
            format!("the table {} is missing", options.table),
            "there is nothing that PHP nodes and ezdfs share",
            "check `url` and `table`; `ezdfs schema install` makes it as Ibexa does",
        );
    }
    if missing.len() == SIDE_TABLES.len() {
        findings.not_installed = true;
        findings.problem(
            "ezdfs is not installed in this database",
            "no store can use it",
            REINSTALL,
        );
    } else {
        for table in &missing {
            findings.problem(format!("the table {table} is missing"), "statements fail", REINSTALL);
        }
        side_tables(conn, &missing, &mut findings).await?;
    }
    let feed_kind = if has_meta { installation(conn, options, &mut findings).await? } else { None };
    privileges(conn, options, &schema, has_base, &missing, &mut findings).await?;
    let is_degraded = feed_kind.as_deref() == Some("scan");
    if is_degraded {
        findings.problem(
            "no trigger tells of changes by PHP (degraded)",
            DEGRADED,
            format!(
                "GRANT TRIGGER ON \"{}\" TO \"{user}\", GRANT CREATE ON SCHEMA {schema} TO \"{user}\", then {REINSTALL}",
                options.table,
                user = options.user
            ),
        );
    } else if has_meta && has_base {
        feed(conn, options, &schema, &mut findings).await?;
    }
    Postgres::run(conn, "ROLLBACK").await.map_err(during("read the schema"))?;
    if !is_degraded && has_meta && has_base && missing.is_empty() {
        prove(conn, options, &mut findings).await?;
    }
    Ok(findings)
}

async fn server(conn: &mut PgConnection, findings: &mut Findings) -> Result<(), Stop> {
    let found = rows(
        conn,
        "SELECT current_setting('server_version_num')::bigint, current_setting('server_version'), \
         pg_is_in_recovery()::int::bigint, getdatabaseencoding()::text",
        vec![],
    )
    .await?;
    let Some(row) = found.first() else { return Ok(()) };
    let failed = during("read the schema");
    let text = |at| Ok::<_, Stop>(decode::text(row, at).map_err(&failed)?.unwrap_or_default());
    let number = |at| Ok::<_, Stop>(decode::int(row, at).map_err(&failed)?.unwrap_or_default());
    if number(0)? < OLDEST {
        findings.problem(
            format!("PostgreSQL {}", text(1)?),
            "statements fail: ezdfs needs PostgreSQL 13 or later",
            "upgrade the server",
        );
    }
    if number(2)? != 0 {
        findings.problem(
            "the server is a standby",
            "it takes no writes",
            "name the primary in `url`, or all hosts",
        );
    }
    let encoding = text(3)?;
    if encoding != "UTF8" {
        findings.problem(
            format!("the database's encoding is {encoding}"),
            "names with characters that it lacks cannot be stored",
            "move to a database with the encoding UTF8",
        );
    }
    Ok(())
}

/// What `ezdfs_meta` says; answers with the kind of feed.
async fn installation(
    conn: &mut PgConnection,
    options: &ServerOptions,
    findings: &mut Findings,
) -> Result<Option<String>, Stop> {
    if !is(conn, "SELECT has_table_privilege('ezdfs_meta', 'SELECT')", vec![]).await? {
        return Ok(None);
    }
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
    meta(conn, "feed").await
}

/// Columns and keys.
async fn side_tables(
    conn: &mut PgConnection,
    missing: &[&str],
    findings: &mut Findings,
) -> Result<(), Stop> {
    let differs = "statements fail, or names are compared wrongly";
    let fix = "`ezdfs schema uninstall` and `ezdfs schema install` make it anew, without touching \
               the base table";
    for table in SIDE_TABLES.iter().filter(|t| !missing.contains(t)) {
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
                        findings.problem(format!("{table}.{} {what}", column.name), differs, fix);
                    }
                }
            }
        }
    }
    let names: Vec<String> = SIDE_TABLES.iter().map(ToString::to_string).collect();
    let found = rows(
        conn,
        "SELECT t.relname::text, string_agg(a.attname::text, ',' ORDER BY k.at), \
         i.indisunique::int::bigint FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid \
         CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, at) \
         JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.attnum \
         WHERE t.relname @in(?1) AND t.oid = to_regclass(quote_ident(t.relname)) AND i.indisvalid \
         GROUP BY t.relname, i.indexrelid, i.indisunique",
        params![names],
    )
    .await?;
    let mut keys = Vec::new();
    for row in &found {
        let failed = during("read the schema");
        let table = decode::text(row, 0).map_err(&failed)?.unwrap_or_default();
        let columns = decode::text(row, 1).map_err(&failed)?.unwrap_or_default();
        keys.push((table, columns, decode::int(row, 2).map_err(&failed)? == Some(1)));
    }
    for (table, columns, is_unique) in KEYS {
        let is_there = keys.iter().any(|(t, c, u)| t == table && c == columns && *u == is_unique);
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
                REINSTALL,
            );
        }
    }
    Ok(())
}

fn difference(column: &Column<'_>, found: &Found) -> Option<String> {
    let kind = column.definition.split_whitespace().next().unwrap_or_default();
    let kind = kind.replace("varchar", "character varying");
    let has_text = kind == "text" || kind.starts_with("character");
    let collation = match (has_text, column.definition.contains("COLLATE \"C\"")) {
        (false, _) => "",
        (true, true) => "C",
        (true, false) => "default",
    };
    if kind != found.kind {
        return Some(format!("is {}, not {kind}", found.kind));
    }
    if collation != found.collation {
        return Some(format!("has the collation \"{}\", not \"{collation}\"", found.collation));
    }
    match (column.is_not_null(), found.is_not_null) {
        (true, false) => Some("takes NULL".to_owned()),
        (false, true) => Some("takes no NULL".to_owned()),
        _ => None,
    }
}

/// What walks by name cost.
async fn base_indexes(
    conn: &mut PgConnection,
    options: &ServerOptions,
    findings: &mut Findings,
) -> Result<(), Stop> {
    let table = &options.table;
    let found = rows(
        conn,
        "SELECT a.attname::text, o.opcname::text FROM pg_index i \
         JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] \
         JOIN pg_opclass o ON o.oid = i.indclass[0] \
         WHERE i.indrelid = to_regclass(?1) AND i.indisvalid AND i.indpred IS NULL",
        params![format!("\"{table}\"")],
    )
    .await?;
    let has = |column: &str, class: &str| {
        found.iter().any(|row| {
            let text = |at| decode::text(row, at).ok().flatten().unwrap_or_default();
            text(0) == column && text(1).starts_with(class)
        })
    };
    let is_bytewise = is_bytewise(conn).await.map_err(during("read the schema"))?;
    if !has("name", "") {
        findings.note(
            format!("the table {table} has no index on name"),
            "PHP's deletes of a directory and ezdfs's walks of one store read the whole table",
            format!("CREATE INDEX CONCURRENTLY {table}_name ON \"{table}\" (name)"),
        );
    }
    if !is_bytewise && !has("name", "text_pattern_ops") {
        findings.note(
            "the database does not compare text by bytes",
            format!(
                "the index {table}_name serves no walk by prefix: soft-deleted files, figures and walks of one store read more rows; listings and look-ups do not"
            ),
            format!(
                "if several stores share the table: CREATE INDEX CONCURRENTLY ON \"{table}\" (name text_pattern_ops)"
            ),
        );
    }
    Ok(())
}

/// What our user may not do.
async fn privileges(
    conn: &mut PgConnection,
    options: &ServerOptions,
    schema: &str,
    has_base: bool,
    missing: &[&str],
    findings: &mut Findings,
) -> Result<(), Stop> {
    let user = &options.user;
    let mut tables = Vec::new();
    if has_base {
        tables.push(format!("\"{}\"", options.table));
    }
    tables.extend(
        SIDE_TABLES.iter().filter(|t| !missing.contains(t)).map(|table| (*table).to_owned()),
    );
    for table in tables {
        let mut lacks = Vec::new();
        for privilege in ["SELECT", "INSERT", "UPDATE", "DELETE"] {
            let query = "SELECT has_table_privilege(?1, ?2)";
            if !is(conn, query, params![table.as_str(), privilege]).await? {
                lacks.push(privilege);
            }
        }
        if !lacks.is_empty() {
            let lacks = lacks.join(", ");
            findings.problem(
                format!("the user \"{user}\" lacks {lacks} on {table}"),
                "statements fail",
                format!("GRANT {lacks} ON {schema}.{table} TO \"{user}\""),
            );
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    // What is still to be made.
    let query = "SELECT has_schema_privilege(current_schema(), 'CREATE')";
    if !is(conn, query, vec![]).await? {
        findings.problem(
            format!("the user \"{user}\" may not make tables in the schema {schema}"),
            "`ezdfs schema install` cannot make the side tables",
            format!("GRANT CREATE ON SCHEMA {schema} TO \"{user}\", or install as another user"),
        );
    }
    let base = format!("\"{}\"", options.table);
    let query = "SELECT has_table_privilege(?1, 'TRIGGER')";
    if has_base && !is(conn, query, params![base.as_str()]).await? {
        findings.problem(
            format!("the user \"{user}\" lacks TRIGGER on {base}"),
            DEGRADED,
            format!("GRANT TRIGGER ON {schema}.{base} TO \"{user}\""),
        );
    }
    Ok(())
}

/// Trigger, function, and the role that it runs as.
async fn feed(
    conn: &mut PgConnection,
    options: &ServerOptions,
    schema: &str,
    findings: &mut Findings,
) -> Result<(), Stop> {
    for difference in Feed::find(conn, &options.table).await?.differences(schema) {
        findings.problem(difference, "changes by PHP may not be told", REINSTALL);
    }
    let owner = rows(
        conn,
        "SELECT pg_get_userbyid(proowner)::text, \
         has_table_privilege(proowner, 'ezdfs_change', 'INSERT'), \
         has_schema_privilege(proowner, current_schema(), 'USAGE') FROM pg_proc \
         WHERE oid = to_regprocedure('ezdfs_feed()') AND to_regclass('ezdfs_change') IS NOT NULL",
        vec![],
    )
    .await?;
    let Some(row) = owner.first() else { return Ok(()) };
    let failed = during("read the schema");
    let owner = decode::text(row, 0).map_err(&failed)?.unwrap_or_default();
    let may = |at: usize| row.try_get::<Option<bool>, _>(at).map(|may| may.unwrap_or(false));
    let cost = "the trigger swallows the error, and no change by PHP is told";
    if !may(1).map_err(&failed)? {
        findings.problem(
            format!("\"{owner}\", as whom the trigger runs, lacks INSERT on ezdfs_change"),
            cost,
            format!("GRANT INSERT ON {schema}.ezdfs_change TO \"{owner}\""),
        );
    }
    if !may(2).map_err(&failed)? {
        findings.problem(
            format!("\"{owner}\", as whom the trigger runs, lacks USAGE on the schema {schema}"),
            cost,
            format!("GRANT USAGE ON SCHEMA {schema} TO \"{owner}\""),
        );
    }
    Ok(())
}

/// Writes a row as PHP would, looks for what the trigger wrote, and rolls both back.
async fn prove(
    conn: &mut PgConnection,
    options: &ServerOptions,
    findings: &mut Findings,
) -> Result<(), Stop> {
    let failed = during("try out the trigger");
    Postgres::run(conn, "BEGIN").await.map_err(&failed)?;
    settle(conn, options).await?;
    let may = "SELECT has_table_privilege(?1, 'INSERT') AND has_table_privilege('ezdfs_change', 'SELECT')";
    let base = format!("\"{}\"", options.table);
    if is(conn, may, params![base.as_str()]).await? {
        let name = format!("ezdfs schema check {}", OsEntropy.token());
        let text = format!(
            "SET LOCAL ezdfs.origin = ''; INSERT INTO {base} (name, name_trunk, name_hash) \
             VALUES ('{name}', '{name}', md5('{name}'))"
        );
        if let Err(e) = sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut *conn).await {
            findings.problem(
                format!("an INSERT into {base} fails ({e})"),
                "so does what PHP writes",
                "see what the server says",
            );
        } else {
            let query = "SELECT EXISTS (SELECT 1 FROM ezdfs_change \
                 WHERE xact = pg_current_xact_id() AND name = ?1 AND todo)";
            let told = match is(conn, query, params![name]).await {
                // A feed that is not as it should be.
                Err(Stop::Sql(_, e)) if matches!(Postgres::fault(&e), Fault::Other(..)) => false,
                told => told?,
            };
            if !told {
                findings.problem(
                    format!("a row that was written to {base} on trial was not told by the trigger"),
                    "changes by PHP are not told: listings lack files until a scan finds them, once an hour",
                    "see the other lines and the server's log, then run `ezdfs schema install`",
                );
            }
        }
    }
    Postgres::run(conn, "ROLLBACK").await.map_err(&failed)
}
