//! `Identity`: inode, mtime and size of a file, from which etag and pin are made.

use chrono::{DateTime, Utc};
use object_store::ObjectMeta;
use object_store::path::Path as ObjectKey;
use rustix::fs::{FileType, Stat};

/// What ties a row to a file: it survives a rename, and any write changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    ino: u64,
    mtime_secs: i64,
    mtime_nanos: u32,
    size: u64,
}

impl Identity {
    /// Of a file's status.
    // The integer types of `Stat` differ between platforms.
    #[allow(clippy::useless_conversion, clippy::unnecessary_fallible_conversions)]
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            ino: u64::from(stat.st_ino),
            mtime_secs: i64::from(stat.st_mtime),
            mtime_nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or_default(),
            size: u64::try_from(stat.st_size).unwrap_or_default(),
        }
    }

    /// Bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Inode number.
    pub(super) fn ino(&self) -> u64 {
        self.ino
    }

    /// `"inode-mtime_ns-size"` in hex, quoted as an entity tag.
    pub(super) fn etag(&self) -> String {
        let nanos = i128::from(self.mtime_secs) * 1_000_000_000 + i128::from(self.mtime_nanos);
        format!("\"{:x}-{nanos:x}-{:x}\"", self.ino, self.size)
    }

    /// Last change of the content.
    pub(super) fn modified(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.mtime_secs, self.mtime_nanos).unwrap_or_default()
    }

    /// As object_store reports an object.
    pub(super) fn meta(&self, location: ObjectKey) -> ObjectMeta {
        ObjectMeta {
            location,
            last_modified: self.modified(),
            size: self.size,
            e_tag: Some(self.etag()),
            version: None,
        }
    }
}

/// Whether the status is that of a regular file: only those are objects.
pub(super) fn is_object(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}
