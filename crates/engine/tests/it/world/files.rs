//! Paths, puts and reads, as every test makes them.

use bytes::Bytes;
use ezdfs_core::{Error, ErrorKind, FilePath, Sha256, Timestamp};
use ezdfs_engine::{FileService, PublishOptions, Published};
use futures::StreamExt as _;
use sha2::Digest as _;

pub(crate) fn path(text: &str) -> FilePath {
    text.parse().unwrap()
}

pub(crate) fn sha256(bytes: &[u8]) -> Sha256 {
    Sha256::from_bytes(sha2::Sha256::digest(bytes).into())
}

/// Publishes bytes.
pub(crate) async fn put(
    service: &FileService,
    at: &str,
    bytes: impl Into<Bytes>,
) -> Result<Published, Error> {
    put_with(service, at, bytes, PublishOptions::default()).await
}

pub(crate) async fn put_with(
    service: &FileService,
    at: &str,
    bytes: impl Into<Bytes>,
    options: PublishOptions,
) -> Result<Published, Error> {
    let body = futures::stream::iter([Ok(bytes.into())]);
    service.publish(&path(at), body, options).await
}

/// Reads a whole file. What the row says of it is checked against the bytes.
pub(crate) async fn read(service: &FileService, at: &FilePath) -> Result<Bytes, Error> {
    read_with_expiry(service, at).await.map(|(bytes, _)| bytes)
}

pub(super) async fn read_with_expiry(
    service: &FileService,
    at: &FilePath,
) -> Result<(Bytes, Option<Timestamp>), Error> {
    let (meta, body) = service.open_whole(at).await?;
    let bytes = collect(body).await?;
    assert_eq!(meta.size, u64::try_from(bytes.len()).unwrap(), "size of `{at}`");
    if let Some(digest) = meta.sha256 {
        assert_eq!(digest, sha256(&bytes), "digest of `{at}`");
    }
    Ok((bytes, meta.expires))
}

pub(crate) async fn collect(mut body: ezdfs_engine::Body) -> Result<Bytes, Error> {
    let mut bytes = Vec::new();
    while let Some(piece) = body.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes.into())
}

/// Whether the same call may succeed later, or the file is not there: what a reader may get while
/// somebody is at work.
pub(crate) fn is_retryable(e: &Error) -> bool {
    e.kind().is_transient() || e.kind() == ErrorKind::NotFound
}
