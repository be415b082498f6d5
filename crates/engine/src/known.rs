//! What memory knows of a file at this moment: for those who keep more than its row, and want to
//! know without a wait whether that still belongs to it.

use std::sync::Arc;

use ezdfs_core::{DirPath, FileMeta, FilePath, Record, Result};

use crate::feed::Subscription;
use crate::service::FileService;

/// The row of a path, out of memory while the feed is fresh.
#[derive(Debug, Clone)]
pub struct Known(Arc<Record>);

impl Known {
    /// Whether both are one state of the rows.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl FileService {
    /// What [`Self::load`] would answer from, without asking anybody; `None` where that is the
    /// database.
    #[must_use]
    pub fn known(&self, path: &FilePath) -> Option<Known> {
        self.inner.memory.as_ref()?.cache.known(path).map(Known)
    }

    /// The metadata of the visible file that is known.
    ///
    /// # Errors
    /// [`ezdfs_core::ErrorKind::NotFound`] or [`ezdfs_core::ErrorKind::IsDirectory`].
    pub fn meta_of(&self, path: &FilePath, known: &Known) -> Result<FileMeta> {
        self.visible_file(path, &known.0)
    }

    /// Whether bytes that were kept for a version are those of every entry that equals it: not while
    /// another version may have overtaken it within its second.
    #[must_use]
    pub fn may_keep(&self, meta: &FileMeta) -> bool {
        meta.pin.is_some() && self.is_told_apart(meta)
    }

    /// Forgets what memory knows of a path.
    pub fn forget(&self, path: &FilePath) {
        if let Some(memory) = &self.inner.memory {
            memory.cache.void(path);
        }
    }

    /// Forgets what memory knows of files below a directory.
    pub fn forget_below(&self, dir: &DirPath) {
        if let Some(memory) = &self.inner.memory {
            memory.cache.purge_below(dir);
        }
    }

    /// What the feed tells from now on; `None` for a service that follows none.
    #[must_use]
    pub fn told(&self) -> Option<Subscription> {
        self.inner.memory.as_ref().map(|memory| memory.feed.subscribe())
    }
}
