//! A store of its own for each test: two handlers, a clock, a foreign writer, and what must be
//! true of it at the end.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ezdfs_binarydata::{CloudOptions, LocalOptions, LocalStore, S3Options};
use ezdfs_cache::{self as file_cache, FileCache};
use ezdfs_core::{
    Capabilities, Clock, Conditions, DirPath, Error, ErrorKind, FilePath, IntentState, KeyPrefix,
    MetadataStore, NamePrefix, SeededEntropy, Sha256, Timestamp,
};
use ezdfs_engine::{BinaryStore, FileService, Options, Parts, PublishOptions, Published};
use ezdfs_metadata::{MemoryMetadata, SqliteMetadata, SqliteOptions};
use ezdfs_testkit::faults::{FaultyMetadata, FaultyObjects, Plan, StampedObjects, TickingClock};
use ezdfs_testkit::{FakeCloud, ForeignWriter, SqliteForeignWriter};
use futures::future::BoxFuture;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::memory::InMemory;
use object_store::path::Path as ObjectKey;
use object_store::{ObjectMeta, ObjectStore};
use sha2::Digest as _;

/// What stands before each path in the table.
pub(crate) const PREFIX: &str = "var/site/storage";
/// What the clock shows at the start, in Unix seconds.
pub(crate) const START: i64 = 1_700_000_000;

/// A pair of handlers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backend {
    pub(crate) sqlite: bool,
    pub(crate) local: bool,
    /// Nodes read through one file cache on disk.
    pub(crate) cached: bool,
    /// A fake cloud behind the real client.
    pub(crate) cloud: Option<Cloud>,
}

/// What a fake cloud does with conditional requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cloud {
    Honours,
    Ignores,
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
    _fake: Option<FakeCloud>,
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
                let file = dir.path().join("ezdfs.db");
                let with = SqliteOptions { prefix, ..SqliteOptions::default() };
                let store = SqliteMetadata::open(&file, with, shared.clone()).await.unwrap();
                let foreign = SqliteForeignWriter::connect(&file, "ezdfsfile").await;
                (Arc::new(store), Arc::new(foreign))
            } else {
                let store = MemoryMetadata::new(prefix, shared.clone());
                let foreign = store.foreign();
                (Arc::new(store), Arc::new(foreign))
            };
        let fake = match backend.cloud {
            Some(cloud) => {
                let fake = FakeCloud::start().await;
                if cloud == Cloud::Ignores {
                    fake.ignore_conditions();
                }
                Some(fake)
            }
            None => None,
        };
        let store: Arc<dyn ObjectStore> = if backend.local {
            let root = dir.path().join("files");
            std::fs::create_dir(&root).unwrap();
            let with = LocalOptions { fsync: false, ..LocalOptions::default() };
            Arc::new(LocalStore::open(&root, with).unwrap())
        } else if let Some(fake) = &fake {
            open_s3(fake)
        } else {
            Arc::new(InMemory::new())
        };
        let objects = Arc::new(StampedObjects::new(store, shared));
        Self { clock, metadata, objects, foreign, options, backend, _fake: fake, dir }
    }

    /// A process whose calls follow a plan.
    pub(crate) fn node(&self, plan: &Plan) -> FileService {
        let capabilities = match (self.backend.local, self.backend.cloud) {
            (true, _) => Capabilities::LOCAL,
            (false, None) => Capabilities::MEMORY,
            (false, Some(Cloud::Ignores)) => Capabilities::CLOUD,
            (false, Some(Cloud::Honours)) => {
                let conditions = Conditions { versions: false, ..Conditions::ALL };
                Capabilities { conditions, ..Capabilities::CLOUD }
            }
        };
        let service = FileService::new(
            Parts {
                metadata: Arc::new(FaultyMetadata::new(self.metadata.clone(), plan.clone())),
                binary: BinaryStore {
                    name: "test".to_owned(),
                    store: Arc::new(FaultyObjects::new(self.objects.clone(), plan.clone())),
                    prefix: KeyPrefix::default(),
                    capabilities,
                    io_timeout: Duration::from_secs(30),
                },
                clock: Arc::new(self.clock.clone()),
                entropy: Arc::new(SeededEntropy::new(fresh_seed())),
            },
            self.options,
        );
        if self.backend.cached { service.with_file_cache(self.file_cache()) } else { service }
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

    /// The visible files, each opened whole.
    pub(crate) async fn files(&self, service: &FileService) -> Files {
        let mut files = Files::new();
        for path in self.visible().await {
            files.insert(path.to_string(), read_with_expiry(service, &path).await.unwrap());
        }
        files
    }

    /// Paths of the visible base rows whose time is not over.
    pub(crate) async fn visible(&self) -> Vec<FilePath> {
        let now = self.clock.now();
        let mut visible = Vec::new();
        let mut after = None;
        loop {
            let page = self.metadata.scan(&DirPath::root(), after.as_deref(), 1000).await.unwrap();
            for (path, record) in page.rows.into_iter().flatten() {
                if matches!(record.entry(&path, now), Some(ezdfs_core::Entry::File(_))) {
                    visible.push(path);
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return visible,
            }
        }
    }

    /// Every object, those in limbo included.
    pub(crate) async fn all_objects(&self) -> Vec<ObjectMeta> {
        let mut all: Vec<_> = self.objects.list(None).try_collect().await.unwrap();
        if self.backend.local {
            let limbo = ObjectKey::parse(".ezdfs/limbo").unwrap();
            let below: Vec<_> = self.objects.list(Some(&limbo)).try_collect().await.unwrap();
            all.extend(below);
        }
        all
    }

    /// Maintenance until everything whose time comes has been done.
    pub(crate) async fn clean_up(&self, service: &FileService) {
        for _ in 0..3 {
            let done = service.maintain().await.unwrap();
            assert_eq!(done.failed, 0, "{done:?}");
            self.clock.advance(self.options.delete_grace.max(self.options.trash) + SECOND);
        }
        let done = service.maintain().await.unwrap();
        assert_eq!(done.failed, 0, "{done:?}");
    }

    /// After [`Self::clean_up`]: nothing but visible and hidden files is left.
    pub(crate) async fn assert_no_leftovers(&self, context: &str) {
        let far = Timestamp::from_nanos(i64::MAX);
        for state in [IntentState::Held, IntentState::Queued] {
            let left = self.metadata.due(state, far, 100).await.unwrap();
            assert!(left.is_empty(), "{context}: {left:#?}");
        }
        for object in self.all_objects().await {
            let key = object.location.to_string();
            assert!(!key.starts_with(".ezdfs"), "{context}: `{key}` is left in limbo");
            let path: FilePath = key.parse().unwrap();
            let record = self.metadata.record(&path).await.unwrap();
            assert!(record.base.is_some(), "{context}: `{key}` is an orphan");
        }
    }
}

/// The bucket of a fake cloud.
fn open_s3(fake: &FakeCloud) -> Arc<dyn ObjectStore> {
    let options = S3Options {
        bucket: "bucket".to_owned(),
        prefix: KeyPrefix::default(),
        region: None,
        keys: Some(("id".to_owned(), "secret".to_owned())),
        path_style: true,
    };
    let cloud = CloudOptions { endpoint: Some(fake.endpoint()), ..CloudOptions::new("test") };
    ezdfs_binarydata::open_s3(options, &cloud).unwrap().store
}

/// A directory in memory where there is one: thousands of databases are made and synchronised.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Tokens of two processes must differ.
fn fresh_seed() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

pub(crate) fn path(text: &str) -> FilePath {
    text.parse().unwrap()
}

pub(crate) fn sha256(bytes: &[u8]) -> Sha256 {
    Sha256::from_bytes(sha2::Sha256::digest(bytes).into())
}

/// Publishes bytes.
pub(crate) async fn put(
    service: &FileService,
    at: &str,
    bytes: impl Into<Bytes>,
) -> Result<Published, Error> {
    put_with(service, at, bytes, PublishOptions::default()).await
}

pub(crate) async fn put_with(
    service: &FileService,
    at: &str,
    bytes: impl Into<Bytes>,
    options: PublishOptions,
) -> Result<Published, Error> {
    let body = futures::stream::iter([Ok(bytes.into())]);
    service.publish(&path(at), body, options).await
}

/// Reads a whole file. What the row says of it is checked against the bytes.
pub(crate) async fn read(service: &FileService, at: &FilePath) -> Result<Bytes, Error> {
    read_with_expiry(service, at).await.map(|(bytes, _)| bytes)
}

async fn read_with_expiry(
    service: &FileService,
    at: &FilePath,
) -> Result<(Bytes, Option<Timestamp>), Error> {
    let (meta, body) = service.open_whole(at).await?;
    let bytes = collect(body).await?;
    assert_eq!(meta.size, u64::try_from(bytes.len()).unwrap(), "size of `{at}`");
    if let Some(digest) = meta.sha256 {
        assert_eq!(digest, sha256(&bytes), "digest of `{at}`");
    }
    Ok((bytes, meta.expires))
}

pub(crate) async fn collect(mut body: ezdfs_engine::Body) -> Result<Bytes, Error> {
    let mut bytes = Vec::new();
    while let Some(piece) = body.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes.into())
}

/// Whether the same call may succeed later, or the file is not there: what a reader may get while
/// somebody is at work.
pub(crate) fn is_retryable(e: &Error) -> bool {
    e.kind().is_transient() || e.kind() == ErrorKind::NotFound
}

/// What PHP does.
impl World {
    /// Writes an object as PHP does: without a token, in place of whatever is there.
    pub(crate) async fn php_object(&self, at: &str, bytes: impl Into<Bytes>) {
        use object_store::ObjectStoreExt as _;
        let key = ObjectKey::parse(at).unwrap();
        self.objects.put(&key, bytes.into().into()).await.unwrap();
    }

    /// Inserts or updates a row as Ibexa does.
    pub(crate) async fn php_row(&self, at: &str, size: usize) {
        let (name, size) = (format!("{PREFIX}/{at}"), u64::try_from(size).unwrap());
        self.foreign.store(&name, size, self.clock.now().secs(), "text/plain").await;
    }

    /// Ibexa's create: bytes first, row second.
    pub(crate) async fn php_create(&self, at: &str, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        let size = bytes.len();
        self.php_object(at, bytes).await;
        self.php_row(at, size).await;
    }

    /// Ibexa's delete: row first, bytes second.
    pub(crate) async fn php_delete(&self, at: &str) {
        use object_store::ObjectStoreExt as _;
        self.foreign.delete(&format!("{PREFIX}/{at}")).await;
        match self.objects.delete(&ObjectKey::parse(at).unwrap()).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(e) => panic!("{e}"),
        }
    }
}

/// What goes wrong in a store.
impl World {
    /// Takes an object away, as a person with a shell does.
    pub(crate) async fn remove_object(&self, at: &str) {
        use object_store::ObjectStoreExt as _;
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
}

/// A store whose listings fail in the middle.
#[derive(Debug)]
struct CutListing {
    inner: Arc<StampedObjects>,
    after: usize,
    denied: Option<ObjectKey>,
}

impl CutListing {
    fn error(&self) -> object_store::Error {
        match &self.denied {
            Some(_) => object_store::Error::PermissionDenied {
                path: "the start of the listing".to_owned(),
                source: "denied".into(),
            },
            None => object_store::Error::Generic { store: "cut", source: "broken off".into() },
        }
    }
}

impl fmt::Display for CutListing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait::async_trait]
impl ObjectStore for CutListing {
    async fn put_opts(
        &self,
        location: &ObjectKey,
        payload: object_store::PutPayload,
        opts: object_store::PutOptions,
    ) -> object_store::Result<object_store::PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &ObjectKey,
        opts: object_store::PutMultipartOptions,
    ) -> object_store::Result<Box<dyn object_store::MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(
        &self,
        location: &ObjectKey,
        options: object_store::GetOptions,
    ) -> object_store::Result<object_store::GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: futures::stream::BoxStream<'static, object_store::Result<ObjectKey>>,
    ) -> futures::stream::BoxStream<'static, object_store::Result<ObjectKey>> {
        self.inner.delete_stream(locations)
    }

    fn list(
        &self,
        prefix: Option<&ObjectKey>,
    ) -> futures::stream::BoxStream<'static, object_store::Result<ObjectMeta>> {
        let error = futures::stream::iter([Err(self.error())]);
        self.inner.list(prefix).take(self.after).chain(error).boxed()
    }

    async fn list_with_delimiter(
        &self,
        prefix: Option<&ObjectKey>,
    ) -> object_store::Result<object_store::ListResult> {
        if prefix.is_some() && prefix == self.denied.as_ref() {
            return Err(self.error());
        }
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &ObjectKey,
        to: &ObjectKey,
        options: object_store::CopyOptions,
    ) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(
        &self,
        from: &ObjectKey,
        to: &ObjectKey,
        options: object_store::RenameOptions,
    ) -> object_store::Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

/// For fsck.
impl World {
    /// Keys in quarantine.
    pub(crate) async fn quarantined(&self) -> Vec<String> {
        let below = ObjectKey::parse(".ezdfs/quarantine").unwrap();
        let found: Vec<_> = self.objects.list(Some(&below)).try_collect().await.unwrap();
        found.into_iter().map(|object| object.location.to_string()).collect()
    }

    /// Rows, objects and pending work, to see whether anything was touched.
    pub(crate) async fn everything(&self) -> String {
        let mut objects: Vec<String> =
            self.all_objects().await.iter().map(|o| format!("{o:?}")).collect();
        objects.sort();
        let page = self.metadata.scan(&DirPath::root(), None, 1_000).await.unwrap();
        let mut rows: Vec<String> = page.rows.iter().map(|row| format!("{row:?}")).collect();
        rows.sort();
        let far = Timestamp::from_nanos(i64::MAX);
        let mut pending = Vec::new();
        for state in [IntentState::Held, IntentState::Queued, IntentState::Ended] {
            pending.extend(self.metadata.due(state, far, 1_000).await.unwrap());
        }
        format!("{objects:#?}{rows:#?}{pending:#?}{:?}", self.quarantined().await)
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
