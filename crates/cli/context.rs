//! What every command starts from: the global options, the settings, the open store.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use ezdfs_binarydata::LocalStore;
use ezdfs_cache::FileCache;
use ezdfs_config::{Loaded, Settings, Side, Sources, load, open_side};
use ezdfs_core::{Clock, Error, ErrorKind, OsEntropy, Result, SystemClock};
use ezdfs_engine::{BinaryStore, FileService, Options, Parts};

use crate::logging::LogFormat;

/// Name of the one store that a configuration has.
const STORE: &str = "default";
/// Foreign changes of one transaction, and transactions, that are settled before files are read.
const SETTLE_AT_ONCE: u32 = 1_000;
const SETTLE_STEPS: u32 = 64;

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Configuration file [else $EZDFS_CONFIG, ./ezdfs.toml, /etc/ezdfs/ezdfs.toml]
    #[arg(long, value_name = "FILE", global = true, help_heading = "Global options")]
    config: Option<PathBuf>,
    /// Data directory of the embedded default [else $EZDFS_DATA_DIR, ./ezdfs-data]
    #[arg(long, value_name = "DIR", global = true, help_heading = "Global options")]
    data_dir: Option<PathBuf>,
    /// Which store, with several configured; a single one is called `default`
    #[arg(long, value_name = "NAME", global = true, help_heading = "Global options")]
    store: Option<String>,
    /// Form of the log on stderr, text or json; $EZDFS_LOG is a filter, e.g. `ezdfs=debug`
    #[arg(
        long,
        value_name = "FORMAT",
        global = true,
        value_enum,
        default_value_t,
        hide_possible_values = true,
        help_heading = "Global options"
    )]
    pub(crate) log_format: LogFormat,
    /// Log more; twice for debugging
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Global options")]
    pub(crate) verbose: u8,
    /// Log errors only and show no progress; twice for no log at all
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Global options")]
    pub(crate) quiet: u8,
}

/// What every command starts from.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    sources: Sources,
    store: Option<String>,
    /// No progress.
    pub(crate) quiet: bool,
    /// More results, where a command shortens them.
    pub(crate) verbose: bool,
}

/// An open store with its settings.
#[derive(Debug)]
pub(crate) struct Store {
    /// The file operations.
    pub(crate) service: FileService,
    /// The local store behind it, when the bytes are local.
    pub(crate) local: Option<Arc<LocalStore>>,
    /// The cloud behind it, when it is one.
    #[cfg(any(feature = "aws", feature = "gcp", feature = "azure"))]
    cloud: Option<ezdfs_binarydata::Cloud>,
    /// Settings.
    pub(crate) loaded: Loaded,
}

impl Store {
    pub(crate) fn settings(&self) -> &Settings {
        &self.loaded.settings
    }

    /// Makes URLs by which anyone may read an object for a while; `None` for a store that cannot.
    #[cfg(any(feature = "aws", feature = "gcp", feature = "azure"))]
    pub(crate) fn signer(&self) -> Option<ezdfs_http::Sign> {
        let cloud = Arc::new(self.cloud.clone()?);
        let binary = self.service.binary().clone();
        Some(Arc::new(move |path, life| {
            let (cloud, binary) = (Arc::clone(&cloud), binary.clone());
            Box::pin(async move { cloud.sign(&binary.key(&path)?, life).await })
        }))
    }

    /// No store of this build can.
    #[cfg(not(any(feature = "aws", feature = "gcp", feature = "azure")))]
    #[expect(clippy::unused_self, reason = "other builds need it")]
    pub(crate) fn signer(&self) -> Option<ezdfs_http::Sign> {
        None
    }

    /// The store with its bytes cached on disk, if the settings want that: for those who read, and
    /// not for those who compare.
    pub(crate) fn with_file_cache(mut self) -> Self {
        let settings = self.settings();
        let name = &self.service.binary().name;
        let storage = settings.binarydata_handlers.get(name).map(|handler| &handler.url.storage);
        let cache = &settings.cache;
        if cache.enabled.applies(storage) {
            let options = ezdfs_cache::Options {
                dir: cache.dir.clone(),
                size: cache.size.0,
                min_free: cache.min_free.0,
            };
            let clock = Arc::clone(self.service.clock());
            let cache = FileCache::new(options, clock, Arc::new(OsEntropy));
            self.service = self.service.with_file_cache(cache);
        }
        self
    }
}

impl Context {
    pub(crate) fn new(global: &Global) -> Self {
        Self {
            sources: Sources::of_process(global.config.clone(), global.data_dir.clone()),
            store: global.store.clone(),
            quiet: global.quiet > 0,
            verbose: global.verbose > 0,
        }
    }

    /// Where settings are looked for.
    #[cfg(feature = "demo")]
    pub(crate) fn sources(&self) -> &Sources {
        &self.sources
    }

    /// The settings.
    ///
    /// # Errors
    /// Every problem of the configuration, with key, line and fix; or a store that is not there.
    pub(crate) fn load(&self) -> Result<Loaded> {
        let loaded = load(&self.sources)?;
        match &self.store {
            Some(name) if name != STORE => Err(Error::new(
                ErrorKind::Usage,
                format!(
                    "there is no store `{name}`: one store is configured, and it is called \
                     `{STORE}`; leave --store out"
                ),
            )),
            _ => Ok(loaded),
        }
    }
    /// The store of the settings, opened.
    ///
    /// # Errors
    /// As [`Self::load`], or what a handler says.
    pub(crate) async fn open(&self) -> Result<Store> {
        self.open_loaded(&self.load()?).await
    }

    /// The store of these settings, opened.
    ///
    /// # Errors
    /// What a handler says.
    pub(crate) async fn open_loaded(&self, loaded: &Loaded) -> Result<Store> {
        let store = &loaded.settings.store;
        open_handlers(loaded, &store.metadata, &store.binarydata).await
    }

    /// Another pair of handlers of these settings, opened.
    ///
    /// # Errors
    /// What a handler says.
    pub(crate) async fn open_pair(
        &self,
        loaded: &Loaded,
        metadata: &str,
        binarydata: &str,
    ) -> Result<Store> {
        open_handlers(loaded, metadata, binarydata).await
    }

    /// The store of the settings, opened to read a few files. What PHP changed is settled first:
    /// nobody else may be there to do it, and the cache on disk hears of an overwrite of the same
    /// size in the same second by that alone.
    ///
    /// # Errors
    /// As [`Self::open`], or a database error.
    pub(crate) async fn open_to_read(&self) -> Result<Store> {
        let store = self.open().await?.with_file_cache();
        let metadata = store.service.metadata();
        if store.service.file_cache().is_some() && metadata.is_separate() {
            let mut steps = 0;
            while steps < SETTLE_STEPS && metadata.materialise(SETTLE_AT_ONCE).await?.more {
                steps += 1;
            }
        }
        Ok(store)
    }
}

/// The file operations on a pair of handlers.
///
/// # Errors
/// What a handler says.
pub(crate) async fn open_handlers(
    loaded: &Loaded,
    metadata: &str,
    binarydata: &str,
) -> Result<Store> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let side = open_side(loaded, metadata, binarydata, &clock).await?;
    Ok(on_handlers(loaded, binarydata, side, clock))
}

/// The file operations on handlers that are open; `binarydata` is the name of one of them.
pub(crate) fn on_handlers(
    loaded: &Loaded,
    binarydata: &str,
    side: Side,
    clock: Arc<dyn Clock>,
) -> Store {
    let store = &loaded.settings.store;
    let binary = BinaryStore {
        name: binarydata.to_owned(),
        store: side.binary.store,
        prefix: side.binary.prefix,
        capabilities: side.binary.capabilities,
        side: side.binary.side,
        io_timeout: store.io_timeout,
    };
    let options = Options {
        delete_grace: store.delete_grace,
        trash: store.trash,
        io_timeout: store.io_timeout,
        rename_dir_max: store.rename_dir_max,
        ..Options::default()
    };
    let parts = Parts { metadata: side.metadata, binary, clock, entropy: Arc::new(OsEntropy) };
    Store {
        service: FileService::new(parts, options),
        local: side.binary.local,
        #[cfg(any(feature = "aws", feature = "gcp", feature = "azure"))]
        cloud: side.binary.cloud,
        loaded: loaded.clone(),
    }
}
