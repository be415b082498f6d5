//! From an SPI id to the row's name and scope, and to the place of the bytes
//! (ibexa-dfs.md §1.4, §1.5). The two follow different rules, as in Ibexa.

use std::sync::LazyLock;

use regex::Regex;

/// Why an id has no place in the binary store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BinaryPathError {
    /// A control, format, unassigned or private-use character.
    #[error("the path holds a character of the Unicode category Other")]
    Corrupted,
    /// `..` leads above the root.
    #[error("the path leads above the root")]
    Traversal,
}

/// The row's name: outer slashes go, the rest is literal. Without a prefix the id is the name.
#[must_use]
pub fn name_of(prefix: &str, id: &str) -> String {
    let (prefix, id) = (prefix.trim_matches('/'), id.trim_matches('/'));
    if prefix.is_empty() { id.to_owned() } else { format!("{prefix}/{id}") }
}

/// The row's scope, by the first segment of the id.
#[must_use]
pub fn scope_of_id(id: &str) -> &'static str {
    match id.split_once('/') {
        Some(("images", _)) => "image",
        Some(("original", _)) => "binaryfile",
        _ => "UNKNOWN_SCOPE",
    }
}

/// Where the bytes lie below the root: backslashes are slashes, empty segments and `.` vanish,
/// `..` takes one segment away.
///
/// # Errors
/// See [`BinaryPathError`].
pub fn binary_path(id: &str) -> Result<String, BinaryPathError> {
    static OTHER: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\p{C}").expect("a constant"));
    if OTHER.is_match(id) {
        return Err(BinaryPathError::Corrupted);
    }
    let mut segments = Vec::new();
    for segment in id.split(['/', '\\']) {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop().ok_or(BinaryPathError::Traversal)?;
            }
            name => segments.push(name),
        }
    }
    Ok(segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::{BinaryPathError, binary_path, name_of, scope_of_id};

    #[test]
    fn names_are_literal() {
        assert_eq!(name_of("/var/site/storage/", "/images/x//y/"), "var/site/storage/images/x//y");
        assert_eq!(name_of("var", r"images/../a\b ü"), r"var/images/../a\b ü");
        assert_eq!(name_of("", "images/a"), "images/a");
    }

    #[test]
    fn scopes() {
        assert_eq!(scope_of_id("images/1/a"), "image");
        assert_eq!(scope_of_id("original/application/a"), "binaryfile");
        assert_eq!(scope_of_id("images-versioned/1/a"), "UNKNOWN_SCOPE");
        assert_eq!(scope_of_id("images"), "UNKNOWN_SCOPE");
    }

    #[test]
    fn one_place_for_many_ids() {
        for id in ["x/y.png", "x//y.png", "x/./y.png", r"x\y.png", "/x/z/../y.png"] {
            assert_eq!(binary_path(id).as_deref(), Ok("x/y.png"), "{id}");
        }
        assert_eq!(binary_path("images/../esc.png").as_deref(), Ok("esc.png"));
    }

    #[test]
    fn no_place() {
        for id in ["../a", "a/../../b", r"..\a"] {
            assert_eq!(binary_path(id), Err(BinaryPathError::Traversal), "{id:?}");
        }
        for id in ["a\u{0}", "a\n", "a\u{200b}b", "a\u{e000}", "a\u{378}"] {
            assert_eq!(binary_path(id), Err(BinaryPathError::Corrupted), "{id:?}");
        }
    }
}
