//! The schema of the embedded database.

use std::path::PathBuf;
use std::sync::Arc;

use ezdfs_config::{Loaded, SqlHandler};
use ezdfs_core::{Error, ErrorKind, MetadataStore as _, NamePrefix, SystemClock};
use ezdfs_metadata::{SqliteMetadata, SqliteOptions, sqlite};

use super::{Feed, Found};
use crate::out::Out;
use crate::outcome::{Result, failure};

/// A database in a file.
pub(super) struct Target {
    file: PathBuf,
    data_dir: PathBuf,
    options: SqliteOptions,
}

impl Target {
    pub(super) fn new(loaded: &Loaded, handler: &SqlHandler, file: PathBuf) -> Self {
        let options = SqliteOptions {
            table: handler.table.clone(),
            prefix: NamePrefix::new(&handler.name_prefix),
            busy_timeout: loaded.settings.store.io_timeout,
            ..SqliteOptions::default()
        };
        Self { file, data_dir: loaded.data_dir.clone(), options }
    }

    pub(super) async fn install(self, feed: Feed, out: &mut Out) -> Result<()> {
        if feed == Feed::Scan {
            let why = "SQLite always allows triggers; leave --feed out";
            return Err(failure(ErrorKind::Usage, why));
        }
        if self.file.starts_with(&self.data_dir)
            && let Some(dir) = self.file.parent()
        {
            std::fs::create_dir_all(dir).map_err(|e| {
                let what = format!("cannot make the data directory {}", dir.display());
                Error::new(ErrorKind::Config, what).with_source(e)
            })?;
        }
        let store = SqliteMetadata::open(&self.file, self.options, Arc::new(SystemClock)).await?;
        out.line(&format!("{}: installed", store.describe()))
    }

    pub(super) async fn check(self, name: &str) -> Result<Found> {
        let findings = sqlite::check(&self.file, &self.options.table).await?;
        Ok(Found {
            handler: name.to_owned(),
            place: format!("sqlite {}, table {}", self.file.display(), self.options.table),
            installed: !findings.not_installed,
            problems: findings.lines,
            notes: Vec::new(),
        })
    }

    pub(super) async fn uninstall(self, force: bool) -> Result<Vec<String>> {
        let dropped = sqlite::uninstall(&self.file, force).await?;
        Ok(dropped.into_iter().map(str::to_owned).collect())
    }
}
