//! `Entry`: what a directory lists, and `FileMeta`: the metadata of one version of a file.

use crate::digest::{ETag, Pin, Sha256, Token};
use crate::path::{DirPath, FilePath};
use crate::record::Witness;
use crate::time::Timestamp;

/// Media type of rows whose `datatype` is empty, and of names without a known extension.
pub const OCTET_STREAM: &str = "application/octet-stream";

/// What the side table knows beyond the base row. Rows that PHP made have the defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attrs {
    /// Inode number on a mount; 0 until one is given out.
    pub ino: u64,
    /// Permission bits; `None` for the defaults of the door (rows that PHP made).
    pub mode: Option<u32>,
    /// Owner; `None` for the defaults of the door.
    pub uid: Option<u32>,
    /// Group; `None` for the defaults of the door.
    pub gid: Option<u32>,
    /// Last change of the metadata.
    pub ctime: Timestamp,
}

/// The metadata of one version of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMeta {
    /// Which file.
    pub path: FilePath,
    /// Bytes.
    pub size: u64,
    /// Last change of the content; whole seconds for rows that PHP wrote.
    pub mtime: Timestamp,
    /// `datatype` as stored; may be empty or a legacy token such as `misc`.
    pub datatype: String,
    /// Digest of the bytes, when known.
    pub sha256: Option<Sha256>,
    /// Identity of this version, when ezdfs published it.
    pub token: Option<Token>,
    /// The stored object that holds the bytes, when known.
    pub pin: Option<Pin>,
    /// From then on the file does not exist for a reader.
    pub expires: Option<Timestamp>,
    /// Side-table attributes.
    pub attrs: Attrs,
    /// What compare-and-set compares.
    pub witness: Witness,
}

impl FileMeta {
    /// The entity tag: strong from the digest, else from the token; weak for rows that PHP wrote,
    /// because (mtime, size) does not tell two writes in one second apart.
    #[must_use]
    pub fn etag(&self) -> ETag {
        match (self.sha256, self.token) {
            (Some(sha), _) => ETag::Strong(sha.to_string()),
            (None, Some(token)) => ETag::Strong(format!("t-{token}")),
            (None, None) => ETag::Weak(format!("{:x}-{:x}", self.mtime.secs(), self.size)),
        }
    }

    /// The media type to serve: the `datatype` when it is one, else `application/octet-stream`
    /// (ibexa-dfs.md check 14).
    #[must_use]
    pub fn media_type(&self) -> &str {
        if is_media_type(&self.datatype) { &self.datatype } else { OCTET_STREAM }
    }
}

/// `type/subtype`, both tokens (RFC 9110 §5.6.2, §8.3.1), and parameters of visible ASCII. Anything
/// else must not become a header field.
fn is_media_type(text: &str) -> bool {
    let is_token = |t: &str| {
        !t.is_empty()
            && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    let essence = text.split(';').next().unwrap_or_default().trim_end_matches(' ');
    text.bytes().all(|b| (0x20..0x7f).contains(&b))
        && essence.split_once('/').is_some_and(|(t, subtype)| is_token(t) && is_token(subtype))
}

/// A directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirMeta {
    /// Which directory.
    pub path: DirPath,
    /// Last change of its entries, at most once a second.
    pub mtime: Timestamp,
    /// Side-table attributes.
    pub attrs: Attrs,
}

/// What a directory lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A file.
    File(FileMeta),
    /// A directory.
    Directory(DirMeta),
}

impl Entry {
    /// The last segment of the path; empty for the root.
    #[must_use]
    pub fn basename(&self) -> &str {
        match self {
            Self::File(f) => f.path.basename(),
            Self::Directory(d) => d.path.path().map_or("", FilePath::basename),
        }
    }

    /// The path as text; empty for the root.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::File(f) => f.path.as_str(),
            Self::Directory(d) => d.path.as_str(),
        }
    }

    /// Last change.
    #[must_use]
    pub fn mtime(&self) -> Timestamp {
        match self {
            Self::File(f) => f.mtime,
            Self::Directory(d) => d.mtime,
        }
    }
}
