//! What is known of a path from a walk over rows and a listing of objects, as records that sort by
//! path, so that rows and objects of one path come together.

use ezdfs_core::{BaseRow, FilePath, NodeKind, Pin, Record, Timestamp};
use object_store::ObjectMeta;

/// A row, as the walk saw it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SeenRow {
    /// Readers see it.
    pub(super) visible: bool,
    /// Something about the row alone is worth a closer look.
    pub(super) odd: bool,
    /// Bytes.
    pub(super) size: u64,
    /// The pinned object.
    pub(super) pin: Option<Pin>,
}

/// An object, as the listing showed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SeenObject {
    /// Bytes.
    pub(super) size: u64,
    /// Last change.
    pub(super) mtime: Timestamp,
    /// Identity, as far as listings tell it.
    pub(super) pin: Option<Pin>,
}

/// Everything that was seen of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) path: FilePath,
    pub(super) row: Option<SeenRow>,
    pub(super) object: Option<SeenObject>,
    /// A row of another name says that its bytes lie here, as PHP places them.
    pub(super) claimed: bool,
}

const ROW: u8 = b'r';
const OBJECT: u8 = b'o';
const CLAIM: u8 = b'c';

impl SeenRow {
    pub(super) fn of(path: &FilePath, record: &Record, now: Timestamp) -> Self {
        let base = record.base.as_ref();
        let file = record.file(path);
        let is_over = file.as_ref().and_then(|f| f.expires).is_some_and(|at| at <= now);
        Self {
            visible: base.is_some_and(BaseRow::visible) && !is_over,
            odd: base.is_some_and(|base| is_odd(base, record)),
            size: base.map_or(0, |b| b.size),
            pin: file.and_then(|f| f.pin),
        }
    }
}

/// Whether a row needs a closer look whatever its object is.
fn is_odd(base: &BaseRow, record: &Record) -> bool {
    let marks_differ = base.expired == (base.mtime > 0);
    let entry_differs = match &record.node {
        None => base.visible(),
        Some(node) if node.kind == NodeKind::Directory => base.visible(),
        Some(node) => !node.belongs_to(base),
    };
    marks_differ || entry_differs
}

impl SeenObject {
    pub(super) fn of(meta: &ObjectMeta) -> Self {
        Self {
            size: meta.size,
            mtime: Timestamp::from_nanos(
                meta.last_modified.timestamp_nanos_opt().unwrap_or(i64::MAX),
            ),
            pin: Pin::new(meta.e_tag.as_deref(), meta.version.as_deref()),
        }
    }
}

/// Path first, so that records sort by it: no path holds a NUL.
fn start(path: &FilePath, tag: u8) -> Vec<u8> {
    let mut record = Vec::with_capacity(path.as_str().len() + 96);
    record.extend_from_slice(path.as_str().as_bytes());
    record.extend_from_slice(&[0, tag]);
    record
}

fn with_pin(mut record: Vec<u8>, pin: Option<&Pin>) -> Vec<u8> {
    if let Some(pin) = pin {
        record.push(b'=');
        record.extend_from_slice(pin.as_str().as_bytes());
    }
    record
}

pub(super) fn row(path: &FilePath, row: &SeenRow) -> Vec<u8> {
    let mut record = start(path, ROW);
    record.push(u8::from(row.visible) | (u8::from(row.odd) << 1));
    record.extend_from_slice(&row.size.to_le_bytes());
    with_pin(record, row.pin.as_ref())
}

pub(super) fn object(path: &FilePath, object: &SeenObject) -> Vec<u8> {
    let mut record = start(path, OBJECT);
    record.extend_from_slice(&object.size.to_le_bytes());
    record.extend_from_slice(&object.mtime.nanos().to_le_bytes());
    with_pin(record, object.pin.as_ref())
}

pub(super) fn claim(path: &FilePath) -> Vec<u8> {
    start(path, CLAIM)
}

impl Group {
    /// The group that a record starts.
    pub(super) fn start(record: &[u8]) -> Option<Self> {
        let path = FilePath::from_bytes(path_of(record)?).ok()?;
        let mut group = Self { path, row: None, object: None, claimed: false };
        group.add(record);
        Some(group)
    }

    /// Adds a record, if it is of the same path.
    pub(super) fn take(&mut self, record: &[u8]) -> bool {
        let is_same = path_of(record) == Some(self.path.as_str().as_bytes());
        if is_same {
            self.add(record);
        }
        is_same
    }

    fn add(&mut self, record: &[u8]) {
        let mut rest = Rest(record.get(self.path.as_str().len() + 1..).unwrap_or_default());
        match rest.byte() {
            ROW => {
                let flags = rest.byte();
                let size = u64::from_le_bytes(rest.eight());
                let (visible, odd) = (flags & 1 != 0, flags & 2 != 0);
                self.row = Some(SeenRow { visible, odd, size, pin: rest.pin() });
            }
            OBJECT => {
                let size = u64::from_le_bytes(rest.eight());
                let mtime = Timestamp::from_nanos(i64::from_le_bytes(rest.eight()));
                self.object = Some(SeenObject { size, mtime, pin: rest.pin() });
            }
            CLAIM => self.claimed = true,
            _ => {}
        }
    }

    /// Whether rows and object may disagree: then both are asked for again.
    pub(super) fn is_suspect(&self) -> bool {
        match (&self.row, &self.object) {
            (Some(row), _) if row.odd => true,
            (Some(row), None) => row.visible,
            (Some(row), Some(object)) => row.visible && !fits(row, object),
            (None, Some(_)) => !self.claimed,
            (None, None) => false,
        }
    }
}

fn fits(row: &SeenRow, object: &SeenObject) -> bool {
    let is_pinned = match (&row.pin, &object.pin) {
        (Some(row), Some(object)) => {
            // Listings leave out versions, and some leave out the quotes.
            let etag = |pin: &Pin| pin.etag().map(|e| e.trim_matches('"').to_owned());
            let version = |pin: &Pin| pin.as_str().rsplit_once('|').map(|(_, v)| v.to_owned());
            let is_known = version(object).is_some_and(|v| !v.is_empty());
            etag(row) == etag(object) && (!is_known || version(row) == version(object))
        }
        _ => true,
    };
    is_pinned && row.size == object.size
}

fn path_of(record: &[u8]) -> Option<&[u8]> {
    record.split(|b| *b == 0).next()
}

struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn eight(&mut self) -> [u8; 8] {
        let (eight, rest) = self.0.split_first_chunk().unwrap_or((&[0; 8], &[]));
        self.0 = rest;
        *eight
    }

    fn pin(&mut self) -> Option<Pin> {
        let text = std::str::from_utf8(self.0.strip_prefix(b"=")?).ok()?;
        Some(Pin::from_row(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> FilePath {
        text.parse().unwrap()
    }

    fn pin(text: &str) -> Option<Pin> {
        Some(Pin::from_row(text))
    }

    #[test]
    fn records_come_back_as_they_went() {
        let p = path("a/ü.jpg");
        let seen = SeenRow { visible: true, odd: true, size: 1 << 40, pin: pin("x|1") };
        let stored = SeenObject { size: 9, mtime: Timestamp::from_nanos(-5), pin: None };
        let mut group = Group::start(&row(&p, &seen)).unwrap();
        assert!(group.take(&object(&p, &stored)) && group.take(&claim(&p)));
        assert!(!group.take(&claim(&path("a/ü.jpg2"))) && !group.take(&claim(&path("a"))));
        assert_eq!(group, Group { path: p, row: Some(seen), object: Some(stored), claimed: true });
    }

    #[test]
    fn records_of_a_path_stand_together() {
        let mut all = [
            claim(&path("a/b")),
            claim(&path("a")),
            object(&path("a-x"), &SeenObject { size: 0, mtime: Timestamp::default(), pin: None }),
            row(&path("a"), &SeenRow::default()),
        ];
        all.sort();
        let paths: Vec<_> = all.iter().map(|r| path_of(r).unwrap()).collect();
        assert_eq!(paths, [&b"a"[..], b"a", b"a-x", b"a/b"]);
    }

    #[test]
    fn listings_without_versions_and_quotes_fit() {
        let of = |text| SeenRow { visible: true, odd: false, size: 1, pin: pin(text) };
        let listed = |text| SeenObject { size: 1, mtime: Timestamp::default(), pin: pin(text) };
        assert!(fits(&of("\"e\"|v"), &listed("\"e\"|")));
        assert!(fits(&of("\"e\"|"), &listed("e|")));
        assert!(!fits(&of("e|v"), &listed("f|v")));
        assert!(!fits(&of("e|v"), &listed("e|w")));
        assert!(!fits(&SeenRow { size: 2, ..of("e|v") }, &listed("e|v")));
        assert!(fits(&SeenRow { pin: None, ..of("e|v") }, &listed("f|v")));
    }
}
