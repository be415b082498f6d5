//! `ezdfs config`

use clap::{Args, Subcommand};
use ezdfs_core::{Error, ErrorKind};

use crate::context::Context;
use crate::out::Out;
use crate::outcome::{Outcome, Result};

const AFTER: &str = "\
A problem names the file and line (or the environment variable), the key, and the fix; exit
code 2. Every key can be set by a variable: EZDFS__STORE__TRASH=1h sets `trash` in [store].

Examples:
  ezdfs config check
  ezdfs --config /etc/ezdfs/ezdfs.toml config show";

/// Check or show the configuration
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Check every key, every secret, and whether this build knows every handler
    Check,
    /// Show the settings in force, where each comes from, with secrets masked
    Show {
        /// One JSON object in the form of the file
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(args: &ConfigArgs, context: &Context) -> Result {
    let loaded = context.load()?;
    let mut out = Out::new();
    match args.command {
        ConfigCommand::Check => {
            let problems = ezdfs_config::check::check(&loaded);
            if !problems.is_empty() {
                return Err(Error::from(ezdfs_config::Problems(problems)).into());
            }
            match &loaded.file {
                Some(file) => out.line(&format!("{}: no problems", file.display()))?,
                None => {
                    out.line("no configuration file, and no problems: defaults are in force")?
                }
            }
        }
        ConfigCommand::Show { json: true } => out.json(&loaded.settings)?,
        ConfigCommand::Show { json: false } => {
            let text = ezdfs_config::show::show(&loaded).map_err(|e| {
                Error::new(ErrorKind::Internal, "the settings cannot be written").with_source(e)
            })?;
            out.text(&text)?;
        }
    }
    out.flush()?;
    Ok(Outcome::Done)
}
