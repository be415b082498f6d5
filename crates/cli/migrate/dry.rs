//! Opening a side for a dry run: nothing is made, and nothing is installed.
//!
//! What opening would make stands in a temporary directory instead, empty or as a copy.

use std::path::Path;
use std::sync::Arc;

use ezdfs_binarydata::{LocalOptions, Opened, file_url, open_url};
use ezdfs_config::{
    DEFAULT_HANDLER, Loaded, MetadataHandler, Side, Storage, open_binary, open_metadata,
};
use ezdfs_core::{Clock, Error, ErrorKind, MetadataStore, Result};
use tempfile::TempDir;

/// Opens both handlers. What is made for it goes with the directory that is returned.
///
/// # Errors
/// What a handler says, and when the temporary directory cannot be used.
pub(super) async fn open(
    loaded: &Loaded,
    metadata: &str,
    binarydata: &str,
    clock: &Arc<dyn Clock>,
) -> Result<(Side, TempDir)> {
    let dir = tempfile::Builder::new().prefix("ezdfs-dry-run-").tempdir().map_err(no_room)?;
    let binary = binary(loaded, binarydata, dir.path()).await?;
    let metadata = rows(loaded, metadata, (binarydata, &binary), clock, dir.path()).await?;
    Ok((Side { metadata, binary }, dir))
}

fn no_room(e: std::io::Error) -> Error {
    let what = "a dry run needs a temporary directory; set TMPDIR to one with enough space";
    Error::new(ErrorKind::Config, what).with_source(e)
}

async fn binary(loaded: &Loaded, name: &str, dir: &Path) -> Result<Opened> {
    let handler = loaded.settings.binarydata_handlers.get(name);
    match handler.filter(|_| name != DEFAULT_HANDLER).map(|h| &h.url.storage) {
        // Only a root in the data directory would be made.
        Some(Storage::File(root)) if root.starts_with(&loaded.data_dir) && !root.exists() => {
            let empty = dir.join("files");
            let options = LocalOptions { create_root: true, ..LocalOptions::default() };
            open_url(&file_url(&empty), &options).await
        }
        _ => open_binary(loaded, name).await,
    }
}

async fn rows(
    loaded: &Loaded,
    name: &str,
    side: (&str, &Opened),
    clock: &Arc<dyn Clock>,
    dir: &Path,
) -> Result<Arc<dyn MetadataStore>> {
    match loaded.settings.metadata_handlers.get(name).filter(|_| name != DEFAULT_HANDLER) {
        Some(MetadataHandler::Objects { objects }) if objects != side.0 => {
            let beside = binary(loaded, objects, &dir.join("objects")).await?;
            open_metadata(loaded, name, (objects, &beside), clock).await
        }
        #[cfg(feature = "sqlite")]
        Some(MetadataHandler::Sql(handler)) => {
            match sqlite::stand_in(loaded, handler, clock, dir).await? {
                Some(store) => Ok(store),
                None => open_metadata(loaded, name, side, clock).await,
            }
        }
        _ => open_metadata(loaded, name, side, clock).await,
    }
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use std::ffi::OsString;
    use std::io;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;
    use std::time::SystemTime;

    use ezdfs_config::{Database, Loaded, SqlHandler};
    use ezdfs_core::{Clock, Error, ErrorKind, MetadataStore, NamePrefix, Result};
    use ezdfs_metadata::{SqliteMetadata, SqliteOptions, sqlite};
    use tokio::io::AsyncReadExt as _;

    /// A database is these files (sqlite.org/tempfiles.html); the index of the WAL is made anew.
    const PARTS: [&str; 3] = ["", "-wal", "-journal"];
    /// How often a database that is written meanwhile is copied.
    const TRIES: u32 = 5;
    /// Where the header has the version to read with, and which one is WAL (sqlite.org/fileformat.html).
    const READ_VERSION: usize = 19;
    const WAL: u8 = 2;

    /// What stands in for a database that opening would make or change; `None`: open it as it is.
    pub(super) async fn stand_in(
        loaded: &Loaded,
        handler: &SqlHandler,
        clock: &Arc<dyn Clock>,
        dir: &Path,
    ) -> Result<Option<Arc<dyn MetadataStore>>> {
        let Database::Sqlite(file) = &handler.url.database else { return Ok(None) };
        let copy = dir.join("database");
        if file.exists() {
            // Reading a WAL database that nobody has open leaves files beside it.
            let closed = is_closed_wal(file).await.map_err(|e| unreadable(file, e))?;
            if !closed && sqlite::check(file, &handler.table).await?.lines.is_empty() {
                return Ok(None);
            }
            copy_whole(file, &copy).await?;
        } else if !file.starts_with(&loaded.data_dir) && !file.parent().is_some_and(Path::is_dir) {
            // Opening makes no directory there, and says what is wrong.
            return Ok(None);
        }
        let options = SqliteOptions {
            table: handler.table.clone(),
            prefix: NamePrefix::new(&handler.name_prefix),
            busy_timeout: loaded.settings.store.io_timeout,
            ..SqliteOptions::default()
        };
        let opened = SqliteMetadata::open(&copy, options, Arc::clone(clock)).await;
        let store = opened.map_err(|e| {
            e.context(format_args!("what the dry run made in place of {}", file.display()))
        })?;
        Ok(Some(Arc::new(store)))
    }

    fn unreadable(file: &Path, e: io::Error) -> Error {
        let what = format!("cannot read the database {}", file.display());
        Error::new(ErrorKind::Unavailable, what).with_source(e)
    }

    async fn is_closed_wal(file: &Path) -> io::Result<bool> {
        let mut header = Vec::new();
        let mut start = tokio::fs::File::open(file).await?.take(100);
        start.read_to_end(&mut header).await?;
        Ok(header.get(READ_VERSION) == Some(&WAL) && !part(file, "-wal").exists())
    }

    fn part(file: &Path, suffix: &str) -> PathBuf {
        let mut name = OsString::from(file);
        name.push(suffix);
        name.into()
    }

    /// Copies a database as it was at one moment: again while it changes.
    async fn copy_whole(file: &Path, copy: &Path) -> Result<()> {
        for _ in 0..TRIES {
            let before = stamps(file).await.map_err(|e| unreadable(file, e))?;
            for (suffix, stamp) in PARTS.iter().zip(&before) {
                let to = part(copy, suffix);
                match tokio::fs::remove_file(&to).await {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(super::no_room(e)),
                    _ => {}
                }
                if stamp.is_none() {
                    continue;
                }
                match tokio::fs::copy(part(file, suffix), &to).await {
                    // Gone meanwhile: the stamps tell.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => {
                        return Err(super::no_room(e)
                            .context(format_args!("cannot copy the database {}", file.display())));
                    }
                    Ok(_) => {}
                }
            }
            if stamps(file).await.map_err(|e| unreadable(file, e))? == before {
                return Ok(());
            }
        }
        let what = format!(
            "the database {} changes while the dry run copies it; try again when it is written less",
            file.display()
        );
        Err(Error::new(ErrorKind::Busy, what))
    }

    /// Size and mtime of each part that is there.
    async fn stamps(file: &Path) -> io::Result<[Option<(u64, SystemTime)>; PARTS.len()]> {
        let mut stamps = [None; PARTS.len()];
        for (stamp, suffix) in stamps.iter_mut().zip(PARTS) {
            *stamp = match tokio::fs::metadata(part(file, suffix)).await {
                Ok(found) => Some((found.len(), found.modified()?)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => None,
                Err(e) => return Err(e),
            };
        }
        Ok(stamps)
    }
}
