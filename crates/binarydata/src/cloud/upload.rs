//! `CloudUpload`: small objects by one PUT, large ones in parts, both on a condition; and what
//! becomes of parts that nobody completes.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ezdfs_core::capabilities::TOKEN_ATTRIBUTE;
use ezdfs_core::{ReplaceSlot, Replaces};
use http::header::{HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path as ObjectKey;
use object_store::{
    Attribute, AttributeValue, Attributes, Error, GetOptions, MultipartUpload, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UpdateVersion,
    UploadPart,
};
use tokio::sync::{OnceCell, Semaphore};

use super::store::{identified, told};
use super::transport::with_condition;

/// Uploads that are aborted in the background at once; more are left to the store.
const ABORTS: usize = 16;
/// Longest time that a background abort may take.
const ABORT_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes on their way into a cloud. The first part waits: if it stays the only one it becomes one
/// PUT, which saves two of three round trips.
pub(super) struct CloudUpload {
    shared: Arc<Shared>,
    leftovers: Leftovers,
    /// The first part, until a second one comes.
    first: Option<PutPayload>,
    parts: usize,
    slot: ReplaceSlot,
}

/// What the futures of the parts share.
struct Shared {
    objects: Arc<dyn ObjectStore>,
    key: ObjectKey,
    options: PutMultipartOptions,
    parts: Parts,
}

/// How parts go up.
pub(super) enum Parts {
    /// One by one, under the id of an upload.
    ById {
        store: Arc<dyn MultipartStore>,
        /// The upload, once a second part made it.
        id: OnceCell<String>,
        done: Mutex<Vec<(usize, PartId)>>,
    },
    /// By the client's own upload, until it is completed.
    Own(Mutex<Option<Box<dyn MultipartUpload>>>),
}

impl Parts {
    pub(super) fn by_id(store: Arc<dyn MultipartStore>) -> Self {
        Self::ById { store, id: OnceCell::new(), done: Mutex::default() }
    }

    pub(super) fn own(upload: Box<dyn MultipartUpload>) -> Self {
        Self::Own(Mutex::new(Some(upload)))
    }
}

impl fmt::Debug for CloudUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudUpload").field("key", &self.shared.key).finish_non_exhaustive()
    }
}

impl CloudUpload {
    pub(super) fn new(
        objects: Arc<dyn ObjectStore>,
        parts: Parts,
        leftovers: Leftovers,
        key: ObjectKey,
        options: PutMultipartOptions,
        slot: ReplaceSlot,
    ) -> Self {
        let shared = Arc::new(Shared { objects, key, options, parts });
        Self { shared, leftovers, first: None, parts: 0, slot }
    }

    /// Nothing is left of an upload that was completed or aborted.
    fn forget(&mut self) {
        self.parts = 0;
        self.first = None;
    }
}

#[async_trait]
impl MultipartUpload for CloudUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let index = self.parts;
        self.parts += 1;
        if index == 0 {
            self.first = Some(data);
            return Box::pin(std::future::ready(Ok(())));
        }
        let (first, shared) = (self.first.take(), Arc::clone(&self.shared));
        if let Parts::Own(upload) = &shared.parts {
            return put_own(upload, first, data);
        }
        Box::pin(async move {
            if let Some(first) = first {
                shared.put_part(0, first).await?;
            }
            shared.put_part(index, data).await
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let replaces = self.slot.get();
        let put = if self.parts < 2 {
            let bytes = self.first.clone().unwrap_or_default();
            self.shared.put_whole(bytes, &replaces).await
        } else {
            self.shared.complete(self.parts, &replaces).await
        };
        let put = match put {
            Ok(put) => identified(put),
            // A request that was sent twice meets its own work: a condition that no longer holds,
            // an upload that is no longer there. And a reply may have been lost.
            Err(e) => self.shared.is_in_place().await.map(identified).ok_or_else(|| told(e))?,
        };
        self.forget();
        Ok(put)
    }

    async fn abort(&mut self) -> Result<()> {
        self.first = None;
        let aborted = self.shared.abort().await;
        self.forget();
        aborted.map_err(told)
    }
}

impl Shared {
    async fn put_part(&self, index: usize, data: PutPayload) -> Result<()> {
        let Parts::ById { store, id, done } = &self.parts else { return Err(incomplete()) };
        let create = || store.create_multipart_opts(&self.key, self.options.clone());
        let id = id.get_or_try_init(create).await.map_err(told)?;
        let part = store.put_part(&self.key, id, index, data).await.map_err(told)?;
        done.lock().unwrap_or_else(PoisonError::into_inner).push((index, part));
        Ok(())
    }

    /// An upload that was begun, as far as there is one; one that is over is no error.
    async fn abort(&self) -> Result<()> {
        let Parts::ById { store, id, .. } = &self.parts else { return Ok(()) };
        let Some(id) = id.get() else { return Ok(()) };
        match store.abort_multipart(&self.key, id).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Whether parts may be there that cost money.
    fn is_begun(&self) -> bool {
        matches!(&self.parts, Parts::ById { id, .. } if id.get().is_some())
    }

    async fn put_whole(&self, bytes: PutPayload, replaces: &Replaces) -> Result<PutResult> {
        let mode = match replaces {
            Replaces::Anything => PutMode::Overwrite,
            Replaces::Nothing => PutMode::Create,
            Replaces::Version(pin) => PutMode::Update(UpdateVersion {
                e_tag: pin.etag().map(str::to_owned),
                version: pin.version().map(str::to_owned),
            }),
        };
        let options = PutOptions {
            mode,
            tags: self.options.tags.clone(),
            attributes: self.options.attributes.clone(),
            ..PutOptions::default()
        };
        self.objects.put_opts(&self.key, bytes, options).await.map_err(|e| match e {
            Error::AlreadyExists { path, source } if *replaces == Replaces::Nothing => {
                Error::Precondition { path, source }
            }
            e => e,
        })
    }

    async fn complete(&self, count: usize, replaces: &Replaces) -> Result<PutResult> {
        let (store, id, done) = match &self.parts {
            Parts::ById { store, id, done } => (store, id, done),
            Parts::Own(upload) => {
                let upload = upload.lock().unwrap_or_else(PoisonError::into_inner).take();
                let mut upload = upload.ok_or_else(incomplete)?;
                return upload.complete().await;
            }
        };
        let mut parts = done.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (Some(id), true) = (id.get(), parts.len() == count) else { return Err(incomplete()) };
        parts.sort_unstable_by_key(|(index, _)| *index);
        let parts = parts.into_iter().map(|(_, part)| part).collect();
        let complete = store.complete_multipart(&self.key, id, parts);
        with_condition(header(replaces)?, complete).await
    }

    /// What is there if it is this upload: its token tells.
    async fn is_in_place(&self) -> Option<PutResult> {
        let token = token(&self.options.attributes)?;
        let options = GetOptions { head: true, ..GetOptions::default() };
        let found = self.objects.get_opts(&self.key, options).await.ok()?;
        (self::token(&found.attributes)? == token).then(|| PutResult {
            e_tag: found.meta.e_tag,
            version: found.meta.version,
            extensions: found.extensions,
        })
    }
}

/// Hands a part over, in the order in which parts come; `first` is the one that waited.
fn put_own(
    upload: &Mutex<Option<Box<dyn MultipartUpload>>>,
    first: Option<PutPayload>,
    data: PutPayload,
) -> UploadPart {
    let mut upload = upload.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(upload) = upload.as_mut() else {
        return Box::pin(std::future::ready(Err(incomplete())));
    };
    let first = first.map(|first| upload.put_part(first));
    let part = upload.put_part(data);
    Box::pin(async move {
        if let Some(first) = first {
            first.await.map_err(told)?;
        }
        part.await.map_err(told)
    })
}

fn incomplete() -> Error {
    let source = "an upload was completed twice, or before all of its parts had arrived".into();
    Error::Generic { store: "ezdfs", source }
}

/// An upload of one small part, completed on a condition: for the probe.
pub(super) async fn complete_on(
    multipart: &dyn MultipartStore,
    key: &ObjectKey,
    replaces: Replaces,
) -> Result<PutResult> {
    let id = multipart.create_multipart(key).await?;
    let completed = async {
        let part = multipart.put_part(key, &id, 0, PutPayload::from_static(b"part")).await?;
        let complete = multipart.complete_multipart(key, &id, vec![part]);
        with_condition(header(&replaces)?, complete).await
    };
    let completed = completed.await;
    if completed.is_err() {
        // Gone already where the store ends an upload that it refuses.
        let _ = multipart.abort_multipart(key, &id).await;
    }
    completed
}

fn token(attributes: &Attributes) -> Option<&AttributeValue> {
    attributes.get(&Attribute::Metadata(TOKEN_ATTRIBUTE.into()))
}

fn header(replaces: &Replaces) -> Result<Option<(HeaderName, HeaderValue)>> {
    match replaces {
        Replaces::Anything => Ok(None),
        Replaces::Nothing => Ok(Some((IF_NONE_MATCH, HeaderValue::from_static("*")))),
        Replaces::Version(pin) => {
            let etag = HeaderValue::from_str(pin.etag().unwrap_or_default());
            let etag = etag.map_err(|e| Error::Generic { store: "ezdfs", source: Box::new(e) })?;
            Ok(Some((IF_MATCH, etag)))
        }
    }
}

/// Aborts the uploads that were dropped, in the background.
#[derive(Debug, Clone)]
pub(super) struct Leftovers(Arc<Semaphore>);

impl Leftovers {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(ABORTS)))
    }
}

/// A task that was cancelled leaves parts behind, which cost money until somebody aborts them.
impl Drop for CloudUpload {
    fn drop(&mut self) {
        if self.parts < 2 || !self.shared.is_begun() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let Ok(permit) = Arc::clone(&self.leftovers.0).try_acquire_owned() else {
            tracing::warn!(key = %shared.key, "parts of an upload stay behind: too many uploads are given up at once");
            return;
        };
        runtime.spawn(async move {
            match tokio::time::timeout(ABORT_TIMEOUT, shared.abort()).await {
                Ok(Ok(())) => {}
                Ok(Err(e)) => {
                    tracing::warn!(key = %shared.key, error = %e, "parts of an upload stay behind");
                }
                Err(_) => tracing::warn!(key = %shared.key, "parts of an upload stay behind"),
            }
            drop(permit);
        });
    }
}
