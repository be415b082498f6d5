//! `CloudStore`: a cloud as the engine wants it.

#![deny(clippy::missing_trait_methods)]

use std::error::Error as StdError;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ezdfs_core::{ErrorKind, ReplaceSlot};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::client::{HttpError, HttpErrorKind};
use object_store::multipart::MultipartStore;
use object_store::path::Path as ObjectKey;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetRange, GetResult, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, RenameOptions, RenameTargetMode, Result,
};

use super::body::resumable;
use super::transport::Policy;
use super::upload::{CloudUpload, Leftovers, Parts};

/// Deletes that are under way at once.
const DELETES: usize = 8;

/// S3's version id of objects that have no versions of their own. It tells nothing, and stores
/// have it in some answers and not in others.
const UNVERSIONED: &str = "null";

/// One behaviour of all clouds:
///
/// - what is missing can be deleted;
/// - a body that breaks is resumed, pinned;
/// - an upload of one part is one PUT, and an upload that was given up is aborted;
/// - errors say whether the store was silent or refused.
pub(crate) struct CloudStore {
    inner: Arc<dyn ObjectStore>,
    /// How large objects go up; `None` for the client's own uploads.
    parts: Option<Arc<dyn MultipartStore>>,
    policy: Arc<Policy>,
    leftovers: Leftovers,
}

impl CloudStore {
    pub(super) fn new(
        inner: Arc<dyn ObjectStore>,
        parts: Option<Arc<dyn MultipartStore>>,
        policy: Arc<Policy>,
    ) -> Self {
        Self { inner, parts, policy, leftovers: Leftovers::new() }
    }

    pub(super) fn parts(&self) -> Option<&dyn MultipartStore> {
        self.parts.as_deref()
    }
}

impl fmt::Debug for CloudStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudStore").field("handler", &self.policy.name).finish_non_exhaustive()
    }
}

impl fmt::Display for CloudStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for CloudStore {
    async fn put_opts(
        &self,
        location: &ObjectKey,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await.map(identified).map_err(told)
    }

    async fn put_multipart_opts(
        &self,
        location: &ObjectKey,
        mut opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let slot = opts.extensions.remove::<ReplaceSlot>().unwrap_or_default();
        let parts = match &self.parts {
            Some(parts) => Parts::by_id(Arc::clone(parts)),
            // Nothing is sent yet.
            None => Parts::own(self.inner.put_multipart_opts(location, opts.clone()).await?),
        };
        let (inner, leftovers) = (Arc::clone(&self.inner), self.leftovers.clone());
        Ok(Box::new(CloudUpload::new(inner, parts, leftovers, location.clone(), opts, slot)))
    }

    async fn get_opts(&self, location: &ObjectKey, options: GetOptions) -> Result<GetResult> {
        let head = options.head;
        let mut got = self.inner.get_opts(location, options).await.map_err(told)?;
        if !head {
            got = resumable(Arc::clone(&self.inner), Arc::clone(&self.policy), got);
        }
        got.meta.version = version(got.meta.version);
        Ok(got)
    }

    async fn get_ranges(&self, location: &ObjectKey, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let mut parts = Vec::with_capacity(ranges.len());
        let mut if_match = None;
        for range in ranges {
            let options = GetOptions {
                if_match: if_match.clone(),
                range: Some(GetRange::Bounded(range.clone())),
                ..GetOptions::default()
            };
            let got = self.get_opts(location, options).await?;
            // All ranges are of one version.
            if if_match.is_some() && if_match != got.meta.e_tag {
                return Err(Error::Precondition {
                    path: location.to_string(),
                    source: "the object was replaced between two ranges".into(),
                });
            }
            if_match.clone_from(&got.meta.e_tag);
            parts.push(got.bytes().await?);
        }
        Ok(parts)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<ObjectKey>>,
    ) -> BoxStream<'static, Result<ObjectKey>> {
        let inner = Arc::clone(&self.inner);
        let delete = move |location: Result<ObjectKey>| {
            let inner = Arc::clone(&inner);
            async move {
                let location = location?;
                match inner.delete(&location).await {
                    Ok(()) | Err(Error::NotFound { .. }) => Ok(location),
                    Err(e) => Err(told(e)),
                }
            }
        };
        locations.map(delete).buffered(DELETES).boxed()
    }

    fn list(&self, prefix: Option<&ObjectKey>) -> BoxStream<'static, Result<ObjectMeta>> {
        // Those of object_store panic when they are asked again at their end.
        self.inner.list(prefix).map(|item| item.map_err(told)).fuse().boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&ObjectKey>,
        offset: &ObjectKey,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.inner.list_with_offset(prefix, offset);
        listed.map(|item| item.map_err(told)).fuse().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&ObjectKey>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await.map_err(told)
    }

    async fn copy_opts(
        &self,
        from: &ObjectKey,
        to: &ObjectKey,
        options: CopyOptions,
    ) -> Result<()> {
        self.inner.copy_opts(from, to, options).await.map_err(told)
    }

    /// Copy and delete: no cloud has a rename.
    async fn rename_opts(
        &self,
        from: &ObjectKey,
        to: &ObjectKey,
        options: RenameOptions,
    ) -> Result<()> {
        let mode = match options.target_mode {
            RenameTargetMode::Overwrite => CopyMode::Overwrite,
            RenameTargetMode::Create => CopyMode::Create,
        };
        self.copy_opts(from, to, CopyOptions::new().with_mode(mode)).await?;
        self.delete(from).await
    }
}

/// What was stored, with the identity that reads tell as well.
pub(super) fn identified(put: PutResult) -> PutResult {
    PutResult { version: version(put.version), ..put }
}

fn version(version: Option<String>) -> Option<String> {
    version.filter(|version| version != UNVERSIONED)
}

/// Says of a failure whether the store was silent or refused. Everything else is told already.
pub(super) fn told(e: Error) -> Error {
    let Error::Generic { store, source } = e else { return e };
    if source.is::<ezdfs_core::Error>() {
        return Error::Generic { store, source };
    }
    let kind = match transport_error(&*source) {
        Some(HttpErrorKind::Timeout) => ErrorKind::TimedOut,
        _ => ErrorKind::Unavailable,
    };
    let said = ezdfs_core::Error::new(kind, format!("{store}: {source}"));
    Error::Generic { store, source: Box::new(said) }
}

fn transport_error(e: &(dyn StdError + 'static)) -> Option<HttpErrorKind> {
    let mut cause = Some(e);
    while let Some(e) = cause {
        if let Some(http) = e.downcast_ref::<HttpError>() {
            return Some(http.kind());
        }
        cause = e.source();
    }
    None
}
