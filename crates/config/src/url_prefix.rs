//! `UrlPrefix`: what stands before every path in a URL (Ibexa: `io.url_prefix`).

use std::fmt;

use ezdfs_core::FilePath;

use crate::reader::{Refusal, text};
use crate::tree::Node;
use crate::url::{is_host, split};

/// Where the assets are in the URL space: a path, or scheme, host and path.
///
/// Decorated as Ibexa's `AbsolutePrefix` does (ibexa-dfs.md §2, URL prefix): with a scheme as it
/// is and one slash at the end; otherwise between slashes; empty stays empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlPrefix {
    decorated: String,
    authority_end: usize,
}

impl UrlPrefix {
    /// What is put before a path to make its URI; empty, or with a slash at the end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.decorated
    }

    /// The path that requests start with: a slash at both ends, or `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        match &self.decorated[self.authority_end..] {
            "" => "/",
            path => path,
        }
    }

    /// Scheme and host, e.g. `http://static.example.com`, when the prefix has them.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        (self.authority_end > 0).then(|| &self.decorated[..self.authority_end])
    }

    /// The URI of a path, literal as Ibexa writes it: not percent-encoded.
    #[must_use]
    pub fn uri(&self, path: &FilePath) -> String {
        format!("{}{path}", self.decorated)
    }

    /// The default, Ibexa's demo sites.
    pub(crate) fn var_site_storage() -> Self {
        Self { decorated: "/var/site/storage/".to_owned(), authority_end: 0 }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        if text.is_empty() {
            return Ok(Self { decorated: String::new(), authority_end: 0 });
        }
        if text.starts_with("//") {
            return Err(Refusal::new(
                "a URL prefix with a host needs a scheme",
                "write http:// or https:// before the host",
            ));
        }
        if !text.contains("://") {
            return Ok(Self { decorated: between_slashes(text)?, authority_end: 0 });
        }
        let parts =
            split(text).filter(|p| p.scheme == "http" || p.scheme == "https").ok_or_else(|| {
                Refusal::new("not an http or https URL", "write \"/path\" or \"https://host/path\"")
            })?;
        if parts.userinfo.is_some() || parts.rest.contains('@') {
            return Err(Refusal::new(
                "a URL prefix is public and must not hold a user name or password",
                "remove everything up to the @",
            ));
        }
        let host = parts.host.filter(|h| is_host(h)).ok_or_else(|| {
            Refusal::new(
                "the host of the URL prefix is not valid",
                "write https://host[:port]/path",
            )
        })?;
        let authority = format!("{}://{host}", parts.scheme);
        let authority_end = authority.len();
        Ok(Self { decorated: authority + &between_slashes(parts.rest)?, authority_end })
    }
}

/// The path between slashes, when every request path under it can be told apart.
fn between_slashes(path: &str) -> Result<String, Refusal> {
    let trimmed = path.trim_matches('/');
    if trimmed.is_empty() {
        return Ok("/".to_owned());
    }
    if trimmed.contains(['?', '#', '%', '\\']) {
        return Err(Refusal::new(
            "a URL prefix has no query, fragment, percent sign or backslash",
            "write the path alone, its characters decoded",
        ));
    }
    match trimmed.parse::<FilePath>() {
        Ok(path) => Ok(format!("/{path}/")),
        Err(e) => Err(Refusal::new(e.to_string(), "write a path such as \"/var/site/storage\"")),
    }
}

impl fmt::Display for UrlPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.decorated)
    }
}

impl serde::Serialize for UrlPrefix {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.decorated)
    }
}

pub(crate) fn url_prefix(node: Node) -> Result<UrlPrefix, Refusal> {
    UrlPrefix::parse(&text(node)?)
}
