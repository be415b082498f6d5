//! Signed URLs: who has one may read one file outside the public segments, for a time.
//!
//! `?ezdfs-expires=SECONDS&ezdfs-key=ID&ezdfs-signature=TEXT`: base64url (RFC 4648 §5, no padding) of
//! HMAC-SHA256 over `GET\n`, the expiry in decimal Unix seconds, `\n` and the decoded path of the
//! URL with its prefix. It serves HEAD as well. Several keys are valid at a time, so that one can be
//! replaced without a moment in which old URLs fail.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ezdfs_core::{Error, ErrorKind, Result, Timestamp};
use hmac::{Hmac, KeyInit as _, Mac as _};

const EXPIRES: &str = "ezdfs-expires";
const KEY: &str = "ezdfs-key";
const SIGNATURE: &str = "ezdfs-signature";

/// The keys whose signatures count.
#[derive(Clone)]
pub struct SigningKeys {
    keys: Vec<(String, Hmac<sha2::Sha256>)>,
    max_life: Duration,
}

/// What a query says of its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    /// It has none.
    No,
    /// It may be read until then.
    Until(Timestamp),
    /// Wrong, over, valid for too long, or of a key that is not known: one answer for all.
    Refused,
}

impl SigningKeys {
    /// Keys by their ids; a signature is valid for `max_life` at most.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a key that is shorter than 16 bytes: it could be guessed.
    pub fn new<'a>(
        keys: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        max_life: Duration,
    ) -> Result<Self> {
        let mut known = Vec::new();
        for (id, secret) in keys {
            let mac = Hmac::<sha2::Sha256>::new_from_slice(secret).ok();
            let Some(mac) = mac.filter(|_| secret.len() >= 16) else {
                let message = format!(
                    "the signing key `{id}` is shorter than 16 bytes; make one with `openssl rand -hex 32`"
                );
                return Err(Error::new(ErrorKind::Config, message));
            };
            known.push((id.to_owned(), mac));
        }
        Ok(Self { keys: known, max_life })
    }

    /// Judges the query of a request for the decoded path `path` of a URL.
    #[must_use]
    pub fn check(&self, path: &str, query: Option<&str>, now: Timestamp) -> Signed {
        let (mut expires, mut key, mut signature) = (None, None, None);
        for pair in query.unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let place = match name {
                EXPIRES => &mut expires,
                KEY => &mut key,
                SIGNATURE => &mut signature,
                _ => continue,
            };
            // Repeated, it could be read in two ways.
            if place.replace(value).is_some() {
                return Signed::Refused;
            }
        }
        match (expires, key, signature) {
            (None, None, None) => Signed::No,
            (Some(expires), Some(key), Some(signature)) => self
                .verify(path, expires, key, signature)
                .filter(|until| *until > now && until.since(now) <= self.max_life)
                .map_or(Signed::Refused, Signed::Until),
            _ => Signed::Refused,
        }
    }

    fn verify(&self, path: &str, expires: &str, key: &str, signature: &str) -> Option<Timestamp> {
        if expires.is_empty() || !expires.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let until = Timestamp::from_secs(expires.parse().ok()?);
        let (_, mac) = self.keys.iter().find(|(id, _)| id == key)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        // Compares in constant time.
        signed(mac.clone(), path, expires).verify_slice(&signature).ok()?;
        Some(until)
    }

    /// The query that lets the decoded path `path` of a URL be read until `expires`, signed with the
    /// first key; `None` without a key.
    #[must_use]
    pub fn sign(&self, path: &str, expires: Timestamp) -> Option<String> {
        let (id, mac) = self.keys.first()?;
        let expires = expires.secs().to_string();
        let signature = signed(mac.clone(), path, &expires).finalize().into_bytes();
        let signature = URL_SAFE_NO_PAD.encode(signature);
        Some(format!("{EXPIRES}={expires}&{KEY}={id}&{SIGNATURE}={signature}"))
    }
}

fn signed(mut mac: Hmac<sha2::Sha256>, path: &str, expires: &str) -> Hmac<sha2::Sha256> {
    for part in ["GET\n", expires, "\n", path] {
        mac.update(part.as_bytes());
    }
    mac
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<&str> = self.keys.iter().map(|(id, _)| &**id).collect();
        f.debug_struct("SigningKeys").field("ids", &ids).field("max_life", &self.max_life).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: (&str, &[u8]) = ("old", b"0123456789abcdef-old");
    const NEW: (&str, &[u8]) = ("new", b"0123456789abcdef-new");
    const PATH: &str = "/p/original/a b.pdf";
    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn keys(keys: &[(&str, &[u8])]) -> SigningKeys {
        SigningKeys::new(keys.iter().copied(), Duration::from_secs(3600)).unwrap()
    }

    fn until(secs: i64) -> Timestamp {
        Timestamp::from_secs(1_000_000 + secs)
    }

    #[test]
    fn a_known_signature() {
        // Made by: printf 'GET\n1000060\n/p/original/a b.pdf' | openssl dgst -sha256 -hmac
        // '0123456789abcdef-old' -binary | basenc --base64url
        let query = keys(&[OLD]).sign(PATH, until(60)).unwrap();
        assert_eq!(
            query,
            "ezdfs-expires=1000060&ezdfs-key=old&ezdfs-signature=se5M8YZDSQLLgBN0KkB1Xle5lBtVZ1EoKavW5EDzuew"
        );
    }

    #[test]
    fn what_was_signed_may_be_read() {
        let query = keys(&[OLD]).sign(PATH, until(60)).unwrap();
        let check = |q: &str, now| keys(&[NEW, OLD]).check(PATH, Some(q), now);
        assert_eq!(check(&query, NOW), Signed::Until(until(60)));
        assert_eq!(check(&format!("v=1&{query}&x"), NOW), Signed::Until(until(60)));
        assert_eq!(check(&query, until(60)), Signed::Refused);
        assert_eq!(keys(&[NEW]).check(PATH, Some(&query), NOW), Signed::Refused);
        for query in [None, Some(""), Some("v=1"), Some("Ezdfs-Key=old")] {
            assert_eq!(keys(&[OLD]).check(PATH, query, NOW), Signed::No, "{query:?}");
        }
    }

    #[test]
    fn abuse_54_anything_else_is_refused() {
        let keys = keys(&[OLD]);
        let query = keys.sign(PATH, until(60)).unwrap();
        // One bit of each character of the signature.
        let start = query.len() - 43;
        for at in start..query.len() {
            let mut bytes = query.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(bytes).unwrap();
            if other != query {
                // The last character has two bits that encode nothing and must be zero.
                assert_eq!(keys.check(PATH, Some(&other), NOW), Signed::Refused, "{other}");
            }
        }
        for (from, to) in [
            ("ezdfs-expires=1000060", "ezdfs-expires=1000061"),
            ("ezdfs-expires=1000060", "ezdfs-expires=+1000060"),
            ("ezdfs-expires=1000060", "ezdfs-expires=01000060"),
            ("ezdfs-expires=1000060", "ezdfs-expires=99999999999999999999"),
            ("ezdfs-expires=1000060", "ezdfs-expires="),
            ("ezdfs-key=old", "ezdfs-key="),
            ("ezdfs-key=old", "ezdfs-key=none"),
            ("ezdfs-key=old&", ""),
            ("ezdfs-key=old", "ezdfs-key=old&ezdfs-key=old"),
        ] {
            let other = query.replace(from, to);
            assert_ne!(other, query);
            assert_eq!(keys.check(PATH, Some(&other), NOW), Signed::Refused, "{other}");
        }
        for path in ["/p/original/b", "/p/original/a b.pdf/", "", "/P/original/a b.pdf"] {
            assert_eq!(keys.check(path, Some(&query), NOW), Signed::Refused, "{path}");
        }
        // Longer than the longest life, although it was signed: the year 9999.
        for secs in [3601, 252_000_000_000] {
            let query = keys.sign(PATH, until(secs)).unwrap();
            assert_eq!(keys.check(PATH, Some(&query), NOW), Signed::Refused);
        }
        let none = SigningKeys::new([], Duration::from_secs(60)).unwrap();
        assert_eq!(none.check(PATH, Some(&query), NOW), Signed::Refused);
    }

    #[test]
    fn keys_are_long_and_never_shown() {
        let short = SigningKeys::new([("k", &b"short"[..])], Duration::ZERO).unwrap_err();
        assert_eq!(short.kind(), ErrorKind::Config);
        let shown = format!("{:?}", keys(&[OLD, NEW]));
        assert!(shown.contains("old") && !shown.contains("abcdef"), "{shown}");
    }
}
