//! Splits a URL without changing a byte of it, and without ever quoting it: it may hold a password.

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

/// Whether `host` or `host:port` can be one: letters, digits, `.`, `-`, `_`, or an IPv6 address in
/// brackets, and a port of 16 bits.
pub(crate) fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|t| t.split_once(']')) {
        Some((v6, port)) => {
            if v6.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            (None, port)
        }
        None => {
            let at = text.find(':').unwrap_or(text.len());
            let (host, port) = text.split_at(at);
            (Some(host), port)
        }
    };
    let host_is_one = host.is_none_or(|h| {
        !h.is_empty() && h.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c))
    });
    let port_is_one = port.is_empty()
        || port.strip_prefix(':').is_some_and(|p| {
            p.bytes().all(|b| b.is_ascii_digit()) && p.parse::<u16>().is_ok_and(|p| p > 0)
        });
    host_is_one && port_is_one
}
