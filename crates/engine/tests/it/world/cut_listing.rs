//! `CutListing`: a store whose listings fail in the middle.

use std::fmt;
use std::sync::Arc;

use ezdfs_testkit::faults::StampedObjects;
use futures::StreamExt as _;
use object_store::path::Path as ObjectKey;
use object_store::{ObjectMeta, ObjectStore};

/// A store whose listings fail in the middle.
#[derive(Debug)]
pub(super) struct CutListing {
    pub(super) inner: Arc<StampedObjects>,
    pub(super) after: usize,
    pub(super) denied: Option<ObjectKey>,
}

impl CutListing {
    fn error(&self) -> object_store::Error {
        match &self.denied {
            Some(_) => object_store::Error::PermissionDenied {
                path: "the start of the listing".to_owned(),
                source: "denied".into(),
            },
            None => object_store::Error::Generic { store: "cut", source: "broken off".into() },
        }
    }
}

impl fmt::Display for CutListing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait::async_trait]
impl ObjectStore for CutListing {
    async fn put_opts(
        &self,
        location: &ObjectKey,
        payload: object_store::PutPayload,
        opts: object_store::PutOptions,
    ) -> object_store::Result<object_store::PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &ObjectKey,
        opts: object_store::PutMultipartOptions,
    ) -> object_store::Result<Box<dyn object_store::MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(
        &self,
        location: &ObjectKey,
        options: object_store::GetOptions,
    ) -> object_store::Result<object_store::GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: futures::stream::BoxStream<'static, object_store::Result<ObjectKey>>,
    ) -> futures::stream::BoxStream<'static, object_store::Result<ObjectKey>> {
        self.inner.delete_stream(locations)
    }

    fn list(
        &self,
        prefix: Option<&ObjectKey>,
    ) -> futures::stream::BoxStream<'static, object_store::Result<ObjectMeta>> {
        let error = futures::stream::iter([Err(self.error())]);
        self.inner.list(prefix).take(self.after).chain(error).boxed()
    }

    async fn list_with_delimiter(
        &self,
        prefix: Option<&ObjectKey>,
    ) -> object_store::Result<object_store::ListResult> {
        if prefix.is_some() && prefix == self.denied.as_ref() {
            return Err(self.error());
        }
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &ObjectKey,
        to: &ObjectKey,
        options: object_store::CopyOptions,
    ) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(
        &self,
        from: &ObjectKey,
        to: &ObjectKey,
        options: object_store::RenameOptions,
    ) -> object_store::Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}
