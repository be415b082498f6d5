//! `ezdfs gc`

use std::time::Duration;

use clap::Args;
use ezdfs_binarydata::LocalStore;
use ezdfs_core::ErrorKind;
use ezdfs_engine::{AbortedUploads, Maintained};
use serde::Serialize;

use crate::context::{Context, Store};
use crate::out::Out;
use crate::outcome::{Outcome, Result};
use crate::size;
use crate::when::parse_duration;

const AFTER: &str = "\
Does once what `serve` does all the time: rolls interrupted work forward, hides expired files,
removes the bytes of deleted files whose grace is over and of quarantined ones whose time has
come, trims the change feed; removes staged files that crashed writers left, and aborts their uploads
to S3 and Google Cloud Storage (Azure drops them after a week); and queues deleted bytes that no
pending work names. Nothing that a visible file names is ever removed. May run on all nodes at
once. A database or a store that fails ends it with exit code 1.
Exit code 3: some of it failed, was named in the log, and is tried again at the next run.

JSON (--json): one object with rolled, reaped, expired, forgotten, trimmed, failed, requeued,
staging_files, staging_bytes, staging_kept, uploads_aborted, uploads_kept.

Examples:
  ezdfs gc
  ezdfs gc --staging-age 0s         when no other machine writes to this store";

/// Finish interrupted work and remove what is no longer needed, once
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct GcArgs {
    /// How long ago a staged file or an unfinished upload was last written before it is taken for
    /// abandoned. Files of running processes of this machine always stay; uploads do not.
    #[arg(long, value_name = "AGE", default_value = "1h", value_parser = parse_duration)]
    staging_age: Duration,
    /// How long deleted bytes stay that no pending work names any more, e.g. after the database was
    /// restored to an older state
    #[arg(long, value_name = "AGE", default_value = "30d", value_parser = parse_duration)]
    keep: Duration,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Cleaned {
    #[serde(flatten)]
    maintained: Maintained,
    requeued: u64,
    staging_files: u64,
    staging_bytes: u64,
    staging_kept: u64,
    uploads_aborted: u64,
    uploads_kept: u64,
}

pub(crate) async fn run(args: GcArgs, context: &Context) -> Result {
    let store = context.open().await?;
    let maintained = store.service.maintain().await?;
    let requeued = store.service.queue_leftovers(args.keep).await?;
    let swept = match &store.local {
        Some(local) => local.sweep(store.service.clock().now().minus(args.staging_age)).await?,
        None => ezdfs_binarydata::local::Swept::default(),
    };
    if let Some(local) = &store.local {
        prune_quarantine(&store, local).await?;
    }
    let uploads = abort_uploads(&store, args.staging_age).await?;
    let mut out = Out::new();
    let cleaned = Cleaned {
        maintained,
        requeued,
        staging_files: swept.files,
        staging_bytes: swept.bytes,
        staging_kept: swept.kept,
        uploads_aborted: uploads.aborted,
        uploads_kept: uploads.kept,
    };
    if args.json {
        out.json(&cleaned)?;
    } else {
        for (count, what) in [
            (maintained.rolled, "interrupted pieces of work rolled forward"),
            (maintained.expired, "expired files hidden"),
            (maintained.reaped, "deleted files whose bytes were removed"),
            (maintained.forgotten, "records of ended work forgotten"),
            (maintained.trimmed, "rows of the change feed trimmed"),
            (requeued, "deleted files without pending work, to be removed later"),
            (maintained.failed, "pieces of work failed"),
            (swept.kept, "staged files kept"),
            (uploads.aborted, "abandoned uploads aborted"),
            (uploads.kept, "unfinished uploads kept"),
        ] {
            out.line(&format!("{count:>9} {what}"))?;
        }
        let bytes = size::human(swept.bytes);
        out.line(&format!("{:>9} staged files removed ({bytes})", swept.files))?;
    }
    out.flush()?;
    Ok(if maintained.failed > 0 { Outcome::Partial } else { Outcome::Done })
}

/// Not every store tells of uploads, nor tells everybody.
async fn abort_uploads(store: &Store, age: Duration) -> Result<AbortedUploads> {
    match store.service.abort_uploads(age).await {
        Err(e) if matches!(e.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied) => {
            tracing::warn!(error = %e, "unfinished uploads were not looked for");
            Ok(AbortedUploads::default())
        }
        done => Ok(done?),
    }
}

/// Removes the directories that quarantined files have left.
pub(crate) async fn prune_quarantine(store: &Store, local: &LocalStore) -> Result<()> {
    let folder = store.service.binary().prefix.reserved_key("quarantine")?;
    Ok(local.remove_empty_dirs(Some(&folder)).await?)
}
