//! `Surrogate-Key` and `xkey`: the directories that a file lies in, by which caches in front purge
//! all that lies below one of them.

use ezdfs_core::FilePath;
use http::HeaderValue;
use http::header::HeaderName;
use md5::{Digest as _, Md5};

/// The field of Fastly and others.
pub const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
/// The field of Varnish's vmod xkey.
pub const XKEY: HeaderName = HeaderName::from_static("xkey");

/// Most directories of one field, from the top: a purge of one further down works by path.
const MOST: usize = 16;

/// `p-` and the hex MD5 of a directory: the tag of everything below it.
#[must_use]
pub fn tag(dir: &str) -> String {
    format!("p-{}", hex::encode(Md5::digest(dir.as_bytes())))
}

/// The tags of all directories of a path, from the top, separated by blanks; `None` for a file in
/// the root.
#[must_use]
pub fn value(path: &FilePath) -> Option<HeaderValue> {
    let text = path.as_str();
    let mut value = String::new();
    for (at, _) in text.match_indices('/').take(MOST) {
        if !value.is_empty() {
            value.push(' ');
        }
        value.push_str(&tag(&text[..at]));
    }
    if value.is_empty() { None } else { HeaderValue::try_from(value).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> Option<String> {
        value(&path.parse().unwrap()).map(|v| v.to_str().unwrap().to_owned())
    }

    #[test]
    fn one_tag_a_directory() {
        // printf images | md5sum; printf images/1 | md5sum
        assert_eq!(tag("images"), "p-59b514174bffe4ae402b3d63aad79fe0");
        let (images, one) = (tag("images"), tag("images/1"));
        assert_eq!(of("images/1/a.jpg"), Some(format!("{images} {one}")));
        assert_eq!(of("images/a.jpg"), Some(images));
        assert_eq!(of("a.jpg"), None);
        let deep = format!("{}x", "d/".repeat(100));
        assert_eq!(of(&deep).unwrap().split(' ').count(), MOST);
    }
}
