//! Bytes in: local files and stdin as streams of pieces.

use bytes::Bytes;
use ezdfs_core::{Error, ErrorKind, Result};
use futures::{Stream, StreamExt as _};
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

/// Bytes of one piece: the memory of a transfer stays within a few of them.
const PIECE: usize = 256 * 1024;

/// The pieces of a reader; errors name `what`.
pub(crate) fn pieces(
    reader: impl AsyncRead + Send + Unpin,
    what: String,
) -> impl Stream<Item = Result<Bytes>> + Send {
    ReaderStream::with_capacity(reader, PIECE).map(move |piece| {
        piece.map_err(|e| Error::new(io_kind(&e), format!("cannot read {what}")).with_source(e))
    })
}

/// The kind under which an error of the local file system is told.
pub(crate) fn io_kind(e: &std::io::Error) -> ErrorKind {
    use std::io::ErrorKind as Io;
    match e.kind() {
        Io::NotFound => ErrorKind::NotFound,
        Io::PermissionDenied => ErrorKind::PermissionDenied,
        Io::IsADirectory => ErrorKind::IsDirectory,
        Io::NotADirectory => ErrorKind::NotDirectory,
        Io::StorageFull | Io::QuotaExceeded => ErrorKind::NoSpace,
        Io::ReadOnlyFilesystem => ErrorKind::ReadOnly,
        Io::InvalidFilename => ErrorKind::NameTooLong,
        _ => ErrorKind::Unavailable,
    }
}
