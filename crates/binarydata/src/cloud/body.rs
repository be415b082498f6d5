//! A body that breaks is resumed where it broke, as the same version or not at all.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path as ObjectKey;
use object_store::{
    Error, GetOptions, GetRange, GetResult, GetResultPayload, ObjectMeta, ObjectStore, Result,
};

use super::store::told;
use super::transport::Policy;

/// After so many bytes the tries count anew: a large body on a bad line arrives.
const PROGRESS: u64 = 1 << 20;

/// Where a body is.
struct Resumable {
    store: Arc<dyn ObjectStore>,
    policy: Arc<Policy>,
    meta: ObjectMeta,
    stream: BoxStream<'static, Result<Bytes>>,
    /// What is still to come.
    left: Range<u64>,
    tries: u32,
    since_try: u64,
}

/// The answer to a GET, with a body that resumes.
pub(super) fn resumable(
    store: Arc<dyn ObjectStore>,
    policy: Arc<Policy>,
    got: GetResult,
) -> GetResult {
    let (meta, range) = (got.meta.clone(), got.range.clone());
    let (attributes, extensions) = (got.attributes.clone(), got.extensions.clone());
    let body = Resumable {
        store,
        policy,
        meta: meta.clone(),
        stream: got.into_stream(),
        left: range.clone(),
        tries: 0,
        since_try: 0,
    };
    let stream = stream::try_unfold(body, |mut body| async move {
        let piece = body.next().await?;
        Ok(piece.map(|bytes| (bytes, body)))
    });
    let payload = GetResultPayload::Stream(stream.boxed());
    GetResult { payload, meta, range, attributes, extensions }
}

impl Resumable {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let broken = match self.stream.try_next().await {
                Ok(Some(bytes)) => {
                    let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                    self.left.start = self.left.start.saturating_add(len);
                    self.since_try = self.since_try.saturating_add(len);
                    if self.since_try >= PROGRESS {
                        self.tries = 0;
                    }
                    return Ok(Some(bytes));
                }
                Ok(None) if self.left.is_empty() => return Ok(None),
                Ok(None) => short(&self.meta.location),
                Err(e) => e,
            };
            self.resume(broken).await?;
        }
    }

    /// # Errors
    /// The error that broke the body, when it cannot be resumed.
    async fn resume(&mut self, mut broken: Error) -> Result<()> {
        // Nothing ties what would come to what came.
        let Some(etag) = self.meta.e_tag.clone() else { return Err(told(broken)) };
        if self.left.is_empty() {
            return Err(told(broken));
        }
        loop {
            self.tries += 1;
            let Some(wait) = self.policy.wait(self.tries) else { return Err(told(broken)) };
            tracing::debug!(handler = %self.policy.name, key = %self.meta.location, at = self.left.start, error = %broken, "a body broke off and is resumed");
            tokio::time::sleep(wait).await;
            let options = GetOptions {
                if_match: Some(etag.clone()),
                range: Some(GetRange::Bounded(self.left.clone())),
                ..GetOptions::default()
            };
            match self.store.get_opts(&self.meta.location, options).await {
                Ok(got) if self.is_same(&got) => {
                    self.since_try = 0;
                    self.stream = got.into_stream();
                    return Ok(());
                }
                // Another version, or none: what was sent so far belongs to the old one.
                Ok(_)
                | Err(
                    Error::NotFound { .. } | Error::Precondition { .. } | Error::NotModified { .. },
                ) => return Err(told(broken)),
                Err(e) => broken = e,
            }
        }
    }

    /// Stores that ignore `If-Match` answer with whatever is there.
    fn is_same(&self, got: &GetResult) -> bool {
        got.meta.e_tag == self.meta.e_tag
            && got.meta.version == self.meta.version
            && got.meta.size == self.meta.size
            && got.range == self.left
    }
}

fn short(key: &ObjectKey) -> Error {
    let source = ezdfs_core::Error::new(
        ezdfs_core::ErrorKind::Unavailable,
        format!("the store ended the body of `{key}` early"),
    );
    Error::Generic { store: "ezdfs", source: Box::new(source) }
}
