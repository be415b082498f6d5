//! `ezdfs watch`

use std::time::Duration;

use clap::Args;
use ezdfs_core::{
    DirPath, Entropy as _, Error, FeedEvent, FeedPoll, FeedReader, FeedStart, NamePrefix, OsEntropy,
};
use serde::Serialize;

use crate::context::Context;
use crate::out::Out;
use crate::outcome::{Outcome, Result};
use crate::paths::{self, Place};
use crate::signals;
use crate::when::rfc3339;

/// Changes of one poll.
const BATCH: u32 = 512;
/// Between two polls, while changes come and when none have come for a while.
const BUSY: Duration = Duration::from_millis(20);
const IDLE: Duration = Duration::from_millis(100);
/// Between two tries while the database fails: doubled from the first to the last.
const RETRY: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

const AFTER: &str = "\
Prints one JSON object per line as changes are committed, whoever made them (NDJSON): seq (its
number), op (insert, update or delete of the file's row), path, origin (the ezdfs process that
made it; null for other programs, such as PHP) and at (when, by database time). A row whose
name is no valid path has `name` instead of `path`. Each change comes once; those of one file
come in their order.

{\"lost\":true} means that changes may be missing, because the log was trimmed (`ezdfs serve` and
`ezdfs gc` keep a day): whoever keeps a copy compares it with the store. --since goes on behind
the last number that was seen; on a server begin some way back and drop what is known, because
numbers become visible out of order. SIGINT and SIGTERM end it with exit code 0.

Examples:
  ezdfs watch
  ezdfs watch --prefix images/1 | jq -r .path
  ezdfs watch --since 4711";

/// Print changes of files as they happen, as NDJSON
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct WatchArgs {
    /// Begin with the changes after this number [else with those from now on]
    #[arg(long, value_name = "SEQ")]
    since: Option<u64>,
    /// Only this file, or what is in this directory at any depth
    #[arg(long, value_name = "PATH", value_parser = paths::place(), default_value = "/", hide_default_value = true)]
    prefix: Place,
}

pub(crate) async fn run(args: WatchArgs, context: &Context) -> Result {
    let signal = signals::shutdown();
    tokio::select! {
        end = watch(args, context) => end,
        () = signal => Ok(Outcome::Done),
    }
}

async fn watch(args: WatchArgs, context: &Context) -> Result {
    let store = context.open().await?;
    let metadata = store.service.metadata();
    let start = args.since.map_or(FeedStart::Now, FeedStart::After);
    let mut reader = metadata.feed(start).await?;
    let filter = Filter::new(metadata.prefix(), &args.prefix.path);
    let mut out = Out::new();
    let mut pause = IDLE;
    loop {
        let poll = next(&mut *reader).await?;
        let told = print(&poll, &filter, &mut out)?;
        pause = match (poll.more, told) {
            (true, _) => Duration::ZERO,
            (false, true) => BUSY,
            (false, false) => (pause + pause / 4).clamp(BUSY, IDLE),
        };
        tokio::time::sleep(pause).await;
    }
}

/// One poll; an outage is waited out, because the reader goes on where it ended.
async fn next(reader: &mut dyn FeedReader) -> Result<FeedPoll, Error> {
    let mut pause = RETRY;
    loop {
        match reader.poll(BATCH).await {
            Err(e) if e.kind().is_transient() => {
                tracing::warn!(error = %e, "the change feed cannot be read; it is tried again");
                tokio::time::sleep(pause + OsEntropy.jitter(pause)).await;
                pause = (pause * 2).min(RETRY_MAX);
            }
            end => return end,
        }
    }
}

#[derive(Debug, Serialize)]
struct Lost {
    lost: bool,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Line<'a> {
    seq: u64,
    op: &'static str,
    #[serde(flatten)]
    what: What<'a>,
    origin: Option<&'a str>,
    at: String,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum What<'a> {
    Path(String),
    Name(&'a str),
}

/// Prints what the filter lets pass, and shows it; whether anything came at all.
fn print(poll: &FeedPoll, filter: &Filter<'_>, out: &mut Out) -> Result<bool> {
    if poll.lost {
        out.json(&Lost { lost: true })?;
    }
    for line in poll.events.iter().filter_map(|event| filter.line(event)) {
        out.json(&line)?;
    }
    out.flush()?;
    Ok(poll.lost || !poll.events.is_empty())
}

/// Which changes are shown: those of this store, at or below one path.
#[derive(Debug)]
struct Filter<'a> {
    store: &'a NamePrefix,
    /// The name of the path itself.
    name: String,
    /// What the names below it begin with.
    below: String,
}

impl<'a> Filter<'a> {
    fn new(store: &'a NamePrefix, path: &DirPath) -> Self {
        Self { store, name: store.dir_name(path).to_string(), below: store.below(path) }
    }

    fn line<'e>(&self, event: &'e FeedEvent) -> Option<Line<'e>> {
        if event.name != self.name && !event.name.starts_with(&self.below) {
            return None;
        }
        let what = match self.store.path_of(&event.name) {
            Some(Ok(path)) => What::Path(path.to_string()),
            Some(Err(_)) => What::Name(&event.name),
            None => return None,
        };
        Some(Line {
            seq: event.seq,
            op: event.op.as_str(),
            what,
            origin: event.origin.as_deref(),
            at: rfc3339(event.at),
        })
    }
}

#[cfg(test)]
mod tests {
    use ezdfs_core::{FeedOp, Timestamp};

    use super::*;

    fn shown(prefix: &str, path: &str, name: &str) -> Option<String> {
        let event = FeedEvent {
            seq: 7,
            op: FeedOp::Insert,
            name: name.to_owned(),
            origin: None,
            at: Timestamp::from_millis(1_700_000_000_123),
        };
        let store = NamePrefix::new(prefix);
        let path = path.parse().unwrap();
        let line = serde_json::to_string(&Filter::new(&store, &path).line(&event)?).unwrap();
        Some(line)
    }

    #[test]
    fn a_line_is_one_object() {
        assert_eq!(
            shown("var/s", "", "var/s/images/a \"b\"").unwrap(),
            "{\"seq\":7,\"op\":\"insert\",\"path\":\"images/a \\\"b\\\"\",\"origin\":null,\
             \"at\":\"2023-11-14T22:13:20.123Z\"}"
        );
        let odd = shown("var/s", "", "var/s/a//b").unwrap();
        assert!(odd.contains("\"name\":\"var/s/a//b\"") && !odd.contains("\"path\""), "{odd}");
    }

    #[test]
    fn other_stores_and_other_directories_are_left_out() {
        for (prefix, path, name, expected) in [
            ("var/s", "", "var/s/a", true),
            ("var/s", "", "var/s2/a", false),
            ("var/s", "", "a", false),
            ("", "", "a", true),
            ("", "", "x/a//b", true),
            ("var/s", "images/1", "var/s/images/1/a", true),
            ("var/s", "images/1", "var/s/images/1", true),
            ("var/s", "images/1", "var/s/images/10", false),
            ("var/s", "images/1", "var/s/Images/1/a", false),
            ("var/s", "images/1", "var/s/images/1//a", true),
            ("", "images", "images2/a", false),
        ] {
            assert_eq!(shown(prefix, path, name).is_some(), expected, "{prefix} {path} {name}");
        }
    }
}
