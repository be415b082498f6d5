//! Which directory made a listing fail.

use ezdfs_core::{DirPath, Error, ErrorKind, KeyPrefix, Result};
use object_store::path::Path as ObjectKey;

use crate::binary::BinaryStore;

/// Most directories that are looked at.
const LIMIT: usize = 10_000;

/// An error of a whole listing names the directory where the listing began. This goes on from
/// `after`, the last position that was listed, one directory after the other, and gives an error
/// that names the first one that cannot be read; `None` if there is none, or if it is the root.
pub async fn find(binary: &BinaryStore, after: &[u8]) -> Option<Error> {
    let root = binary.dir_key(&DirPath::root()).ok()?;
    let mut ahead = subdirectories(binary, root.as_ref(), after).await?.ok()?;
    for _ in 0..LIMIT {
        let dir = ahead.pop()?;
        match subdirectories(binary, Some(&dir), after).await? {
            Ok(more) => ahead.extend(more),
            Err(e) if e.kind() == ErrorKind::PermissionDenied => {
                let path = below(&binary.prefix, dir.as_ref().as_bytes());
                return Some(Error::new(
                    ErrorKind::PermissionDenied,
                    format!(
                        "the directory `{}` of `{}` cannot be read, so its files are not known: \
                         give the user who runs this command the right to read and to enter it, \
                         then run the command again",
                        String::from_utf8_lossy(&path),
                        binary.name
                    ),
                ));
            }
            Err(_) => return None,
        }
    }
    None
}

/// The key without the prefix of the store.
#[must_use]
pub fn below(keys: &KeyPrefix, raw: &[u8]) -> Vec<u8> {
    let prefix = match keys.dir_key(&DirPath::root(), usize::MAX) {
        Ok(Some(prefix)) => format!("{prefix}/"),
        _ => String::new(),
    };
    raw.strip_prefix(prefix.as_bytes()).unwrap_or(raw).to_vec()
}

/// The directories in one directory that do not lie before `after` as a whole, the first one last.
/// `None` without an answer in time.
async fn subdirectories(
    binary: &BinaryStore,
    dir: Option<&ObjectKey>,
    after: &[u8],
) -> Option<Result<Vec<ObjectKey>>> {
    let listing = binary.store.list_with_delimiter(dir);
    let listing = tokio::time::timeout(binary.io_timeout, listing).await.ok()?;
    Some(listing.map_err(Error::from).map(|found| {
        let mut dirs = found.common_prefixes;
        dirs.retain(|dir| {
            let mut start = below(&binary.prefix, dir.as_ref().as_bytes());
            start.push(b'/');
            start.as_slice() > after || after.starts_with(&start)
        });
        dirs.sort_unstable_by_key(|dir| std::cmp::Reverse(format!("{dir}/")));
        dirs
    }))
}
