//! Bytes on their way: metered reads, digests, and objects that no row describes.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ezdfs_core::capabilities::TOKEN_ATTRIBUTE;
use ezdfs_core::{Error, ErrorKind, FilePath, Pin, Result, Sha256, Token};
use ezdfs_engine::BinaryStore;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use object_store::{
    Attribute, Attributes, GetOptions, MultipartUpload, PutMultipartOptions, PutPayload,
};
use sha2::Digest as _;

use crate::progress::Progress;
use ezdfs_engine::throttle::{Rate, Throttle};

/// Counts and limits every byte that a run reads.
pub(crate) struct Meter {
    throttle: Option<Throttle>,
    progress: Arc<dyn Progress>,
}

impl Meter {
    pub(crate) fn new(limit: Option<Rate>, progress: Arc<dyn Progress>) -> Self {
        Self { throttle: limit.map(Throttle::new), progress }
    }

    /// The stream at the limit's pace. A silence of `timeout` is an error. With `told` the bytes
    /// count as progress.
    pub(crate) fn read<'a, S>(
        &'a self,
        body: S,
        timeout: Duration,
        told: bool,
    ) -> impl Stream<Item = Result<Bytes>> + Send + 'a
    where
        S: Stream<Item = Result<Bytes>> + Send + 'a,
    {
        stream::try_unfold(body.boxed(), move |mut body| async move {
            let next = tokio::time::timeout(timeout, body.next()).await.map_err(|_| {
                Error::new(ErrorKind::TimedOut, format!("reading: no bytes in {timeout:?}"))
            })?;
            let Some(bytes) = next.transpose()? else { return Ok(None) };
            if let Some(throttle) = &self.throttle {
                throttle.take(bytes.len()).await;
            }
            if told {
                self.progress.bytes(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            }
            Ok(Some((bytes, body)))
        })
    }
}

/// Length and digest of a stream.
pub(crate) async fn digest(body: impl Stream<Item = Result<Bytes>>) -> Result<(u64, Sha256)> {
    let mut body = std::pin::pin!(body);
    let (mut size, mut hasher) = (0_u64, sha2::Sha256::new());
    while let Some(bytes) = body.try_next().await? {
        size = size.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        hasher.update(&bytes);
    }
    Ok((size, Sha256::from_bytes(hasher.finalize().into())))
}

/// The same stream, which fails at its end unless the bytes have the digest `expected`: what reads
/// it must not take such bytes for a whole file.
pub(crate) fn expecting<'a, S>(
    body: S,
    expected: Option<Sha256>,
    path: &'a FilePath,
) -> impl Stream<Item = Result<Bytes>> + Send + 'a
where
    S: Stream<Item = Result<Bytes>> + Send + 'a,
{
    let start = (body.boxed(), expected.map(|sha| (sha, sha2::Sha256::new())));
    stream::try_unfold(start, move |(mut body, mut check)| async move {
        match body.try_next().await? {
            Some(bytes) => {
                if let Some((_, hasher)) = &mut check {
                    hasher.update(&bytes);
                }
                Ok(Some((bytes, (body, check))))
            }
            None => {
                let differs = check.is_some_and(|(sha, hasher)| {
                    Sha256::from_bytes(hasher.finalize().into()) != sha
                });
                if differs { Err(not_as_its_row_says(path)) } else { Ok(None) }
            }
        }
    })
}

fn not_as_its_row_says(path: &FilePath) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("the bytes of `{path}` on the source do not have the digest that its row says"),
    )
}

/// The bytes of an object, pinned where the pin is known.
pub(crate) async fn read_object(
    binary: &BinaryStore,
    path: &FilePath,
    pin: Option<&Pin>,
) -> Result<impl Stream<Item = Result<Bytes>> + Send + use<>> {
    let options = GetOptions {
        if_match: pin.and_then(|p| p.etag().map(str::to_owned)),
        ..GetOptions::default()
    };
    let key = binary.key(path)?;
    let get = binary.store.get_opts(&key, options);
    let got = tokio::time::timeout(binary.io_timeout, get).await.map_err(|_| {
        Error::new(ErrorKind::TimedOut, format!("`{}`: no answer to a GET", binary.name))
    })?;
    Ok(got?.into_stream().map_err(Error::from))
}

/// What was stored.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) size: u64,
    pub(crate) sha256: Sha256,
}

/// Stores an object that keeps the row that it has: a migration of the bytes only. The token of
/// the row's version travels with the object, so that a reader recognises it.
pub(crate) async fn store_object(
    binary: &BinaryStore,
    path: &FilePath,
    datatype: &str,
    token: Option<Token>,
    body: impl Stream<Item = Result<Bytes>> + Send,
) -> Result<Stored> {
    let options = PutMultipartOptions {
        attributes: attributes(binary, datatype, token),
        ..PutMultipartOptions::default()
    };
    let mut upload = binary.store.put_multipart_opts(&binary.key(path)?, options).await?;
    let stored = match send(upload.as_mut(), binary.capabilities.part_bytes, body).await {
        Ok(stored) => upload.complete().await.map(|_| stored).map_err(Error::from),
        Err(e) => Err(e),
    };
    if stored.is_err()
        && let Err(e) = upload.abort().await
    {
        tracing::warn!(%path, error = %e, "a staged upload could not be removed; gc does it later");
    }
    stored
}

async fn send(
    upload: &mut dyn MultipartUpload,
    part_bytes: usize,
    body: impl Stream<Item = Result<Bytes>> + Send,
) -> Result<Stored> {
    let mut body = std::pin::pin!(body);
    let (mut size, mut hasher) = (0_u64, sha2::Sha256::new());
    let mut part = BytesMut::new();
    while let Some(mut bytes) = body.try_next().await? {
        size = size.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        hasher.update(&bytes);
        while !bytes.is_empty() {
            let room = part_bytes.saturating_sub(part.len()).max(1);
            part.extend_from_slice(&bytes.split_to(bytes.len().min(room)));
            if part.len() >= part_bytes {
                upload.put_part(PutPayload::from_bytes(part.split().freeze())).await?;
            }
        }
    }
    if !part.is_empty() {
        upload.put_part(PutPayload::from_bytes(part.freeze())).await?;
    }
    Ok(Stored { size, sha256: Sha256::from_bytes(hasher.finalize().into()) })
}

fn attributes(binary: &BinaryStore, datatype: &str, token: Option<Token>) -> Attributes {
    let mut attributes = Attributes::new();
    if binary.capabilities.attributes {
        attributes.insert(Attribute::ContentType, datatype.to_owned().into());
        if let Some(token) = token {
            attributes
                .insert(Attribute::Metadata(TOKEN_ATTRIBUTE.into()), token.to_string().into());
        }
    }
    attributes
}
