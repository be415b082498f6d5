//! What a run tells while it goes on: symbols, counts, and the `Progress` trait.

use std::fmt;

use crate::position::Spot;

/// What became of a file, as in the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Symbol {
    /// `=`: the target had it already.
    Same,
    /// `+`: new on the target.
    Copied,
    /// `*`: replaced another version on the target.
    Replaced,
    /// `-`: the source has no bytes, or no row, for it.
    Missing,
    /// `!`: failed; the reason is given.
    Failed,
}

impl Symbol {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Same, Self::Copied, Self::Replaced, Self::Missing, Self::Failed];

    /// As in the report.
    #[must_use]
    pub const fn as_char(self) -> char {
        match self {
            Self::Same => '=',
            Self::Copied => '+',
            Self::Replaced => '*',
            Self::Missing => '-',
            Self::Failed => '!',
        }
    }

    /// From the report's character.
    #[must_use]
    pub fn from_char(c: char) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_char() == c)
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_char())
    }
}

/// A file that is finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDone {
    /// Which file.
    pub spot: Spot,
    /// What became of it.
    pub symbol: Symbol,
    /// Bytes that were copied; 0 when none were.
    pub bytes: u64,
    /// Why, for [`Symbol::Missing`] and [`Symbol::Failed`].
    pub why: Option<String>,
}

/// The line of the report: symbol, space, path.
impl fmt::Display for FileDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.symbol, self.spot)
    }
}

/// How many files ended how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// `=`
    pub same: u64,
    /// `+`
    pub copied: u64,
    /// `*`
    pub replaced: u64,
    /// `-`
    pub missing: u64,
    /// `!`
    pub failed: u64,
    /// Bytes of copied and replaced files.
    pub bytes: u64,
}

impl Counts {
    /// Every file that was dealt with, whatever the end.
    #[must_use]
    pub fn processed(&self) -> u64 {
        [self.same, self.copied, self.replaced, self.missing, self.failed]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    pub(crate) fn add(&mut self, symbol: Symbol, bytes: u64) {
        let count = match symbol {
            Symbol::Same => &mut self.same,
            Symbol::Copied => &mut self.copied,
            Symbol::Replaced => &mut self.replaced,
            Symbol::Missing => &mut self.missing,
            Symbol::Failed => &mut self.failed,
        };
        *count = count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// Told what goes on, for a progress bar and for messages. Called from several threads; must not
/// block.
pub trait Progress: Send + Sync + 'static {
    /// The run starts; `before` was done by the runs that it resumes.
    fn started(&self, before: &Counts) {
        let _ = before;
    }

    /// Work on a file starts.
    fn current(&self, path: &str) {
        let _ = path;
    }

    /// That many more bytes were read on their way to the target.
    fn bytes(&self, bytes: u64) {
        let _ = bytes;
    }

    /// A file is finished and journalled; `counts` covers resumed runs too.
    fn finished(&self, file: &FileDone, counts: &Counts) {
        let _ = (file, counts);
    }
}

/// Tells nobody.
impl Progress for () {}
