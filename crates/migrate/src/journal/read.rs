//! Reading a journal line by line, with bounded memory.

use std::io::{BufRead, Read as _};

use ezdfs_core::Result;

use super::format::{Line, MAX_LINE};

/// A piece of a journal.
#[derive(Debug)]
pub(crate) enum Piece {
    /// A whole line.
    Line(Line),
    /// Bytes that are no line, or one without its end.
    Garbage,
}

/// Hands every line to `each`, with the offset at which it ends.
///
/// # Errors
/// Those of `each`, and those of the file.
pub(crate) fn each_line(
    mut file: impl BufRead,
    mut each: impl FnMut(Piece, u64) -> Result<()>,
) -> Result<()> {
    let mut offset = 0_u64;
    let mut line = Vec::new();
    let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
    loop {
        line.clear();
        let read = file.by_ref().take(limit).read_until(b'\n', &mut line).map_err(|e| {
            ezdfs_core::Error::new(ezdfs_core::ErrorKind::Unavailable, "cannot read the journal")
                .with_source(e)
        })?;
        if read == 0 {
            return Ok(());
        }
        offset = offset.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        let piece = match line.split_last() {
            Some((b'\n', text)) => Line::parse(text).map_or(Piece::Garbage, Piece::Line),
            _ => Piece::Garbage,
        };
        each(piece, offset)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_read_to_their_end(bytes: Vec<u8>) {
            let mut end = 0;
            each_line(bytes.as_slice(), |_, at| {
                end = at;
                Ok(())
            }).unwrap();
            prop_assert_eq!(usize::try_from(end).unwrap(), bytes.len());
        }
    }
}
