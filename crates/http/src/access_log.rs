//! The access log: one line per answer, written when its body ends.
//!
//! Lines go over a bounded channel to a thread of their own, so that a slow terminal or disk never
//! holds a request up; when the channel is full a line is dropped, counted and reported. The query
//! is left out: it plays no part in the answer and may hold a signature.

use std::fmt::Write as _;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use ezdfs_core::{Clock, Error, ErrorKind, Result, Timestamp};
use http::header::{HeaderValue, REFERER, USER_AGENT};
use http::{Method, StatusCode, Uri, Version, request};
use serde::Serialize;

use crate::request_id::RequestId;

/// Lines that wait for the writer at most.
const WAITING_LINES: usize = 4096;
/// Longest part of a field that a client sent, in bytes.
const MAX_FIELD_BYTES: usize = 1024;

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The combined format of Apache and nginx.
    Combined,
    /// One JSON object per line.
    Json,
}

enum Message {
    Line(String),
    Close,
}

/// The sending end. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AccessLog {
    format: Format,
    lines: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
    clock: Arc<dyn Clock>,
}

/// The writing end: a thread.
#[derive(Debug)]
pub struct AccessLogWriter {
    lines: SyncSender<Message>,
    thread: JoinHandle<()>,
}

impl AccessLogWriter {
    /// Writes what was logged up to now and ends. Blocks until it is written.
    pub fn close(self) {
        // Err: the thread has ended already.
        if self.lines.send(Message::Close).is_err() || self.thread.join().is_err() {
            tracing::error!("the writer of the access log ended early");
        }
    }
}

impl AccessLog {
    /// Starts the thread that writes lines to `out`.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(
        format: Format,
        clock: Arc<dyn Clock>,
        out: Box<dyn Write + Send>,
    ) -> Result<(Self, AccessLogWriter)> {
        let (lines, waiting) = sync_channel(WAITING_LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = dropped.clone();
        let thread = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_lines(&waiting, out, &counter))
            .map_err(|e| {
                Error::new(ErrorKind::Unavailable, "cannot start the writer of the access log")
                    .with_source(e)
            })?;
        let writer = AccessLogWriter { lines: lines.clone(), thread };
        Ok((Self { format, lines, dropped, clock }, writer))
    }

    /// Takes what a line says of the request.
    pub(crate) fn begin(
        &self,
        request: &request::Parts,
        peer: SocketAddr,
        id: Option<RequestId>,
    ) -> Pending {
        Pending {
            id,
            log: self.clone(),
            peer,
            method: request.method.clone(),
            uri: request.uri.clone(),
            version: request.version,
            referer: request.headers.get(REFERER).cloned(),
            user_agent: request.headers.get(USER_AGENT).cloned(),
            status: StatusCode::OK,
            time: self.clock.now(),
            started: self.clock.boot(),
        }
    }
}

fn write_lines(waiting: &Receiver<Message>, mut out: Box<dyn Write + Send>, dropped: &AtomicU64) {
    let mut batch = String::new();
    let mut broken = false;
    let mut open = true;
    while open {
        let Ok(first) = waiting.recv() else { return };
        for message in std::iter::once(first).chain(waiting.try_iter()) {
            match message {
                Message::Line(line) => {
                    batch.push_str(&line);
                    batch.push('\n');
                }
                Message::Close => {
                    open = false;
                    break;
                }
            }
            if batch.len() > 64 << 10 {
                break;
            }
        }
        let written = out.write_all(batch.as_bytes()).and_then(|()| out.flush());
        batch.clear();
        if let Err(e) = &written
            && !broken
        {
            tracing::error!(error = %e, "the access log cannot be written");
        }
        broken = written.is_err();
        match dropped.swap(0, Ordering::Relaxed) {
            0 => {}
            lines => tracing::warn!(lines, "access log lines were dropped: its output is too slow"),
        }
    }
}

/// A request whose answer is under way.
#[derive(Debug)]
pub(crate) struct Pending {
    id: Option<RequestId>,
    log: AccessLog,
    peer: SocketAddr,
    method: Method,
    uri: Uri,
    version: Version,
    referer: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    status: StatusCode,
    time: Timestamp,
    started: Duration,
}

impl Pending {
    /// Sets the status of the answer.
    pub(crate) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Writes the line: `bytes` of the body were handed to the connection.
    pub(crate) fn end(&self, bytes: u64, complete: bool) {
        let line = match self.log.format {
            Format::Combined => self.combined(bytes),
            Format::Json => self.json(bytes, complete),
        };
        if let Err(TrySendError::Full(_)) = self.log.lines.try_send(Message::Line(line)) {
            self.log.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn combined(&self, bytes: u64) -> String {
        let mut line = String::with_capacity(256);
        let time = DateTime::from_timestamp_nanos(self.time.nanos());
        // Writing to a String does not fail.
        let _ = write!(
            line,
            "{} - - [{}] \"{} ",
            self.peer.ip(),
            time.format("%d/%b/%Y:%H:%M:%S +0000"),
            self.method
        );
        escape(&mut line, path(&self.uri).as_bytes());
        let _ = write!(line, " {:?}\" {} {bytes} \"", self.version, self.status.as_u16());
        escape(&mut line, self.referer.as_ref().map_or(b"-", HeaderValue::as_bytes));
        line.push_str("\" \"");
        escape(&mut line, self.user_agent.as_ref().map_or(b"-", HeaderValue::as_bytes));
        line.push('"');
        line
    }

    fn json(&self, bytes: u64, complete: bool) -> String {
        let text = |value: &Option<HeaderValue>| {
            value.as_ref().map(|v| {
                let bytes = v.as_bytes();
                String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_FIELD_BYTES)]).into_owned()
            })
        };
        let path = path(&self.uri);
        let line = JsonLine {
            time: DateTime::from_timestamp_nanos(self.time.nanos())
                .to_rfc3339_opts(SecondsFormat::Millis, true),
            remote: self.peer.ip().to_string(),
            method: self.method.as_str(),
            path: &path[..path.floor_char_boundary(MAX_FIELD_BYTES)],
            protocol: format!("{:?}", self.version),
            status: self.status.as_u16(),
            bytes,
            complete,
            seconds: self.log.clock.boot().saturating_sub(self.started).as_secs_f64(),
            referer: text(&self.referer),
            user_agent: text(&self.user_agent),
            request_id: self.id.as_ref().and_then(|id| id.id.to_str().ok()),
            trace_id: self.id.as_ref().and_then(RequestId::trace_id),
            span_id: self.id.as_ref().and_then(RequestId::span_id),
        };
        serde_json::to_string(&line).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct JsonLine<'a> {
    time: String,
    remote: String,
    method: &'a str,
    path: &'a str,
    protocol: String,
    status: u16,
    bytes: u64,
    complete: bool,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    referer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<&'a str>,
}

fn path(uri: &Uri) -> &str {
    match uri.path() {
        "" => "*",
        path => path,
    }
}

/// Appends what a client sent so that a line stays one line with the same quotes, as nginx does.
fn escape(line: &mut String, bytes: &[u8]) {
    for b in bytes.iter().take(MAX_FIELD_BYTES) {
        if (0x20..0x7f).contains(b) && !b"\"\\".contains(b) {
            line.push(char::from(*b));
        } else {
            let _ = write!(line, "\\x{b:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ezdfs_core::ManualClock;
    use std::sync::Mutex;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn line(format: Format, target: &str, agent: &[u8]) -> String {
        let clock = ManualClock::at(Timestamp::from_millis(784_111_777_250));
        let sink = Sink::default();
        let (log, writer) =
            AccessLog::start(format, Arc::new(clock.clone()), Box::new(sink.clone())).unwrap();
        let request = http::Request::get(target)
            .header(USER_AGENT, HeaderValue::from_bytes(agent).unwrap())
            .body(())
            .unwrap();
        let peer = "192.0.2.7:4711".parse().unwrap();
        let pending = log.begin(&request.into_parts().0, peer, None).status(StatusCode::NOT_FOUND);
        clock.advance(Duration::from_millis(1500));
        pending.end(23, true);
        writer.close();
        String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn combined_lines() {
        assert_eq!(
            line(Format::Combined, "/p/a%20b.jpg?ezdfs-signature=secret", b"Mozilla/5.0"),
            "192.0.2.7 - - [06/Nov/1994:08:49:37 +0000] \"GET /p/a%20b.jpg HTTP/1.1\" 404 23 \"-\" \
             \"Mozilla/5.0\"\n"
        );
        let hostile = line(Format::Combined, "/p/\"", b"a\" 200 \\ \xff");
        assert!(
            hostile
                .ends_with("\"GET /p/\\x22 HTTP/1.1\" 404 23 \"-\" \"a\\x22 200 \\x5C \\xFF\"\n")
        );
    }

    #[test]
    fn json_lines() {
        let line = line(Format::Json, "/p/a.jpg?x=secret", b"a\"\xff");
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "time": "1994-11-06T08:49:37.250Z", "remote": "192.0.2.7", "method": "GET",
                "path": "/p/a.jpg", "protocol": "HTTP/1.1", "status": 404, "bytes": 23,
                "complete": true, "seconds": 1.5, "user_agent": "a\"\u{fffd}",
            })
        );
        assert_eq!(line.lines().count(), 1);
    }

    #[test]
    fn fields_of_clients_are_cut() {
        for format in [Format::Combined, Format::Json] {
            let line = line(format, &format!("/p/{}", "é".repeat(5000)), &[b'x'; 9000]);
            assert!(line.len() < 8 * MAX_FIELD_BYTES, "{}", line.len());
        }
    }

    #[test]
    fn a_blocked_output_drops_lines_and_never_waits() {
        struct Blocked(Receiver<()>);
        impl Write for Blocked {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                let _ = self.0.recv();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (release, blocked) = sync_channel(1);
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1)));
        let (log, writer) =
            AccessLog::start(Format::Combined, clock, Box::new(Blocked(blocked))).unwrap();
        let request = http::Request::get("/p/a").body(()).unwrap().into_parts().0;
        let pending = log.begin(&request, "192.0.2.7:1".parse().unwrap(), None);
        for _ in 0..3 * WAITING_LINES {
            pending.end(0, true);
        }
        assert!(log.dropped.load(Ordering::Relaxed) >= u64::try_from(WAITING_LINES).unwrap());
        drop(release);
        writer.close();
    }
}
