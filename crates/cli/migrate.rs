//! `ezdfs migrate-files`

mod dry;

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use ezdfs_config::{Database, Loaded, MetadataHandler, Storage};
use ezdfs_core::{Clock, Error, ErrorKind, SystemClock};
use ezdfs_migrate::{
    CancellationToken, Counts, DEFAULT_HANDLER, FileDone, Filter, Halves, Handlers, Migration,
    Options, Place, Places, Rate, Side, SidePair, SourceMode, Summary, Symbol, Verify,
    default_jobs, parse_bulk_count, resolve, texts,
};
use serde::Serialize;
use tempfile::TempDir;

use crate::context::{Context, on_handlers, open_handlers};
use crate::out::Out;
use crate::outcome::{Failure, Outcome, Result};
use crate::progress::{Progress, Unit};
use crate::signals;

const AFTER: &str = "\
Options and order are those of Ibexa's command of the same name. It may run while the site is
live: run it again afterwards to copy what changed. An interrupted run (Ctrl-C stops cleanly)
goes on where it stopped. Sources are never changed unless --delete-source is given.

The report has one line per file: = same, + copied, * replaced, - missing on the source, !
failed. Exit codes: 0 everything is migrated, 1 nothing is, 2 usage or configuration, 3 done
in part; - counts like !.

JSON (--list-io-handlers --json): one object with the lists metadata and binarydata.

Examples:
  ezdfs migrate-files --list-io-handlers
  ezdfs migrate-files --from default,default --to dfs,nfs --dry-run
  ezdfs migrate-files --from dfs,nfs --to dfs,aws_s3 -n --jobs 16 --report report.txt
  ezdfs migrate-files --from default,nfs --to dfs,nfs        build the table, copy no bytes";

/// Copy the files of one pair of handlers to another, verified and resumable
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct MigrateArgs {
    /// Source: a metadata and a binary data handler [default: default,default]
    #[arg(long, value_name = "META,BIN")]
    from: Option<String>,
    /// Target [default: the first handlers of the configuration]
    #[arg(long, value_name = "META,BIN")]
    to: Option<String>,
    /// Print the names of the handlers and stop
    #[arg(long)]
    list_io_handlers: bool,
    /// With --list-io-handlers: one JSON object
    #[arg(long, requires = "list_io_handlers")]
    json: bool,
    /// Walk and compare, but write nothing and make nothing
    #[arg(long)]
    dry_run: bool,
    /// Files per page of the list
    #[arg(long, value_name = "N", default_value = "100", allow_hyphen_values = true)]
    bulk_count: String,
    /// Do not ask
    #[arg(short = 'n', long)]
    no_interaction: bool,
    /// Files at once
    #[arg(long, value_name = "N", default_value_t = default_jobs())]
    jobs: usize,
    /// How copies are checked: none, size, sha256
    #[arg(long, value_name = "HOW", default_value = "sha256")]
    verify: Verify,
    /// Go on with an unfinished run; the default
    #[arg(long, conflicts_with = "restart")]
    resume: bool,
    /// Forget an unfinished run and start from the beginning
    #[arg(long)]
    restart: bool,
    /// Journal of the run [default: in the data directory, named after both sides]
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Where the list of files comes from: tree, table, ibexa [default: table, if the source has one]
    #[arg(long, value_name = "WHERE")]
    source: Option<SourceMode>,
    /// Only paths that match, e.g. `images/**`; may be repeated
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// No paths that match; may be repeated
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// Write what became of each file to FILE
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Delete each source file after its copy was verified
    #[arg(long)]
    delete_source: bool,
    /// Read no more than that in a second, e.g. `20M`
    #[arg(long, value_name = "RATE")]
    bwlimit: Option<Rate>,
    /// Stop at the first file that fails
    #[arg(long)]
    fail_fast: bool,
}

#[derive(Debug, Serialize)]
struct HandlersJson<'a> {
    metadata: &'a [String],
    binarydata: &'a [String],
}

pub(crate) async fn run(args: MigrateArgs, context: &Context) -> Result {
    let loaded = context.load()?;
    let settings = &loaded.settings;
    let handlers = Handlers::new(
        names(settings.metadata_handlers.iter()),
        names(settings.binarydata_handlers.iter()),
    );
    let mut out = Out::new();
    if args.list_io_handlers {
        if args.json {
            let (metadata, binarydata) = (handlers.metadata(), handlers.binarydata());
            out.json(&HandlersJson { metadata, binarydata })?;
        } else {
            out.line(&handlers.to_string())?;
        }
        out.flush()?;
        return Ok(Outcome::Done);
    }
    let bulk_count = parse_bulk_count(&args.bulk_count)?;
    say(&mut out, texts::INTRODUCTION)?;
    let (from, to) = resolve(args.from.as_deref(), args.to.as_deref(), &handlers)?;
    if Halves::of(&from, &to).is_none() {
        say(&mut out, texts::NOTHING_TO_DO)?;
        return Ok(Outcome::Done);
    }
    let options = options(&args, bulk_count, &loaded, &from, &to)?;
    let interactive = !args.no_interaction;
    until_stopped(Run { loaded, from, to, options, interactive, quiet: context.quiet }, &mut out)
        .await
}

fn names<'a, T: 'a>(handlers: impl Iterator<Item = (&'a str, &'a T)>) -> Vec<String> {
    handlers.map(|(name, _)| name.to_owned()).collect()
}

/// Everything that was asked for, checked.
struct Run {
    loaded: Loaded,
    from: SidePair,
    to: SidePair,
    options: Options,
    interactive: bool,
    quiet: bool,
}

/// Runs until a signal: the first one lets the files in flight finish, the second one does not.
async fn until_stopped(run: Run, out: &mut Out) -> Result {
    let cancel = CancellationToken::new();
    let stopping = async {
        signals::shutdown().await;
        cancel.cancel();
        crate::say::note("ezdfs: files in flight are finished; a second signal stops at once");
        signals::shutdown().await;
    };
    tokio::select! {
        result = migrate(run, out, cancel.clone()) => result,
        () = stopping => Err(Failure::Interrupted),
    }
}

async fn migrate(run: Run, out: &mut Out, cancel: CancellationToken) -> Result {
    // Temporary stand-ins of a dry run, removed at the end.
    let (source, target, _stand_ins);
    if run.options.dry_run {
        let (from, to);
        (source, from) = dry_side(&run.loaded, &run.from).await?;
        (target, to) = dry_side(&run.loaded, &run.to).await?;
        _stand_ins = Some((from, to));
    } else {
        source = side(&run.loaded, &run.from).await?;
        target = side(&run.loaded, &run.to).await?;
        _stand_ins = None;
    }
    let migration = Migration::new(source, target, run.options).await?;
    say(out, &texts::pairs(&run.from, &run.to))?;
    let total = tokio::select! {
        total = migration.count() => total?,
        () = cancel.cancelled() => return Err(Failure::Interrupted),
    };
    say(out, &texts::total(total, migration.mode()))?;
    if total == 0 {
        return Ok(Outcome::Done);
    }
    if run.interactive {
        let agreed = tokio::select! {
            agreed = ask() => agreed?,
            () = cancel.cancelled() => return Err(Failure::Interrupted),
        };
        if !agreed {
            say(out, texts::ABORTED)?;
            return Ok(Outcome::Done);
        }
    }
    let watch = Arc::new(Watch::new(total, run.quiet));
    let migration = migration.with_progress(watch.clone()).with_cancel(cancel);
    let summary = migration.run().await?;
    watch.clear();
    tell(&summary, total, out)
}

fn tell(summary: &Summary, total: u64, out: &mut Out) -> Result {
    let processed = summary.counts.processed();
    say(out, &texts::processed(processed))?;
    if let Some(line) = texts::not_migrated(total, processed) {
        say(out, &line)?;
    }
    say(out, &texts::totals(summary))?;
    Ok(match summary.exit_code() {
        0 => Outcome::Done,
        3 => Outcome::Partial,
        _ => Outcome::Failed(ErrorKind::Unavailable),
    })
}

/// Shows a text at once: what comes after it may take hours.
fn say(out: &mut Out, text: &str) -> Result<()> {
    out.line(text)?;
    out.flush()
}

/// Asks on stderr; anything but yes, also the end of stdin, is no.
async fn ask() -> Result<bool, Error> {
    let answer = tokio::task::spawn_blocking(|| {
        let mut stderr = std::io::stderr();
        // With stderr closed nobody sees the question, and the answer still counts.
        let _ = stderr.write_all(texts::QUESTION.as_bytes()).and_then(|()| stderr.flush());
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    let failed = |e| Error::new(ErrorKind::Unavailable, "cannot read the answer").with_source(e);
    let line = answer
        .await
        .map_err(|e| Error::new(ErrorKind::Internal, "the question broke off").with_source(e))?
        .map_err(failed)?;
    Ok(is_yes(&line))
}

fn is_yes(line: &str) -> bool {
    matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

fn options(
    args: &MigrateArgs,
    bulk_count: usize,
    loaded: &Loaded,
    from: &SidePair,
    to: &SidePair,
) -> Result<Options, Error> {
    let journal = args
        .journal
        .clone()
        .unwrap_or_else(|| loaded.data_dir.join("migrate-files").join(journal_name(from, to)));
    Ok(Options {
        source: args.source,
        dry_run: args.dry_run,
        bulk_count,
        jobs: args.jobs,
        verify: args.verify,
        restart: args.restart,
        journal: (!args.dry_run).then_some(journal),
        filter: Filter::new(args.include.clone(), args.exclude.clone())?,
        report: args.report.clone(),
        delete_source: args.delete_source,
        bwlimit: args.bwlimit,
        fail_fast: args.fail_fast,
        ..Options::default()
    })
}

/// One journal per pair of sides. Names that only differ in odd characters share one; the journal
/// itself knows whose it is.
fn journal_name(from: &SidePair, to: &SidePair) -> String {
    let plain = |pair: &SidePair| -> String {
        pair.to_string()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "-_,".contains(c) { c } else { '_' })
            .collect()
    };
    format!("{}-to-{}.journal", plain(from), plain(to))
}

/// One end, opened.
pub(crate) async fn side(loaded: &Loaded, pair: &SidePair) -> Result<Side, Error> {
    let store = open_handlers(loaded, &pair.metadata, &pair.binarydata).await?;
    Ok(Side { pair: pair.clone(), service: store.service, places: places(loaded, pair) })
}

/// One end, opened without a trace.
async fn dry_side(loaded: &Loaded, pair: &SidePair) -> Result<(Side, TempDir), Error> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (side, stand_in) = dry::open(loaded, &pair.metadata, &pair.binarydata, &clock).await?;
    let service = on_handlers(loaded, &pair.binarydata, side, clock).service;
    Ok((Side { pair: pair.clone(), service, places: places(loaded, pair) }, stand_in))
}

/// Where a side keeps its rows and bytes, so that overlapping sides are refused.
fn places(loaded: &Loaded, pair: &SidePair) -> Places {
    let settings = &loaded.settings;
    let rows = match settings.metadata_handlers.get(&pair.metadata) {
        Some(MetadataHandler::Sql(sql)) => {
            let container = match &sql.url.database {
                Database::Sqlite(file) => format!("sqlite:{}?{}", file.display(), sql.table),
                Database::Mysql(url) => format!("mysql:{}?{}", url.place(3306), sql.table),
                Database::Postgres(url) => format!("postgres:{}?{}", url.place(5432), sql.table),
            };
            Some(Place::Names { container, prefix: sql.name_prefix.clone() })
        }
        Some(MetadataHandler::Objects { .. }) | None => None,
    };
    let bytes = if pair.binarydata == DEFAULT_HANDLER {
        settings.store.default_root.clone().map(Place::Directory)
    } else {
        settings.binarydata_handlers.get(&pair.binarydata).and_then(|handler| {
            let names = |container: String, prefix: &ezdfs_core::KeyPrefix| {
                let root = prefix.dir_key(&ezdfs_core::DirPath::root(), usize::MAX);
                let prefix = root.ok().flatten().map(|k| k.to_string()).unwrap_or_default();
                Some(Place::Names { container, prefix })
            };
            let endpoint = handler.endpoint.as_deref().unwrap_or_default();
            match &handler.url.storage {
                Storage::File(root) => Some(Place::Directory(root.clone())),
                // Each handler has a memory of its own.
                Storage::Memory(_) => None,
                Storage::S3 { bucket, prefix } => names(format!("s3:{endpoint}/{bucket}"), prefix),
                Storage::Gcs { bucket, prefix } => names(format!("gs:{bucket}"), prefix),
                Storage::Azure { container, prefix } => {
                    names(format!("az:{endpoint}/{container}"), prefix)
                }
            }
        })
    };
    Places { rows, bytes }
}

/// Draws progress, and names the files that were not migrated.
struct Watch(Mutex<Progress>);

impl Watch {
    fn new(total: u64, quiet: bool) -> Self {
        Self(Mutex::new(Progress::new("migrating", Unit::Many("files"), Some(total), quiet)))
    }

    fn with(&self, f: impl FnOnce(&mut Progress)) {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn clear(&self) {
        self.with(|progress| progress.clear());
    }
}

impl ezdfs_migrate::Progress for Watch {
    fn started(&self, before: &Counts) {
        self.with(|progress| progress.resume(before.processed()));
    }

    fn finished(&self, file: &FileDone, counts: &Counts) {
        self.with(|progress| {
            progress.set(counts.processed());
            if matches!(file.symbol, Symbol::Missing | Symbol::Failed) {
                let why = file.why.as_deref().unwrap_or("no reason is known");
                progress.note(&format!("{file}: {why}"));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for yes in ["y\n", "Yes\n", " YES \n"] {
            assert!(is_yes(yes), "{yes}");
        }
        for no in ["", "\n", "n\n", "yep\n", "1\n"] {
            assert!(!is_yes(no), "{no}");
        }
    }

    #[test]
    fn journals_are_named_after_both_sides() {
        let pair = |m: &str, b: &str| SidePair { metadata: m.into(), binarydata: b.into() };
        let name = journal_name(&SidePair::default(), &pair("dfs", "../x y"));
        assert_eq!(name, "default,default-to-dfs,___x_y.journal");
    }
}
