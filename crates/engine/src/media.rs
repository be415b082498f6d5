//! The media type of a new file.

use ezdfs_core::entry::OCTET_STREAM;
use ezdfs_core::{Error, ErrorKind, FilePath, Result};

/// Longest `datatype` in bytes: the width of the column.
pub const MAX_DATATYPE_BYTES: usize = 255;

/// The media type that the name suggests.
#[must_use]
pub fn guess(path: &FilePath) -> &'static str {
    mime_guess::from_path(path.basename()).first_raw().unwrap_or(OCTET_STREAM)
}

/// Refuses a `datatype` that the column or a header field cannot hold (abuse case 46; check 26 of
/// ibexa-dfs.md), before any byte is written.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`].
pub fn check(datatype: &str) -> Result<()> {
    if datatype.len() > MAX_DATATYPE_BYTES {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("the media type has {} bytes, more than {MAX_DATATYPE_BYTES}", datatype.len()),
        ));
    }
    if datatype.bytes().any(|b| !(0x20..0x7f).contains(&b)) {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            "the media type has a character outside printable ASCII",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_come_from_the_last_extension() {
        let guess = |p: &str| guess(&p.parse().unwrap());
        assert_eq!(guess("images/a.JPG"), "image/jpeg");
        assert_eq!(guess("images/a.tar.svg"), "image/svg+xml");
        assert_eq!(guess("images.png/a"), OCTET_STREAM);
    }

    #[test]
    fn types_that_no_column_or_header_holds_are_refused() {
        assert!(check("image/png").is_ok());
        assert!(check("").is_ok());
        for bad in ["image/png\r\nX: y", "tëxt/plain", &"x".repeat(256)] {
            assert_eq!(check(bad).unwrap_err().kind(), ErrorKind::InvalidArgument, "{bad}");
        }
    }
}
