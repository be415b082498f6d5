//! A small HTTP/1.1 client: one request per connection, read to its end.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer, complete.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The value of a header field that must not occur twice.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let (_, value) = values.next()?;
        assert!(values.next().is_none(), "header field {name} occurs twice");
        Some(value)
    }
}

/// Sends a request without a body. `target` goes on the wire as it is.
///
/// Panics on a time-out of 30 s and on an answer that is not whole: a body shorter or longer than
/// its `Content-Length`.
pub(crate) fn request(
    addr: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
) -> Response {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).unwrap();
    parse(&raw, method)
}

/// `GET` without further header fields.
pub(crate) fn get(addr: SocketAddr, target: &str) -> Response {
    request(addr, "GET", target, &[])
}

fn parse(raw: &[u8], method: &str) -> Response {
    let end = raw.windows(4).position(|w| w == b"\r\n\r\n").expect("an answer with a head");
    let head = std::str::from_utf8(&raw[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
    let headers = lines
        .map(|line| {
            let (name, value) = line.split_once(':').expect("a header field");
            (name.to_owned(), value.trim().to_owned())
        })
        .collect();
    let response = Response { status, headers, body: raw[end + 4..].to_vec() };
    let bodiless = method == "HEAD" || status == 204 || status == 304;
    let length = match response.header("content-length") {
        Some(length) if !bodiless => length.parse().unwrap(),
        _ => 0,
    };
    assert_eq!(response.body.len(), length, "the body has not the length announced: {head}");
    response
}

/// A path as it stands in a request target: everything but unreserved characters and slashes is
/// percent-encoded (RFC 3986 §2.3).
pub(crate) fn encode(path: &str) -> String {
    path.bytes().fold(String::new(), |mut out, b| {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(b));
            }
            _ => write!(out, "%{b:02X}").unwrap(),
        }
        out
    })
}
