//! `Key`: which bytes, exactly; and where their blocks lie.

use std::ops::Range;

use sha2::{Digest as _, Sha256};

/// Bytes of a block: what is fetched and kept as one file. A range inside one waits for at most as
/// much in front of it.
pub const BLOCK: u64 = 1 << 20;

/// Bytes under one checksum, and of the largest piece of a stream.
pub const PIECE: u64 = 256 << 10;

/// What makes bytes unique: where they come from, the path, the version, and their number. Two
/// contents never share a key, so nothing that is kept under one ever becomes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    text: String,
    size: u64,
    hash: [u8; 16],
}

impl Key {
    /// `scope` tells stores apart, `version` contents of one path. None of them holds a NUL.
    #[must_use]
    pub fn new(scope: &str, path: &str, version: &str, size: u64) -> Self {
        let text = format!("{scope}\0{path}\0{version}");
        let digest = Sha256::new().chain_update(size.to_le_bytes()).chain_update(&text).finalize();
        let mut hash = [0; 16];
        hash.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Self { text, size, hash }
    }

    /// Bytes of the content.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn hash(&self) -> [u8; 16] {
        self.hash
    }

    /// The blocks of a range within the size; the one block of an empty content.
    pub(crate) fn blocks(&self, range: &Range<u64>) -> Range<u64> {
        let first = range.start / BLOCK;
        first..range.end.div_ceil(BLOCK).max(first + 1)
    }

    /// The bytes of a block.
    pub(crate) fn bytes(&self, block: u64) -> Range<u64> {
        let start = block.saturating_mul(BLOCK).min(self.size);
        start..start.saturating_add(BLOCK).min(self.size)
    }

    /// The fan-out directory of a block: blocks of one content lie in different ones.
    pub(crate) fn fan(&self, block: u64) -> u8 {
        let [spread, ..] = block.wrapping_mul(151).to_le_bytes();
        self.hash[0].wrapping_add(spread)
    }

    /// The file name of a block.
    pub(crate) fn name(&self, block: u64) -> String {
        format!("{}-{block}", hex::encode(self.hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_makes_another_key() {
        let key = Key::new("s3", "a/b", "t1", 5);
        assert_eq!(key, Key::new("s3", "a/b", "t1", 5));
        for other in [
            Key::new("s4", "a/b", "t1", 5),
            Key::new("s3", "a/c", "t1", 5),
            Key::new("s3", "a/b", "t2", 5),
            Key::new("s3", "a/b", "t1", 6),
            Key::new("s3", "a", "b\0t1", 5),
        ] {
            assert_ne!(key.hash(), other.hash(), "{other:?}");
        }
    }

    #[test]
    fn blocks_cover_a_range_exactly() {
        let key = Key::new("", "", "", 2 * BLOCK + 1);
        assert_eq!(key.blocks(&(0..1)), 0..1);
        assert_eq!(key.blocks(&(0..BLOCK)), 0..1);
        assert_eq!(key.blocks(&(BLOCK - 1..BLOCK + 1)), 0..2);
        assert_eq!(key.blocks(&(BLOCK..2 * BLOCK + 1)), 1..3);
        assert_eq!(key.bytes(2), 2 * BLOCK..2 * BLOCK + 1);
        let empty = Key::new("", "", "", 0);
        assert_eq!((empty.blocks(&(0..0)), empty.bytes(0)), (0..1, 0..0));
    }
}
