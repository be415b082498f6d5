//! Sides over temporary directories, and what is compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ezdfs_binarydata::{LocalOptions, LocalStore, ObjectsMetadata, Opened};
use ezdfs_core::{
    Capabilities, DirPath, FilePath, KeyPrefix, MetadataStore, NamePrefix, OsEntropy, SystemClock,
};
use ezdfs_engine::{BinaryStore, FileService, Parts};
use ezdfs_metadata::{MemoryMetadata, SqliteMetadata, SqliteOptions};
use ezdfs_migrate::{
    Counts, End, FileDone, Migration, Options, Place, Places, Progress, Side, SidePair, Summary,
};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use tempfile::TempDir;

use crate::spy::{Spy, Watch};

pub(crate) const PREFIX: &str = "var/site/storage";

/// A store of bytes, watched.
#[derive(Debug, Clone)]
pub(crate) struct Bytes {
    pub(crate) opened: Opened,
    pub(crate) watch: Arc<Watch>,
    pub(crate) root: Option<PathBuf>,
}

/// Where everything of a test lies.
pub(crate) struct Bench {
    pub(crate) dir: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A local store in a directory of that name.
    pub(crate) fn local(&self, name: &str) -> Bytes {
        let options = LocalOptions { fsync: false, create_root: true, ..LocalOptions::default() };
        let local = Arc::new(LocalStore::open(self.at(name), options).unwrap());
        let watch = Arc::new(Watch::default());
        let spy = Spy { inner: local.clone(), watch: watch.clone() };
        let opened = Opened::new(Arc::new(spy), KeyPrefix::default(), Capabilities::LOCAL);
        let opened = Opened { local: Some(local), ..opened };
        Bytes { opened, watch, root: Some(self.at(name)) }
    }

    /// A cloud with attributes and a key prefix.
    pub(crate) fn cloud(prefix: &str) -> Bytes {
        let watch = Arc::new(Watch::default());
        let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let store = Arc::new(Spy { inner, watch: watch.clone() });
        let prefix = KeyPrefix::new(prefix).unwrap();
        let opened = Opened::new(store, prefix, Capabilities::MEMORY);
        Bytes { opened, watch, root: None }
    }

    pub(crate) async fn sqlite(&self, name: &str) -> Arc<dyn MetadataStore> {
        let options = SqliteOptions { prefix: NamePrefix::new(PREFIX), ..SqliteOptions::default() };
        let file = self.at(name);
        Arc::new(SqliteMetadata::open(&file, options, Arc::new(SystemClock)).await.unwrap())
    }

    /// Options with a journal of this bench, and no waiting.
    pub(crate) fn options(&self) -> Options {
        Options {
            journal: Some(self.at("state/journal")),
            report: Some(self.at("report")),
            retry_pauses: vec![Duration::from_millis(1)],
            ..Options::default()
        }
    }

    /// The combined report: path to symbol; fails on two lines for one file.
    pub(crate) fn report(&self) -> BTreeMap<String, char> {
        let mut lines = BTreeMap::new();
        for line in fs::read_to_string(self.at("report")).unwrap().lines() {
            let (symbol, path) = line.split_once(' ').unwrap();
            let old = lines.insert(path.to_owned(), symbol.chars().next().unwrap());
            assert_eq!(old, None, "{path} is reported twice");
        }
        lines
    }
}

pub(crate) fn memory() -> Arc<dyn MetadataStore> {
    Arc::new(MemoryMetadata::new(NamePrefix::new(PREFIX), Arc::new(SystemClock)))
}

pub(crate) fn derived(bytes: &Bytes) -> Arc<dyn MetadataStore> {
    let names = NamePrefix::new(PREFIX);
    Arc::new(ObjectsMetadata::new(&bytes.opened, names, Arc::new(SystemClock)))
}

pub(crate) fn service(metadata: Arc<dyn MetadataStore>, bytes: &Bytes) -> FileService {
    let parts = Parts {
        metadata,
        binary: BinaryStore {
            name: "bytes".to_owned(),
            store: bytes.opened.store.clone(),
            prefix: bytes.opened.prefix.clone(),
            capabilities: bytes.opened.capabilities,
            side: bytes.opened.side.clone(),
            io_timeout: Duration::from_secs(20),
        },
        clock: Arc::new(SystemClock),
        entropy: Arc::new(OsEntropy),
    };
    // Short leases: what a dropped run held is free again at once.
    let options = ezdfs_engine::Options {
        lease: Duration::from_millis(1000),
        step_timeout: Duration::from_millis(600),
        settle: Duration::from_millis(1),
        io_timeout: Duration::from_secs(20),
        ..ezdfs_engine::Options::default()
    };
    FileService::new(parts, options)
}

pub(crate) fn side(pair: &str, metadata: &Arc<dyn MetadataStore>, bytes: &Bytes) -> Side {
    Side {
        pair: SidePair::parse(End::Source, pair).unwrap(),
        service: service(metadata.clone(), bytes),
        places: Places { rows: None, bytes: bytes.root.clone().map(Place::Directory) },
    }
}

/// Collects what a run tells.
#[derive(Debug, Default)]
pub(crate) struct Told(pub(crate) Mutex<Vec<FileDone>>);

impl Progress for Told {
    fn finished(&self, file: &FileDone, _: &Counts) {
        self.0.lock().unwrap().push(file.clone());
    }
}

pub(crate) async fn run(source: &Side, target: &Side, options: &Options) -> Summary {
    let migration = Migration::new(source.clone(), target.clone(), options.clone()).await.unwrap();
    migration.run().await.unwrap()
}

pub(crate) fn write(root: &Path, path: &str, bytes: impl AsRef<[u8]>) {
    let at = root.join(path);
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    fs::write(at, bytes).unwrap();
}

/// A small site with awkward names, a file of more than one part, and an empty one. Says the paths.
pub(crate) fn site(root: &Path) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for n in 0..12 {
        paths.insert(format!("images/{}/{n}/605-1-eng-GB/picture-{n}.jpg", n % 3));
    }
    for awkward in [
        "images/a b.jpg",
        "images/caf\u{e9} \u{1f600}.png",
        "images/100%.jpg",
        "images/x#1?.gif",
        "images/it's \"quoted\".svg",
        "images/back\\slash.png",
        "images/a.b/c",
        "images/a/b",
        "images/_aliases/large/a b.jpg",
        "original/application/0123456789abcdef.pdf",
        "x",
    ] {
        paths.insert(awkward.to_owned());
    }
    for path in &paths {
        write(root, path, format!("bytes of {path}"));
    }
    let big: Vec<u8> = (0..700_000_u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
    write(root, "original/video/big.mp4", big);
    write(root, "original/empty.txt", "");
    paths.extend(["original/video/big.mp4".to_owned(), "original/empty.txt".to_owned()]);
    paths
}

/// Every file below a directory with its bytes; without `.ezdfs` unless `own`.
pub(crate) fn files(root: &Path, own: bool) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() == ".ezdfs" && !own {
                continue;
            }
            let name = entry.path().strip_prefix(root).unwrap().to_string_lossy().into_owned();
            if entry.file_type().unwrap().is_dir() {
                found.insert(format!("{name}/"), Vec::new());
                dirs.push(entry.path());
            } else if entry.file_type().unwrap().is_file() {
                found.insert(name, fs::read(entry.path()).unwrap());
            }
        }
    }
    found.retain(|name, _| own || !name.ends_with('/'));
    found
}

/// Everything that a table says of its files.
pub(crate) async fn rows(metadata: &Arc<dyn MetadataStore>) -> BTreeMap<String, String> {
    let page = metadata.scan(&DirPath::root(), None, 100_000).await.unwrap();
    assert_eq!(page.next, None);
    page.rows
        .into_iter()
        .map(|row| match row {
            Ok((path, record)) => (path.to_string(), format!("{record:?}")),
            Err(base) => (base.name.clone(), format!("{base:?}")),
        })
        .collect()
}

pub(crate) fn path(text: &str) -> FilePath {
    text.parse().unwrap()
}

pub(crate) async fn read(service: &FileService, text: &str) -> Vec<u8> {
    use futures::TryStreamExt as _;
    let (_, body) = service.open_whole(&path(text)).await.unwrap();
    body.try_fold(Vec::new(), |mut all, bytes| async move {
        all.extend_from_slice(&bytes);
        Ok(all)
    })
    .await
    .unwrap()
}

/// Publishes a file through a service.
pub(crate) async fn publish(service: &FileService, text: &str, bytes: &str) {
    let body = futures::stream::iter([Ok(bytes::Bytes::from(bytes.to_owned()))]);
    service.publish(&path(text), body, ezdfs_engine::PublishOptions::default()).await.unwrap();
}
