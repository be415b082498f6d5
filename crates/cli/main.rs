//! The command line of ezdfs: one file per command.
//!
//! Results go to stdout and everything else to stderr. [`outcome`] is the one place that turns an
//! end into an exit code; [`context`] opens the store; [`out`] and [`say`] write; [`paths`] and
//! [`when`] parse what users type; [`walk`] lists trees in constant memory.

mod bench;
mod cat;
mod completions;
mod config;
mod context;
mod cp;
#[cfg(feature = "demo")]
mod demo;
mod du;
mod fsck;
mod gc;
mod get;
mod listing;
mod logging;
mod ls;
mod maintenance;
mod membership;
mod migrate;
mod mkdir;
mod mv;
mod notify;
mod out;
mod outcome;
mod panic;
mod paths;
mod progress;
mod put;
mod rm;
mod say;
mod schema;
mod serve;
mod signals;
mod size;
mod stat;
mod status;
mod stream;
#[cfg(test)]
mod testing;
mod touch;
mod trash;
mod tree;
mod walk;
mod warmup;
mod watch;
mod when;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use ezdfs_core::{Error, ErrorKind};

use crate::context::{Context, Global};
use crate::outcome::{Failure, Result, failure};

/// How long work in the background may go on after the command itself has ended.
const LEFTOVERS: Duration = Duration::from_secs(2);

const AFTER: &str = "\
Paths are relative to the store, without a leading slash: images/1/2/a.jpg. The root is `/`.

Without a configuration file everything is kept in ./ezdfs-data (SQLite and plain files).

Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 done in part (each failure is
named), 4 a check found problems.

Examples:
  ezdfs put photo.jpg images/1/2/photo.jpg
  ezdfs ls -l images/1/2
  ezdfs serve --listen 127.0.0.1:8080
  ezdfs migrate-files --from default,default --to dfs,nfs --dry-run";

/// One consistent file store for a cluster of web nodes
#[derive(Debug, Parser)]
#[command(name = "ezdfs", version, after_help = AFTER, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "demo")]
    Demo(demo::DemoArgs),
    Serve(serve::ServeArgs),
    Put(put::PutArgs),
    Get(get::GetArgs),
    Cat(cat::CatArgs),
    Ls(ls::LsArgs),
    Stat(stat::StatArgs),
    Cp(cp::CpArgs),
    Mv(mv::MvArgs),
    Rm(rm::RmArgs),
    Touch(touch::TouchArgs),
    Du(du::DuArgs),
    Mkdir(mkdir::MkdirArgs),
    Rmdir(mkdir::RmdirArgs),
    Trash(trash::TrashArgs),
    Watch(watch::WatchArgs),
    MigrateFiles(Box<migrate::MigrateArgs>),
    Schema(schema::SchemaArgs),
    Fsck(fsck::FsckArgs),
    Gc(gc::GcArgs),
    Warmup(warmup::WarmupArgs),
    Bench(bench::BenchArgs),
    Status(status::StatusArgs),
    Config(config::ConfigArgs),
    Completions(completions::CompletionsArgs),
    Man(completions::ManArgs),
}

impl Command {
    /// The verbosity of the log without -v and -q: see [`logging`].
    fn verbosity(&self) -> i16 {
        i16::from(matches!(self, Self::Serve(_)))
    }

    /// Whether the command ends by itself, and cleanly, when a signal comes.
    fn minds_signals(&self) -> bool {
        #[cfg(feature = "demo")]
        if matches!(self, Self::Demo(_)) {
            return true;
        }
        matches!(self, Self::Serve(_) | Self::Watch(_) | Self::Bench(_) | Self::MigrateFiles(_))
    }
}

fn main() -> ExitCode {
    panic::install_hook();
    let cli = Cli::parse();
    let started = logging::start(
        cli.global.log_format,
        cli.command.verbosity(),
        cli.global.verbose,
        cli.global.quiet,
    );
    let result = match started {
        Ok(()) => with_runtime(cli),
        Err(e) => Err(failure(ErrorKind::Usage, e)),
    };
    outcome::exit_code(&result)
}

fn with_runtime(cli: Cli) -> Result {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| {
            Error::new(ErrorKind::Internal, "cannot start the worker threads").with_source(e)
        })?;
    // The hook has told the panic.
    let run = std::panic::AssertUnwindSafe(|| runtime.block_on(until_signal(cli)));
    let result =
        std::panic::catch_unwind(run).unwrap_or(Ok(outcome::Outcome::Failed(ErrorKind::Internal)));
    // A thread that waits for stdin would otherwise keep the process.
    runtime.shutdown_timeout(LEFTOVERS);
    result
}

/// Runs the command; a signal drops it, and with it everything that is staged.
async fn until_signal(cli: Cli) -> Result {
    let context = Context::new(&cli.global);
    if cli.command.minds_signals() {
        return run(cli.command, &context).await;
    }
    tokio::select! {
        result = run(cli.command, &context) => result,
        () = signals::shutdown() => Err(Failure::Interrupted),
    }
}

async fn run(command: Command, context: &Context) -> Result {
    match command {
        #[cfg(feature = "demo")]
        Command::Demo(args) => demo::run(args, context).await,
        Command::Serve(args) => serve::run(args, context).await,
        Command::Put(args) => put::run(args, context).await,
        Command::Get(args) => get::run(args, context).await,
        Command::Cat(args) => cat::run(args, context).await,
        Command::Ls(args) => ls::run(args, context).await,
        Command::Stat(args) => stat::run(args, context).await,
        Command::Cp(args) => cp::run(args, context).await,
        Command::Mv(args) => mv::run(args, context).await,
        Command::Rm(args) => rm::run(args, context).await,
        Command::Touch(args) => touch::run(args, context).await,
        Command::Du(args) => du::run(args, context).await,
        Command::Mkdir(args) => mkdir::make(args, context).await,
        Command::Rmdir(args) => mkdir::remove(args, context).await,
        Command::Trash(args) => trash::run(args, context).await,
        Command::Watch(args) => watch::run(args, context).await,
        Command::MigrateFiles(args) => migrate::run(*args, context).await,
        Command::Schema(args) => schema::run(args, context).await,
        Command::Fsck(args) => fsck::run(args, context).await,
        Command::Gc(args) => gc::run(args, context).await,
        Command::Warmup(args) => warmup::run(args, context).await,
        Command::Bench(args) => bench::run(args, context).await,
        Command::Status(args) => status::run(args, context).await,
        Command::Config(args) => config::run(&args, context),
        Command::Completions(args) => completions::completions(&args),
        Command::Man(args) => completions::man(&args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example() {
        let mut command = Cli::command();
        command.build();
        for sub in command.get_subcommands().filter(|c| c.get_name() != "help") {
            let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:\n  "), "{}", sub.get_name());
        }
    }
}
