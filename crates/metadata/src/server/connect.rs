//! Connections: a bounded pool over the hosts of a cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
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
    /// Its host's place in the list.
    host: usize,
    /// The connector's epoch when it was made.
    epoch: u64,
}

/// What a connection is good for after a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Usable,
    Gone,
    /// Its host takes no writes any more, and there are others.
    ReadOnly,
}

/// Makes connections.
#[derive(Debug)]
pub(crate) struct Connector<D> {
    options: Arc<ServerOptions>,
    /// Where the next connection is tried first.
    current: AtomicUsize,
    /// Counts hosts that were left: connections of an earlier epoch are not used again.
    epoch: AtomicU64,
    dialect: std::marker::PhantomData<D>,
}

impl<D: Dialect> managed::Manager for Connector<D> {
    type Type = Live<D::Conn>;
    type Error = sqlx::Error;

    async fn create(&self) -> Result<Self::Type, sqlx::Error> {
        let hosts = &self.options.hosts;
        // The epoch first: a host that is left meanwhile takes this connection with it.
        let epoch = self.epoch.load(Ordering::SeqCst);
        let first = self.current.load(Ordering::SeqCst);
        let mut failed = sqlx::Error::Configuration("no host is configured".into());
        for at in (0..hosts.len()).map(|n| (first + n) % hosts.len()) {
            let Some(host) = hosts.get(at) else { continue };
            match self.connect(host).await {
                Ok(conn) => {
                    self.current.store(at, Ordering::SeqCst);
                    return Ok(Live { conn, is_dirty: false, host: at, epoch });
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
        if live.epoch != self.epoch.load(Ordering::SeqCst) {
            return Err(RecycleError::message("its host was left"));
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

    /// Leaves the host of a connection. Whoever else has one there does not move on from the next.
    fn leave(&self, live: &Live<D::Conn>) {
        let left = live.epoch.wrapping_add(1);
        let order = Ordering::SeqCst;
        if self.epoch.compare_exchange(live.epoch, left, order, order).is_err() {
            return;
        }
        let hosts = &self.options.hosts;
        if let Some(host) = hosts.get(live.host) {
            tracing::warn!(%host, "a database host takes no writes any more; the next one is tried");
        }
        self.current.store((live.host + 1) % hosts.len().max(1), order);
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
            epoch: AtomicU64::new(0),
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
            PoolError::Backend(e) if is_refused_certificate(&e) => Error::new(
                ErrorKind::Unavailable,
                format!(
                    "{} {}: cannot connect; the server's certificate is refused, check `tls` and `tls_ca`",
                    D::KIND,
                    self.options.place()
                ),
            )
            .with_source(e),
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

    /// What a connection is good for after a statement that failed.
    pub(crate) fn state(&self, fault: Fault) -> State {
        match fault {
            Fault::Lost => State::Gone,
            Fault::Other(ErrorKind::ReadOnly, _) if self.options.hosts.len() > 1 => State::ReadOnly,
            _ => State::Usable,
        }
    }

    /// Gives a connection back, or closes it: in the pool it would keep the locks of its transaction
    /// until somebody wanted to use it.
    pub(crate) fn settle(&self, mut lent: Lent<D>, state: State) {
        if state == State::ReadOnly {
            self.pool.manager().leave(&lent);
        }
        if state == State::Usable {
            lent.is_dirty = false;
        } else {
            drop(Object::take(lent));
        }
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

/// rustls says so of a certificate, and of nothing else while a connection is made.
fn is_refused_certificate(e: &sqlx::Error) -> bool {
    matches!(e, sqlx::Error::Io(e) if e.kind() == std::io::ErrorKind::InvalidData)
}
