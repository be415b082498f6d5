//! `ezdfs rm`

use clap::Args;
use ezdfs_core::{Entry, Error, ErrorKind};
use ezdfs_engine::{FileService, Precondition};

use crate::context::Context;
use crate::outcome::{Outcome, Result, Tally, failure};
use crate::paths::{self, Place};
use crate::progress::{Progress, Unit};

const AFTER: &str = "\
With `trash` configured, files are hidden and can be restored for that time (ezdfs trash). If
some paths fail the others are removed all the same, and the exit code is 3.

Examples:
  ezdfs rm images/1/2/a.jpg
  ezdfs rm -r images/_aliases/large
  ezdfs rm -f images/may-not-be-there.jpg";

/// Remove files, or with -r directories
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct RmArgs {
    /// What to remove
    #[arg(value_name = "PATH", value_parser = paths::place(), required = true)]
    paths: Vec<Place>,
    /// Remove directories with everything below them
    #[arg(short, long)]
    recursive: bool,
    /// Do not mind paths that do not exist
    #[arg(short, long)]
    force: bool,
    /// Remove only that version of the file
    #[arg(long, value_name = "ETAG", conflicts_with = "recursive")]
    if_match: Option<String>,
}

pub(crate) async fn run(args: RmArgs, context: &Context) -> Result {
    if args.paths.iter().any(|p| p.path.is_root()) {
        return Err(failure(
            ErrorKind::Usage,
            "the root is never removed; name the directories in it",
        ));
    }
    let precondition = match args.if_match.as_deref() {
        None => Precondition::None,
        Some("*") => Precondition::Present,
        Some(tag) => Precondition::Matches(vec![tag.parse()?]),
    };
    let store = context.open().await?;
    let mut tally = Tally::default();
    let mut partial = false;
    for place in &args.paths {
        match one(&store.service, place, &args, &precondition, context.quiet).await {
            Ok(whole) => {
                tally.succeed();
                partial |= !whole;
            }
            Err(e) if args.force && e.kind() == ErrorKind::NotFound => tally.succeed(),
            Err(e) => tally.fail(&e),
        }
    }
    Ok(match tally.outcome() {
        Outcome::Done if partial => Outcome::Partial,
        other => other,
    })
}

/// Removes a file or tree; `false` when something of it had to stay.
async fn one(
    service: &FileService,
    place: &Place,
    args: &RmArgs,
    precondition: &Precondition,
    quiet: bool,
) -> Result<bool, Error> {
    let path = place.file()?;
    if !args.recursive {
        if place.slash && crate::tree::is_directory(service, &place.path).await? {
            let what = format!("`{path}` is a directory; -r removes it");
            return Err(Error::new(ErrorKind::IsDirectory, what));
        }
        if place.slash
            && let Entry::File(_) = service.entry(&place.path).await?
        {
            return Err(crate::ls::not_a_directory(&path));
        }
        return match service.delete(&path, precondition).await {
            Err(e) if e.kind() == ErrorKind::IsDirectory => {
                let what = format!("`{path}` is a directory; -r removes it");
                Err(Error::new(ErrorKind::IsDirectory, what))
            }
            other => other.map(|()| true),
        };
    }
    match service.entry(&place.path).await? {
        Entry::File(_) if place.slash => Err(crate::ls::not_a_directory(&path)),
        Entry::File(_) => service.delete(&path, precondition).await.map(|()| true),
        Entry::Directory(_) => {
            let mut progress = Progress::new(path.as_str(), Unit::Many("files"), None, quiet);
            let deleted = service.delete_dir(&path, |files| progress.set(files)).await?;
            for name in &deleted.skipped {
                crate::say::error(&format!(
                    "the row `{name}` stays: its name is no path of the store"
                ));
            }
            let named = u64::try_from(deleted.skipped.len()).unwrap_or(u64::MAX);
            if deleted.skipped_count > named {
                let more = deleted.skipped_count - named;
                crate::say::error(&format!("{more} more such rows stay"));
            }
            Ok(deleted.skipped_count == 0)
        }
    }
}
