//! How values become the parameters of statements.

use ezdfs_core::{FilePath, Intent, IntentState, NameHash, NamePrefix, NodeRow, Timestamp, Work};
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Sqlite};

use super::sql::Text;
use crate::place::below;

/// A statement of [`Sql`]. Its text holds nothing but the checked table name beside constants.
pub(super) fn prepared(text: &Text) -> Query<'static, Sqlite, SqliteArguments> {
    sqlx::query(AssertSqlSafe(Text::clone(text)))
}

/// The names below a directory as bounds of a range; `''` and NULL for all names.
pub(super) fn bounds(name: &str) -> (String, Option<String>) {
    below(name).map_or((String::new(), None), |(low, high)| (low, Some(high)))
}

/// A JSON array of hashes: how a list becomes one bound value.
pub(super) fn json_hashes<'a>(hashes: impl Iterator<Item = &'a NameHash>) -> String {
    let quoted: Vec<String> = hashes.map(|h| format!("\"{h}\"")).collect();
    format!("[{}]", quoted.join(","))
}

/// ?1 own hash, ?2 the hashes above, ?3 subtree, ?4 prefix, ?5 and ?6 the range of the paths below.
pub(super) fn bind_path<'q>(
    query: Query<'q, Sqlite, SqliteArguments>,
    prefix: &NamePrefix,
    path: &FilePath,
    subtree: bool,
) -> Query<'q, Sqlite, SqliteArguments> {
    let above: Vec<NameHash> = path.ancestors().map(|p| prefix.name(&p).hash()).collect();
    let (low, high) = bounds(path.as_str());
    query
        .bind(prefix.name(path).hash().to_hex())
        .bind(json_hashes(above.iter()))
        .bind(subtree)
        .bind(prefix.as_str().to_owned())
        .bind(low)
        .bind(high)
}

/// A node row in the order of the statement's columns.
pub(super) fn bind_node<'q>(
    query: Query<'q, Sqlite, SqliteArguments>,
    hash: &NameHash,
    node: &NodeRow,
) -> Query<'q, Sqlite, SqliteArguments> {
    let size = clamp(node.base_size);
    query
        .bind(hash.to_hex())
        .bind(node.parent.to_hex())
        .bind(node.basename.clone())
        .bind(node.kind.as_str())
        .bind(node.attrs.mode)
        .bind(node.attrs.uid)
        .bind(node.attrs.gid)
        .bind(node.mtime.nanos())
        .bind(node.attrs.ctime.nanos())
        .bind(node.pin.as_ref().map(|p| p.as_str().to_owned()))
        .bind(node.token.map(|t| t.to_string()))
        .bind(node.sha256.map(|s| s.to_string()))
        .bind(node.expires.map(Timestamp::millis))
        .bind(size)
        .bind(node.base_mtime)
        .bind(size)
}

/// Sizes above what the column holds were refused before; rows hold no others.
pub(super) fn clamp(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// What is needed to finish the work: ?14 to ?22 of [`Sql::add_intent`].
pub(super) fn bind_work<'q>(
    query: Query<'q, Sqlite, SqliteArguments>,
    intent: &Intent,
) -> Query<'q, Sqlite, SqliteArguments> {
    let mut columns = WorkColumns {
        // Queued work of any kind is found by this column.
        not_before: (intent.state == IntentState::Queued).then_some(intent.lease_end),
        ..WorkColumns::default()
    };
    match &intent.work {
        Work::Publish { size, sha256, datatype, mtime, expires, pin } => {
            columns.size = Some(clamp(*size));
            columns.sha256 = Some(sha256.to_string());
            columns.datatype = Some(datatype.clone());
            columns.mtime = Some(*mtime);
            columns.expires = *expires;
            columns.pin = pin.as_ref().map(|p| p.as_str().to_owned());
        }
        Work::Rename { to } => columns.other_path = to.as_ref().map(|p| p.as_str().to_owned()),
        Work::Reap { key, pin, not_before } => {
            columns.key = Some(key.clone());
            columns.pin = pin.as_ref().map(|p| p.as_str().to_owned());
            columns.not_before = Some(*not_before);
        }
        Work::Delete | Work::Repair => {}
    }
    query
        .bind(columns.not_before.map(Timestamp::nanos))
        .bind(columns.size)
        .bind(columns.sha256)
        .bind(columns.datatype)
        .bind(columns.mtime.map(Timestamp::nanos))
        .bind(columns.expires.map(Timestamp::millis))
        .bind(columns.pin)
        .bind(columns.other_path)
        .bind(columns.key)
}

#[derive(Default)]
struct WorkColumns {
    not_before: Option<Timestamp>,
    size: Option<i64>,
    sha256: Option<String>,
    datatype: Option<String>,
    mtime: Option<Timestamp>,
    expires: Option<Timestamp>,
    pin: Option<String>,
    other_path: Option<String>,
    key: Option<String>,
}
