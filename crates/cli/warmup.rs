//! `ezdfs warmup`

use std::num::NonZeroUsize;

use clap::Args;
use ezdfs_core::{Entry, Error, FilePath, Result as CoreResult};
use ezdfs_engine::{FileService, Warmed};
use futures::{Stream, StreamExt as _, stream};
use serde::Serialize;

use crate::context::Context;
use crate::out::Out;
use crate::outcome::{Result, Tally};
use crate::paths::{self, Place};
use crate::progress::{Progress, Unit};
use crate::say;
use crate::size;
use crate::walk::Walk;

const AFTER: &str = "\
Fetches what is not there yet into the cache on this node (cache.dir), as `serve` would at the
first request. Files above an eighth of `cache.size` are not kept. If some files fail, each is
named, the others are fetched all the same, and the exit code is 3.

Where the bytes of the store are local there is nothing to fetch, and that is said; with
`cache.enabled = \"on\"` they are cached as well.

JSON (--json): one object with files, fetched, bytes (of those fetched), present, not_kept,
failed and enabled (whether there is a cache).

Examples:
  ezdfs warmup images/_aliases/large
  ezdfs warmup --jobs 32 /
  ezdfs warmup --json images/1 | jq .fetched";

/// Fill the cache on this node with files, before somebody asks for them
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct WarmupArgs {
    /// Files, or directories with everything below them
    #[arg(value_name = "PATH", value_parser = paths::place(), required = true)]
    paths: Vec<Place>,
    /// Files at once
    #[arg(long, value_name = "N", default_value = "8")]
    jobs: NonZeroUsize,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Counts {
    enabled: bool,
    files: u64,
    fetched: u64,
    bytes: u64,
    present: u64,
    not_kept: u64,
    failed: u64,
}

pub(crate) async fn run(args: WarmupArgs, context: &Context) -> Result {
    let store = context.open_to_read().await?;
    let mut counts = Counts { enabled: store.service.file_cache().is_some(), ..Counts::default() };
    let mut tally = Tally::default();
    if counts.enabled {
        let mut progress = Progress::new("warming up", Unit::Many("files"), None, context.quiet);
        for place in &args.paths {
            warm(&store.service, place, args.jobs.get(), &mut counts, &mut tally, &mut progress)
                .await;
        }
    } else {
        let handler = &store.settings().store.binarydata;
        say::note(&format!(
            "ezdfs: nothing is cached: the bytes of the handler `{handler}` are not cached here \
             (cache.enabled)"
        ));
    }
    let mut out = Out::new();
    if args.json {
        out.json(&counts)?;
    } else if counts.enabled {
        out.line(&format!(
            "{} files: {} fetched ({}), {} present, {} not kept, {} failed",
            counts.files,
            counts.fetched,
            size::human(counts.bytes),
            counts.present,
            counts.not_kept,
            counts.failed
        ))?;
    }
    out.flush()?;
    Ok(tally.outcome())
}

/// Fetches the files of one place.
async fn warm(
    service: &FileService,
    place: &Place,
    jobs: usize,
    counts: &mut Counts,
    tally: &mut Tally,
    progress: &mut Progress,
) {
    let warmed = files(service, place).map(|path| async move {
        let path = path?;
        service.warm(&path).await.map_err(|e| naming(e, &path))
    });
    let mut warmed = std::pin::pin!(warmed.buffer_unordered(jobs));
    while let Some(done) = warmed.next().await {
        counts.files += 1;
        progress.add(1);
        match done {
            Ok(Warmed::Filled(bytes)) => {
                counts.fetched += 1;
                counts.bytes = counts.bytes.saturating_add(bytes);
            }
            Ok(Warmed::Already) => counts.present += 1,
            Ok(Warmed::Unfit) => counts.not_kept += 1,
            Err(e) => {
                counts.failed += 1;
                progress.clear();
                tally.fail(&e);
                continue;
            }
        }
        tally.succeed();
    }
}

fn naming(e: Error, path: &FilePath) -> Error {
    if e.message().contains(path.as_str()) { e } else { e.context(format_args!("`{path}`")) }
}

/// The files of a place, in constant memory; an error ends them.
fn files<'a>(
    service: &'a FileService,
    place: &'a Place,
) -> impl Stream<Item = CoreResult<FilePath>> + 'a {
    let begin = async move {
        match service.entry(&place.path).await? {
            Entry::File(file) if place.slash => Err(crate::ls::not_a_directory(&file.path)),
            Entry::File(file) => Ok(stream::iter([Ok(file.path)]).left_stream()),
            Entry::Directory(dir) => {
                let walk = Walk::new(service, dir.path, true);
                let below = stream::try_unfold(walk, |mut walk| async move {
                    Ok(loop {
                        match walk.next().await? {
                            Some(Entry::File(file)) => break Some((file.path, walk)),
                            Some(Entry::Directory(_)) => {}
                            None => break None,
                        }
                    })
                });
                Ok(below.right_stream())
            }
        }
    };
    stream::once(begin)
        .map(|begun| match begun {
            Ok(files) => files.left_stream(),
            Err(e) => stream::iter([Err(e)]).right_stream(),
        })
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    async fn warmed(service: &FileService, place: &str) -> (Counts, crate::outcome::Outcome) {
        let place = match place {
            "/" => Place::root(),
            path => Place { path: path.parse().unwrap(), slash: false },
        };
        let (mut counts, mut tally) = (Counts::default(), Tally::default());
        let mut progress = Progress::new("", Unit::Many("files"), None, true);
        warm(service, &place, 4, &mut counts, &mut tally, &mut progress).await;
        (counts, tally.outcome())
    }

    #[tokio::test]
    async fn everything_below_is_fetched_once() {
        let dir = tempfile::tempdir().unwrap();
        let service = testing::cached(dir.path());
        for path in ["a/1", "a/b/2", "c"] {
            testing::put(&service, path, "12345").await;
        }
        let (counts, outcome) = warmed(&service, "a").await;
        assert_eq!((counts.files, counts.fetched, counts.bytes), (2, 2, 10));
        assert_eq!(outcome, crate::outcome::Outcome::Done);
        let (counts, _) = warmed(&service, "/").await;
        assert_eq!((counts.files, counts.fetched, counts.present), (3, 1, 2));
        let (counts, outcome) = warmed(&service, "none").await;
        assert_eq!(counts.failed, 1);
        assert!(matches!(outcome, crate::outcome::Outcome::Failed(_)));
    }
}
