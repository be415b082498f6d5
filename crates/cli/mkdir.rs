//! `ezdfs mkdir` and `ezdfs rmdir`

use clap::Args;
use ezdfs_core::{DirPath, Error, ErrorKind};

use crate::context::Context;
use crate::outcome::{Result, Tally};
use crate::paths::{self, Place};
use crate::tree;

const AFTER_MKDIR: &str = "\
A put makes missing directories by itself; this is for directories that are to be empty.

Examples:
  ezdfs mkdir images/new
  ezdfs mkdir -p images/a/b/c";

const AFTER_RMDIR: &str = "\
Examples:
  ezdfs rmdir images/new";

/// Make directories
#[derive(Debug, Args)]
#[command(after_help = AFTER_MKDIR)]
pub(crate) struct MkdirArgs {
    /// Which directories
    #[arg(value_name = "PATH", value_parser = paths::place(), required = true)]
    paths: Vec<Place>,
    /// Make missing parents, and do not mind existing directories
    #[arg(short, long)]
    parents: bool,
}

/// Remove empty directories
#[derive(Debug, Args)]
#[command(after_help = AFTER_RMDIR)]
pub(crate) struct RmdirArgs {
    /// Which directories
    #[arg(value_name = "PATH", value_parser = paths::place(), required = true)]
    paths: Vec<Place>,
}

pub(crate) async fn make(args: MkdirArgs, context: &Context) -> Result {
    let store = context.open().await?;
    let mut tally = Tally::default();
    for place in &args.paths {
        let made = async {
            let path = place.file()?;
            let parent = path.parent();
            if !args.parents && !tree::is_directory(&store.service, &parent).await? {
                return Err(missing_parent(&parent));
            }
            store.service.mkdir(&path, !args.parents, None).await
        };
        tally.count(made.await.map_err(Into::into))?;
    }
    Ok(tally.outcome())
}

fn missing_parent(parent: &DirPath) -> Error {
    Error::new(ErrorKind::NotFound, format!("`{parent}` is not a directory; -p makes it"))
}

pub(crate) async fn remove(args: RmdirArgs, context: &Context) -> Result {
    let store = context.open().await?;
    let mut tally = Tally::default();
    for place in &args.paths {
        let removed = async { store.service.rmdir(&place.file()?).await };
        tally.count(removed.await.map_err(Into::into))?;
    }
    Ok(tally.outcome())
}
