//! Those who write, delete, rename and copy, by commands and over HTTP.

use std::sync::Arc;
use std::time::Duration;

use ezdfs_testkit::history::{Content, Op, Outcome, Payload};
use rand::Rng as _;
use sha2::Digest as _;
use tokio::task::JoinSet;

use crate::board::{Begun, Board};
use crate::doors::{Condition, Doors, calm};
use crate::paths::Class;
use crate::plan::{self, Door, Fault, Step, What};
use crate::process;
use crate::readers;
use crate::site::{self, Site};

/// Stopped commands of one writer, at once.
const STOPPED_MAX: usize = 3;

pub(crate) async fn run(number: usize, seed: u64, site: Arc<Site>, board: Arc<Board>) {
    let mut rng = plan::of(seed, &format!("writer{number}"));
    let mut stopped: JoinSet<()> = JoinSet::new();
    let mut count = 0_u64;
    while !board.is_stopping() {
        let mut step = Step::draw(&mut rng, site::NODES);
        if step.what == What::Delete && step.class == Class::Turns && site.objects.is_bucket() {
            // Its bytes are reaped later, when it may be PHP's turn, and no store deletes on a
            // condition (SEMANTICS.md, "Not promised").
            step.class = Class::Race;
        }
        count += 1;
        let content = Content(u64::try_from(number + 1).unwrap() << 32 | count);
        while stopped.try_join_next().is_some() {}
        let actor = match step.door {
            Door::Command => format!("command{number}"),
            Door::Http(node) => format!("api-of-node{node}-{number}"),
        };
        let writer = Writer { actor, site: site.clone(), board: board.clone() };
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
                self.put(&path, Op::Put(content), content, step, Condition::None).await;
            }
            What::PutIfAbsent => {
                self.put(&path, Op::PutIfAbsent(content), content, step, Condition::Absent).await;
            }
            What::PutIfMatch => {
                let Some((expected, sha256)) = self.board.latest(&path) else { return };
                let op = Op::PutIfMatch { expected, new: content };
                self.put(&path, op, content, step, Condition::Matches(sha256)).await;
            }
            What::Delete => self.delete(&path, step).await,
            What::RenameIn => self.rename_in(&path, content, step).await,
            What::RenameOut => self.rename_out(&path, content, step).await,
            What::CopyIn => self.copy_in(&path, content, step).await,
            What::CopyOut => self.copy_out(&path, content, step).await,
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

    fn doors(&self, step: Step) -> Doors<'_> {
        Doors { site: &self.site, board: &self.board, step }
    }

    async fn put(&self, path: &str, op: Op, content: Content, step: Step, condition: Condition) {
        let bytes = Payload { path, content }.bytes(step.size);
        let sha256 = hex::encode(sha2::Sha256::digest(&bytes));
        let begun = self.begin(path, op);
        let ended = self.doors(step).put(path, bytes, &media_type(content), &condition).await;
        if ended.is_done() {
            self.board.acknowledged(path, content, sha256);
        }
        begun.ended(ended.outcome, ended.note);
    }

    async fn delete(&self, path: &str, step: Step) {
        let begun = self.begin(path, Op::Delete);
        let ended = self.doors(step).delete(path).await;
        begun.ended(ended.outcome, ended.note);
    }

    /// A new file somewhere else, with bytes for `path`; where, and their digest.
    async fn put_beside(
        &self,
        path: &str,
        content: Content,
        step: Step,
    ) -> Option<(String, String)> {
        let from = self.cold(content);
        let bytes = Payload { path, content }.bytes(step.size);
        let sha256 = hex::encode(sha2::Sha256::digest(&bytes));
        let begun = self.begin(&from, Op::Put(content));
        let doors = self.doors(calm(step));
        let ended = doors.put(&from, bytes, &media_type(content), &Condition::None).await;
        let is_done = ended.is_done();
        begun.ended(ended.outcome, format!("for {path}: {}", ended.note));
        is_done.then_some((from, sha256))
    }

    /// The usual way to replace a file on a disk.
    async fn rename_in(&self, path: &str, content: Content, step: Step) {
        let Some((from, sha256)) = self.put_beside(path, content, step).await else { return };
        let (source, target) = (self.begin(&from, Op::Take), self.begin(path, Op::Put(content)));
        let ended = self.doors(step).rename(&from, path).await;
        if ended.is_done() {
            self.board.acknowledged(path, content, sha256);
            source.ended(Outcome::Seen(Some(content)), "");
            target.ended(Outcome::Done, format!("renamed from {from}"));
        } else {
            // It was there: what is refused is as unknown as what fails.
            source.ended(Outcome::Unknown, &*ended.note);
            target.ended(Outcome::Unknown, format!("renamed from {from}: {}", ended.note));
        }
    }

    async fn rename_out(&self, path: &str, content: Content, step: Step) {
        let to = self.cold(content);
        let begun = self.begin(path, Op::Take);
        let ended = self.doors(step).rename(path, &to).await;
        // What was taken is seen at the end, where it is.
        begun.ended(ended.outcome, format!("renamed to {to}: {}", ended.note));
    }

    async fn copy_in(&self, path: &str, content: Content, step: Step) {
        let Some((from, sha256)) = self.put_beside(path, content, step).await else { return };
        let begun = self.begin(path, Op::Put(content));
        let ended = self.doors(step).copy(&from, path).await;
        if ended.is_done() {
            self.board.acknowledged(path, content, sha256);
        }
        let outcome = if ended.is_done() { Outcome::Done } else { Outcome::Unknown };
        begun.ended(outcome, format!("copied from {from}: {}", ended.note));
    }

    /// A copy is a read, whose answer is seen at the end, where it is.
    async fn copy_out(&self, path: &str, content: Content, step: Step) {
        let to = self.cold(content);
        let allowance = match step.door {
            Door::Http(node) if node != site::STRICT_NODE => readers::ALLOWANCE,
            Door::Command | Door::Http(_) => readers::strict(path),
        };
        let begun = self.board.begin(&self.actor, path, Op::Read, allowance);
        let ended = self.doors(step).copy(path, &to).await;
        let outcome = match ended.outcome {
            Outcome::Refused => Outcome::Seen(None),
            other => other,
        };
        begun.ended(outcome, format!("copied to {to}: {}", ended.note));
    }
}

/// Each version has one that goes with its content.
pub(crate) fn media_type(content: Content) -> String {
    format!("application/x-torture-{}", content.0 % 16)
}
