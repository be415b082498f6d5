//! When so much is wrong that the view must be: a store that is not mounted, a wrong prefix, the
//! wrong database. Then nothing may be repaired.

use std::str::FromStr;

use ezdfs_core::{DirPath, Error, ErrorKind, MetadataStore, Result};

use super::Run;
use super::finding::{Kind, Summary};
use super::walk::Listing;
use crate::binary::BinaryStore;

/// How many rows or objects may be suspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxSuspects {
    /// A share of what was seen; up to [`MaxSuspects::ALWAYS`] are always allowed.
    Percent(u8),
    /// A number.
    Count(u64),
}

impl MaxSuspects {
    /// So many suspects are no reason to doubt the view, whatever their share.
    pub const ALWAYS: u64 = 100;

    fn allows(self, suspects: u64, of: u64) -> bool {
        match self {
            Self::Count(most) => suspects <= most,
            Self::Percent(most) => {
                suspects <= Self::ALWAYS
                    || suspects.saturating_mul(100) <= of.saturating_mul(u64::from(most))
            }
        }
    }
}

impl Default for MaxSuspects {
    fn default() -> Self {
        Self::Percent(10)
    }
}

impl FromStr for MaxSuspects {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let parsed = match text.strip_suffix('%') {
            Some(share) => share.parse().ok().filter(|n| *n <= 100).map(Self::Percent),
            None => text.parse().ok().map(Self::Count),
        };
        parsed.ok_or_else(|| {
            let text =
                format!("`{text}` is neither a share, as in `25%`, nor a number of suspects");
            Error::new(ErrorKind::Usage, text)
        })
    }
}

impl Run<'_> {
    /// Why the view looks wrong, and what it may be; `None` when it looks right.
    pub(super) async fn suspects(&mut self) -> Result<Option<String>> {
        let Summary { rows, objects, .. } = self.summary;
        let limit = self.options.max_suspects;
        let binary = &self.service.inner.binary;
        let metadata = &self.service.inner.metadata;
        let is_default = limit == MaxSuspects::default();
        let missing = self.summary.of(Kind::MissingObject);
        let orphans = self.summary.of(Kind::Orphan);
        let mut differing = self.summary.of(Kind::Pin) + self.summary.of(Kind::Size);
        if self.options.repairs.adopt {
            differing = differing.saturating_sub(self.summary.adoptable);
        }
        if is_default && missing > 0 && objects == 0 && has_no_objects(binary).await? {
            return Ok(Some(format!(
                "there is no object at all, and {missing} rows that want one: is the store `{}` \
                 ({}) mounted, and are its url and prefix right?",
                binary.name, binary.store
            )));
        }
        if is_default && orphans > 0 && rows == 0 && has_no_rows(&**metadata).await? {
            return Ok(Some(format!(
                "there is no row at all, and {orphans} objects that want one: is it the right \
                 database ({}), and is the name prefix `{}` right?",
                metadata.describe(),
                metadata.prefix().as_str()
            )));
        }
        if !limit.allows(missing, rows) {
            return Ok(Some(format!(
                "{missing} of {rows} rows have no object, which looks like a store that is not \
                 mounted or a wrong prefix rather than like lost files: check `{}` ({})",
                binary.name, binary.store
            )));
        }
        if !limit.allows(orphans, objects) {
            return Ok(Some(format!(
                "{orphans} of {objects} objects have no row, which looks like a wrong name prefix \
                 (`{}`), the wrong database or one that was restored to an older state: check {}",
                metadata.prefix().as_str(),
                metadata.describe()
            )));
        }
        if !limit.allows(differing, rows) {
            return Ok(Some(format!(
                "{differing} of {rows} objects are not those that their rows were written with, \
                 which looks like a restore or another file server: `--adopt` accepts those whose \
                 size and mtime are the row's"
            )));
        }
        Ok(None)
    }
}

async fn has_no_objects(binary: &BinaryStore) -> Result<bool> {
    let root = binary.dir_key(&DirPath::root())?;
    Ok(Listing::start(binary, root.as_ref()).next().await?.is_none())
}

async fn has_no_rows(metadata: &dyn MetadataStore) -> Result<bool> {
    Ok(metadata.scan(&DirPath::root(), None, 1).await?.rows.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_are_always_allowed_and_then_a_share() {
        let share = MaxSuspects::default();
        assert!(share.allows(100, 100) && share.allows(101, 1_010));
        assert!(!share.allows(101, 1_009));
        assert!(MaxSuspects::Count(7).allows(7, 7) && !MaxSuspects::Count(7).allows(8, 1_000));
    }

    #[test]
    fn limits_are_shares_or_numbers() {
        assert_eq!("25%".parse::<MaxSuspects>().unwrap(), MaxSuspects::Percent(25));
        assert_eq!("5000".parse::<MaxSuspects>().unwrap(), MaxSuspects::Count(5_000));
        for bad in ["", "%", "101%", "-1", "x", "1.5%"] {
            assert_eq!(bad.parse::<MaxSuspects>().unwrap_err().kind(), ErrorKind::Usage, "{bad}");
        }
    }
}
