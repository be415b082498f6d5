//! What the runs before have done.

use std::collections::{HashMap, VecDeque};
use std::io::BufRead;

use ezdfs_core::{Error, ErrorKind, Result};

use super::format::{Header, Line, MAGIC};
use super::read::{Piece, each_line};
use crate::options::MAX_PAGE;
use crate::position::Spot;
use crate::progress::{Counts, FileDone};
use crate::window::WINDOW;

/// Files that are remembered. What finished after a file that no watermark covers yet came at most a
/// window before it in the walk, or a window and a page behind it; the rest is reserve.
const REMEMBERED: usize = 2 * (WINDOW + MAX_PAGE);

/// What a journal says.
#[derive(Debug, Default)]
pub(crate) struct Before {
    /// `None`: the journal is empty, or was cut off within its first line.
    pub(crate) header: Option<Header>,
    /// Everything at or before this position is finished.
    pub(crate) watermark: Option<Vec<u8>>,
    /// The files that finished last: at least those that no watermark covers.
    pub(crate) behind: Behind,
    pub(crate) counts: Counts,
    /// The walk came to its end.
    pub(crate) ended: bool,
    /// Where the last whole line ends: what follows was torn by a crash.
    pub(crate) good: u64,
}

/// Files that finished behind the watermark, and others that finished shortly before: the order of
/// the walk is the lister's own, so it cannot tell them apart.
#[derive(Debug, Default)]
pub(crate) struct Behind {
    seen: HashMap<Vec<u8>, Seen>,
    oldest_first: VecDeque<Vec<u8>>,
}

impl Behind {
    pub(crate) fn insert(&mut self, spot: &Spot, seen: Seen) {
        let key = spot.position();
        if self.seen.insert(key.clone(), seen).is_some() {
            return;
        }
        self.oldest_first.push_back(key);
        if self.oldest_first.len() > REMEMBERED
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.seen.remove(&oldest);
        }
    }

    /// What is known of a file; it is asked once.
    pub(crate) fn take(&mut self, spot: &Spot) -> Option<Seen> {
        self.seen.remove(&spot.position())
    }

    /// Files that were copied and perhaps deleted from the source.
    pub(crate) fn copied(&self) -> Vec<FileDone> {
        let copied = self.seen.values().filter_map(|seen| match seen {
            Seen::Copied(done) => Some(done.clone()),
            Seen::Done(_) => None,
        });
        copied.collect()
    }
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
                self.behind.insert(&done.spot.clone(), Seen::Done(done.spot));
            }
            Line::Copied(done) => {
                self.behind.insert(&done.spot.clone(), Seen::Copied(done));
            }
            Line::Watermark(position) => self.watermark = Some(position),
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
    fn what_finished_is_remembered() {
        let all = text(&[
            Line::Header(header()),
            Line::Done(done("b")),
            Line::Done(done("d")),
            Line::Done(done("a")),
            Line::Watermark(b"b".to_vec()),
            Line::Copied(done("e")),
        ]);
        let mut before = Before::read(all.as_slice()).unwrap();
        assert_eq!(before.watermark.as_deref(), Some(&b"b"[..]));
        assert_eq!(before.behind.copied(), [done("e")]);
        assert_eq!(before.behind.take(&done("d").spot), Some(Seen::Done(done("d").spot)));
        assert_eq!(before.behind.take(&done("e").spot), Some(Seen::Copied(done("e"))));
        assert_eq!(before.behind.take(&done("f").spot), None);
        assert_eq!((before.counts.copied, before.counts.bytes, before.ended), (3, 3, false));
    }

    #[test]
    fn memory_is_bounded_and_the_newest_stay() {
        let mut behind = Behind::default();
        let name = |n: usize| done(&format!("{n:06}"));
        for n in 0..REMEMBERED + 5 {
            behind.insert(&name(n).spot, Seen::Copied(name(n)));
            behind.insert(&name(n).spot, Seen::Done(name(n).spot));
        }
        assert_eq!((behind.seen.len(), behind.oldest_first.len()), (REMEMBERED, REMEMBERED));
        assert_eq!(behind.take(&name(4).spot), None);
        assert_eq!(behind.take(&name(5).spot), Some(Seen::Done(name(5).spot)));
        assert_eq!(behind.copied(), []);
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
