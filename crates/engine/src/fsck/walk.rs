//! The walk over the rows and the listing of the objects.

use ezdfs_core::path::RESERVED_SEGMENT;
use ezdfs_core::{BadEntry, BaseRow, Error, ErrorKind, FilePath, PathError, Record, Result};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::ObjectMeta;

use super::finding::{Finding, Kind};
use super::record::{self, SeenObject, SeenRow};
use super::sorter::Sorter;
use super::{Run, place};
use crate::binary::BinaryStore;
use crate::unreadable;

/// Rows of one query, and objects between two words of progress.
const PAGE: u32 = 1_000;

impl Run<'_> {
    /// Hands all rows below the prefix to the sorter.
    pub(super) async fn rows(&mut self, sorter: &mut Sorter) -> Result<()> {
        let metadata = &self.service.inner.metadata;
        if let Some(path) = self.options.prefix.path() {
            let record = metadata.record(path).await?;
            if record.base.is_some() {
                self.row(path, &record, sorter).await?;
            }
        }
        let mut after: Option<String> = None;
        loop {
            let page = metadata.scan(&self.options.prefix, after.as_deref(), PAGE).await?;
            for row in page.rows {
                match row {
                    Ok((path, record)) => self.row(&path, &record, sorter).await?,
                    Err(base) => self.unusable(&base, sorter).await?,
                }
            }
            self.progress("rows", self.summary.rows, None)?;
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    async fn row(&mut self, path: &FilePath, record: &Record, sorter: &mut Sorter) -> Result<()> {
        self.summary.rows += 1;
        let metadata = &self.service.inner.metadata;
        let seen = SeenRow::of(path, record, self.service.inner.clock.now());
        sorter.push(&record::row(path, &seen)).await?;
        let name = metadata.prefix().name(path);
        match place::elsewhere(metadata.prefix(), name.as_str()) {
            Some(place) => sorter.push(&record::claim(&place)).await,
            None => Ok(()),
        }
    }

    /// A row that no reader of ours can reach. Its bytes are not orphans all the same.
    async fn unusable(&mut self, base: &BaseRow, sorter: &mut Sorter) -> Result<()> {
        self.summary.rows += 1;
        let prefix = self.service.inner.metadata.prefix();
        let own = prefix.path_of(&base.name);
        for claimed in place::elsewhere(prefix, &base.name)
            .into_iter()
            .chain(own.clone().and_then(std::result::Result::ok))
        {
            sorter.push(&record::claim(&claimed)).await?;
        }
        let (kind, detail) = match own {
            Some(Err(e)) => (Kind::BadName, format!("{e}; only PHP can read or delete it")),
            _ => (
                Kind::Hash,
                "name_hash is not the MD5 of the name: nobody finds the row by its name".to_owned(),
            ),
        };
        let path = base.name.clone();
        self.found(&Finding { kind, path, size: Some(base.size), detail })
    }

    /// Hands all objects below the prefix to the sorter.
    pub(super) async fn objects(&mut self, sorter: &mut Sorter) -> Result<()> {
        let binary = &self.service.inner.binary;
        if let Some(path) = self.options.prefix.path()
            && let Some(object) = binary.head(&binary.key(path)?).await?
        {
            let seen = SeenObject { size: object.size, mtime: object.mtime, pin: object.pin };
            self.object(path, &seen, sorter).await?;
        }
        let mut listing = Listing::start(binary, binary.dir_key(&self.options.prefix)?.as_ref());
        while let Some(listed) = listing.next().await? {
            match listed {
                Listed::Object(meta) => match binary.prefix.path_of(&meta.location) {
                    Some(Ok(path)) => self.object(&path, &SeenObject::of(&meta), sorter).await?,
                    // Ours, or of another store of the same place.
                    None | Some(Err(PathError::Reserved)) => {}
                    Some(Err(e)) => {
                        self.summary.objects += 1;
                        self.found(&Finding {
                            kind: Kind::BadObject,
                            path: meta.location.to_string(),
                            size: Some(meta.size),
                            detail: e.to_string(),
                        })?;
                    }
                },
                Listed::Bad(bad) => self.found(&Finding {
                    kind: Kind::BadObject,
                    path: bad.path.clone(),
                    size: None,
                    detail: bad.to_string(),
                })?,
            }
        }
        self.progress("objects", self.summary.objects, None)
    }

    async fn object(
        &mut self,
        path: &FilePath,
        seen: &SeenObject,
        sorter: &mut Sorter,
    ) -> Result<()> {
        self.summary.objects += 1;
        self.summary.bytes = self.summary.bytes.saturating_add(seen.size);
        sorter.push(&record::object(path, seen)).await?;
        if self.summary.objects.is_multiple_of(u64::from(PAGE)) {
            self.progress("objects", self.summary.objects, None)?;
        }
        Ok(())
    }
}

/// A listing that fails on everything but bad entries.
pub(super) struct Listing {
    objects: BoxStream<'static, object_store::Result<ObjectMeta>>,
    binary: BinaryStore,
    /// How far it came, below the prefix of the store.
    last: Vec<u8>,
}

/// What a listing shows.
#[derive(Debug)]
pub(super) enum Listed {
    /// An object.
    Object(ObjectMeta),
    /// Something that is none.
    Bad(BadEntry),
}

impl Listing {
    pub(super) fn start(binary: &BinaryStore, below: Option<&object_store::path::Path>) -> Self {
        let objects = binary.store.list(below);
        Self { objects, binary: binary.clone(), last: Vec::new() }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Listed>> {
        loop {
            let next = tokio::time::timeout(self.binary.io_timeout, self.objects.next()).await;
            let Some(item) = next.map_err(|_| self.silent())? else { return Ok(None) };
            match item {
                Ok(meta) => {
                    self.last =
                        unreadable::below(&self.binary.prefix, meta.location.as_ref().as_bytes());
                    return Ok(Some(Listed::Object(meta)));
                }
                Err(e) => match BadEntry::of(&e) {
                    Some(bad) if is_own(bad) => {}
                    Some(bad) => return Ok(Some(Listed::Bad(bad.clone()))),
                    None => return Err(broken(&self.binary, &self.last, e).await),
                },
            }
        }
    }

    fn silent(&self) -> Error {
        let text = format!(
            "the objects of `{}` cannot be listed: no answer in {:?}",
            self.binary.name, self.binary.io_timeout
        );
        Error::new(ErrorKind::TimedOut, text)
    }
}

/// Names the directory that cannot be read: the listing itself tells where it began.
async fn broken(binary: &BinaryStore, last: &[u8], e: object_store::Error) -> Error {
    let e = Error::from(e);
    if e.kind() == ErrorKind::PermissionDenied
        && let Some(found) = unreadable::find(binary, last).await
    {
        return found;
    }
    e.context(format_args!("the objects of `{}` cannot be listed", binary.name))
}

fn is_own(bad: &BadEntry) -> bool {
    bad.raw.split(|b| *b == b'/').next() == Some(RESERVED_SEGMENT.as_bytes())
}
