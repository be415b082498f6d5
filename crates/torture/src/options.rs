//! The command line.

use std::fmt;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use ezdfs_core::{Clock as _, SystemClock};
use ezdfs_testkit::servers::ServerKind;

/// Torments nodes of ezdfs, and checks what they did
#[derive(Debug, Parser)]
#[command(name = "scripts/torture")]
pub(crate) struct Options {
    /// How long, without the end
    #[arg(long, default_value_t = 1.0)]
    pub(crate) minutes: f64,
    /// What is done and broken is drawn from it [else drawn anew, and printed]
    #[arg(long, default_value_t = drawn())]
    pub(crate) seed: u64,
    /// Where rows and bytes are
    #[arg(long, value_enum, default_value_t = Store::MariadbLocal)]
    pub(crate) store: Store,
    /// The program under test
    #[arg(long)]
    pub(crate) ezdfs: PathBuf,
    /// Where history and logs of a failed run are kept
    #[arg(long, default_value = "target/torture")]
    pub(crate) keep: PathBuf,
}

/// Pairs of handlers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Store {
    #[value(name = "mariadb+local")]
    MariadbLocal,
    #[value(name = "postgres+local")]
    PostgresLocal,
    #[value(name = "sqlite+local")]
    SqliteLocal,
    #[value(name = "mariadb+s3")]
    MariadbS3,
    #[value(name = "postgres+s3")]
    PostgresS3,
    #[value(name = "mariadb+s3-plain")]
    MariadbS3Plain,
    #[value(name = "postgres+s3-plain")]
    PostgresS3Plain,
}

/// Where bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bytes {
    Local,
    /// A store that honours conditional requests.
    S3,
    /// One that accepts them and ignores their conditions.
    S3Plain,
}

impl Store {
    /// `None` for the file of the embedded default.
    pub(crate) fn database(self) -> Option<ServerKind> {
        match self {
            Self::MariadbLocal | Self::MariadbS3 | Self::MariadbS3Plain => {
                Some(ServerKind::Mariadb)
            }
            Self::PostgresLocal | Self::PostgresS3 | Self::PostgresS3Plain => {
                Some(ServerKind::Postgres)
            }
            Self::SqliteLocal => None,
        }
    }

    pub(crate) fn bytes(self) -> Bytes {
        match self {
            Self::MariadbLocal | Self::PostgresLocal | Self::SqliteLocal => Bytes::Local,
            Self::MariadbS3 | Self::PostgresS3 => Bytes::S3,
            Self::MariadbS3Plain | Self::PostgresS3Plain => Bytes::S3Plain,
        }
    }
}

/// As on the command line.
impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// Short enough to be typed.
fn drawn() -> u64 {
    SystemClock.now().nanos().unsigned_abs() / 1_000 % 1_000_000
}
