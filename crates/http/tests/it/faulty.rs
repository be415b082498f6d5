//! `FaultyStore`: an object store whose reads come in small chunks, and break when told to.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

const CHUNK: usize = 4096;

/// What is wrong with the store.
#[derive(Debug)]
pub(crate) struct Faults {
    /// Reads fail after this many bytes.
    pub(crate) break_after: AtomicU64,
    /// Reads end without an error after this many bytes.
    pub(crate) end_after: AtomicU64,
    /// Every call fails.
    pub(crate) down: std::sync::atomic::AtomicBool,
    /// GETs that were asked for bytes.
    pub(crate) opened: AtomicUsize,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            break_after: AtomicU64::new(u64::MAX),
            end_after: AtomicU64::new(u64::MAX),
            down: false.into(),
            opened: AtomicUsize::new(0),
        }
    }
}

#[derive(Debug)]
pub(crate) struct FaultyStore {
    pub(crate) inner: Arc<dyn ObjectStore>,
    pub(crate) faults: Arc<Faults>,
}

impl FaultyStore {
    fn up(&self) -> Result<()> {
        if self.faults.down.load(Ordering::SeqCst) { Err(broken()) } else { Ok(()) }
    }
}

fn broken() -> Error {
    Error::Generic { store: "faulty", source: "the disk /dev/secret is on fire".into() }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, to: &Path, bytes: PutPayload, o: PutOptions) -> Result<PutResult> {
        self.up()?;
        self.inner.put_opts(to, bytes, o).await
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.up()?;
        self.inner.put_multipart_opts(to, options).await
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
        self.up()?;
        if options.head {
            return self.inner.get_opts(from, options).await;
        }
        self.faults.opened.fetch_add(1, Ordering::SeqCst);
        let mut got = self.inner.get_opts(from, options).await?;
        let payload =
            std::mem::replace(&mut got.payload, GetResultPayload::Stream(stream::empty().boxed()));
        let whole = GetResult {
            payload,
            meta: got.meta.clone(),
            range: got.range.clone(),
            attributes: got.attributes.clone(),
            extensions: Default::default(),
        };
        let limit = |n: &AtomicU64| usize::try_from(n.load(Ordering::SeqCst)).unwrap_or(usize::MAX);
        let (break_after, end_after) =
            (limit(&self.faults.break_after), limit(&self.faults.end_after));
        let mut sent = 0;
        let chunks = whole
            .into_stream()
            .map_ok(|bytes| {
                let chunks: Vec<_> = (0..bytes.len())
                    .step_by(CHUNK)
                    .map(|at| Ok(bytes.slice(at..bytes.len().min(at + CHUNK))))
                    .collect();
                stream::iter(chunks)
            })
            .try_flatten()
            .map(move |chunk: Result<bytes::Bytes>| {
                let chunk = chunk?;
                sent += chunk.len();
                if sent > break_after { Err(broken()) } else { Ok((sent, chunk)) }
            })
            .try_take_while(move |(sent, _)| futures::future::ready(Ok(*sent <= end_after)))
            .map_ok(|(_, chunk)| chunk);
        got.payload = GetResultPayload::Stream(chunks.boxed());
        Ok(got)
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
