//! `POST /v1/purge`: what is kept of files is dropped on every node, and caches in front are told.
//!
//! Nothing that a node keeps becomes wrong, for the rows name the version that is answered. A purge
//! is for what lies behind that: bytes that were damaged in memory, rows that were changed where no
//! trigger tells, and caches in front, which know nothing of versions.

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use ezdfs_core::{DirPath, FilePath};
use serde::{Deserialize, Serialize};

use super::problem::Refusal;
use super::tokens::Verb;
use super::{Admin, problem, target};
use crate::purge_hooks::{Outcome, Purge};
use crate::surrogate_keys;

/// Largest body in bytes, and most things to purge at once.
const MOST_BYTES: usize = 1 << 20;
const MOST: usize = 1000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    #[serde(default)]
    paths: Vec<String>,
    #[serde(default)]
    prefixes: Vec<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    soft: bool,
}

#[derive(Debug, Serialize)]
struct Purged {
    paths: usize,
    prefixes: usize,
    tags: usize,
    hooks: Vec<Outcome>,
}

pub(super) async fn purge(
    State(admin): State<Admin>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    // Before a byte of the body is read.
    admin.tokens.of(&parts.headers)?;
    let order = read(&admin, body).await?;
    if order.paths.len() + order.prefixes.len() + order.tags.len() > MOST {
        return Err(Refusal::Bad("more than 1000 things to purge"));
    }
    let paths = order.paths.iter().map(|path| target::named(path));
    let paths = paths.collect::<Result<Vec<FilePath>, _>>()?;
    let dirs = order.prefixes.iter().map(|prefix| target::directory(prefix));
    let dirs = dirs.collect::<Result<Vec<DirPath>, _>>()?;
    if !order.tags.iter().all(|tag| is_tag(tag)) {
        return Err(Refusal::Bad("a tag is up to 128 letters, digits, -, _, . and :"));
    }
    let mut wants: Vec<(Verb, &str)> = paths.iter().map(|p| (Verb::Purge, p.as_str())).collect();
    wants.extend(dirs.iter().map(|dir| (Verb::Purge, dir.as_str())));
    if !order.tags.is_empty() {
        // A tag may be that of any directory.
        wants.push((Verb::Purge, ""));
    }
    let who = admin.tokens.authorise(&parts.headers, &wants)?.to_owned();

    let metadata = admin.service.metadata();
    let mut names: Vec<String> =
        paths.iter().map(|path| format!("{}/", metadata.prefix().name(path))).collect();
    names.extend(dirs.iter().map(|dir| metadata.prefix().below(dir)));
    for path in &paths {
        admin.service.forget(path);
    }
    for dir in &dirs {
        admin.service.forget_below(dir);
    }
    admin
        .assets
        .hot()
        .purge(|path| paths.contains(path) || dirs.iter().any(|dir| dir.contains(path)));
    if metadata.is_separate()
        && !names.is_empty()
        && let Err(e) = metadata.tell(&names).await
    {
        return Ok(problem::of_error("a purge", &e));
    }
    let mut tags = order.tags.clone();
    tags.extend(dirs.iter().map(|dir| surrogate_keys::tag(dir.as_str())));
    let urls = paths.iter().map(|path| admin.assets.url_path(path));
    let hooks = admin.hooks.run(&Purge { paths: urls.collect(), tags, soft: order.soft }).await;
    tracing::info!(
        paths = paths.len(),
        prefixes = dirs.len(),
        tags = order.tags.len(),
        token = who,
        "purged by the admin API"
    );
    let purged = Purged { paths: paths.len(), prefixes: dirs.len(), tags: order.tags.len(), hooks };
    Ok(axum::Json(purged).into_response())
}

async fn read(admin: &Admin, body: Body) -> Result<Order, Refusal> {
    let bytes = tokio::time::timeout(admin.pace.window, to_bytes(body, MOST_BYTES)).await;
    let Ok(Ok(bytes)) = bytes else {
        return Err(Refusal::Bad("the body is missing, too large or incomplete"));
    };
    // A list would be taken for the values of an object.
    let is_object = bytes.trim_ascii_start().first() == Some(&b'{');
    let order = is_object.then(|| serde_json::from_slice(&bytes));
    order
        .and_then(Result::ok)
        .ok_or(Refusal::Bad("the body is not {\"paths\", \"prefixes\", \"tags\", \"soft\"}"))
}

fn is_tag(tag: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
    (1..=128).contains(&tag.len()) && tag.bytes().all(plain)
}
