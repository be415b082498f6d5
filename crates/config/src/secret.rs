//! `Secret`: a value that never shows.

use std::fmt;
use std::io::Read as _;
use std::path::PathBuf;

use ezdfs_core::{Error, ErrorKind, Result};

use crate::env::Environment;
use crate::reader::{Refusal, text};
use crate::tree::{Node, Value};

/// What stands for a literal secret wherever settings are printed.
pub const MASK: &str = "********";
/// Largest file that is read as a secret, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// A secret, or where to find it. `Debug`, `Display` and `Serialize` show names, never values.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// In the configuration itself.
    Literal(Hidden),
    /// `{ env = "NAME" }`
    Env(String),
    /// `{ file = "/run/secrets/x" }`
    File(PathBuf),
}

/// A value in memory that does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// The value. Hand it to who needs it; never format it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Secret {
    /// A literal secret.
    #[must_use]
    pub fn literal(value: impl Into<String>) -> Self {
        Self::Literal(Hidden(value.into()))
    }

    /// The value. One line end at the end of a file does not count.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the variable is not set or the file cannot be read, or when it is
    /// empty: names the variable or the file, never the value.
    pub fn resolve(&self, env: &Environment) -> Result<Hidden> {
        let (value, from) = match self {
            Self::Literal(value) => return Ok(value.clone()),
            Self::Env(name) => {
                let from = format!("environment variable {name}");
                let value = env.get(name).ok_or_else(|| {
                    refused(format!("{from} is not set; set it, or use {{ file = … }}"))
                })?;
                let value = value
                    .to_str()
                    .ok_or_else(|| refused(format!("{from} is not UTF-8; set it to text")))?;
                (value.to_owned(), from)
            }
            Self::File(path) => {
                let from = format!("secret file {}", path.display());
                (
                    read(path).map_err(|e| {
                        refused(format!("{from} cannot be read; check path and permissions"))
                            .with_source(e)
                    })?,
                    from,
                )
            }
        };
        if value.is_empty() {
            return Err(refused(format!("{from} is empty; put the secret there")));
        }
        Ok(Hidden(value))
    }
}

fn refused(message: String) -> Error {
    Error::new(ErrorKind::Config, message)
}

fn read(path: &PathBuf) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|len| len > MAX_FILE_BYTES) {
        return Err(std::io::Error::other("more than 64 KiB: this is no secret"));
    }
    let text = text.strip_suffix('\n').map_or(&*text, |t| t.strip_suffix('\r').unwrap_or(t));
    Ok(text.to_owned())
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(_) => f.write_str(MASK),
            Self::Env(name) => write!(f, "{{ env = \"{name}\" }}"),
            Self::File(path) => write!(f, "{{ file = \"{}\" }}", path.display()),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        match self {
            Self::Literal(_) => s.serialize_str(MASK),
            Self::Env(name) => {
                let mut map = s.serialize_map(Some(1))?;
                map.serialize_entry("env", name)?;
                map.end()
            }
            Self::File(path) => {
                let mut map = s.serialize_map(Some(1))?;
                map.serialize_entry("file", path)?;
                map.end()
            }
        }
    }
}

/// A string, `{ env = "X" }` or `{ file = "/…" }`.
pub(crate) fn secret(node: Node) -> Result<Secret, Refusal> {
    const FIX: &str = "write { env = \"NAME\" } or { file = \"/path\" }";
    let entries = match node.value {
        Value::Table(entries) => entries,
        value => {
            let found = value.what();
            return text(Node { value, ..node })
                .map(Secret::literal)
                .map_err(|_| Refusal::new(format!("{found} is no secret"), FIX));
        }
    };
    let Ok([(key, value)]) = <[_; 1]>::try_from(entries) else {
        return Err(Refusal::new("a secret has exactly one source", FIX));
    };
    let place = text(value).ok().filter(|v| !v.is_empty());
    match (&*key, place) {
        ("env", Some(name)) => Ok(Secret::Env(name)),
        ("file", Some(path)) => Ok(Secret::File(PathBuf::from(path))),
        _ => Err(Refusal::new("not a source of a secret", FIX)),
    }
}
