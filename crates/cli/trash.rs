//! `ezdfs trash`

use clap::{Args, Subcommand};
use ezdfs_core::{DirPath, Error, ErrorKind, FilePath, Tombstone};
use ezdfs_engine::FileService;
use serde::Serialize;

use crate::context::{Context, Store};
use crate::out::Out;
use crate::outcome::{Result, Tally, failure};
use crate::paths::{self, Place};
use crate::when::rfc3339;

/// Entries of one page.
const PAGE: u32 = 500;

const AFTER: &str = "\
With `trash = \"7d\"` in [store], `rm` hides files instead of removing them: for that time
they can be restored, and then `serve` or `gc` removes their bytes. Files that eZ Publish
soft-deleted are listed, too.

Examples:
  ezdfs trash ls images
  ezdfs trash restore images/1/2/a.jpg
  ezdfs trash restore -r images/1
  ezdfs trash purge -r /";

/// List, restore or purge soft-deleted files
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct TrashArgs {
    #[command(subcommand)]
    command: TrashCommand,
}

#[derive(Debug, Subcommand)]
enum TrashCommand {
    /// List soft-deleted files
    #[command(
        after_help = "JSON (--json): one object per line with path, size, mtime, media_type, sha256."
    )]
    Ls {
        /// Below these directories; everywhere if none is given
        #[arg(value_name = "PATH", value_parser = paths::place())]
        paths: Vec<Place>,
        /// Size, mtime and media type, too
        #[arg(short)]
        long: bool,
        /// One JSON object per line
        #[arg(long, conflicts_with = "long")]
        json: bool,
    },
    /// Make files visible again
    Restore(Which),
    /// Remove files for good; gc or serve takes their bytes away
    Purge(Which),
}

#[derive(Debug, Args)]
struct Which {
    /// Which files
    #[arg(value_name = "PATH", value_parser = paths::place(), required = true)]
    paths: Vec<Place>,
    /// Everything below these directories
    #[arg(short, long)]
    recursive: bool,
}

#[derive(Debug, Serialize)]
struct TrashJson {
    path: String,
    size: Option<u64>,
    mtime: Option<String>,
    media_type: Option<String>,
    sha256: Option<String>,
}

pub(crate) async fn run(args: TrashArgs, context: &Context) -> Result {
    let store = context.open().await?;
    match args.command {
        TrashCommand::Ls { paths, long, json } => list(&store, paths, long, json).await,
        TrashCommand::Restore(which) => each(&store, which, Step::Restore).await,
        TrashCommand::Purge(which) => each(&store, which, Step::Purge).await,
    }
}

async fn list(store: &Store, mut paths: Vec<Place>, long: bool, json: bool) -> Result {
    if paths.is_empty() {
        paths.push(Place::root());
    }
    let mut out = Out::new();
    for place in &paths {
        let mut pages = Pages::new(&store.service, place.path.clone());
        while let Some(page) = pages.next().await? {
            for tombstone in &page {
                show(tombstone, long, json, &mut out)?;
            }
        }
    }
    out.flush()?;
    Ok(crate::outcome::Outcome::Done)
}

fn show(tombstone: &Tombstone, long: bool, json: bool, out: &mut Out) -> Result<()> {
    let file = tombstone.record.file(&tombstone.path);
    let file = file.as_ref();
    if json {
        return out.json(&TrashJson {
            path: tombstone.path.to_string(),
            size: file.map(|f| f.size),
            mtime: file.map(|f| rfc3339(f.mtime)),
            media_type: file.map(|f| f.datatype.clone()),
            sha256: file.and_then(|f| f.sha256).map(|s| s.to_string()),
        });
    }
    match file.filter(|_| long) {
        Some(f) => {
            let mtime = crate::when::rfc3339_secs(f.mtime);
            out.line(&format!("{:>12} {mtime} {:<24} {}", f.size, f.datatype, tombstone.path))
        }
        None => out.line(tombstone.path.as_str()),
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Restore,
    Purge,
}

impl Step {
    async fn on(self, service: &FileService, path: &FilePath) -> Result<(), Error> {
        match self {
            Self::Restore => service.restore(path).await,
            Self::Purge => service.purge(path).await,
        }
    }
}

async fn each(store: &Store, which: Which, step: Step) -> Result {
    let mut tally = Tally::default();
    for place in &which.paths {
        if which.recursive {
            below(store, place, step, &mut tally).await?;
            continue;
        }
        if place.slash {
            let what = format!("`{}/` is a directory; -r takes everything below it", place.path);
            return Err(failure(ErrorKind::Usage, what));
        }
        let done = async { step.on(&store.service, &place.file()?).await };
        tally.count(done.await.map_err(Into::into))?;
    }
    Ok(tally.outcome())
}

async fn below(store: &Store, place: &Place, step: Step, tally: &mut Tally) -> Result<()> {
    let mut pages = Pages::new(&store.service, place.path.clone());
    while let Some(page) = pages.next().await? {
        for tombstone in page {
            tally.count(step.on(&store.service, &tombstone.path).await.map_err(Into::into))?;
        }
    }
    Ok(())
}

/// Soft-deleted files below a directory, a page at a time.
pub(crate) struct Pages<'a> {
    service: &'a FileService,
    dir: DirPath,
    after: Option<String>,
}

impl<'a> Pages<'a> {
    pub(crate) fn new(service: &'a FileService, dir: DirPath) -> Self {
        Self { service, dir, after: None }
    }

    /// The next page; `None` at the end.
    ///
    /// # Errors
    /// A database error.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Tombstone>>, Error> {
        let page = self.service.trash(&self.dir, self.after.as_deref(), PAGE).await?;
        let Some(last) = page.last() else { return Ok(None) };
        self.after = Some(self.service.metadata().prefix().name(&last.path).to_string());
        Ok(Some(page))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn every_page_is_seen_once() {
        let service = testing::memory_with_trash();
        for i in 0..PAGE + 7 {
            let path = format!("d/{i:05}");
            testing::put(&service, &path, "x").await;
            service
                .delete(&path.parse().unwrap(), &ezdfs_engine::Precondition::None)
                .await
                .unwrap();
        }
        let mut pages = Pages::new(&service, DirPath::root());
        let mut seen = 0;
        while let Some(page) = pages.next().await.unwrap() {
            seen += page.len();
        }
        assert_eq!(seen, usize::try_from(PAGE + 7).unwrap());
    }
}
