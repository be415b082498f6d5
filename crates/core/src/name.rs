//! Names, name hashes, scopes and object keys: everything that is derived from a path.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use md5::{Digest as _, Md5};
use object_store::path::Path as ObjectKey;

use crate::error::{Error, ErrorKind, Result};
use crate::path::{DirPath, FilePath, PathError};

/// What stands before every path of a store in the table's `name` column, without outer slashes;
/// may be empty. Ibexa: `io.legacy_url_prefix`, e.g. `var/site/storage`.
///
/// Outer slashes are trimmed as Ibexa's prefix decorator does (ibexa-dfs.md §1.4).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct NamePrefix(Arc<str>);

impl NamePrefix {
    /// Trims outer slashes, as Ibexa does; the rest is literal.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Arc::from(text.trim_matches('/')))
    }

    /// The prefix without outer slashes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of a file or directory of this store.
    #[must_use]
    pub fn name(&self, path: &FilePath) -> Name {
        if self.0.is_empty() {
            Name(Arc::from(path.as_str()))
        } else {
            Name(Arc::from(format!("{}/{path}", self.0)))
        }
    }

    /// The name of a directory; that of the root is the prefix itself.
    #[must_use]
    pub fn dir_name(&self, dir: &DirPath) -> Name {
        dir.path().map_or_else(|| Name(self.0.clone()), |p| self.name(p))
    }

    /// What every name below `dir` starts with: its name and a slash, or nothing for the root of
    /// a store without prefix.
    #[must_use]
    pub fn below(&self, dir: &DirPath) -> String {
        let name = self.dir_name(dir);
        if name.as_str().is_empty() { String::new() } else { format!("{name}/") }
    }

    /// The path of a row of this store.
    ///
    /// `None`: the row belongs to another store of the same table. `Some(Err(_))`: the row is
    /// ours and its path breaks rules K (PHP can write such names, ibexa-dfs.md §1.4).
    #[must_use]
    pub fn path_of(&self, name: &str) -> Option<Result<FilePath, PathError>> {
        let path = if self.0.is_empty() {
            name
        } else {
            name.strip_prefix(&*self.0)?.strip_prefix('/')?
        };
        Some(path.parse())
    }
}

/// The table's `name`: prefix, slash, path.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Name(Arc<str>);

impl Name {
    /// A name as read from a row. Names are literal: nothing is checked or changed.
    #[must_use]
    pub fn from_row(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `name_hash`: lowercase hex MD5 of the bytes of the name.
    #[must_use]
    pub fn hash(&self) -> NameHash {
        NameHash(Md5::digest(self.0.as_bytes()).into())
    }

    /// `name_trunk`. For storage files it is the name itself (ibexa-dfs.md §1.6).
    #[must_use]
    pub fn trunk(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// MD5 of a name: the table's lookup key, written as 32 lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NameHash([u8; 16]);

impl NameHash {
    /// The 16 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// 32 lowercase hex digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl FromStr for NameHash {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(s, &mut bytes).map_err(|e| {
            Error::new(ErrorKind::Corrupt, format!("`{s}` is not a name hash")).with_source(e)
        })?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for NameHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for NameHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The table's `scope`, from the first segment of the path (ibexa-dfs.md §1.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// `images/…`
    Image,
    /// `original/…`: binary files and media alike
    BinaryFile,
    /// Anything else, `images-versioned` included.
    Unknown,
}

impl Scope {
    /// The scope of a path.
    #[must_use]
    pub fn of(path: &FilePath) -> Self {
        match path.segments().next() {
            Some("images") => Self::Image,
            Some("original") => Self::BinaryFile,
            _ => Self::Unknown,
        }
    }

    /// As written to the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::BinaryFile => "binaryfile",
            Self::Unknown => "UNKNOWN_SCOPE",
        }
    }
}

/// What stands before every path of a store in its object keys, without outer slashes; may be
/// empty. Not the name prefix: on S3 Ibexa leaves `var_dir/storage_dir` out (ibexa-dfs.md §1.4).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KeyPrefix(Option<FilePath>);

impl KeyPrefix {
    /// Parses a prefix; outer slashes are trimmed, the rest follows rules K.
    ///
    /// # Errors
    /// When the prefix breaks rules K.
    pub fn new(text: &str) -> Result<Self, PathError> {
        let text = text.trim_matches('/');
        if text.is_empty() { Ok(Self(None)) } else { Ok(Self(Some(text.parse()?))) }
    }

    /// The literal object key of a path: the one place where a path becomes a key.
    ///
    /// # Errors
    /// [`ErrorKind::NameTooLong`] above `max_key_bytes`.
    pub fn key(&self, path: &FilePath, max_key_bytes: usize) -> Result<ObjectKey> {
        self.literal(path.as_str(), max_key_bytes)
    }

    /// The key prefix of a directory, to list below; `None` lists the whole store.
    ///
    /// # Errors
    /// [`ErrorKind::NameTooLong`] above `max_key_bytes`.
    pub fn dir_key(&self, dir: &DirPath, max_key_bytes: usize) -> Result<Option<ObjectKey>> {
        match (dir.path(), &self.0) {
            (Some(path), _) => self.key(path, max_key_bytes).map(Some),
            (None, Some(prefix)) => Ok(Some(parse_key(prefix.as_str())?)),
            (None, None) => Ok(None),
        }
    }

    /// A key of ezdfs itself, below `.ezdfs/`: e.g. `limbo/<token>`.
    ///
    /// # Errors
    /// When `rest` cannot be stored literally.
    pub fn reserved_key(&self, rest: &str) -> Result<ObjectKey> {
        self.literal(&format!("{}/{rest}", crate::path::RESERVED_SEGMENT), usize::MAX)
    }

    /// The path of an object below this prefix; `None` for objects elsewhere, `Some(Err(_))` for
    /// keys that break rules K.
    #[must_use]
    pub fn path_of(&self, key: &ObjectKey) -> Option<Result<FilePath, PathError>> {
        let key = key.as_ref();
        let rest = match &self.0 {
            None => key,
            Some(prefix) => key.strip_prefix(prefix.as_str())?.strip_prefix('/')?,
        };
        Some(rest.parse())
    }

    fn literal(&self, rest: &str, max_key_bytes: usize) -> Result<ObjectKey> {
        let key = match &self.0 {
            None => rest.to_owned(),
            Some(prefix) => format!("{prefix}/{rest}"),
        };
        if key.len() > max_key_bytes {
            return Err(PathError::TooLong { len: key.len(), max: max_key_bytes }.into());
        }
        parse_key(&key)
    }
}

fn parse_key(key: &str) -> Result<ObjectKey> {
    let refused = || Error::new(ErrorKind::InvalidPath, format!("`{key}` cannot be an object key"));
    let parsed = ObjectKey::parse(key).map_err(|e| refused().with_source(e))?;
    // object_store strips outer slashes without a word: then the key would not be literal.
    if parsed.as_ref() == key { Ok(parsed) } else { Err(refused()) }
}
