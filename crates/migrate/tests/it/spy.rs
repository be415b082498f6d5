//! `Spy`: an object store that counts, and can spoil what passes.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Writes of objects that were started.
    pub(crate) writes: AtomicU64,
    /// Objects whose bytes were asked for.
    pub(crate) reads: AtomicU64,
    /// Flips the first byte of everything that is read.
    pub(crate) spoil_reads: AtomicBool,
    /// Breaks listings off after this many entries, when above zero.
    pub(crate) break_list_after: AtomicU64,
    /// Fails the next reads of objects with an answer that may be another one later.
    pub(crate) refuse_reads: AtomicU64,
}

impl Watch {
    pub(crate) fn writes(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
    }

    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Spy {
    pub(crate) inner: Arc<dyn ObjectStore>,
    pub(crate) watch: Arc<Watch>,
}

impl fmt::Display for Spy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

fn broken() -> object_store::Error {
    object_store::Error::Generic { store: "spy", source: "the line was cut".into() }
}

impl Spy {
    fn cut(
        &self,
        listed: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.watch.break_list_after.load(Ordering::SeqCst) {
            0 => listed,
            n => listed
                .take(usize::try_from(n).unwrap())
                .chain(stream::iter([Err(broken())]))
                .boxed(),
        }
    }
}

#[async_trait]
impl ObjectStore for Spy {
    async fn put_opts(&self, at: &Path, data: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.watch.writes.fetch_add(1, Ordering::SeqCst);
        self.inner.put_opts(at, data, opts).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.watch.writes.fetch_add(1, Ordering::SeqCst);
        self.inner.put_multipart_opts(at, opts).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        let head = options.head;
        let mut got = self.inner.get_opts(at, options).await?;
        if head {
            return Ok(got);
        }
        self.watch.reads.fetch_add(1, Ordering::SeqCst);
        let left = self.watch.refuse_reads.load(Ordering::SeqCst);
        if left > 0 {
            self.watch.refuse_reads.store(left - 1, Ordering::SeqCst);
            return Err(broken());
        }
        if self.watch.spoil_reads.load(Ordering::SeqCst)
            && let GetResultPayload::Stream(stream) = got.payload
        {
            let spoiled = stream.enumerate().map(|(n, bytes)| {
                let mut bytes = BytesMut::from(bytes?);
                if n == 0 && !bytes.is_empty() {
                    bytes[0] ^= 1;
                }
                Ok(bytes.freeze())
            });
            got.payload = GetResultPayload::Stream(spoiled.boxed());
        }
        Ok(got)
    }

    async fn get_ranges(&self, at: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(at, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.cut(self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.cut(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.watch.writes.fetch_add(1, Ordering::SeqCst);
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}
