//! `Spot`: a file or a bad name in the order of a lister.

use std::fmt;

use ezdfs_core::FilePath;

/// What a lister found, named byte for byte: a path, or a name that cannot be one.
///
/// A tree lists its spots in the order of [`Spot::position`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// The path below the root of the store, byte for byte.
    pub raw: Vec<u8>,
    /// A directory: nothing below it was listed.
    pub subtree: bool,
}

impl Spot {
    /// Of a path.
    #[must_use]
    pub fn of(path: &FilePath) -> Self {
        Self { raw: path.as_str().as_bytes().to_vec(), subtree: false }
    }

    /// Where it stands in a tree: its bytes; a directory with a slash behind them, as everything
    /// below it would stand. No other spot of a walk has the same.
    #[must_use]
    pub fn position(&self) -> Vec<u8> {
        let mut position = self.raw.clone();
        if self.subtree {
            position.push(b'/');
        }
        position
    }
}

/// On one line: control characters and bytes that are not UTF-8 are escaped (`\n`, `\x07`,
/// `\xff`). A path never has any of them, so a path is shown as it is.
impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.raw.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\n' => f.write_str("\\n")?,
                    '\r' => f.write_str("\\r")?,
                    '\t' => f.write_str("\\t")?,
                    c if c.is_control() => write!(f, "\\x{:02x}", u32::from(c))?,
                    // U+2028 and U+2029 end a line for some readers.
                    '\u{2028}' | '\u{2029}' => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                    c => write!(f, "{c}")?,
                }
            }
            for b in chunk.invalid() {
                write!(f, "\\x{b:02x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_names_stay_on_one_line() {
        let shown = |raw: &[u8]| Spot { raw: raw.to_vec(), subtree: false }.to_string();
        assert_eq!(shown(b"a\nb\x07\xff.jpg"), "a\\nb\\x07\\xff.jpg");
        assert_eq!(shown("caf\u{e9} \\x 100%.jpg".as_bytes()), "caf\u{e9} \\x 100%.jpg");
    }
}
