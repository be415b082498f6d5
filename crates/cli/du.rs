//! `ezdfs du`

use clap::{ArgAction, Args};
use ezdfs_core::Entry;
use ezdfs_engine::FileService;
use serde::Serialize;

use crate::context::Context;
use crate::out::Out;
use crate::outcome::{Result, Tally};
use crate::paths::{self, Place};
use crate::size;
use crate::walk::Walk;

const AFTER: &str = "\
Prints bytes, number of files, and path.

JSON (--json): one object per path with path, bytes, files, directories.

Examples:
  ezdfs du -h
  ezdfs du images/_aliases images/1";

/// Sum up the bytes and files below paths
#[derive(Debug, Args)]
#[command(after_help = AFTER, disable_help_flag = true)]
pub(crate) struct DuArgs {
    /// Files or directories; the root if none is given
    #[arg(value_name = "PATH", value_parser = paths::place())]
    paths: Vec<Place>,
    /// Sizes for people
    #[arg(short = 'h', long)]
    human_readable: bool,
    /// One JSON object per path
    #[arg(long, conflicts_with = "human_readable")]
    json: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Usage {
    path: String,
    bytes: u64,
    files: u64,
    directories: u64,
}

pub(crate) async fn run(args: DuArgs, context: &Context) -> Result {
    let store = context.open().await?;
    let mut out = Out::new();
    let mut tally = Tally::default();
    let root = [Place::root()];
    let places = if args.paths.is_empty() { &root[..] } else { &args.paths };
    for place in places {
        let Some(usage) = tally.count(usage(&store.service, place).await)? else { continue };
        if args.json {
            out.json(&usage)?;
        } else {
            let shown = if usage.path.is_empty() { "/" } else { &usage.path };
            let bytes = size::show(usage.bytes, args.human_readable);
            out.line(&format!("{bytes:>12} {:>9} {shown}", usage.files))?;
        }
    }
    out.flush()?;
    Ok(tally.outcome())
}

async fn usage(service: &FileService, place: &Place) -> Result<Usage> {
    let mut usage = Usage { path: place.path.to_string(), ..Usage::default() };
    match service.entry(&place.path).await? {
        Entry::File(file) if place.slash => {
            return Err(crate::ls::not_a_directory(&file.path).into());
        }
        Entry::File(file) => {
            usage.bytes = file.size;
            usage.files = 1;
        }
        Entry::Directory(dir) => {
            let mut walk = Walk::new(service, dir.path, true);
            while let Some(entry) = walk.next().await? {
                match entry {
                    Entry::File(file) => {
                        usage.files += 1;
                        usage.bytes = usage.bytes.saturating_add(file.size);
                    }
                    Entry::Directory(_) => usage.directories += 1,
                }
            }
        }
    }
    Ok(usage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn everything_below_counts_once() {
        let service = testing::memory();
        testing::put(&service, "a/1", "12345").await;
        testing::put(&service, "a/b/2", "123").await;
        testing::put(&service, "ab", "1").await;
        let place = Place { path: "a".parse().unwrap(), slash: false };
        let found = usage(&service, &place).await.unwrap();
        assert_eq!(found, Usage { path: "a".into(), bytes: 8, files: 2, directories: 1 });
        let all = usage(&service, &Place::root()).await.unwrap();
        assert_eq!((all.bytes, all.files), (9, 3));
    }
}
