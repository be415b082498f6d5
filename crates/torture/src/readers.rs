//! Readers: over HTTP, and by commands.

use std::sync::Arc;
use std::time::Duration;

use ezdfs_testkit::history::{Content, Op, Outcome};
use rand::Rng as _;
use sha2::Digest as _;

use crate::board::Board;
use crate::http::{self, Answer};
use crate::paths::{Class, hot};
use crate::plan::{self, Fault};
use crate::process;
use crate::site::{self, Site};
use crate::writers::media_type;

/// How old an answer may be that need not ask the database: `max_staleness`, and what database
/// time is rounded by.
pub(crate) const ALLOWANCE: Duration =
    site::MAX_STALENESS.saturating_add(Duration::from_millis(20));

/// How old an answer on a path may be for a reader that asks the database each time.
pub(crate) fn strict(path: &str) -> Duration {
    if Class::of(path).is_foreign() { ALLOWANCE } else { Duration::ZERO }
}

/// Reads hot paths from one node.
pub(crate) async fn http(node: usize, seed: u64, site: Arc<Site>, board: Arc<Board>) {
    let actor = format!("http{node}");
    let mut rng = plan::of(seed, &actor);
    let paths = hot();
    while !board.is_stopping() {
        let path = &paths[rng.random_range(0..paths.len())];
        let pause = Duration::from_millis(rng.random_range(5..40));
        read_from(&actor, node, path, path, &site, &board).await;
        board.pause(pause).await;
    }
}

/// One `GET`; what was there, if that is known. `label` is the path for which its bytes were made.
pub(crate) async fn read_from(
    actor: &str,
    node: usize,
    path: &str,
    label: &str,
    site: &Site,
    board: &Board,
) -> Option<Option<Content>> {
    let allowance = if node == site::STRICT_NODE { strict(path) } else { ALLOWANCE };
    let begun = board.begin(actor, path, Op::Read, allowance);
    let Some(address) = site.nodes[node].address() else {
        begun.ended(Outcome::Failed, "the node is down");
        return None;
    };
    let seen = match http::get(address, path).await {
        Answer::Whole { body, etag, media_type } => {
            let content = board.identify(actor, label, &body);
            if let Some(content) = content {
                check_fields(board, actor, path, content, &body, etag, media_type);
            }
            content.map(Some)
        }
        Answer::Missing => Some(None),
        Answer::Failed(why) => {
            begun.ended(Outcome::Failed, why);
            return None;
        }
        Answer::Strange(status) => {
            board.found("P7", format!("{actor}: `{path}` answers {status}"));
            None
        }
    };
    match seen {
        Some(content) => begun.ended(Outcome::Seen(content), ""),
        None => begun.ended(Outcome::Failed, "a wrong answer"),
    }
    seen
}

/// The fields of a version are those of its bytes. What PHP writes has no strong tag, and its
/// media type may follow its bytes.
fn check_fields(
    board: &Board,
    actor: &str,
    path: &str,
    content: Content,
    body: &[u8],
    etag: Option<String>,
    found_type: Option<String>,
) {
    let sha256 = format!("\"{}\"", hex::encode(sha2::Sha256::digest(body)));
    let etag = etag.unwrap_or_default();
    if etag.len() == sha256.len() && etag.starts_with('"') && etag != sha256 {
        board.found("P1", format!("{actor}: `{path}` {content} under the tag of another: {etag}"));
    }
    let of_ours = matches!(Class::of(path), Class::Own | Class::Cold);
    if of_ours && found_type.as_deref() != Some(&media_type(content)) {
        board.found("P1", format!("{actor}: `{path}` {content} under the type {found_type:?}"));
    }
}

/// Reads hot paths by commands, which ask the database.
pub(crate) async fn command(seed: u64, site: Arc<Site>, board: Arc<Board>) {
    let mut rng = plan::of(seed, "cat");
    let paths = hot();
    while !board.is_stopping() {
        let path = &paths[rng.random_range(0..paths.len())];
        let pause = Duration::from_millis(rng.random_range(50..300));
        let elsewhere = rng.random_range(0..5) == 0;
        cat("cat", path, elsewhere, &site, &board).await;
        board.pause(pause).await;
    }
}

/// One `cat`; what was there, if that is known.
pub(crate) async fn cat(
    actor: &str,
    path: &str,
    elsewhere: bool,
    site: &Site,
    board: &Board,
) -> Option<Option<Content>> {
    let begun = board.begin(actor, path, Op::Read, strict(path));
    let ran = process::run(site, board, &["cat", path], Vec::new(), Fault::None, elsewhere).await;
    let seen = match ran.code {
        Some(0) => board.identify(actor, path, &ran.out).map(Some),
        Some(_) if ran.err.contains("does not exist") => Some(None),
        _ => None,
    };
    match seen {
        Some(content) => begun.ended(Outcome::Seen(content), ""),
        None => begun.ended(Outcome::Failed, ran.why()),
    }
    seen
}
