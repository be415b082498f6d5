//! Names that the base table cannot hold: refused before any byte is written, because PHP's way,
//! to find out when the bytes are there, leaves bytes without a row.

use ezdfs_core::{Error, ErrorKind, Intent, NamePrefix, Result, Work};

/// What the base table can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NameLimits {
    /// Bytes of a name. An index of PostgreSQL takes 2,704 bytes with what it adds, and whether a
    /// longer name shrinks below that depends on its letters (ibexa-dfs.md §1.3).
    pub(crate) bytes: Option<usize>,
    /// Bytes of one character in UTF-8: 3 in an old table of eZ Publish.
    pub(crate) of_character: usize,
}

impl NameLimits {
    fn check(self, name: &str) -> Result<()> {
        let refuse = |kind, what: String| Err(Error::new(kind, format!("`{name}`: {what}")));
        if let Some(most) = self.bytes.filter(|most| name.len() > *most) {
            return refuse(
                ErrorKind::NameTooLong,
                format!(
                    "the name has {} bytes, and the database can index {most} of them",
                    name.len()
                ),
            );
        }
        if let Some(c) = name.chars().find(|c| c.len_utf8() > self.of_character) {
            return refuse(
                ErrorKind::InvalidPath,
                format!(
                    "the character set of the table has no `{c}`; convert it to utf8mb4 as Ibexa's upgrade does"
                ),
            );
        }
        Ok(())
    }

    /// Refuses work that would store such a name.
    pub(crate) fn check_all(self, prefix: &NamePrefix, intents: &[Intent]) -> Result<()> {
        let stores = |work: &Work| matches!(work, Work::Publish { .. } | Work::Rename { to: None });
        intents
            .iter()
            .filter(|intent| stores(&intent.work))
            .try_for_each(|intent| self.check(prefix.name(&intent.path).as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_do_not_fit() {
        let limits = NameLimits { bytes: Some(10), of_character: 3 };
        assert!(limits.check("€€€").is_ok());
        assert_eq!(limits.check("€€€€").unwrap_err().kind(), ErrorKind::NameTooLong);
        assert_eq!(limits.check("a🐘").unwrap_err().kind(), ErrorKind::InvalidPath);
        assert!(NameLimits { bytes: None, of_character: 4 }.check(&"🐘".repeat(999)).is_ok());
    }
}
