//! A TCP proxy before a server: counts round trips, and fails as networks do.

// A proxy that fails ends the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

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
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
