//! What the runs before have done.

use std::collections::BTreeMap;
use std::io::BufRead;

use ezdfs_core::{Error, ErrorKind, Result};

use super::format::{Header, Line, MAGIC};
use super::read::{Piece, each_line};
use crate::position::Spot;
use crate::progress::{Counts, FileDone};

/// What a journal says.
#[derive(Debug, Default)]
pub(crate) struct Before {
    /// `None`: the journal is empty, or was cut off within its first line.
    pub(crate) header: Option<Header>,
    /// Everything at or before this position is finished.
    pub(crate) watermark: Option<Vec<u8>>,
    /// Files behind the watermark, by position.
    pub(crate) behind: BTreeMap<Vec<u8>, Seen>,
    pub(crate) counts: Counts,
    /// The walk came to its end.
    pub(crate) ended: bool,
    /// Where the last whole line ends: what follows was torn by a crash.
    pub(crate) good: u64,
}

/// A file behind the watermark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Done(Spot),
    /// Copied and verified, but perhaps still on the source.
    Copied(FileDone),
}

impl Before {
    /// Reads a journal: in time proportional to its lines, and memory to the window.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when the file is no journal, or is damaged elsewhere than at its end.
    pub(crate) fn read(file: impl BufRead) -> Result<Self> {
        let mut before = Self::default();
        let mut torn = false;
        each_line(file, |piece, end| {
            match piece {
                Piece::Garbage => torn = true,
                Piece::Line(_) if torn => {
                    return Err(corrupt("the journal is damaged in the middle"));
                }
                Piece::Line(line) => {
                    before.take(line)?;
                    before.good = end;
                }
            }
            Ok(())
        })?;
        Ok(before)
    }

    fn take(&mut self, line: Line) -> Result<()> {
        match line {
            Line::Header(header) if self.header.is_none() => self.header = Some(header),
            _ if self.header.is_none() => return Err(corrupt("the journal has no header")),
            Line::Header(_) => return Err(corrupt("the journal has two headers")),
            Line::Done(done) => {
                self.counts.add(done.symbol, done.bytes);
                self.behind.insert(done.spot.position(), Seen::Done(done.spot));
            }
            Line::Copied(done) => {
                self.behind.insert(done.spot.position(), Seen::Copied(done));
            }
            Line::Watermark(position) => {
                let mut behind = self.behind.split_off(&position);
                behind.remove(&position);
                self.behind = behind;
                self.watermark = Some(position);
            }
            Line::Resumed(_) => {}
            Line::End => self.ended = true,
        }
        Ok(())
    }
}

/// Whether a file may be taken for a journal: an empty one, one that starts as a journal does, or
/// the torn beginning of one.
pub(crate) fn may_be_journal(start: &[u8]) -> bool {
    let n = start.len().min(MAGIC.len());
    start[..n] == MAGIC[..n] || start.iter().all(|b| *b == 0)
}

fn corrupt(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{what}; start again with --restart"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{SourceMode, Verify};
    use crate::progress::Symbol;
    use proptest::prelude::*;

    fn header() -> Header {
        Header {
            version: 1,
            from: "a".into(),
            to: "b".into(),
            source: SourceMode::Tree,
            include: vec![],
            exclude: vec![],
            verify: Verify::Sha256,
            delete_source: false,
        }
    }

    fn done(path: &str) -> FileDone {
        let spot = Spot { raw: path.as_bytes().to_vec(), subtree: false };
        FileDone { spot, symbol: Symbol::Copied, bytes: 1, why: None }
    }

    fn text(lines: &[Line]) -> Vec<u8> {
        let mut out = Vec::new();
        for line in lines {
            line.write(&mut out).unwrap();
        }
        out
    }

    #[test]
    fn only_what_finished_behind_the_watermark_is_remembered() {
        let all = text(&[
            Line::Header(header()),
            Line::Done(done("b")),
            Line::Done(done("d")),
            Line::Done(done("a")),
            Line::Watermark(b"b".to_vec()),
            Line::Copied(done("e")),
        ]);
        let before = Before::read(all.as_slice()).unwrap();
        assert_eq!(before.watermark.as_deref(), Some(&b"b"[..]));
        assert_eq!(before.behind.keys().collect::<Vec<_>>(), [b"d", b"e"]);
        assert_eq!(before.behind[&b"e"[..]], Seen::Copied(done("e")));
        assert_eq!((before.counts.copied, before.counts.bytes, before.ended), (3, 3, false));
    }

    #[test]
    fn a_torn_end_is_cut_off_and_a_torn_middle_is_refused() {
        let whole = text(&[Line::Header(header()), Line::Done(done("a"))]);
        for cut in 0..whole.len() {
            let before = Before::read(&whole[..cut]).unwrap();
            assert!(may_be_journal(&whole[..cut]));
            assert_eq!(before.counts.copied, 0);
            assert!(before.good <= u64::try_from(cut).unwrap());
        }
        let mut zeros = whole.clone();
        zeros.extend([0; 100]);
        let before = Before::read(zeros.as_slice()).unwrap();
        assert_eq!(before.good, u64::try_from(whole.len()).unwrap());
        let mut damaged = text(&[Line::Header(header())]);
        damaged.extend(b"{\"done\":\n");
        damaged.extend(text(&[Line::Done(done("a"))]));
        assert_eq!(Before::read(damaged.as_slice()).unwrap_err().kind(), ErrorKind::Corrupt);
        assert!(!may_be_journal(b"# my notes\n") && !may_be_journal(b"{\"x\":1}\n"));
    }

    proptest! {
        #[test]
        fn any_bytes_read_without_panic(bytes: Vec<u8>, keep in any::<proptest::sample::Index>()) {
            let _ = Before::read(bytes.as_slice());
            let mut all = text(&[Line::Header(header()), Line::Done(done("a")), Line::End]);
            all.truncate(keep.index(all.len()));
            all.extend(bytes);
            let _ = Before::read(all.as_slice());
        }
    }
}
