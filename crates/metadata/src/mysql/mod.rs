//! MariaDB 10.6 and later, MySQL 8.0 and later.
//!
//! | file | subject |
//! |---|---|
//! | `names` | how names are compared, whatever the base table's collation |
//! | `sql` | the statements |
//! | `feed` | the reader of the change feed |
//! | `holes` | numbers of the feed that a later one overtook |
//! | `session` | what each connection is told first |
//! | `fault` | what errors mean |
//! | `schema` | making and removing tables and triggers |
//! | `triggers` | the triggers as they are |
//! | `check` | looking at all that |

mod check;
mod fault;
mod feed;
mod holes;
mod names;
mod schema;
mod triggers;

pub use schema::{check, ddl, install, uninstall};
#[cfg(test)]
mod plans;
mod session;
mod sql;

use std::sync::Arc;

use ezdfs_core::{FeedReader, FeedStart, MetadataStore};
use futures::TryStreamExt as _;
use sqlx::mysql::{MySql as Db, MySqlArguments, MySqlConnection, MySqlRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Row as _};

use crate::server::dialect::{Dialect, Fault};
use crate::server::sql::Sql;
use crate::server::statement::{Param, Statement};
use crate::server::{Host, Server, ServerMetadata, ServerOptions};

/// How MySQL and MariaDB are spoken to.
#[derive(Debug)]
pub(crate) struct Mysql;

/// Opens a database on which `ezdfs schema install` was run. Changes nothing in it.
///
/// # Errors
/// [`ezdfs_core::ErrorKind::Config`] when the schema is not there, or is another version's or
/// another table's; else what the server says.
pub async fn open(options: ServerOptions) -> ezdfs_core::Result<Arc<dyn MetadataStore>> {
    Ok(Arc::new(ServerMetadata::<Mysql>::open(options).await?))
}

crate::decode::fields!(MySqlRow);

fn query(text: Arc<str>, params: Vec<Param>) -> Query<'static, Db, MySqlArguments> {
    params.into_iter().fold(sqlx::query(AssertSqlSafe(text)), |query, param| match param {
        Param::Text(value) => query.bind(value),
        Param::MaybeText(value) => query.bind(value),
        Param::Int(value) => query.bind(value),
        Param::MaybeInt(value) => query.bind(value),
        Param::Bool(value) => query.bind(value),
        // Lists were written out by `Statement::render`; one that is no `@in` has no meaning.
        Param::Texts(_) | Param::Ints(_) => query.bind(None::<i64>),
    })
}

impl Dialect for Mysql {
    type Conn = MySqlConnection;
    type Row = MySqlRow;

    const KIND: &'static str = "mysql";
    const PORT: u16 = 3306;
    const SURVIVES_FAILURE: bool = true;
    const LOOK_AT_GROWTH: Option<&'static str> = None;
    const INSERT_PASSES_GATE: bool = false;
    // An INSERT with a SELECT locks the table's numbers, by default on MariaDB: while one waits for a
    // holder that is about to commit, nobody could take any path.
    const INSERT_LOOKS: bool = false;

    async fn connect(options: &ServerOptions, host: &Host) -> Result<MySqlConnection, sqlx::Error> {
        session::connect(options, host).await
    }

    async fn is_writable(conn: &mut MySqlConnection) -> Result<bool, sqlx::Error> {
        // A number or a word, by version.
        let row = sqlx::raw_sql(
            "SELECT CAST(@@global.read_only AS CHAR) IN ('0', 'OFF') \
             AND @@global.innodb_read_only = 0",
        )
        .fetch_one(conn)
        .await?;
        let is_writable: i64 = row.try_get_unchecked(0)?;
        Ok(is_writable != 0)
    }

    async fn sql(conn: &mut MySqlConnection, table: &str) -> Result<Sql, sqlx::Error> {
        let names = names::Names::of(conn, table).await?;
        Ok(sql::sql(table, &names))
    }

    async fn decode<T: Send>(
        conn: &mut MySqlConnection,
        statement: &Statement,
        params: Vec<Param>,
        decode: impl Fn(MySqlRow) -> Result<T, sqlx::Error> + Send,
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
        conn: &mut MySqlConnection,
        statement: &Statement,
        params: Vec<Param>,
    ) -> Result<u64, sqlx::Error> {
        let (text, params) = statement.render(params);
        query(text, params).execute(conn).await.map(|done| done.rows_affected())
    }

    async fn run(conn: &mut MySqlConnection, text: &'static str) -> Result<(), sqlx::Error> {
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
        Statement::pieces("SELECT `value` FROM ezdfs_meta WHERE `key` = ?1")
    }

    fn is_missing(e: &sqlx::Error) -> bool {
        fault::number(e) == Some(fault::NO_SUCH_TABLE)
    }

    fn fault(e: &sqlx::Error) -> Fault {
        fault::of(e)
    }
}
