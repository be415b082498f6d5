//! `--include` and `--exclude`: globs over the path.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use ezdfs_core::{Error, ErrorKind, Result};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// Which files are migrated. With include globs a path must match one of them; a path that
/// matches an exclude glob is left out in any case.
///
/// A glob is matched against the whole path, without a leading slash, byte by byte (case counts).
/// `*` and `?` never match a slash; `**` as a whole segment matches any number of segments:
/// `images/**` is everything below `images`, `**/*.jpg` every `.jpg` at any depth, and
/// `images/*.jpg` only those right in `images`. `[a-z]`, `{a,b}` and `\` before a literal
/// character work as usual.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    include: Vec<String>,
    exclude: Vec<String>,
    included: Option<GlobSet>,
    excluded: Option<GlobSet>,
}

impl Filter {
    /// Compiles the globs.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`], naming the option and the glob.
    pub fn new(include: Vec<String>, exclude: Vec<String>) -> Result<Self> {
        Ok(Self {
            included: compile("--include", &include)?,
            excluded: compile("--exclude", &exclude)?,
            include,
            exclude,
        })
    }

    /// Whether a path is migrated.
    #[must_use]
    pub fn admits(&self, path: &[u8]) -> bool {
        let path = Path::new(OsStr::from_bytes(path));
        self.included.as_ref().is_none_or(|globs| globs.is_match(path))
            && !self.excluded.as_ref().is_some_and(|globs| globs.is_match(path))
    }

    /// The include globs as given.
    #[must_use]
    pub fn include(&self) -> &[String] {
        &self.include
    }

    /// The exclude globs as given.
    #[must_use]
    pub fn exclude(&self) -> &[String] {
        &self.exclude
    }
}

fn compile(option: &str, globs: &[String]) -> Result<Option<GlobSet>> {
    if globs.is_empty() {
        return Ok(None);
    }
    let bad = |e: globset::Error| {
        let glob = e.glob().unwrap_or_default().to_owned();
        Error::new(ErrorKind::Usage, format!("{option} `{glob}` is not a glob: {}", e.kind()))
    };
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        let glob = GlobBuilder::new(glob).literal_separator(true).backslash_escape(true).build();
        set.add(glob.map_err(bad)?);
    }
    set.build().map(Some).map_err(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(include: &[&str], exclude: &[&str]) -> Filter {
        let owned = |globs: &[&str]| globs.iter().map(|g| (*g).to_owned()).collect();
        Filter::new(owned(include), owned(exclude)).unwrap()
    }

    #[test]
    fn one_star_stays_in_a_segment_and_two_do_not() {
        let f = filter(&["images/*.jpg"], &[]);
        assert!(f.admits(b"images/a.jpg"));
        assert!(!f.admits(b"images/1/a.jpg"));
        assert!(!f.admits(b"x/images/a.jpg"));
        let f = filter(&["images/**"], &[]);
        assert!(f.admits(b"images/a.jpg") && f.admits(b"images/1/2/a.jpg"));
        assert!(!f.admits(b"images-versioned/a.jpg") && !f.admits(b"images"));
        let f = filter(&["**/*.jpg"], &[]);
        assert!(f.admits(b"a.jpg") && f.admits(b"x/y/a.jpg") && !f.admits(b"x/a.JPG"));
    }

    #[test]
    fn exclude_wins_and_no_globs_admit_everything() {
        let f = filter(&["images/**"], &["images/_aliases/**"]);
        assert!(f.admits(b"images/a.jpg") && !f.admits(b"images/_aliases/l/a.jpg"));
        assert!(filter(&[], &["**/*.tmp"]).admits(b"a.jpg"));
        assert!(Filter::default().admits(b"caf\xe9"));
        assert!(filter(&["caf*"], &[]).admits(b"caf\xe9"));
    }

    #[test]
    fn a_bad_glob_is_named() {
        let e = Filter::new(vec!["a[".into()], vec![]).unwrap_err();
        assert!(e.kind() == ErrorKind::Usage && e.message().contains("--include `a[`"), "{e}");
    }
}
