//! `LocalStore`: objects as plain files below a root directory, on a local disk or on NFS.
//!
//! What it promises, beyond [`object_store::ObjectStore`]:
//!
//! - **Literal names.** A key is a path below the root, byte for byte. Only regular files are
//!   objects. Symbolic links are never followed, neither in the middle of a key nor at its end:
//!   for a reader what lies behind one does not exist, a writer gets `PermissionDenied`, and a
//!   listing reports a [`BadEntry`](ezdfs_core::BadEntry). A write to a key where a link or a FIFO
//!   stands replaces it, as rename(2) does.
//! - **Whole versions.** Bytes are written to `.ezdfs/staging` of the same file system, never beside
//!   the asset, and renamed over the key. With `fsync` a write is durable when it returns.
//! - **Pins.** The etag is `"inode-mtime_ns-size"` in hex; put, get, head and list agree on it, and
//!   a rename keeps it. mtime is stamped in nanoseconds by this machine.
//! - **Checked reads.** The payload is always a stream of pieces of up to 256 KiB, never a
//!   `GetResultPayload::File` (see `get.rs`). A file that shrinks or is written in place while it is
//!   read is an error of kind [`Stale`](ezdfs_core::ErrorKind::Stale) before the last piece, never
//!   a quiet end. A stream holds one piece in memory.
//! - **Listings** in byte order of the keys, with bounded memory, hiding `.ezdfs` unless the prefix
//!   starts with it. Bad entries are reported one by one; any other error ends the listing.
//!   `list_with_delimiter` shows empty directories as prefixes and puts bad entries into the
//!   [`BadEntries`](ezdfs_core::BadEntries) extension.
//! - **Where the trait leaves room**: deleting what is not there succeeds, and empty directories
//!   stay. Attributes and tags are accepted and not stored. `PutMode::Update` compares etags just
//!   before the rename, but only the metadata database keeps two writers apart. A `version` is
//!   refused. A range that starts behind the end is an error of kind `InvalidArgument`.
//! - **Errors** that the trait has no kind for carry an [`ezdfs_core::Error`]: no space, read-only,
//!   name too long, a file where a directory is needed and the reverse.
//! - **ESTALE** (NFS): the operation starts again from the root, three times in all.
//!
//! Costs, with `fsync` and existing parents: a put is 12 system calls and one thread hop (openat2,
//! flock, fchmod, pwritev, utimensat, fsync, fstat, then openat2 of the parent, renameat, fsync,
//! two close); a get of up to 256 KiB is 5 (openat2, fstat, pread, fstat, close) and one hop, head
//! is 3; each further piece is 1, without a hop when the page cache has it (`RWF_NOWAIT`).

mod copy;
mod dirs;
mod disk;
mod fault;
mod folder;
mod get;
mod identity;
mod list;
mod names;
mod options;
mod parents;
mod place;
mod remove;
mod resolve;
mod staged;
mod store;
mod sweep;
#[cfg(test)]
mod tests;
mod upload;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use ezdfs_core::{Result, Timestamp};
use object_store::path::Path as ObjectKey;

pub use self::dirs::{DirEntry, DirPage};
pub use self::options::LocalOptions;
pub use self::sweep::Swept;

use self::disk::Disk;
use self::fault::{Doing, Fault};

/// Objects as plain files below a root directory.
#[derive(Clone)]
pub struct LocalStore {
    disk: Arc<Disk>,
}

impl LocalStore {
    /// Opens a root directory and makes nothing in it: a tree that is only read stays as it is.
    /// Blocks.
    ///
    /// # Errors
    /// [`ezdfs_core::ErrorKind::Config`] when the root cannot be used.
    pub fn open(root: impl AsRef<Path>, options: LocalOptions) -> Result<Self> {
        Disk::open(root.as_ref(), options, None).map(Self::on)
    }

    fn on(disk: Disk) -> Self {
        Self { disk: Arc::new(disk) }
    }

    /// The root directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.disk.path
    }

    /// Removes what crashed writers left in `.ezdfs/staging`: files that were last written before
    /// `before` and that no living process holds. On NFS without locking the age decides alone, so
    /// it should be longer than any upload (a day).
    ///
    /// # Errors
    /// When the directory cannot be read or a file cannot be removed.
    pub async fn sweep(&self, before: Timestamp) -> Result<Swept> {
        let doing = Doing::write("sweep", disk::STAGING);
        Ok(self.run(doing, move |disk| disk.sweep(before)).await?)
    }

    /// A page of a directory (`None`: the root) in byte order of names, directories by their bare
    /// name: up to `limit` (at least one) entries whose names come after `after`. An unknown
    /// directory has none.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub async fn page(
        &self,
        dir: Option<&ObjectKey>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<DirPage> {
        let (dir, after) = (text(dir), after.unwrap_or_default().to_owned());
        let doing = Doing::write("list", format!("{dir}/"));
        Ok(self.run(doing, move |disk| disk.page(&dir, &after, limit.max(1))).await?)
    }

    /// When the entries of a directory (`None`: the root) were last changed; `None` when there is
    /// no such directory.
    ///
    /// # Errors
    /// When the file system does not answer.
    pub async fn dir_modified(&self, dir: Option<&ObjectKey>) -> Result<Option<DateTime<Utc>>> {
        let dir = text(dir);
        let doing = Doing::read("look up", &dir);
        Ok(self.run(doing, move |disk| disk.dir_modified(&dir)).await?)
    }

    /// Makes a directory and its missing parents.
    ///
    /// # Errors
    /// `AlreadyExists` when a file stands in its place, or with `exclusive` a directory;
    /// `NotDirectory` when a file is an ancestor.
    pub async fn make_dir(&self, dir: &ObjectKey, exclusive: bool) -> Result<()> {
        let dir = dir.to_string();
        let doing = Doing::write("make the directory", &dir);
        Ok(self.run(doing, move |disk| disk.make_dir(&dir, exclusive)).await?)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, or `NotEmpty`.
    pub async fn remove_dir(&self, dir: &ObjectKey) -> Result<()> {
        let dir = dir.to_string();
        let doing = Doing::write("remove the directory", &dir);
        Ok(self.run(doing, move |disk| disk.remove_dir(&dir)).await?)
    }

    /// Removes the empty directories below `dir` (`None`: the root), and `dir` itself when it is
    /// empty then and not the root.
    ///
    /// # Errors
    /// When a directory cannot be read or removed for another reason than its entries.
    pub async fn remove_empty_dirs(&self, dir: Option<&ObjectKey>) -> Result<()> {
        let dir = text(dir);
        let doing = Doing::write("remove the empty directories below", &dir);
        Ok(self.run(doing, move |disk| disk.remove_empty_dirs(&dir)).await?)
    }

    async fn run<T: Send + 'static>(
        &self,
        doing: Doing,
        step: impl FnOnce(&Arc<Disk>) -> Result<T, Fault> + Send + 'static,
    ) -> object_store::Result<T> {
        let disk = self.disk.clone();
        blocking(doing, move || step(&disk)).await
    }
}

/// Runs a step on a blocking thread.
async fn blocking<T: Send + 'static>(
    doing: Doing,
    step: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> object_store::Result<T> {
    match tokio::task::spawn_blocking(step).await {
        Ok(done) => done.map_err(|fault| doing.failed(fault)),
        Err(e) => Err(get::joined(&e)),
    }
}

fn text(key: Option<&ObjectKey>) -> String {
    key.map(ToString::to_string).unwrap_or_default()
}

impl fmt::Display for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "local files in {}", self.disk.path.display())
    }
}

impl fmt::Debug for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalStore")
            .field("root", &self.disk.path)
            .field("options", &self.disk.options)
            .finish()
    }
}
