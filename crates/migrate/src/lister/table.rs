//! `TableLister`: the rows of a metadata handler.

use std::sync::Arc;

use ezdfs_core::{
    BaseRow, DirPath, Error, ErrorKind, FilePath, MetadataStore, Record, Result, Timestamp,
};
use futures::stream::{self, BoxStream, StreamExt as _};

use super::{Entry, Listed, Lister};
use crate::position::Spot;

/// Lists the visible rows of a table. Rows that no reader sees are passed over; a visible row whose
/// path breaks rules K is a bad name.
///
/// A handler walks its table in an order of its own, by name or by hash, and says at the end of each
/// page where the next one starts: these are the positions.
#[derive(Debug, Clone)]
pub struct TableLister {
    rows: Arc<dyn MetadataStore>,
}

impl TableLister {
    /// Over the rows of a metadata handler.
    #[must_use]
    pub fn new(rows: Arc<dyn MetadataStore>) -> Self {
        Self { rows }
    }
}

impl Lister for TableLister {
    fn walk(&self, after: Option<Vec<u8>>, page: usize) -> BoxStream<'static, Result<Vec<Entry>>> {
        let after = match after.map(String::from_utf8).transpose() {
            Ok(after) => after,
            Err(_) => return stream::iter([Err(wrong_position())]).boxed(),
        };
        let walk = Walk {
            rows: self.rows.clone(),
            below: self.rows.prefix().below(&DirPath::root()),
            next: Some(after),
            limit: u32::try_from(page.max(1)).unwrap_or(u32::MAX),
        };
        stream::try_unfold(walk, Walk::next).boxed()
    }
}

fn wrong_position() -> Error {
    let what = "the journal names no place in the table; start again with --restart";
    Error::new(ErrorKind::Corrupt, what)
}

struct Walk {
    rows: Arc<dyn MetadataStore>,
    /// What every name of the store starts with.
    below: String,
    /// Where the next page starts; `None` at the end.
    next: Option<Option<String>>,
    limit: u32,
}

impl Walk {
    async fn next(mut self) -> Result<Option<(Vec<Entry>, Self)>> {
        let mut found = Vec::new();
        while found.is_empty() {
            let Some(after) = self.next.take() else { return Ok(None) };
            let page = self.rows.scan(&DirPath::root(), after.as_deref(), self.limit).await?;
            if page.next.is_some() && page.next == after {
                let what =
                    "the table of the source is walked in a circle; see `ezdfs schema check`";
                return Err(Error::new(ErrorKind::Corrupt, what));
            }
            let now = self.rows.now().await?;
            let listed = page.rows.into_iter().filter_map(|row| self.listed(row, now));
            found.extend(listed.map(|listed| Entry { listed, position: None }));
            if let Some(last) = found.last_mut() {
                last.position = page.next.clone().map(String::into_bytes);
            }
            self.next = page.next.map(Some);
        }
        Ok(Some((found, self)))
    }

    fn listed(&self, row: Result<(FilePath, Record), BaseRow>, now: Timestamp) -> Option<Listed> {
        match row {
            Ok((path, record)) => {
                record.base.as_ref().filter(|b| b.visible())?;
                let expires = record.file(&path).and_then(|f| f.expires);
                if expires.is_some_and(|at| at <= now) {
                    return None;
                }
                Some(Listed::File(path))
            }
            Err(row) if row.visible() => {
                let rest = row.name.strip_prefix(&self.below).unwrap_or(&row.name);
                let why = match rest.parse::<FilePath>() {
                    Err(why) => why.to_string(),
                    Ok(_) => "its name does not belong to this store".to_owned(),
                };
                let spot = Spot { raw: rest.as_bytes().to_vec(), subtree: false };
                Some(Listed::Bad { spot, why })
            }
            Err(_) => None,
        }
    }
}
