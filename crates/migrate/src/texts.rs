//! What the command prints, in Ibexa's order (ibexa-dfs.md §4) and our own words.
//!
//! 1. `--list-io-handlers`: [`crate::Handlers`] as text, and nothing else.
//! 2. [`crate::parse_bulk_count`], [`INTRODUCTION`], [`crate::resolve`].
//! 3. Identical sides ([`crate::Halves::of`] is `None`): [`NOTHING_TO_DO`], and stop with 0.
//! 4. [`pairs`], then [`total`]; a total of 0 stops.
//! 5. The question [`QUESTION`], default no; refused: [`ABORTED`].
//! 6. The run, then [`processed`], [`not_migrated`] when it has something to say, and [`totals`].

use crate::options::SourceMode;
use crate::progress::Counts;
use crate::run::{Ending, Summary};
use crate::sides::{Halves, SidePair};

/// Help that comes before the sides are checked.
pub const INTRODUCTION: &str = "\
Copies the files of one pair of handlers (metadata, binary data) to another pair.

Nothing is deleted on the source unless --delete-source is given. The site may stay up meanwhile;
run the command again afterwards to copy what changed, then switch the site to the new handlers.";

/// Identical sides.
pub const NOTHING_TO_DO: &str =
    "Source and target name the same handlers: there is nothing to migrate.";

/// The question; its default answer is no.
pub const QUESTION: &str = "Start the migration? [y/N] ";

/// After a refusal.
pub const ABORTED: &str = "Stopped; nothing was changed.";

/// The two pairs, and which half is skipped.
#[must_use]
pub fn pairs(source: &SidePair, target: &SidePair) -> String {
    let mut text = format!(
        "Source: metadata handler `{}`, binary data handler `{}`\n\
         Target: metadata handler `{}`, binary data handler `{}`",
        source.metadata, source.binarydata, target.metadata, target.binarydata
    );
    match Halves::of(source, target) {
        Some(Halves::BinaryOnly) => {
            text.push_str("\nThe metadata handler is the same: only files are copied.");
        }
        Some(Halves::MetadataOnly) => {
            text.push_str("\nThe binary data handler is the same: only metadata is written.");
        }
        Some(Halves::Both) | None => {}
    }
    text
}

/// The total, and what it counts.
#[must_use]
pub fn total(files: u64, mode: SourceMode) -> String {
    let what = match mode {
        SourceMode::Tree => "every file in the source's storage, image variations included",
        SourceMode::Table => "every visible row of the source's table, image variations included",
        SourceMode::Ibexa => "without image variations, which come on top",
    };
    format!("Files to migrate: {files} ({what})")
}

/// After the walk.
#[must_use]
pub fn processed(files: u64) -> String {
    format!("Files processed: {files}")
}

/// `N - M` files that the walk did not come to; `None` unless there are some.
#[must_use]
pub fn not_migrated(total: u64, processed: u64) -> Option<String> {
    let left = total.checked_sub(processed).filter(|n| *n > 0)?;
    Some(format!("Files not migrated: {left}"))
}

/// How the files ended, and what to do about those that did not.
#[must_use]
pub fn totals(summary: &Summary) -> String {
    let Counts { same, copied, replaced, missing, failed, bytes } = summary.counts;
    let mut text = format!(
        "= {same} unchanged, + {copied} copied, * {replaced} replaced, - {missing} missing on the \
         source, ! {failed} failed; {bytes} bytes copied"
    );
    if summary.dry_run {
        text.push_str("\nThis was a dry run: nothing was written.");
    }
    match summary.ending {
        Ending::Complete if failed > 0 => {
            text.push_str("\nRun the command again to try the failed files once more.");
        }
        Ending::Complete => {}
        Ending::Cancelled => {
            text.push_str("\nInterrupted. Run the command again to go on from here.");
        }
        Ending::FailedFast => text
            .push_str("\nStopped at the first failure. Run the command again to go on from here."),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_shortfall_is_told() {
        assert_eq!(not_migrated(5, 5), None);
        assert_eq!(not_migrated(5, 7), None);
        assert_eq!(not_migrated(5, 3).as_deref(), Some("Files not migrated: 2"));
    }

    #[test]
    fn a_skipped_half_is_told() {
        let pair = |m: &str, b: &str| SidePair { metadata: m.into(), binarydata: b.into() };
        assert!(pairs(&pair("a", "b"), &pair("a", "c")).contains("only files"));
        assert!(pairs(&pair("a", "b"), &pair("c", "b")).contains("only metadata"));
        assert_eq!(pairs(&pair("a", "b"), &pair("c", "d")).lines().count(), 2);
    }
}
