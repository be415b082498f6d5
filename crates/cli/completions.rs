//! `ezdfs completions` and `ezdfs man`: both are made from the command line's own definition.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use ezdfs_core::{Error, ErrorKind};

use crate::Cli;
use crate::out::Out;
use crate::outcome::{Outcome, Result, failure};

const AFTER_COMPLETIONS: &str = "\
Examples:
  ezdfs completions bash > /etc/bash_completion.d/ezdfs
  ezdfs completions zsh > \"${fpath[1]}/_ezdfs\"";

const AFTER_MAN: &str = "\
Examples:
  ezdfs man | man -l -
  ezdfs man put > ezdfs-put.1";

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = AFTER_COMPLETIONS)]
pub(crate) struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Print the manual page (roff)
#[derive(Debug, Args)]
#[command(after_help = AFTER_MAN)]
pub(crate) struct ManArgs {
    /// Of this command, e.g. `put` or `trash ls`; of ezdfs as a whole if none is given
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
}

pub(crate) fn completions(args: &CompletionsArgs) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "ezdfs", &mut script);
    print(&script)
}

pub(crate) fn man(args: &ManArgs) -> Result {
    let mut page = Vec::new();
    clap_mangen::Man::new(command(&args.command)?)
        .render(&mut page)
        .map_err(|e| Error::new(ErrorKind::Internal, "the page cannot be made").with_source(e))?;
    print(&page)
}

/// The (sub)command of that name. Building it has named it as its page is: `ezdfs-trash-ls`.
fn command(names: &[String]) -> Result<clap::Command> {
    let mut command = Cli::command();
    command.build();
    for name in names {
        let Some(found) = command.find_subcommand(name) else {
            return Err(failure(ErrorKind::Usage, format!("there is no command `{name}`")));
        };
        command = found.clone();
    }
    Ok(command)
}

fn print(bytes: &[u8]) -> Result {
    let mut out = Out::new();
    out.bytes(bytes)?;
    out.flush()?;
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_named_after_their_command() {
        let names = |s: &str| s.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(command(&[]).unwrap().get_name(), "ezdfs");
        assert_eq!(command(&names("trash ls")).unwrap().get_display_name(), Some("ezdfs-trash-ls"));
        assert!(command(&names("nonsense")).is_err());
    }
}
