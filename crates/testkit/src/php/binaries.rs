//! Where an Ibexa node keeps its bytes: in a directory, or in a bucket.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::TryStreamExt as _;
use object_store::path::Path as ObjectKey;
use object_store::{Attribute, Attributes, ObjectStore, ObjectStoreExt as _, PutOptions};

/// What PHP copies at a time.
const CHUNK: usize = 8192;

/// What Flysystem does with its two adapters. Paths are those of
/// [`binary_path`](super::binary_path).
#[derive(Debug, Clone)]
pub(super) enum Binaries {
    /// The local adapter: bytes are written in place, under a lock that readers do not ask for.
    Local(PathBuf),
    /// The adapter of S3: plain requests, on no condition, and no lock.
    Bucket(Arc<dyn ObjectStore>),
}

impl Binaries {
    /// Bytes under a path, whatever was there.
    pub(super) async fn put(
        &self,
        path: &str,
        bytes: Vec<u8>,
        datatype: Option<&str>,
    ) -> io::Result<()> {
        match self {
            Self::Local(root) => {
                let file = root.join(path);
                off_the_runtime(move || {
                    let mut write = InPlaceWrite::open(&file)?;
                    for chunk in bytes.chunks(CHUNK) {
                        write.append(chunk)?;
                    }
                    write.finish()
                })
                .await
            }
            Self::Bucket(store) => {
                let mut attributes = Attributes::new();
                if let Some(datatype) = datatype {
                    attributes.insert(Attribute::ContentType, datatype.to_owned().into());
                }
                let options = PutOptions { attributes, ..PutOptions::default() };
                store.put_opts(&key(path)?, bytes.into(), options).await?;
                Ok(())
            }
        }
    }

    pub(super) async fn get(&self, path: &str) -> io::Result<Vec<u8>> {
        match self {
            Self::Local(root) => {
                let file = root.join(path);
                off_the_runtime(move || std::fs::read(file)).await
            }
            Self::Bucket(store) => Ok(store.get(&key(path)?).await?.bytes().await?.to_vec()),
        }
    }

    /// What is missing is as good as removed. Directories stay, as with Ibexa.
    pub(super) async fn remove(&self, path: &str) -> io::Result<()> {
        let done = match self {
            Self::Local(root) => {
                let file = root.join(path);
                off_the_runtime(move || std::fs::remove_file(file)).await
            }
            Self::Bucket(store) => store.delete(&key(path)?).await.map_err(io::Error::from),
        };
        missing_is_fine(done)
    }

    /// Everything below a path.
    pub(super) async fn remove_directory(&self, path: &str) -> io::Result<()> {
        match self {
            Self::Local(root) => {
                let directory = root.join(path);
                let done = off_the_runtime(move || std::fs::remove_dir_all(directory)).await;
                missing_is_fine(done)
            }
            Self::Bucket(store) => {
                let found: Vec<_> = store.list(Some(&key(path)?)).try_collect().await?;
                for object in found {
                    store.delete(&object.location).await?;
                }
                Ok(())
            }
        }
    }
}

/// The name of an object is the path as it is.
fn key(path: &str) -> io::Result<ObjectKey> {
    ObjectKey::parse(path).map_err(io::Error::other)
}

fn missing_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// A file that is being written in place. Others that lock wait; readers do not.
#[derive(Debug)]
pub struct InPlaceWrite(File);

impl InPlaceWrite {
    /// In PHP's order: directories, open, lock, truncate.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
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

pub(super) async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
