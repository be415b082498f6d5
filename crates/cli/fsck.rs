//! `ezdfs fsck`

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use ezdfs_core::{DirPath, Error, ErrorKind};
use ezdfs_engine::fsck::{Event, Finding, FsckOptions, Kind, MaxSuspects, Summary};
use ezdfs_engine::throttle::Rate;
use serde::Serialize;

use crate::context::Context;
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
pending work that nobody does. Nothing is changed.

The site may be live: what is younger than --min-age, and what somebody is at work on, is no
finding. Needs about 150 bytes in $TMPDIR for each row and object, and little memory.

Exit codes: 0 nothing found, 1 rows or objects could not be read (what was printed is not all),
4 something was found.

JSON (--json): one object per finding with kind, path, size (where known) and detail; at the end
one with summary: rows, objects, bytes, read, young, busy, orphan_bytes, found (by kind), refused
(why so much is wrong that the store is probably not mounted, or a prefix is wrong).

Examples:
  ezdfs fsck
  ezdfs fsck --deep --jobs 4 --bwlimit 20M      read every byte, slowly
  ezdfs fsck --prefix images/1 -v               all findings below images/1
  ezdfs fsck --json | jq -r 'select(.kind == \"orphan\") | .path'";

/// Compare rows and objects, and name what is wrong; exit code 4 when something is
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
        }
    }
}

#[derive(Debug, Serialize)]
struct End<'a> {
    summary: &'a Summary,
}

pub(crate) async fn run(args: FsckArgs, context: &Context) -> Result {
    let store = context.open().await?;
    let options = args.options();
    let mut printer = Printer::new(args.json, context);
    let checked = store.service.fsck(&options, &mut |event| printer.tell(&event)).await;
    let summary = match (printer.failure.take(), checked) {
        (Some(failure), _) => return Err(failure),
        (None, checked) => checked?,
    };
    printer.end(&summary)?;
    Ok(if summary.findings() > 0 { Outcome::Problems } else { Outcome::Done })
}

/// Shows what fsck tells.
struct Printer {
    out: Out,
    json: bool,
    verbose: bool,
    quiet: bool,
    examples: BTreeMap<Kind, Vec<String>>,
    progress: Option<(&'static str, Progress)>,
    /// Why nothing can be shown any more.
    failure: Option<Failure>,
}

impl Printer {
    fn new(json: bool, context: &Context) -> Self {
        Self {
            out: Out::new(),
            json,
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
            self.out.line(&format!("{count:>9} {}{bytes}", kind.title()))?;
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
