//! Connections: a bounded pool over the hosts of a cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{self, Metrics, Object, Pool, PoolError, RecycleError, Timeouts};
use ezdfs_core::{Error, ErrorKind, Result};

use super::ServerOptions;
use super::dialect::{Dialect, Fault};

/// Longest time that one host may take to accept a connection, when there are others to try.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection, and whether a statement is under way on it: then it may not be used again.
#[derive(Debug)]
pub(crate) struct Live<C> {
    pub(crate) conn: C,
    pub(crate) is_dirty: bool,
}

/// Makes connections.
#[derive(Debug)]
pub(crate) struct Connector<D> {
    options: Arc<ServerOptions>,
    /// Where the last connection was made.
    current: AtomicUsize,
    dialect: std::marker::PhantomData<D>,
}

impl<D: Dialect> managed::Manager for Connector<D> {
    type Type = Live<D::Conn>;
    type Error = sqlx::Error;

    async fn create(&self) -> Result<Self::Type, sqlx::Error> {
        let hosts = &self.options.hosts;
        let first = self.current.load(Ordering::Relaxed);
        let mut failed = sqlx::Error::Configuration("no host is configured".into());
        for at in (0..hosts.len()).map(|n| (first + n) % hosts.len()) {
            let Some(host) = hosts.get(at) else { continue };
            match self.connect(host).await {
                Ok(conn) => {
                    self.current.store(at, Ordering::Relaxed);
                    return Ok(Live { conn, is_dirty: false });
                }
                Err(e) => {
                    if hosts.len() > 1 {
                        tracing::warn!(%host, error = %e, "a database host cannot be used; the next one is tried");
                    }
                    failed = e;
                }
            }
        }
        Err(failed)
    }

    async fn recycle(
        &self,
        live: &mut Self::Type,
        _: &Metrics,
    ) -> managed::RecycleResult<sqlx::Error> {
        if live.is_dirty {
            return Err(RecycleError::message("a statement was interrupted"));
        }
        Ok(())
    }
}

impl<D: Dialect> Connector<D> {
    async fn connect(&self, host: &super::Host) -> Result<D::Conn, sqlx::Error> {
        let wait = CONNECT_TIMEOUT.min(self.options.io_timeout);
        let late = |_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
        let connect = tokio::time::timeout(wait, D::connect(&self.options, host));
        let mut conn = connect.await.map_err(late)??;
        if self.options.hosts.len() > 1 {
            let asked = tokio::time::timeout(wait, D::is_writable(&mut conn));
            if !asked.await.map_err(late)?? {
                return Err(sqlx::Error::Configuration(
                    "the server is a replica and takes no writes".into(),
                ));
            }
        }
        Ok(conn)
    }
}

/// A connection out of the pool.
pub(crate) type Lent<D> = Object<Connector<D>>;

/// The pool of a store.
#[derive(Debug, Clone)]
pub(crate) struct Connections<D: Dialect> {
    pool: Pool<Connector<D>>,
    options: Arc<ServerOptions>,
}

impl<D: Dialect> Connections<D> {
    pub(crate) fn new(options: Arc<ServerOptions>) -> Result<Self> {
        let connector = Connector {
            options: Arc::clone(&options),
            current: AtomicUsize::new(0),
            dialect: std::marker::PhantomData,
        };
        let pool = Pool::builder(connector)
            .max_size(options.connections.max(1))
            .timeouts(Timeouts { wait: Some(options.io_timeout), create: None, recycle: None })
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|e| {
                Error::new(ErrorKind::Internal, "the connection pool cannot be made").with_source(e)
            })?;
        Ok(Self { pool, options })
    }

    /// Where the database is, for people.
    #[cfg(feature = "mysql")]
    pub(crate) fn place(&self) -> String {
        self.options.place()
    }

    pub(crate) async fn lend(&self) -> Result<Lent<D>> {
        self.pool.get().await.map_err(|e| match e {
            PoolError::Backend(e) => self.failed("connect", e),
            PoolError::Timeout(_) => Error::new(
                ErrorKind::TimedOut,
                format!(
                    "{} {}: all {} connections are busy for {:?}",
                    D::KIND,
                    self.options.place(),
                    self.options.connections,
                    self.options.io_timeout
                ),
            ),
            e => Error::new(ErrorKind::Internal, "the connection pool fails").with_source(e),
        })
    }

    /// What a failed statement means, with the place and what was being done.
    pub(crate) fn failed(&self, what: &str, e: sqlx::Error) -> Error {
        let (kind, hint) = match D::fault(&e) {
            Fault::Again => (ErrorKind::Unavailable, "; others were in the way again and again"),
            Fault::Duplicate => (ErrorKind::Unavailable, "; others wrote the same rows"),
            Fault::Lost => (ErrorKind::Unavailable, "; the server does not answer"),
            Fault::Other(kind, hint) => (kind, hint),
        };
        let place = self.options.place();
        Error::new(kind, format!("{} {place}: cannot {what}{hint}", D::KIND)).with_source(e)
    }

    /// A statement that took too long.
    pub(crate) fn too_late(&self, what: &str) -> Error {
        Error::new(
            ErrorKind::TimedOut,
            format!(
                "{} {}: cannot {what}: no answer in {:?}",
                D::KIND,
                self.options.place(),
                self.options.io_timeout
            ),
        )
    }
}
