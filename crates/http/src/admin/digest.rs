//! `Content-Digest` and `Repr-Digest` (RFC 9530): structured dictionaries (RFC 9651) of which
//! `sha-256` counts. A body here has no content coding, so both fields mean the same bytes.

use axum::http::HeaderMap;
use axum::http::header::{HeaderName, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ezdfs_core::Sha256;

/// `Repr-Digest`.
pub(super) const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// Not a dictionary of digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// The SHA-256 that a request promises for its body; `None` when it promises none that is known.
///
/// # Errors
/// [`Malformed`] for a field that is none, a digest of another length, or two that differ.
pub(super) fn promised(fields: &HeaderMap) -> Result<Option<Sha256>, Malformed> {
    let mut found = None;
    for name in [CONTENT_DIGEST, REPR_DIGEST] {
        for value in fields.get_all(name) {
            for member in members(value.to_str().map_err(|_| Malformed)?)? {
                let (algorithm, digest) = member?;
                if algorithm != "sha-256" {
                    continue;
                }
                let digest: [u8; 32] = digest.try_into().map_err(|_| Malformed)?;
                let digest = Sha256::from_bytes(digest);
                if found.replace(digest).is_some_and(|other| other != digest) {
                    return Err(Malformed);
                }
            }
        }
    }
    Ok(found)
}

type Member<'a> = Result<(&'a str, Vec<u8>), Malformed>;

/// `key=:base64:`, separated by commas.
fn members(text: &str) -> Result<impl Iterator<Item = Member<'_>>, Malformed> {
    if text.trim_matches([' ', '\t']).is_empty() {
        return Err(Malformed);
    }
    Ok(text.split(',').map(|member| {
        let (key, value) = member.trim_matches([' ', '\t']).split_once('=').ok_or(Malformed)?;
        let is_key = key.starts_with(|c: char| c.is_ascii_lowercase() || c == '*')
            && key
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.*".contains(&b));
        let value = value.strip_prefix(':').and_then(|v| v.strip_suffix(':')).ok_or(Malformed)?;
        let bytes = STANDARD.decode(value).map_err(|_| Malformed)?;
        if is_key { Ok((key, bytes)) } else { Err(Malformed) }
    }))
}

/// The field of a version with this digest.
#[must_use]
pub(super) fn field(sha256: Sha256) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("sha-256=:{}:", STANDARD.encode(sha256.as_bytes()))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::Digest as _;

    // printf hello | openssl dgst -sha256 -binary | base64
    const HELLO: &str = "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:";

    fn of(name: &'static str, values: &[&str]) -> Result<Option<Sha256>, Malformed> {
        let mut fields = HeaderMap::new();
        for value in values {
            fields.append(name, HeaderValue::from_str(value).unwrap());
        }
        promised(&fields)
    }

    #[test]
    fn the_digest_of_known_bytes() {
        let hello = Sha256::from_bytes(sha2::Sha256::digest(b"hello").into());
        assert_eq!(field(hello).unwrap(), HELLO);
        for name in ["content-digest", "repr-digest"] {
            assert_eq!(of(name, &[HELLO]), Ok(Some(hello)));
            assert_eq!(of(name, &[&format!("md5=:AAAA:,\t {HELLO}")]), Ok(Some(hello)));
            assert_eq!(of(name, &["sha-512=:AAAA:", HELLO]), Ok(Some(hello)));
            assert_eq!(of(name, &[HELLO, HELLO]), Ok(Some(hello)));
        }
        assert_eq!(of("digest", &["SHA-256=x"]), Ok(None));
    }

    #[test]
    fn abuse_42_unknown_is_ignored_and_malformed_refused() {
        assert_eq!(of("content-digest", &["sha-512=:AAAA:"]), Ok(None));
        for bad in [
            "",
            " ",
            "sha-256",
            "sha-256=x",
            "sha-256=:x",
            "sha-256=:****:",
            "sha-256=:AAAA:",
            "SHA-256=:AAAA:",
            "sha-256=:AAAA:,",
            "=:AAAA:",
            "sha-256=\"AAAA\"",
        ] {
            assert_eq!(of("content-digest", &[bad]), Err(Malformed), "{bad}");
        }
        let other = "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:";
        assert_eq!(of("content-digest", &[HELLO, other]), Err(Malformed));
    }
}
