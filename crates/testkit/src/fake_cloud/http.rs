//! Just enough HTTP: one request for each connection.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    /// After the bucket, decoded.
    pub(super) key: String,
    pub(super) query: BTreeMap<String, String>,
    /// Lower-case names.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Request {
    /// `None` when the client goes away.
    pub(super) async fn read(client: &mut TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                break end;
            }
            if client.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        };
        let mut body = bytes.split_off(end + 4);
        let head = String::from_utf8(bytes).ok()?;
        let mut lines = head.lines();
        let mut first = lines.next()?.split(' ');
        let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
        let headers: BTreeMap<_, _> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let length = headers.get("content-length").map_or(Some(0), |v| v.parse().ok())?;
        while body.len() < length {
            if client.read_buf(&mut body).await.ok()? == 0 {
                return None;
            }
        }
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let key = path.trim_start_matches('/').split_once('/').map_or("", |(_, key)| key);
        let query = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (decode(name), decode(&value.replace('+', " "))))
            .collect();
        let key = decode(key);
        Some(Self { method, key, query, headers, body, target })
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// An answer as it goes out.
pub(super) struct Bytes {
    pub(super) all: Vec<u8>,
    /// Length of the head.
    pub(super) head: usize,
}

impl Answer {
    pub(super) fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    pub(super) fn xml(body: String) -> Self {
        let mut answer = Self::new(200);
        answer.body = body.into_bytes();
        answer.with("content-type", "application/xml")
    }

    pub(super) fn error(status: u16, code: &str) -> Self {
        let mut answer = Self::xml(format!("<Error><Code>{code}</Code></Error>"));
        answer.status = status;
        answer
    }

    pub(super) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub(super) fn to_bytes(&self, is_head: bool) -> Bytes {
        let date = chrono::Utc::now().format("%a, %d %b %Y %H:%M:%S GMT");
        let mut all =
            format!("HTTP/1.1 {} Answer\r\nconnection: close\r\ndate: {date}\r\n", self.status);
        for (name, value) in &self.headers {
            all += &format!("{name}: {value}\r\n");
        }
        if !matches!(self.status, 204 | 304) {
            all += &format!("content-length: {}\r\n", self.body.len());
        }
        all += "\r\n";
        let head = all.len();
        let mut all = all.into_bytes();
        if !is_head {
            all.extend_from_slice(&self.body);
        }
        Bytes { all, head }
    }
}
