//! What an object alone says of a file.

use ezdfs_core::capabilities::TOKEN_ATTRIBUTE;
use ezdfs_core::entry::OCTET_STREAM;
use ezdfs_core::{
    Attrs, BaseRow, FilePath, NamePrefix, NodeKind, NodeRow, Pin, Record, Scope, Timestamp,
};
use object_store::{Attribute, Attributes, ObjectMeta};

/// Widest `datatype` column of the base table, in bytes.
const MAX_DATATYPE: usize = 255;

/// The record of an object: as if its row had been written with it.
pub(super) fn file_record(
    names: &NamePrefix,
    path: &FilePath,
    meta: &ObjectMeta,
    attributes: &Attributes,
) -> Record {
    let name = names.name(path);
    let mtime = timestamp(meta.last_modified);
    let base = BaseRow {
        name: name.as_str().to_owned(),
        datatype: datatype(path, attributes),
        scope: Scope::of(path).as_str().to_owned(),
        size: meta.size,
        mtime: mtime.base_mtime(),
        expired: false,
    };
    let token = attributes
        .get(&Attribute::Metadata(TOKEN_ATTRIBUTE.into()))
        .and_then(|token| token.parse().ok());
    let node = NodeRow {
        pin: Pin::new(meta.e_tag.as_deref(), meta.version.as_deref()),
        token,
        base_size: base.size,
        base_mtime: base.mtime,
        ..node(names, path, NodeKind::File, mtime)
    };
    Record::new(name.as_str(), Some(base), Some(node))
}

/// The record of a directory.
pub(super) fn dir_record(names: &NamePrefix, path: &FilePath, mtime: Timestamp) -> Record {
    let node = node(names, path, NodeKind::Directory, mtime);
    Record::new(names.name(path).as_str(), None, Some(node))
}

/// A node row without any version.
fn node(names: &NamePrefix, path: &FilePath, kind: NodeKind, mtime: Timestamp) -> NodeRow {
    NodeRow {
        parent: names.dir_name(&path.parent()).hash(),
        basename: path.basename().to_owned(),
        kind,
        attrs: attrs(mtime),
        mtime,
        pin: None,
        token: None,
        sha256: None,
        expires: None,
        base_size: 0,
        base_mtime: 0,
    }
}

/// The attributes of an entry of which nothing but its date is known.
pub(super) fn attrs(ctime: Timestamp) -> Attrs {
    Attrs { ino: 0, mode: None, uid: None, gid: None, ctime }
}

/// The date of an object; beyond the years 1677 to 2262, the epoch.
pub(super) fn timestamp(date: chrono::DateTime<chrono::Utc>) -> Timestamp {
    Timestamp::from_nanos(date.timestamp_nanos_opt().unwrap_or_default())
}

/// The content type that the object carries if a row could hold it, else the one of its name.
fn datatype(path: &FilePath, attributes: &Attributes) -> String {
    let stored = attributes.get(&Attribute::ContentType).map(|value| value.as_ref());
    let usable = stored
        .filter(|t| !t.is_empty() && t.len() <= MAX_DATATYPE && !t.chars().any(char::is_control));
    let by_name = || mime_guess::from_path(path.basename()).first_raw().unwrap_or(OCTET_STREAM);
    usable.map_or_else(|| by_name().to_owned(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_type_counts_only_if_a_row_can_hold_it() {
        let path: FilePath = "images/a.png".parse().unwrap();
        let with = |value: &str| {
            let mut attributes = Attributes::new();
            attributes.insert(Attribute::ContentType, value.to_owned().into());
            datatype(&path, &attributes)
        };
        assert_eq!(with("text/x-own; charset=utf-8"), "text/x-own; charset=utf-8");
        for bad in ["", "a\nb", &"x/".repeat(128)] {
            assert_eq!(with(bad), "image/png");
        }
        assert_eq!(with(&"é".repeat(127)).len(), 254);
        let plain: FilePath = "x/readme".parse().unwrap();
        assert_eq!(datatype(&plain, &Attributes::new()), OCTET_STREAM);
    }
}
