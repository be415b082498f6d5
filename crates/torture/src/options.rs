//! The command line.

use std::fmt;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use ezdfs_core::{Clock as _, SystemClock};

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
    #[arg(long, value_enum, default_value_t = Store::Mariadb)]
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
    Mariadb,
    #[value(name = "postgres+local")]
    Postgres,
    #[value(name = "sqlite+local")]
    Sqlite,
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mariadb => "mariadb+local",
            Self::Postgres => "postgres+local",
            Self::Sqlite => "sqlite+local",
        })
    }
}

/// Short enough to be typed.
fn drawn() -> u64 {
    SystemClock.now().nanos().unsigned_abs() / 1_000 % 1_000_000
}
