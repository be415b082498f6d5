//! `GET /v1/events?since=&prefix=`: the change feed as server-sent events, which a client resumes by
//! the number that it saw last.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, SecondsFormat};
use ezdfs_core::{DirPath, ErrorKind, FeedEvent, FeedPoll, FeedReader, FeedStart, NamePrefix};
use futures::stream;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::problem::Refusal;
use super::tokens::Verb;
use super::{Admin, problem, query, target};

/// Changes of one poll.
const BATCH: u32 = 512;
/// Between two polls, while changes come and when none have come for a while.
const BUSY: Duration = Duration::from_millis(20);
const IDLE: Duration = Duration::from_millis(200);
/// After so much silence a comment shows that the connection lives.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// Clients at a time: each polls the database.
pub(super) const CLIENTS: usize = 32;

/// Sent by clients that connect again (WHATWG HTML, server-sent events).
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// nginx hands each event on at once.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

pub(super) async fn events(
    State(admin): State<Admin>,
    request: Request,
) -> Result<Response, Refusal> {
    let fields = request.headers();
    admin.tokens.of(fields)?;
    let mut prefix = DirPath::root();
    let mut since = None;
    for (key, value) in query::pairs(request.uri())? {
        match &*key {
            "prefix" => prefix = target::directory(&value)?,
            "since" => since = Some(number(&value)?),
            _ => return Err(Refusal::Bad("the query takes since and prefix only")),
        }
    }
    if let Some(last) = fields.get(LAST_EVENT_ID) {
        since = Some(number(last.to_str().unwrap_or_default())?);
    }
    admin.tokens.authorise(fields, &[(Verb::List, prefix.as_str())])?;
    let Ok(permit) = Arc::clone(&admin.watchers).try_acquire_owned() else {
        return Err(Refusal::Kind(ErrorKind::Busy));
    };
    let metadata = admin.service.metadata();
    let start = since.map_or(FeedStart::Now, FeedStart::After);
    let mut reader = match metadata.feed(start).await {
        Ok(reader) => reader,
        Err(e) => return Ok(problem::of_error("the change feed", &e)),
    };
    let first = match reader.poll(BATCH).await {
        Ok(poll) if poll.lost && since.is_some() => return Err(Refusal::Gone),
        Ok(poll) => poll,
        Err(e) => return Ok(problem::of_error("the change feed", &e)),
    };
    let filter = Filter::new(metadata.prefix(), &prefix);
    let watch = Watch {
        admin,
        reader,
        filter,
        waiting: VecDeque::new(),
        next: Some(first),
        said: Instant::now(),
        pause: BUSY,
        _permit: permit,
    };
    let body = stream::unfold(watch, |mut watch| async move {
        let text = watch.next().await?;
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(text)), watch))
    });
    let fields = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (X_ACCEL_BUFFERING, HeaderValue::from_static("no")),
    ];
    Ok((fields, Body::from_stream(body)).into_response())
}

fn number(text: &str) -> Result<u64, Refusal> {
    text.parse().map_err(|_| Refusal::Bad("since is not the number of a change"))
}

/// One client.
struct Watch {
    admin: Admin,
    reader: Box<dyn FeedReader>,
    filter: Filter,
    waiting: VecDeque<String>,
    next: Option<FeedPoll>,
    said: Instant,
    pause: Duration,
    _permit: OwnedSemaphorePermit,
}

impl Watch {
    /// What is sent next; `None` at the end: the server shuts down, or the feed cannot be read. The
    /// client connects again, maybe to another node, and goes on with the number it saw last.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(text) = self.waiting.pop_front() {
                self.said = Instant::now();
                return Some(text);
            }
            if !self.admin.readiness.is_ready() {
                return None;
            }
            let poll = match self.next.take() {
                Some(poll) => poll,
                None => self.reader.poll(BATCH).await.ok()?,
            };
            if poll.lost {
                self.waiting.push_back("event: lost\ndata: {}\n\n".to_owned());
            }
            self.waiting.extend(poll.events.iter().filter_map(|event| self.filter.text(event)));
            if !self.waiting.is_empty() {
                self.pause = BUSY;
                continue;
            }
            if self.said.elapsed() >= SIGN_OF_LIFE {
                self.waiting.push_back(": alive\n\n".to_owned());
                continue;
            }
            if !poll.more {
                tokio::time::sleep(self.pause).await;
                self.pause = (self.pause * 2).min(IDLE);
            }
        }
    }
}

/// Which changes are sent: those of this store, at or below one path.
#[derive(Debug)]
struct Filter {
    store: NamePrefix,
    /// The name of the path itself.
    name: String,
    /// What the names below it begin with.
    below: String,
}

#[derive(Debug, Serialize)]
struct Change<'a> {
    seq: u64,
    op: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// Of a row whose name is no valid path.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    origin: Option<&'a str>,
    at: String,
}

impl Filter {
    fn new(store: &NamePrefix, path: &DirPath) -> Self {
        let (name, below) = (store.dir_name(path).to_string(), store.below(path));
        Self { store: store.clone(), name, below }
    }

    fn text(&self, event: &FeedEvent) -> Option<String> {
        if event.name != self.name && !event.name.starts_with(&self.below) {
            return None;
        }
        let (path, name) = match self.store.path_of(&event.name) {
            Some(Ok(path)) => (Some(path.to_string()), None),
            Some(Err(_)) => (None, Some(&*event.name)),
            None => return None,
        };
        let at = DateTime::from_timestamp_nanos(event.at.nanos())
            .to_rfc3339_opts(SecondsFormat::Millis, true);
        let (seq, op) = (event.seq, event.op.as_str());
        let change = Change { seq, op, path, name, origin: event.origin.as_deref(), at };
        let data = serde_json::to_string(&change).ok()?;
        Some(format!("id: {seq}\nevent: change\ndata: {data}\n\n"))
    }
}
