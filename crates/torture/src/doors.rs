//! By which door an operation is carried out: a command, or a request to a node.

use std::time::Duration;

use ezdfs_testkit::history::Outcome;

use crate::board::Board;
use crate::http::{self, Request};
use crate::plan::{Door, Fault, Step};
use crate::process::{self, Ran};
use crate::site::{self, Site};

/// What a write is made on.
#[derive(Debug, Clone)]
pub(crate) enum Condition {
    None,
    Absent,
    /// The SHA-256 of the present version, in hex.
    Matches(String),
}

/// What came of an operation.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Done, refused or unknown.
    pub(crate) outcome: Outcome,
    /// Fault and error.
    pub(crate) note: String,
}

impl Ended {
    pub(crate) fn is_done(&self) -> bool {
        self.outcome == Outcome::Done
    }
}

pub(crate) struct Doors<'a> {
    pub(crate) site: &'a Site,
    pub(crate) board: &'a Board,
    pub(crate) step: Step,
}

impl Doors<'_> {
    pub(crate) async fn put(
        &self,
        path: &str,
        bytes: Vec<u8>,
        media_type: &str,
        condition: &Condition,
    ) -> Ended {
        if let Door::Http(node) = self.step.door {
            let mut fields = vec![("Content-Type", media_type.to_owned())];
            match condition {
                Condition::None => {}
                Condition::Absent => fields.push(("If-None-Match", "*".to_owned())),
                Condition::Matches(sha256) => fields.push(("If-Match", format!("\"{sha256}\""))),
            }
            let target = format!("/v1/files/{path}");
            let request = Request { method: "PUT", target: &target, fields, body: &bytes };
            return self.ask(node, request, &[201, 204], &[412]).await;
        }
        let mut args = vec!["put", "-", path, "--type", media_type];
        match condition {
            Condition::None => {}
            Condition::Absent => args.extend(["--if-none-match", "*"]),
            Condition::Matches(sha256) => args.extend(["--if-match", sha256]),
        }
        let refused: &[&str] = match condition {
            Condition::None => &[],
            Condition::Absent => &["exists already"],
            Condition::Matches(_) => &["is now", "the file does not exist"],
        };
        self.run(&args, bytes, refused).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Ended {
        if let Door::Http(node) = self.step.door {
            let target = format!("/v1/files/{path}");
            let request =
                Request { method: "DELETE", target: &target, fields: Vec::new(), body: &[] };
            return self.ask(node, request, &[204], &[404]).await;
        }
        self.run(&["rm", path], Vec::new(), &["does not exist"]).await
    }

    /// A file, over what may be at its new name.
    pub(crate) async fn rename(&self, from: &str, to: &str) -> Ended {
        if let Door::Http(node) = self.step.door {
            return self.transfer(node, "/v1/move", from, to, &[200]).await;
        }
        self.run(&["mv", "-T", from, to], Vec::new(), &["does not exist"]).await
    }

    /// The same.
    pub(crate) async fn copy(&self, from: &str, to: &str) -> Ended {
        if let Door::Http(node) = self.step.door {
            return self.transfer(node, "/v1/copy", from, to, &[201, 204]).await;
        }
        self.run(&["cp", from, to], Vec::new(), &["does not exist"]).await
    }

    async fn transfer(
        &self,
        node: usize,
        target: &str,
        from: &str,
        to: &str,
        done: &[u16],
    ) -> Ended {
        let order = serde_json::json!({ "from": from, "to": to, "overwrite": true }).to_string();
        let fields = vec![("Content-Type", "application/json".to_owned())];
        let request = Request { method: "POST", target, fields, body: order.as_bytes() };
        self.ask(node, request, done, &[404]).await
    }

    /// A request, whose client may go away before its answer.
    async fn ask(
        &self,
        node: usize,
        mut request: Request<'_>,
        done: &[u16],
        refused: &[u16],
    ) -> Ended {
        let unknown = |note: String| Ended { outcome: Outcome::Unknown, note };
        let Some(address) = self.site.nodes[node].admin_address() else {
            return Ended { outcome: Outcome::Failed, note: "the node is down".to_owned() };
        };
        request.fields.push(("Authorization", format!("Bearer {}", site::TOKEN)));
        let patience = match self.step.fault {
            Fault::Kill(after) => after,
            Fault::None | Fault::Stop(..) => http::PATIENCE,
        };
        let what = format!("{} {}", request.method, request.target);
        match tokio::time::timeout(patience, http::exchange(address, request)).await {
            Err(_) if patience < http::PATIENCE => {
                self.board.fault("HTTP clients that went away");
                unknown("went away".to_owned())
            }
            Err(_) => unknown(format!("no answer in {patience:?}")),
            Ok(Err(e)) => unknown(format!("no whole answer: {}", e.kind())),
            Ok(Ok(answer)) if done.contains(&answer.status) => {
                Ended { outcome: Outcome::Done, note: String::new() }
            }
            Ok(Ok(answer)) if refused.contains(&answer.status) => {
                Ended { outcome: Outcome::Refused, note: String::new() }
            }
            Ok(Ok(answer)) => {
                if answer.status != 503 {
                    let body = String::from_utf8_lossy(&answer.body).into_owned();
                    self.board.found("P7", format!("{what} answers {}: {body}", answer.status));
                }
                unknown(answer.status.to_string())
            }
        }
    }

    async fn run(&self, args: &[&str], stdin: Vec<u8>, refused: &[&str]) -> Ended {
        let Step { fault, elsewhere, .. } = self.step;
        let ran = process::run(self.site, self.board, args, stdin, fault, elsewhere).await;
        let outcome = match ran.code {
            Some(0) => Outcome::Done,
            Some(_) if refused.iter().any(|why| ran.err.contains(why)) => Outcome::Refused,
            _ => Outcome::Unknown,
        };
        Ended { outcome, note: self.note(&ran) }
    }

    fn note(&self, ran: &Ran) -> String {
        let fault = match self.step.fault {
            Fault::None => String::new(),
            Fault::Kill(_) => "to be killed; ".to_owned(),
            Fault::Stop(_, lasting) => format!("stopped for {lasting:?}; "),
        };
        let place = if self.step.elsewhere { "elsewhere; " } else { "" };
        let note = format!("{place}{fault}{}", if ran.ok() { String::new() } else { ran.why() });
        note.trim_end_matches("; ").to_owned()
    }
}

/// Nothing is done to a step that prepares another.
pub(crate) fn calm(step: Step) -> Step {
    Step { fault: Fault::None, elsewhere: false, pause: Duration::ZERO, ..step }
}
