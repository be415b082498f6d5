//! `StampedObjects`: objects that change in a test's time.

#![deny(clippy::missing_trait_methods)]

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use ezdfs_core::{Clock, Timestamp};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    Result, UploadPart,
};

/// An object store that reports the clock's time as that of each object's last change. Clones
/// share the times. Without it objects would be as old as the clock was moved.
#[derive(Debug, Clone)]
pub struct StampedObjects {
    inner: Arc<dyn ObjectStore>,
    stamps: Stamps,
    careless: bool,
}

#[derive(Debug, Clone)]
struct Stamps {
    clock: Arc<dyn Clock>,
    times: Arc<Mutex<HashMap<Path, Timestamp>>>,
}

impl Stamps {
    fn set(&self, location: &Path) {
        self.put(location, Some(self.clock.now()));
    }

    fn put(&self, location: &Path, time: Option<Timestamp>) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        match time {
            Some(time) => times.insert(location.clone(), time),
            None => times.remove(location),
        };
    }

    fn get(&self, location: &Path) -> Option<Timestamp> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).get(location).copied()
    }

    fn stamp(&self, mut meta: ObjectMeta) -> ObjectMeta {
        if let Some(time) = self.get(&meta.location) {
            meta.last_modified = DateTime::from_timestamp_nanos(time.nanos());
        }
        meta
    }
}

impl StampedObjects {
    /// Wraps a store.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>, clock: Arc<dyn Clock>) -> Self {
        Self { inner, stamps: Stamps { clock, times: Arc::default() }, careless: false }
    }

    /// The same objects, from a store that accepts `If-Match` and ignores it, as some do.
    #[must_use]
    pub fn careless(&self) -> Self {
        Self { careless: true, ..self.clone() }
    }
}

impl fmt::Display for StampedObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for StampedObjects {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let put = self.inner.put_opts(location, payload, opts).await?;
        self.stamps.set(location);
        Ok(put)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        let (location, stamps) = (location.clone(), self.stamps.clone());
        Ok(Box::new(StampedUpload { inner, location, stamps }))
    }

    async fn get_opts(&self, location: &Path, mut options: GetOptions) -> Result<GetResult> {
        if self.careless {
            options.if_match = None;
        }
        let mut got = self.inner.get_opts(location, options).await?;
        got.meta = self.stamps.stamp(got.meta);
        Ok(got)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let (inner, stamps) = (self.inner.clone(), self.stamps.clone());
        locations
            .then(move |location| {
                let (inner, stamps) = (inner.clone(), stamps.clone());
                async move {
                    let location = location?;
                    inner.delete(&location).await?;
                    stamps.put(&location, None);
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let stamps = self.stamps.clone();
        self.inner.list(prefix).map(move |meta| meta.map(|m| stamps.stamp(m))).boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let stamps = self.stamps.clone();
        let listed = self.inner.list_with_offset(prefix, offset);
        listed.map(move |meta| meta.map(|m| stamps.stamp(m))).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut listed = self.inner.list_with_delimiter(prefix).await?;
        listed.objects = listed.objects.into_iter().map(|m| self.stamps.stamp(m)).collect();
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        self.stamps.set(to);
        Ok(())
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await?;
        self.stamps.put(to, self.stamps.get(from));
        self.stamps.put(from, None);
        Ok(())
    }
}

#[derive(Debug)]
struct StampedUpload {
    inner: Box<dyn MultipartUpload>,
    location: Path,
    stamps: Stamps,
}

#[async_trait]
impl MultipartUpload for StampedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let put = self.inner.complete().await?;
        self.stamps.set(&self.location);
        Ok(put)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
