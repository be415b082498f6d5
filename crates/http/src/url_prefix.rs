//! `UrlPrefix`: where the assets are in the URL space (Ibexa: `io.url_prefix`).

use std::str::FromStr;

use ezdfs_core::{Error, ErrorKind, FilePath};
use http::uri::{Authority, Scheme, Uri};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// What clients percent-encode in a path besides bytes outside ASCII (WHATWG URL, path set).
const PATH: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`').add(b'^').add(b'{').add(b'}');

/// The same of what follows a prefix, which may hold what ends a path.
const REST: &AsciiSet = &PATH.add(b'%').add(b'?').add(b'#');

/// A path prefix, or a host with a path prefix. Compared with the request byte for byte and with
/// its separator: `/var` is no prefix of `/varx`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlPrefix {
    /// Host and port without the default port of the scheme.
    authority: Option<String>,
    /// `:80` or `:443`.
    default_port: &'static str,
    /// The path between slashes, literal.
    literal: String,
    /// The path between slashes as clients send it, where it differs.
    encoded: Option<String>,
}

impl UrlPrefix {
    /// Whether a request for this host and port (as in `Host`) may be for these assets. A prefix
    /// without a host takes every host; the scheme is not compared, since a proxy may end TLS.
    #[must_use]
    pub fn is_for(&self, authority: Option<&str>) -> bool {
        let Some(own) = &self.authority else { return true };
        authority.is_some_and(|a| {
            a.strip_suffix(self.default_port).unwrap_or(a).eq_ignore_ascii_case(own)
        })
    }

    /// The path of the URL of a file, encoded as clients do.
    pub(crate) fn url_path(&self, path: &FilePath) -> String {
        let prefix = self.encoded.as_ref().unwrap_or(&self.literal);
        let rest = utf8_percent_encode(path.as_str(), REST);
        format!("{prefix}{rest}")
    }

    /// Of two prefixes of one request the more special one is higher: with a host, then longer.
    pub(crate) fn rank(&self) -> (bool, usize) {
        (self.authority.is_some(), self.literal.len())
    }

    /// What follows the prefix in a request path: as it was sent, and decoded. `None` when the
    /// path does not start with the prefix.
    #[must_use]
    pub fn strip<'a>(&self, raw: &'a [u8], decoded: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        // Both forms end with a slash, so no escape spans the cut and lengths are known.
        let sent = raw
            .strip_prefix(self.literal.as_bytes())
            .or_else(|| self.encoded.as_ref().and_then(|form| raw.strip_prefix(form.as_bytes())))?;
        Some((sent, decoded.get(self.literal.len()..)?))
    }
}

impl FromStr for UrlPrefix {
    type Err = Error;

    /// `/var/site/storage`, `var/site/storage`, `http://static.example.com/x`; empty or `/` for
    /// the whole URL space. Outer slashes of the path make no difference.
    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |why: &str| {
            Err(Error::new(
                ErrorKind::Config,
                format!(
                    "`{text}` is not a URL prefix: {why}; write \"/path\" or \"http://host/path\""
                ),
            ))
        };
        if text.starts_with("//") {
            return refuse("a host needs a scheme");
        }
        let (authority, default_port, path) = match text.split_once("://") {
            None => (None, "", text),
            Some((scheme, rest)) => {
                let default_port = match scheme {
                    "http" => ":80",
                    "https" => ":443",
                    _ => return refuse("the scheme is neither http nor https"),
                };
                let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                if host.contains('@') {
                    return refuse("it holds a user name or password");
                }
                if host.parse::<Authority>().is_err() {
                    return refuse("its host is not valid");
                }
                let host = host.strip_suffix(default_port).unwrap_or(host);
                (Some(host.to_owned()), default_port, path)
            }
        };
        let path = path.trim_matches('/');
        let literal = if path.is_empty() {
            "/".to_owned()
        } else if path.contains(['?', '#', '%', '\\']) {
            return refuse("its path has a query, a fragment, a percent sign or a backslash");
        } else {
            match path.parse::<FilePath>() {
                Ok(path) => format!("/{path}/"),
                Err(e) => return refuse(&e.to_string()),
            }
        };
        let encoded = utf8_percent_encode(&literal, PATH).to_string();
        let encoded = (encoded != literal).then_some(encoded);
        Ok(Self { authority, default_port, literal, encoded })
    }
}

/// Whether a request in absolute form is for a scheme that this server speaks.
pub(crate) fn is_http(uri: &Uri) -> bool {
    uri.scheme().is_none_or(|s| *s == Scheme::HTTP || *s == Scheme::HTTPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> UrlPrefix {
        text.parse().unwrap()
    }

    fn rest<'a>(prefix: &UrlPrefix, path: &'a str) -> Option<&'a str> {
        prefix.strip(path.as_bytes(), path.as_bytes()).map(|(r, _)| std::str::from_utf8(r).unwrap())
    }

    #[test]
    fn outer_slashes_make_no_difference() {
        for text in ["/var/site", "var/site", "/var/site/", "var/site/"] {
            assert_eq!(prefix(text), prefix("/var/site"), "{text}");
        }
        for text in ["", "/"] {
            assert_eq!(rest(&prefix(text), "/images/a"), Some("images/a"), "{text}");
        }
    }

    #[test]
    fn the_separator_counts() {
        let p = prefix("/var");
        assert_eq!(rest(&p, "/var/a"), Some("a"));
        assert_eq!(rest(&p, "/var/"), Some(""));
        for path in ["/var", "/varx/a", "//var/a", "/VAR/a", "/x/var/a", "var/a"] {
            assert_eq!(rest(&p, path), None, "{path}");
        }
    }

    #[test]
    fn a_prefix_outside_ascii_is_found_encoded() {
        let p = prefix("/médias à vendre");
        let raw = b"/m%C3%A9dias%20%C3%A0%20vendre/a%20b";
        let decoded = "/médias à vendre/a b".as_bytes();
        assert_eq!(p.strip(raw, decoded), Some((&b"a%20b"[..], &b"a b"[..])));
        assert_eq!(p.strip(decoded, decoded), Some((&b"a b"[..], &b"a b"[..])));
    }

    #[test]
    fn hosts_are_compared_without_case_and_default_port() {
        let p = prefix("http://static.example.com/x");
        for host in ["static.example.com", "STATIC.example.com", "static.example.com:80"] {
            assert!(p.is_for(Some(host)), "{host}");
        }
        for host in ["example.com", "static.example.com:8080", "xstatic.example.com"] {
            assert!(!p.is_for(Some(host)), "{host}");
        }
        assert!(!p.is_for(None));
        assert!(prefix("http://h:8080").is_for(Some("h:8080")));
        assert!(!prefix("https://h").is_for(Some("h:80")));
        assert!(prefix("/x").is_for(None) && prefix("/x").is_for(Some("any")));
    }

    #[test]
    fn abuse_55_prefixes_that_are_refused() {
        for text in [
            "//host/x",
            "http://user:secret@host/",
            "ftp://host/",
            "http:///x",
            "http://a b/",
            "/a//b",
            "/a/../b",
            "/a?b",
            "/a%20b",
            "/a\\b",
            "/.ezdfs",
        ] {
            let e = text.parse::<UrlPrefix>().unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Config, "{text}");
        }
    }
}
