//! Requests, with everything that can go wrong.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A node that stands still answers when it goes on.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a node is asked. The body's length is told.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) fields: Vec<(&'a str, String)>,
    pub(crate) body: &'a [u8],
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    fn field(&self, name: &str) -> Option<String> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    }
}

/// What a node answered to a `GET`.
#[derive(Debug)]
pub(crate) enum Answer {
    /// 200 with all its bytes.
    Whole { body: Vec<u8>, etag: Option<String>, media_type: Option<String> },
    /// 404.
    Missing,
    /// 503, or no whole answer.
    Failed(String),
    /// Any other status.
    Strange(u16),
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    let target = format!("/{}/{path}", crate::site::PREFIX);
    let request = Request { method: "GET", target: &target, fields: Vec::new(), body: &[] };
    let response = match tokio::time::timeout(PATIENCE, exchange(address, request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(e)) => return Answer::Failed(format!("no whole answer: {}", e.kind())),
        Err(_) => return Answer::Failed(format!("no answer in {PATIENCE:?}")),
    };
    match response.status {
        200 => {
            let (etag, media_type) = (response.field("etag"), response.field("content-type"));
            Answer::Whole { body: response.body, etag, media_type }
        }
        404 => Answer::Missing,
        503 => Answer::Failed("503".to_owned()),
        other => Answer::Strange(other),
    }
}

/// One request on a connection of its own. An answer that is cut off is an error.
pub(crate) async fn exchange(
    address: SocketAddr,
    request: Request<'_>,
) -> std::io::Result<Response> {
    let Request { method, target, fields, body } = request;
    let mut stream = TcpStream::connect(address).await?;
    let mut head =
        format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in fields {
        head += &format!("{name}: {value}\r\n");
    }
    if method != "GET" {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    head += "\r\n";
    stream.write_all(head.as_bytes()).await?;
    // Who refuses does not read to the end.
    drop(stream.write_all(body).await);
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).await?;
    let broken = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let end = raw.windows(4).position(|w| w == b"\r\n\r\n").ok_or_else(broken)?;
    let head = String::from_utf8_lossy(&raw[..end]).into_owned();
    let status = head.get(9..12).and_then(|s| s.parse().ok()).ok_or_else(broken)?;
    let response = Response { status, head, body: raw.split_off(end + 4) };
    let length = response.field("content-length").and_then(|n| n.parse::<usize>().ok());
    // The connection was cut: an error, and no version.
    if length.is_some_and(|length| length != response.body.len())
        || (status == 200 && length.is_none())
    {
        return Err(broken());
    }
    Ok(response)
}
