//! `Listener`: the accept loop.
//!
//! hyper's connections are used directly and not through its version detection, whose wait for the
//! first bytes no time-out covers.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ezdfs_core::{Error, ErrorKind, Result};
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::connection::Connection;
use crate::protocol::{Protocol, detect};
use crate::settings::Limits;
use crate::stall::{Pace, StallGuard};
use crate::tls::Tls;

/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Requests that an HTTP/2 client may have open on one connection.
const STREAMS: u32 = 128;
/// Streams that a client may reset before they were looked at, and errors of its own that are
/// answered, before the connection is ended (CVE-2023-44487, CVE-2025-8671).
const RESETS: usize = 20;
/// How much of one answer waits in memory for an HTTP/2 client.
const SEND_BUFFER: usize = 64 << 10;
/// Between two looks whether a quiet HTTP/2 client is still there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(20);

/// A bound socket with its limits.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    limits: Limits,
    tls: Option<Tls>,
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
        Ok(Self { socket, address, limits, tls: None })
    }

    /// Takes a socket that somebody else bound, such as systemd.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when it is no listening TCP socket.
    pub fn adopt(socket: std::net::TcpListener, limits: Limits) -> Result<Self> {
        let adopted = socket
            .set_nonblocking(true)
            .and_then(|()| TcpListener::from_std(socket))
            .and_then(|socket| Ok((socket.local_addr()?, socket)));
        let (address, socket) = adopted.map_err(|e| {
            let message = "the socket that was passed on cannot be listened on";
            Error::new(ErrorKind::Config, message).with_source(e)
        })?;
        Ok(Self { socket, address, limits, tls: None })
    }

    /// The same listener, which speaks TLS alone.
    #[must_use]
    pub fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
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
        M: Fn(&Arc<Connection>) -> S,
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
        S::Future: Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Self { socket, address, limits, tls } = self;
        let server = Arc::new(Protocols::new(&limits, tls));
        let permits = Arc::new(Semaphore::new(limits.connections));
        let (stop, stopping) = watch::channel(false);
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
            let connection = Arc::new(Connection::new(peer));
            let service = service(&connection);
            let (server, stopping) = (Arc::clone(&server), stopping.clone());
            connections.spawn(async move {
                if let Err(e) = server.serve(stream, connection, service, stopping).await {
                    tracing::debug!(%peer, error = %e, "a connection ended early");
                }
                drop(permit);
            });
        }
        drop(socket);
        // Err: there is no connection.
        let _ = stop.send(true);
        let finish = async {
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
        };
        if tokio::time::timeout(limits.drain, finish).await.is_err() {
            tracing::warn!(%address, "answers under way were cut: they took longer than {:?}", limits.drain);
            connections.abort_all();
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
        }
    }
}

/// What went wrong with a connection.
type Fault = Box<dyn std::error::Error + Send + Sync>;

/// How connections of one listener are served.
struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    has_http2: bool,
    head_timeout: Duration,
    pace: Pace,
    tls: Option<Tls>,
}

impl Protocols {
    fn new(limits: &Limits, tls: Option<Tls>) -> Self {
        Self {
            http1: http1(limits),
            http2: http2(limits),
            has_http2: limits.http2,
            head_timeout: limits.head_timeout,
            pace: Pace::new(limits.stall_timeout, limits.min_rate),
            tls,
        }
    }

    /// Serves a connection to its end; after `stopping` to that of its answers under way.
    async fn serve<S, B>(
        &self,
        stream: TcpStream,
        connection: Arc<Connection>,
        service: S,
        mut stopping: watch::Receiver<bool>,
    ) -> std::result::Result<(), Fault>
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + 'static,
        S::Future: Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Fault>,
    {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let accepted = tokio::select! {
                accepted = tokio::time::timeout(self.head_timeout, tls.acceptor().accept(stream)) => accepted??,
                () = stopped(&mut stopping) => return Ok(()),
            };
            let is_http2 = accepted.get_ref().1.alpn_protocol() == Some(b"h2");
            return if is_http2 {
                self.serve_http2(accepted, &connection, service, stopping).await
            } else {
                self.serve_http1(accepted, service, stopping).await
            };
        }
        #[cfg(not(feature = "tls"))]
        let _ = &self.tls;
        if !self.has_http2 {
            return self.serve_http1(stream, service, stopping).await;
        }
        let (protocol, stream) = tokio::select! {
            detected = tokio::time::timeout(self.head_timeout, detect(stream)) => detected??,
            () = stopped(&mut stopping) => return Ok(()),
        };
        match protocol {
            Protocol::Http1 => self.serve_http1(stream, service, stopping).await,
            Protocol::Http2 => self.serve_http2(stream, &connection, service, stopping).await,
        }
    }

    async fn serve_http1<T, S, B>(
        &self,
        stream: T,
        service: S,
        mut stopping: watch::Receiver<bool>,
    ) -> std::result::Result<(), Fault>
    where
        T: AsyncRead + AsyncWrite + Unpin,
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        B: Body + 'static,
        B::Error: Into<Fault>,
    {
        let io = StallGuard::new(TokioIo::new(stream), self.pace);
        let mut serving = std::pin::pin!(self.http1.serve_connection(io, service));
        tokio::select! {
            end = serving.as_mut() => return Ok(end?),
            () = stopped(&mut stopping) => serving.as_mut().graceful_shutdown(),
        }
        Ok(serving.await?)
    }

    async fn serve_http2<T, S, B>(
        &self,
        stream: T,
        connection: &Connection,
        service: S,
        mut stopping: watch::Receiver<bool>,
    ) -> std::result::Result<(), Fault>
    where
        T: AsyncRead + AsyncWrite + Unpin,
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send,
        S::Future: Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Fault>,
    {
        let io = StallGuard::new(TokioIo::new(stream), self.pace);
        let mut serving = std::pin::pin!(self.http2.serve_connection(io, service));
        let mut watching = std::pin::pin!(connection.watch(self.pace));
        tokio::select! {
            end = serving.as_mut() => return Ok(end?),
            () = stopped(&mut stopping) => serving.as_mut().graceful_shutdown(),
            why = &mut watching => return Err(why.into()),
        }
        tokio::select! {
            end = serving.as_mut() => Ok(end?),
            why = watching => Err(why.into()),
        }
    }
}

/// Ends when the listener stops.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // Err: the listener is gone, which stops as well.
    let _ = stopping.wait_for(|stop| *stop).await;
}

async fn accept(
    socket: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
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

fn http2(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(RESETS)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
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
