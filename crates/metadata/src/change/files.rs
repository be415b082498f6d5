//! Steps on files.

use ezdfs_core::{
    Attrs, BaseRow, Error, ErrorKind, FilePath, Name, NewFile, NodeKind, NodeRow, Pin, Result,
    Scope as FileScope, Timestamp,
};

use super::{Scope, collision};
use crate::place::Place;
use crate::rows::{Intend, Rows};

/// Longest `datatype` in bytes: the column is varchar(255), and MySQL counts characters but a
/// media type is ASCII (ibexa-dfs.md §1.2).
const MAX_DATATYPE_BYTES: usize = 255;

impl<R: Rows> Scope<'_, R> {
    pub(super) async fn put_file(&mut self, path: &FilePath, file: &NewFile) -> Result<()> {
        check_new_file(path, file)?;
        let (above, names) = self.lineage(path);
        let Some(name) = names.first() else { return Ok(()) };
        let found = self.rows.find(&names, Intend::ChangeFirst, true).await?;
        let Some(old) = found.rows.first() else { return Ok(()) };
        let record = old.record(name);
        let place = Place::of(name.as_str());
        if record.collision || old.node.as_ref().is_some_and(|n| !stands_at(n, place)) {
            return Err(collision(path));
        }
        // A name with files below is a directory, also while the materialiser has not seen them.
        if old.is_dir() || (found.below && old.node.is_none()) {
            return Err(Error::new(ErrorKind::IsDirectory, format!("`{path}` is a directory")));
        }
        self.place_ancestors(&above, &names[1..], &found.rows[1..]).await?;
        let kept = old.node.as_ref().map(|n| &n.attrs);
        let (base, node) = rows_of(name, path, file, kept, self.now);
        let hash = name.hash();
        self.rows.put_base(hash, &base).await?;
        self.rows.put_nodes(&[(hash, node)]).await?;
        let is_new = record.entry(path, self.now).is_none();
        // The parent's row was just read: most publishes need no further statement.
        let parent_is_due =
            found.rows.get(1).is_some_and(|p| touch_is_due(p.node.as_ref(), self.now));
        if is_new && parent_is_due {
            self.touch_parent(path).await?;
        }
        Ok(())
    }

    pub(super) async fn remove_file(&mut self, path: &FilePath) -> Result<()> {
        self.rows.delete_file(&self.prefix.name(path)).await?;
        self.touch_parent(path).await
    }

    pub(super) async fn hide_file(&mut self, path: &FilePath) -> Result<()> {
        self.rows.hide_base(&self.prefix.name(path)).await?;
        self.touch_parent(path).await
    }

    pub(super) async fn set_pin(&mut self, path: &FilePath, pin: &Pin) -> Result<()> {
        let (above, names) = self.lineage(path);
        let Some(name) = names.first() else { return Ok(()) };
        let found = self.rows.find(&names, Intend::ChangeFirst, false).await?;
        let Some(old) = found.rows.first() else { return Ok(()) };
        let Some(base) = old.record(name).base else {
            return Err(Error::new(
                ErrorKind::Stale,
                format!("`{path}` has no row that a pin could be recorded for"),
            ));
        };
        if old.is_dir() {
            return Err(Error::new(ErrorKind::IsDirectory, format!("`{path}` is a directory")));
        }
        self.place_ancestors(&above, &names[1..], &found.rows[1..]).await?;
        let mut node = match &old.node {
            Some(node) if node.belongs_to(&base) => node.clone(),
            node => unknown_version(name.as_str(), &base, node.as_ref(), self.now),
        };
        node.pin = Some(pin.clone());
        self.rows.put_nodes(&[(name.hash(), node)]).await
    }
}

/// The rows of a new version. Mode and owner that it does not set are those `kept` of the one before.
pub(crate) fn rows_of(
    name: &Name,
    path: &FilePath,
    file: &NewFile,
    kept: Option<&Attrs>,
    now: Timestamp,
) -> (BaseRow, NodeRow) {
    let place = Place::of(name.as_str());
    let base = BaseRow {
        name: name.as_str().to_owned(),
        datatype: file.datatype.clone(),
        scope: FileScope::of(path).as_str().to_owned(),
        size: file.size,
        mtime: file.mtime.base_mtime(),
        expired: false,
    };
    let node = NodeRow {
        parent: place.parent,
        basename: place.basename.to_owned(),
        kind: NodeKind::File,
        attrs: Attrs {
            ino: 0,
            mode: file.mode.or(kept.and_then(|a| a.mode)),
            uid: file.uid.or(kept.and_then(|a| a.uid)),
            gid: file.gid.or(kept.and_then(|a| a.gid)),
            ctime: now,
        },
        mtime: file.mtime,
        pin: file.pin.clone(),
        token: file.token,
        sha256: file.sha256,
        // As precise as the column, in every store.
        expires: file.expires.map(|at| Timestamp::from_millis(at.millis())),
        base_size: base.size,
        base_mtime: base.mtime,
    };
    (base, node)
}

/// The node row of a base row whose version nobody knows. Mode and owner of an earlier version
/// survive, as they would on a disk.
pub(crate) fn unknown_version(
    name: &str,
    base: &BaseRow,
    old: Option<&NodeRow>,
    now: Timestamp,
) -> NodeRow {
    let place = Place::of(name);
    let kept = old.filter(|n| n.kind == NodeKind::File).map(|n| &n.attrs);
    let base_mtime = base.mtime.saturating_abs();
    NodeRow {
        parent: place.parent,
        basename: place.basename.to_owned(),
        kind: NodeKind::File,
        attrs: Attrs {
            ino: 0,
            mode: kept.and_then(|a| a.mode),
            uid: kept.and_then(|a| a.uid),
            gid: kept.and_then(|a| a.gid),
            ctime: now,
        },
        mtime: Timestamp::from_secs(base_mtime),
        pin: None,
        token: None,
        sha256: None,
        expires: None,
        base_size: base.size,
        base_mtime,
    }
}

/// Whether a node row stands where the name says. If not, two names share one MD5.
pub(crate) fn stands_at(node: &NodeRow, place: Place<'_>) -> bool {
    node.parent == place.parent && node.basename == place.basename
}

/// Whether the mtime of an existing directory lies far enough back to be bumped.
fn touch_is_due(dir: Option<&NodeRow>, now: Timestamp) -> bool {
    dir.is_some_and(|d| {
        d.kind == NodeKind::Directory && d.mtime <= now.minus(super::dirs::TOUCH_EVERY)
    })
}

pub(crate) fn check_new_file(path: &FilePath, file: &NewFile) -> Result<()> {
    if file.datatype.len() > MAX_DATATYPE_BYTES {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!(
                "the media type of `{path}` has {} bytes, more than {MAX_DATATYPE_BYTES}",
                file.datatype.len()
            ),
        ));
    }
    if i64::try_from(file.size).is_err() {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!("`{path}`: {} bytes are more than a row can say", file.size),
        ));
    }
    Ok(())
}
