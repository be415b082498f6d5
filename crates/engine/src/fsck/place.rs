//! Where PHP puts the bytes of a name. Rows keep names literally, the binary store of Ibexa does
//! not: `x//y`, `x/./y` and `x\y` all lie in `x/y` (ibexa-dfs.md §1.4). So an object may belong to
//! a row of another name.

use ezdfs_core::{FilePath, NamePrefix};

/// The path of the object that PHP reads for a row's name, if it is another one than the row's own
/// path, and can be a path at all.
pub(super) fn elsewhere(prefix: &NamePrefix, name: &str) -> Option<FilePath> {
    let id = match prefix.as_str() {
        "" => name,
        prefix => name.strip_prefix(prefix)?.strip_prefix('/')?,
    };
    let mut segments = Vec::new();
    for segment in id.split(['/', '\\']) {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop()?;
            }
            segment => segments.push(segment),
        }
    }
    let place = segments.join("/");
    if place == id { None } else { place.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_names_share_one_place() {
        let prefix = NamePrefix::new("var/site");
        for id in ["x//y.png", "x/./y.png", "x\\y.png", "/x/y.png", "x/z/../y.png"] {
            let place = elsewhere(&prefix, &format!("var/site/{id}"));
            assert_eq!(place.as_ref().map(FilePath::as_str), Some("x/y.png"), "{id}");
        }
        for id in ["x/y.png", "../y", "..", ".ezdfs//x", "a\u{7}//b"] {
            assert_eq!(elsewhere(&prefix, &format!("var/site/{id}")), None, "{id}");
        }
        assert_eq!(elsewhere(&prefix, "var/other/x//y"), None);
        assert_eq!(elsewhere(&NamePrefix::default(), "x//y").unwrap().as_str(), "x/y");
    }
}
