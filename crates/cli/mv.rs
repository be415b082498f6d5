//! `ezdfs mv`

use clap::Args;
use ezdfs_core::{Error, ErrorKind};

use crate::context::Context;
use crate::cp::{target_dir, target_of};
use crate::outcome::{Result, Tally};
use crate::paths::{self, Place};

const AFTER: &str = "\
As with the mv of your system: a directory DST takes files under their own names, and an
existing file is replaced (-f is accepted and changes nothing). With -n existing files are
left alone, which is no failure. A directory moves in one step, up to `rename_dir_max` files;
copy and remove larger ones.

Examples:
  ezdfs mv images/1/a.jpg images/1/b.jpg
  ezdfs mv images/1/a.jpg images/1/b.jpg archive/
  ezdfs mv images/old images/new";

/// Move or rename files and directories within the store
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct MvArgs {
    /// What to move
    #[arg(value_name = "SRC", value_parser = paths::place(), required = true)]
    sources: Vec<Place>,
    /// Where to
    #[arg(value_name = "DST", value_parser = paths::place(), required = true)]
    target: Place,
    /// Leave existing files alone
    #[arg(short, long, conflicts_with = "force")]
    no_clobber: bool,
    /// Replace existing files; the default
    #[arg(short, long)]
    force: bool,
    /// DST is the new name, even if it is an (empty) directory
    #[arg(short = 'T', long)]
    no_target_directory: bool,
}

pub(crate) async fn run(args: MvArgs, context: &Context) -> Result {
    let store = context.open().await?;
    let service = &store.service;
    let into = match args.no_target_directory && args.sources.len() == 1 {
        true => None,
        // `mv old new/` renames a directory where there is no `new` yet.
        false => match target_dir(service, &args.target, args.sources.len()).await? {
            Some(dir) if args.sources.len() == 1 && renames(service, &args).await? => {
                tracing::debug!(%dir, "no such directory: it is the new name");
                None
            }
            into => into,
        },
    };
    let mut tally = Tally::default();
    for source in &args.sources {
        let moved = async {
            let from = source.file()?;
            let to = target_of(source, &args.target, into.as_ref())?;
            if from == to {
                let what = format!("`{from}` and `{to}` are the same");
                return Err(Error::new(ErrorKind::InvalidArgument, what));
            }
            match service.rename(&from, &to, !args.no_clobber).await {
                Err(e) if args.no_clobber && e.kind() == ErrorKind::AlreadyExists => Ok(()),
                other => other.map(|_| ()),
            }
        };
        match moved.await {
            Ok(()) => tally.succeed(),
            Err(e) => tally.fail(&e),
        }
    }
    Ok(tally.outcome())
}

/// Whether the one source is a directory and nothing stands at the target.
async fn renames(service: &ezdfs_engine::FileService, args: &MvArgs) -> Result<bool, Error> {
    let Some(source) = args.sources.first() else { return Ok(false) };
    Ok(crate::tree::entry(service, &args.target.path).await?.is_none()
        && crate::tree::is_directory(service, &source.path).await?)
}
