//! Paths on the command line: paths of the store under rules K.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use clap::builder::{OsStringValueParser, TypedValueParser};
use ezdfs_core::{DirPath, Error, FilePath, Result};

/// How the root of the store is written.
const ROOT: &str = "/";

/// A file or directory of the store as named by the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Which.
    pub(crate) path: DirPath,
    /// It ended with a slash: a directory is meant.
    pub(crate) slash: bool,
}

impl Place {
    /// The root of the store.
    pub(crate) fn root() -> Self {
        Self { path: DirPath::root(), slash: true }
    }

    /// What it is as a file.
    ///
    /// # Errors
    /// For the root.
    pub(crate) fn file(&self) -> Result<FilePath> {
        self.path.path().cloned().ok_or_else(|| {
            Error::new(
                ezdfs_core::ErrorKind::InvalidArgument,
                "the root of the store cannot be used here; name a file or directory in it",
            )
        })
    }
}

/// Parser of a path that names a file.
pub(crate) fn file() -> impl TypedValueParser<Value = FilePath> {
    OsStringValueParser::new().try_map(|text: OsString| parse_file(&text).map_err(BadPath))
}

/// Parser of a path that names a file or a directory, or the root as `/`.
pub(crate) fn place() -> impl TypedValueParser<Value = Place> {
    OsStringValueParser::new().try_map(|text: OsString| parse_place(&text).map_err(BadPath))
}

/// clap prints the reason after the value.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct BadPath(String);

fn parse_place(text: &OsStr) -> Result<Place, String> {
    if text == ROOT {
        return Ok(Place::root());
    }
    let bytes = text.as_bytes();
    match bytes.strip_suffix(b"/") {
        Some(dir) => Ok(Place { path: checked(dir, text)?.into(), slash: true }),
        None => Ok(Place { path: checked(bytes, text)?.into(), slash: false }),
    }
}

fn parse_file(text: &OsStr) -> Result<FilePath, String> {
    let bytes = text.as_bytes();
    if bytes.ends_with(b"/") {
        return Err("this names a directory, and a file is needed".to_owned());
    }
    checked(bytes, text)
}

fn checked(bytes: &[u8], text: &OsStr) -> Result<FilePath, String> {
    FilePath::from_bytes(bytes).map_err(|e| {
        let shown = text.to_string_lossy();
        let trimmed = shown.trim_start_matches('/');
        if trimmed.len() < shown.len() && trimmed.parse::<FilePath>().is_ok() {
            return format!("paths are relative to the store: use `{trimmed}`");
        }
        if bytes.is_empty() {
            return format!("{e}; the root of the store is `{ROOT}`");
        }
        e.to_string()
    })
}

/// The path of an entry of `dir`, called as `source` is.
pub(crate) fn into_dir(dir: &DirPath, basename: &str) -> Result<FilePath> {
    Ok(dir.join(basename)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Result<Place, String> {
        parse_place(OsStr::new(text))
    }

    #[test]
    fn a_leading_slash_is_explained() {
        assert_eq!(
            place("/images/a.jpg").unwrap_err(),
            "paths are relative to the store: use `images/a.jpg`"
        );
        // Not if that would not do either.
        assert!(!place("/../a").unwrap_err().contains("use `"));
    }

    #[test]
    fn one_trailing_slash_means_a_directory() {
        let dir = place("images/1/").unwrap();
        assert_eq!((dir.path.as_str(), dir.slash), ("images/1", true));
        assert!(place("images//").is_err());
        assert!(parse_file(OsStr::new("images/")).is_err());
    }

    #[test]
    fn the_root_is_a_slash_and_nothing_is_no_path() {
        assert!(place("/").unwrap().path.is_root());
        assert!(place("//").is_err());
        assert!(place("").unwrap_err().contains("`/`"));
        assert!(Place::root().file().is_err());
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        assert!(parse_file(OsStr::from_bytes(b"a\xff")).unwrap_err().contains("UTF-8"));
    }
}
