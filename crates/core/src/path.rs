//! `FilePath` and `DirPath`: the only way to name a file or a directory.
//!
//! A path is built once, from bytes, and refused unless every back end can store it literally
//! (rules K). Nothing is ever cleaned: `a//b` is an error, not `a/b`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{Error, ErrorKind};

/// Longest segment in bytes: the limit of Linux file systems (`NAME_MAX`).
pub const MAX_SEGMENT_BYTES: usize = 255;
/// Longest path in bytes on any back end (`PATH_MAX` less its NUL). A back end may allow less, see
/// [`crate::Capabilities::max_key_bytes`].
pub const MAX_PATH_BYTES: usize = 4095;
/// First segment that belongs to ezdfs itself: staging, limbo and quarantine live below it.
pub const RESERVED_SEGMENT: &str = ".ezdfs";

/// The id of a file inside the store, e.g. `images/1/2/a.jpg`. Ibexa calls it the SPI id.
///
/// Cheap to clone. Ordered by bytes, as listings are.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FilePath(Arc<str>);

/// Why bytes are not a path. Every variant is a refusal under rules K.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// No bytes at all.
    #[error("the path is empty")]
    Empty,
    /// Not UTF-8; holds the length of the valid prefix in bytes.
    #[error("the path is not valid UTF-8 after byte {0}")]
    NotUtf8(usize),
    /// NUL, a C0 or C1 control character, or DEL; holds its byte offset.
    #[error("the path has a control character at byte {0}")]
    Control(usize),
    /// Two slashes in a row, or one at the start or the end.
    #[error("the path has an empty segment (a leading, trailing or double slash)")]
    EmptySegment,
    /// A segment `.` or `..`.
    #[error("the path has a `.` or `..` segment")]
    DotSegment,
    /// A segment above [`MAX_SEGMENT_BYTES`]; holds its length in bytes.
    #[error("a path segment has {0} bytes, more than {MAX_SEGMENT_BYTES}")]
    SegmentTooLong(usize),
    /// The whole path is too long; holds its length and the limit in bytes.
    #[error("the path has {len} bytes, more than {max}")]
    TooLong {
        /// Length in bytes.
        len: usize,
        /// The limit that applies, in bytes.
        max: usize,
    },
    /// The first segment is [`RESERVED_SEGMENT`].
    #[error("`{RESERVED_SEGMENT}` is reserved for ezdfs itself")]
    Reserved,
}

impl PathError {
    /// The kind under which doors report this refusal.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::SegmentTooLong(_) | Self::TooLong { .. } => ErrorKind::NameTooLong,
            Self::NotUtf8(_) => ErrorKind::NotUtf8,
            Self::Reserved => ErrorKind::Reserved,
            Self::Empty | Self::Control(_) | Self::EmptySegment | Self::DotSegment => {
                ErrorKind::InvalidPath
            }
        }
    }
}

impl From<PathError> for Error {
    fn from(e: PathError) -> Self {
        Self::new(e.kind(), e.to_string())
    }
}

impl FilePath {
    /// Parses bytes under rules K.
    ///
    /// # Errors
    /// The first rule that the bytes break.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PathError> {
        if bytes.is_empty() {
            return Err(PathError::Empty);
        }
        if bytes.len() > MAX_PATH_BYTES {
            return Err(PathError::TooLong { len: bytes.len(), max: MAX_PATH_BYTES });
        }
        let text = std::str::from_utf8(bytes).map_err(|e| PathError::NotUtf8(e.valid_up_to()))?;
        if let Some((at, _)) = text.char_indices().find(|(_, c)| c.is_control()) {
            return Err(PathError::Control(at));
        }
        for segment in text.split('/') {
            check_segment(segment)?;
        }
        if text.split('/').next() == Some(RESERVED_SEGMENT) {
            return Err(PathError::Reserved);
        }
        Ok(Self(Arc::from(text)))
    }

    /// The path as text, e.g. `images/1/2/a.jpg`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments, first to last.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The last segment.
    #[must_use]
    pub fn basename(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The directory that lists this path.
    #[must_use]
    pub fn parent(&self) -> DirPath {
        match self.0.rfind('/') {
            Some(at) => DirPath(Some(Self(Arc::from(&self.0[..at])))),
            None => DirPath::root(),
        }
    }

    /// The directories above this path without the root, nearest first.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> + '_ {
        self.0.rmatch_indices('/').map(|(at, _)| Self(Arc::from(&self.0[..at])))
    }
}

/// A segment must be non-empty, not a dot segment and at most 255 bytes (rules K).
fn check_segment(segment: &str) -> Result<(), PathError> {
    match segment {
        "" => Err(PathError::EmptySegment),
        "." | ".." => Err(PathError::DotSegment),
        s if s.len() > MAX_SEGMENT_BYTES => Err(PathError::SegmentTooLong(s.len())),
        _ => Ok(()),
    }
}

impl FromStr for FilePath {
    type Err = PathError;
    fn from_str(s: &str) -> Result<Self, PathError> {
        Self::from_bytes(s.as_bytes())
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl serde::Serialize for FilePath {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

/// A directory of the store: the root, or a path under rules K.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct DirPath(Option<FilePath>);

impl DirPath {
    /// The root of the store.
    #[must_use]
    pub fn root() -> Self {
        Self(None)
    }

    /// The path of this directory; `None` for the root.
    #[must_use]
    pub fn path(&self) -> Option<&FilePath> {
        self.0.as_ref()
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_none()
    }

    /// The path as text; empty for the root.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_ref().map_or("", FilePath::as_str)
    }

    /// The path of an entry of this directory.
    ///
    /// # Errors
    /// When the basename, or the whole path with it, breaks rules K. A slash in the basename is
    /// an [`PathError::EmptySegment`] refusal: a basename is one segment.
    pub fn join(&self, basename: &str) -> Result<FilePath, PathError> {
        if basename.contains('/') {
            return Err(PathError::EmptySegment);
        }
        match &self.0 {
            None => FilePath::from_bytes(basename.as_bytes()),
            Some(dir) => {
                check_segment(basename)?;
                FilePath::from_bytes(format!("{dir}/{basename}").as_bytes())
            }
        }
    }

    /// Whether `path` lies below this directory, compared by whole segments.
    #[must_use]
    pub fn contains(&self, path: &FilePath) -> bool {
        match &self.0 {
            None => true,
            Some(dir) => {
                path.as_str().strip_prefix(dir.as_str()).is_some_and(|rest| rest.starts_with('/'))
            }
        }
    }

    /// What `path` is called seen from this directory; `None` when it does not lie below.
    #[must_use]
    pub fn relative<'a>(&self, path: &'a FilePath) -> Option<&'a str> {
        match &self.0 {
            None => Some(path.as_str()),
            Some(dir) => path.as_str().strip_prefix(dir.as_str())?.strip_prefix('/'),
        }
    }
}

impl From<FilePath> for DirPath {
    fn from(path: FilePath) -> Self {
        Self(Some(path))
    }
}

impl FromStr for DirPath {
    type Err = PathError;
    /// Empty text is the root; anything else is parsed under rules K.
    fn from_str(s: &str) -> Result<Self, PathError> {
        if s.is_empty() { Ok(Self::root()) } else { s.parse().map(|p| Self(Some(p))) }
    }
}

impl fmt::Display for DirPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for DirPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
