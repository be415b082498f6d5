//! `PhpNode`: an Ibexa node in Rust.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use ezdfs_core::{BaseRow, Clock, SystemClock};
use ezdfs_metadata::memory::ForeignRow;
use object_store::ObjectStore;

use super::binaries::{Binaries, InPlaceWrite, off_the_runtime};
use super::{IbexaNode, LoadedBinary, NewBinary, NodeError, binary_path, name_of, scope_of_id};
use crate::foreign_writer::ForeignWriter;

/// Rows by a [`ForeignWriter`], bytes in a local directory (an NFS mount in real life) or a bucket.
#[derive(Debug, Clone)]
pub struct PhpNode {
    rows: Arc<dyn ForeignWriter>,
    binaries: Binaries,
    prefix: String,
    clock: Arc<dyn Clock>,
}

impl PhpNode {
    /// `root` is the directory that SPI ids lie in (`<mount>/var/site/storage`), `prefix` what
    /// stands before them in the table (`var/site/storage`).
    #[must_use]
    pub fn new(rows: Arc<dyn ForeignWriter>, root: impl Into<PathBuf>, prefix: &str) -> Self {
        Self::with_binaries(rows, Binaries::Local(root.into()), prefix)
    }

    /// With its bytes in a bucket, where an SPI id is the key: Flysystem's adapter of S3.
    #[must_use]
    pub fn on_bucket(
        rows: Arc<dyn ForeignWriter>,
        bucket: Arc<dyn ObjectStore>,
        prefix: &str,
    ) -> Self {
        Self::with_binaries(rows, Binaries::Bucket(bucket), prefix)
    }

    fn with_binaries(rows: Arc<dyn ForeignWriter>, binaries: Binaries, prefix: &str) -> Self {
        Self { rows, binaries, prefix: prefix.to_owned(), clock: Arc::new(SystemClock) }
    }

    /// With another clock for new files.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// The row's name of an id.
    #[must_use]
    pub fn name(&self, id: &str) -> String {
        name_of(&self.prefix, id)
    }

    /// The writer of its rows.
    #[must_use]
    pub fn rows(&self) -> &Arc<dyn ForeignWriter> {
        &self.rows
    }

    /// The file of an id's bytes.
    ///
    /// # Errors
    /// When the id has none, and in a bucket.
    pub fn file(&self, id: &str) -> Result<PathBuf, NodeError> {
        let path = binary_path(id)?;
        match &self.binaries {
            Binaries::Local(root) => Ok(root.join(path)),
            Binaries::Bucket(_) => Err(io::Error::from(io::ErrorKind::Unsupported).into()),
        }
    }

    /// The first half of a create, stopped after the truncation: the file is empty and locked.
    /// What is appended is seen at once; dropping it ends the write, as a killed node would.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn open_in_place(&self, id: &str) -> Result<InPlaceWrite, NodeError> {
        let path = self.file(id)?;
        Ok(off_the_runtime(move || InPlaceWrite::open(&path)).await?)
    }

    /// The first half of a create: only the bytes.
    ///
    /// # Errors
    /// When they cannot be written.
    pub async fn write_bytes(&self, id: &str, bytes: &[u8]) -> Result<(), NodeError> {
        Ok(self.binaries.put(&binary_path(id)?, bytes.to_vec(), None).await?)
    }

    /// The second half of a create: only the row.
    ///
    /// # Errors
    /// When the database refuses both statements.
    pub async fn write_row(&self, id: &str, file: &NewBinary<'_>) -> Result<(), NodeError> {
        let name = self.name(id);
        let row = ForeignRow {
            name_trunk: name.clone(),
            base: BaseRow {
                name,
                datatype: file.datatype.to_owned(),
                scope: scope_of_id(id).to_owned(),
                size: file.size,
                mtime: file.mtime.unwrap_or_else(|| self.clock.now().secs()),
                expired: false,
            },
            status: false,
        };
        Ok(self.rows.store_row(&row).await?)
    }
}

#[async_trait]
impl IbexaNode for PhpNode {
    async fn create(&self, id: &str, file: &NewBinary<'_>) -> Result<(), NodeError> {
        let path = binary_path(id)?;
        self.binaries.put(&path, file.bytes.to_vec(), Some(file.datatype)).await?;
        self.write_row(id, file).await
    }

    async fn load(&self, id: &str) -> Result<LoadedBinary, NodeError> {
        let row = self.rows.load(&self.name(id)).await.ok_or(NodeError::NotFound)?;
        Ok(LoadedBinary { size: row.base.size, mtime: row.base.mtime })
    }

    async fn exists(&self, id: &str) -> Result<bool, NodeError> {
        Ok(self.rows.load(&self.name(id)).await.is_some())
    }

    async fn mime_type(&self, id: &str) -> Result<String, NodeError> {
        let row = self.rows.load(&self.name(id)).await.ok_or(NodeError::NotFound)?;
        Ok(row.base.datatype)
    }

    async fn contents(&self, id: &str) -> Result<Vec<u8>, NodeError> {
        let path = binary_path(id).map_err(|_| NodeError::NotFound)?;
        self.binaries.get(&path).await.map_err(|_| NodeError::NotFound)
    }

    async fn delete(&self, id: &str) -> Result<(), NodeError> {
        let had_row = self.rows.delete(&self.name(id)).await;
        self.binaries.remove(&binary_path(id)?).await?;
        if had_row { Ok(()) } else { Err(NodeError::NotFound) }
    }

    async fn delete_directory(&self, id: &str) -> Result<(), NodeError> {
        self.rows.delete_directory(&self.name(id)).await;
        Ok(self.binaries.remove_directory(&binary_path(id)?).await?)
    }

    async fn soft_delete(&self, id: &str) -> Result<(), NodeError> {
        self.rows.soft_delete(&self.name(id)).await;
        Ok(())
    }
}
