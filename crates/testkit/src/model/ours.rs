//! What the file service does.

use bytes::Bytes;
use ezdfs_core::ErrorKind;

use super::Outcome;
use super::state::{Model, Pin, Reap, Row, Seen, adopt, is_below, size};

/// An operation of the file service.
#[derive(Debug, Clone)]
pub enum Operation {
    /// Publish; with an expiry in seconds since the start.
    Publish {
        /// Where.
        path: String,
        /// What.
        bytes: Bytes,
        /// When it ends.
        expires: Option<i64>,
    },
    /// Publish if there is no file.
    Create(String, Bytes),
    /// Publish if the file is unchanged since it was loaded just before.
    Replace(String, Bytes),
    /// Delete a file.
    Delete(String),
    /// Delete a directory.
    DeleteDirectory(String),
    /// Rename a file or a directory.
    Rename(String, String, bool),
    /// Copy a file.
    Copy(String, String, bool),
    /// Make a directory.
    MakeDirectory(String, bool),
    /// Remove an empty directory.
    RemoveDirectory(String),
    /// Touch; with an expiry in seconds since the start.
    Touch(String, Option<i64>),
    /// Bring back from the trash.
    Restore(String),
    /// Remove from the trash.
    Purge(String),
    /// A round of maintenance.
    Maintain,
}

use ErrorKind as E;

impl Model {
    /// Follows an operation that ended in `outcome`.
    ///
    /// # Errors
    /// What it should have been.
    pub fn ours(&mut self, operation: &Operation, outcome: Outcome) -> Result<(), String> {
        let expected = self.expected(operation);
        let unheard =
            outcome.is_err() && self.without_fresh().expected(operation).contains(&outcome);
        if !expected.contains(&outcome) && !unheard {
            return Err(format!("{operation:?} ended in {outcome:?}, expected {expected:?}"));
        }
        if outcome.is_ok() {
            self.follow(operation);
        } else if let Operation::Copy(from, ..) = operation
            && matches!(self.see(from), Seen::Bytes(_))
        {
            // The read took place.
            self.was_read(from);
        }
        Ok(())
    }

    /// Every outcome that is allowed.
    fn expected(&self, operation: &Operation) -> Vec<Outcome> {
        match operation {
            Operation::Publish { path, .. } => vec![self.publishes(path, |_| Ok(()))],
            Operation::Create(path, _) => {
                vec![self.publishes(
                    path,
                    |exists| {
                        if exists { Err(E::PreconditionFailed) } else { Ok(()) }
                    },
                )]
            }
            // Without a file there is no tag to compare.
            Operation::Replace(path, _) => {
                vec![self.publishes(
                    path,
                    |exists| {
                        if exists { Ok(()) } else { Err(E::PreconditionFailed) }
                    },
                )]
            }
            Operation::Delete(path) => vec![self.is_file(path)],
            Operation::DeleteDirectory(dir) => vec![self.is_dir(dir)],
            Operation::Rename(from, to, overwrite) => self.renames(from, to, *overwrite),
            Operation::Copy(from, to, overwrite) => self.copies(from, to, *overwrite),
            Operation::MakeDirectory(dir, exclusive) => vec![self.makes_dir(dir, *exclusive)],
            Operation::RemoveDirectory(dir) => vec![match self.is_dir(dir) {
                Ok(()) if !self.list(dir).is_empty() => Err(E::NotEmpty),
                other => other,
            }],
            Operation::Touch(path, _) => vec![self.publishes(path, |_| Ok(()))],
            Operation::Restore(path) => self.restores(path),
            Operation::Purge(path) => vec![match self.rows.get(path) {
                None => Err(E::NotFound),
                Some(row) if !row.hidden => Err(E::AlreadyExists),
                Some(_) => Ok(()),
            }],
            Operation::Maintain => vec![Ok(())],
        }
    }

    fn follow(&mut self, operation: &Operation) {
        match operation {
            Operation::Publish { path, bytes, expires } => {
                self.publish(path, bytes.clone(), *expires);
            }
            Operation::Create(path, bytes) | Operation::Replace(path, bytes) => {
                self.publish(path, bytes.clone(), None);
            }
            Operation::Delete(path) => self.delete(path),
            Operation::DeleteDirectory(dir) => self.delete_dir(dir),
            Operation::Rename(from, to, _) if from == to => {}
            Operation::Rename(from, to, _) if self.dirs.contains(from) => self.move_dir(from, to),
            Operation::Rename(from, to, _) => {
                self.was_read(from);
                self.move_file(from, to);
            }
            Operation::Copy(from, to, _) => {
                self.was_read(from);
                let expires = self.expires(from);
                if let Some(object) = self.objects.get(from) {
                    self.publish(to, object.bytes.clone(), expires);
                }
            }
            Operation::MakeDirectory(dir, _) => {
                self.make_parents(dir);
                self.make_dir(dir.clone());
            }
            Operation::RemoveDirectory(dir) => drop(self.dirs.remove(dir)),
            Operation::Touch(path, expires) => self.touch(path, *expires),
            Operation::Restore(path) => self.restore(path),
            Operation::Purge(path) => self.remove(path),
            Operation::Maintain => self.maintain(),
        }
    }

    fn is_file(&self, path: &str) -> Outcome {
        if self.dirs.contains(path) {
            return Err(E::IsDirectory);
        }
        if self.exists(path) { Ok(()) } else { Err(E::NotFound) }
    }

    fn is_dir(&self, dir: &str) -> Outcome {
        if self.dirs.contains(dir) {
            return Ok(());
        }
        Err(if self.exists(dir) { E::NotDirectory } else { E::NotFound })
    }

    fn publishes(&self, path: &str, condition: impl Fn(bool) -> Outcome) -> Outcome {
        if self.dirs.contains(path) {
            return Err(E::IsDirectory);
        }
        condition(self.exists(path))?;
        if self.is_below_a_file(path) { Err(E::NotDirectory) } else { Ok(()) }
    }

    fn publish(&mut self, path: &str, bytes: Bytes, expires: Option<i64>) {
        let size = size(&bytes);
        let id = self.put_object(path, bytes.clone());
        let pin = Pin::Known(id);
        let row = Row { pin, size, published: Some(bytes), hidden: false, expires };
        self.rows.insert(path.to_owned(), row);
        self.make_parents(path);
    }

    fn touch(&mut self, path: &str, expires: Option<i64>) {
        if !self.exists(path) {
            self.publish(path, Bytes::new(), expires);
        } else if let (Some(row), Some(expires)) = (self.rows.get_mut(path), expires) {
            row.expires = Some(expires);
        }
    }

    fn delete(&mut self, path: &str) {
        if self.limits.trash > 0 {
            self.hide(path, self.limits.trash.max(self.limits.grace));
        } else {
            self.remove(path);
        }
    }

    /// Row and bytes. Bytes of another version would stay as an orphan, which no reader sees.
    fn remove(&mut self, path: &str) {
        self.rows.remove(path);
        self.objects.remove(path);
    }

    fn hide(&mut self, path: &str, stay: i64) {
        let due = self.now + stay;
        let there = self.objects.get(path).map(|o| o.id);
        let Some(row) = self.rows.get_mut(path) else { return };
        row.hidden = true;
        row.pin = match (row.pin, there) {
            (Pin::Unknown, Some(id)) => Pin::Known(id),
            // Pinned to what is there now or to the one before.
            (Pin::Maybe(id), Some(there)) if id == there => Pin::Known(id),
            (pin, _) => pin,
        };
        if let Pin::Known(object) | Pin::Maybe(object) = row.pin {
            self.reaps.push(Reap { path: path.to_owned(), object, due });
        }
    }

    fn delete_dir(&mut self, dir: &str) {
        for path in self.below(dir) {
            let hidden = self.rows.get(&path).is_some_and(|r| r.hidden);
            if self.limits.trash == 0 {
                self.remove(&path);
            } else if !hidden {
                self.delete(&path);
            }
        }
        self.remove_dirs(dir);
    }

    fn renames(&self, from: &str, to: &str, overwrite: bool) -> Vec<Outcome> {
        if self.dirs.contains(from) {
            return vec![self.renames_dir(from, to)];
        }
        if !self.exists(from) {
            return vec![Err(E::NotFound)];
        }
        if from == to {
            return vec![Ok(())];
        }
        if self.dirs.contains(to) {
            return vec![Err(E::IsDirectory)];
        }
        if self.exists(to) && !overwrite {
            return vec![Err(E::AlreadyExists)];
        }
        if self.is_below_a_file(to) {
            return vec![Err(E::NotDirectory)];
        }
        self.reads(from)
    }

    fn reads(&self, path: &str) -> Vec<Outcome> {
        match self.see(path) {
            Seen::Bytes(_) => vec![Ok(())],
            Seen::BytesOrBusy(_) => vec![Ok(()), Err(E::Busy)],
            Seen::Busy => vec![Err(E::Busy)],
            Seen::Doomed => vec![Err(E::Corrupt)],
            Seen::Missing => vec![Err(E::MissingBytes)],
            Seen::Directory => vec![Err(E::IsDirectory)],
            Seen::Nothing => vec![Err(E::NotFound)],
        }
    }

    fn renames_dir(&self, from: &str, to: &str) -> Outcome {
        if from == to {
            return Ok(());
        }
        if is_below(to, from) {
            return Err(E::InvalidArgument);
        }
        if self.dirs.contains(to) {
            return if self.list(to).is_empty() { Ok(()) } else { Err(E::NotEmpty) };
        }
        if self.exists(to) || self.is_below_a_file(to) { Err(E::NotDirectory) } else { Ok(()) }
    }

    fn move_file(&mut self, from: &str, to: &str) {
        self.objects.remove(to);
        if let Some(object) = self.objects.remove(from) {
            self.objects.insert(to.to_owned(), object);
        }
        if let Some(row) = self.rows.remove(from) {
            self.rows.insert(to.to_owned(), row);
        }
        self.make_parents(to);
    }

    fn move_dir(&mut self, from: &str, to: &str) {
        if from == to {
            return;
        }
        let there = |path: &str| format!("{to}{}", &path[from.len()..]);
        for path in self.below(from) {
            if !self.exists(&path) {
                // What is in the trash, or over, stays where it was.
                self.expire(&path);
                continue;
            }
            if let (Some(row), Some(object)) = (self.rows.get_mut(&path), self.objects.get(&path))
                && row.pin != Pin::Known(object.id)
            {
                // Nobody waits for a foreign writer here: what moves is described as it is.
                adopt(row, object);
            }
            self.move_file(&path, &there(&path));
        }
        let dirs: Vec<String> = self.dirs.iter().filter(|d| is_below(d, from)).cloned().collect();
        self.remove_dirs(from);
        for dir in &dirs {
            self.make_dir(there(dir));
        }
        self.make_dir(to.to_owned());
        self.make_parents(to);
    }

    fn copies(&self, from: &str, to: &str, overwrite: bool) -> Vec<Outcome> {
        let condition = |exists| {
            if exists && !overwrite { Err(E::PreconditionFailed) } else { Ok(()) }
        };
        let published = self.publishes(to, condition);
        self.reads(from).into_iter().map(|read| read.and(published)).collect()
    }

    fn makes_dir(&self, dir: &str, exclusive: bool) -> Outcome {
        if self.dirs.contains(dir) {
            return if exclusive { Err(E::AlreadyExists) } else { Ok(()) };
        }
        if self.exists(dir) {
            return Err(E::AlreadyExists);
        }
        if self.is_below_a_file(dir) { Err(E::NotDirectory) } else { Ok(()) }
    }

    fn restores(&self, path: &str) -> Vec<Outcome> {
        let Some(row) = self.rows.get(path) else { return vec![Err(E::NotFound)] };
        if !row.hidden {
            return vec![Err(E::AlreadyExists)];
        }
        let Some(object) = self.objects.get(path).filter(|o| size(&o.bytes) == row.size) else {
            return vec![Err(E::MissingBytes)];
        };
        let place = if self.dirs.contains(path) {
            Err(E::IsDirectory)
        } else if self.is_below_a_file(path) {
            Err(E::NotDirectory)
        } else {
            Ok(())
        };
        let is_its = match (&row.published, row.pin) {
            (_, Pin::Unknown) => true,
            (_, Pin::Known(id) | Pin::Maybe(id)) if id == object.id => true,
            (Some(published), _) => *published == object.bytes,
            // Size and second decide, and what was remembered of the object.
            (None, _) => return vec![place, Err(E::MissingBytes)],
        };
        vec![if is_its { place } else { Err(E::MissingBytes) }]
    }

    fn restore(&mut self, path: &str) {
        if let (Some(row), Some(object)) = (self.rows.get_mut(path), self.objects.get(path)) {
            if let Pin::Known(id) | Pin::Maybe(id) = row.pin {
                self.reaps.retain(|r| r.path != path || r.object != id);
            }
            row.pin = Pin::Known(object.id);
            row.hidden = false;
            row.expires = None;
        }
        self.make_parents(path);
    }

    fn maintain(&mut self) {
        let all: Vec<String> = self.rows.keys().cloned().collect();
        for path in all {
            self.expire(&path);
        }
        let now = self.now;
        let (due, waiting) =
            std::mem::take(&mut self.reaps).into_iter().partition(|r| r.due <= now);
        self.reaps = waiting;
        for reap in due {
            self.reap(&reap);
        }
    }

    /// The sweep has hidden a file: allowed if its time is over.
    pub fn sweep(&mut self, path: &str) -> bool {
        self.expire(path);
        self.rows.get(path).is_some_and(|r| r.hidden)
    }

    /// Hides a file whose time is over.
    fn expire(&mut self, path: &str) {
        let over = |r: &Row| !r.hidden && r.expires.is_some_and(|at| at <= self.now);
        if self.rows.get(path).is_some_and(over) {
            self.hide(path, self.limits.grace);
        }
    }

    fn reap(&mut self, reap: &Reap) {
        if let Some(row) = self.rows.get(&reap.path) {
            if !row.hidden {
                return;
            }
            // If it was not certain which object the row named, it may stay or go.
            let is_its = row.pin == Pin::Known(reap.object);
            if is_its || self.dirs.contains(&reap.path) {
                self.rows.remove(&reap.path);
            }
        }
        if self.objects.get(&reap.path).is_some_and(|o| o.id == reap.object) {
            self.objects.remove(&reap.path);
        }
    }
}
