//! From rows to what a page shows, the same for every database.

use ezdfs_core::{
    BaseRow, DirPath, FilePath, Name, NamePrefix, NodeRow, Page, Record, Result, Timestamp,
};

use crate::rows::Stored;

/// Most entries of one page: a page is held in memory at once.
pub(crate) const LIST_AT_ONCE: u32 = 10_000;

/// A row of a directory: its basename in the node row, also where its kind is one of a newer
/// version, and both rows.
pub(crate) type Listed = (Option<String>, Stored);

/// A page of a directory out of at most `limit` rows in byte order of basenames.
pub(crate) fn listing(
    prefix: &NamePrefix,
    dir: &DirPath,
    rows: Vec<Listed>,
    limit: u32,
    now: Timestamp,
) -> Page {
    let is_full = u32::try_from(rows.len()).is_ok_and(|n| n >= limit);
    let mut page = Page { entries: Vec::with_capacity(rows.len()), next: None };
    if is_full {
        page.next = rows.last().and_then(|(basename, _)| basename.clone());
    }
    for (basename, stored) in rows {
        let (Some(basename), Some(_)) = (basename, &stored.node) else { continue };
        let path = match dir.join(&basename) {
            Ok(path) => path,
            Err(e) => {
                tracing::warn!(%dir, basename, error = %e, "an entry with a name that cannot be served is passed over");
                continue;
            }
        };
        let name = prefix.name(&path);
        let Stored { base, node } = stored;
        page.entries.extend(Record::new(name.as_str(), base, node).entry(&path, now));
    }
    page
}

/// A row that readers can reach: its path follows rules K and its hash is the name's. `Err`: any
/// other.
pub(crate) fn usable(
    prefix: &NamePrefix,
    hash: Option<&str>,
    base: BaseRow,
    node: Option<NodeRow>,
) -> Result<(FilePath, Record), BaseRow> {
    let name = Name::from_row(&base.name);
    let path = prefix.path_of(&base.name).and_then(std::result::Result::ok);
    match path.filter(|_| hash == Some(name.hash().to_hex().as_str())) {
        Some(path) => Ok((path, Record::new(name.as_str(), Some(base), node))),
        None => Err(base),
    }
}
