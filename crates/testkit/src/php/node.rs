//! `PhpNode`: an Ibexa node in Rust.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use ezdfs_core::{BaseRow, Clock, SystemClock};
use ezdfs_metadata::memory::ForeignRow;

use super::{IbexaNode, LoadedBinary, NewBinary, NodeError, binary_path, name_of, scope_of_id};
use crate::foreign_writer::ForeignWriter;

/// What PHP copies at a time.
const CHUNK: usize = 8192;

/// Rows by a [`ForeignWriter`], bytes in a local directory (an NFS mount in real life).
#[derive(Debug, Clone)]
pub struct PhpNode {
    rows: Arc<dyn ForeignWriter>,
    root: PathBuf,
    prefix: String,
    clock: Arc<dyn Clock>,
}

impl PhpNode {
    /// `root` is the directory that SPI ids lie in (`<mount>/var/site/storage`), `prefix` what
    /// stands before them in the table (`var/site/storage`).
    #[must_use]
    pub fn new(rows: Arc<dyn ForeignWriter>, root: impl Into<PathBuf>, prefix: &str) -> Self {
        let (root, prefix) = (root.into(), prefix.to_owned());
        Self { rows, root, prefix, clock: Arc::new(SystemClock) }
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
    /// When the id has none.
    pub fn file(&self, id: &str) -> Result<PathBuf, NodeError> {
        Ok(self.root.join(binary_path(id)?))
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

    /// The first half of a create: only the bytes, in place.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn write_bytes(&self, id: &str, bytes: &[u8]) -> Result<(), NodeError> {
        let (path, bytes) = (self.file(id)?, bytes.to_vec());
        off_the_runtime(move || {
            let mut write = InPlaceWrite::open(&path)?;
            for chunk in bytes.chunks(CHUNK) {
                write.append(chunk)?;
            }
            write.finish()
        })
        .await?;
        Ok(())
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

    async fn remove(&self, id: &str, how: fn(&Path) -> io::Result<()>) -> Result<(), NodeError> {
        let path = self.file(id)?;
        match off_the_runtime(move || how(&path)).await {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            done => Ok(done?),
        }
    }
}

#[async_trait]
impl IbexaNode for PhpNode {
    async fn create(&self, id: &str, file: &NewBinary<'_>) -> Result<(), NodeError> {
        self.write_bytes(id, file.bytes).await?;
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
        let path = self.file(id).map_err(|_| NodeError::NotFound)?;
        off_the_runtime(move || std::fs::read(path)).await.map_err(|_| NodeError::NotFound)
    }

    async fn delete(&self, id: &str) -> Result<(), NodeError> {
        let had_row = self.rows.delete(&self.name(id)).await;
        // Empty directories stay, as with Ibexa.
        self.remove(id, |path| std::fs::remove_file(path)).await?;
        if had_row { Ok(()) } else { Err(NodeError::NotFound) }
    }

    async fn delete_directory(&self, id: &str) -> Result<(), NodeError> {
        self.rows.delete_directory(&self.name(id)).await;
        self.remove(id, |path| std::fs::remove_dir_all(path)).await
    }

    async fn soft_delete(&self, id: &str) -> Result<(), NodeError> {
        self.rows.soft_delete(&self.name(id)).await;
        Ok(())
    }
}

/// A file that is being written in place. Others that lock wait; readers do not.
#[derive(Debug)]
pub struct InPlaceWrite(File);

impl InPlaceWrite {
    /// In PHP's order: directories, open, lock, truncate.
    fn open(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
        }
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        file.lock()?;
        file.set_len(0)?;
        Ok(Self(file))
    }

    /// Writes on.
    ///
    /// # Errors
    /// As of the file system.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Ends a complete write. The mode is set at the end, as Ibexa does.
    ///
    /// # Errors
    /// As of the file system.
    pub fn finish(self) -> io::Result<()> {
        self.0.set_permissions(Permissions::from_mode(0o644))
    }
}

async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
