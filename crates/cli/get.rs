//! `ezdfs get`

use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use ezdfs_core::{Entry, Error, ErrorKind, FileMeta, FilePath, Sha256};
use ezdfs_engine::{Body, FileService};
use futures::StreamExt as _;
use sha2::Digest as _;
use tokio::io::AsyncWriteExt as _;

use crate::context::Context;
use crate::out::Out;
use crate::outcome::{Outcome, Result, Tally, failure};
use crate::paths::{self, Place};
use crate::progress::{Progress, Unit};
use crate::stream::io_kind;
use crate::walk::Walk;

const AFTER: &str = "\
DST is a file, a directory to put the file into, or `-` for stdout; without it the file goes
into the current directory under its own name. A local file appears whole, after its bytes
were compared with the stored SHA-256, or not at all.

Examples:
  ezdfs get images/1/2/a.jpg
  ezdfs get images/1/2/a.jpg /tmp/copy.jpg
  ezdfs get -r images /backup/images
  ezdfs get --range 0-1023 video.mp4 - | file -";

/// Fetch a file
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct GetArgs {
    /// Which file, or with -r directory
    #[arg(value_name = "PATH", value_parser = paths::place())]
    path: Place,
    /// Local file or directory; `-` is stdout
    #[arg(value_name = "DST")]
    target: Option<PathBuf>,
    /// Fetch a directory with everything below it
    #[arg(short, long)]
    recursive: bool,
    /// Fetch these bytes only: `FIRST-LAST`, `FIRST-` or `-LENGTH`, counted from 0
    #[arg(long, value_parser = parse_range, allow_hyphen_values = true, conflicts_with = "recursive")]
    range: Option<ByteRange>,
    /// Keep the mtime of the stored files
    #[arg(short, long)]
    preserve: bool,
}

/// A range of bytes, before the size is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ByteRange {
    /// From first to last, both included.
    Within(u64, u64),
    /// From there to the end.
    From(u64),
    /// So many at the end.
    Last(u64),
}

impl ByteRange {
    /// The bytes of a file of that size, as a half-open range within it.
    pub(crate) fn of(self, size: u64) -> Range<u64> {
        let (start, end) = match self {
            Self::Within(first, last) => (first, last.saturating_add(1)),
            Self::From(first) => (first, size),
            Self::Last(n) => (size.saturating_sub(n), size),
        };
        let end = end.min(size);
        start.min(end)..end
    }
}

pub(crate) fn parse_range(text: &str) -> Result<ByteRange, String> {
    let fix = || "write `FIRST-LAST`, `FIRST-` or `-LENGTH`".to_owned();
    let (first, last) = text.split_once('-').ok_or_else(fix)?;
    let number = |s: &str| s.parse::<u64>().map_err(|_| fix());
    match (first, last) {
        ("", last) => number(last).map(ByteRange::Last),
        (first, "") => number(first).map(ByteRange::From),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if first > last { Err(fix()) } else { Ok(ByteRange::Within(first, last)) }
        }
    }
}

pub(crate) async fn run(args: GetArgs, context: &Context) -> Result {
    let store = context.open_to_read().await?;
    let get = Get { service: store.service, quiet: context.quiet, preserve: args.preserve };
    if args.recursive
        && let Entry::Directory(_) = get.service.entry(&args.path.path).await?
    {
        return get.tree(&args.path, args.target).await;
    }
    if args.path.slash {
        return Err(failure(ErrorKind::IsDirectory, "this names a directory; -r fetches it"));
    }
    let path = args.path.file()?;
    match args.target {
        Some(target) if target == Path::new("-") => {
            let mut out = Out::new();
            to_stdout(&get.service, &path, args.range, &mut out).await?;
            out.flush()?;
        }
        target => {
            let target = target.unwrap_or_else(|| PathBuf::from("."));
            let target = if target.is_dir() { target.join(path.basename()) } else { target };
            get.file(&path, &target, args.range).await?;
        }
    }
    Ok(Outcome::Done)
}

/// Writes a file, or a range of it, to stdout.
pub(crate) async fn to_stdout(
    service: &FileService,
    path: &FilePath,
    range: Option<ByteRange>,
    out: &mut Out,
) -> Result<()> {
    let (meta, mut body) = open(service, path, range).await?;
    let mut check = Check::new(&meta, &body);
    while let Some(piece) = body.next().await {
        let piece = piece?;
        check.update(&piece);
        out.bytes(&piece)?;
    }
    Ok(check.done(path)?)
}

async fn open(
    service: &FileService,
    path: &FilePath,
    range: Option<ByteRange>,
) -> Result<(FileMeta, Body), Error> {
    let Some(range) = range else { return service.open_whole(path).await };
    let opened = service.open(path, move |meta| Some(range.of(meta.size))).await?;
    match opened.body {
        Some(body) if body.range().is_empty() && opened.meta.size > 0 => Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("`{path}` has {} bytes: the range lies behind them", opened.meta.size),
        )),
        Some(body) => Ok((opened.meta, body)),
        None => Err(Error::new(ErrorKind::Internal, format!("`{path}` was opened without bytes"))),
    }
}

/// Compares the bytes of a whole file with its digest, where it is known.
struct Check {
    expected: Option<Sha256>,
    hasher: sha2::Sha256,
}

impl Check {
    fn new(meta: &FileMeta, body: &Body) -> Self {
        let whole = body.range() == (0..meta.size);
        Self { expected: meta.sha256.filter(|_| whole), hasher: sha2::Sha256::new() }
    }

    fn update(&mut self, piece: &[u8]) {
        if self.expected.is_some() {
            self.hasher.update(piece);
        }
    }

    fn done(self, path: &FilePath) -> Result<(), Error> {
        let Some(expected) = self.expected else { return Ok(()) };
        let found = Sha256::from_bytes(self.hasher.finalize().into());
        if found == expected {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Corrupt,
            format!("the bytes of `{path}` have the SHA-256 {found}, and {expected} was stored"),
        ))
    }
}

struct Get {
    service: FileService,
    quiet: bool,
    preserve: bool,
}

impl Get {
    async fn file(&self, path: &FilePath, target: &Path, range: Option<ByteRange>) -> Result<()> {
        let (meta, mut body) = open(&self.service, path, range).await?;
        let mut local = Local::create(target)?;
        let mut check = Check::new(&meta, &body);
        let total = body.remaining();
        let mut progress = Progress::new(path.as_str(), Unit::Bytes, Some(total), self.quiet);
        while let Some(piece) = body.next().await {
            let piece = piece?;
            check.update(&piece);
            local.write(&piece).await?;
            progress.add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        }
        check.done(path)?;
        let mtime = self.preserve.then(|| {
            let nanos = u64::try_from(meta.mtime.nanos()).unwrap_or_default();
            std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_nanos(nanos)
        });
        Ok(local.finish(mtime).await?)
    }

    async fn tree(&self, place: &Place, target: Option<PathBuf>) -> Result {
        let root = match (target, place.path.path()) {
            (Some(target), _) if target == Path::new("-") => {
                return Err(failure(ErrorKind::Usage, "a directory cannot go to stdout"));
            }
            // As `cp -r` does: into a directory that is there, else under that name.
            (Some(target), Some(path)) if target.is_dir() => target.join(path.basename()),
            (Some(target), _) => target,
            (None, Some(path)) => PathBuf::from(path.basename()),
            (None, None) => PathBuf::from("."),
        };
        let mut tally = Tally::default();
        make_dir(&root)?;
        let mut walk = Walk::new(&self.service, place.path.clone(), true);
        while let Some(entry) = walk.next().await? {
            let Some(rest) = entry_below(place, &entry) else { continue };
            // Rules K: no segment of a path is `..`, so this stays below `root`.
            let target = root.join(rest);
            match &entry {
                Entry::Directory(_) => {
                    if let Err(e) = make_dir(&target) {
                        tally.fail(&e);
                    }
                }
                Entry::File(file) => {
                    let got = self.file(&file.path, &target, None).await;
                    tally.count(got.map_err(|e| crate::outcome::naming(e, &file.path)))?;
                }
            }
        }
        Ok(tally.outcome())
    }
}

fn entry_below<'a>(place: &Place, entry: &'a Entry) -> Option<&'a str> {
    match entry {
        Entry::File(file) => place.path.relative(&file.path),
        Entry::Directory(dir) => place.path.relative(dir.path.path()?),
    }
}

/// A local file that is being written: renamed over its name at the end, or removed. What is no
/// regular file (a pipe, `/dev/null`) is written to as it is.
enum Local {
    Staged { file: tokio::fs::File, temp: tempfile::TempPath, target: PathBuf },
    Special { file: tokio::fs::File, target: PathBuf },
}

impl Local {
    fn create(target: &Path) -> Result<Self, Error> {
        let fault = |e| local_fault(target, e);
        // Through symbolic links, as `cp` does; a dangling one is replaced.
        let target = std::fs::canonicalize(target).unwrap_or_else(|_| target.to_owned());
        match std::fs::metadata(&target) {
            Ok(metadata) if metadata.is_dir() => {
                let what = format!("`{}` is a directory", target.display());
                return Err(Error::new(ErrorKind::IsDirectory, what));
            }
            Ok(metadata) if !metadata.is_file() => {
                let file = std::fs::File::options().write(true).open(&target).map_err(fault)?;
                return Ok(Self::Special { file: tokio::fs::File::from_std(file), target });
            }
            _ => {}
        }
        let dir = match target.parent() {
            Some(dir) if dir != Path::new("") => dir,
            _ => Path::new("."),
        };
        // Less the umask, as every new file.
        let mode = std::fs::Permissions::from_mode(0o666);
        let (file, temp) = tempfile::Builder::new()
            .prefix(".ezdfs-get-")
            .permissions(mode)
            .tempfile_in(dir)
            .map_err(fault)?
            .into_parts();
        Ok(Self::Staged { file: tokio::fs::File::from_std(file), temp, target })
    }

    async fn write(&mut self, piece: &[u8]) -> Result<(), Error> {
        let (Self::Staged { file, target, .. } | Self::Special { file, target }) = self;
        file.write_all(piece).await.map_err(|e| local_fault(target, e))
    }

    async fn finish(self, mtime: Option<std::time::SystemTime>) -> Result<(), Error> {
        let (mut file, temp, target) = match self {
            Self::Staged { file, temp, target } => (file, Some(temp), target),
            Self::Special { file, target } => (file, None, target),
        };
        // tokio reports the error of the last write here.
        file.flush().await.map_err(|e| local_fault(&target, e))?;
        let Some(temp) = temp else { return Ok(()) };
        let file = file.into_std().await;
        if let Some(mtime) = mtime {
            file.set_modified(mtime).map_err(|e| local_fault(&target, e))?;
        }
        temp.persist(&target).map_err(|e| local_fault(&target, e.error))
    }
}

fn make_dir(dir: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(dir).map_err(|e| local_fault(dir, e))
}

fn local_fault(path: &Path, e: std::io::Error) -> Error {
    Error::new(io_kind(&e), format!("cannot write `{}`", path.display())).with_source(e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_range() {
        for (text, size, range) in [
            ("0-9", 100, 0..10),
            ("90-200", 100, 90..100),
            ("5-", 100, 5..100),
            ("-7", 100, 93..100),
            ("-700", 100, 0..100),
            ("200-", 100, 100..100),
            ("0-18446744073709551615", 3, 0..3),
        ] {
            assert_eq!(parse_range(text).unwrap().of(size), range, "{text}");
        }
        for bad in ["", "-", "5", "9-5", "a-b", "1-2-3", "0-18446744073709551616"] {
            assert!(parse_range(bad).is_err(), "{bad}");
        }
    }
}
