//! `CarelessProxy`: a server as it would be if it ignored conditions, as some stores do.

// A proxy that fails ends the test.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Longest head of a request, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// Takes `If-Match` and `If-None-Match` out of every request to an HTTP server that closes its
/// connections after one answer, as the test server of S3 does. Ends when it is dropped.
#[derive(Debug)]
pub struct CarelessProxy {
    address: SocketAddr,
    _accept: JoinSet<()>,
}

impl CarelessProxy {
    /// Forwards to `host:port`.
    pub async fn start(host: &str, port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = format!("{host}:{port}");
        let mut accept = JoinSet::new();
        accept.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                while connections.try_join_next().is_some() {}
                connections.spawn(forward(client, target.clone()));
            }
        });
        Self { address, _accept: accept }
    }

    /// `http://127.0.0.1:port`
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

async fn forward(mut client: TcpStream, target: String) {
    let Some((head, rest)) = read_head(&mut client).await else { return };
    let Ok(mut server) = TcpStream::connect(&target).await else { return };
    // Each of the two may still be sending when the other one has gone.
    drop(server.write_all(&without_conditions(&head)).await);
    drop(server.write_all(&rest).await);
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    tokio::select! {
        _ = copy(&mut from_server, &mut to_client) => {}
        () = async {
            drop(copy(&mut from_client, &mut to_server).await);
            std::future::pending().await
        } => {}
    }
}

/// The head of a request with its empty line, and what came with it.
async fn read_head(client: &mut TcpStream) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    while bytes.len() < MAX_HEAD {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Some((bytes, rest));
        }
        let read = client.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
    }
    None
}

fn without_conditions(head: &[u8]) -> Vec<u8> {
    let is_condition = |line: &[u8]| {
        [b"if-match:".as_slice(), b"if-none-match:"].iter().any(|name| {
            line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
        })
    };
    let mut kept = Vec::with_capacity(head.len());
    for line in head.split_inclusive(|b| *b == b'\n') {
        if !is_condition(line) {
            kept.extend_from_slice(line);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::without_conditions;

    #[test]
    fn only_conditions_go() {
        let head = b"PUT /a HTTP/1.1\r\nIf-None-Match: *\r\nhost: x\r\nif-match: \"1\"\r\nx-if-match: 2\r\n\r\n";
        assert_eq!(
            without_conditions(head),
            b"PUT /a HTTP/1.1\r\nhost: x\r\nx-if-match: 2\r\n\r\n"
        );
    }
}
