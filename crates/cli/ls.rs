//! `ezdfs ls`

use clap::{ArgAction, Args};
use ezdfs_core::Entry;

use crate::context::Context;
use crate::listing::{self, EntryJson};
use crate::out::Out;
use crate::outcome::{Result, Tally};
use crate::paths::{self, Place};
use crate::walk::Walk;

const AFTER: &str = "\
Every line ends with a path of the store that other commands take; directories end with a
slash. The long format is: kind and mode, size in bytes, mtime (UTC), media type, path.

JSON (--json): one object per line with path, kind (file or dir), size, mtime (RFC 3339),
media_type, etag, sha256, expires, mode; members that are not known are left out.

Examples:
  ezdfs ls                          what is in the root
  ezdfs ls -lh images/1/2           long, sizes for people
  ezdfs ls -R images | wc -l
  ezdfs ls -R --json images | jq -r 'select(.size > 1000000) | .path'";

/// List directories and files
#[derive(Debug, Args)]
#[command(after_help = AFTER, disable_help_flag = true)]
pub(crate) struct LsArgs {
    /// Files or directories; the root if none is given
    #[arg(value_name = "PATH", value_parser = paths::place())]
    paths: Vec<Place>,
    /// Long format
    #[arg(short)]
    long: bool,
    /// Everything below, too
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Sizes for people
    #[arg(short = 'h', long)]
    human_readable: bool,
    /// Files only
    #[arg(long)]
    files_only: bool,
    /// One JSON object per line
    #[arg(long, conflicts_with_all = ["long", "human_readable"])]
    json: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

pub(crate) async fn run(args: LsArgs, context: &Context) -> Result {
    let store = context.open().await?;
    let mut out = Out::new();
    let mut tally = Tally::default();
    let root = [Place::root()];
    let places = if args.paths.is_empty() { &root[..] } else { &args.paths };
    for place in places {
        tally.count(one(&args, &store.service, place, &mut out).await)?;
    }
    out.flush()?;
    Ok(tally.outcome())
}

async fn one(
    args: &LsArgs,
    service: &ezdfs_engine::FileService,
    place: &Place,
    out: &mut Out,
) -> Result<()> {
    match service.entry(&place.path).await? {
        Entry::Directory(dir) => {
            let mut walk = Walk::new(service, dir.path, args.recursive);
            while let Some(entry) = walk.next().await? {
                if !args.files_only || matches!(entry, Entry::File(_)) {
                    show(args, &entry, out)?;
                }
            }
            Ok(())
        }
        Entry::File(file) if place.slash => Err(not_a_directory(&file.path).into()),
        file @ Entry::File(_) => show(args, &file, out),
    }
}

fn show(args: &LsArgs, entry: &Entry, out: &mut Out) -> Result<()> {
    if args.json {
        out.json(&EntryJson::of(entry))
    } else if args.long {
        out.line(&listing::long(entry, args.human_readable))
    } else {
        out.line(&listing::short(entry))
    }
}

/// A trailing slash was put after the path of a file.
pub(crate) fn not_a_directory(path: &ezdfs_core::FilePath) -> ezdfs_core::Error {
    ezdfs_core::Error::new(
        ezdfs_core::ErrorKind::NotDirectory,
        format!("`{path}` is not a directory; leave the slash out"),
    )
}
