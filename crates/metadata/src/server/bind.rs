//! How values become the parameters of statements.

use ezdfs_core::{FilePath, Intent, IntentState, NameHash, NamePrefix, NodeRow, Timestamp, Work};

use super::statement::{Param, params};
use crate::decode::state_text;
use crate::place::below;

/// Names below a directory: both ends of the range in byte order, and the directory's own name, the
/// low end in the order of other collations, by which an index on one of these still helps.
pub(crate) struct Range {
    pub(crate) low: String,
    pub(crate) high: String,
    pub(crate) dir: String,
}

/// The range of the names below a directory; `None` for all names.
pub(crate) fn range(name: &str) -> Option<Range> {
    let (low, high) = below(name)?;
    Some(Range { low, high, dir: name.to_owned() })
}

pub(crate) fn hexes<'a>(hashes: impl IntoIterator<Item = &'a NameHash>) -> Vec<String> {
    hashes.into_iter().map(NameHash::to_hex).collect()
}

/// A node row: ?1 hash, ?2 parent hash, ?3 basename, ?4 kind, ?5 mode, ?6 uid, ?7 gid, ?8 mtime,
/// ?9 ctime, ?10 pin, ?11 token, ?12 sha256, ?13 expiry, ?14 fingerprint size (also `size`), ?15
/// fingerprint mtime.
pub(crate) fn node(hash: NameHash, node: &NodeRow) -> Vec<Param> {
    params![
        hash.to_hex(),
        node.parent.to_hex(),
        node.basename.clone(),
        node.kind.as_str(),
        node.attrs.mode.map(i64::from),
        node.attrs.uid.map(i64::from),
        node.attrs.gid.map(i64::from),
        node.mtime.nanos(),
        node.attrs.ctime.nanos(),
        node.pin.as_ref().map(|p| p.as_str().to_owned()),
        node.token.map(|t| t.to_string()),
        node.sha256.map(|s| s.to_string()),
        node.expires.map(Timestamp::millis),
        clamp(node.base_size),
        node.base_mtime,
    ]
}

/// ?1 own hash, ?2 the hashes above, ?3 subtree, ?4 prefix, ?5 and ?6 the range of the paths below.
pub(crate) fn place(prefix: &NamePrefix, path: &FilePath, subtree: bool) -> Vec<Param> {
    let above: Vec<NameHash> = path.ancestors().map(|p| prefix.name(&p).hash()).collect();
    let (low, high) = below(path.as_str()).unwrap_or_default();
    params![prefix.name(path).hash().to_hex(), hexes(&above), subtree, prefix.as_str(), low, high]
}

/// The parameters of [`super::sql::Sql::add_intent`].
pub(crate) fn intent(prefix: &NamePrefix, intent: &Intent) -> Vec<Param> {
    let hold =
        (intent.state == IntentState::Held).then(|| prefix.name(&intent.path).hash().to_hex());
    let mut all = place(prefix, &intent.path, intent.subtree);
    all.extend(params![
        intent.path.as_str(),
        intent.work.kind().as_str(),
        intent.token.to_string(),
        intent.owner.clone(),
        state_text(intent.state),
        hold,
        intent.lease_end.nanos(),
    ]);
    all.extend(work(intent));
    all
}

/// What is needed to finish the work.
fn work(intent: &Intent) -> Vec<Param> {
    // Queued work of any kind is found by this column.
    let queued = (intent.state == IntentState::Queued).then_some(intent.lease_end);
    let text = |p: Option<&ezdfs_core::Pin>| p.map(|p| p.as_str().to_owned());
    let none = || None::<String>;
    let number = || None::<i64>;
    let not_before = |at: Option<Timestamp>| at.map(Timestamp::nanos);
    match &intent.work {
        Work::Publish { size, sha256, datatype, mtime, expires, pin } => params![
            not_before(queued),
            clamp(*size),
            sha256.to_string(),
            datatype.clone(),
            mtime.nanos(),
            expires.map(Timestamp::millis),
            text(pin.as_ref()),
            none(),
            none(),
        ],
        Work::Rename { to } => params![
            not_before(queued),
            number(),
            none(),
            none(),
            number(),
            number(),
            none(),
            to.as_ref().map(|p| p.as_str().to_owned()),
            none(),
        ],
        Work::Reap { key, pin, not_before: at } => params![
            not_before(Some(*at)),
            number(),
            none(),
            none(),
            number(),
            number(),
            text(pin.as_ref()),
            none(),
            key.clone(),
        ],
        Work::Delete | Work::Repair => params![
            not_before(queued),
            number(),
            none(),
            none(),
            number(),
            number(),
            none(),
            none(),
            none(),
        ],
    }
}

/// Sizes above what the column holds were refused before; rows hold no others.
pub(crate) fn clamp(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
