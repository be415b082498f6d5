//! The `ObjectStore` face of the local store.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use ezdfs_core::{Error, ErrorKind, SealSlot};
use futures::stream::{BoxStream, StreamExt as _};
use object_store::path::Path as ObjectKey;
use object_store::{
    Attributes, CopyMode, CopyOptions, Extensions, GetOptions, GetResult, GetResultPayload,
    ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, RenameOptions, RenameTargetMode, Result,
};

use super::fault::{Doing, told};
use super::list::Walk;
use super::place::Onto;
use super::staged::Staged;
use super::upload::Upload;
use super::{LocalStore, text};

/// Deletes of one stream that wait for the disk at the same time.
const DELETES: usize = 8;

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ObjectStore for LocalStore {
    async fn put_opts(
        &self,
        location: &ObjectKey,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let key = name(location)?;
        let onto = match opts.mode {
            PutMode::Overwrite => Onto::Any,
            PutMode::Create => Onto::Nothing,
            PutMode::Update(version) => Onto::Version(version.e_tag.ok_or_else(|| {
                let text = format!("an update of `{key}` needs the etag that it replaces");
                told(Error::new(ErrorKind::InvalidArgument, text))
            })?),
        };
        let identity = self
            .run(Doing::write("write", location), move |disk| {
                let staged = Staged::create(disk)?;
                staged.write_at(&payload, 0)?;
                let size =
                    u64::try_from(payload.content_length()).map_err(|_| rustix::io::Errno::FBIG)?;
                let identity = staged.seal(size)?;
                disk.place(&staged, &key, &onto)?;
                Ok(identity)
            })
            .await?;
        Ok(PutResult {
            e_tag: Some(identity.etag()),
            version: None,
            extensions: Extensions::default(),
        })
    }

    async fn put_multipart_opts(
        &self,
        location: &ObjectKey,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        name(location)?;
        let staged = self.run(Doing::write("write", location), Staged::create).await?;
        let upload = Upload::new(self.disk.clone(), location.clone(), staged);
        if let Some(slot) = opts.extensions.get::<SealSlot>() {
            slot.fill(upload.seal());
        }
        Ok(Box::new(upload))
    }

    async fn get_opts(&self, location: &ObjectKey, options: GetOptions) -> Result<GetResult> {
        let key = location.clone();
        let found =
            self.run(Doing::read("read", location), move |disk| disk.get(&key, &options)).await?;
        Ok(GetResult {
            meta: found.meta.clone(),
            range: found.range.clone(),
            attributes: Attributes::default(),
            extensions: Extensions::default(),
            payload: GetResultPayload::Stream(found.into_stream()),
        })
    }

    async fn get_ranges(&self, location: &ObjectKey, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (key, ranges) = (location.to_string(), ranges.to_vec());
        let doing = Doing::read("read", location);
        self.run(doing, move |disk| disk.get_ranges(&key, &ranges)).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<ObjectKey>>,
    ) -> BoxStream<'static, Result<ObjectKey>> {
        let store = self.clone();
        locations
            .map(move |location| {
                let store = store.clone();
                async move {
                    let location = location?;
                    let key = location.to_string();
                    let doing = Doing::write("delete", &key);
                    store.run(doing, move |disk| disk.delete(&key)).await?;
                    Ok(location)
                }
            })
            .buffered(DELETES)
            .boxed()
    }

    fn list(&self, prefix: Option<&ObjectKey>) -> BoxStream<'static, Result<ObjectMeta>> {
        Walk::new(self.disk.clone(), &text(prefix), "").into_stream()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&ObjectKey>,
        offset: &ObjectKey,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        Walk::new(self.disk.clone(), &text(prefix), offset.as_ref()).into_stream()
    }

    async fn list_with_delimiter(&self, prefix: Option<&ObjectKey>) -> Result<ListResult> {
        let prefix = text(prefix);
        let doing = Doing::write("list", format!("{prefix}/"));
        self.run(doing, move |disk| disk.list_one(&prefix)).await
    }

    async fn copy_opts(
        &self,
        from: &ObjectKey,
        to: &ObjectKey,
        options: CopyOptions,
    ) -> Result<()> {
        let CopyOptions { mode, extensions: _ } = options;
        let (source, target, create) = (from.to_string(), name(to)?, mode == CopyMode::Create);
        let doing = Doing::write("copy to", to);
        self.run(doing, move |disk| disk.copy(&source, &target, create)).await
    }

    async fn rename_opts(
        &self,
        from: &ObjectKey,
        to: &ObjectKey,
        options: RenameOptions,
    ) -> Result<()> {
        let RenameOptions { target_mode, extensions: _ } = options;
        let create = target_mode == RenameTargetMode::Create;
        let (source, target) = (from.to_string(), name(to)?);
        let doing = Doing::write("rename to", to);
        self.run(doing, move |disk| disk.rename(&source, &target, create)).await
    }
}

/// The key as text; the root has no name to be written under.
fn name(key: &ObjectKey) -> Result<String> {
    if key.is_root() {
        return Err(told(Error::new(ErrorKind::InvalidPath, "the empty key names no object")));
    }
    Ok(key.to_string())
}
