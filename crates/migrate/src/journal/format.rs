//! The lines of a journal.

use ezdfs_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::options::{SourceMode, Verify};
use crate::position::Spot;
use crate::progress::{FileDone, Symbol};

/// Version of the format.
pub(crate) const VERSION: u32 = 2;
/// What every journal starts with: tells one from any other file.
pub(crate) const MAGIC: &[u8] = b"{\"ezdfs-journal\":";
/// Longest line in bytes, its end included.
pub(crate) const MAX_LINE: usize = 1 << 20;
/// Longest name and longest reason in bytes that a line holds; what is longer is cut. A path has
/// at most 4,095 bytes; only rows that foreign writers made can have longer names.
const MAX_NAME: usize = 64 << 10;
const MAX_WHY: usize = 4 << 10;

/// What a journal is about. Another run may go on with it only if all of this is equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    pub(crate) version: u32,
    /// Handlers and places of the source.
    pub(crate) from: String,
    /// Handlers and places of the target.
    pub(crate) to: String,
    pub(crate) source: SourceMode,
    pub(crate) include: Vec<String>,
    pub(crate) exclude: Vec<String>,
    pub(crate) verify: Verify,
    pub(crate) delete_source: bool,
}

impl Header {
    /// What differs, for people.
    pub(crate) fn differences(&self, other: &Self) -> Vec<&'static str> {
        [
            (self.version != other.version, "its format"),
            (self.from != other.from, "--from, or the place of a source handler"),
            (self.to != other.to, "--to, or the place of a target handler"),
            (self.source != other.source, "--source"),
            (self.include != other.include, "--include"),
            (self.exclude != other.exclude, "--exclude"),
            (self.verify != other.verify, "--verify"),
            (self.delete_source != other.delete_source, "--delete-source"),
        ]
        .into_iter()
        .filter_map(|(differs, what)| differs.then_some(what))
        .collect()
    }
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    Header(Header),
    /// A file is finished.
    Done(FileDone),
    /// A file was copied and verified and is about to be deleted from the source.
    Copied(FileDone),
    /// Everything at or before this position is finished.
    Watermark(Vec<u8>),
    /// A run goes on with the journal; Unix seconds.
    Resumed(i64),
    /// The walk came to its end.
    End,
}

/// As written.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Wire {
    #[serde(rename = "ezdfs-journal")]
    Journal(Header),
    Done(WireDone),
    Copied(WireDone),
    Upto(Name),
    Resumed(i64),
    End(bool),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireDone {
    #[serde(rename = "as")]
    symbol: char,
    name: Name,
    #[serde(default, skip_serializing_if = "is_false")]
    subtree: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// Text where it is text, else hex digits of the bytes.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Name {
    Text(String),
    Hex { hex: String },
}

// serde hands over references.
#[expect(clippy::trivially_copy_pass_by_ref)]
fn is_false(b: &bool) -> bool {
    !b
}

#[expect(clippy::trivially_copy_pass_by_ref)]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Name {
    fn of(raw: &[u8]) -> Self {
        match std::str::from_utf8(raw) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Hex { hex: hex::encode(raw) },
        }
    }

    fn into_bytes(self) -> Result<Vec<u8>> {
        match self {
            Self::Text(text) => Ok(text.into_bytes()),
            Self::Hex { hex } => hex::decode(hex).map_err(|e| bad("a name").with_source(e)),
        }
    }
}

impl WireDone {
    fn of(done: &FileDone) -> Self {
        let raw = &done.spot.raw;
        let name = if raw.len() > MAX_NAME { cut(raw) } else { raw };
        let why = done.why.as_ref().map(|why| {
            let end = (0..=MAX_WHY.min(why.len())).rev().find(|at| why.is_char_boundary(*at));
            why[..end.unwrap_or(0)].to_owned()
        });
        Self {
            symbol: done.symbol.as_char(),
            name: Name::of(name),
            subtree: done.spot.subtree,
            bytes: done.bytes,
            why,
        }
    }

    fn into_done(self) -> Result<FileDone> {
        Ok(FileDone {
            spot: Spot { raw: self.name.into_bytes()?, subtree: self.subtree },
            symbol: Symbol::from_char(self.symbol).ok_or_else(|| bad("a symbol"))?,
            bytes: self.bytes,
            why: self.why,
        })
    }
}

/// The beginning of a name, without a torn character where it is text.
fn cut(raw: &[u8]) -> &[u8] {
    let head = &raw[..MAX_NAME];
    match std::str::from_utf8(head) {
        Err(e) if e.error_len().is_none() => &head[..e.valid_up_to()],
        _ => head,
    }
}

fn bad(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("a journal line has {what} that is none"))
}

impl Line {
    /// Appends the line with its end. JSON escapes every control character, so that no name can
    /// break the format.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> Result<()> {
        let wire = match self {
            Self::Header(header) => Wire::Journal(header.clone()),
            Self::Done(done) => Wire::Done(WireDone::of(done)),
            Self::Copied(done) => Wire::Copied(WireDone::of(done)),
            // Without it a resumed run only looks at more files again.
            Self::Watermark(position) if position.len() > MAX_NAME => return Ok(()),
            Self::Watermark(position) => Wire::Upto(Name::of(position)),
            Self::Resumed(at) => Wire::Resumed(*at),
            Self::End => Wire::End(true),
        };
        serde_json::to_writer(&mut *out, &wire).map_err(|e| {
            Error::new(ErrorKind::Internal, "a journal line cannot be written").with_source(e)
        })?;
        out.push(b'\n');
        Ok(())
    }

    /// Parses a line without its end.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`].
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let wire = serde_json::from_slice(bytes).map_err(|e| bad("a value").with_source(e))?;
        Ok(match wire {
            Wire::Journal(header) => Self::Header(header),
            Wire::Done(done) => Self::Done(done.into_done()?),
            Wire::Copied(done) => Self::Copied(done.into_done()?),
            Wire::Upto(name) => Self::Watermark(name.into_bytes()?),
            Wire::Resumed(at) => Self::Resumed(at),
            Wire::End(_) => Self::End,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn done() -> impl Strategy<Value = FileDone> {
        let raw = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..40),
            any::<String>().prop_map(String::into_bytes),
        ];
        (raw, any::<bool>(), 0..5_usize, any::<u64>(), any::<Option<String>>()).prop_map(
            |(raw, subtree, symbol, bytes, why)| FileDone {
                spot: Spot { raw, subtree },
                symbol: Symbol::ALL[symbol],
                bytes,
                why,
            },
        )
    }

    proptest! {
        #[test]
        fn any_name_makes_one_line_that_reads_back(done in done(), position: Vec<u8>, at: i64) {
            for line in [
                Line::Done(done.clone()),
                Line::Copied(done.clone()),
                Line::Watermark(position.clone()),
                Line::Resumed(at),
                Line::End,
            ] {
                let mut out = Vec::new();
                line.write(&mut out).unwrap();
                prop_assert!(out.len() <= MAX_LINE);
                prop_assert_eq!(out.iter().filter(|b| **b == b'\n').count(), 1);
                prop_assert_eq!(out.pop(), Some(b'\n'));
                prop_assert_eq!(Line::parse(&out).unwrap(), line);
                // No beginning of a line passes for one.
                for cut in 0..out.len() {
                    prop_assert!(Line::parse(&out[..cut]).is_err());
                }
            }
        }

        #[test]
        fn any_bytes_parse_without_panic(bytes: Vec<u8>) {
            let _ = Line::parse(&bytes);
        }
    }

    #[test]
    fn endless_names_are_cut() {
        for unit in ["é", "x", "\n"] {
            let done = FileDone {
                spot: Spot { raw: unit.repeat(300_000).into_bytes(), subtree: false },
                symbol: Symbol::Failed,
                bytes: 0,
                why: Some("é".repeat(300_000)),
            };
            let mut out = Vec::new();
            Line::Done(done).write(&mut out).unwrap();
            assert!(out.len() <= MAX_LINE, "{}", out.len());
            assert!(matches!(Line::parse(out.trim_ascii_end()).unwrap(), Line::Done(_)));
        }
    }
}
