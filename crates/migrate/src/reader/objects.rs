//! `ReadOnlyObjects`: the objects of a side that is only read.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use object_store::path::Path as ObjectKey;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

use super::read_only;

/// An object store that takes no writes.
#[derive(Debug)]
pub(super) struct ReadOnlyObjects(pub(super) Arc<dyn ObjectStore>);

fn refused() -> Error {
    // The engine finds the kind of an error of ezdfs in a generic one.
    Error::Generic { store: "read-only", source: Box::new(read_only()) }
}

impl fmt::Display for ReadOnlyObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "read-only {}", self.0)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ObjectStore for ReadOnlyObjects {
    async fn put_opts(&self, _: &ObjectKey, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(refused())
    }

    async fn put_multipart_opts(
        &self,
        _: &ObjectKey,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(refused())
    }

    async fn get_opts(&self, location: &ObjectKey, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &ObjectKey, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.0.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, Result<ObjectKey>>,
    ) -> BoxStream<'static, Result<ObjectKey>> {
        stream::iter([Err(refused())]).boxed()
    }

    fn list(&self, prefix: Option<&ObjectKey>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&ObjectKey>,
        offset: &ObjectKey,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&ObjectKey>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &ObjectKey, _: &ObjectKey, _: CopyOptions) -> Result<()> {
        Err(refused())
    }

    async fn rename_opts(&self, _: &ObjectKey, _: &ObjectKey, _: RenameOptions) -> Result<()> {
        Err(refused())
    }
}
