//! What a PHP node does, as Ibexa and legacy eZ Publish do it.

use bytes::Bytes;

use super::state::{Model, Pin, Row, ancestors, is_below, size};

/// An operation of a PHP node.
#[derive(Debug, Clone)]
pub enum PhpOperation {
    /// Ibexa's create: bytes in place, then the row; `expired` of an existing row stays.
    Create(String, Bytes),
    /// The same with a row that says one byte more than there are.
    CreateWithWrongSize(String, Bytes),
    /// Only the first half of an overwrite.
    ReplaceBytes(String, Bytes),
    /// The second half: the row follows the bytes.
    UpdateRow(String),
    /// Ibexa's delete: the row, then the bytes.
    Delete(String),
    /// Ibexa's directory delete.
    DeleteDirectory(String),
    /// Legacy delete.
    SoftDelete(String),
    /// Legacy revival: `mtime = abs(mtime), expired = 0`.
    Revive(String),
}

impl Model {
    /// Whether PHP would do this: on a file system it cannot store a file below a file or in place
    /// of a directory, and it updates, hides and revives only what is there.
    #[must_use]
    pub fn php_can(&self, operation: &PhpOperation) -> bool {
        let has_row = |path: &str| self.rows.contains_key(path) && !self.dirs.contains(path);
        match operation {
            PhpOperation::Create(path, _) | PhpOperation::CreateWithWrongSize(path, _) => {
                let is_free = |p: &String| p != path && (is_below(p, path) || is_below(path, p));
                !self.dirs.contains(path) && !self.rows.keys().any(is_free)
            }
            // Also in the trash: a create that is killed in the middle.
            PhpOperation::ReplaceBytes(path, _) => has_row(path),
            PhpOperation::SoftDelete(path) => has_row(path) && self.exists(path),
            PhpOperation::UpdateRow(path) => {
                has_row(path) && self.exists(path) && self.objects.contains_key(path)
            }
            PhpOperation::Revive(path) => {
                has_row(path) && self.rows.get(path).is_some_and(|r| r.hidden)
            }
            PhpOperation::Delete(path) => has_row(path),
            PhpOperation::DeleteDirectory(dir) => self.dirs.contains(dir),
        }
    }

    /// Follows an operation of PHP.
    pub fn php(&mut self, operation: &PhpOperation) {
        match operation {
            PhpOperation::Create(path, bytes) => {
                self.php_create(path, bytes.clone(), size(bytes));
            }
            PhpOperation::CreateWithWrongSize(path, bytes) => {
                self.php_create(path, bytes.clone(), size(bytes) + 1);
            }
            PhpOperation::ReplaceBytes(path, bytes) => {
                self.put_object(path, bytes.clone());
            }
            PhpOperation::UpdateRow(path) => {
                if let Some(object) = self.objects.get(path) {
                    let size = size(&object.bytes);
                    self.php_row(path, size);
                }
            }
            PhpOperation::Delete(path) => {
                self.rows.remove(path);
                self.objects.remove(path);
            }
            PhpOperation::DeleteDirectory(dir) => {
                self.rows.retain(|p, _| !is_below(p, dir));
                self.objects.retain(|p, _| !is_below(p, dir));
            }
            PhpOperation::SoftDelete(path) => {
                self.touched(path, true);
            }
            PhpOperation::Revive(path) => {
                self.touched(path, false);
                self.make_fresh_parents(path);
            }
        }
    }

    fn make_fresh_parents(&mut self, path: &str) {
        let new: Vec<String> =
            ancestors(path).filter(|a| !self.dirs.contains(*a)).map(str::to_owned).collect();
        self.make_parents(path);
        self.fresh.extend(new);
    }

    /// Whatever PHP does to a row, nobody knows afterwards which version it is.
    fn touched(&mut self, path: &str, hidden: bool) {
        let Some(row) = self.rows.get_mut(path) else { return };
        row.hidden = hidden;
        row.published = None;
        row.expires = None;
        if let Pin::Known(id) = row.pin {
            row.pin = Pin::Maybe(id);
        }
    }

    fn php_create(&mut self, path: &str, bytes: Bytes, size: u64) {
        self.put_object(path, bytes);
        self.php_row(path, size);
    }

    fn php_row(&mut self, path: &str, size: u64) {
        let old = self.rows.get(path);
        let hidden = old.is_some_and(|r| r.hidden);
        // Within one second and of one size, the row cannot be told from the one before until the
        // change feed is read.
        let pin = match old.map(|r| r.pin) {
            Some(Pin::Known(id) | Pin::Maybe(id)) => Pin::Maybe(id),
            _ => Pin::Unknown,
        };
        let row = Row { pin, size, published: None, hidden, expires: None };
        self.rows.insert(path.to_owned(), row);
        if !hidden {
            self.make_fresh_parents(path);
        }
    }
}
