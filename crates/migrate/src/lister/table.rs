//! `TableLister`: the rows of a metadata handler.

use std::sync::Arc;

use ezdfs_core::{BaseRow, DirPath, FilePath, MetadataStore, Record, Result, Timestamp};
use futures::stream::{self, BoxStream, StreamExt as _};

use super::{Listed, Lister, Order};
use crate::position::Spot;

/// Lists the visible rows of a table. Rows that no reader sees are passed over; a visible row whose
/// path breaks rules K is a bad name.
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
    fn walk(&self, after: Option<Vec<u8>>, page: usize) -> BoxStream<'static, Result<Vec<Listed>>> {
        let below = self.rows.prefix().below(&DirPath::root());
        // A name of the table is text; should a position hold other bytes, start at or before it.
        let name = after.as_ref().map(|position| {
            let valid = position.utf8_chunks().next().map_or("", |c| c.valid());
            format!("{below}{valid}")
        });
        let walk = Walk {
            rows: self.rows.clone(),
            below,
            next: Some(name),
            order: Order::after(after.clone()),
            after,
            limit: u32::try_from(page.max(1)).unwrap_or(u32::MAX),
        };
        stream::try_unfold(walk, Walk::next).boxed()
    }
}

struct Walk {
    rows: Arc<dyn MetadataStore>,
    /// What every name of the store starts with.
    below: String,
    /// Where the next page starts; `None` at the end.
    next: Option<Option<String>>,
    after: Option<Vec<u8>>,
    order: Order,
    limit: u32,
}

impl Walk {
    async fn next(mut self) -> Result<Option<(Vec<Listed>, Self)>> {
        let mut found = Vec::new();
        while found.is_empty() {
            let Some(after) = self.next.take() else { return Ok(None) };
            let page = self.rows.scan(&DirPath::root(), after.as_deref(), self.limit).await?;
            self.next = page.next.map(Some);
            let now = self.rows.now().await?;
            for row in page.rows {
                let Some(listed) = self.listed(row, now) else { continue };
                let spot = listed.spot();
                if self.after.as_ref().is_some_and(|after| spot.position() <= *after) {
                    continue;
                }
                self.after = None;
                self.order.check(&spot)?;
                found.push(listed);
            }
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
