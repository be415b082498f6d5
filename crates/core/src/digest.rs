//! What identifies content: `Sha256`, `Token`, `Pin`, `ETag`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{Error, ErrorKind};

macro_rules! hex_bytes {
    ($(#[$doc:meta])* $name:ident, $len:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; $len]);

        impl $name {
            /// From raw bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The raw bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(s: &str) -> Result<Self, Error> {
                let mut bytes = [0; $len];
                hex::decode_to_slice(s, &mut bytes).map_err(|e| {
                    Error::new(
                        ErrorKind::InvalidArgument,
                        format!("`{s}` is not {} ({} hex digits)", $what, 2 * $len),
                    )
                    .with_source(e)
                })?;
                Ok(Self(bytes))
            }
        }
    };
}

hex_bytes!(
    /// SHA-256 of the bytes of one version.
    Sha256, 32, "a SHA-256"
);
hex_bytes!(
    /// Random identity of one published version and of the work that publishes it.
    Token, 16, "a token"
);

/// The store's own identity of one stored object: its etag, and its version or generation where
/// it has one. It only ties a row to an object and never reaches a client.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pin(Arc<str>);

impl Pin {
    /// From what the store says of an object; `None` when it says neither.
    #[must_use]
    pub fn new(etag: Option<&str>, version: Option<&str>) -> Option<Self> {
        match (etag, version) {
            (None, None) => None,
            (etag, version) => {
                Some(Self(Arc::from(format!("{}|{}", etag.unwrap_or(""), version.unwrap_or("")))))
            }
        }
    }

    /// As read from a row.
    #[must_use]
    pub fn from_row(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// As written to a row.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The etag part, for `If-Match` on the store.
    #[must_use]
    pub fn etag(&self) -> Option<&str> {
        self.0.rsplit_once('|').map_or(Some(&*self.0), |(e, _)| (!e.is_empty()).then_some(e))
    }

    /// The version part: GCS compares that.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.0.rsplit_once('|').map(|(_, v)| v).filter(|v| !v.is_empty())
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The HTTP entity tag of a version (RFC 9110 §8.8.3).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ETag {
    /// Byte for byte the same: from the SHA-256, else from the token of the version.
    Strong(String),
    /// From size and mtime, for rows that PHP wrote.
    Weak(String),
}

impl ETag {
    /// Whether both are strong and equal (RFC 9110 §8.8.3.2).
    #[must_use]
    pub fn strong_eq(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Strong(a), Self::Strong(b)) if a == b)
    }

    /// Whether the opaque tags are equal, weak or not (RFC 9110 §8.8.3.2).
    #[must_use]
    pub fn weak_eq(&self, other: &Self) -> bool {
        self.opaque() == other.opaque()
    }

    /// The opaque tag without quotes.
    #[must_use]
    pub fn opaque(&self) -> &str {
        match self {
            Self::Strong(t) | Self::Weak(t) => t,
        }
    }
}

impl fmt::Display for ETag {
    /// As in a header field: `"tag"` or `W/"tag"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Strong(t) => write!(f, "\"{t}\""),
            Self::Weak(t) => write!(f, "W/\"{t}\""),
        }
    }
}

impl FromStr for ETag {
    type Err = Error;
    /// One entity tag as in a header field; quotes may be left out on a command line.
    fn from_str(s: &str) -> Result<Self, Error> {
        let (weak, rest) = s.strip_prefix("W/").map_or((false, s), |r| (true, r));
        let bare = rest.strip_prefix('"').and_then(|r| r.strip_suffix('"')).unwrap_or(rest);
        // RFC 9110 §8.8.3: etagc is %x21, %x23-7E or obs-text.
        if bare.is_empty() || bare.chars().any(|c| c == '"' || c <= ' ' || c == '\x7f') {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("`{s}` is not an entity tag (as printed by `ezdfs stat`)"),
            ));
        }
        Ok(if weak { Self::Weak(bare.to_owned()) } else { Self::Strong(bare.to_owned()) })
    }
}
