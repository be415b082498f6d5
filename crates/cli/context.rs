//! What every command starts from: the global options, the settings, the open store.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use ezdfs_binarydata::LocalStore;
use ezdfs_config::{Loaded, Settings, Side, Sources, load, open_side};
use ezdfs_core::{Clock, Error, ErrorKind, OsEntropy, Result, SystemClock};
use ezdfs_engine::{BinaryStore, FileService, Options, Parts};

use crate::logging::LogFormat;

/// Name of the one store that a configuration has.
const STORE: &str = "default";

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
    /// Settings.
    pub(crate) loaded: Loaded,
}

impl Store {
    pub(crate) fn settings(&self) -> &Settings {
        &self.loaded.settings
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
        loaded: loaded.clone(),
    }
}
