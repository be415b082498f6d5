//! Rows, objects, directories and reaps, and what a reader sees of them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

/// The numbers of the protocol, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Stay in the trash; 0 for hard deletes.
    pub trash: i64,
    /// Stay of deleted bytes.
    pub grace: i64,
    /// How long a changed object waits for its row.
    pub settle: i64,
}

/// What is known of a row's object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pin {
    /// The row names this object.
    Known(u64),
    /// It may: readers remember pins in the background, foreign changes void them.
    Maybe(u64),
    /// It names none.
    Unknown,
}

#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) pin: Pin,
    pub(super) size: u64,
    /// Published by ezdfs with these bytes, whose digest the row has.
    pub(super) published: Option<Bytes>,
    pub(super) hidden: bool,
    pub(super) expires: Option<i64>,
}

#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) id: u64,
    pub(super) bytes: Bytes,
    pub(super) written: i64,
}

#[derive(Debug, Clone)]
pub(super) struct Reap {
    pub(super) path: String,
    pub(super) object: u64,
    pub(super) due: i64,
}

/// What a reader of a path gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// These bytes.
    Bytes(Bytes),
    /// These bytes, or "busy": it depends on what was remembered of the object before.
    BytesOrBusy(Bytes),
    /// "Busy": the bytes changed and the row has not followed.
    Busy,
    /// "Corrupt": bytes that are to be reaped, under a row that does not fit them.
    Doomed,
    /// A visible row without bytes.
    Missing,
    /// A directory.
    Directory,
    /// Nothing.
    Nothing,
}

/// An entry of a directory: whether it is a directory, by basename.
pub type Listed = BTreeMap<String, bool>;

/// The reference model.
#[derive(Debug, Clone)]
pub struct Model {
    pub(super) limits: Limits,
    pub(super) now: i64,
    pub(super) rows: BTreeMap<String, Row>,
    pub(super) objects: BTreeMap<String, Object>,
    pub(super) dirs: BTreeSet<String>,
    /// Directories of foreign files that nobody has listed yet: only a listing makes them, and it
    /// does not if the files are gone by then.
    pub(super) fresh: BTreeSet<String>,
    pub(super) reaps: Vec<Reap>,
    last_object: u64,
}

impl Model {
    /// An empty store.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            now: 0,
            rows: BTreeMap::new(),
            objects: BTreeMap::new(),
            dirs: BTreeSet::new(),
            fresh: BTreeSet::new(),
            reaps: Vec::new(),
            last_object: 0,
        }
    }

    /// Seconds since the start.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.now
    }

    /// Time passes.
    pub fn advance(&mut self, seconds: i64) {
        self.now += seconds;
    }

    /// Whether a reader finds a file.
    #[must_use]
    pub fn exists(&self, path: &str) -> bool {
        !self.dirs.contains(path) && self.rows.get(path).is_some_and(|r| self.is_visible(r))
    }

    /// The size that its row says.
    #[must_use]
    pub fn size(&self, path: &str) -> Option<u64> {
        self.rows.get(path).filter(|_| self.exists(path)).map(|r| r.size)
    }

    /// Its expiry.
    #[must_use]
    pub fn expires(&self, path: &str) -> Option<i64> {
        self.rows.get(path).filter(|_| self.exists(path)).and_then(|r| r.expires)
    }

    /// Whether its present row was written by ezdfs.
    #[must_use]
    pub fn is_ours(&self, path: &str) -> bool {
        self.rows.get(path).is_some_and(|r| r.published.is_some())
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_directory(&self, path: &str) -> bool {
        self.dirs.contains(path)
    }

    /// Every directory but the root.
    #[must_use]
    pub fn directories(&self) -> Vec<String> {
        self.dirs.iter().cloned().collect()
    }

    /// Soft-deleted files, those excepted whose path is a directory by now.
    #[must_use]
    pub fn hidden(&self) -> BTreeSet<String> {
        let hidden = self.rows.iter().filter(|(p, r)| r.hidden && !self.dirs.contains(*p));
        hidden.map(|(p, _)| p.clone()).collect()
    }

    /// A hidden row is gone: allowed if it was not certain which object it named. Then the model
    /// follows.
    pub fn forget_uncertain(&mut self, path: &str) -> bool {
        let uncertain =
            self.rows.get(path).is_some_and(|r| r.hidden && matches!(r.pin, Pin::Maybe(_)));
        if uncertain {
            self.rows.remove(path);
        }
        uncertain
    }

    /// Foreign changes were looked at: which directories there are of those that were not certain.
    pub fn materialised(&mut self, directories: &BTreeSet<String>) {
        for dir in std::mem::take(&mut self.fresh) {
            if !directories.contains(&dir) {
                self.dirs.remove(&dir);
            }
        }
    }

    /// The same store for somebody who has not heard of the latest foreign files.
    pub(super) fn without_fresh(&self) -> Self {
        let dirs = self.dirs.difference(&self.fresh).cloned().collect();
        Self { dirs, ..self.clone() }
    }

    /// What a directory (empty: the root) lists.
    #[must_use]
    pub fn list(&self, dir: &str) -> Listed {
        let mut listed = Listed::new();
        let child = |path: &str| {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            (parent == dir).then(|| name.to_owned())
        };
        for path in self.rows.keys().filter(|p| self.exists(p)) {
            if let Some(name) = child(path) {
                listed.insert(name, false);
            }
        }
        for path in &self.dirs {
            if let Some(name) = child(path) {
                listed.insert(name, true);
            }
        }
        listed
    }

    /// What a reader of the whole file gets. Reading also repairs: see [`Model::was_read`].
    #[must_use]
    pub fn see(&self, path: &str) -> Seen {
        if self.dirs.contains(path) {
            return Seen::Directory;
        }
        let Some(row) = self.rows.get(path).filter(|r| self.is_visible(r)) else {
            return Seen::Nothing;
        };
        let Some(object) = self.objects.get(path) else { return Seen::Missing };
        let bytes = object.bytes.clone();
        let settled = self.now - object.written >= self.limits.settle;
        let same_size = row.size == size(&bytes);
        let doomed = self.reaps.iter().any(|r| r.path == path && r.object == object.id);
        match row.pin {
            _ if doomed && !same_size => Seen::Doomed,
            Pin::Known(id) if id == object.id && same_size => Seen::Bytes(bytes),
            _ if settled => Seen::Bytes(bytes),
            Pin::Unknown if same_size => Seen::Bytes(bytes),
            Pin::Maybe(_) if same_size => Seen::BytesOrBusy(bytes),
            _ => Seen::Busy,
        }
    }

    /// After a reader got bytes: the row follows the object.
    pub fn was_read(&mut self, path: &str) {
        let Some(object) = self.objects.get(path) else { return };
        let Some(row) = self.rows.get_mut(path) else { return };
        if row.pin == Pin::Known(object.id) && row.size == size(&object.bytes) {
            return;
        }
        match &row.published {
            // The digest shows that it is the same version.
            Some(published) if *published == object.bytes => row.pin = Pin::Known(object.id),
            _ => adopt(row, object),
        }
    }

    pub(super) fn is_visible(&self, row: &Row) -> bool {
        !row.hidden && row.expires.is_none_or(|at| at > self.now)
    }

    /// Stores an object; says its identity.
    pub(super) fn put_object(&mut self, path: &str, bytes: Bytes) -> u64 {
        self.last_object += 1;
        let object = Object { id: self.last_object, bytes, written: self.now };
        self.objects.insert(path.to_owned(), object);
        self.last_object
    }

    pub(super) fn make_parents(&mut self, path: &str) {
        let parents: Vec<String> = ancestors(path).map(str::to_owned).collect();
        for parent in parents {
            self.fresh.remove(&parent);
            self.make_dir(parent);
        }
    }

    /// A file that stands there is over: it is hidden for good.
    pub(super) fn make_dir(&mut self, dir: String) {
        if let Some(row) = self.rows.get_mut(&dir) {
            row.hidden = true;
        }
        self.dirs.insert(dir);
    }

    /// Whether a visible file stands above the path.
    pub(super) fn is_below_a_file(&self, path: &str) -> bool {
        // The nearest existing directory ends the walk: everything above it is one.
        ancestors(path).take_while(|a| !self.dirs.contains(*a)).any(|a| self.exists(a))
    }

    /// Rows below a directory.
    pub(super) fn below(&self, dir: &str) -> Vec<String> {
        self.rows.keys().filter(|p| is_below(p, dir)).cloned().collect()
    }

    /// Removes the directories at and below `dir`.
    pub(super) fn remove_dirs(&mut self, dir: &str) {
        self.dirs.retain(|d| d != dir && !is_below(d, dir));
    }
}

/// The row takes over size and time of an object of unknown origin.
pub(super) fn adopt(row: &mut Row, object: &Object) {
    row.pin = Pin::Maybe(object.id);
    row.size = size(&object.bytes);
    row.published = None;
    row.expires = None;
}

pub(super) fn size(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

pub(super) fn is_below(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'))
}

/// Nearest first.
pub(super) fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.rmatch_indices('/').map(|(at, _)| &path[..at])
}
