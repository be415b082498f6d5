//! `TreeLister`: the objects of a binarydata handler.

use ezdfs_core::BadEntry;
use ezdfs_core::{DirPath, Error, ErrorKind, PathError, Result};
use ezdfs_engine::BinaryStore;
use ezdfs_engine::unreadable::{self, below};
use futures::stream::{self, BoxStream, StreamExt as _};
use object_store::ObjectMeta;
use object_store::path::Path as ObjectKey;

use super::{Entry, Listed, Lister, Order};
use crate::position::Spot;

/// Lists the objects of a store. What ezdfs keeps in `.ezdfs/` is not listed.
#[derive(Debug, Clone)]
pub struct TreeLister {
    binary: BinaryStore,
}

impl TreeLister {
    /// Over the objects of a binarydata handler.
    #[must_use]
    pub fn new(binary: BinaryStore) -> Self {
        Self { binary }
    }
}

impl Lister for TreeLister {
    fn walk(&self, after: Option<Vec<u8>>, page: usize) -> BoxStream<'static, Result<Vec<Entry>>> {
        match Walk::start(&self.binary, after, page) {
            Ok(walk) => stream::try_unfold(walk, Walk::next).boxed(),
            Err(e) => stream::iter([Err(e)]).boxed(),
        }
    }
}

struct Walk {
    objects: BoxStream<'static, object_store::Result<ObjectMeta>>,
    binary: BinaryStore,
    after: Option<Vec<u8>>,
    order: Order,
    page: usize,
}

impl Walk {
    fn start(binary: &BinaryStore, after: Option<Vec<u8>>, page: usize) -> Result<Self> {
        let prefix = binary.dir_key(&DirPath::root())?;
        let store = &binary.store;
        let objects = match after.as_deref().and_then(|p| offset(prefix.as_ref(), p)) {
            Some(offset) => store.list_with_offset(prefix.as_ref(), &offset),
            None => store.list(prefix.as_ref()),
        };
        Ok(Self {
            objects,
            binary: binary.clone(),
            order: Order::after(after.clone()),
            after,
            page: page.max(1),
        })
    }

    async fn next(mut self) -> Result<Option<(Vec<Entry>, Self)>> {
        let mut found = Vec::new();
        while found.len() < self.page {
            let wait = self.binary.io_timeout;
            let next = tokio::time::timeout(wait, self.objects.next()).await.map_err(|_| {
                Error::new(
                    ErrorKind::TimedOut,
                    format!("listing `{}`: no answer in {wait:?}", self.binary.name),
                )
            })?;
            let Some(item) = next else { break };
            let listed = match self.listed(item) {
                Err(e) if e.kind() == ErrorKind::PermissionDenied => {
                    let found = unreadable::find(&self.binary, self.order.last()).await;
                    return Err(found.unwrap_or(e));
                }
                done => done?,
            };
            let Some(listed) = listed else { continue };
            let spot = listed.spot();
            // The offset of the listing can lie before the position, see `offset`.
            if self.after.as_ref().is_some_and(|after| spot.position() <= *after) {
                continue;
            }
            self.after = None;
            self.order.check(&spot)?;
            found.push(Entry { listed, position: Some(spot.position()) });
        }
        Ok((!found.is_empty()).then_some((found, self)))
    }

    fn listed(&self, item: object_store::Result<ObjectMeta>) -> Result<Option<Listed>> {
        let keys = &self.binary.prefix;
        match item {
            Ok(object) => Ok(match keys.path_of(&object.location) {
                // Staging and limbo of ezdfs, or not of this store.
                None | Some(Err(PathError::Reserved)) => None,
                Some(Ok(path)) => Some(Listed::File(path)),
                Some(Err(why)) => {
                    let raw = below(keys, object.location.as_ref().as_bytes());
                    let spot = Spot { raw, subtree: false };
                    Some(Listed::Bad { spot, why: why.to_string() })
                }
            }),
            Err(e) => match BadEntry::of(&e) {
                Some(bad) => {
                    let spot = Spot { raw: below(keys, &bad.raw), subtree: bad.subtree };
                    Ok(Some(Listed::Bad { spot, why: bad.to_string() }))
                }
                None => Err(Error::from(e).context(format_args!("listing `{}`", self.binary.name))),
            },
        }
    }
}

/// A key at or before the position, to list from: a position can be bytes that are no key, then
/// the longest beginning of it that is one. `None`: list from the start.
fn offset(prefix: Option<&ObjectKey>, position: &[u8]) -> Option<ObjectKey> {
    let text = position.utf8_chunks().next()?.valid();
    let full = match prefix {
        Some(prefix) => format!("{prefix}/{text}"),
        None => text.to_owned(),
    };
    let mut rest = full.as_str();
    loop {
        // `parse` would take outer slashes off without a word.
        match ObjectKey::parse(rest) {
            Ok(key) if !rest.is_empty() && key.as_ref() == rest => return Some(key),
            _ => rest = rest.get(..rest.rfind('/')?)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_never_lies_behind_the_position() {
        let text = |p: &[u8]| offset(None, p).map(|k| k.to_string());
        assert_eq!(text(b"images/a.jpg").as_deref(), Some("images/a.jpg"));
        assert_eq!(text(b"images/").as_deref(), Some("images"));
        assert_eq!(text(b"images/caf\xe9.jpg").as_deref(), Some("images/caf"));
        assert_eq!(text(b"images/\xe9.jpg").as_deref(), Some("images"));
        assert_eq!(text(b"\xe9.jpg"), None);
        assert_eq!(text(b"a//b/c").as_deref(), Some("a"));
        let prefix = ObjectKey::parse("p/q").unwrap();
        assert_eq!(offset(Some(&prefix), b"\xe9").map(|k| k.to_string()).as_deref(), Some("p/q"));
    }
}
