//! `POST /v1/copy` and `POST /v1/move`.

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::request;
use axum::response::{IntoResponse as _, Response};
use ezdfs_core::FilePath;
use serde::{Deserialize, Serialize};

use super::problem::Refusal;
use super::tokens::Verb;
use super::{Admin, files, problem, target};

/// Largest body: two paths of 4,095 bytes, each byte escaped as `\u00XX`, and some space.
const MOST: usize = 64 << 10;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    from: String,
    to: String,
    #[serde(default)]
    overwrite: bool,
}

/// A checked order, and who gives it.
struct Transfer {
    from: FilePath,
    to: FilePath,
    overwrite: bool,
    who: String,
}

/// Reads an order; its source needs `verbs`, its target `put`.
async fn read(
    admin: &Admin,
    parts: &request::Parts,
    body: Body,
    verbs: &[Verb],
) -> Result<Transfer, Refusal> {
    // Before a byte of the body is read.
    admin.tokens.of(&parts.headers)?;
    let bytes = tokio::time::timeout(admin.pace.window, to_bytes(body, MOST)).await;
    let Ok(Ok(bytes)) = bytes else {
        return Err(Refusal::Bad("the body is missing, too large or incomplete"));
    };
    let order: Order = serde_json::from_slice(&bytes)
        .map_err(|_| Refusal::Bad("the body is not {\"from\", \"to\", \"overwrite\"}"))?;
    let (from, to) = (target::named(&order.from)?, target::named(&order.to)?);
    let mut wants: Vec<(Verb, &str)> = verbs.iter().map(|verb| (*verb, from.as_str())).collect();
    wants.push((Verb::Put, to.as_str()));
    let who = admin.tokens.authorise(&parts.headers, &wants)?.to_owned();
    Ok(Transfer { overwrite: order.overwrite, from, to, who })
}

pub(super) async fn copy(
    State(admin): State<Admin>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let Transfer { from, to, overwrite, who } = read(&admin, &parts, body, &[Verb::Get]).await?;
    match admin.service.copy(&from, &to, overwrite).await {
        Ok(published) => {
            tracing::info!(%from, %to, token = who, "copied by the admin API");
            Ok(files::stored(&published))
        }
        Err(e) => Ok(problem::of_error("a copy", &e)),
    }
}

/// What a move moved.
#[derive(Debug, Serialize)]
struct MovedJson {
    files: u64,
}

pub(super) async fn rename(
    State(admin): State<Admin>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let Transfer { from, to, overwrite, who } =
        read(&admin, &parts, body, &[Verb::Get, Verb::Delete]).await?;
    match admin.service.rename(&from, &to, overwrite).await {
        Ok(renamed) => {
            tracing::info!(%from, %to, token = who, files = renamed.files, "moved by the admin API");
            Ok(axum::Json(MovedJson { files: renamed.files }).into_response())
        }
        Err(e) => Ok(problem::of_error("a move", &e)),
    }
}
