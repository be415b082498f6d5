//! A `GET`, with everything that can go wrong.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A node that stands still answers when it goes on.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a node answered.
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
    match tokio::time::timeout(PATIENCE, exchange(address, path)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(e)) => Answer::Failed(format!("no whole answer: {}", e.kind())),
        Err(_) => Answer::Failed(format!("no answer in {PATIENCE:?}")),
    }
}

async fn exchange(address: SocketAddr, path: &str) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "GET /{}/{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n",
        crate::site::PREFIX
    );
    stream.write_all(request.as_bytes()).await?;
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).await?;
    let broken = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let end = raw.windows(4).position(|w| w == b"\r\n\r\n").ok_or_else(broken)?;
    let head = String::from_utf8_lossy(&raw[..end]).into_owned();
    let field = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let status = head.get(9..12).and_then(|s| s.parse().ok()).ok_or_else(broken)?;
    let body = raw.split_off(end + 4);
    let length = field("content-length").and_then(|n| n.parse::<usize>().ok());
    Ok(match status {
        // The connection was cut: an error, and no version.
        200 if length != Some(body.len()) => return Err(broken()),
        200 => Answer::Whole { body, etag: field("etag"), media_type: field("content-type") },
        404 => Answer::Missing,
        503 => Answer::Failed("503".to_owned()),
        other => Answer::Strange(other),
    })
}
