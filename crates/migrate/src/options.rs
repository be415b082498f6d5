//! What a run is asked to do.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ezdfs_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::filter::Filter;
use ezdfs_engine::throttle::Rate;

/// Ibexa's `--bulk-count`.
pub const DEFAULT_BULK_COUNT: usize = 100;
/// Most entries that one page of a lister holds, whatever `--bulk-count` says: the memory of a run
/// does not depend on the number of files.
pub const MAX_PAGE: usize = 10_000;
/// Most files in flight.
pub const MAX_JOBS: usize = 256;

/// `--verify`: how a copy is checked, and how an existing target is compared (see [`crate`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// The answer of the store is believed.
    None,
    /// The size of the target object is asked for.
    Size,
    /// The target object is read back and its SHA-256 compared.
    #[default]
    Sha256,
}

/// `--source`: where the list of files comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceMode {
    /// The objects of the source's binarydata handler.
    Tree,
    /// The rows of the source's metadata handler.
    Table,
    /// Ibexa's content tables.
    Ibexa,
}

macro_rules! from_words {
    ($name:ident, $option:literal, $($word:literal => $value:ident),+) => {
        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                match text {
                    $($word => Ok(Self::$value),)+
                    _ => Err(Error::new(
                        ErrorKind::Usage,
                        format!(
                            concat!($option, " takes one of", $(" `", $word, "`",)+ "; `{}` is something else"),
                            text
                        ),
                    )),
                }
            }
        }

        impl $name {
            /// As on the command line.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $word,)+
                }
            }
        }
    };
}
from_words!(Verify, "--verify", "none" => None, "size" => Size, "sha256" => Sha256);
from_words!(SourceMode, "--source", "tree" => Tree, "table" => Table, "ibexa" => Ibexa);

/// What a run is asked to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the list of files comes from; `None`: the table when the source's metadata handler
    /// keeps rows, else the tree.
    pub source: Option<SourceMode>,
    /// Walk, compare and report, but write nothing. Uses no journal file.
    pub dry_run: bool,
    /// Files per page of the lister, above zero; at most [`MAX_PAGE`] have an effect.
    pub bulk_count: usize,
    /// Files in flight at the same time, above zero, at most [`MAX_JOBS`].
    pub jobs: usize,
    /// How copies are checked.
    pub verify: Verify,
    /// Forget an unfinished journal and start from the beginning.
    pub restart: bool,
    /// The journal file; its directory is made when missing. Required unless `dry_run`.
    pub journal: Option<PathBuf>,
    /// Which files.
    pub filter: Filter,
    /// Where the combined report goes at the end: one line per file of all resumed runs.
    pub report: Option<PathBuf>,
    /// Delete each source file after its copy was verified and journalled.
    pub delete_source: bool,
    /// Limit for all bytes that the run reads, from either side.
    pub bwlimit: Option<Rate>,
    /// Stop at the first file that fails.
    pub fail_fast: bool,
    /// Pauses before a file is tried again whose failure may pass
    /// ([`ErrorKind::is_transient`]): as many tries more as there are pauses.
    pub retry_pauses: Vec<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            source: None,
            dry_run: false,
            bulk_count: DEFAULT_BULK_COUNT,
            jobs: default_jobs(),
            verify: Verify::default(),
            restart: false,
            journal: None,
            filter: Filter::default(),
            report: None,
            delete_source: false,
            bwlimit: None,
            fail_fast: false,
            retry_pauses: vec![
                Duration::from_millis(200),
                Duration::from_secs(1),
                Duration::from_secs(5),
            ],
        }
    }
}

impl Options {
    /// What cannot be combined.
    pub(crate) fn check(&self) -> Result<()> {
        let usage = |text: String| Err(Error::new(ErrorKind::Usage, text));
        if self.bulk_count == 0 {
            return usage("--bulk-count must be a positive integer".to_owned());
        }
        if !(1..=MAX_JOBS).contains(&self.jobs) {
            return usage(format!("--jobs must lie between 1 and {MAX_JOBS}"));
        }
        if self.delete_source && self.verify == Verify::None {
            return usage(
                "--delete-source needs verified copies; leave out `--verify none`".to_owned(),
            );
        }
        if !self.dry_run && self.journal.is_none() {
            return usage("a migration needs a journal; name one with --journal".to_owned());
        }
        Ok(())
    }

    /// Entries per page of the lister.
    pub(crate) fn page(&self) -> usize {
        self.bulk_count.clamp(1, MAX_PAGE)
    }
}

/// Four files per processor core, at most eight: small files wait for the disk or the network most
/// of the time, and more than eight in flight load a shared store without being faster.
#[must_use]
pub fn default_jobs() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    cores.saturating_mul(4).min(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_parse_and_others_are_refused_with_the_choices() {
        assert_eq!("size".parse::<Verify>().unwrap(), Verify::Size);
        assert_eq!(Verify::default().as_str(), "sha256");
        assert_eq!("ibexa".parse::<SourceMode>().unwrap(), SourceMode::Ibexa);
        let e = "md5".parse::<Verify>().unwrap_err();
        assert!(e.message().contains("--verify takes one of `none` `size` `sha256`; `md5`"), "{e}");
    }

    #[test]
    fn deleting_unverified_sources_is_refused() {
        let options = Options { journal: Some("j".into()), ..Options::default() };
        assert!(options.check().is_ok());
        let unverified = Options { delete_source: true, verify: Verify::None, ..options.clone() };
        assert_eq!(unverified.check().unwrap_err().kind(), ErrorKind::Usage);
        for jobs in [0, MAX_JOBS + 1] {
            assert!(Options { jobs, ..options.clone() }.check().is_err());
        }
        assert!(Options { bulk_count: 0, ..options.clone() }.check().is_err());
        assert!(Options { journal: None, ..options }.check().is_err());
    }
}
