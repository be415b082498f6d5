//! Listers: where the list of files comes from.

mod table;
mod tree;

use std::fmt;

use ezdfs_core::{Error, ErrorKind, FilePath, Result};
use futures::stream::BoxStream;
use futures::{FutureExt as _, TryStreamExt as _, future::BoxFuture};

pub use table::TableLister;
pub use tree::TreeLister;

use crate::filter::Filter;
use crate::position::Spot;

/// What a lister found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// A file.
    File(FilePath),
    /// A name that cannot be migrated; it is reported, and the walk goes on.
    Bad {
        /// Which one.
        spot: Spot,
        /// Why.
        why: String,
    },
}

impl Listed {
    /// What it is called.
    #[must_use]
    pub fn spot(&self) -> Spot {
        match self {
            Self::File(path) => Spot::of(path),
            Self::Bad { spot, .. } => spot.clone(),
        }
    }
}

/// An entry of a walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub listed: Listed,
    /// From where a walk goes on behind this entry. `None`: only from behind a later one, at most
    /// a page away.
    pub position: Option<Vec<u8>>,
}

/// A source of paths, in an order of its own that is the same each time, resumable from positions
/// of its own.
pub trait Lister: fmt::Debug + Send + Sync {
    /// Everything that comes after the position `after`, or everything, in pages of at most `page`
    /// entries. The memory of a walk does not depend on the number of files. An error ends the
    /// walk: a listing that cannot be read to its end must never pass for a short one.
    fn walk(&self, after: Option<Vec<u8>>, page: usize) -> BoxStream<'static, Result<Vec<Entry>>>;

    /// How many entries a whole walk yields that the filter admits, bad names included. Walks the
    /// whole list.
    ///
    /// # Errors
    /// Those of the walk.
    fn count<'a>(&'a self, filter: &'a Filter) -> BoxFuture<'a, Result<u64>> {
        self.walk(None, COUNT_PAGE)
            .try_fold(0_u64, move |sum, page| async move {
                let admitted = page.iter().filter(|f| filter.admits(&f.listed.spot().raw)).count();
                Ok(sum.saturating_add(u64::try_from(admitted).unwrap_or(u64::MAX)))
            })
            .boxed()
    }
}

/// Entries per page of a count.
const COUNT_PAGE: usize = 1000;

/// Checks that a walk whose positions are names goes on in byte order: else a watermark would hide
/// files that come later.
#[derive(Debug, Default)]
struct Order {
    last: Option<Vec<u8>>,
}

impl Order {
    /// A walk that starts after a position.
    fn after(position: Option<Vec<u8>>) -> Self {
        Self { last: position }
    }

    /// The last position, empty at the start.
    fn last(&self) -> &[u8] {
        self.last.as_deref().unwrap_or_default()
    }

    fn check(&mut self, spot: &Spot) -> Result<()> {
        let position = spot.position();
        if self.last.as_ref().is_some_and(|last| *last >= position) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the source does not list its files in byte order (at `{spot}`): a resumed \
                     migration would lose files"
                ),
            ));
        }
        self.last = Some(position);
        Ok(())
    }
}
