//! Rows as stored, and the one rule that turns them into an entry: visibility, hash hits,
//! fingerprints, expiry.

use crate::digest::{Pin, Sha256, Token};
use crate::entry::{Attrs, DirMeta, Entry, FileMeta};
use crate::name::{NameHash, NamePrefix};
use crate::path::{DirPath, FilePath};
use crate::time::Timestamp;

/// A row of the base table. `status` and `name_trunk` are never read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseRow {
    /// Literal name, prefix included.
    pub name: String,
    /// Media type, or a legacy token.
    pub datatype: String,
    /// As stored; never interpreted.
    pub scope: String,
    /// Bytes, as the writer said.
    pub size: u64,
    /// Unix seconds; `<= 0` hides the row.
    pub mtime: i64,
    /// Soft-deleted.
    pub expired: bool,
}

impl BaseRow {
    /// Visible: `expired` is false and `mtime > 0`. Anything else does not exist for a reader
    /// (ibexa-dfs.md §1.2).
    #[must_use]
    pub fn visible(&self) -> bool {
        !self.expired && self.mtime > 0
    }
}

/// What a node row describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// A file: bytes and base row exist.
    File,
    /// A directory: side table only.
    Directory,
}

impl NodeKind {
    /// As written to the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "dir",
        }
    }

    /// As read from the table; `None` for a kind of a newer version.
    #[must_use]
    pub fn from_row(text: &str) -> Option<Self> {
        match text {
            "file" => Some(Self::File),
            "dir" => Some(Self::Directory),
            _ => None,
        }
    }
}

/// A row of `ezdfs_node`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    /// Hash of the parent directory's name.
    pub parent: NameHash,
    /// Last segment.
    pub basename: String,
    /// File or directory.
    pub kind: NodeKind,
    /// Attributes.
    pub attrs: Attrs,
    /// True mtime with nanoseconds.
    pub mtime: Timestamp,
    /// The stored object.
    pub pin: Option<Pin>,
    /// Identity of the version.
    pub token: Option<Token>,
    /// Digest of the bytes.
    pub sha256: Option<Sha256>,
    /// Per-file expiry.
    pub expires: Option<Timestamp>,
    /// Fingerprint: size of the base row this row was written with.
    pub base_size: u64,
    /// Fingerprint: mtime of the base row this row was written with.
    pub base_mtime: i64,
}

impl NodeRow {
    /// Whether this row was written with that base row. If not, a foreign writer overtook it and
    /// pin, sha256, token, mtime and expiry count as unknown.
    #[must_use]
    pub fn belongs_to(&self, base: &BaseRow) -> bool {
        self.kind == NodeKind::File
            && self.base_size == base.size
            && self.base_mtime == base.mtime.saturating_abs()
    }
}

/// What compare-and-set compares: the parts of a file's rows that any writer changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Witness {
    /// Size of the base row.
    pub size: u64,
    /// Signed mtime of the base row.
    pub mtime: i64,
    /// Soft-deleted.
    pub expired: bool,
    /// Token of the node row that belongs to the base row.
    pub token: Option<Token>,
    /// True mtime: a touch within one second changes nothing else.
    pub modified: Timestamp,
    /// Per-file expiry: the sweep must not end a file that was prolonged meanwhile.
    pub expires: Option<Timestamp>,
}

/// Everything that is stored of one path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// The base row of that hash **and name**; a row of another name with the same hash is not a
    /// hit, see `collision`.
    pub base: Option<BaseRow>,
    /// The node row of that hash.
    pub node: Option<NodeRow>,
    /// A base row of the same hash holds another name: MD5 was made to collide, and the path
    /// cannot be stored.
    pub collision: bool,
}

impl Record {
    /// Splits a hash hit: a base row of another name is a collision, not a hit.
    #[must_use]
    pub fn new(name: &str, base: Option<BaseRow>, node: Option<NodeRow>) -> Self {
        match base {
            Some(row) if row.name != name => Self { base: None, node, collision: true },
            base => Self { base, node, collision: false },
        }
    }

    /// The witness of the file's rows; `None` without a base row.
    #[must_use]
    pub fn witness(&self) -> Option<Witness> {
        let base = self.base.as_ref()?;
        let node = self.node.as_ref().filter(|n| n.belongs_to(base));
        Some(Witness {
            size: base.size,
            mtime: base.mtime,
            expired: base.expired,
            token: node.and_then(|n| n.token),
            modified: node.map_or(Timestamp::from_secs(base.mtime.saturating_abs()), |n| n.mtime),
            expires: node.and_then(|n| n.expires),
        })
    }

    /// The entry that a reader sees at `now`, or `None`. A directory wins over a file of the same
    /// path, which only foreign writers on an object store can make; fsck reports it.
    #[must_use]
    pub fn entry(&self, path: &FilePath, now: Timestamp) -> Option<Entry> {
        if let Some(node) = self.node.as_ref().filter(|n| n.kind == NodeKind::Directory) {
            return Some(Entry::Directory(DirMeta {
                path: DirPath::from(path.clone()),
                mtime: node.mtime,
                attrs: node.attrs.clone(),
            }));
        }
        let file = self.file(path)?;
        let base = self.base.as_ref()?;
        let expired = file.expires.is_some_and(|at| at <= now);
        (base.visible() && !expired).then_some(Entry::File(file))
    }

    /// The file's metadata whether visible or not; `None` without a base row.
    #[must_use]
    pub fn file(&self, path: &FilePath) -> Option<FileMeta> {
        let base = self.base.as_ref()?;
        let witness = self.witness()?;
        let own = self.node.as_ref().filter(|n| n.belongs_to(base));
        // Mode and owner survive a foreign overwrite, as they would on a disk.
        let attrs = self.node.as_ref().filter(|n| n.kind == NodeKind::File).map_or_else(
            || Attrs {
                ino: 0,
                mode: None,
                uid: None,
                gid: None,
                ctime: Timestamp::from_secs(base.mtime.saturating_abs()),
            },
            |n| n.attrs.clone(),
        );
        Some(FileMeta {
            path: path.clone(),
            size: base.size,
            mtime: own.map_or(Timestamp::from_secs(base.mtime.saturating_abs()), |n| n.mtime),
            datatype: base.datatype.clone(),
            sha256: own.and_then(|n| n.sha256),
            token: own.and_then(|n| n.token),
            pin: own.and_then(|n| n.pin.clone()),
            expires: own.and_then(|n| n.expires),
            attrs,
            witness,
        })
    }
}

/// The path of a base row of this store, or `None` when it belongs to another store of the table
/// or its path breaks rules K.
#[must_use]
pub fn path_of_row(prefix: &NamePrefix, name: &str) -> Option<FilePath> {
    prefix.path_of(name)?.ok()
}
