//! `ezdfs cp`

use clap::Args;
use ezdfs_core::{DirPath, Entry, Error, ErrorKind, FilePath};
use ezdfs_engine::FileService;

use crate::context::Context;
use crate::outcome::{Result, Tally, failure};
use crate::paths::{self, Place, into_dir};
use crate::tree;
use crate::walk::Walk;

const AFTER: &str = "\
As with the cp of your system: a directory DST takes copies under their own names, and an
existing file is replaced (-f is accepted and changes nothing). With -n existing files are
left alone, which is no failure. A copy keeps media type and expiry, and has an mtime of its
own.

Examples:
  ezdfs cp images/1/a.jpg images/2/b.jpg
  ezdfs cp -r images/1 backup/";

/// Copy files within the store
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct CpArgs {
    /// What to copy
    #[arg(value_name = "SRC", value_parser = paths::place(), required = true)]
    sources: Vec<Place>,
    /// Where to
    #[arg(value_name = "DST", value_parser = paths::place(), required = true)]
    target: Place,
    /// Copy directories with everything below them
    #[arg(short, long)]
    recursive: bool,
    /// Leave existing files alone
    #[arg(short, long, conflicts_with = "force")]
    no_clobber: bool,
    /// Replace existing files; the default
    #[arg(short, long)]
    force: bool,
}

pub(crate) async fn run(args: CpArgs, context: &Context) -> Result {
    let store = context.open().await?;
    let service = &store.service;
    let into = target_dir(service, &args.target, args.sources.len()).await?;
    let mut tally = Tally::default();
    for source in &args.sources {
        let target = match target_of(source, &args.target, into.as_ref()) {
            Ok(target) => target,
            Err(e) => {
                tally.fail(&e);
                continue;
            }
        };
        let copy = Copy { service, keep: args.no_clobber, recursive: args.recursive };
        let copied = copy.one(source, &target, &mut tally).await;
        if let Err(e) = copied {
            tally.fail(&e);
        }
    }
    Ok(tally.outcome())
}

/// The directory that sources go into; `None` when the target is their new name.
///
/// # Errors
/// When several sources have no directory to go into.
pub(crate) async fn target_dir(
    service: &FileService,
    target: &Place,
    sources: usize,
) -> Result<Option<DirPath>> {
    if target.slash || tree::is_directory(service, &target.path).await? {
        return Ok(Some(target.path.clone()));
    }
    if sources > 1 {
        let what = format!("`{}` is not a directory, and several sources need one", target.path);
        return Err(failure(ErrorKind::Usage, what));
    }
    Ok(None)
}

/// Where one source goes.
pub(crate) fn target_of(
    source: &Place,
    target: &Place,
    into: Option<&DirPath>,
) -> Result<FilePath, Error> {
    match into {
        Some(dir) => into_dir(dir, source.file()?.basename()),
        None => target.file(),
    }
}

struct Copy<'a> {
    service: &'a FileService,
    keep: bool,
    recursive: bool,
}

impl Copy<'_> {
    async fn one(&self, source: &Place, target: &FilePath, tally: &mut Tally) -> Result<(), Error> {
        match self.service.entry(&source.path).await? {
            Entry::File(file) if source.slash => Err(crate::ls::not_a_directory(&file.path)),
            Entry::File(file) => {
                self.file(&file.path, target).await?;
                tally.succeed();
                Ok(())
            }
            Entry::Directory(dir) if self.recursive => self.tree(&dir.path, target, tally).await,
            Entry::Directory(dir) => Err(Error::new(
                ErrorKind::IsDirectory,
                format!("`{}` is a directory; -r copies it", dir.path),
            )),
        }
    }

    async fn file(&self, source: &FilePath, target: &FilePath) -> Result<(), Error> {
        if source == target {
            let what = format!("`{source}` and `{target}` are the same file");
            return Err(Error::new(ErrorKind::InvalidArgument, what));
        }
        match self.service.copy(source, target, !self.keep).await {
            Err(e) if self.keep && e.kind() == ErrorKind::PreconditionFailed => Ok(()),
            other => other.map(|_| ()),
        }
    }

    async fn tree(
        &self,
        source: &DirPath,
        target: &FilePath,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        let into = DirPath::from(target.clone());
        if source.path() == Some(target) || source.contains(target) {
            let what = format!("`{target}` lies inside `{source}`: it would be copied without end");
            return Err(Error::new(ErrorKind::InvalidArgument, what));
        }
        self.service.mkdir(target, false, None).await?;
        let mut walk = Walk::new(self.service, source.clone(), true);
        while let Some(entry) = walk.next().await? {
            let copied = self.entry(source, &into, &entry).await;
            match copied {
                Ok(()) => tally.succeed(),
                Err(e) => tally.fail(&e),
            }
        }
        Ok(())
    }

    async fn entry(&self, from: &DirPath, into: &DirPath, entry: &Entry) -> Result<(), Error> {
        let below = |path: &FilePath| -> Result<FilePath, Error> {
            Ok(format!("{into}/{}", from.relative(path).unwrap_or_default()).parse()?)
        };
        match entry {
            Entry::File(file) => self.file(&file.path, &below(&file.path)?).await,
            Entry::Directory(dir) => match dir.path.path() {
                Some(path) => self.service.mkdir(&below(path)?, false, None).await,
                None => Ok(()),
            },
        }
    }
}
