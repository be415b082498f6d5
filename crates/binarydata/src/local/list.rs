//! Listing: a walk in the order of the bytes of the keys, with bounded memory.
//!
//! The walk holds the names of one directory per level and one open directory per level. Bad
//! entries come in their place, one by one; any other error ends the listing.

use std::sync::Arc;

use ezdfs_core::path::RESERVED_SEGMENT;
use futures::stream::{self, BoxStream, StreamExt as _};
use object_store::path::Path as ObjectKey;
use object_store::{Extensions, ListResult, ObjectMeta};
use rustix::io::Errno;

use super::blocking;
use super::disk::Disk;
use super::fault::{Doing, Fault, STORE};
use super::folder::{Folder, Visit, link_on_the_way};
use ezdfs_core::{BadEntries, BadEntry};

/// Objects per thread hop.
const BATCH: usize = 256;

/// An object, or what stands in the place of one.
pub(super) type Found = Result<ObjectMeta, BadEntry>;

/// A walk below one directory.
#[derive(Debug)]
pub(super) struct Walk {
    disk: Arc<Disk>,
    prefix: String,
    offset: Vec<u8>,
    /// Whether the walk goes through `.ezdfs`.
    own: bool,
    started: bool,
    stack: Vec<Folder>,
}

/// Whether a listing below `prefix` is one of ezdfs's own folder.
pub(super) fn is_own(prefix: &str) -> bool {
    prefix.split('/').next() == Some(RESERVED_SEGMENT)
}

impl Walk {
    /// All objects below `prefix` (empty for the root) whose keys come after `offset`.
    pub(super) fn new(disk: Arc<Disk>, prefix: &str, offset: &str) -> Self {
        Self {
            disk,
            prefix: prefix.to_owned(),
            offset: offset.as_bytes().to_vec(),
            own: is_own(prefix),
            started: false,
            stack: Vec::new(),
        }
    }

    /// The objects as object_store lists them.
    pub(super) fn into_stream(self) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        stream::try_unfold(self, |mut walk| async move {
            let doing = Doing::write("list", format!("{}/", walk.prefix));
            blocking(doing, move || {
                let batch = walk.batch()?;
                Ok((!batch.is_empty()).then_some((batch, walk)))
            })
            .await
        })
        .flat_map(|batch| match batch {
            Ok(found) => stream::iter(found.into_iter().map(item).collect::<Vec<_>>()),
            Err(e) => stream::iter(vec![Err(e)]),
        })
        .boxed()
    }

    /// The next objects; none at the end.
    fn batch(&mut self) -> Result<Vec<Found>, Fault> {
        let mut batch = Vec::new();
        if !self.started {
            self.started = true;
            match self.enter(self.prefix.clone()) {
                Err(Fault::Os(Errno::LOOP)) => {
                    batch.push(Err(link_on_the_way(&self.disk, &self.prefix)));
                }
                done => done?,
            }
        }
        while batch.len() < BATCH {
            let Some(folder) = self.stack.last_mut() else { break };
            let Some(item) = folder.items.next() else {
                self.stack.pop();
                continue;
            };
            match folder.visit(&item)? {
                Visit::Gone => {}
                Visit::Bad(bad) => batch.push(Err(bad)),
                Visit::File(name, identity) => {
                    let key = ObjectKey::parse(format!("{}{name}", folder.prefix))
                        .map_err(object_store::Error::from)?;
                    batch.push(Ok(identity.meta(key)));
                }
                Visit::Directory(name) => {
                    let key = format!("{}{name}", folder.prefix);
                    match self.enter(key.clone()) {
                        // A link took the place of the directory.
                        Err(Fault::Os(Errno::LOOP)) => {
                            batch.push(Err(link_on_the_way(&self.disk, &key)));
                        }
                        done => done?,
                    }
                }
            }
        }
        Ok(batch)
    }

    fn enter(&mut self, key: String) -> Result<(), Fault> {
        if let Some(mut folder) = Folder::open(&self.disk, &key, self.own)? {
            folder.skip_to(&self.offset);
            self.stack.push(folder);
        }
        Ok(())
    }
}

fn item(found: Found) -> object_store::Result<ObjectMeta> {
    found.map_err(|bad| bad.into_error(STORE))
}

impl Disk {
    /// One directory: its objects, and its directories as common prefixes, empty ones included.
    pub(super) fn list_one(&self, prefix: &str) -> Result<ListResult, Fault> {
        let (mut objects, mut common_prefixes, mut bad) = (Vec::new(), Vec::new(), Vec::new());
        match Folder::open(self, prefix, is_own(prefix)) {
            Err(Fault::Os(Errno::LOOP)) => bad.push(link_on_the_way(self, prefix)),
            Err(fault) => return Err(fault),
            Ok(None) => {}
            Ok(Some(mut folder)) => {
                while let Some(item) = folder.items.next() {
                    let key = |name: &str| {
                        ObjectKey::parse(format!("{}{name}", folder.prefix))
                            .map_err(object_store::Error::from)
                    };
                    match folder.visit(&item)? {
                        Visit::Gone => {}
                        Visit::Bad(entry) => bad.push(entry),
                        Visit::File(name, identity) => objects.push(identity.meta(key(&name)?)),
                        Visit::Directory(name) => common_prefixes.push(key(&name)?),
                    }
                }
            }
        }
        let mut extensions = Extensions::default();
        if !bad.is_empty() {
            extensions.insert(BadEntries(bad));
        }
        Ok(ListResult { common_prefixes, objects, extensions })
    }
}
