//! `InlineTypes`: which media types a browser may show in place; everything else is downloaded.

use ezdfs_core::{Error, ErrorKind, Result};

/// What cannot run scripts in the site's name, and text.
pub const DEFAULT: [&str; 6] =
    ["image/*", "audio/*", "video/*", "font/*", "text/plain", "text/css"];

/// An allow-list of media types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InlineTypes(Vec<String>);

impl InlineTypes {
    /// From essences (`image/png`) and whole types (`image/*`), in any case.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for an item that is neither.
    pub fn new<'a>(types: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut list = Vec::new();
        for item in types {
            let is_name = |s: &str| {
                !s.is_empty()
                    && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
            };
            let valid = item
                .split_once('/')
                .is_some_and(|(t, sub)| is_name(t) && (sub == "*" || is_name(sub)));
            if !valid {
                let message =
                    format!("`{item}` is no media type; write e.g. \"image/*\" or \"text/plain\"");
                return Err(Error::new(ErrorKind::Config, message));
            }
            list.push(item.to_ascii_lowercase());
        }
        Ok(Self(list))
    }

    /// Whether a file of this media type is shown in place. Documents that can hold scripts never
    /// are, whatever the list says of them as images: it must name them in full.
    #[must_use]
    pub fn allows(&self, media_type: &str) -> bool {
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        let Some((kind, _)) = essence.split_once('/') else { return false };
        let active = is_active(essence);
        self.0.iter().any(|item| match item.strip_suffix("/*") {
            Some(whole) => !active && whole.eq_ignore_ascii_case(kind),
            None => item.eq_ignore_ascii_case(essence),
        })
    }
}

impl Default for InlineTypes {
    fn default() -> Self {
        Self(DEFAULT.map(str::to_owned).into())
    }
}

/// Documents that can hold scripts. As an image in a page an SVG still shows; opened by itself it
/// runs in a sandbox. PDF viewers do not run in one, so a PDF counts as well.
#[must_use]
pub fn is_active(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim_end();
    let subtype = essence.split_once('/').map_or("", |(_, s)| s);
    let ends_with = |suffix: &str| {
        let at = subtype.len().checked_sub(suffix.len());
        at.and_then(|at| subtype.get(at..)).is_some_and(|tail| tail.eq_ignore_ascii_case(suffix))
    };
    ["html", "xml", "xsl", "pdf"].iter().any(|s| subtype.eq_ignore_ascii_case(s))
        || subtype.len() > 4 && ends_with("+xml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_shows_what_cannot_run() {
        let list = InlineTypes::default();
        for shown in [
            "image/jpeg",
            "IMAGE/WebP",
            "video/mp4",
            "audio/ogg",
            "font/woff2",
            "text/plain",
            "text/plain; charset=utf-8",
            "text/css",
        ] {
            assert!(list.allows(shown), "{shown}");
        }
        for downloaded in [
            "image/svg+xml",
            "IMAGE/SVG+XML",
            "text/html",
            "application/xhtml+xml",
            "text/xml",
            "application/pdf",
            "application/octet-stream",
            "application/zip",
            "image",
            "",
        ] {
            assert!(!list.allows(downloaded), "{downloaded}");
        }
    }

    #[test]
    fn an_active_type_must_be_named_in_full() {
        let list = InlineTypes::new(["application/pdf", "Image/*"]).unwrap();
        assert!(list.allows("application/pdf") && list.allows("image/png"));
        assert!(!list.allows("image/svg+xml") && !list.allows("text/plain"));
        assert!(InlineTypes::new(["image/svg+xml"]).unwrap().allows("image/svg+xml"));
        for bad in ["image", "*/*", "image/", "a/b/c", "image/x y", ""] {
            assert_eq!(InlineTypes::new([bad]).unwrap_err().kind(), ErrorKind::Config, "{bad}");
        }
    }
}
