//! What goes wrong in a store.

use std::sync::Arc;

use ezdfs_core::SeededEntropy;
use ezdfs_engine::{BinaryStore, FileService, Parts};
use object_store::ObjectStoreExt as _;
use object_store::path::Path as ObjectKey;

use super::cut_listing::CutListing;
use super::{World, fresh_seed};

impl World {
    /// Takes an object away, as a person with a shell does.
    pub(crate) async fn remove_object(&self, at: &str) {
        self.objects.delete(&ObjectKey::parse(at).unwrap()).await.unwrap();
    }

    /// Changes bytes of a local file behind everybody's back: size, mtime and inode stay.
    pub(crate) fn rot(&self, at: &str, bytes: &str) {
        use std::io::Write as _;
        let file = self.local_root().join(at);
        let mut file = std::fs::File::options().write(true).open(file).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        file.write_all(bytes.as_bytes()).unwrap();
        file.set_modified(modified).unwrap();
    }

    /// Where the objects of a local store lie.
    pub(crate) fn local_root(&self) -> std::path::PathBuf {
        assert!(self.backend.local);
        self.dir.path().join("files")
    }

    /// A process whose listings break off after `n` objects.
    pub(crate) fn with_listing_cut_after(&self, n: usize) -> FileService {
        self.with_cut_listing(n, None)
    }

    /// A process that may not read a directory; its listings come to it after `n` objects.
    pub(crate) fn without_right_to_read(&self, dir: &str, n: usize) -> FileService {
        self.with_cut_listing(n, Some(ObjectKey::parse(dir).unwrap()))
    }

    fn with_cut_listing(&self, after: usize, denied: Option<ObjectKey>) -> FileService {
        let service = self.calm();
        let store = Arc::new(CutListing { inner: self.objects.clone(), after, denied });
        let parts = Parts {
            metadata: self.metadata.clone(),
            binary: BinaryStore { store, ..service.binary().clone() },
            clock: Arc::new(self.clock.clone()),
            entropy: Arc::new(SeededEntropy::new(fresh_seed())),
        };
        FileService::new(parts, self.options)
    }

    /// What `cp -a` makes of the tree: every file is another one with the same bytes and times.
    pub(crate) fn restore_tree(&self) {
        let mut dirs = vec![self.local_root()];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let entry = entry.unwrap();
                let at = entry.path();
                if entry.file_name() == ".ezdfs" {
                    continue;
                }
                if entry.file_type().unwrap().is_dir() {
                    dirs.push(at);
                    continue;
                }
                let copy = at.with_extension("copy");
                let modified = entry.metadata().unwrap().modified().unwrap();
                std::fs::write(&copy, std::fs::read(&at).unwrap()).unwrap();
                std::fs::File::options()
                    .write(true)
                    .open(&copy)
                    .unwrap()
                    .set_modified(modified)
                    .unwrap();
                std::fs::rename(&copy, &at).unwrap();
            }
        }
    }
}
