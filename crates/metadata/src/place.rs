//! Where a name stands: parent, basename and ancestors, from the name alone.
//!
//! The side table knows names by their hash, so that entries of every store of one table can be
//! placed without knowing the stores' prefixes.

use ezdfs_core::{FilePath, Name, NameHash, PathError};

/// Place of a name in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    /// Hash of the name of the directory that lists it.
    pub(crate) parent: NameHash,
    /// Last segment.
    pub(crate) basename: &'a str,
}

impl<'a> Place<'a> {
    /// The place of any name.
    pub(crate) fn of(name: &'a str) -> Self {
        let (parent, basename) = name.rsplit_once('/').unwrap_or(("", name));
        Self { parent: Name::from_row(parent).hash(), basename }
    }
}

/// Longer than any name that a store with any prefix can have. A `text` column holds 64 KiB and more,
/// and each slash in it would be a directory.
const LONGEST: usize = 8_192;

/// Whether a listing can ever show the name: each segment follows rules K. Others get no entry:
/// `/a` would take the place of `a`.
pub(crate) fn is_listable(name: &str) -> bool {
    name.len() <= LONGEST
        && name
            .split('/')
            .all(|s| matches!(FilePath::from_bytes(s.as_bytes()), Ok(_) | Err(PathError::Reserved)))
}

/// The names of the directories above, nearest first.
pub(crate) fn ancestors(name: &str) -> impl Iterator<Item = &str> {
    name.rmatch_indices('/').map(|(at, _)| &name[..at])
}

/// The half-open range of the names below a directory: from `name/` up to the byte after the
/// slash. `None`: all names (the root of a store without prefix).
pub(crate) fn below(name: &str) -> Option<(String, String)> {
    (!name.is_empty()).then(|| (format!("{name}/"), format!("{name}0")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let place = Place::of("var/site/a.jpg");
        assert_eq!(place.parent, Name::from_row("var/site").hash());
        assert_eq!(place.basename, "a.jpg");
        assert_eq!(Place::of("a").parent, Name::from_row("").hash());
        assert_eq!(ancestors("a/b/c").collect::<Vec<_>>(), ["a/b", "a"]);
        assert_eq!(below("a/1"), Some(("a/1/".into(), "a/10".into())));
        assert_eq!(below(""), None);
    }

    #[test]
    fn names_that_no_listing_shows() {
        for good in ["a", "a/b", ".ezdfs/x", "var/.ezdfs", "a\\b", "é/😀 "] {
            assert!(is_listable(good), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", "a/./b", "../a", "a\nb", "a\u{0}b"] {
            assert!(!is_listable(bad), "{bad:?}");
        }
        assert!(!is_listable(&"x".repeat(256)));
    }
}
