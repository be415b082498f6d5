//! The schema of a database on a server.

use ezdfs_core::Error;
use ezdfs_metadata::ServerOptions;
use ezdfs_metadata::server::{FeedChoice, FeedKind, InstallStep};

use super::{Feed, Found};
use crate::out::Out;
use crate::outcome::Result;
use crate::progress::{Progress, Unit};

/// A database on a server.
pub(super) enum Target {
    #[cfg(feature = "mysql")]
    Mysql(ServerOptions),
    #[cfg(feature = "postgres")]
    Postgres(ServerOptions),
}

impl Target {
    /// For people, without secrets.
    fn place(&self) -> String {
        let (kind, options) = match self {
            #[cfg(feature = "mysql")]
            Self::Mysql(options) => ("mysql", options),
            #[cfg(feature = "postgres")]
            Self::Postgres(options) => ("postgres", options),
        };
        format!("{kind} {}, table {}", options.place(), options.table)
    }

    pub(super) async fn install(self, feed: Feed, quiet: bool, out: &mut Out) -> Result<()> {
        let choice = match feed {
            Feed::Auto => FeedChoice::Auto,
            Feed::Trigger => FeedChoice::Trigger,
            Feed::Scan => FeedChoice::Scan,
        };
        let mut watch = Watch::new(quiet);
        let mut show = |step| watch.show(step);
        let installed = match &self {
            #[cfg(feature = "mysql")]
            Self::Mysql(options) => {
                ezdfs_metadata::mysql::install(options, choice, &mut show).await?
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(options) => {
                ezdfs_metadata::postgres::install(options, choice, &mut show).await?
            }
        };
        watch.clear();
        for what in &installed.made {
            out.line(&format!("made {what}"))?;
        }
        if installed.backfilled > 0 {
            out.line(&format!("{} rows of before have their entries", installed.backfilled))?;
        }
        for warning in &installed.warnings {
            out.line(&format!("NOTE: {warning}"))?;
        }
        let feed = match installed.feed {
            FeedKind::Trigger => "triggers tell of changes by other programs",
            FeedKind::Scan => "changes by other programs are found by scans (degraded)",
        };
        out.line(&format!("{}: installed; {feed}", self.place()))
    }

    pub(super) async fn check(self, name: &str) -> Result<Found, Error> {
        let findings = match &self {
            #[cfg(feature = "mysql")]
            Self::Mysql(options) => ezdfs_metadata::mysql::check(options).await?,
            #[cfg(feature = "postgres")]
            Self::Postgres(options) => ezdfs_metadata::postgres::check(options).await?,
        };
        Ok(Found {
            handler: name.to_owned(),
            place: self.place(),
            installed: !findings.not_installed,
            problems: findings.problems().map(ToString::to_string).collect(),
            notes: findings.notes().map(ToString::to_string).collect(),
        })
    }

    pub(super) async fn uninstall(self, force: bool) -> Result<Vec<String>, Error> {
        match &self {
            #[cfg(feature = "mysql")]
            Self::Mysql(options) => ezdfs_metadata::mysql::uninstall(options, force).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(options) => ezdfs_metadata::postgres::uninstall(options, force).await,
        }
    }
}

/// Shows how far an installation is.
struct Watch {
    quiet: bool,
    rows: Option<Progress>,
    /// What was waited for when it was last told.
    waiting: String,
}

impl Watch {
    fn new(quiet: bool) -> Self {
        Self { quiet, rows: None, waiting: String::new() }
    }

    fn show(&mut self, step: InstallStep) {
        match step {
            InstallStep::Backfill { done, total } => match &mut self.rows {
                Some(rows) => rows.set(done),
                rows => {
                    let first =
                        Progress::new("entries", Unit::Many("rows"), Some(total), self.quiet);
                    rows.insert(first).resume(done);
                }
            },
            InstallStep::Waiting { what } => {
                if !self.quiet && what != self.waiting {
                    crate::say::note(&format!(
                        "ezdfs: cannot {what} while others use it; it is tried again"
                    ));
                }
                self.waiting = what;
            }
            InstallStep::Scan => {
                if !self.quiet {
                    crate::say::note("ezdfs: looking for changes that no trigger told of");
                }
            }
            // Told at the end.
            InstallStep::Made(_) => {}
        }
    }

    fn clear(&self) {
        if let Some(rows) = &self.rows {
            rows.clear();
        }
    }
}
