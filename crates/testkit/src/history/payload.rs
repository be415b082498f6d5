//! `Payload`: bytes that name their version and prove that they are whole.

use std::fmt;

use sha2::Digest as _;

use super::record::Content;

const MAGIC: &str = "ezdfs-history 1";
/// Hexadecimal digits of the digest at the end, and a line feed.
const END: usize = 65;

/// A version's bytes: a line with path, content and length, a pattern of that content, and the
/// SHA-256 of everything before it. What is cut, mixed or of another path does not parse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload<'a> {
    /// For which path it was made.
    pub path: &'a str,
    /// Its identity.
    pub content: Content,
}

/// Bytes that are no whole payload: a version that nobody wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn(pub String);

impl fmt::Display for Torn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'a> Payload<'a> {
    /// Its bytes, `len` of them or as many as head and end need.
    #[must_use]
    pub fn bytes(&self, len: usize) -> Vec<u8> {
        let head = |len: usize| format!("{MAGIC} {} {} {len}\n", self.content.0, self.path);
        // The length is part of what has that length.
        let len = len.max(head(usize::MAX).len() + END);
        let mut bytes = head(len).into_bytes();
        let mut word = self.content.0;
        while bytes.len() < len - END {
            // An odd constant: no two blocks are alike, nor those of two contents.
            word = word
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.truncate(len - END);
        let digest = hex::encode(sha2::Sha256::digest(&bytes));
        bytes.extend_from_slice(digest.as_bytes());
        bytes.push(b'\n');
        bytes
    }

    /// Reads whole bytes.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Torn> {
        let torn = |why: &str| {
            let head: String = bytes.iter().take(60).map(|b| char::from(*b)).collect();
            Torn(format!("{why} ({} bytes that begin with {head:?})", bytes.len()))
        };
        let end = bytes.iter().position(|b| *b == b'\n').ok_or_else(|| torn("no head"))?;
        let head = std::str::from_utf8(&bytes[..end]).map_err(|_| torn("no head"))?;
        let rest = head.strip_prefix(MAGIC).ok_or_else(|| torn("no head"))?.trim_start();
        let (content, rest) = rest.split_once(' ').ok_or_else(|| torn("a broken head"))?;
        let (path, len) = rest.rsplit_once(' ').ok_or_else(|| torn("a broken head"))?;
        let content = content.parse().map_err(|_| torn("a broken head"))?;
        if len.parse() != Ok(bytes.len()) {
            return Err(torn(&format!("not the {len} bytes of the head")));
        }
        let body = bytes.len().checked_sub(END).ok_or_else(|| torn("too short"))?;
        let digest = hex::encode(sha2::Sha256::digest(&bytes[..body]));
        if bytes[body..END + body - 1] != *digest.as_bytes() {
            return Err(torn("bytes of another version or none"));
        }
        Ok(Self { path, content: Content(content) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_bytes_are_read_back_at_every_length() {
        let payload = Payload { path: "images/a b.txt", content: Content(7 << 32 | 3) };
        for len in [0, 1, 200, 4096, 70_001] {
            let bytes = payload.bytes(len);
            assert!(len < 200 || bytes.len() == len);
            assert_eq!(Payload::parse(&bytes), Ok(payload));
        }
    }

    #[test]
    fn what_is_cut_or_mixed_is_seen() {
        let of = |content| Payload { path: "x", content: Content(content) }.bytes(9_000);
        let (one, two) = (of(1), of(2));
        for cut in [0, 1, 40, 4_096, 8_999] {
            assert!(Payload::parse(&one[..cut]).is_err(), "{cut}");
            let mix = [&one[..cut], &two[cut..]].concat();
            assert_eq!(Payload::parse(&mix).is_err(), mix != one && mix != two, "{cut}");
        }
        let long = [one.as_slice(), b"x"].concat();
        assert!(Payload::parse(&long).is_err());
        for flipped in [20, 3_000, 8_990] {
            let mut bytes = one.clone();
            bytes[flipped] ^= 1;
            assert!(Payload::parse(&bytes).is_err(), "{flipped}");
        }
    }
}
