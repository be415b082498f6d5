//! `ezdfs cat`

use clap::Args;
use ezdfs_core::FilePath;

use crate::context::Context;
use crate::get::{ByteRange, parse_range, to_stdout};
use crate::out::Out;
use crate::outcome::{Result, Tally, naming};
use crate::paths;

const AFTER: &str = "\
Examples:
  ezdfs cat images/1/2/a.svg
  ezdfs cat --range -100 log/today.txt      the last 100 bytes";

/// Write files to stdout, one after the other
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct CatArgs {
    /// Which files
    #[arg(value_name = "PATH", value_parser = paths::file(), required = true)]
    paths: Vec<FilePath>,
    /// These bytes of each only: `FIRST-LAST`, `FIRST-` or `-LENGTH`, counted from 0
    #[arg(long, value_parser = parse_range, allow_hyphen_values = true)]
    range: Option<ByteRange>,
}

pub(crate) async fn run(args: CatArgs, context: &Context) -> Result {
    let store = context.open_to_read().await?;
    let mut out = Out::new();
    let mut tally = Tally::default();
    for path in &args.paths {
        let written = to_stdout(&store.service, path, args.range, &mut out).await;
        tally.count(written.map_err(|e| naming(e, path)))?;
    }
    out.flush()?;
    Ok(tally.outcome())
}
