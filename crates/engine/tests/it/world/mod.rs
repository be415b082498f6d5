//! A store of its own for each test: two handlers, a clock, a foreign writer, and what must be
//! true of it at the end.
//!
//! | file | subject |
//! |---|---|
//! | `files` | paths, puts and reads |
//! | `state` | what is in it, and what must be true of it at the end |
//! | `foreign` | what PHP does |
//! | `cloud` | clouds behind the real client |
//! | `broken`, `cut_listing` | what goes wrong in a store |

mod broken;
mod cloud;
mod cut_listing;
mod files;
mod foreign;
mod state;

pub(crate) use cloud::Cloud;
pub(crate) use files::{collect, is_retryable, path, put, put_with, read, sha256};

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ezdfs_binarydata::{LocalOptions, LocalStore};
use ezdfs_cache::{self as file_cache, FileCache};
use ezdfs_core::{
    Capabilities, Clock, CloudSide, Conditions, Error, KeyPrefix, MetadataStore, NamePrefix,
    SeededEntropy, Timestamp,
};
use ezdfs_engine::{BinaryStore, FileService, Options, Parts};
use ezdfs_metadata::{MemoryMetadata, SqliteMetadata, SqliteOptions};
use ezdfs_testkit::faults::{FaultyMetadata, FaultyObjects, Plan, StampedObjects, TickingClock};
use ezdfs_testkit::{FakeCloud, ForeignWriter, SqliteForeignWriter};
use futures::future::BoxFuture;
use object_store::ObjectStore;
use object_store::memory::InMemory;

use cloud::Started;

/// What stands before each path in the table.
pub(crate) const PREFIX: &str = "var/site/storage";
const TABLE: &str = "ezdfsfile";
/// The file of the embedded default.
const DATABASE: &str = "ezdfs.db";
/// What the clock shows at the start, in Unix seconds.
pub(crate) const START: i64 = 1_700_000_000;

/// A pair of handlers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backend {
    pub(crate) sqlite: bool,
    pub(crate) local: bool,
    /// Nodes read through one file cache on disk.
    pub(crate) cached: bool,
    /// A cloud behind the real client.
    pub(crate) cloud: Option<Cloud>,
}

pub(crate) const MEMORY: Backend =
    Backend { sqlite: false, local: false, cached: false, cloud: None };
pub(crate) const MEMORY_LOCAL: Backend = Backend { local: true, ..MEMORY };
pub(crate) const SQLITE_CLOUD: Backend = Backend { sqlite: true, ..MEMORY };
pub(crate) const SQLITE_LOCAL: Backend = Backend { local: true, ..SQLITE_CLOUD };
pub(crate) const MEMORY_CACHED: Backend = Backend { cached: true, ..MEMORY };
pub(crate) const SQLITE_CACHED: Backend = Backend { cached: true, ..SQLITE_CLOUD };
/// S3, with conditions that are honoured.
pub(crate) const SQLITE_S3: Backend = Backend { cloud: Some(Cloud::Honours), ..SQLITE_CLOUD };
/// S3, with conditions that are accepted and ignored.
pub(crate) const SQLITE_CARELESS_S3: Backend =
    Backend { cloud: Some(Cloud::Ignores), ..SQLITE_CLOUD };
/// S3 on a real server, whose etags are the same for the same bytes. Tests ask for one first.
pub(crate) const SQLITE_S3_SERVER: Backend =
    Backend { cloud: Some(Cloud::ServerHonours), ..SQLITE_CLOUD };
/// The same as if it ignored conditions.
pub(crate) const SQLITE_CARELESS_S3_SERVER: Backend =
    Backend { cloud: Some(Cloud::ServerIgnores), ..SQLITE_CLOUD };

/// Visible files: path to bytes and expiry.
pub(crate) type Files = BTreeMap<String, (Bytes, Option<Timestamp>)>;

/// An operation, as one function for every test that does something to it.
pub(crate) type Run = for<'a> fn(&'a FileService, &'a World) -> BoxFuture<'a, Result<(), Error>>;

/// Makes a [`Run`] of an expression.
macro_rules! run {
    (|$service:ident, $world:ident| $body:expr) => {
        |$service, $world| {
            Box::pin(async move {
                let _ = ($service, $world);
                $body;
                Ok(())
            })
        }
    };
}
pub(crate) use run;

pub(crate) struct World {
    pub(crate) clock: TickingClock,
    pub(crate) metadata: Arc<dyn MetadataStore>,
    pub(crate) objects: Arc<StampedObjects>,
    pub(crate) foreign: Arc<dyn ForeignWriter>,
    pub(crate) options: Options,
    pub(crate) backend: Backend,
    cloud: Option<Started>,
    dir: tempfile::TempDir,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.backend.fmt(f)
    }
}

/// Options of the tests: those of the configuration, but waits are short.
pub(crate) fn options() -> Options {
    Options { io_timeout: Duration::from_millis(2), ..Options::default() }
}

impl World {
    pub(crate) async fn new(backend: Backend, options: Options) -> Self {
        let dir = scratch();
        let clock = TickingClock::at(Timestamp::from_secs(START));
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let prefix = NamePrefix::new(PREFIX);
        let (metadata, foreign): (Arc<dyn MetadataStore>, Arc<dyn ForeignWriter>) =
            if backend.sqlite {
                let file = dir.path().join(DATABASE);
                let with = SqliteOptions { prefix, ..SqliteOptions::default() };
                let store = SqliteMetadata::open(&file, with, shared.clone()).await.unwrap();
                let foreign = SqliteForeignWriter::connect(&file, TABLE).await;
                (Arc::new(store), Arc::new(foreign))
            } else {
                let store = MemoryMetadata::new(prefix, shared.clone());
                let foreign = store.foreign();
                (Arc::new(store), Arc::new(foreign))
            };
        let cloud = match backend.cloud {
            Some(cloud) => Some(cloud.start().await),
            None => None,
        };
        let store: Arc<dyn ObjectStore> = if backend.local {
            let root = dir.path().join("files");
            std::fs::create_dir(&root).unwrap();
            let with = LocalOptions { fsync: false, ..LocalOptions::default() };
            Arc::new(LocalStore::open(&root, with).unwrap())
        } else if let Some(cloud) = &cloud {
            cloud.opened.store.clone()
        } else {
            Arc::new(InMemory::new())
        };
        let objects = Arc::new(StampedObjects::new(store, shared));
        Self { clock, metadata, objects, foreign, options, backend, cloud, dir }
    }

    /// A process whose calls follow a plan.
    pub(crate) fn node(&self, plan: &Plan) -> FileService {
        let capabilities = match (self.backend.local, self.backend.cloud) {
            (true, _) => Capabilities::LOCAL,
            (false, None) => Capabilities::MEMORY,
            (false, Some(cloud)) => cloud.capabilities(),
        };
        let service = FileService::new(
            Parts {
                metadata: Arc::new(FaultyMetadata::new(self.metadata.clone(), plan.clone())),
                binary: BinaryStore {
                    name: "test".to_owned(),
                    store: Arc::new(FaultyObjects::new(self.objects.clone(), plan.clone())),
                    prefix: KeyPrefix::default(),
                    capabilities,
                    side: self.side(),
                    io_timeout: Duration::from_secs(30),
                },
                clock: Arc::new(self.clock.clone()),
                entropy: Arc::new(SeededEntropy::new(fresh_seed())),
            },
            self.options,
        );
        if self.backend.cached { service.with_file_cache(self.file_cache()) } else { service }
    }

    /// The fake cloud.
    pub(crate) fn fake(&self) -> &FakeCloud {
        self.cloud.as_ref().and_then(|cloud| cloud.fake.as_ref()).unwrap()
    }

    fn side(&self) -> CloudSide {
        self.cloud.as_ref().map_or_else(CloudSide::default, |cloud| cloud.opened.side.clone())
    }

    /// A process whose store was away when it started.
    pub(crate) fn unprobed(&self, plan: &Plan) -> FileService {
        let service = self.node(plan);
        let mut binary = service.binary().clone();
        binary.capabilities.conditions = Conditions::NONE;
        let parts = Parts {
            metadata: self.metadata.clone(),
            binary,
            clock: Arc::new(self.clock.clone()),
            entropy: Arc::new(SeededEntropy::new(fresh_seed())),
        };
        FileService::new(parts, self.options)
    }

    /// The cache on disk, as each process opens it.
    pub(crate) fn file_cache(&self) -> FileCache {
        let options =
            file_cache::Options { dir: self.dir.path().join("cache"), size: 1 << 30, min_free: 0 };
        let entropy = Arc::new(SeededEntropy::new(fresh_seed()));
        FileCache::new(options, Arc::new(self.clock.clone()), entropy)
    }

    /// A process whose store ignores `If-Match`.
    pub(crate) fn on_a_careless_store(&self) -> FileService {
        let service = self.calm();
        let binary =
            BinaryStore { store: Arc::new(self.objects.careless()), ..service.binary().clone() };
        let parts = Parts {
            metadata: self.metadata.clone(),
            binary,
            clock: Arc::new(self.clock.clone()),
            entropy: Arc::new(SeededEntropy::new(fresh_seed())),
        };
        let service = FileService::new(parts, self.options);
        if self.backend.cached { service.with_file_cache(self.file_cache()) } else { service }
    }

    /// A process whose store follows a plan, and whose database is well.
    pub(crate) fn on_a_store(&self, plan: &Plan) -> FileService {
        let service = self.node(plan);
        let parts = Parts {
            metadata: self.metadata.clone(),
            binary: service.binary().clone(),
            clock: Arc::new(self.clock.clone()),
            entropy: Arc::new(SeededEntropy::new(fresh_seed())),
        };
        FileService::new(parts, self.options).with_file_cache(self.file_cache())
    }

    /// A process whose database follows a plan, and whose store is well.
    pub(crate) fn on_a_database(&self, plan: &Plan) -> FileService {
        self.on(Arc::new(FaultyMetadata::new(self.metadata.clone(), plan.clone())))
    }

    /// A process on that database, whose store is well.
    pub(crate) fn on(&self, metadata: Arc<dyn MetadataStore>) -> FileService {
        let parts = Parts {
            metadata,
            binary: self.calm().binary().clone(),
            clock: Arc::new(self.clock.clone()),
            entropy: Arc::new(SeededEntropy::new(fresh_seed())),
        };
        FileService::new(parts, self.options)
    }

    /// A process without faults.
    pub(crate) fn calm(&self) -> FileService {
        self.node(&Plan::calm())
    }

    /// So long that the work of a dead process may be rolled forward.
    pub(crate) fn outlast_lease(&self) {
        self.clock.advance(self.options.lease + self.options.step_timeout + SECOND);
    }
}

/// A directory in memory where there is one: thousands of databases are made and synchronised.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Tokens of two processes must differ.
fn fresh_seed() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}
