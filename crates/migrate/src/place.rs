//! Where a side keeps its rows and bytes, and whether two sides overlap.
//!
//! A migration between overlapping places would read what it writes: it is refused before anything
//! is written.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ezdfs_core::{Error, ErrorKind, Result};

use crate::side::Side;
use crate::sides::Halves;

/// A place, as exact as the caller knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A directory of this machine: the root of a local store **with** its key prefix.
    Directory(PathBuf),
    /// Names in something shared: objects in a bucket, or rows in a table.
    Names {
        /// What tells the container from all others, e.g. `https://s3.example/bucket` or
        /// `mysql://db1/ezdfs?table=ezdfsfile`. Compared as text.
        container: String,
        /// What all names of this side start with; outer slashes do not count.
        prefix: String,
    },
}

/// The places of a side; what is `None` cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places {
    /// Where the rows are. `None` also for metadata that is derived from the objects.
    pub rows: Option<Place>,
    /// Where the bytes are.
    pub bytes: Option<Place>,
}

impl Place {
    /// Whether both are the same place, or one lies inside the other.
    ///
    /// Directories are compared after symbolic links are resolved, and by device and inode number,
    /// so that a bind mount of the same directory is recognised.
    ///
    /// # Errors
    /// When a directory cannot be examined.
    pub fn overlaps(&self, other: &Self) -> Result<bool> {
        match (self, other) {
            (Self::Directory(a), Self::Directory(b)) => {
                let (a, b) = (resolve(a)?, resolve(b)?);
                Ok(a.starts_with(&b) || b.starts_with(&a) || is_below(&a, &b)? || is_below(&b, &a)?)
            }
            (
                Self::Names { container: c1, prefix: p1 },
                Self::Names { container: c2, prefix: p2 },
            ) => Ok(c1 == c2 && prefixes_overlap(p1, p2)),
            _ => Ok(false),
        }
    }
}

/// Whether one prefix is the other or a directory above it, by whole segments.
fn prefixes_overlap(a: &str, b: &str) -> bool {
    let (a, b) = (a.trim_matches('/'), b.trim_matches('/'));
    let above = |up: &str, down: &str| {
        up.is_empty() || down.strip_prefix(up).is_some_and(|r| r.is_empty() || r.starts_with('/'))
    };
    above(a, b) || above(b, a)
}

/// The path without symbolic links; parts that do not exist yet are kept as they are.
fn resolve(path: &Path) -> Result<PathBuf> {
    let unreadable = |e: std::io::Error| {
        Error::new(ErrorKind::Config, format!("cannot examine `{}`", path.display())).with_source(e)
    };
    let mut missing: Vec<OsString> = Vec::new();
    let mut existing = std::path::absolute(path).map_err(unreadable)?;
    loop {
        match fs::canonicalize(&existing) {
            Ok(mut found) => {
                found.extend(missing.iter().rev());
                return Ok(found);
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let Some(name) = existing.file_name().map(ToOwned::to_owned) else {
                    return Err(unreadable(e));
                };
                missing.push(name);
                existing.pop();
            }
            Err(e) => return Err(unreadable(e)),
        }
    }
}

/// Whether `inner` or a directory above it is `outer`, by device and inode number.
fn is_below(inner: &Path, outer: &Path) -> Result<bool> {
    let Some(outer) = identity(outer)? else { return Ok(false) };
    for dir in inner.ancestors() {
        if identity(dir)? == Some(outer) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn identity(path: &Path) -> Result<Option<(u64, u64)>> {
    match fs::metadata(path) {
        Ok(m) => Ok(Some((m.dev(), m.ino()))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => {
            Err(Error::new(ErrorKind::Config, format!("cannot examine `{}`", path.display()))
                .with_source(e))
        }
    }
}

/// Refuses sides whose halves that are to be migrated share a place. Blocks.
///
/// # Errors
/// [`ErrorKind::Config`], saying what overlaps and what to do.
pub(crate) fn refuse_overlap(source: &Side, target: &Side, halves: Halves) -> Result<()> {
    if halves != Halves::MetadataOnly && bytes_overlap(source, target)? {
        return Err(Error::new(
            ErrorKind::Config,
            format!(
                "the binary data handlers `{}` and `{}` keep their files in the same place, or one \
                 inside the other: the migration would read what it writes. Give the target a \
                 place of its own; to build only the metadata name the same binary data handler \
                 on both sides",
                source.pair.binarydata, target.pair.binarydata
            ),
        ));
    }
    if halves != Halves::BinaryOnly && rows_overlap(source, target)? {
        return Err(Error::new(
            ErrorKind::Config,
            format!(
                "the metadata handlers `{}` and `{}` keep their rows in the same table under the \
                 same names: the migration would overwrite the rows that it reads. To move only \
                 the bytes name the same metadata handler on both sides",
                source.pair.metadata, target.pair.metadata
            ),
        ));
    }
    Ok(())
}

fn bytes_overlap(source: &Side, target: &Side) -> Result<bool> {
    let (a, b) = (source.service.binary(), target.service.binary());
    if Arc::ptr_eq(&a.store, &b.store) {
        let root = ezdfs_core::DirPath::root();
        let prefix =
            |key: Option<object_store::path::Path>| key.map(|k| k.to_string()).unwrap_or_default();
        return Ok(prefixes_overlap(&prefix(a.dir_key(&root)?), &prefix(b.dir_key(&root)?)));
    }
    match (&source.places.bytes, &target.places.bytes) {
        (Some(a), Some(b)) => a.overlaps(b),
        _ => Ok(false),
    }
}

fn rows_overlap(source: &Side, target: &Side) -> Result<bool> {
    let (a, b) = (source.service.metadata(), target.service.metadata());
    if !a.is_separate() || !b.is_separate() {
        return Ok(false);
    }
    if Arc::ptr_eq(a, b) {
        return Ok(true);
    }
    match (&source.places.rows, &target.places.rows) {
        (Some(a), Some(b)) => a.overlaps(b),
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_overlap_through_links_and_missing_parts() {
        let temp = tempfile::tempdir().unwrap();
        let at = |p: &str| Place::Directory(temp.path().join(p));
        fs::create_dir_all(temp.path().join("a/b")).unwrap();
        fs::create_dir_all(temp.path().join("ab")).unwrap();
        std::os::unix::fs::symlink(temp.path().join("a"), temp.path().join("link")).unwrap();
        for (x, y, expected) in [
            ("a", "a", true),
            ("a", "a/b", true),
            ("a/b", "a", true),
            ("a", "ab", false),
            ("link", "a", true),
            ("link/b/new/dir", "a", true),
            ("a/new1", "a/new2", false),
            ("a/new", "a/new/deeper", true),
        ] {
            assert_eq!(at(x).overlaps(&at(y)).unwrap(), expected, "{x} {y}");
        }
    }

    #[test]
    fn names_overlap_by_whole_segments() {
        let names = |c: &str, p: &str| Place::Names { container: c.into(), prefix: p.into() };
        for (a, b, expected) in [
            (names("s3://x", "site"), names("s3://x", "/site/"), true),
            (names("s3://x", ""), names("s3://x", "site"), true),
            (names("s3://x", "site/a"), names("s3://x", "site"), true),
            (names("s3://x", "site"), names("s3://x", "site2"), false),
            (names("s3://x", "site"), names("s3://y", "site"), false),
        ] {
            assert_eq!(a.overlaps(&b).unwrap(), expected, "{a:?} {b:?}");
        }
        assert!(!names("x", "").overlaps(&Place::Directory("/".into())).unwrap());
    }
}
