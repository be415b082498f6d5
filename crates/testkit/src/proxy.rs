//! A TCP proxy before a server: counts round trips, and fails as networks do: cuts, swallows,
//! refuses, delays, throttles.

// A proxy that fails ends the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A proxy on a free port of 127.0.0.1; ends with its connections when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
    cut: watch::Sender<u64>,
    _accept: JoinSet<()>,
}

#[derive(Debug, Default)]
struct State {
    /// The direction of the last bytes: whether they came from a client.
    is_client: AtomicBool,
    round_trips: AtomicU64,
    is_silent: AtomicBool,
    refuses: AtomicBool,
    /// Milliseconds that each piece waits on its way.
    delay: AtomicU64,
    /// Bytes of each connection and direction in a second; 0 for all there are.
    rate: AtomicU64,
}

impl Proxy {
    /// Forwards to `host:port`.
    pub async fn start(host: &str, port: u16) -> Self {
        Self::start_on(Ipv4Addr::LOCALHOST, host, port).await
    }

    /// The same with another loopback address of its own: clients find it there, and the server
    /// sees it come from there.
    pub async fn start_on(own: Ipv4Addr, host: &str, port: u16) -> Self {
        let listener = TcpListener::bind((own, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = format!("{host}:{port}");
        let state = Arc::new(State::default());
        let (cut, generation) = watch::channel(0);
        let mut accept = JoinSet::new();
        let shared = Arc::clone(&state);
        accept.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if shared.refuses.load(Ordering::SeqCst) {
                    continue;
                }
                let (target, state) = (target.clone(), Arc::clone(&shared));
                let generation = generation.clone();
                connections.spawn(forward(client, target, state, generation));
            }
        });
        Self { address, state, cut, _accept: accept }
    }

    /// Where clients connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How often the direction turned from client to server since the last question: the round
    /// trips, as long as one connection is used at a time.
    #[must_use]
    pub fn take_round_trips(&self) -> u64 {
        self.state.round_trips.swap(0, Ordering::SeqCst)
    }

    /// Closes every connection.
    pub fn cut(&self) {
        self.cut.send_modify(|generation| *generation += 1);
    }

    /// Swallows everything from now on, or forwards again: connections stay open, nobody answers.
    pub fn silence(&self, is_silent: bool) {
        self.state.is_silent.store(is_silent, Ordering::SeqCst);
    }

    /// Each piece of a connection waits so long from now on, in each direction; zero ends it.
    pub fn delay(&self, delay: Duration) {
        let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.state.delay.store(millis, Ordering::SeqCst);
    }

    /// Each connection carries so many bytes a second from now on, in each direction; 0 ends it.
    pub fn throttle(&self, bytes_per_second: u64) {
        self.state.rate.store(bytes_per_second, Ordering::SeqCst);
    }

    /// Forwards everything at once, and takes new connections.
    pub fn heal(&self) {
        self.silence(false);
        self.refuse(false);
        self.delay(Duration::ZERO);
        self.throttle(0);
    }

    /// Closes new connections at once, or takes them again.
    pub fn refuse(&self, refuses: bool) {
        self.state.refuses.store(refuses, Ordering::SeqCst);
    }
}

async fn forward(
    client: TcpStream,
    target: String,
    state: Arc<State>,
    mut generation: watch::Receiver<u64>,
) {
    generation.mark_unchanged();
    let own = client.local_addr().unwrap().ip();
    let Ok(server) = connect(own, &target).await else { return };
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = pump(from_client, to_server, &state, true) => {}
        () = pump(from_server, to_client, &state, false) => {}
        _ = generation.changed() => {}
    }
}

async fn connect(own: IpAddr, target: &str) -> std::io::Result<TcpStream> {
    if own == Ipv4Addr::LOCALHOST {
        return TcpStream::connect(target).await;
    }
    let target = lookup_host(target).await?.find(SocketAddr::is_ipv4);
    let target = target.ok_or(std::io::ErrorKind::AddrNotAvailable)?;
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(own, 0))?;
    socket.connect(target).await
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: &State, is_client: bool) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if state.is_silent.load(Ordering::SeqCst) {
            continue;
        }
        let was_client = state.is_client.swap(is_client, Ordering::SeqCst);
        if is_client && !was_client {
            state.round_trips.fetch_add(1, Ordering::SeqCst);
        }
        let rate = state.rate.load(Ordering::SeqCst);
        let slow = u64::try_from(read).unwrap().saturating_mul(1_000).checked_div(rate);
        let wait = state.delay.load(Ordering::SeqCst).saturating_add(slow.unwrap_or(0));
        if wait > 0 {
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    /// A server that sends back what it gets, behind a proxy; a connection to it.
    async fn echo() -> (Proxy, TcpStream, JoinSet<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut server = JoinSet::new();
        server.spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut from, mut to) = stream.split();
            drop(tokio::io::copy(&mut from, &mut to).await);
        });
        let proxy = Proxy::start("127.0.0.1", port).await;
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await.unwrap();
        (proxy, stream, server)
    }

    async fn round_trip(stream: &mut TcpStream, bytes: usize) -> Duration {
        let started = Instant::now();
        stream.write_all(&vec![7; bytes]).await.unwrap();
        let mut answer = vec![0; bytes];
        stream.read_exact(&mut answer).await.unwrap();
        started.elapsed()
    }

    #[tokio::test]
    async fn it_delays_and_throttles_until_it_is_healed() {
        let (proxy, mut stream, _server) = echo().await;
        proxy.delay(Duration::from_millis(60));
        assert!(round_trip(&mut stream, 1).await >= Duration::from_millis(120));
        proxy.heal();
        proxy.throttle(10_000);
        // In both directions.
        assert!(round_trip(&mut stream, 1_000).await >= Duration::from_millis(200));
        proxy.heal();
        assert!(round_trip(&mut stream, 1_000).await < Duration::from_millis(100));
        proxy.cut();
        assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
    }
}
