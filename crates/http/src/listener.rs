//! `Listener`: the accept loop.
//!
//! hyper's HTTP/1 connection is used directly and not through version detection, whose wait for
//! the first bytes no time-out of hyper covers.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ezdfs_core::{Error, ErrorKind, Result};
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::settings::Limits;
use crate::stall::StallGuard;

/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound socket with its limits.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    limits: Limits,
}

impl Listener {
    /// Binds `address`; `key` is the configuration key that names it.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the address cannot be bound.
    pub async fn bind(key: &str, address: SocketAddr, limits: Limits) -> Result<Self> {
        let bound = TcpListener::bind(address).await;
        let bound = bound.and_then(|socket| Ok((socket.local_addr()?, socket)));
        let (address, socket) = bound.map_err(|e| {
            let message =
                format!("cannot listen on {address}; choose another address with `{key}`");
            Error::new(ErrorKind::Config, message).with_source(e)
        })?;
        Ok(Self { socket, address, limits })
    }

    /// The bound address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts connections until `shutdown` ends, each with its own service from `service`. Then
    /// lets answers under way finish, cuts those that take longer than the limit, and returns.
    ///
    /// A panic while a request is answered ends its connection alone.
    pub async fn run<M, S, B>(self, service: M, shutdown: impl Future<Output = ()>)
    where
        M: Fn(SocketAddr) -> S,
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
        S::Future: Send,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Self { socket, address, limits } = self;
        let http = http1(&limits);
        let permits = Arc::new(Semaphore::new(limits.connections));
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(ended) = connections.join_next() => {
                    report(ended);
                    continue;
                }
                accepted = accept(&socket, &permits) => accepted,
            };
            let (stream, peer, permit) = match accepted {
                Ok(accepted) => accepted,
                Err(e) => {
                    tracing::warn!(%address, error = %e, "a connection was not accepted");
                    if is_shortage(&e) {
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                    continue;
                }
            };
            let io = StallGuard::new(TokioIo::new(stream), limits.stall_timeout);
            let connection = graceful.watch(http.serve_connection(io, service(peer)));
            connections.spawn(async move {
                if let Err(e) = connection.await {
                    tracing::debug!(%peer, error = %e, "a connection ended early");
                }
                drop(permit);
            });
        }
        drop(socket);
        let finished = tokio::time::timeout(limits.drain, graceful.shutdown()).await;
        if finished.is_err() {
            tracing::warn!(%address, "answers under way were cut: they took longer than {:?}", limits.drain);
            connections.abort_all();
        }
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    }
}

async fn accept(
    socket: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = permits.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = socket.accept().await?;
    // Without it small answers wait 40 ms for an acknowledgement.
    stream.set_nodelay(true)?;
    Ok((stream, peer, permit))
}

/// Whether accepting again at once would fail again: descriptors or memory are used up. Other
/// errors are those of one connection that is gone (accept(2)).
fn is_shortage(e: &io::Error) -> bool {
    !matches!(
        e.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::NotConnected
    )
}

fn report(ended: std::result::Result<(), tokio::task::JoinError>) {
    if let Err(e) = ended
        && e.is_panic()
    {
        tracing::error!(error = %e, "a request was given up: a defect of ezdfs");
    }
}

fn http1(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_headers(limits.fields)
        // hyper refuses to go below.
        .max_buf_size(limits.head_bytes.max(8 << 10))
        .half_close(false);
    http
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accepted_connections_do_not_wait_for_acknowledgements() {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
        let (stream, _, _) = accept(&socket, &Arc::new(Semaphore::new(1))).await.unwrap();
        assert!(stream.nodelay().unwrap());
    }
}
