//! `/v1/dirs/{path}`: one directory.

use axum::extract::{Request, State};
use axum::http::Method;
use axum::response::{IntoResponse as _, Response};
use ezdfs_core::{DirPath, Entry, ErrorKind};
use serde::Serialize;

use super::problem::Refusal;
use super::tokens::Verb;
use super::{Admin, problem, target};

pub(super) const ROUTE: &str = "/v1/dirs/";

/// Entries of one page, and at most.
const PAGE: u32 = 1_000;
const PAGE_MAX: u32 = 10_000;

pub(super) async fn dirs(
    State(admin): State<Admin>,
    request: Request,
) -> Result<Response, Refusal> {
    let verb = match *request.method() {
        Method::GET | Method::HEAD => Verb::List,
        Method::DELETE => Verb::Delete,
        _ => return Ok(problem::method_not_allowed("GET, HEAD, DELETE")),
    };
    let fields = request.headers();
    admin.tokens.of(fields)?;
    let dir = target::dir(request.uri(), ROUTE)?;
    let who = admin.tokens.authorise(fields, &[(verb, dir.as_str())])?;
    match verb {
        Verb::Delete => delete(&admin, &dir, who).await,
        _ => list(&admin, &dir, request.uri().query()).await,
    }
}

/// `?after=NAME&limit=N`, decoded; `None` for anything else.
fn page_of(query: Option<&str>) -> Option<(Option<String>, u32)> {
    let (mut after, mut limit) = (None, None);
    for pair in query.unwrap_or_default().split('&').filter(|p| !p.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        let repeated = match name {
            "after" => {
                let text = percent_encoding::percent_decode_str(value).decode_utf8().ok()?;
                after.replace(text.into_owned()).is_some()
            }
            "limit" => {
                let number = value.parse().ok().filter(|n| (1..=PAGE_MAX).contains(n))?;
                limit.replace(number).is_some()
            }
            _ => return None,
        };
        if repeated {
            return None;
        }
    }
    Some((after, limit.unwrap_or(PAGE)))
}

/// A page of a directory.
#[derive(Debug, Serialize)]
struct PageJson {
    entries: Vec<EntryJson>,
    /// `after` of the next page; missing at the end. A page may be empty and have a successor.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct EntryJson {
    name: String,
    path: String,
    kind: &'static str,
    mtime: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
}

impl From<Entry> for EntryJson {
    fn from(entry: Entry) -> Self {
        let mtime = chrono::DateTime::from_timestamp_nanos(entry.mtime().nanos());
        let file = match &entry {
            Entry::File(file) => Some(file),
            Entry::Directory(_) => None,
        };
        Self {
            name: entry.basename().to_owned(),
            path: entry.path().to_owned(),
            kind: if file.is_some() { "file" } else { "directory" },
            mtime: mtime.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
            size: file.map(|f| f.size),
            media_type: file.map(|f| f.media_type().to_owned()),
            etag: file.map(|f| f.etag().to_string()),
        }
    }
}

async fn list(admin: &Admin, dir: &DirPath, query: Option<&str>) -> Result<Response, Refusal> {
    let (after, limit) = page_of(query)
        .ok_or(Refusal::Bad("the query takes after=NAME and limit=1 to 10000 only"))?;
    let listed = async {
        if !matches!(admin.service.entry(dir).await?, Entry::Directory(_)) {
            return Err(ezdfs_core::Error::new(ErrorKind::NotDirectory, format!("`{dir}`")));
        }
        admin.service.list(dir, after.as_deref(), limit).await
    };
    match listed.await {
        Ok(page) => {
            let entries = page.entries.into_iter().map(EntryJson::from).collect();
            Ok(axum::Json(PageJson { entries, next: page.next }).into_response())
        }
        Err(e) => Ok(problem::of_error("a listing", &e)),
    }
}

/// What a directory delete did.
#[derive(Debug, Serialize)]
struct DeletedJson {
    files: u64,
    /// Rows of names that cannot be served, which stay.
    skipped: u64,
}

async fn delete(admin: &Admin, dir: &DirPath, who: &str) -> Result<Response, Refusal> {
    // Everything at once is never what a program meant (abuse case 49).
    let path =
        dir.path().ok_or(Refusal::Bad("the root cannot be deleted; delete its directories"))?;
    match admin.service.delete_dir(path, |_| {}).await {
        Ok(deleted) => {
            tracing::info!(%path, token = who, files = deleted.files, "deleted by the admin API");
            let skipped = deleted.skipped_count;
            Ok(axum::Json(DeletedJson { files: deleted.files, skipped }).into_response())
        }
        Err(e) => Ok(problem::of_error("a directory delete", &e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_asked_for_in_one_way() {
        let of = |query| page_of(Some(query));
        assert_eq!(page_of(None), Some((None, PAGE)));
        assert_eq!(of(""), Some((None, PAGE)));
        let after = Some("a b&c".to_owned());
        assert_eq!(of("after=a%20b%26c&limit=5"), Some((after, 5)));
        for bad in [
            "limit=0",
            "limit=10001",
            "limit=x",
            "limit=5&limit=5",
            "after=%ff",
            "after=a&after=a",
            "recursive=1",
            "limit",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
