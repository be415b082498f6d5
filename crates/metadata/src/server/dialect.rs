//! What differs between the servers: how they are spoken to, the statements, and what their errors
//! mean.

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;

use ezdfs_core::{ErrorKind, FeedReader, FeedStart};

use super::address::Host;
use super::sql::Sql;
use super::statement::{Param, Statement};
use super::{Server, ServerOptions};
use crate::decode::Fields;

/// What a failed statement means for the transaction it was part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Somebody else was in the way, and nothing of the transaction stays: run it again. Deadlocks,
    /// serialization failures, lock time-outs, certification conflicts.
    Again,
    /// A row with that key exists. After a look that found none: run it again.
    Duplicate,
    /// The connection is gone.
    Lost,
    /// Anything else: what it is for the caller, and what to do.
    Other(ErrorKind, &'static str),
}

/// A kind of database server.
pub(crate) trait Dialect: Debug + Send + Sync + Sized + 'static {
    /// A connection.
    type Conn: Debug + Send + 'static;
    /// A row.
    type Row: Fields + Send + 'static;

    /// For people: `mysql`.
    const KIND: &'static str;
    /// Port of a host that names none.
    const PORT: u16;
    /// Whether a statement that fails leaves the transaction usable.
    const SURVIVES_FAILURE: bool;

    /// Whether the statement that takes a path waits by itself for whoever takes a subtree, and keeps
    /// it waiting.
    const INSERT_PASSES_GATE: bool;

    /// Whether that statement looks for holders by itself. If not, they are looked for before it.
    const INSERT_LOOKS: bool;

    /// What tells the planner that our tables have grown, where nothing else does so in time.
    const LOOK_AT_GROWTH: Option<&'static str>;

    /// Connects to one host and prepares the session.
    fn connect(
        options: &ServerOptions,
        host: &Host,
    ) -> impl Future<Output = Result<Self::Conn, sqlx::Error>> + Send;

    /// Whether the server takes writes.
    fn is_writable(conn: &mut Self::Conn)
    -> impl Future<Output = Result<bool, sqlx::Error>> + Send;

    /// The statements around a base table, as that table really is.
    fn sql(
        conn: &mut Self::Conn,
        table: &str,
    ) -> impl Future<Output = Result<Sql, sqlx::Error>> + Send;

    /// Runs a query and decodes each row as it comes: the server goes on with the rows behind it
    /// meanwhile.
    fn decode<T: Send>(
        conn: &mut Self::Conn,
        statement: &Statement,
        params: Vec<Param>,
        decode: impl Fn(Self::Row) -> Result<T, sqlx::Error> + Send,
    ) -> impl Future<Output = Result<Vec<T>, sqlx::Error>> + Send;

    /// Runs a query.
    fn fetch(
        conn: &mut Self::Conn,
        statement: &Statement,
        params: Vec<Param>,
    ) -> impl Future<Output = Result<Vec<Self::Row>, sqlx::Error>> + Send {
        Self::decode(conn, statement, params, Ok)
    }

    /// Runs a statement; says how many rows it changed.
    fn execute(
        conn: &mut Self::Conn,
        statement: &Statement,
        params: Vec<Param>,
    ) -> impl Future<Output = Result<u64, sqlx::Error>> + Send;

    /// Runs a statement without parameters that is not worth preparing.
    fn run(
        conn: &mut Self::Conn,
        text: &'static str,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// A reader of the change feed.
    fn feed(
        server: Arc<Server<Self>>,
        start: FeedStart,
    ) -> impl Future<Output = ezdfs_core::Result<Box<dyn FeedReader>>> + Send;

    /// ?1 key. A value of `ezdfs_meta`.
    fn meta() -> Statement;

    /// Whether an error says that a table is not there.
    fn is_missing(e: &sqlx::Error) -> bool;

    /// What an error means.
    fn fault(e: &sqlx::Error) -> Fault;
}
