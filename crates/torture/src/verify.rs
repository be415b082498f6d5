//! The end: everything is mended, pending work is finished, every path is read, and the history is
//! checked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ezdfs_testkit::history::{Content, Event, Op, Outcome, Verdict, check};
use serde_json::Value;

use crate::board::Board;
use crate::paths::{Class, hot};
use crate::php;
use crate::plan::Fault;
use crate::process;
use crate::readers;
use crate::site::{STRICT_NODE, Site};

/// Lease and longest step of a dead process, and time for this machine.
const QUIET: Duration = Duration::from_secs(90);
/// `settle` of the protocol.
const SETTLE: Duration = Duration::from_secs(5);
/// For one path to be readable when everything is well.
const READABLE: Duration = Duration::from_secs(60);

pub(crate) async fn run(site: &Arc<Site>, board: &Board) {
    for proxy in site.proxies.iter().chain(site.objects.proxies()) {
        proxy.heal();
    }
    site.start_nodes().await;
    become_quiet(site, board).await;
    let events = board.history.events();
    let labels = labels(&events);
    let last = read_everything(site, board, &events, &labels).await;
    let read: Vec<Event> = board.history.events();
    let mut events = resolved(read, &last, board);
    wait_for_rows(&mut events, board.history.now());
    check_paths(board, &events);
    check_leftovers(site, board, &last).await;
    fsck(site, board).await;
}

/// Until nothing is held and nothing waits to be reaped.
async fn become_quiet(site: &Site, board: &Board) {
    let started = board.history.now();
    loop {
        let gc = ezdfs(site, board, &["gc", "--json", "--staging-age", "0s"]).await;
        let status = ezdfs(site, board, &["status", "--json"]).await;
        let figures = &status["figures"];
        let left = [&figures["held"], &figures["reaps"], &gc["failed"]];
        let waited = board.history.now().saturating_sub(started);
        if left.iter().all(|count| count.as_u64() == Some(0)) {
            let found = &status["binarydata"]["conditions"]["put_if_match"];
            if found.as_bool() != site.objects.honours_conditions() {
                board.found("harness", format!("not the store that was asked for: {status}"));
            }
            return board.fact(format!("quiet after {:.1} s", waited.as_secs_f64()));
        }
        if waited > QUIET {
            return board
                .found("P7", format!("not quiet after {QUIET:?}: gc {gc}, status {status}"));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// A command that must succeed; its JSON.
async fn ezdfs(site: &Site, board: &Board, args: &[&str]) -> Value {
    let ran = process::run(site, board, args, Vec::new(), Fault::None, false).await;
    // 4: `status` has something to say, for example of the work that is waited for.
    if !matches!(ran.code, Some(0 | 3 | 4)) {
        board.found(
            "P7",
            format!("`ezdfs {}` fails when all is well: {}", args.join(" "), ran.why()),
        );
    }
    serde_json::from_slice(&ran.out).unwrap_or_default()
}

/// For which path the bytes at a path were made, where that is another one.
fn labels(events: &[Event]) -> BTreeMap<String, String> {
    let label = |event: &Event| match other_end(event) {
        Some((How::PutFor, hot)) => Some((event.path.clone(), hot.to_owned())),
        Some((_, other)) => Some((other.to_owned(), event.path.clone())),
        None => None,
    };
    events.iter().filter_map(label).collect()
}

/// What a note says of another path. The bytes at both ends are those of the hot one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    RenamedTo,
    RenamedFrom,
    CopiedTo,
    CopiedFrom,
    /// Bytes that are to be renamed or copied to a hot path.
    PutFor,
}

fn other_end(event: &Event) -> Option<(How, &str)> {
    let notes = [
        ("renamed to ", How::RenamedTo),
        ("renamed from ", How::RenamedFrom),
        ("copied to ", How::CopiedTo),
        ("copied from ", How::CopiedFrom),
        ("for ", How::PutFor),
    ];
    notes.into_iter().find_map(|(note, how)| {
        let rest = event.note.strip_prefix(note)?;
        Some((how, rest.split(':').next()?))
    })
}

async fn read_everything(
    site: &Site,
    board: &Board,
    events: &[Event],
    labels: &BTreeMap<String, String>,
) -> BTreeMap<String, Option<Content>> {
    let mut paths: BTreeSet<String> = events.iter().map(|event| event.path.clone()).collect();
    paths.extend(hot());
    paths.extend(labels.keys().cloned());
    let mut last = BTreeMap::new();
    for path in paths {
        let label = labels.get(&path).unwrap_or(&path);
        let started = board.history.now();
        let seen = loop {
            let seen = match Class::of(&path) {
                Class::Cold => {
                    readers::read_from("last", STRICT_NODE, &path, label, site, board).await
                }
                _ => readers::cat("last", &path, false, site, board).await,
            };
            if seen.is_some() || board.history.now().saturating_sub(started) > READABLE {
                break seen;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        match seen {
            Some(seen) => {
                last.insert(path, seen);
            }
            None => board.found("P7", format!("`{path}` cannot be read although all is well")),
        }
    }
    last
}

/// What became of renames and copies that were not acknowledged, and what was taken by others, shows
/// at their other end, which nobody else writes.
fn resolved(
    mut events: Vec<Event>,
    last: &BTreeMap<String, Option<Content>>,
    board: &Board,
) -> Vec<Event> {
    let end = board.history.now();
    let mut sources = BTreeMap::new();
    for event in &mut events {
        let Some((how, other)) = other_end(event) else { continue };
        let other = other.to_owned();
        let Some(there) = last.get(&other).copied() else { continue };
        let is_open = event.outcome == Outcome::Unknown;
        match how {
            How::RenamedTo | How::CopiedTo => match event.outcome {
                Outcome::Done | Outcome::Unknown => {
                    if there.is_none() && !is_open {
                        board.found("P2", format!("what was moved or copied is nowhere: {event}"));
                    }
                    event.outcome =
                        there.map_or(Outcome::Failed, |there| Outcome::Seen(Some(there)));
                }
                _ if there.is_some() => {
                    board.found("P3", format!("it was refused and took place: {event}"));
                }
                _ => continue,
            },
            How::RenamedFrom if is_open => {
                event.outcome = if there.is_none() { Outcome::Done } else { Outcome::Failed };
                sources.insert(other, event.outcome);
            }
            How::RenamedFrom | How::CopiedFrom | How::PutFor => continue,
        }
        if is_open {
            event.returned = end;
        }
    }
    for event in &mut events {
        if event.op == Op::Take
            && event.outcome == Outcome::Unknown
            && let Some(outcome) = sources.get(&event.path)
        {
            event.outcome = *outcome;
            event.returned = end;
        }
    }
    events
}

/// PHP sees an object as soon as it is in place. While its row has not followed, nodes that keep bytes
/// in memory or on disk may still serve the version before it, which the store has no more. So what
/// PHP sees counts as seen when the write is over.
fn wait_for_rows(events: &mut [Event], end: Duration) {
    let mut written = BTreeMap::new();
    for event in &*events {
        if let Op::Put(new) | Op::PutIfAbsent(new) | Op::PutIfMatch { new, .. } = event.op {
            let over = if event.outcome == Outcome::Unknown { end } else { event.returned };
            written.insert(new, over);
        }
    }
    for event in events.iter_mut().filter(|event| event.actor == php::READER) {
        if let Outcome::Seen(Some(content)) = event.outcome
            && let Some(over) = written.get(&content)
        {
            event.returned = event.returned.max(*over);
        }
    }
}

fn check_paths(board: &Board, events: &[Event]) {
    let mut paths: BTreeMap<&str, Vec<Event>> = BTreeMap::new();
    for event in events {
        paths.entry(&event.path).or_default().push(event.clone());
    }
    let mut checked = 0;
    for (path, events) in &paths {
        // Whole versions were asked for when they were read.
        if Class::of(path) == Class::Race {
            continue;
        }
        // What a rename took there is known from the other end.
        if events.iter().all(|event| event.op == Op::Read) && Class::of(path) == Class::Cold {
            continue;
        }
        checked += 1;
        match check(events) {
            Verdict::Explained => {}
            Verdict::Undecided => {
                board.found("harness", format!("`{path}`: too many orders to check"));
            }
            Verdict::Violated(violation) => {
                board.found(promise(&violation.event), violation.to_string());
            }
        }
    }
    board.fact(format!("{checked} paths checked as registers"));
}

/// Which promise an event shows to be broken.
fn promise(event: &Event) -> &'static str {
    match event.op {
        Op::Read if event.actor == "last" => "P2",
        Op::Read if Class::of(&event.path).is_foreign() => "P8",
        Op::Read if event.allowance.is_zero() => "P4",
        Op::Read => "P5",
        _ => "P3",
    }
}

/// Rows and objects agree, and nothing is left of what is over.
async fn check_leftovers(site: &Site, board: &Board, last: &BTreeMap<String, Option<Content>>) {
    let ran = process::run(
        site,
        board,
        &["ls", "-R", "--files-only", "/"],
        Vec::new(),
        Fault::None,
        false,
    )
    .await;
    let text = String::from_utf8_lossy(&ran.out);
    let listed: BTreeSet<&str> = text.lines().collect();
    let there: BTreeSet<&str> =
        last.iter().filter(|(_, seen)| seen.is_some()).map(|(path, _)| path.as_str()).collect();
    for path in listed.symmetric_difference(&there) {
        let what = if there.contains(path) {
            "is there and not listed"
        } else {
            "is listed and not there"
        };
        board.found("P8", format!("`{path}` {what}"));
    }
    for path in site.objects.list().await {
        let named = last.get(&path).is_some_and(Option::is_some);
        // Bytes of a PHP node whose database went away before the row, and of one that was raced
        // or hides its files, are PHP's business.
        let is_phps = Class::of(&path).is_foreign();
        if !named && !is_phps {
            board.found("P6", format!("`{path}` is left in the store without a row"));
        } else if !named && !board.was_interrupted(&path) {
            board.fact(format!("`{path}` has bytes and no visible row: soft-deleted or raced"));
        }
    }
    board.fact(format!("{} files listed and read", listed.len()));
}

/// Nothing for `fsck` to find, every byte read. What PHP nodes leave when their database goes away
/// between bytes and row, or when they are raced, is theirs.
async fn fsck(site: &Site, board: &Board) {
    // What changed less than this ago may still be under way, also when all is quiet.
    tokio::time::sleep(SETTLE).await;
    let args = ["fsck", "--deep", "--min-age", "0s", "--json"];
    let ran = process::run(site, board, &args, Vec::new(), Fault::None, false).await;
    let text = String::from_utf8_lossy(&ran.out);
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_default());
    let (ends, findings): (Vec<Value>, Vec<Value>) =
        lines.partition(|line| line.get("summary").is_some());
    if ends.len() != 1 || !matches!(ran.code, Some(0 | 4)) {
        board.found("P6", format!("fsck did not come to its end: {:?} {}", ran.code, ran.why()));
    }
    let mut ours = 0;
    for finding in &findings {
        let path = finding["path"].as_str().unwrap_or_default();
        let class = Class::of(path);
        if class == Class::Race || (class.is_foreign() && board.was_interrupted(path)) {
            board.fact(format!("fsck, on a path that PHP left so: {finding}"));
        } else {
            ours += 1;
            board.found("P6", format!("fsck: {finding}"));
        }
    }
    if ends.len() == 1 {
        board.fsck_found(ours);
    }
    board.fact(format!("fsck --deep: {} findings in all", findings.len()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(actor: &str, op: Op, times: (u64, u64), outcome: Outcome) -> Event {
        let (invoked, returned) = (Duration::from_secs(times.0), Duration::from_secs(times.1));
        let (path, actor) = ("images/own/0.bin".to_owned(), actor.to_owned());
        let (allowance, note) = (Duration::ZERO, String::new());
        Event { path, actor, op, invoked, returned, outcome, allowance, note }
    }

    /// A writer dies between object and row: PHP sees the object, a node that kept the version
    /// before it serves that, and is right as long as no node has shown the new one.
    #[test]
    fn php_may_see_an_object_before_its_row_counts_and_no_node_may() {
        let (old, new) = (Content(1), Content(2));
        let seen = |content| Outcome::Seen(Some(content));
        let first = event("command0", Op::Put(old), (1, 2), Outcome::Done);
        let dies = event("command0", Op::Put(new), (3, 4), Outcome::Unknown);
        let node = |content, at| event("http0", Op::Read, (at, at), seen(content));
        let php = event(php::READER, Op::Read, (5, 5), seen(new));
        let mut events = vec![first.clone(), dies.clone(), php, node(old, 6), node(new, 7)];
        assert!(matches!(check(&events), Verdict::Violated(_)));
        wait_for_rows(&mut events, Duration::from_secs(9));
        assert_eq!(check(&events), Verdict::Explained);

        let mut events = vec![first, dies, node(new, 5), node(old, 6)];
        wait_for_rows(&mut events, Duration::from_secs(9));
        assert!(matches!(check(&events), Verdict::Violated(_)));
    }
}
