//! Steps on directories.

use std::time::Duration;

use ezdfs_core::{
    Attrs, DirPath, Error, ErrorKind, FilePath, Name, NameHash, NodeKind, NodeRow, Record, Result,
    Timestamp,
};

use super::{Scope, collision};
use crate::place::Place;
use crate::rows::{Intend, Rows, Stored};

/// A directory's mtime is bumped at most this often (consistency.md §2).
pub(crate) const TOUCH_EVERY: Duration = Duration::from_secs(1);

/// Rows of new directories.
pub(crate) mod new_dir {
    use super::{Attrs, NameHash, NodeKind, NodeRow, Place, Timestamp};

    /// Attributes of a new directory; `None` for the defaults of the door.
    #[derive(Debug, Clone, Copy, Default)]
    pub(crate) struct Attributes {
        pub(crate) mode: Option<u32>,
        pub(crate) uid: Option<u32>,
        pub(crate) gid: Option<u32>,
    }

    /// The node row of a new directory.
    pub(crate) fn row(name: &str, attributes: Attributes, now: Timestamp) -> (NameHash, NodeRow) {
        let place = Place::of(name);
        let row = NodeRow {
            parent: place.parent,
            basename: place.basename.to_owned(),
            kind: NodeKind::Directory,
            attrs: Attrs {
                ino: 0,
                mode: attributes.mode,
                uid: attributes.uid,
                gid: attributes.gid,
                ctime: now,
            },
            mtime: now,
            pin: None,
            token: None,
            sha256: None,
            expires: None,
            base_size: 0,
            base_mtime: 0,
        };
        (ezdfs_core::Name::from_row(name).hash(), row)
    }
}

impl<R: Rows> Scope<'_, R> {
    /// Makes the missing ones of `above`, nearest first, whose rows were found. The first existing
    /// directory ends the walk: everything above it exists.
    pub(super) async fn place_ancestors(
        &mut self,
        above: &[FilePath],
        names: &[Name],
        found: &[Stored],
    ) -> Result<()> {
        let mut missing = Vec::new();
        let mut replaced = Vec::new();
        for ((path, name), stored) in above.iter().zip(names).zip(found) {
            if stored.is_dir() {
                break;
            }
            let record = stored.record(name);
            if record.entry(path, self.now).is_some() {
                return Err(Error::new(
                    ErrorKind::NotDirectory,
                    format!("`{path}` is a file, so nothing can be stored below it"),
                ));
            }
            self.hide_expired(stored, name).await?;
            if stored.node.is_some() {
                // The row of a hidden file gives way; a directory gets a number of its own.
                replaced.push(name.hash());
            }
            missing.push(new_dir::row(name.as_str(), new_dir::Attributes::default(), self.now));
        }
        if !replaced.is_empty() {
            self.rows.delete_nodes(&replaced).await?;
        }
        if !missing.is_empty() {
            self.rows.put_nodes(&missing).await?;
        }
        Ok(())
    }

    /// A file whose time is over and that the sweep has not hidden yet gives way to a directory.
    /// Its expiry goes with its node row, so the base row must be hidden now: otherwise the file
    /// would be back when the directory goes, and PHP would see it all the time.
    async fn hide_expired(&mut self, stored: &Stored, name: &Name) -> Result<()> {
        if stored.record(name).base.is_some_and(|b| b.visible()) {
            self.rows.hide_base(name).await?;
        }
        Ok(())
    }

    pub(super) async fn make_dir(
        &mut self,
        path: &FilePath,
        exclusive: bool,
        attributes: new_dir::Attributes,
    ) -> Result<()> {
        let exists = |what| {
            Err(Error::new(ErrorKind::AlreadyExists, format!("`{path}` exists and is a {what}")))
        };
        let (above, names) = self.lineage(path);
        let Some(name) = names.first() else { return Ok(()) };
        let found = self.rows.find(&names, Intend::ChangeFirst, true).await?;
        let Some(old) = found.rows.first() else { return Ok(()) };
        let record = old.record(name);
        if record.collision {
            return Err(collision(path));
        }
        if old.is_dir() {
            return if exclusive { exists("directory") } else { Ok(()) };
        }
        if record.entry(path, self.now).is_some() {
            return exists("file");
        }
        if found.below && exclusive {
            return exists("directory");
        }
        self.place_ancestors(&above, &names[1..], &found.rows[1..]).await?;
        self.hide_expired(old, name).await?;
        if old.node.is_some() {
            self.rows.delete_nodes(&[name.hash()]).await?;
        }
        self.rows.put_nodes(&[new_dir::row(name.as_str(), attributes, self.now)]).await?;
        self.touch_parent(path).await
    }

    pub(super) async fn remove_dir(&mut self, path: &FilePath) -> Result<()> {
        let name = self.prefix.name(path);
        let stored = self.stored(&name).await?;
        let is_dir = stored.is_dir();
        if !is_dir && stored.record(&name).entry(path, self.now).is_some() {
            return Err(Error::new(ErrorKind::NotDirectory, format!("`{path}` is a file")));
        }
        if self.lists_anything(path, &name).await? {
            return Err(Error::new(
                ErrorKind::NotEmpty,
                format!("directory `{path}` is not empty"),
            ));
        }
        if !is_dir {
            return Err(Error::not_found(path));
        }
        self.rows.delete_nodes(&[name.hash()]).await?;
        self.touch_parent(path).await
    }

    /// Whether the directory has entries, those included that no node row tells of yet.
    async fn lists_anything(&mut self, path: &FilePath, name: &Name) -> Result<bool> {
        if self.rows.has_subdir(name.hash()).await? {
            return Ok(true);
        }
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.rows.unhidden_below(name, after.as_deref()).await?;
            for (base, node) in page.rows {
                let row_name = base.name.clone();
                let record = Record::new(&row_name, Some(base), node);
                // The path only travels into the entry, which nobody looks at here.
                if record.entry(path, self.now).is_some() {
                    return Ok(true);
                }
            }
            if page.next.is_none() {
                return Ok(false);
            }
            after = page.next;
        }
    }

    pub(super) async fn remove_dir_tree(&mut self, dir: &DirPath) -> Result<()> {
        let name = self.dir_name(dir);
        let is_dir = self.stored(&name).await?.is_dir();
        self.rows.delete_dirs_below(name.hash()).await?;
        if let Some(path) = dir.path() {
            if is_dir && !self.lists_anything(path, &name).await? {
                self.rows.delete_nodes(&[name.hash()]).await?;
            }
            self.touch_parent(path).await?;
        }
        self.replace_dirs_of_files(&name).await
    }

    /// Files that a foreign writer made while a directory was being deleted keep their
    /// directories: otherwise they would exist for a reader and be listed nowhere.
    async fn replace_dirs_of_files(&mut self, name: &Name) -> Result<()> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.rows.unhidden_below(name, after.as_deref()).await?;
            let names = page.rows.iter().map(|(base, _)| base.name.as_str());
            crate::materialise::place_ancestors(self.rows, self.now, names).await?;
            if page.next.is_none() {
                return Ok(());
            }
            after = page.next;
        }
    }
}
