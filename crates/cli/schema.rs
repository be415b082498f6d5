//! `ezdfs schema`

use std::path::Path;
use std::sync::Arc;

use clap::{Args, Subcommand};
use ezdfs_config::{DEFAULT_HANDLER, Database, Loaded, MetadataHandler, Problems, SqlHandler};
use ezdfs_core::{Error, ErrorKind, MetadataStore as _, NamePrefix, SystemClock};
use ezdfs_metadata::{SqliteMetadata, SqliteOptions, sqlite};

use crate::context::Context;
use crate::out::Out;
use crate::outcome::{Outcome, Result};

const AFTER: &str = "\
The base table is as Ibexa ships it and is never altered; ezdfs adds side tables and triggers,
all called ezdfs_…. A SQLite database gets them by itself at first use.

`check` exits with 4 when something is missing or of another version. `uninstall` drops the
triggers, then the side tables; the base table, its rows and the files stay as PHP nodes know
them.

Examples:
  ezdfs schema print
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
    Install,
    /// Say what is missing or of another version; exit code 4 if anything is
    Check,
    /// Remove triggers and side tables
    Uninstall {
        /// Even if work is pending
        #[arg(long)]
        force: bool,
    },
}

pub(crate) async fn run(args: SchemaArgs, context: &Context) -> Result {
    let loaded = context.load()?;
    let name = args.handler.as_deref().unwrap_or(&loaded.settings.store.metadata);
    let (handler, file) = sqlite_handler(&loaded, context, name)?;
    let mut out = Out::new();
    let outcome = match args.command {
        SchemaCommand::Print => {
            out.text(&sqlite::ddl(&handler.table)?)?;
            Outcome::Done
        }
        SchemaCommand::Install => {
            install(&loaded, handler, file, &mut out).await?;
            Outcome::Done
        }
        SchemaCommand::Check => check(handler, file, &mut out).await?,
        SchemaCommand::Uninstall { force } => {
            for dropped in sqlite::uninstall(file, force).await? {
                out.line(&format!("dropped {dropped}"))?;
            }
            Outcome::Done
        }
    };
    out.flush()?;
    Ok(outcome)
}

/// The handler of that name, if it is one that this build can open.
fn sqlite_handler<'a>(
    loaded: &'a Loaded,
    context: &Context,
    name: &str,
) -> Result<(&'a SqlHandler, &'a Path), Error> {
    let wrong = |what: String| Error::new(ErrorKind::Usage, what);
    let known = || loaded.settings.metadata_handlers.names().collect::<Vec<_>>().join("`, `");
    match loaded.settings.metadata_handlers.get(name) {
        Some(MetadataHandler::Sql(handler)) => match &handler.url.database {
            Database::Sqlite(file) => Ok((handler, file)),
            Database::Mysql | Database::Postgres => {
                let key = format!("metadata_handlers.{name}.url");
                let mut problems = ezdfs_config::check::check(loaded, context.env());
                problems.retain(|p| p.key == key);
                Err(Problems(problems).into())
            }
        },
        None if name != DEFAULT_HANDLER => Err(wrong(format!(
            "there is no metadata handler `{name}`; configured are `{}`",
            known()
        ))),
        Some(MetadataHandler::Objects { .. }) | None => {
            Err(wrong(format!("the metadata handler `{name}` has no database, so no schema")))
        }
    }
}

async fn install(loaded: &Loaded, handler: &SqlHandler, file: &Path, out: &mut Out) -> Result<()> {
    if file.starts_with(&loaded.data_dir)
        && let Some(dir) = file.parent()
    {
        std::fs::create_dir_all(dir).map_err(|e| {
            let what = format!("cannot make the data directory {}", dir.display());
            Error::new(ErrorKind::Config, what).with_source(e)
        })?;
    }
    let options = SqliteOptions {
        table: handler.table.clone(),
        prefix: NamePrefix::new(&handler.name_prefix),
        ..SqliteOptions::default()
    };
    let store = SqliteMetadata::open(file, options, Arc::new(SystemClock)).await?;
    out.line(&format!("{}: installed", store.describe()))
}

async fn check(handler: &SqlHandler, file: &Path, out: &mut Out) -> Result {
    let findings = sqlite::check(file, &handler.table).await?;
    let place = format!("sqlite {}, table {}", file.display(), handler.table);
    if findings.lines.is_empty() {
        out.line(&format!("{place}: as it should be"))?;
        return Ok(Outcome::Done);
    }
    for line in &findings.lines {
        out.line(&format!("PROBLEM: {line}"))?;
    }
    let fix = if findings.not_installed { "nothing is installed" } else { "something is amiss" };
    out.line(&format!("{place}: {fix}; `ezdfs schema install` makes what is missing"))?;
    Ok(Outcome::Problems)
}
