//! `Board`: what everybody writes to.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ezdfs_testkit::history::{Content, Event, History, Op, Outcome, Payload};
use tokio_util::sync::CancellationToken;

use crate::options::Options;
use crate::paths::Class;

/// Findings that are shown.
const SHOWN: usize = 20;

#[derive(Debug, Default)]
pub(crate) struct Board {
    pub(crate) history: History,
    state: Mutex<State>,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    findings: Vec<Finding>,
    faults: BTreeMap<String, u64>,
    failures: BTreeMap<String, u64>,
    /// The version that was last acknowledged, for If-Match.
    latest: HashMap<String, (Content, String)>,
    facts: Vec<String>,
    /// Of fsck at the end, without those that PHP left.
    fsck: Option<usize>,
    /// Paths on which a PHP node was interrupted by an outage: bytes without a row may stay.
    interrupted: Vec<String>,
}

/// A promise that was not kept.
#[derive(Debug, Clone)]
struct Finding {
    promise: &'static str,
    what: String,
}

/// An operation that has begun.
#[derive(Debug)]
pub(crate) struct Begun<'a> {
    board: &'a Board,
    pub(crate) path: String,
    actor: String,
    pub(crate) op: Op,
    invoked: Duration,
    allowance: Duration,
}

impl Begun<'_> {
    pub(crate) fn ended(self, outcome: Outcome, note: impl Into<String>) {
        let note = note.into();
        if matches!(outcome, Outcome::Failed | Outcome::Unknown) {
            self.board.failed(&format!("{}: {}", self.actor_kind(), brief(&note)));
        }
        let returned = self.board.history.now();
        let Self { board, path, actor, op, invoked, allowance } = self;
        board.history.record(Event {
            path,
            actor,
            op,
            invoked,
            returned,
            outcome,
            allowance,
            note,
        });
    }

    fn actor_kind(&self) -> &str {
        self.actor.split(|c: char| c.is_ascii_digit()).next().unwrap_or_default()
    }
}

impl Board {
    pub(crate) fn begin(&self, actor: &str, path: &str, op: Op, allowance: Duration) -> Begun<'_> {
        Begun {
            board: self,
            path: path.to_owned(),
            actor: actor.to_owned(),
            op,
            invoked: self.history.now(),
            allowance,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits, but not beyond the end.
    pub(crate) async fn pause(&self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.stop.cancelled() => {}
        }
    }

    pub(crate) fn found(&self, promise: &'static str, what: impl Into<String>) {
        let what = what.into();
        println!("{:7.1} s: VIOLATION of {promise}: {what}", self.history.now().as_secs_f64());
        self.lock().findings.push(Finding { promise, what });
    }

    pub(crate) fn fault(&self, what: &str) {
        *self.lock().faults.entry(what.to_owned()).or_default() += 1;
    }

    fn failed(&self, what: &str) {
        *self.lock().failures.entry(what.to_owned()).or_default() += 1;
    }

    /// For the report.
    pub(crate) fn fact(&self, what: impl Into<String>) {
        self.lock().facts.push(what.into());
    }

    pub(crate) fn fsck_found(&self, findings: usize) {
        self.lock().fsck = Some(findings);
    }

    pub(crate) fn interrupted(&self, path: &str) {
        self.lock().interrupted.push(path.to_owned());
    }

    pub(crate) fn was_interrupted(&self, path: &str) -> bool {
        self.lock().interrupted.iter().any(|p| p == path)
    }

    pub(crate) fn acknowledged(&self, path: &str, content: Content, sha256: String) {
        self.lock().latest.insert(path.to_owned(), (content, sha256));
    }

    pub(crate) fn latest(&self, path: &str) -> Option<(Content, String)> {
        self.lock().latest.get(path).cloned()
    }

    /// Which version bytes are, if they are whole and of that path.
    pub(crate) fn identify(&self, reader: &str, path: &str, bytes: &[u8]) -> Option<Content> {
        match Payload::parse(bytes) {
            Ok(payload) if payload.path == path => Some(payload.content),
            Ok(payload) => {
                self.found("P1", format!("{reader}: `{path}` has the bytes of `{}`", payload.path));
                None
            }
            Err(torn) => {
                self.found("P1", format!("{reader}: `{path}`: {torn}"));
                None
            }
        }
    }

    /// Prints what happened; whether anything was found.
    pub(crate) fn report(&self, options: &Options) -> bool {
        let events = self.history.events();
        let mut counts: BTreeMap<(Class, &str), [u64; 4]> = BTreeMap::new();
        for event in &events {
            let op = match event.op {
                Op::Put(_) => "put",
                Op::PutIfAbsent(_) => "put if absent",
                Op::PutIfMatch { .. } => "put if match",
                Op::Delete | Op::Clear => "delete",
                Op::Take => "rename away",
                Op::Read => "read",
            };
            let column = match event.outcome {
                Outcome::Done | Outcome::Seen(_) => 0,
                Outcome::Refused => 1,
                Outcome::Unknown => 2,
                Outcome::Failed => 3,
            };
            counts.entry((Class::of(&event.path), op)).or_default()[column] += 1;
        }
        let state = self.lock();
        println!(
            "\n{:<8} {:<14} {:>8} {:>8} {:>8} {:>8}",
            "paths", "operation", "done", "refused", "unknown", "failed"
        );
        for ((class, op), [done, refused, unknown, failed]) in &counts {
            let class = format!("{class:?}").to_lowercase();
            println!("{class:<8} {op:<14} {done:>8} {refused:>8} {unknown:>8} {failed:>8}");
        }
        println!("\nfaults:");
        for (what, count) in &state.faults {
            println!("{count:>8} {what}");
        }
        println!("\nfailures that were seen:");
        for (what, count) in &state.failures {
            println!("{count:>8} {what}");
        }
        println!();
        for fact in &state.facts {
            println!("{fact}");
        }
        for finding in state.findings.iter().take(SHOWN) {
            println!("\nVIOLATION of {}: {}", finding.promise, finding.what);
        }
        let found = state.findings.len();
        println!("\n{}", state.row(options, events.len()));
        println!(
            "\n{} operations on {} and {found} violations (seed {})",
            events.len(),
            options.store,
            options.seed
        );
        found > 0
    }

    /// Keeps history and logs of a failed run; where.
    pub(crate) fn keep(&self, options: &Options, logs: &Path) -> PathBuf {
        let into = options.keep.join(format!("{}-{}", options.store, options.seed));
        std::fs::create_dir_all(&into).unwrap();
        let lines: String =
            self.history.events().iter().map(|event| format!("{}\n", event.to_json())).collect();
        std::fs::write(into.join("history.ndjson"), lines).unwrap();
        for entry in std::fs::read_dir(logs).unwrap().flatten() {
            let name = entry.file_name();
            if name.to_string_lossy().ends_with(".log") {
                drop(std::fs::copy(entry.path(), into.join(name)));
            }
        }
        into
    }
}

impl State {
    /// A row of the table in docs/TESTING.md.
    fn row(&self, options: &Options, operations: usize) -> String {
        let count = |is: fn(&str) -> bool| {
            let of_them = self.faults.iter().filter(|(what, _)| is(what));
            of_them.map(|(_, count)| count).sum::<u64>()
        };
        let database = count(|what| what == "database killed");
        let killed = count(|what| what.contains(" killed")) - database;
        let paused = count(|what| what.contains(" stopped"));
        let of_lines =
            |what: &str| what.starts_with("database ") || what.starts_with("object store ");
        let lines = count(of_lines) - database;
        let gone = count(|what| what.contains("went away"));
        let fsck = self.fsck.map_or_else(|| "not ended".to_owned(), |found| found.to_string());
        format!(
            "| {} | {} | {operations} | {killed} | {database} | {paused} | {lines} | {gone} | {} | {fsck} |",
            options.store,
            options.seed,
            self.findings.len()
        )
    }
}

/// Without what differs each time.
fn brief(note: &str) -> String {
    let note = note.lines().next().unwrap_or_default();
    let mut brief: String = String::new();
    let mut quoted = false;
    for c in note.chars() {
        match c {
            '`' => quoted = !quoted,
            _ if quoted => {}
            _ if c.is_ascii_digit() => {
                if !brief.ends_with('#') {
                    brief.push('#');
                }
            }
            _ => brief.push(c),
        }
    }
    brief.chars().take(110).collect()
}
