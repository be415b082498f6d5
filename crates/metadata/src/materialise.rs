//! The materialiser: foreign changes become entries with their ancestors, and versions that a
//! foreign writer overtook are voided. Idempotent; any process may run it at any time.

use std::collections::{BTreeMap, BTreeSet};

use ezdfs_core::{Name, NameHash, NodeKind, NodeRow, Result, Timestamp};

use crate::change::{new_dir, stands_at, unknown_version};
use crate::place::{Place, ancestors, is_listable};
use crate::rows::{Intend, Rows, Stored};

/// A name that a foreign writer touched, after all its changes that are looked at together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ForeignChange {
    pub(crate) name: String,
    pub(crate) hash: NameHash,
    /// The last writer was foreign, and it stored something: whatever the node row says describes
    /// an earlier version, even if size and second are the same. `false` where one of us wrote
    /// later, and for rows that were there before the feed was.
    pub(crate) overtakes: bool,
    /// The entry came or went: its directory changed.
    pub(crate) moves_parent: bool,
}

/// Places the names; says how many entries were made, changed or removed.
pub(crate) async fn place<R: Rows>(
    rows: &mut R,
    now: Timestamp,
    changes: &[ForeignChange],
) -> Result<u64> {
    let changes: Vec<&ForeignChange> = changes.iter().filter(|c| is_placeable(c)).collect();
    let names: Vec<Name> = changes.iter().map(|c| Name::from_row(&c.name)).collect();
    let found = rows.find(&names, Intend::ChangeAll, false).await?;

    let mut put = Vec::new();
    let mut gone = Vec::new();
    let mut visible = Vec::new();
    let mut parents = BTreeSet::new();
    for (change, stored) in changes.iter().zip(&found.rows) {
        let placed = decide(change, stored, now);
        if stored.base.as_ref().is_some_and(|b| b.name == change.name && b.visible()) {
            visible.push(change.name.as_str());
        }
        let changed = match placed {
            Placed::Unchanged => false,
            Placed::Put(row) => {
                put.push((change.hash, row));
                true
            }
            Placed::Gone => {
                gone.push(change.hash);
                true
            }
        };
        if changed || change.moves_parent {
            parents.insert(Place::of(&change.name).parent);
        }
    }
    if !put.is_empty() {
        rows.put_nodes(&put).await?;
    }
    if !gone.is_empty() {
        rows.delete_nodes(&gone).await?;
    }
    // Last, because a directory wins over a file of the same path.
    let made = place_ancestors(rows, now, visible.into_iter()).await?;
    if !parents.is_empty() {
        rows.touch_dirs(&parents.into_iter().collect::<Vec<_>>(), now).await?;
    }
    Ok(made + count(put.len()) + count(gone.len()))
}

enum Placed {
    Unchanged,
    Put(NodeRow),
    Gone,
}

fn decide(change: &ForeignChange, stored: &Stored, now: Timestamp) -> Placed {
    let own = stored
        .node
        .as_ref()
        .filter(|n| n.kind == NodeKind::File && stands_at(n, Place::of(&change.name)));
    let Some(base) = stored.base.as_ref().filter(|b| b.name == change.name) else {
        return if own.is_some() { Placed::Gone } else { Placed::Unchanged };
    };
    match (own, &stored.node) {
        (Some(node), _) if node.belongs_to(base) && !change.overtakes => Placed::Unchanged,
        (Some(node), _) => {
            let void = unknown_version(&change.name, base, Some(node), now);
            let is_void_already = NodeRow { attrs: node.attrs.clone(), ..void.clone() } == *node;
            if is_void_already { Placed::Unchanged } else { Placed::Put(void) }
        }
        // A directory, or another name with the same MD5, stands there.
        (None, Some(_)) => Placed::Unchanged,
        (None, None) if base.visible() => {
            Placed::Put(unknown_version(&change.name, base, None, now))
        }
        (None, None) => Placed::Unchanged,
    }
}

/// Makes the missing directories above `names`; says how many.
pub(crate) async fn place_ancestors<'n, R: Rows>(
    rows: &mut R,
    now: Timestamp,
    names: impl Iterator<Item = &'n str> + Send,
) -> Result<u64> {
    // Ordered, so that a run over the same names makes the same rows in the same order.
    let mut wanted: BTreeMap<&str, Name> = BTreeMap::new();
    for name in names.filter(|n| is_listable(n)) {
        for above in ancestors(name) {
            if wanted.contains_key(above) {
                break;
            }
            wanted.insert(above, Name::from_row(above));
        }
    }
    if wanted.is_empty() {
        return Ok(0);
    }
    let names: Vec<Name> = wanted.into_values().collect();
    let found = rows.find(&names, Intend::Keep, false).await?;
    let mut missing = Vec::new();
    let mut replaced = Vec::new();
    for (name, stored) in names.iter().zip(&found.rows) {
        match &stored.node {
            Some(n) if n.kind == NodeKind::Directory => continue,
            // Two names with the same MD5: the entry that is there stays.
            Some(n) if !stands_at(n, Place::of(name.as_str())) => continue,
            // A directory wins over a file of the same path; fsck reports it.
            Some(_) => replaced.push(name.hash()),
            None => {}
        }
        missing.push(new_dir::row(name.as_str(), new_dir::Attributes::default(), now));
    }
    if !replaced.is_empty() {
        rows.delete_nodes(&replaced).await?;
    }
    if !missing.is_empty() {
        rows.put_nodes(&missing).await?;
    }
    Ok(count(missing.len()))
}

/// Names that no listing shows, and rows under a hash that is not theirs, get no entry.
fn is_placeable(change: &ForeignChange) -> bool {
    if !is_listable(&change.name) {
        tracing::debug!(name = %change.name, "a foreign row has a name that cannot be listed");
        return false;
    }
    if Name::from_row(&change.name).hash() != change.hash {
        tracing::warn!(name = %change.name, "a foreign row stands under a hash that is not its name's; it is passed over");
        return false;
    }
    true
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
