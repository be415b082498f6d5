//! Splits a URL without changing a byte of it, and without ever quoting it: it may hold a password.

use percent_encoding::percent_decode_str;

use crate::reader::Refusal;

/// The parts of `scheme://userinfo@host/rest` or `scheme:rest`.
pub(crate) struct Split<'a> {
    pub(crate) scheme: &'a str,
    /// Before the `@`.
    pub(crate) userinfo: Option<&'a str>,
    /// Host and port; `None` without `//`.
    pub(crate) host: Option<&'a str>,
    /// From the path on, query and fragment included.
    pub(crate) rest: &'a str,
}

/// `None` without a scheme (RFC 3986 §3.1).
pub(crate) fn split(url: &str) -> Option<Split<'_>> {
    let (scheme, after) = url.split_once(':')?;
    let mut letters = scheme.chars();
    let first = letters.next()?;
    if !first.is_ascii_alphabetic()
        || !letters.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    {
        return None;
    }
    let Some(after) = after.strip_prefix("//") else {
        return Some(Split { scheme, userinfo: None, host: None, rest: after });
    };
    let end = after.find(['/', '?', '#']).unwrap_or(after.len());
    let (authority, rest) = after.split_at(end);
    let (userinfo, host) = match authority.rsplit_once('@') {
        Some((userinfo, host)) => (Some(userinfo), host),
        None => (None, authority),
    };
    Some(Split { scheme, userinfo, host: Some(host), rest })
}

/// Whether `host` or `host:port` can be one.
pub(crate) fn is_host(text: &str) -> bool {
    host_and_port(text).is_some()
}

/// The parts of `host` or `host:port`: letters, digits, `.`, `-`, `_`, or an IPv6 address in
/// brackets, which go, and a port of 16 bits. `None` for anything else.
pub(crate) fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[').and_then(|t| t.split_once(']')) {
        Some((v6, port)) => {
            v6.parse::<std::net::Ipv6Addr>().ok()?;
            (v6, port)
        }
        None => {
            let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            let letters = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
            if host.is_empty() || !host.chars().all(letters) {
                return None;
            }
            (host, port)
        }
    };
    if port.is_empty() {
        return Some((host, None));
    }
    let digits = port.strip_prefix(':').filter(|p| p.bytes().all(|b| b.is_ascii_digit()))?;
    let port = digits.parse().ok().filter(|p| *p > 0)?;
    Some((host, Some(port)))
}

/// Decodes `%XX` once; every other byte stands for itself.
pub(crate) fn percent_decoded(path: &str) -> Result<Vec<u8>, Refusal> {
    let whole = path.split('%').skip(1).all(|after| {
        after.as_bytes().get(..2).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    });
    if whole {
        Ok(percent_decode_str(path).collect())
    } else {
        Err(Refusal::new("a percent sign stands alone", "write it as %25"))
    }
}
