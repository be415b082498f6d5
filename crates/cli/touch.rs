//! `ezdfs touch`

use clap::Args;
use ezdfs_core::{FilePath, Timestamp};
use ezdfs_engine::Touch;

use crate::context::Context;
use crate::outcome::{Result, Tally, naming};
use crate::paths;
use crate::when::{self, Expiry};

const AFTER: &str = "\
A path without file gets an empty one, unless -c is given.

Examples:
  ezdfs touch images/1/2/a.jpg
  ezdfs touch -c -d 2024-01-31T12:00:00Z images/1/2/a.jpg
  ezdfs touch --expires +45m sessions/4711
  ezdfs touch --expires never --type image/webp images/a.webp";

/// Change mtime, expiry or media type; make empty files
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct TouchArgs {
    /// Which files
    #[arg(value_name = "PATH", value_parser = paths::file(), required = true)]
    paths: Vec<FilePath>,
    /// The new mtime instead of now: RFC 3339, an HTTP date, or `@` and Unix seconds
    #[arg(short, long, value_name = "TIME", value_parser = when::parse_time)]
    date: Option<Timestamp>,
    /// Do not make files
    #[arg(short = 'c', long)]
    no_create: bool,
    /// When the files cease to exist: `+3600` (seconds), `+12h`, an HTTP date, RFC 3339, `never`
    #[arg(long, value_name = "WHEN", value_parser = when::parse_expiry, allow_hyphen_values = true)]
    expires: Option<Expiry>,
    /// The new media type
    #[arg(long = "type", value_name = "TYPE")]
    media_type: Option<String>,
}

pub(crate) async fn run(args: TouchArgs, context: &Context) -> Result {
    let store = context.open().await?;
    let now = store.service.clock().now();
    let touch = Touch {
        mtime: args.date,
        expires: args.expires.map(|e| e.resolve(now)).transpose()?,
        datatype: args.media_type,
        mode: None,
        no_create: args.no_create,
    };
    let mut tally = Tally::default();
    for path in &args.paths {
        let touched = match store.service.touch(path, &touch).await {
            // As touch(1): with -c a missing file is no failure.
            Err(e) if args.no_create && e.kind() == ezdfs_core::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        tally.count(touched.map_err(|e| naming(e.into(), path)))?;
    }
    Ok(tally.outcome())
}
