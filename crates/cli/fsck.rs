//! `ezdfs fsck`

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use ezdfs_binarydata::LocalStore;
use ezdfs_core::{DirPath, Error, ErrorKind};
use ezdfs_engine::fsck::{Event, Finding, FsckOptions, Kind, MaxSuspects, Repairs, Summary};
use ezdfs_engine::throttle::Rate;
use serde::Serialize;

use crate::context::{Context, Store};
use crate::out::Out;
use crate::outcome::{Failure, Outcome, Result};
use crate::paths::{self, Place};
use crate::progress::{Progress, Unit};
use crate::size;
use crate::when::parse_duration;

/// Findings of one kind that are shown without -v.
const EXAMPLES: usize = 3;

const AFTER: &str = "\
Compares the rows of the database with the objects of the store, and names everything that
neither readers nor `ezdfs serve` mend by themselves: rows without an object and objects without
a row, objects of another size or identity than their row, re-created files that an old soft
delete hides, names that differ by case or Unicode form only, entries that are missing, stale or
stray, names that cannot be served, files beside directories of the same path, abandoned uploads,
pending work that nobody does. Nothing is changed unless one of --repair, --adopt, --hide-missing
and --prune-empty is given.

--repair mends what is safe, each path after another look under a hold: objects without a row go
to quarantine (.ezdfs/quarantine; `gc` and `serve` delete them after --keep, --restore-quarantine
brings them back), rows follow objects that were replaced, missing entries are made, re-created
files are shown again, interrupted work is finished, abandoned uploads go. Rows whose bytes are
gone are kept, because their metadata may be all that is left; --hide-missing hides them, and
`trash restore` shows them again. Twins, bad names, wrong digests and files beside directories are
only named: nobody but you can tell what is right.

After a restore or a move to another file server every object is another one than its row was
written with: --adopt accepts those whose size and mtime are the same (with --deep: the SHA-256).

The site may be live: what is younger than --min-age, and what somebody is at work on, is neither
a finding nor touched; repairs also leave alone what is younger than store.delete_grace. Nothing
is repaired when a listing or a query fails, or when so much is wrong that the store is probably
not mounted or a prefix wrong. Needs about 150 bytes in $TMPDIR for each row and object, and
little memory. Several may run at once, and one that was killed is just run again.

Exit codes: 0 nothing found, or everything repaired; 1 rows or objects could not be read: what was
printed is not all, and nothing was repaired; 3 repaired in part; 4 something was found (and
nothing repaired).

JSON (--json): one object per finding with kind, path, size (where known) and detail; one per
repair with repaired (the kind), path, done and outcome; at the end one with summary: rows,
objects, bytes, read, young, busy, orphan_bytes, adoptable, found and repaired (by kind), failed,
refused (why nothing was or would be repaired), uploads_unknown (why unfinished uploads were not
looked for). --restore-quarantine: one with restored and kept.

Examples:
  ezdfs fsck
  ezdfs fsck --deep --jobs 4 --bwlimit 20M      read every byte, slowly
  ezdfs fsck --prefix images/1 -v               all findings below images/1
  ezdfs fsck --repair --keep 7d
  ezdfs fsck --adopt                            after a restore of the files
  ezdfs fsck --restore-quarantine
  ezdfs fsck --json | jq -r 'select(.kind == \"orphan\") | .path'";

/// Compare rows and objects, name what is wrong, and repair it on request
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct FsckArgs {
    /// Only this directory or file, and what lies below it
    #[arg(long, value_name = "PATH", value_parser = paths::place())]
    prefix: Option<Place>,
    /// Read every byte: SHA-256 where it is known, else that all of it can be read
    #[arg(long)]
    deep: bool,
    /// What changed less than this ago is not judged
    #[arg(long, value_name = "AGE", default_value = "1h", value_parser = parse_duration)]
    min_age: Duration,
    /// Files that are looked at or read at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
    /// Bytes per second that --deep may read, e.g. `500K`, `20M`, `1G`
    #[arg(long, value_name = "RATE", requires = "deep")]
    bwlimit: Option<Rate>,
    /// How many findings are believed: a share of the rows or objects (100 are always believed),
    /// or a number
    #[arg(long, value_name = "N|N%", default_value = "10%")]
    max_suspects: MaxSuspects,
    /// Mend what is safe
    #[arg(long)]
    repair: bool,
    /// Accept objects that are the version of their row under a new identity
    #[arg(long)]
    adopt: bool,
    /// Hide rows whose bytes are gone
    #[arg(long)]
    hide_missing: bool,
    /// Remove directories without entries
    #[arg(long)]
    prune_empty: bool,
    /// How long --repair keeps objects in quarantine
    #[arg(long, value_name = "AGE", default_value = "30d", value_parser = parse_duration, requires = "repair")]
    keep: Duration,
    /// Bring back what is in quarantine, and do nothing else
    #[arg(long, conflicts_with_all = ["repair", "adopt", "hide_missing", "prune_empty", "deep", "prefix"])]
    restore_quarantine: bool,
    /// NDJSON
    #[arg(long)]
    json: bool,
}

impl FsckArgs {
    fn options(&self) -> FsckOptions {
        FsckOptions {
            prefix: self.prefix.as_ref().map_or_else(DirPath::root, |place| place.path.clone()),
            age: self.min_age,
            deep: self.deep,
            jobs: usize::from(self.jobs),
            bwlimit: self.bwlimit,
            max_suspects: self.max_suspects,
            repairs: Repairs {
                safe: self.repair,
                adopt: self.adopt,
                hide_missing: self.hide_missing,
                prune_empty: self.prune_empty,
                keep: self.keep,
            },
        }
    }
}

#[derive(Debug, Serialize)]
struct End<'a> {
    summary: &'a Summary,
}

#[derive(Debug, Serialize)]
struct RepairedJson<'a> {
    repaired: Kind,
    path: &'a str,
    done: bool,
    outcome: &'a str,
}

pub(crate) async fn run(args: FsckArgs, context: &Context) -> Result {
    let store = context.open().await?;
    if args.restore_quarantine {
        return restore(&args, &store).await;
    }
    let options = args.options();
    let mut printer = Printer::new(args.json, options.repairs.any(), context);
    let checked = store.service.fsck(&options, &mut |event| printer.tell(&event)).await;
    let mut summary = match (printer.failure.take(), checked) {
        (Some(failure), _) => return Err(failure),
        (None, checked) => checked?,
    };
    if let Some(local) = store.local.as_ref().filter(|_| summary.refused.is_none()) {
        tidy(&args, &store, local, &mut summary).await?;
    }
    printer.end(&summary)?;
    Ok(outcome(&summary))
}

/// What only a local store has: staged files, and directories of its own.
async fn tidy(
    args: &FsckArgs,
    store: &Store,
    local: &LocalStore,
    summary: &mut Summary,
) -> Result<()> {
    if args.repair && summary.of(Kind::Staging) > 0 {
        let swept = local.sweep(store.service.clock().now().minus(args.min_age)).await?;
        let staged = swept.files.min(summary.of(Kind::Staging));
        summary.repaired.insert(Kind::Staging, staged);
    }
    if args.prune_empty {
        let below = args.options().prefix;
        let below = store.service.binary().dir_key(&below)?;
        local.remove_empty_dirs(below.as_ref()).await?;
    }
    Ok(())
}

async fn restore(args: &FsckArgs, store: &Store) -> Result {
    let restored = store.service.restore_quarantine().await?;
    if let Some(local) = &store.local {
        crate::gc::prune_quarantine(store, local).await?;
    }
    let mut out = Out::new();
    if args.json {
        out.json(&restored)?;
    } else {
        out.line(&format!("{:>9} objects brought back from quarantine", restored.restored))?;
        out.line(&format!("{:>9} kept: another object has their place", restored.kept))?;
    }
    out.flush()?;
    Ok(if restored.kept > 0 { Outcome::Partial } else { Outcome::Done })
}

fn outcome(summary: &Summary) -> Outcome {
    match (summary.findings(), summary.repairs()) {
        (0, _) => Outcome::Done,
        (_, 0) => Outcome::Problems,
        (found, repaired) if repaired >= found && summary.failed == 0 => Outcome::Done,
        _ => Outcome::Partial,
    }
}

/// Shows what fsck tells.
struct Printer {
    out: Out,
    json: bool,
    verbose: bool,
    quiet: bool,
    /// Something was to be repaired.
    repairs: bool,
    examples: BTreeMap<Kind, Vec<String>>,
    progress: Option<(&'static str, Progress)>,
    /// Why nothing can be shown any more.
    failure: Option<Failure>,
}

impl Printer {
    fn new(json: bool, repairs: bool, context: &Context) -> Self {
        Self {
            out: Out::new(),
            json,
            repairs,
            verbose: context.verbose,
            quiet: context.quiet,
            examples: BTreeMap::new(),
            progress: None,
            failure: None,
        }
    }

    fn tell(&mut self, event: &Event<'_>) -> ezdfs_core::Result<()> {
        let told = match event {
            Event::Progress { what, done, total } => {
                self.advance(what, *done, *total);
                Ok(())
            }
            Event::Found(finding) if self.json => self.out.json(finding),
            Event::Found(finding) => self.show(finding),
            Event::Repaired { kind, path, outcome } => self.repaired(*kind, path, *outcome),
        };
        told.map_err(|failure| {
            self.failure = Some(failure);
            Error::new(ErrorKind::Internal, "what was found cannot be shown")
        })
    }

    fn advance(&mut self, what: &'static str, done: u64, total: Option<u64>) {
        let is_same = self.progress.as_ref().is_some_and(|(old, _)| *old == what);
        if !is_same {
            self.progress =
                Some((what, Progress::new("fsck", Unit::Many(what), total, self.quiet)));
        }
        if let Some((_, progress)) = &mut self.progress {
            progress.set(done);
        }
    }

    /// At once with -v: there may be many.
    fn show(&mut self, finding: &Finding) -> Result<()> {
        let text = format!("{}: {}", plain(&finding.path), finding.detail);
        if self.verbose {
            return self.out.line(&format!("{:<19} {text}", finding.kind.as_str()));
        }
        let shown = self.examples.entry(finding.kind).or_default();
        if shown.len() < EXAMPLES {
            shown.push(text);
        }
        Ok(())
    }

    fn repaired(
        &mut self,
        kind: Kind,
        path: &str,
        outcome: std::result::Result<&str, &str>,
    ) -> Result<()> {
        let (done, outcome) = match outcome {
            Ok(how) => (true, how),
            Err(why) => (false, why),
        };
        if self.json {
            return self.out.json(&RepairedJson { repaired: kind, path, done, outcome });
        }
        if self.verbose {
            let (mark, path) = (if done { "repaired" } else { "kept" }, plain(path));
            return self.out.line(&format!("{mark:<19} {path}: {outcome}"));
        }
        Ok(())
    }

    fn end(&mut self, summary: &Summary) -> Result<()> {
        self.progress = None;
        if self.json {
            self.out.json(&End { summary })?;
            return self.out.flush();
        }
        if summary.nothing_to_compare {
            self.out.line(
                "nothing to compare: metadata comes from the objects themselves (handler `default`)",
            )?;
            return self.out.flush();
        }
        for (kind, count) in &summary.found {
            let bytes = match kind {
                Kind::Orphan => format!(" ({})", size::human(summary.orphan_bytes)),
                _ => String::new(),
            };
            let repaired = match summary.repaired.get(kind) {
                None | Some(0) => String::new(),
                Some(repaired) => format!(", {repaired} repaired"),
            };
            self.out.line(&format!("{count:>9} {}{bytes}{repaired}", kind.title()))?;
            let shown = self.examples.remove(kind).unwrap_or_default();
            for example in &shown {
                self.out.line(&format!("            {example}"))?;
            }
            let hidden = count.saturating_sub(u64::try_from(shown.len()).unwrap_or(u64::MAX));
            if hidden > 0 && !self.verbose {
                self.out.line(&format!("            and {hidden} more (-v shows them)"))?;
            }
        }
        let verdict = if summary.found.is_empty() { "clean: " } else { "" };
        self.out.line(&format!(
            "{verdict}{} rows, {} objects ({}), {} read; not judged: {} too young, {} in use",
            summary.rows,
            summary.objects,
            size::human(summary.bytes),
            summary.read,
            summary.young,
            summary.busy
        ))?;
        if let Some(reason) = &summary.refused {
            self.out.line(&format!("SUSPICIOUS: {reason}"))?;
            if self.repairs {
                self.out.line(
                    "Nothing was repaired. If this is as it should be, allow it with --max-suspects.",
                )?;
            }
        }
        if let Some(reason) = &summary.uploads_unknown {
            self.out.line(&format!("unfinished uploads were not looked for: {reason}"))?;
        }
        if summary.failed > 0 {
            self.out.line(&format!("{} repairs failed (-v shows why)", summary.failed))?;
        }
        self.out.flush()
    }
}

/// A name that a terminal can show: foreign programs make any.
fn plain(name: &str) -> String {
    if name.chars().any(char::is_control) {
        name.escape_debug().to_string()
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(plain("a/ü.jpg"), "a/ü.jpg");
        assert_eq!(plain("a\u{1b}[2J"), "a\\u{1b}[2J");
    }
}
