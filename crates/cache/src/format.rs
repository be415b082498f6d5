//! The form of a block's file: a header that names the block and holds a checksum of each piece,
//! and the bytes. Whatever differs in a single bit from what was written is no block.
//!
//! ```text
//! 0   8  magic                       28  4  bytes of the block
//! 8   4  bytes of the header         32  4  bytes of a piece
//! 12  4  bytes of the key            36     CRC-32 of each piece, 4 bytes each
//! 16  8  bytes of the content               the key
//! 24  4  number of the block             4  CRC-32 of the header up to here
//! ```
//! Numbers are little-endian. The header comes first and its length follows from the key, so that
//! a small file is looked up and read with one call.

use crate::key::{Key, PIECE};

const MAGIC: &[u8; 8] = b"ezdfsfc1";
const FIXED: usize = 36;
/// Longest key that is kept.
const MAX_KEY: usize = 16 << 10;

/// What the header of a block says beside the checksums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    fixed: [u8; FIXED],
    key: Vec<u8>,
    pieces: usize,
    data: u64,
}

impl Layout {
    /// The layout of a block; `None` for what cannot be kept.
    pub(crate) fn of(key: &Key, block: u64) -> Option<Self> {
        let bytes = key.bytes(block);
        let data = bytes.end - bytes.start;
        let pieces = usize::try_from(data.div_ceil(PIECE)).ok()?;
        let text = key.text().as_bytes();
        if text.len() > MAX_KEY {
            return None;
        }
        let header = FIXED + 4 * pieces + text.len() + 4;
        let mut fixed = [0; FIXED];
        let fields: [&[u8]; 7] = [
            MAGIC,
            &u32::try_from(header).ok()?.to_le_bytes(),
            &u32::try_from(text.len()).ok()?.to_le_bytes(),
            &key.size().to_le_bytes(),
            &u32::try_from(block).ok()?.to_le_bytes(),
            &u32::try_from(data).ok()?.to_le_bytes(),
            &u32::try_from(PIECE).ok()?.to_le_bytes(),
        ];
        fixed.iter_mut().zip(fields.concat()).for_each(|(to, from)| *to = from);
        Some(Self { fixed, key: text.to_vec(), pieces, data })
    }

    /// Bytes of the header.
    pub(crate) fn header_len(&self) -> usize {
        FIXED + 4 * self.pieces + self.key.len() + 4
    }

    /// Where the bytes of the block begin in the file.
    pub(crate) fn data_at(&self) -> u64 {
        u64::try_from(self.header_len()).unwrap_or(u64::MAX)
    }

    /// Bytes of the file.
    pub(crate) fn file_len(&self) -> u64 {
        self.data_at().saturating_add(self.data)
    }

    /// The header with these checksums, one per piece.
    pub(crate) fn encode(&self, checksums: &[u32]) -> Vec<u8> {
        let mut header = Vec::with_capacity(self.header_len());
        header.extend_from_slice(&self.fixed);
        checksums.iter().for_each(|c| header.extend_from_slice(&c.to_le_bytes()));
        header.extend_from_slice(&self.key);
        let checksum = crc32fast::hash(&header);
        header.extend_from_slice(&checksum.to_le_bytes());
        header
    }

    /// The checksums in a header, if it is the header of this very block and whole.
    pub(crate) fn decode(&self, header: &[u8]) -> Option<Vec<u32>> {
        let (fixed, rest) = header.get(..self.header_len())?.split_at_checked(FIXED)?;
        let (checksums, _) = rest.split_at_checked(4 * self.pieces)?;
        let checksums: Vec<u32> = checksums
            .chunks_exact(4)
            .filter_map(|c| c.try_into().ok().map(u32::from_le_bytes))
            .collect();
        let whole = fixed == self.fixed && self.encode(&checksums) == header[..self.header_len()];
        whole.then_some(checksums)
    }
}

/// Checksums of pieces, from bytes in any portions.
#[derive(Debug, Default)]
pub(crate) struct Summing {
    done: Vec<u32>,
    piece: crc32fast::Hasher,
    filled: usize,
}

impl Summing {
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        let full = usize::try_from(PIECE).unwrap_or(usize::MAX);
        while !bytes.is_empty() {
            let (head, tail) = bytes.split_at(bytes.len().min(full - self.filled));
            self.piece.update(head);
            self.filled += head.len();
            bytes = tail;
            if self.filled == full {
                self.end_piece();
            }
        }
    }

    fn end_piece(&mut self) {
        self.done.push(std::mem::take(&mut self.piece).finalize());
        self.filled = 0;
    }

    pub(crate) fn finish(mut self) -> Vec<u32> {
        if self.filled > 0 {
            self.end_piece();
        }
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::BLOCK;

    fn sums(bytes: &[u8]) -> Vec<u32> {
        let mut summing = Summing::default();
        bytes.chunks(1000).for_each(|c| summing.update(c));
        summing.finish()
    }

    #[test]
    fn a_header_is_read_back_and_no_bit_of_it_can_differ() {
        let key = Key::new("s", "a/b", "v", PIECE + 7);
        let layout = Layout::of(&key, 0).unwrap();
        let bytes = vec![5; usize::try_from(PIECE + 7).unwrap()];
        let checksums = sums(&bytes);
        assert_eq!(checksums.len(), 2);
        assert_eq!(checksums[1], crc32fast::hash(&[5; 7]));
        let header = layout.encode(&checksums);
        assert_eq!(header.len(), layout.header_len());
        assert_eq!(layout.decode(&header), Some(checksums));
        for at in 0..header.len() * 8 {
            let mut torn = header.clone();
            torn[at / 8] ^= 1 << (at % 8);
            assert_eq!(layout.decode(&torn), None, "bit {at}");
        }
        for len in 0..header.len() {
            assert_eq!(layout.decode(&header[..len]), None, "{len}");
        }
    }

    #[test]
    fn the_header_of_another_block_or_key_is_none() {
        let key = Key::new("s", "a/b", "v", 3 * BLOCK);
        let header = Layout::of(&key, 1).unwrap().encode(&[1, 2, 3, 4]);
        assert!(Layout::of(&key, 1).unwrap().decode(&header).is_some());
        assert!(Layout::of(&key, 0).unwrap().decode(&header).is_none());
        for other in [
            Key::new("s", "a/b", "w", 3 * BLOCK),
            Key::new("s", "a/c", "v", 3 * BLOCK),
            Key::new("t", "a/b", "v", 3 * BLOCK),
            Key::new("s", "a/b", "v", 3 * BLOCK + 1),
        ] {
            assert!(Layout::of(&other, 1).unwrap().decode(&header).is_none(), "{other:?}");
        }
    }

    #[test]
    fn what_cannot_be_named_in_a_header_is_not_kept() {
        assert!(Layout::of(&Key::new("", &"x".repeat(20_000), "", 1), 0).is_none());
        assert!(Layout::of(&Key::new("", "", "", u64::MAX), u64::from(u32::MAX) + 1).is_none());
        assert!(Layout::of(&Key::new("", "", "", 0), 0).is_some());
    }
}
