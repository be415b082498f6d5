//! `Placeholders`: what is shown in place of a missing file.

use ezdfs_core::{Error, ErrorKind, FilePath, Result};
use globset::{GlobBuilder, GlobMatcher};
use http::StatusCode;

/// One placeholder, as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placeholder<'a> {
    /// A glob over the paths that may be missing: `*` stays within a segment, `**` does not.
    pub pattern: &'a str,
    /// The file of the store that is shown.
    pub path: &'a str,
    /// Whether it is answered with 200; otherwise with 404, as what it is.
    pub as_found: bool,
}

/// Placeholders by path; the first match counts.
#[derive(Debug, Clone, Default)]
pub struct Placeholders(Vec<(GlobMatcher, FilePath, StatusCode)>);

impl Placeholders {
    /// Compiles placeholders.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a glob that is none or a path that cannot be stored.
    pub fn new<'a>(placeholders: impl IntoIterator<Item = Placeholder<'a>>) -> Result<Self> {
        let mut list = Vec::new();
        for Placeholder { pattern, path, as_found } in placeholders {
            let glob = GlobBuilder::new(pattern)
                .literal_separator(true)
                .build()
                .map_err(|e| Error::new(ErrorKind::Config, e.to_string()))?;
            let path = path.parse().map_err(|e: ezdfs_core::PathError| {
                Error::new(ErrorKind::Config, format!("`{path}` is no path of a placeholder"))
                    .with_source(e)
            })?;
            let status = if as_found { StatusCode::OK } else { StatusCode::NOT_FOUND };
            list.push((glob.compile_matcher(), path, status));
        }
        Ok(Self(list))
    }

    /// What is shown in place of `path`, and with which status; never the file itself.
    #[must_use]
    pub fn of(&self, path: &FilePath) -> Option<(&FilePath, StatusCode)> {
        let (_, shown, status) = self.0.iter().find(|(glob, _, _)| glob.is_match(path.as_str()))?;
        (shown != path).then_some((shown, *status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_match_counts_and_nothing_stands_for_itself() {
        let of = |pattern, path, as_found| Placeholder { pattern, path, as_found };
        let list = Placeholders::new([
            of("images/avatars/**", "images/nobody.png", true),
            of("images/**", "images/missing.png", false),
        ])
        .unwrap();
        let shown = |path: &str| {
            let found = list.of(&path.parse().unwrap())?;
            Some((found.0.to_string(), found.1.as_u16()))
        };
        assert_eq!(shown("images/avatars/7.png"), Some(("images/nobody.png".to_owned(), 200)));
        assert_eq!(shown("images/x.png"), Some(("images/missing.png".to_owned(), 404)));
        assert_eq!(shown("images/missing.png"), None);
        assert_eq!(shown("original/x"), None);
        for bad in [of("images/[", "a", false), of("**", "a//b", false)] {
            assert_eq!(Placeholders::new([bad]).unwrap_err().kind(), ErrorKind::Config);
        }
    }
}
