//! Looking up, listing, walking and counting.

use std::collections::BTreeMap;

use ezdfs_core::path::{PathError, RESERVED_SEGMENT};
use ezdfs_core::{
    BaseRow, DirMeta, DirPath, Entry, Error, ErrorKind, Figures, FilePath, Page, Record, Result,
    ScanPage, Timestamp,
};
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::path::Path as ObjectKey;
use object_store::{Attributes, GetOptions, ObjectMeta};

use super::ObjectsMetadata;
use super::derive::{attrs, dir_record, file_record, timestamp};
use crate::local::DirEntry;
use ezdfs_core::{BadEntries, BadEntry};

/// HEAD requests at the same time, for stores whose listings do not show content types.
const HEADS: usize = 16;

/// Object stores know no directories, hence no dates of theirs.
const NO_DATE: Timestamp = Timestamp::from_nanos(0);

/// What one level of a directory has under one name. A directory wins over a file.
#[derive(Debug)]
enum Level {
    File(ObjectMeta),
    Directory(Timestamp),
}

impl ObjectsMetadata {
    fn key(&self, path: &FilePath) -> Result<ObjectKey> {
        self.keys.key(path, self.capabilities.max_key_bytes)
    }

    pub(super) fn dir_key(&self, dir: &DirPath) -> Result<Option<ObjectKey>> {
        self.keys.dir_key(dir, self.capabilities.max_key_bytes)
    }

    pub(super) async fn look_up(&self, path: &FilePath) -> Result<Record> {
        let key = self.key(path)?;
        if let Some((meta, attributes)) = self.head(&key).await? {
            return Ok(file_record(&self.names, path, &meta, &attributes));
        }
        let modified = match &self.local {
            Some(local) => local.dir_modified(Some(&key)).await?.map(timestamp),
            None => self.has_below(&key).await?.then_some(NO_DATE),
        };
        Ok(modified.map_or_else(Record::default, |at| dir_record(&self.names, path, at)))
    }

    /// One HEAD; `None` when there is no such object.
    async fn head(&self, key: &ObjectKey) -> Result<Option<(ObjectMeta, Attributes)>> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        match self.store.get_opts(key, options).await {
            Ok(got) => Ok(Some((got.meta, got.attributes))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Whether there are objects below a prefix: that makes it a directory.
    async fn has_below(&self, key: &ObjectKey) -> Result<bool> {
        Ok(self.store.list(Some(key)).try_next().await?.is_some())
    }

    /// The record of an object that a listing showed; `None` when it is gone.
    async fn listed(&self, path: FilePath, meta: ObjectMeta) -> Result<Option<(FilePath, Record)>> {
        // Only a HEAD shows the content type; a local store has none to show.
        let (meta, attributes) = if self.capabilities.attributes {
            match self.head(&meta.location).await? {
                Some(found) => found,
                None => return Ok(None),
            }
        } else {
            (meta, Attributes::default())
        };
        let record = file_record(&self.names, &path, &meta, &attributes);
        Ok(Some((path, record)))
    }

    pub(super) async fn page(
        &self,
        dir: &DirPath,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).max(1);
        let (level, next) = self.level(dir, after.unwrap_or_default(), limit).await?;
        let entries = stream::iter(level)
            .map(|(name, found)| self.entry(dir, name, found))
            .buffered(HEADS)
            .try_filter_map(|entry| async move { Ok(entry) })
            .try_collect()
            .await?;
        Ok(Page { entries, next })
    }

    async fn entry(&self, dir: &DirPath, name: String, found: Level) -> Result<Option<Entry>> {
        let path = match dir.join(&name) {
            Ok(path) => path,
            // The folder of ezdfs itself, on stores that do not hide it.
            Err(PathError::Reserved) => return Ok(None),
            Err(e) => {
                tracing::warn!(directory = %dir, ?name, "an entry is not listed: {e}");
                return Ok(None);
            }
        };
        match found {
            Level::Directory(mtime) => Ok(Some(Entry::Directory(DirMeta {
                path: DirPath::from(path),
                mtime,
                attrs: attrs(mtime),
            }))),
            Level::File(meta) => {
                let listed = self.listed(path, meta).await?;
                Ok(listed.and_then(|(path, record)| record.file(&path)).map(Entry::File))
            }
        }
    }

    /// Up to `limit` names of a directory after `after`, and where the next page starts.
    async fn level(
        &self,
        dir: &DirPath,
        after: &str,
        limit: usize,
    ) -> Result<(Vec<(String, Level)>, Option<String>)> {
        let key = self.dir_key(dir)?;
        let mut level = BTreeMap::new();
        let Some(local) = &self.local else {
            let all = self.store.list_with_delimiter(key.as_ref()).await?;
            if let Some(BadEntries(bad)) = all.extensions.get() {
                bad.iter().for_each(report);
            }
            for meta in all.objects {
                let name = last_segment(&meta.location);
                level.insert(name, Level::File(meta));
            }
            for prefix in all.common_prefixes {
                level.insert(last_segment(&prefix), Level::Directory(NO_DATE));
            }
            let mut rest = level.into_iter().filter(|(name, _)| name.as_str() > after);
            let page: Vec<_> = rest.by_ref().take(limit).collect();
            let next = rest.next().and_then(|_| page.last().map(|(name, _)| name.clone()));
            return Ok((page, next));
        };
        let page = local.page(key.as_ref(), Some(after), limit).await?;
        page.bad.iter().for_each(report);
        let entries = page.entries.into_iter().map(|entry| match entry {
            DirEntry::File(meta) => (last_segment(&meta.location), Level::File(meta)),
            DirEntry::Directory { key, modified } => {
                (last_segment(&key), Level::Directory(timestamp(modified)))
            }
        });
        Ok((entries.collect(), page.next))
    }

    /// Every object below `dir` after the path `after`, and what is none.
    fn below(
        &self,
        dir: &DirPath,
        after: Option<&FilePath>,
    ) -> Result<BoxStream<'static, object_store::Result<ObjectMeta>>> {
        let key = self.dir_key(dir)?;
        Ok(match after {
            Some(after) => self.store.list_with_offset(key.as_ref(), &self.key(after)?),
            None => self.store.list(key.as_ref()),
        })
    }

    pub(super) async fn walk(
        &self,
        dir: &DirPath,
        after: Option<&str>,
        limit: u32,
    ) -> Result<ScanPage> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).max(1);
        let after = after.map(|name| self.path_of_name(name)).transpose()?;
        let mut objects = self.below(dir, after.as_ref())?;
        // A page ends with a good name, because only that can be asked for again. Bad ones before
        // it belong to the page, up to as many again; more are only logged.
        let (mut good, mut found, mut next) = (0, Vec::new(), None);
        while let Some(item) = objects.next().await {
            match self.classify(item)? {
                Seen::Object(path, meta) => {
                    let name = self.names.name(&path);
                    found.push(Ok((path, meta)));
                    good += 1;
                    if good == limit {
                        next = objects.next().await.map(|_| name.as_str().to_owned());
                        break;
                    }
                }
                Seen::Bad(row) if found.len() - good < limit => found.push(Err(row)),
                Seen::Bad(row) => tracing::warn!(name = ?row.name, "left out of a full page"),
                Seen::Own => {}
            }
        }
        let rows = stream::iter(found)
            .map(|item| async {
                Ok::<_, Error>(match item {
                    Ok((path, meta)) => self.listed(path, meta).await?.map(Ok),
                    Err(row) => Some(Err(row)),
                })
            })
            .buffered(HEADS)
            .try_filter_map(|row| async move { Ok(row) })
            .try_collect()
            .await?;
        Ok(ScanPage { rows, next })
    }

    /// What an item of a listing is. An error that is no bad entry ends the walk.
    fn classify(&self, item: object_store::Result<ObjectMeta>) -> Result<Seen> {
        let meta = match item {
            Ok(meta) => meta,
            Err(e) => {
                let Some(bad) = BadEntry::of(&e) else { return Err(e.into()) };
                report(bad);
                return Ok(Seen::Bad(self.bad_row(&bad.path, None)));
            }
        };
        Ok(match self.keys.path_of(&meta.location) {
            None | Some(Err(PathError::Reserved)) => Seen::Own,
            Some(Ok(path)) => Seen::Object(path, meta),
            Some(Err(_)) => Seen::Bad(self.bad_row(meta.location.as_ref(), Some(&meta))),
        })
    }

    /// A row for something whose key is no path.
    fn bad_row(&self, key: &str, meta: Option<&ObjectMeta>) -> BaseRow {
        let prefix = self.dir_key(&DirPath::root()).ok().flatten();
        let path =
            prefix.and_then(|p| key.strip_prefix(p.as_ref())?.strip_prefix('/')).unwrap_or(key);
        BaseRow {
            name: format!("{}{path}", self.names.below(&DirPath::root())),
            datatype: String::new(),
            scope: ezdfs_core::Scope::Unknown.as_str().to_owned(),
            size: meta.map_or(0, |m| m.size),
            mtime: meta.map_or(0, |m| timestamp(m.last_modified).base_mtime()),
            expired: false,
        }
    }

    fn path_of_name(&self, name: &str) -> Result<FilePath> {
        match self.names.path_of(name) {
            Some(Ok(path)) => Ok(path),
            Some(Err(e)) => {
                Err(Error::from(e).context(format!("a walk cannot start after {name:?}")))
            }
            None => Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("a walk cannot start after {name:?}, which is not a name of this store"),
            )),
        }
    }

    pub(super) async fn count(&self) -> Result<Figures> {
        let mut figures = Figures::default();
        let mut last = DirPath::root();
        let mut objects = self.below(&DirPath::root(), None)?;
        while let Some(item) = objects.next().await {
            match self.classify(item)? {
                Seen::Own => {}
                Seen::Bad(_) => figures.hidden += 1,
                Seen::Object(path, meta) => {
                    figures.files += 1;
                    figures.bytes = figures.bytes.saturating_add(meta.size);
                    let parent = path.parent();
                    if parent != last {
                        figures.directories += new_directories(&last, &parent);
                        last = parent;
                    }
                }
            }
        }
        Ok(figures)
    }
}

/// What an item of a listing is.
enum Seen {
    Object(FilePath, ObjectMeta),
    Bad(BaseRow),
    /// Of ezdfs itself.
    Own,
}

fn report(bad: &BadEntry) {
    let own = bad.raw.split(|b| *b == b'/').next() == Some(RESERVED_SEGMENT.as_bytes());
    if !own {
        tracing::warn!("{bad}");
    }
}

fn last_segment(key: &ObjectKey) -> String {
    key.as_ref().rsplit('/').next().unwrap_or_default().to_owned()
}

/// How many directories a sorted walk enters when it goes from `last` to `next`. All keys below a
/// directory stand together, so none is entered twice.
fn new_directories(last: &DirPath, next: &DirPath) -> u64 {
    let segments = |dir: &DirPath| -> Vec<String> {
        dir.path().map(|p| p.segments().map(str::to_owned).collect()).unwrap_or_default()
    };
    let (last, next) = (segments(last), segments(next));
    let common = last.iter().zip(&next).take_while(|(a, b)| a == b).count();
    u64::try_from(next.len() - common).unwrap_or(u64::MAX)
}
