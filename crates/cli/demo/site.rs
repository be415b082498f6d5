//! The sample site, carried in the binary, and unpacking it.

use std::fs;
use std::io::ErrorKind as Io;
use std::path::Path;

use ezdfs_core::{Error, Result};
use include_dir::{Dir, DirEntry, include_dir};

use crate::stream::io_kind;

/// The storage tree of examples/site.
static SITE: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/examples/site/var/site/storage");

/// Paths to look at: an original, a draft, a variation, and names that need care in a URL.
pub(super) const SHOWN: [&str; 5] = [
    "images/5/0/6/0/605-1-eng-GB/c02e6138c658-harbour-at-dawn.png",
    "images/_aliases/medium/2/4/0/1/1042-3-eng-GB/648ce3183605-market-square.jpg.webp",
    "images-versioned/1043/2-eng-GB/85820ded60fa-lighthouse-draft.png",
    "images/import/Grüße aus Köln.png",
    "images/import/100%.jpg",
];

/// Writes every file of the site below `root`. A file that is there with the same bytes is left
/// alone, so that its time does not change and a second migration finds nothing to do. Blocks.
///
/// # Errors
/// What the file system says.
pub(super) fn unpack(root: &Path) -> Result<()> {
    unpack_dir(&SITE, root)
}

fn unpack_dir(dir: &Dir<'_>, root: &Path) -> Result<()> {
    for entry in dir.entries() {
        let path = root.join(entry.path());
        match entry {
            DirEntry::Dir(dir) => unpack_dir(dir, root)?,
            DirEntry::File(file) => write(&path, file.contents()).map_err(|e| {
                let what = format!("cannot unpack the sample site to {}", path.display());
                Error::new(io_kind(&e), what).with_source(e)
            })?,
        }
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    match fs::read(path) {
        Ok(present) if present == bytes => return Ok(()),
        Ok(_) => {}
        Err(e) if e.kind() == Io::NotFound => {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
        }
        Err(e) => return Err(e),
    }
    fs::write(path, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_part_of_the_site() {
        for path in SHOWN {
            assert!(SITE.get_file(path).is_some(), "{path}");
        }
    }

    #[test]
    fn unpacking_again_touches_only_what_differs() {
        let root = tempfile::tempdir().unwrap();
        unpack(root.path()).unwrap();
        let [kept, spoilt] = [0, 1].map(|i| root.path().join(SHOWN[i]));
        let time = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
        let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        let file = fs::File::options().append(true).open(&kept).unwrap();
        file.set_modified(old).unwrap();
        fs::write(&spoilt, "spoilt").unwrap();
        unpack(root.path()).unwrap();
        assert_eq!(time(&kept), old);
        assert_eq!(fs::read(&spoilt).unwrap(), SITE.get_file(SHOWN[1]).unwrap().contents());
    }
}
