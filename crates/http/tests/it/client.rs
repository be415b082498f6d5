//! A client of raw bytes: what it reads is exactly what the server sent.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// One answer, as it came over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Lower-case names; repeated fields joined with `, `.
    pub(crate) fields: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// Parses everything up to the end of the connection.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let end = bytes
            .windows(4)
            .position(|w| w == b"\r\n\r\n")
            .unwrap_or_else(|| panic!("no complete head in {:?}", String::from_utf8_lossy(bytes)));
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let mut fields: BTreeMap<String, String> = BTreeMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            fields
                .entry(name.to_ascii_lowercase())
                .and_modify(|v| *v = format!("{v}, {value}"))
                .or_insert_with(|| value.to_owned());
        }
        Self { status, fields, body: bytes[end + 4..].to_vec() }
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// The value of `Content-Length`.
    pub(crate) fn length(&self) -> Option<usize> {
        self.field("content-length").map(|l| l.parse().unwrap())
    }

    /// Whether the body is as long as the head says.
    pub(crate) fn is_complete(&self) -> bool {
        self.length() == Some(self.body.len())
    }

    /// The parts of a complete multipart/byteranges answer: where each says that it is from, and its
    /// bytes.
    pub(crate) fn parts(&self, media_type: &str) -> Vec<(String, &[u8])> {
        let boundary = self.field("content-type").unwrap();
        let boundary = boundary.strip_prefix("multipart/byteranges; boundary=").unwrap();
        let mut rest = &self.body[..];
        let mut found = Vec::new();
        loop {
            let start = format!("--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: ");
            rest = rest.strip_prefix(start.as_bytes()).expect("the head of a part");
            let end = rest.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
            let place = String::from_utf8(rest[..end].to_vec()).unwrap();
            rest = &rest[end + 4..];
            let (span, _) = place.strip_prefix("bytes ").unwrap().split_once('/').unwrap();
            let (first, last) = span.split_once('-').unwrap();
            let length = last.parse::<usize>().unwrap() + 1 - first.parse::<usize>().unwrap();
            let (part, behind) = rest.split_at(length);
            found.push((place, part));
            rest = behind.strip_prefix(b"\r\n").unwrap();
            if rest == format!("--{boundary}--\r\n").as_bytes() {
                return found;
            }
        }
    }
}

/// Sends `bytes` and reads to the end of the connection.
pub(crate) async fn exchange(server: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server).await.unwrap();
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let mut chunk = [0; 16 << 10];
    loop {
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return answer,
            Ok(n) => answer.extend_from_slice(&chunk[..n]),
        }
    }
}

/// A request head with `Host`, ended by an empty line.
pub(crate) fn head(method: &str, target: &str, fields: &[(&str, &str)]) -> String {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in fields {
        text += &format!("{name}: {value}\r\n");
    }
    text + "\r\n"
}

/// One request on a connection of its own.
pub(crate) async fn request(
    server: SocketAddr,
    method: &str,
    target: &str,
    fields: &[(&str, &str)],
) -> Reply {
    let mut fields = fields.to_vec();
    fields.push(("Connection", "close"));
    Reply::parse(&exchange(server, head(method, target, &fields).as_bytes()).await)
}
