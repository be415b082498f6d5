//! Commands that write, delete and rename.

use std::sync::Arc;
use std::time::Duration;

use ezdfs_testkit::history::{Content, Op, Outcome, Payload};
use rand::Rng as _;
use sha2::Digest as _;
use tokio::task::JoinSet;

use crate::board::{Begun, Board};
use crate::paths::Class;
use crate::plan::{self, Fault, Step, What};
use crate::process::{self, Ran};
use crate::site::Site;

/// Stopped commands of one writer, at once.
const STOPPED_MAX: usize = 3;

pub(crate) async fn run(number: usize, seed: u64, site: Arc<Site>, board: Arc<Board>) {
    let actor = format!("command{number}");
    let mut rng = plan::of(seed, &actor);
    let mut stopped: JoinSet<()> = JoinSet::new();
    let mut count = 0_u64;
    while !board.is_stopping() {
        let mut step = Step::draw(&mut rng);
        if step.what == What::Delete && step.class == Class::Turns && site.objects.is_bucket() {
            // Its bytes are reaped later, when it may be PHP's turn, and no store deletes on a
            // condition (SEMANTICS.md, "Not promised").
            step.class = Class::Race;
        }
        count += 1;
        let content = Content(u64::try_from(number + 1).unwrap() << 32 | count);
        while stopped.try_join_next().is_some() {}
        let writer = Writer { actor: actor.clone(), site: site.clone(), board: board.clone() };
        if matches!(step.fault, Fault::Stop(..)) {
            if stopped.len() < STOPPED_MAX {
                stopped.spawn(async move { writer.step(step, content).await });
                continue;
            }
            step.fault = Fault::None;
        }
        writer.step(step, content).await;
        board.pause(step.pause).await;
    }
    while stopped.join_next().await.is_some() {}
}

/// `gc` on one more node, now and then killed.
pub(crate) async fn clean(seed: u64, site: Arc<Site>, board: Arc<Board>) {
    let mut rng = plan::of(seed, "gc");
    while !board.is_stopping() {
        board.pause(Duration::from_millis(rng.random_range(1_000..6_000))).await;
        let fault = match rng.random_range(0..4) {
            0 => Fault::Kill(Duration::from_millis(rng.random_range(50..600))),
            _ => Fault::None,
        };
        let elsewhere = rng.random_range(0..2) == 0;
        let ran = process::run(&site, &board, &["gc"], Vec::new(), fault, elsewhere).await;
        board.fault(if ran.ok() { "gc that ended well" } else { "gc that did not" });
    }
}

struct Writer {
    actor: String,
    site: Arc<Site>,
    board: Arc<Board>,
}

impl Writer {
    async fn step(&self, step: Step, content: Content) {
        let path = match step.what {
            What::Cold => self.cold(content),
            _ => step.class.path(step.path),
        };
        let turn = match step.class {
            Class::Turns => Some(self.site.turns[step.path % step.class.count()].read().await),
            _ => None,
        };
        match step.what {
            What::Put | What::Cold => {
                self.put(&path, Op::Put(content), content, &step, &[]).await;
            }
            What::PutIfAbsent => {
                let only = ["--if-none-match", "*"];
                self.put(&path, Op::PutIfAbsent(content), content, &step, &only).await;
            }
            What::PutIfMatch => {
                let Some((expected, sha256)) = self.board.latest(&path) else { return };
                let tag = format!("\"{sha256}\"");
                let op = Op::PutIfMatch { expected, new: content };
                self.put(&path, op, content, &step, &["--if-match", &tag]).await;
            }
            What::Delete => self.delete(&path, &step).await,
            What::RenameIn => self.rename_in(&path, content, &step).await,
            What::RenameOut => self.rename_out(&path, content, &step).await,
        }
        drop(turn);
    }

    /// A path of this content's own.
    fn cold(&self, content: Content) -> String {
        format!("images/cold/{}/{content}.bin", content.0 % 7)
    }

    fn begin(&self, path: &str, op: Op) -> Begun<'_> {
        self.board.begin(&self.actor, path, op, Duration::ZERO)
    }

    async fn run(&self, args: &[&str], stdin: Vec<u8>, step: &Step) -> Ran {
        process::run(&self.site, &self.board, args, stdin, step.fault, step.elsewhere).await
    }

    async fn put(&self, path: &str, op: Op, content: Content, step: &Step, more: &[&str]) {
        let bytes = Payload { path, content }.bytes(step.size);
        let sha256 = hex::encode(sha2::Sha256::digest(&bytes));
        let media_type = media_type(content);
        let args = [&["put", "-", path, "--type", &media_type], more].concat();
        let begun = self.begin(path, op);
        let ran = self.run(&args, bytes, step).await;
        let outcome = match op {
            _ if ran.ok() => Outcome::Done,
            Op::PutIfAbsent(_) if ran.err.contains("exists already") => Outcome::Refused,
            Op::PutIfMatch { .. }
                if ran.err.contains("is now") || ran.err.contains("the file does not exist") =>
            {
                Outcome::Refused
            }
            _ => Outcome::Unknown,
        };
        if outcome == Outcome::Done {
            self.board.acknowledged(path, content, sha256);
        }
        begun.ended(outcome, note(&ran, step));
    }

    async fn delete(&self, path: &str, step: &Step) {
        let begun = self.begin(path, Op::Delete);
        let ran = self.run(&["rm", path], Vec::new(), step).await;
        begun.ended(removal(&ran), note(&ran, step));
    }

    /// The usual way to replace a file on a disk.
    async fn rename_in(&self, path: &str, content: Content, step: &Step) {
        let from = self.cold(content);
        let bytes = Payload { path, content }.bytes(step.size);
        let sha256 = hex::encode(sha2::Sha256::digest(&bytes));
        let args = ["put", "-", &from, "--type", &media_type(content)];
        let calm = Step { fault: Fault::None, elsewhere: false, ..*step };
        let begun = self.begin(&from, Op::Put(content));
        let ran = self.run(&args, bytes, &calm).await;
        if !ran.ok() {
            return begun.ended(Outcome::Unknown, note(&ran, &calm));
        }
        begun.ended(Outcome::Done, "");
        let (source, target) = (self.begin(&from, Op::Take), self.begin(path, Op::Put(content)));
        let ran = self.run(&["mv", "-T", &from, path], Vec::new(), step).await;
        let why = note(&ran, step);
        if ran.ok() {
            self.board.acknowledged(path, content, sha256);
            source.ended(Outcome::Seen(Some(content)), "");
            target.ended(Outcome::Done, format!("renamed from {from}"));
        } else {
            source.ended(Outcome::Unknown, &*why);
            target.ended(Outcome::Unknown, format!("renamed from {from}: {why}"));
        }
    }

    async fn rename_out(&self, path: &str, content: Content, step: &Step) {
        let to = self.cold(content);
        let begun = self.begin(path, Op::Take);
        let ran = self.run(&["mv", "-T", path, &to], Vec::new(), step).await;
        // What was taken is seen at the end, where it is.
        let outcome = match removal(&ran) {
            Outcome::Done => Outcome::Done,
            Outcome::Refused => Outcome::Refused,
            _ => Outcome::Unknown,
        };
        begun.ended(outcome, format!("renamed to {to}: {}", note(&ran, step)));
    }
}

fn removal(ran: &Ran) -> Outcome {
    match ran.code {
        Some(0) => Outcome::Done,
        Some(_) if ran.err.contains("does not exist") => Outcome::Refused,
        _ => Outcome::Unknown,
    }
}

fn note(ran: &Ran, step: &Step) -> String {
    let fault = match step.fault {
        Fault::None => String::new(),
        Fault::Kill(_) => "to be killed; ".to_owned(),
        Fault::Stop(_, lasting) => format!("stopped for {lasting:?}; "),
    };
    let place = if step.elsewhere { "elsewhere; " } else { "" };
    let note = format!("{place}{fault}{}", if ran.ok() { String::new() } else { ran.why() });
    note.trim_end_matches("; ").to_owned()
}

/// Each version has one that goes with its content.
pub(crate) fn media_type(content: Content) -> String {
    format!("application/x-torture-{}", content.0 % 16)
}
