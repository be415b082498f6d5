//! Making and removing the schema on PostgreSQL, where statements that make tables are part of a
//! transaction: all of it is made, or nothing.

use ezdfs_core::{Error, ErrorKind, Result};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row as _};

use super::Postgres;
use super::check as checked;
use crate::decode;
use crate::server::columns::objects;
use crate::server::dialect::Dialect as _;
use crate::server::schema::{
    self, DEGRADED, FeedChoice, FeedKind, InstallStep, Installed, Installer, LOCK_WAIT, Made,
    SIDE_TABLES, Stop, during, essence, first_scan, is_pending, meta_rows, owner,
};
use crate::server::statement::{Param, Statement, params};
use crate::server::{Findings, ServerOptions};
use crate::table;

const BASE: &str = include_str!("../../../../schema/postgres/base.sql");
pub(super) const SIDE: &str = include_str!("../../../../schema/postgres/side.sql");
const TRIGGERS: &str = include_str!("../../../../schema/postgres/triggers.sql");

/// Between the function and the trigger in [`TRIGGERS`].
const BEFORE_TRIGGER: &str = "DROP TRIGGER";
/// Function and trigger.
const FEED: &str = "ezdfs_feed";
/// `pg_trigger.tgtype`: after INSERT, UPDATE or DELETE, for each row.
const TRIGGER_TYPE: i64 = 0b1_1101;
/// Whoever installs or removes has this advisory lock: `ezdfs` in ASCII.
const LOCK: &str = "SELECT pg_advisory_xact_lock(435845097075)";

/// The statements that make a database for `table`, for `psql`.
///
/// # Errors
/// [`ErrorKind::Config`] for a name that cannot be the base table's.
pub fn ddl(table: &str) -> Result<String> {
    table::check(table)?;
    let triggers = TRIGGERS.replace("{schema}", "public");
    let parts = [BASE, SIDE, &triggers].map(|part| part.replace("{table}", table));
    Ok(format!(
        "-- For psql. Everything is made in the schema `public`, where the base table is looked for;\n\
         -- `ezdfs schema install` takes the schema that the table is in.\n\
         BEGIN;\nSET LOCAL search_path = public;\n\n{}\n{}\nCOMMIT;\n",
        parts.join("\n"),
        NOTES.replace("{table}", table),
    ))
}

/// What `schema install` notes; a scan cursor comes by itself.
const NOTES: &str = "\
INSERT INTO ezdfs_meta (key, value) VALUES
    ('base_table', '{table}'), ('layout', 'shared'), ('trimmed', '0'), ('feed', 'trigger'),
    ('schema_version', '1')
    ON CONFLICT (key) DO NOTHING;
-- Rows that are there get their entries by `ezdfs schema install`.
INSERT INTO ezdfs_meta (key, value) SELECT 'backfill', ''
    WHERE EXISTS (SELECT 1 FROM \"{table}\") AND NOT EXISTS (SELECT 1 FROM ezdfs_node)
    ON CONFLICT (key) DO NOTHING;
";

/// Makes what is missing: base table, side tables, trigger, entries for rows that are there. May be
/// run again at any time, and by several at once.
///
/// # Errors
/// [`ErrorKind::Config`] when the database belongs to another base table or a newer ezdfs, or the
/// table lacks a column or its key; [`ErrorKind::PermissionDenied`]; else what the server says.
pub async fn install(
    options: &ServerOptions,
    feed: FeedChoice,
    progress: &mut (dyn FnMut(InstallStep) + Send),
) -> Result<Installed> {
    schema::install::<Postgres>(options, feed, progress).await
}

/// Compares a database with what [`install`] makes, and tries out the trigger in a transaction that
/// is rolled back. Changes nothing.
///
/// # Errors
/// When the database cannot be read.
pub async fn check(options: &ServerOptions) -> Result<Findings> {
    schema::check::<Postgres>(options).await
}

/// Drops trigger and side tables in one transaction; the base table and its rows stay. Says what
/// was dropped. Unless `force`, pending work is not thrown away.
///
/// # Errors
/// [`ErrorKind::Busy`] while work is pending, [`ErrorKind::Config`] when it belongs to another base
/// table, or what the server says.
pub async fn uninstall(options: &ServerOptions, force: bool) -> Result<Vec<String>> {
    schema::uninstall::<Postgres>(options, force).await
}

impl Installer for Postgres {
    async fn make(
        conn: &mut PgConnection,
        options: &ServerOptions,
        feed: FeedChoice,
    ) -> Result<Made, Stop> {
        begin(conn).await?;
        let made = make(conn, options, feed).await?;
        Self::run(conn, "COMMIT").await.map_err(during("install the schema"))?;
        Ok(made)
    }

    fn estimate() -> Statement {
        Statement::numbered(
            "SELECT CASE WHEN reltuples > 0 THEN reltuples::bigint ELSE pg_relation_size(oid) / 200 END FROM pg_class \
             WHERE oid = to_regclass(quote_ident(?1))",
        )
    }

    async fn check(conn: &mut PgConnection, options: &ServerOptions) -> Result<Findings, Stop> {
        checked::look(conn, options).await
    }

    async fn remove(
        conn: &mut PgConnection,
        options: &ServerOptions,
        force: bool,
    ) -> Result<Vec<String>, Stop> {
        begin(conn).await?;
        let dropped = remove(conn, options, force).await?;
        Self::run(conn, "COMMIT").await.map_err(during("remove the schema"))?;
        Ok(dropped)
    }
}

pub(super) async fn rows(
    conn: &mut PgConnection,
    text: &str,
    params: Vec<Param>,
) -> Result<Vec<PgRow>, Stop> {
    Postgres::fetch(conn, &Statement::numbered(text), params)
        .await
        .map_err(during("read the schema"))
}

/// The first column of the first row; NULL without one.
pub(super) async fn text(
    conn: &mut PgConnection,
    query: &str,
    params: Vec<Param>,
) -> Result<Option<String>, Stop> {
    let rows = rows(conn, query, params).await?;
    let text = rows.first().map(|row| decode::text(row, 0)).transpose();
    Ok(text.map_err(during("read the schema"))?.flatten())
}

/// Whether the first column of the first row is true.
pub(super) async fn is(
    conn: &mut PgConnection,
    query: &str,
    params: Vec<Param>,
) -> Result<bool, Stop> {
    let rows = rows(conn, query, params).await?;
    let is = rows.first().map(|row| row.try_get::<Option<bool>, _>(0)).transpose();
    Ok(is.map_err(during("read the schema"))?.flatten().unwrap_or(false))
}

async fn execute(conn: &mut PgConnection, text: String) -> Result<(), Stop> {
    let done = sqlx::raw_sql(AssertSqlSafe(text)).execute(conn).await;
    done.map(drop).map_err(during("install the schema"))
}

async fn begin(conn: &mut PgConnection) -> Result<(), Stop> {
    let wait = LOCK_WAIT.as_millis();
    let text = format!(
        "BEGIN; SET LOCAL lock_timeout = {wait}; SET LOCAL client_min_messages = warning; {LOCK}"
    );
    let begun = sqlx::raw_sql(AssertSqlSafe(text)).execute(conn).await;
    begun.map(drop).map_err(during("wait for others who install the schema"))
}

/// A quoted name that is safe inside a statement, since [`table::check`] passed it.
fn quoted(table: &str) -> String {
    format!("\"{table}\"")
}

/// The schema of the base table, else the one that new tables are made in; quoted. What is looked
/// for by name from now on is looked for there.
pub(super) async fn settle(
    conn: &mut PgConnection,
    options: &ServerOptions,
) -> Result<String, Stop> {
    let query = "SELECT quote_ident(coalesce((SELECT n.nspname FROM pg_class c \
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(?1)), \
         current_schema()))";
    let found = text(conn, query, params![quoted(&options.table)]).await?;
    let schema = found.ok_or_else(|| {
        Error::new(
            ErrorKind::Config,
            format!(
                "postgres {}: none of the schemas in the user's search_path exists; create one, or set search_path for the user",
                options.place()
            ),
        )
    })?;
    execute(conn, format!("SET LOCAL search_path = {schema}")).await?;
    Ok(schema)
}

pub(super) async fn exists(conn: &mut PgConnection, name: &str) -> Result<bool, Stop> {
    is(conn, "SELECT to_regclass(?1) IS NOT NULL", params![name]).await
}

pub(super) async fn meta(conn: &mut PgConnection, key: &str) -> Result<Option<String>, Stop> {
    text(conn, "SELECT value FROM ezdfs_meta WHERE key = ?1", params![key]).await
}

async fn make(
    conn: &mut PgConnection,
    options: &ServerOptions,
    choice: FeedChoice,
) -> Result<Made, Stop> {
    let place = options.place();
    let schema = settle(conn, options).await?;
    let base = quoted(&options.table);
    let (mut is_complete, mut feed_before) = (false, None);
    if exists(conn, "ezdfs_meta").await? {
        let version = meta(conn, "schema_version").await?;
        let base_table = meta(conn, "base_table").await?;
        let found = owner::<Postgres>(options, version.as_deref(), base_table.as_deref())?;
        is_complete = found.is_complete;
        feed_before = meta(conn, "feed").await?;
    }
    let may_create =
        is(conn, "SELECT has_schema_privilege(?1, 'CREATE')", params![unquoted(&schema)]).await?;
    let refuse_create = |what: &str| {
        Stop::Refused(Error::new(
            ErrorKind::PermissionDenied,
            format!(
                "postgres {place}: {what} cannot be made: run GRANT CREATE ON SCHEMA {schema} TO \"{}\" as the schema's owner, or install as another user",
                options.user
            ),
        ))
    };
    let mut made = Vec::new();
    if !exists(conn, &base).await? {
        if !may_create {
            return Err(refuse_create(&format!("the table {base}")));
        }
        execute(conn, BASE.replace("{table}", &options.table)).await?;
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
        if !may_create {
            return Err(refuse_create("the side tables"));
        }
        execute(conn, SIDE.to_owned()).await?;
        made.append(&mut missing);
    }
    let (feed, warnings) = feed(conn, options, &schema, choice, may_create, &mut made).await?;
    let is_new_feed = made.iter().any(|name| name == FEED);
    for (key, value) in meta_rows(options, feed) {
        let insert = "INSERT INTO ezdfs_meta (key, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        write(conn, insert, params![key, value]).await?;
    }
    let put = "INSERT INTO ezdfs_meta (key, value) VALUES (?1, ?2) \
         ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    write(conn, put, params!["feed", feed.as_str()]).await?;
    if feed_before.as_deref() != Some(feed.as_str()) {
        let (key, value) = first_scan(options, feed);
        write(conn, put, params![key, value]).await?;
    }
    if !is_complete {
        let begin = format!(
            "INSERT INTO ezdfs_meta (key, value) SELECT 'backfill', '' \
             WHERE EXISTS (SELECT 1 FROM {base}) ON CONFLICT DO NOTHING"
        );
        write(conn, &begin, vec![]).await?;
    }
    Ok(Made { feed, objects: made, warnings, is_late: is_complete && is_new_feed })
}

/// The name out of what `quote_ident` made.
fn unquoted(schema: &str) -> String {
    schema
        .strip_prefix('"')
        .and_then(|s| s.strip_suffix('"'))
        .map_or_else(|| schema.to_owned(), |s| s.replace("\"\"", "\""))
}

async fn write(conn: &mut PgConnection, text: &str, params: Vec<Param>) -> Result<(), Stop> {
    let done = Postgres::execute(conn, &Statement::numbered(text), params).await;
    done.map(drop).map_err(during("install the schema"))
}

/// Makes the feed's trigger where that is wanted and possible.
async fn feed(
    conn: &mut PgConnection,
    options: &ServerOptions,
    schema: &str,
    choice: FeedChoice,
    may_create: bool,
    made: &mut Vec<String>,
) -> Result<(FeedKind, Vec<String>), Stop> {
    let table = quoted(&options.table);
    let found = Feed::find(conn, &options.table).await?;
    if choice == FeedChoice::Scan {
        execute(conn, format!("DROP FUNCTION IF EXISTS {schema}.{FEED}() CASCADE")).await?;
        return Ok((FeedKind::Scan, vec![format!("no trigger, as asked for: {DEGRADED}")]));
    }
    if found.differences(schema).is_empty() {
        return Ok((FeedKind::Trigger, Vec::new()));
    }
    let may_trigger =
        is(conn, "SELECT has_table_privilege(?1, 'TRIGGER')", params![table.as_str()]).await?;
    if !may_trigger || !may_create {
        let lacks = match (may_trigger, may_create) {
            (false, false) => format!(
                "GRANT TRIGGER ON {table} TO \"{user}\" and GRANT CREATE ON SCHEMA {schema} TO \"{user}\"",
                user = options.user
            ),
            (false, true) => format!("GRANT TRIGGER ON {table} TO \"{}\"", options.user),
            (true, _) => format!("GRANT CREATE ON SCHEMA {schema} TO \"{}\"", options.user),
        };
        let what = format!(
            "the user \"{}\" may not make a trigger on {table} (run {lacks} as the owner, then `ezdfs schema install` again)",
            options.user
        );
        if choice == FeedChoice::Trigger {
            let what = format!("postgres {}: {what}", options.place());
            return Err(Error::new(ErrorKind::PermissionDenied, what).into());
        }
        return Ok((FeedKind::Scan, vec![format!("no trigger, because {what}: {DEGRADED}")]));
    }
    let triggers = TRIGGERS.replace("{schema}", schema).replace("{table}", &options.table);
    let at = triggers.find(BEFORE_TRIGGER).unwrap_or_default();
    let (function, trigger) = triggers.split_at(at);
    if !found.function_differences(schema).is_empty() {
        execute(conn, function.to_owned()).await?;
    }
    if !found.trigger_differences().is_empty() {
        execute(conn, trigger.to_owned()).await?;
    }
    made.push(FEED.to_owned());
    Ok((FeedKind::Trigger, Vec::new()))
}

/// Trigger and function as they are.
#[derive(Debug, Default)]
pub(super) struct Feed {
    /// `tgenabled` and `tgtype`, and whether it has a condition or columns.
    trigger: Option<(String, i64, bool)>,
    function: Option<Function>,
}

#[derive(Debug)]
struct Function {
    source: String,
    is_definer: bool,
    config: String,
}

impl Feed {
    pub(super) async fn find(conn: &mut PgConnection, table: &str) -> Result<Self, Stop> {
        let failed = during("read the schema");
        let query = format!(
            "SELECT t.tgenabled::text, t.tgtype::bigint, \
             (t.tgqual IS NOT NULL OR cardinality(t.tgattr::int2[]) > 0)::int::bigint \
             FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid \
             WHERE t.tgrelid = to_regclass(?1) AND t.tgname = '{FEED}' AND NOT t.tgisinternal \
             AND p.oid = to_regprocedure('{FEED}()')"
        );
        let found = rows(conn, &query, params![quoted(table)]).await?;
        let trigger = found.first().map(|row| {
            let number = |at| Ok::<_, sqlx::Error>(decode::int(row, at)?.unwrap_or_default());
            Ok((decode::text(row, 0)?.unwrap_or_default(), number(1)?, number(2)? != 0))
        });
        let trigger = trigger.transpose().map_err(&failed)?;
        let query = format!(
            "SELECT prosrc, prosecdef::int::bigint, array_to_string(proconfig, '; ') FROM pg_proc \
             WHERE oid = to_regprocedure('{FEED}()')"
        );
        let found = rows(conn, &query, vec![]).await?;
        let function = found.first().map(|row| {
            Ok(Function {
                source: decode::text(row, 0)?.unwrap_or_default(),
                is_definer: decode::int(row, 1)? == Some(1),
                config: decode::text(row, 2)?.unwrap_or_default(),
            })
        });
        Ok(Self { trigger, function: function.transpose().map_err(&failed)? })
    }

    /// What is not as this version makes it, one line each.
    pub(super) fn differences(&self, schema: &str) -> Vec<String> {
        let mut all = self.trigger_differences();
        all.extend(self.function_differences(schema));
        all
    }

    fn trigger_differences(&self) -> Vec<String> {
        let Some((enabled, kind, is_partial)) = &self.trigger else {
            return vec![format!("the trigger {FEED} is missing")];
        };
        let mut all = Vec::new();
        if !matches!(enabled.as_str(), "O" | "A") {
            all.push(format!("the trigger {FEED} is disabled"));
        }
        if *kind != TRIGGER_TYPE || *is_partial {
            all.push(format!(
                "the trigger {FEED} does not fire for each row of INSERT, UPDATE and DELETE"
            ));
        }
        all
    }

    fn function_differences(&self, schema: &str) -> Vec<String> {
        let Some(function) = &self.function else {
            return vec![format!("the function {FEED}() is missing")];
        };
        let mut all = Vec::new();
        let body = TRIGGERS.split("$$").nth(1).unwrap_or_default().replace("{schema}", schema);
        if essence(&function.source) != essence(&body) {
            all.push(format!("the function {FEED}() is not as this version makes it"));
        }
        if !function.is_definer {
            all.push(format!("the function {FEED}() is not SECURITY DEFINER"));
        }
        if !function.config.contains("search_path=pg_catalog, pg_temp") {
            all.push(format!("the function {FEED}() does not set its search_path"));
        }
        all
    }
}

async fn remove(
    conn: &mut PgConnection,
    options: &ServerOptions,
    force: bool,
) -> Result<Vec<String>, Stop> {
    settle(conn, options).await?;
    if exists(conn, "ezdfs_meta").await?
        && let Some(other) = meta(conn, "base_table").await?
        && other != options.table
    {
        let what =
            format!("postgres {}: {}", options.place(), table::is_another(&other, &options.table));
        return Err(Error::new(ErrorKind::Config, what).into());
    }
    if !force && exists(conn, "ezdfs_pending").await? {
        let query = "SELECT count(*) FROM ezdfs_pending WHERE state <> 'ended'";
        let found = rows(conn, query, vec![]).await?;
        let pending = found.first().map(|row| decode::int(row, 0)).transpose();
        let pending = pending.map_err(during("read pending work"))?.flatten().unwrap_or_default();
        if pending > 0 {
            return Err(is_pending(u64::try_from(pending).unwrap_or_default()).into());
        }
    }
    let mut dropped = Vec::new();
    let has_feed = format!("SELECT to_regprocedure('{FEED}()') IS NOT NULL");
    if is(conn, &has_feed, vec![]).await? {
        // With the trigger, which only the table's owner may drop by itself.
        drop_object(conn, format!("DROP FUNCTION {FEED}() CASCADE")).await?;
        dropped.push(FEED.to_owned());
    }
    for table in SIDE_TABLES {
        if exists(conn, table).await? {
            drop_object(conn, format!("DROP TABLE {table}")).await?;
            dropped.push(table.to_owned());
        }
    }
    Ok(dropped)
}

async fn drop_object(conn: &mut PgConnection, text: String) -> Result<(), Stop> {
    let done = sqlx::raw_sql(AssertSqlSafe(text)).execute(conn).await;
    done.map(drop).map_err(during("remove the schema"))
}
