//! PostgreSQL 13 and later.
//!
//! | file | subject |
//! |---|---|
//! | `sql` | the statements |
//! | `feed` | the reader of the change feed |
//! | `schema` | making and removing tables and trigger |
//! | `check` | looking at them |

mod check;
mod feed;
mod schema;
mod sql;

pub use schema::{check, ddl, install, uninstall};
#[cfg(test)]
mod plans;

use std::sync::Arc;

use ezdfs_core::{ErrorKind, FeedReader, FeedStart, MetadataStore};
use futures::TryStreamExt as _;
use sqlx::postgres::{
    PgArguments, PgConnectOptions, PgConnection, PgRow, PgSslMode, Postgres as Db,
};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};

use crate::server::dialect::{Dialect, Fault};
use crate::server::sql::Sql;
use crate::server::statement::{Param, Statement};
use crate::server::{Host, Server, ServerMetadata, ServerOptions, Tls};

/// How PostgreSQL is spoken to.
#[derive(Debug)]
pub(crate) struct Postgres;

/// Opens a database on which `ezdfs schema install` was run. Changes nothing in it.
///
/// # Errors
/// [`ErrorKind::Config`] when the schema is not there, or is another version's or another table's;
/// else what the server says.
pub async fn open(options: ServerOptions) -> ezdfs_core::Result<Arc<dyn MetadataStore>> {
    Ok(Arc::new(ServerMetadata::<Postgres>::open(options).await?))
}

crate::decode::fields!(PgRow);

/// Longest wait for a row or table that another transaction has locked.
const LOCK_TIMEOUT: &str = "10s";

fn query(text: Arc<str>, params: Vec<Param>) -> Query<'static, Db, PgArguments> {
    params.into_iter().fold(sqlx::query(AssertSqlSafe(text)), |query, param| match param {
        Param::Text(value) => query.bind(value),
        Param::MaybeText(value) => query.bind(value),
        Param::Int(value) => query.bind(value),
        Param::MaybeInt(value) => query.bind(value),
        Param::Bool(value) => query.bind(value),
        Param::Texts(values) => query.bind(values),
        Param::Ints(values) => query.bind(values),
    })
}

/// Whether the database compares text by bytes.
async fn is_bytewise(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    // `C`, `POSIX` and libc's `C.UTF-8` compare by bytes.
    let row = sqlx::query(
        "SELECT datcollate IN ('C', 'POSIX', 'C.UTF-8', 'C.utf8') AND datlocprovider = 'c' \
         FROM (SELECT datcollate, to_jsonb(d) ->> 'datlocprovider' AS given FROM pg_database d \
         WHERE datname = current_database()) x, LATERAL (SELECT coalesce(given, 'c') AS datlocprovider) y",
    )
    .fetch_one(conn)
    .await?;
    row.try_get(0)
}

impl Dialect for Postgres {
    type Conn = PgConnection;
    type Row = PgRow;

    const KIND: &'static str = "postgres";
    const PORT: u16 = 5432;
    const SURVIVES_FAILURE: bool = false;
    const LOOK_AT_GROWTH: Option<&'static str> = Some("ANALYZE ezdfs_node");
    // Its lock on the table is taken before its snapshot is made.
    const INSERT_PASSES_GATE: bool = true;
    const INSERT_LOOKS: bool = true;

    async fn connect(options: &ServerOptions, host: &Host) -> Result<PgConnection, sqlx::Error> {
        let mut connect = PgConnectOptions::new_without_pgpass()
            .host(&host.name)
            .port(host.port.unwrap_or(Self::PORT))
            .username(&options.user)
            .database(&options.database)
            .application_name("ezdfs")
            .ssl_mode(match &options.tls {
                Tls::Off => PgSslMode::Disable,
                Tls::Prefer => PgSslMode::Prefer,
                Tls::Verify(_) => PgSslMode::VerifyFull,
            })
            .ssl_root_cert_from_pem(options.tls.authorities())
            .disable_statement_logging();
        if let Some(password) = &options.password {
            connect = connect.password(password.reveal());
        }
        let mut conn = connect.connect().await?;
        // In the session and not in the start-up packet, which poolers refuse.
        sqlx::query(
            "SELECT set_config('ezdfs.origin', $1, false), \
             set_config('statement_timeout', $2, false), set_config('lock_timeout', $3, false), \
             set_config('idle_in_transaction_session_timeout', $2, false), \
             set_config('default_transaction_isolation', 'read committed', false)",
        )
        .bind(&options.origin)
        .bind(format!("{}ms", options.io_timeout.as_millis()))
        .bind(LOCK_TIMEOUT)
        .execute(&mut conn)
        .await?;
        Ok(conn)
    }

    async fn is_writable(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
        // Also a server that is up, but told to take no writes.
        let row = sqlx::query(
            "SELECT NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'",
        )
        .fetch_one(conn)
        .await?;
        row.try_get(0)
    }

    async fn sql(conn: &mut PgConnection, table: &str) -> Result<Sql, sqlx::Error> {
        let names = if is_bytewise(conn).await? { sql::Names::Plain } else { sql::Names::Pattern };
        Ok(sql::sql(table, names))
    }

    async fn decode<T: Send>(
        conn: &mut PgConnection,
        statement: &Statement,
        params: Vec<Param>,
        decode: impl Fn(PgRow) -> Result<T, sqlx::Error> + Send,
    ) -> Result<Vec<T>, sqlx::Error> {
        let (text, params) = statement.render(params);
        let mut rows = query(text, params).fetch(conn);
        let mut decoded = Vec::new();
        while let Some(row) = rows.try_next().await? {
            decoded.push(decode(row)?);
        }
        Ok(decoded)
    }

    async fn execute(
        conn: &mut PgConnection,
        statement: &Statement,
        params: Vec<Param>,
    ) -> Result<u64, sqlx::Error> {
        let (text, params) = statement.render(params);
        query(text, params).execute(conn).await.map(|done| done.rows_affected())
    }

    async fn run(conn: &mut PgConnection, text: &'static str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(text).execute(conn).await.map(drop)
    }

    async fn feed(
        server: Arc<Server<Self>>,
        start: FeedStart,
    ) -> ezdfs_core::Result<Box<dyn FeedReader>> {
        feed::Reader::open(server, start)
            .await
            .map(|reader| Box::new(reader) as Box<dyn FeedReader>)
    }

    fn meta() -> Statement {
        Statement::numbered("SELECT value FROM ezdfs_meta WHERE key = ?1")
    }

    fn is_missing(e: &sqlx::Error) -> bool {
        code(e).as_deref() == Some("42P01")
    }

    fn fault(e: &sqlx::Error) -> Fault {
        use ErrorKind as K;
        let Some(code) = code(e) else {
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
        // postgresql.org/docs/current/errcodes-appendix.html
        match code.as_str() {
            "40001" | "40P01" | "55P03" => Fault::Again,
            "23505" => Fault::Duplicate,
            // Shutting down, crashed, or starting.
            "57P01" | "57P02" | "57P03" => Fault::Lost,
            "57014" => Fault::Other(K::TimedOut, "; the statement took too long"),
            "28000" | "28P01" => Fault::Other(K::PermissionDenied, "; check user and password"),
            "3D000" => Fault::Other(K::Config, "; there is no such database"),
            "42501" => Fault::Other(
                K::PermissionDenied,
                "; the user lacks a privilege, see `ezdfs schema check`",
            ),
            "42P01" | "42703" => {
                Fault::Other(K::Config, "; a table or column is missing, see `ezdfs schema check`")
            }
            "25006" => Fault::Other(K::ReadOnly, "; the server takes no writes"),
            "53100" => Fault::Other(K::NoSpace, "; the server's disk is full"),
            "53300" => Fault::Other(K::Unavailable, "; the server has no connection left"),
            "54000" | "22001" => {
                Fault::Other(K::TooLarge, "; a name is too long for this database")
            }
            "22021" => Fault::Other(K::InvalidPath, "; the database cannot hold such a name"),
            code if code.starts_with("08") => Fault::Lost,
            _ => Fault::Other(K::Unavailable, ""),
        }
    }
}

fn code(e: &sqlx::Error) -> Option<String> {
    Some(e.as_database_error()?.code()?.into_owned())
}
