//! `ezdfs schema`

#[cfg(any(feature = "mysql", feature = "postgres"))]
mod server;
#[cfg(feature = "sqlite")]
mod sqlite;

use clap::{Args, Subcommand, ValueEnum};
use ezdfs_config::check::no_database;
#[cfg(any(feature = "mysql", feature = "postgres"))]
use ezdfs_config::server_options;
use ezdfs_config::{DEFAULT_HANDLER, Database, Loaded, MetadataHandler, SqlHandler};
use ezdfs_core::{Error, ErrorKind};
use serde::Serialize;

use crate::context::Context;
use crate::out::Out;
use crate::outcome::{Outcome, Result};

const AFTER: &str = "\
The base table is as Ibexa ships it and is never altered; ezdfs adds side tables and triggers,
all called ezdfs_…. A SQLite database gets them by itself at first use. A database on a server
gets them by `install` and in no other way; it may run while the site is live, may be
interrupted, and goes on where it stopped.

--feed trigger installs nothing unless the user may make triggers; --feed scan makes none:
changes by PHP are then found by reading the whole table now and then (degraded). auto takes
triggers where they are allowed.

`check` exits with 4 when something is missing, of another version, or degraded; it names each
missing privilege. `uninstall` drops the triggers, then the side tables; the base table, its
rows and the files stay as PHP nodes know them.

JSON (check --json): one object with handler, where, installed, problems and notes (lists of
texts).

Examples:
  ezdfs schema print
  ezdfs schema install
  ezdfs schema check --handler dfs
  ezdfs schema uninstall";

/// Print, install, check or remove what ezdfs needs in a database
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct SchemaArgs {
    #[command(subcommand)]
    command: SchemaCommand,
    /// Which metadata handler [else that of the store]
    #[arg(long, value_name = "NAME", global = true)]
    handler: Option<String>,
}

#[derive(Debug, Subcommand)]
enum SchemaCommand {
    /// Print the statements that make tables and triggers
    Print,
    /// Make what is missing, and entries for the rows that are there
    Install {
        /// What tells ezdfs of changes by PHP: auto, trigger, scan
        #[arg(long, value_name = "HOW", value_enum, default_value_t, hide_possible_values = true)]
        feed: Feed,
    },
    /// Say what is missing or of another version; exit code 4 if anything is
    Check {
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Remove triggers and side tables
    Uninstall {
        /// Even if work is pending
        #[arg(long)]
        force: bool,
    },
}

/// What tells ezdfs of changes by PHP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Feed {
    #[default]
    Auto,
    Trigger,
    Scan,
}

/// What a check found.
#[derive(Debug, Serialize)]
struct Found {
    handler: String,
    #[serde(rename = "where")]
    place: String,
    installed: bool,
    /// What does not work, or not as it should.
    problems: Vec<String>,
    /// What costs more or needs care.
    notes: Vec<String>,
}

/// A database that this build can open.
enum Target {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlite::Target),
    #[cfg(any(feature = "mysql", feature = "postgres"))]
    Server(server::Target),
}

pub(crate) async fn run(args: SchemaArgs, context: &Context) -> Result {
    let loaded = context.load()?;
    let name = args.handler.as_deref().unwrap_or(&loaded.settings.store.metadata);
    let handler = sql_handler(&loaded, name)?;
    let mut out = Out::new();
    let outcome = match args.command {
        SchemaCommand::Print => {
            let missing = || no_database(&loaded, name, &handler.url.database);
            out.text(&ddl(handler).ok_or_else(|| Error::from(missing()))??)?;
            Outcome::Done
        }
        SchemaCommand::Install { feed } => {
            match target(&loaded, name, handler)? {
                #[cfg(feature = "sqlite")]
                Target::Sqlite(target) => target.install(feed, &mut out).await?,
                #[cfg(any(feature = "mysql", feature = "postgres"))]
                Target::Server(target) => target.install(feed, context.quiet, &mut out).await?,
            }
            Outcome::Done
        }
        SchemaCommand::Check { json } => {
            let found = match target(&loaded, name, handler)? {
                #[cfg(feature = "sqlite")]
                Target::Sqlite(target) => target.check(name).await?,
                #[cfg(any(feature = "mysql", feature = "postgres"))]
                Target::Server(target) => target.check(name).await?,
            };
            tell(&found, json, &mut out)?
        }
        SchemaCommand::Uninstall { force } => {
            let dropped = match target(&loaded, name, handler)? {
                #[cfg(feature = "sqlite")]
                Target::Sqlite(target) => target.uninstall(force).await?,
                #[cfg(any(feature = "mysql", feature = "postgres"))]
                Target::Server(target) => target.uninstall(force).await?,
            };
            for what in dropped {
                out.line(&format!("dropped {what}"))?;
            }
            Outcome::Done
        }
    };
    out.flush()?;
    Ok(outcome)
}

/// The handler of that name, if it has a database.
fn sql_handler<'a>(loaded: &'a Loaded, name: &str) -> Result<&'a SqlHandler, Error> {
    let wrong = |what: String| Error::new(ErrorKind::Usage, what);
    match loaded.settings.metadata_handlers.get(name) {
        Some(MetadataHandler::Sql(handler)) => Ok(handler),
        None if name != DEFAULT_HANDLER => {
            let known = loaded.settings.metadata_handlers.names().collect::<Vec<_>>();
            Err(wrong(format!(
                "there is no metadata handler `{name}`; configured are `{}`",
                known.join("`, `")
            )))
        }
        Some(MetadataHandler::Objects { .. }) | None => {
            Err(wrong(format!("the metadata handler `{name}` has no database, so no schema")))
        }
    }
}

/// `None`: this build does not know such a database.
fn ddl(handler: &SqlHandler) -> Option<Result<String, Error>> {
    let ddl = match &handler.url.database {
        #[cfg(feature = "sqlite")]
        Database::Sqlite(_) => ezdfs_metadata::sqlite::ddl(&handler.table),
        #[cfg(feature = "mysql")]
        Database::Mysql(_) => ezdfs_metadata::mysql::ddl(&handler.table),
        #[cfg(feature = "postgres")]
        Database::Postgres(_) => ezdfs_metadata::postgres::ddl(&handler.table),
        #[cfg(not(all(feature = "sqlite", feature = "mysql", feature = "postgres")))]
        _ => return None,
    };
    Some(ddl)
}

fn target(loaded: &Loaded, name: &str, handler: &SqlHandler) -> Result<Target, Error> {
    match &handler.url.database {
        #[cfg(feature = "sqlite")]
        Database::Sqlite(file) => {
            Ok(Target::Sqlite(sqlite::Target::new(loaded, handler, file.clone())))
        }
        #[cfg(feature = "mysql")]
        Database::Mysql(url) => {
            let options = server_options(loaded, name, handler, url)?;
            Ok(Target::Server(server::Target::Mysql(options)))
        }
        #[cfg(feature = "postgres")]
        Database::Postgres(url) => {
            let options = server_options(loaded, name, handler, url)?;
            Ok(Target::Server(server::Target::Postgres(options)))
        }
        #[cfg(not(all(feature = "sqlite", feature = "mysql", feature = "postgres")))]
        other => Err(no_database(loaded, name, other).into()),
    }
}

fn tell(found: &Found, json: bool, out: &mut Out) -> Result {
    let outcome = if found.problems.is_empty() { Outcome::Done } else { Outcome::Problems };
    if json {
        out.json(found)?;
        return Ok(outcome);
    }
    for problem in &found.problems {
        out.line(&format!("PROBLEM: {problem}"))?;
    }
    for note in &found.notes {
        out.line(&format!("NOTE: {note}"))?;
    }
    let place = &found.place;
    let verdict = match (outcome, found.installed) {
        (Outcome::Done, _) => "as it should be",
        (_, true) => "something is amiss; `ezdfs schema install` makes what is missing",
        (_, false) => "nothing is installed; `ezdfs schema install` makes what is missing",
    };
    out.line(&format!("{place}: {verdict}"))?;
    Ok(outcome)
}
