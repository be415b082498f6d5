//! `AzureStore`: what object_store's client of Azure Blob Storage does unlike those of the others.

#![deny(clippy::missing_trait_methods)]

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use ezdfs_core::ErrorKind;
use ezdfs_core::capabilities::TOKEN_ATTRIBUTE;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::azure::MicrosoftAzure;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path as ObjectKey;
use object_store::{
    Attribute, Attributes, CopyOptions, Error, GetOptions, GetRange, GetResult, ListResult,
    MultipartId, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, RenameOptions, Result,
};

/// The token's name here: metadata must be named as an identifier of C# is.
const TOKEN: &str = "ezdfs_token";

/// A container:
///
/// - the token has another name on the wire;
/// - listings put etags in quotes, as everything else does;
/// - keys with a backslash are refused: the service makes a slash of it;
/// - the end of an object can be asked for;
/// - a listing begins behind its offset, also where the service does not know that question.
#[derive(Debug)]
pub(crate) struct AzureStore(pub(crate) MicrosoftAzure);

impl fmt::Display for AzureStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for AzureStore {
    async fn put_opts(
        &self,
        location: &ObjectKey,
        payload: PutPayload,
        mut opts: PutOptions,
    ) -> Result<PutResult> {
        literal(location)?;
        rename(&mut opts.attributes, TOKEN_ATTRIBUTE, TOKEN);
        self.0.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &ObjectKey,
        mut opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        literal(location)?;
        rename(&mut opts.attributes, TOKEN_ATTRIBUTE, TOKEN);
        self.0.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &ObjectKey, mut options: GetOptions) -> Result<GetResult> {
        present(location)?;
        if let Some(GetRange::Suffix(bytes)) = options.range {
            let head = GetOptions { head: true, range: None, ..options.clone() };
            let meta = self.0.get_opts(location, head).await?.meta;
            options.range = Some(GetRange::Bounded(meta.size.saturating_sub(bytes)..meta.size));
            options.if_match = options.if_match.or(meta.e_tag);
        }
        let mut got = self.0.get_opts(location, options).await?;
        rename(&mut got.attributes, TOKEN, TOKEN_ATTRIBUTE);
        Ok(got)
    }

    async fn get_ranges(&self, location: &ObjectKey, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        present(location)?;
        self.0.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<ObjectKey>>,
    ) -> BoxStream<'static, Result<ObjectKey>> {
        let literal = |location: ObjectKey| async { present(&location).map(|()| location) };
        self.0.delete_stream(locations.and_then(literal).boxed())
    }

    fn list(&self, prefix: Option<&ObjectKey>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix).map_ok(quoted).boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&ObjectKey>,
        offset: &ObjectKey,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let after = offset.clone();
        let is_behind = move |meta: &ObjectMeta| std::future::ready(meta.location > after);
        self.0.list_with_offset(prefix, offset).try_filter(is_behind).map_ok(quoted).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&ObjectKey>) -> Result<ListResult> {
        let mut listed = self.0.list_with_delimiter(prefix).await?;
        listed.objects = listed.objects.into_iter().map(quoted).collect();
        Ok(listed)
    }

    async fn copy_opts(
        &self,
        from: &ObjectKey,
        to: &ObjectKey,
        options: CopyOptions,
    ) -> Result<()> {
        present(from)?;
        literal(to)?;
        self.0.copy_opts(from, to, options).await
    }

    async fn rename_opts(
        &self,
        from: &ObjectKey,
        to: &ObjectKey,
        options: RenameOptions,
    ) -> Result<()> {
        present(from)?;
        literal(to)?;
        self.0.rename_opts(from, to, options).await
    }
}

/// Without attributes: large objects go up by [`ObjectStore::put_multipart_opts`].
#[async_trait]
impl MultipartStore for AzureStore {
    async fn create_multipart(&self, path: &ObjectKey) -> Result<MultipartId> {
        literal(path)?;
        self.0.create_multipart(path).await
    }

    async fn create_multipart_opts(
        &self,
        path: &ObjectKey,
        opts: PutMultipartOptions,
    ) -> Result<MultipartId> {
        literal(path)?;
        self.0.create_multipart_opts(path, opts).await
    }

    async fn put_part(
        &self,
        path: &ObjectKey,
        id: &MultipartId,
        part_idx: usize,
        data: PutPayload,
    ) -> Result<PartId> {
        self.0.put_part(path, id, part_idx, data).await
    }

    async fn complete_multipart(
        &self,
        path: &ObjectKey,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        self.0.complete_multipart(path, id, parts).await
    }

    async fn abort_multipart(&self, path: &ObjectKey, id: &MultipartId) -> Result<()> {
        self.0.abort_multipart(path, id).await
    }
}

/// # Errors
/// For a key that would become another one.
fn literal(key: &ObjectKey) -> Result<()> {
    if !key.as_ref().contains('\\') {
        return Ok(());
    }
    let text = format!("Azure makes a slash of the backslash in `{key}`");
    let source = Box::new(ezdfs_core::Error::new(ErrorKind::InvalidPath, text));
    Err(Error::Generic { store: "ezdfs", source })
}

/// # Errors
/// For a key that no object has.
fn present(key: &ObjectKey) -> Result<()> {
    let path = key.to_string();
    literal(key).map_err(|e| Error::NotFound { path, source: Box::new(e) })
}

fn rename(attributes: &mut Attributes, from: &'static str, to: &'static str) {
    if let Some(value) = attributes.remove(&Attribute::Metadata(from.into())) {
        attributes.insert(Attribute::Metadata(to.into()), value);
    }
}

fn quoted(mut meta: ObjectMeta) -> ObjectMeta {
    meta.e_tag = meta.e_tag.map(|etag| match etag.starts_with(['"', 'W']) {
        true => etag,
        false => format!("\"{etag}\""),
    });
    meta
}
