//! `ezdfs status`

use clap::Args;
use ezdfs_core::{Capabilities, FeedStart, Figures, KeyPrefix, MemberState, Timestamp};
use serde::Serialize;

use crate::context::{Context, Store};
use crate::out::Out;
use crate::outcome::{Outcome, Result};
use crate::size;

/// Feed rows above which listings of foreign files are noticeably late.
const FEED_LAG_MAX: u64 = 10_000;

const AFTER: &str = "\
Exit code 4 and a line for each when something is wrong: the database or the store does not
answer, interrupted work waits to be rolled forward, the change feed lags or cannot be read,
or works without a trigger (degraded).

JSON (--json): one object with metadata, binarydata (handler, where, reachable, error,
degraded: a list of texts, missing when there are none; of a cloud also conditions: which conditional
requests it honours), figures (files, bytes, hidden, directories, held, overdue, reaps, feed_lag), feed (readable,
heartbeat_age_ms, error; missing where there is none), nodes (of each server: name, version, alive,
heartbeat_age_ms, feed_lag; missing where none was announced),
cache (dir, size, files of up to 1 MiB, bytes, error; missing where bytes are not cached) and
problems (list of texts).

Examples:
  ezdfs status
  ezdfs status --json | jq .figures.files";

/// Show the state of the store; exit code 4 when something is wrong
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct StatusArgs {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Status {
    version: &'static str,
    metadata: Part,
    binarydata: Part,
    #[serde(skip_serializing_if = "Option::is_none")]
    figures: Option<FiguresJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    feed: Option<Feed>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nodes: Vec<Node>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<Cache>,
    problems: Vec<String>,
}

/// A server. One that died is shown for an hour.
#[derive(Debug, Serialize)]
struct Node {
    name: String,
    version: String,
    alive: bool,
    /// By database time.
    heartbeat_age_ms: u64,
    /// Changes that it has not told yet; missing where it answers nothing from memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    feed_lag: Option<u64>,
}

/// The cache on disk.
#[derive(Debug, Serialize)]
struct Cache {
    dir: String,
    size: u64,
    files: u64,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The change feed.
#[derive(Debug, Serialize)]
struct Feed {
    readable: bool,
    /// Age of the latest heartbeat, by database time; missing where nobody has written one.
    #[serde(skip_serializing_if = "Option::is_none")]
    heartbeat_age_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Part {
    handler: String,
    #[serde(rename = "where")]
    place: String,
    reachable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// What works, but not as it should.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    degraded: Vec<String>,
    /// Of clouds.
    #[serde(skip_serializing_if = "Option::is_none")]
    conditions: Option<ConditionsJson>,
}

/// Conditional requests that the store was seen to honour.
#[derive(Debug, Serialize)]
struct ConditionsJson {
    /// Whether the store could be probed.
    known: bool,
    put_if_none_match: bool,
    put_if_match: bool,
    complete_if_none_match: bool,
    complete_if_match: bool,
    get_if_match: bool,
    versions: bool,
}

impl ConditionsJson {
    fn of(capabilities: &Capabilities) -> Option<Self> {
        let found = capabilities.conditions;
        capabilities.replace_slot.then_some(Self {
            known: found.known,
            put_if_none_match: found.put_absent,
            put_if_match: found.put_match,
            complete_if_none_match: found.complete_absent,
            complete_if_match: found.complete_match,
            get_if_match: found.get_match,
            versions: found.versions,
        })
    }

    fn text(&self) -> String {
        if !self.known {
            return "not known: the store could not be probed".to_owned();
        }
        let all = [
            ("PUT If-None-Match", self.put_if_none_match),
            ("PUT If-Match", self.put_if_match),
            ("complete If-None-Match", self.complete_if_none_match),
            ("complete If-Match", self.complete_if_match),
            ("GET If-Match", self.get_if_match),
            ("versions", self.versions),
        ];
        let texts = all.map(|(what, is)| format!("{what} {}", if is { "yes" } else { "no" }));
        texts.join(", ")
    }
}

#[derive(Debug, Serialize)]
struct FiguresJson {
    files: u64,
    bytes: u64,
    hidden: u64,
    directories: u64,
    held: u64,
    overdue: u64,
    reaps: u64,
    feed_lag: u64,
}

pub(crate) async fn run(args: StatusArgs, context: &Context) -> Result {
    let loaded = context.load()?;
    let status = match context.open_loaded(&loaded).await {
        Ok(store) => of(&store.with_file_cache()).await,
        // A configuration error is the caller's; anything else is a finding.
        Err(e) if e.kind() == ezdfs_core::ErrorKind::Config => return Err(e.into()),
        Err(e) => unopened(&loaded, &e),
    };
    let mut out = Out::new();
    if args.json {
        out.json(&status)?;
    } else {
        print(&status, &mut out)?;
    }
    out.flush()?;
    Ok(if status.problems.is_empty() { Outcome::Done } else { Outcome::Problems })
}

/// A store that could not even be opened.
fn unopened(loaded: &ezdfs_config::Loaded, e: &ezdfs_core::Error) -> Status {
    let part = |handler: &str| Part {
        handler: handler.to_owned(),
        place: "not opened".to_owned(),
        reachable: false,
        error: None,
        degraded: Vec::new(),
        conditions: None,
    };
    Status {
        version: env!("CARGO_PKG_VERSION"),
        metadata: part(&loaded.settings.store.metadata),
        binarydata: part(&loaded.settings.store.binarydata),
        figures: None,
        feed: None,
        nodes: Vec::new(),
        cache: None,
        problems: vec![e.to_string()],
    }
}

async fn of(store: &Store) -> Status {
    let settings = &store.settings().store;
    let binary = store.service.binary();
    let figures = store.service.metadata().figures().await;
    let probed = probe(store).await;
    let feed = feed(store).await;
    let nodes = nodes(store).await;
    let cache = cache(store).await;
    let mut problems = Vec::new();
    let metadata = Part {
        handler: settings.metadata.clone(),
        place: store.service.metadata().describe(),
        reachable: figures.is_ok(),
        error: figures.as_ref().err().map(ToString::to_string),
        degraded: store.service.metadata().warnings(),
        conditions: None,
    };
    let binarydata = Part {
        handler: settings.binarydata.clone(),
        place: binary.store.to_string(),
        reachable: probed.is_ok(),
        error: probed.as_ref().err().map(ToString::to_string),
        degraded: Vec::new(),
        conditions: ConditionsJson::of(&binary.capabilities()),
    };
    if let Some(e) = &metadata.error {
        problems.push(format!("metadata handler `{}` fails: {e}", metadata.handler));
    }
    for what in &metadata.degraded {
        problems.push(format!(
            "metadata handler `{}` is {what}; see `ezdfs schema check`",
            metadata.handler
        ));
    }
    if let Some(e) = &binarydata.error {
        problems.push(format!("binarydata handler `{}` fails: {e}", binarydata.handler));
    }
    if let Some(e) = feed.as_ref().and_then(|f| f.error.as_ref()) {
        problems.push(format!("the change feed cannot be read: {e}"));
    }
    if let Some(e) = cache.as_ref().and_then(|c| c.error.as_ref()) {
        problems.push(format!("the cache on disk fails: {e}"));
    }
    if let Ok(figures) = &figures {
        problems.extend(findings(figures));
    }
    let nodes = nodes.unwrap_or_else(|e| {
        problems.push(format!("the list of servers cannot be read: {e}"));
        Vec::new()
    });
    let figures = figures.ok().map(|f| FiguresJson {
        files: f.files,
        bytes: f.bytes,
        hidden: f.hidden,
        directories: f.directories,
        held: f.held,
        overdue: f.overdue,
        reaps: f.reaps,
        feed_lag: f.feed_lag,
    });
    let version = env!("CARGO_PKG_VERSION");
    Status { version, metadata, binarydata, figures, feed, nodes, cache, problems }
}

/// Looks at every file of the cache on disk, where there is one.
async fn cache(store: &Store) -> Option<Cache> {
    let cache = store.service.file_cache()?;
    let dir = cache.dir().display().to_string();
    let (usage, error) = match cache.usage().await {
        Ok(usage) => (usage, None),
        Err(e) => (ezdfs_cache::Usage::default(), Some(format!("{dir}: {e}"))),
    };
    let size = cache.options().size;
    Some(Cache { dir, size, files: usage.files, bytes: usage.bytes, error })
}

/// Reads the end of the feed, where the handler has one.
async fn feed(store: &Store) -> Option<Feed> {
    let metadata = store.service.metadata();
    if !metadata.is_separate() {
        return None;
    }
    let read = async {
        let heartbeat = metadata.feed(FeedStart::Now).await?.poll(1).await?.heartbeat;
        let now = metadata.now().await?;
        Ok::<_, ezdfs_core::Error>(heartbeat.map(|at| now.since(at).as_millis()))
    };
    let (age, error) = match read.await {
        Ok(age) => (age, None),
        Err(e) => (None, Some(e.to_string())),
    };
    let heartbeat_age_ms = age.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX));
    Some(Feed { readable: error.is_none(), heartbeat_age_ms, error })
}

/// The servers, dead ones included.
async fn nodes(store: &Store) -> Result<Vec<Node>, ezdfs_core::Error> {
    let metadata = store.service.metadata();
    let members = metadata.members().await?;
    if members.is_empty() {
        return Ok(Vec::new());
    }
    let now = metadata.now().await?;
    Ok(members.into_iter().map(|state| node(state, now)).collect())
}

fn node(state: MemberState, now: Timestamp) -> Node {
    Node {
        name: state.member.name,
        version: state.member.version,
        alive: now < state.lease_end,
        heartbeat_age_ms: millis(now.since(state.heartbeat)),
        feed_lag: state.feed_lag,
    }
}

fn millis(age: std::time::Duration) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}

/// Asks the store for an object that is never there.
async fn probe(store: &Store) -> Result<(), ezdfs_core::Error> {
    let binary = store.service.binary();
    let key = KeyPrefix::reserved_key(&binary.prefix, "status-probe")?;
    binary.head(&key).await.map(|_| ())
}

fn findings(figures: &Figures) -> Vec<String> {
    let mut problems = Vec::new();
    if figures.overdue > 0 {
        problems.push(format!(
            "{} interrupted pieces of work wait to be rolled forward; `ezdfs serve` does so, or \
             `ezdfs gc`",
            figures.overdue
        ));
    }
    if figures.feed_lag > FEED_LAG_MAX {
        problems.push(format!(
            "{} changes by other programs are not in the listings yet; list a directory, or run \
             `ezdfs serve`",
            figures.feed_lag
        ));
    }
    problems
}

fn print(status: &Status, out: &mut Out) -> Result<()> {
    for (what, part) in [("metadata", &status.metadata), ("binarydata", &status.binarydata)] {
        let state = match (part.reachable, part.degraded.is_empty()) {
            (false, _) => "FAILS",
            (true, false) => "degraded",
            (true, true) => "ok",
        };
        out.line(&format!("{what:<12} {} ({}): {state}", part.handler, part.place))?;
    }
    if let Some(conditions) = &status.binarydata.conditions {
        out.line(&format!("{:<12} {}", "conditions", conditions.text()))?;
    }
    if let Some(f) = &status.figures {
        out.line(&format!("files        {} ({})", f.files, size::human(f.bytes)))?;
        for (what, count) in [
            ("directories", f.directories),
            ("hidden rows", f.hidden),
            ("work held", f.held),
            ("overdue", f.overdue),
            ("to be reaped", f.reaps),
            ("feed lag", f.feed_lag),
        ] {
            out.line(&format!("{what:<12} {count}"))?;
        }
    }
    if let Some(feed) = &status.feed {
        let state = match (feed.readable, feed.heartbeat_age_ms) {
            (false, _) => "FAILS".to_owned(),
            (true, None) => "ok, no heartbeat yet".to_owned(),
            (true, Some(ms)) => format!("ok, heartbeat {ms} ms ago"),
        };
        out.line(&format!("{:<12} {state}", "change feed"))?;
    }
    for node in &status.nodes {
        let age = std::time::Duration::from_millis(node.heartbeat_age_ms).as_secs();
        let state = if node.alive { "alive" } else { "DEAD" };
        let lag = node.feed_lag.map_or_else(String::new, |lag| format!(", feed lag {lag}"));
        let Node { name, version, .. } = node;
        out.line(&format!("{:<12} {name} ({version}): {state}, {age} s ago{lag}", "node"))?;
    }
    if let Some(cache) = &status.cache {
        out.line(&format!(
            "{:<12} {} of {} ({})",
            "cache",
            size::human(cache.bytes),
            size::human(cache.size),
            cache.dir
        ))?;
    }
    for problem in &status.problems {
        out.line(&format!("PROBLEM: {problem}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overdue_work_and_a_lagging_feed_are_findings() {
        assert!(
            findings(&Figures { held: 3, reaps: 9, feed_lag: 5, ..Figures::default() }).is_empty()
        );
        assert_eq!(findings(&Figures { overdue: 1, ..Figures::default() }).len(), 1);
        assert_eq!(
            findings(&Figures { feed_lag: FEED_LAG_MAX + 1, ..Figures::default() }).len(),
            1
        );
    }
}
