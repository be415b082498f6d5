//! How entries are shown: as lines and as JSON.

use ezdfs_core::{Entry, FileMeta};
use serde::Serialize;

use crate::size;
use crate::when::{rfc3339, rfc3339_secs};

/// An entry in JSON. Members that are not known are left out.
#[derive(Debug, Serialize)]
pub(crate) struct EntryJson {
    pub(crate) path: String,
    /// `file` or `dir`
    pub(crate) kind: &'static str,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    /// RFC 3339, UTC.
    pub(crate) mtime: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) etag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<String>,
    /// RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<String>,
    /// Octal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<String>,
}

impl EntryJson {
    pub(crate) fn of(entry: &Entry) -> Self {
        match entry {
            Entry::File(file) => Self::of_file(file),
            Entry::Directory(dir) => Self {
                path: dir.path.to_string(),
                kind: "dir",
                size: None,
                mtime: rfc3339(dir.mtime),
                media_type: None,
                etag: None,
                sha256: None,
                expires: None,
                mode: dir.attrs.mode.map(octal),
            },
        }
    }

    pub(crate) fn of_file(file: &FileMeta) -> Self {
        Self {
            path: file.path.to_string(),
            kind: "file",
            size: Some(file.size),
            mtime: rfc3339(file.mtime),
            media_type: Some(file.datatype.clone()),
            etag: Some(file.etag().to_string()),
            sha256: file.sha256.map(|s| s.to_string()),
            expires: file.expires.map(rfc3339),
            mode: file.attrs.mode.map(octal),
        }
    }
}

/// The path; directories end with a slash, so that they can be told from files.
pub(crate) fn short(entry: &Entry) -> String {
    match entry {
        Entry::File(file) => file.path.to_string(),
        Entry::Directory(dir) => format!("{}/", dir.path),
    }
}

/// Mode and kind, size, mtime (UTC), media type, path.
pub(crate) fn long(entry: &Entry, human: bool) -> String {
    let (kind, mode, bytes, media) = match entry {
        Entry::File(file) => {
            let media = if file.datatype.is_empty() { "-" } else { &file.datatype };
            ('-', file.attrs.mode.unwrap_or(0o644), size::show(file.size, human), media)
        }
        Entry::Directory(dir) => ('d', dir.attrs.mode.unwrap_or(0o755), "-".to_owned(), "-"),
    };
    let mtime = match entry {
        // The root is stored nowhere and has no time.
        Entry::Directory(dir) if dir.path.is_root() => "-".to_owned(),
        _ => rfc3339_secs(entry.mtime()),
    };
    format!("{kind}{} {bytes:>12} {mtime:>20} {media:<24} {}", letters(mode), short(entry))
}

/// `rwxr-xr-x`
fn letters(mode: u32) -> String {
    (0..9).rev().map(|bit| if mode & (1 << bit) == 0 { '-' } else { LETTERS[bit % 3] }).collect()
}

const LETTERS: [char; 3] = ['x', 'w', 'r'];

pub(crate) fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_spelled_as_ls_does() {
        assert_eq!(letters(0o644), "rw-r--r--");
        assert_eq!(letters(0o755), "rwxr-xr-x");
        assert_eq!(letters(0), "---------");
        assert_eq!(octal(0o644), "0644");
    }
}
