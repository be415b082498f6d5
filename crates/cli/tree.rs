//! What stands at a path: questions that several commands ask.

use ezdfs_core::{DirPath, Entry, ErrorKind, Result};
use ezdfs_engine::FileService;

/// What stands at a path; `None` for nothing.
///
/// # Errors
/// A database error.
pub(crate) async fn entry(service: &FileService, path: &DirPath) -> Result<Option<Entry>> {
    match service.entry(path).await {
        Ok(entry) => Ok(Some(entry)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Whether a directory stands there.
///
/// # Errors
/// A database error.
pub(crate) async fn is_directory(service: &FileService, path: &DirPath) -> Result<bool> {
    Ok(matches!(entry(service, path).await?, Some(Entry::Directory(_))))
}
