//! Tests of what only the local store promises, over real files.

mod containment;
mod listing;
mod reading;
mod sweeping;
mod writing;

use std::path::PathBuf;
use std::sync::Arc;

use ezdfs_core::{Error, ErrorKind};
use ezdfs_testkit::object_store_suite::key;
use object_store::ObjectStoreExt as _;

use super::disk::Disk;
use super::resolve::Resolver;
use super::{LocalOptions, LocalStore};

/// A store in a temporary directory.
struct Local {
    store: LocalStore,
    root: PathBuf,
    _dir: tempfile::TempDir,
}

impl Local {
    fn new() -> Self {
        Self::with(LocalOptions::default(), None)
    }

    fn with(options: LocalOptions, resolver: Option<Resolver>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Beside the root there is room for things that must not be reached.
        let root = dir.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let store = LocalStore::on(Disk::open(&root, options, resolver).unwrap());
        Self { store, root, _dir: dir }
    }

    /// One store for each way to resolve keys.
    fn both() -> [Self; 2] {
        [Resolver::Kernel, Resolver::Stepwise]
            .map(|resolver| Self::with(LocalOptions::default(), Some(resolver)))
    }

    async fn put(&self, at: &str, bytes: impl Into<object_store::PutPayload>) -> String {
        self.store.put(&key(at), bytes.into()).await.unwrap().e_tag.unwrap()
    }

    fn staged(&self) -> Vec<PathBuf> {
        files(&self.root.join(".ezdfs/staging"))
    }

    /// A staged file is removed on another thread when an upload is dropped.
    async fn staging_runs_empty(&self) {
        for _ in 0..500 {
            if self.staged().is_empty() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("left in staging: {:?}", self.staged());
    }

    fn disk(&self) -> &Arc<Disk> {
        &self.store.disk
    }
}

/// What lies in a directory; nothing if it does not exist yet.
fn files(dir: &std::path::Path) -> Vec<PathBuf> {
    match std::fs::read_dir(dir) {
        Ok(entries) => entries.map(|e| e.unwrap().path()).collect(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => panic!("{}: {e}", dir.display()),
    }
}

fn kind(error: object_store::Error) -> ErrorKind {
    Error::from(error).kind()
}

/// Runs one test again in a process of its own, prepared by `prepare`.
fn again(test: &str, root: &std::path::Path, prepare: impl FnOnce(&mut std::process::Command)) {
    let mut child = std::process::Command::new("/bin/sh");
    child.env(CHILD, root).arg("-c");
    prepare(&mut child);
    let program = std::env::current_exe().unwrap();
    child.arg(program).args(["--exact", "--nocapture", test]);
    let done = child.output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && text.contains("1 passed"), "{done:?}");
}

/// Names the root to a child of [`again`].
const CHILD: &str = "EZDFS_TEST_ROOT";
