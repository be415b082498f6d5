//! Opening the handlers that the settings describe.

use std::path::Path;
use std::sync::Arc;

use ezdfs_binarydata::{LocalOptions, ObjectsMetadata, Opened, file_url, open_url};
use ezdfs_core::{Clock, Error, ErrorKind, MetadataStore, NamePrefix, Result};

#[cfg(not(all(feature = "sqlite", feature = "mysql", feature = "postgres")))]
use crate::check::no_database;
use crate::load::Loaded;
use crate::location::{Database, Storage};
use crate::mode::Mode;
use crate::reader::suggestion;
#[cfg(any(feature = "mysql", feature = "postgres"))]
use crate::server::server_options;
use crate::settings::{BinaryHandler, DEFAULT_HANDLER, Handlers, MetadataHandler, SqlHandler};

/// Both handlers of a store, opened.
#[derive(Debug, Clone)]
pub struct Side {
    /// The metadata handler.
    pub metadata: Arc<dyn MetadataStore>,
    /// The binarydata handler.
    pub binary: Opened,
}

/// Opens a metadata and a binarydata handler that belong together.
///
/// # Errors
/// As [`open_binary`] and [`open_metadata`].
pub async fn open_side(
    loaded: &Loaded,
    metadata: &str,
    binarydata: &str,
    clock: &Arc<dyn Clock>,
) -> Result<Side> {
    let binary = open_binary(loaded, binarydata).await?;
    let metadata = open_metadata(loaded, metadata, (binarydata, &binary), clock).await?;
    Ok(Side { metadata, binary })
}

/// Opens a binarydata handler. A directory in the data directory is made when it is missing; any
/// other one must exist, because it may be a mount point that is not mounted.
///
/// # Errors
/// [`ErrorKind::Config`] for a name that is not configured, a handler that is not in this build,
/// or a root that cannot be used; else what the store says.
pub async fn open_binary(loaded: &Loaded, name: &str) -> Result<Opened> {
    if name == DEFAULT_HANDLER {
        let key = "store.default_root";
        let Some(root) = &loaded.settings.store.default_root else {
            return Err(loaded
                .problem(
                    key,
                    "the binarydata handler `default` needs a directory",
                    "add `default_root = \"/absolute/directory\"` to [store]",
                )
                .into());
        };
        let opened = open_url(&file_url(root), &LocalOptions::default()).await;
        return opened.map_err(|e| loaded.at(key, e));
    }
    let key = format!("binarydata_handlers.{name}.url");
    let handlers = &loaded.settings.binarydata_handlers;
    let handler = find(loaded, handlers, "binarydata_handlers", name)?;
    let opened = match &handler.url.storage {
        Storage::File(root) => {
            let create_root = in_data_dir(loaded, root).await?;
            open_url(&file_url(root), &local_options(handler, create_root)).await
        }
        Storage::Memory(_) => open_url(handler.url.as_str(), &LocalOptions::default()).await,
        #[cfg(feature = "cloud")]
        // Boxed: it is deep, and not what most handlers need.
        _ => Box::pin(crate::cloud::open(loaded, name, handler)).await,
        #[cfg(not(feature = "cloud"))]
        other => return Err(crate::check::no_storage(loaded, name, other).into()),
    };
    opened.map_err(|e| loaded.at(&key, e))
}

/// Opens a metadata handler. `side` is the binarydata handler it stands beside, with its name:
/// what is derived from the same objects uses the same store.
///
/// # Errors
/// [`ErrorKind::Config`] for a name that is not configured or a handler that is not in this build;
/// else what the database or the store says.
pub async fn open_metadata(
    loaded: &Loaded,
    name: &str,
    side: (&str, &Opened),
    clock: &Arc<dyn Clock>,
) -> Result<Arc<dyn MetadataStore>> {
    let (beside, binary) = side;
    let derived = |objects: &Opened| -> Arc<dyn MetadataStore> {
        Arc::new(ObjectsMetadata::new(objects, names(loaded), Arc::clone(clock)))
    };
    if name == DEFAULT_HANDLER {
        return Ok(derived(binary));
    }
    let handlers = &loaded.settings.metadata_handlers;
    match find(loaded, handlers, "metadata_handlers", name)? {
        MetadataHandler::Objects { objects } if objects == beside => Ok(derived(binary)),
        MetadataHandler::Objects { objects } => Ok(derived(&open_binary(loaded, objects).await?)),
        MetadataHandler::Sql(handler) => open_sql(loaded, name, handler, clock).await,
    }
}

#[cfg_attr(not(feature = "sqlite"), expect(unused_variables))]
async fn open_sql(
    loaded: &Loaded,
    name: &str,
    handler: &SqlHandler,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<dyn MetadataStore>> {
    // Boxed: these futures are as deep as the drivers, and callers would nest them further.
    let opened: Result<Arc<dyn MetadataStore>> = match &handler.url.database {
        #[cfg(feature = "sqlite")]
        Database::Sqlite(file) => {
            in_data_dir(loaded, file).await?;
            open_sqlite(loaded, handler, file, clock).await
        }
        #[cfg(feature = "mysql")]
        Database::Mysql(url) => {
            let options = server_options(loaded, name, handler, url)?;
            Box::pin(ezdfs_metadata::mysql::open(options)).await
        }
        #[cfg(feature = "postgres")]
        Database::Postgres(url) => {
            let options = server_options(loaded, name, handler, url)?;
            Box::pin(ezdfs_metadata::postgres::open(options)).await
        }
        #[cfg(not(all(feature = "sqlite", feature = "mysql", feature = "postgres")))]
        other => {
            let problem = no_database(loaded, name, other);
            Err(Error::new(ErrorKind::Config, format!("{}; {}", problem.message, problem.fix)))
        }
    };
    opened.map_err(|e| loaded.at(&format!("metadata_handlers.{name}.url"), e))
}

#[cfg(feature = "sqlite")]
async fn open_sqlite(
    loaded: &Loaded,
    handler: &SqlHandler,
    file: &Path,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<dyn MetadataStore>> {
    use ezdfs_metadata::{SqliteMetadata, SqliteOptions};

    let options = SqliteOptions {
        table: handler.table.clone(),
        prefix: NamePrefix::new(&handler.name_prefix),
        busy_timeout: loaded.settings.store.io_timeout,
        ..SqliteOptions::default()
    };
    Ok(Arc::new(SqliteMetadata::open(file, options, Arc::clone(clock)).await?))
}

fn find<'a, T>(
    loaded: &Loaded,
    handlers: &'a Handlers<T>,
    section: &str,
    name: &str,
) -> Result<&'a T> {
    handlers.get(name).ok_or_else(|| {
        let known: Vec<&str> = handlers.names().collect();
        let message = format!("there is no handler `{name}`");
        loaded.problem(section, message, suggestion(name, &known)).into()
    })
}

fn local_options(handler: &BinaryHandler, create_root: bool) -> LocalOptions {
    LocalOptions {
        fsync: handler.fsync.unwrap_or(true),
        file_mode: handler.file_mode.unwrap_or(Mode::FILE).bits(),
        dir_mode: handler.dir_mode.unwrap_or(Mode::DIR).bits(),
        create_root,
    }
}

/// The names that derived files have: those of the first table, so that both say the same.
fn names(loaded: &Loaded) -> NamePrefix {
    let first = loaded.settings.metadata_handlers.iter().find_map(|(_, handler)| match handler {
        MetadataHandler::Sql(sql) => Some(&*sql.name_prefix),
        MetadataHandler::Objects { .. } => None,
    });
    NamePrefix::new(first.unwrap_or(SqlHandler::NAME_PREFIX))
}

/// Whether `path` lies in the data directory; then what stands above it is made.
async fn in_data_dir(loaded: &Loaded, path: &Path) -> Result<bool> {
    let Ok(below) = path.strip_prefix(&loaded.data_dir) else { return Ok(false) };
    let above = loaded.data_dir.join(below.parent().unwrap_or(Path::new("")));
    tokio::fs::create_dir_all(&above).await.map_err(|e| {
        let message = format!(
            "the data directory {} cannot be made; name another one with --data-dir",
            above.display()
        );
        Error::new(ErrorKind::Config, message).with_source(e)
    })?;
    Ok(true)
}
