//! `ezdfs put`

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use ezdfs_core::{DirPath, ETag, Error, ErrorKind, FilePath, Timestamp};
use ezdfs_engine::{FileService, Precondition, PublishOptions, Published};
use futures::StreamExt as _;
use serde::Serialize;

use crate::context::Context;
use crate::out::Out;
use crate::outcome::{Result, Tally, failure};
use crate::paths::{self, Place, into_dir};
use crate::progress::{Progress, Unit};
use crate::stream::{io_kind, pieces};
use crate::tree;
use crate::when::{self, Expiry, rfc3339};

const AFTER: &str = "\
With several sources, or when PATH is a directory or ends with a slash, files go into that
directory under their own names; missing directories are made. A file becomes visible whole,
when all its bytes are durable, or not at all. An existing file is replaced unless a condition
forbids it.

JSON (--json): one object per file with path, size, sha256, etag, mtime, media_type, created.

Examples:
  ezdfs put a.jpg images/1/2/a.jpg
  ezdfs put *.jpg images/1/2/
  ezdfs put -r site/images /                            makes images/… from site/images/…
  mysqldump shop | ezdfs put - backup/shop.sql --type application/sql --expires +30d
  ezdfs put a.jpg images/a.jpg --if-none-match '*'      only if there is none
  ezdfs put a.jpg images/a.jpg --if-match '\"9f86…\"'     only over that version (see stat)";

/// Store local files, or stdin (`-`)
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct PutArgs {
    /// Local files; `-` is stdin
    #[arg(value_name = "SRC", required = true)]
    sources: Vec<PathBuf>,
    /// Where in the store
    #[arg(value_name = "PATH", value_parser = paths::place(), required = true)]
    path: Place,
    /// Store directories with everything below them
    #[arg(short, long)]
    recursive: bool,
    /// Store only if the path has no file yet; `*` is the only value
    #[arg(long, value_name = "*", value_parser = ["*"], hide_possible_values = true, conflicts_with = "if_match")]
    if_none_match: Option<String>,
    /// Store only over the version of that entity tag; `*` is any version
    #[arg(long, value_name = "ETAG")]
    if_match: Option<String>,
    /// Media type; guessed from the name if not given
    #[arg(long = "type", value_name = "TYPE")]
    media_type: Option<String>,
    /// When the files cease to exist: `+3600` (seconds), `+12h`, an HTTP date, or RFC 3339
    #[arg(long, value_name = "WHEN", value_parser = when::parse_expiry, allow_hyphen_values = true)]
    expires: Option<Expiry>,
    /// Keep the mtime of local files
    #[arg(short, long)]
    preserve: bool,
    /// One JSON object per file
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct PutJson<'a> {
    path: &'a str,
    size: u64,
    sha256: String,
    etag: String,
    mtime: String,
    media_type: &'a str,
    created: bool,
}

pub(crate) async fn run(args: PutArgs, context: &Context) -> Result {
    let put = Put::new(&args, context).await?;
    let mut out = Out::new();
    let mut tally = Tally::default();
    let into = put.directory(&args).await?;
    for source in &args.sources {
        match put.target(source, &args, into.as_ref()) {
            Err(e) => tally.fail(&e),
            Ok(target) => put.one(source, &target, &args, &mut tally, &mut out).await?,
        }
    }
    out.flush()?;
    Ok(tally.outcome())
}

struct Put {
    service: FileService,
    options: PublishOptions,
    quiet: bool,
}

impl Put {
    async fn new(args: &PutArgs, context: &Context) -> Result<Self> {
        let store = context.open().await?;
        let precondition = match (&args.if_none_match, &args.if_match) {
            (Some(_), _) => Precondition::Absent,
            (None, Some(any)) if any == "*" => Precondition::Present,
            (None, Some(tags)) => Precondition::Matches(parse_tags(tags)?),
            (None, None) => Precondition::None,
        };
        let now = store.service.clock().now();
        let expires = args.expires.map_or(Ok(None), |e| e.resolve(now))?;
        let needs_row = expires.is_some() || args.media_type.is_some();
        if needs_row && !store.service.metadata().is_separate() {
            return Err(failure(
                ErrorKind::Unsupported,
                "this metadata handler is derived from the objects and keeps neither --expires nor \
                 --type; use one with a table",
            ));
        }
        let options = PublishOptions {
            precondition,
            datatype: args.media_type.clone(),
            expires,
            ..PublishOptions::default()
        };
        Ok(Self { service: store.service, options, quiet: context.quiet })
    }

    /// The directory that the sources go into; `None` when PATH names the file itself.
    async fn directory(&self, args: &PutArgs) -> Result<Option<DirPath>> {
        let place = &args.path;
        let is_dir = tree::is_directory(&self.service, &place.path).await?;
        if place.slash || is_dir {
            return Ok(Some(place.path.clone()));
        }
        if args.sources.len() > 1 {
            return Err(failure(
                ErrorKind::Usage,
                format!(
                    "several sources need a directory: write `{}/`, or make it with `ezdfs mkdir`",
                    place.path
                ),
            ));
        }
        Ok(None)
    }

    fn target(
        &self,
        source: &Path,
        args: &PutArgs,
        into: Option<&DirPath>,
    ) -> Result<FilePath, Error> {
        let Some(dir) = into else { return args.path.file() };
        let name = match source.file_name() {
            Some(name) if source != Path::new("-") => name,
            _ => {
                return Err(Error::new(
                    ErrorKind::Usage,
                    format!("`{}` has no name of its own: give PATH a file name", source.display()),
                ));
            }
        };
        let named = text(name).and_then(|name| into_dir(dir, name));
        named.map_err(|e| e.context(format_args!("`{}`", source.display())))
    }

    async fn one(
        &self,
        source: &Path,
        target: &FilePath,
        args: &PutArgs,
        tally: &mut Tally,
        out: &mut Out,
    ) -> Result<()> {
        if source == Path::new("-") {
            let put = self.stdin(target).await;
            return told(tally, put, target, args, out);
        }
        let metadata = match tokio::fs::metadata(source).await {
            Ok(metadata) => metadata,
            Err(e) => {
                tally.fail(&local(source, e));
                return Ok(());
            }
        };
        if !metadata.is_dir() {
            let put = self.file(source, target, args).await;
            return told(tally, put, target, args, out);
        }
        if !args.recursive {
            tally.fail(&Error::new(
                ErrorKind::IsDirectory,
                format!("`{}` is a directory; -r stores it", source.display()),
            ));
            return Ok(());
        }
        self.tree(source, target, args, tally, out).await
    }

    /// A local directory; symbolic links in it are left out, and named.
    async fn tree(
        &self,
        source: &Path,
        target: &FilePath,
        args: &PutArgs,
        tally: &mut Tally,
        out: &mut Out,
    ) -> Result<()> {
        let mut todo = vec![(source.to_owned(), target.clone())];
        while let Some((dir, target)) = todo.pop() {
            if let Err(e) = self.service.mkdir(&target, false, None).await {
                tally.fail(&e);
                continue;
            }
            let mut entries = match tokio::fs::read_dir(&dir).await {
                Ok(entries) => entries,
                Err(e) => {
                    tally.fail(&local(&dir, e));
                    continue;
                }
            };
            loop {
                let entry = match entries.next_entry().await {
                    Ok(Some(entry)) => entry,
                    Ok(None) => break,
                    Err(e) => {
                        tally.fail(&local(&dir, e));
                        break;
                    }
                };
                let path = entry.path();
                let named = text(&entry.file_name())
                    .and_then(|name| into_dir(&target.clone().into(), name))
                    .map_err(|e| e.context(format_args!("`{}`", path.display())));
                match (named, entry.file_type().await) {
                    (Err(e), _) => tally.fail(&e),
                    (_, Err(e)) => tally.fail(&local(&path, e)),
                    (Ok(target), Ok(kind)) if kind.is_dir() => todo.push((path, target)),
                    (Ok(target), Ok(kind)) if kind.is_file() => {
                        let put = self.file(&path, &target, args).await;
                        told(tally, put, &target, args, out)?;
                    }
                    (Ok(_), Ok(_)) => tally.fail(&Error::new(
                        ErrorKind::Unsupported,
                        format!("`{}` is neither file nor directory: left out", path.display()),
                    )),
                }
            }
        }
        Ok(())
    }

    async fn file(&self, source: &Path, target: &FilePath, args: &PutArgs) -> Result<Published> {
        let fault = |e| local(source, e);
        let file = tokio::fs::File::open(source).await.map_err(fault)?;
        let metadata = file.metadata().await.map_err(fault)?;
        let mtime: Option<Timestamp> = match args.preserve {
            true => Some(when::from_system(metadata.modified().map_err(fault)?)),
            false => None,
        };
        let total = metadata.is_file().then_some(metadata.len());
        let what = format!("`{}`", source.display());
        let options = PublishOptions { mtime, ..self.options.clone() };
        self.publish(file, what, total, target, options).await
    }

    async fn stdin(&self, target: &FilePath) -> Result<Published> {
        let options = self.options.clone();
        self.publish(tokio::io::stdin(), "stdin".to_owned(), None, target, options).await
    }

    async fn publish(
        &self,
        reader: impl tokio::io::AsyncRead + Send + Unpin,
        what: String,
        total: Option<u64>,
        target: &FilePath,
        options: PublishOptions,
    ) -> Result<Published> {
        let mut progress = Progress::new(target.as_str(), Unit::Bytes, total, self.quiet);
        let body = pieces(reader, what).inspect(|piece| {
            if let Ok(bytes) = piece {
                progress.add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            }
        });
        Ok(self.service.publish(target, body, options).await?)
    }
}

fn told(
    tally: &mut Tally,
    put: Result<Published>,
    path: &FilePath,
    args: &PutArgs,
    out: &mut Out,
) -> Result<()> {
    let put = put.map_err(|e| crate::outcome::naming(e, path));
    let Some(published) = tally.count(put)? else { return Ok(()) };
    if !args.json {
        return Ok(());
    }
    out.json(&PutJson {
        path: path.as_str(),
        size: published.size,
        sha256: published.sha256.to_string(),
        etag: published.etag.to_string(),
        mtime: rfc3339(published.mtime),
        media_type: &published.datatype,
        created: published.created,
    })
}

/// `If-Match`: entity tags, separated by commas.
fn parse_tags(text: &str) -> Result<Vec<ETag>, Error> {
    text.split(',').map(|tag| tag.trim().parse()).collect()
}

fn text(name: &OsStr) -> Result<&str, Error> {
    std::str::from_utf8(name.as_bytes())
        .map_err(|e| ezdfs_core::PathError::NotUtf8(e.valid_up_to()).into())
}

/// An error of the local file system.
fn local(path: &Path, e: std::io::Error) -> Error {
    Error::new(io_kind(&e), format!("cannot read `{}`", path.display())).with_source(e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_entity_tags_are_told_apart() {
        let tags = parse_tags("\"a\", W/\"b\",c").unwrap();
        assert_eq!(
            tags,
            [ETag::Strong("a".into()), ETag::Weak("b".into()), ETag::Strong("c".into())]
        );
        assert!(parse_tags("\"a\",").is_err());
    }
}
