//! `Site`: one table, one directory, ezdfs and PHP nodes on them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ezdfs_binarydata::{LocalOptions, LocalStore};
use ezdfs_core::{
    Capabilities, Clock, CloudSide, DirPath, Entry, Error, ErrorKind, FilePath, KeyPrefix,
    MetadataStore, Name, NamePrefix, OsEntropy, SystemClock,
};
use ezdfs_engine::{BinaryStore, FileService, Options, Parts, PublishOptions, Published};
use ezdfs_http::{Limits, Listen, Offload, Policies, ServeSettings, Server, SigningKeys};
use ezdfs_metadata::memory::ForeignRow;
use ezdfs_metadata::server::{FeedChoice, Host, Password, ServerOptions, Tls};
use ezdfs_metadata::{mysql, postgres};
use ezdfs_testkit::servers::{BaseTable, MariaVariant, PostgresVariant, ServerKind, TestDatabase};
use ezdfs_testkit::{ForeignWriter, MariadbForeignWriter, PdoNode, PhpNode, PostgresForeignWriter};
use futures::TryStreamExt as _;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::common::http;

/// What stands before each id in the table, and where the bytes are below the mount point.
pub(crate) const PREFIX: &str = "var/site/storage";

/// How long ezdfs leaves a foreign writer alone. Short, so that tests need not wait for it, and
/// still longer than a test takes from PHP's bytes to PHP's row.
pub(crate) const SETTLE: Duration = Duration::from_secs(1);

/// One table, one directory, and ezdfs on them. PHP's table was there first, in the collation of
/// Ibexa's installation guide.
pub(crate) struct Site {
    /// A process of ezdfs.
    pub(crate) files: FileService,
    /// Rows as PHP changes them.
    pub(crate) rows: Arc<dyn ForeignWriter>,
    pub(crate) table: &'static str,
    mount: TempDir,
    pub(crate) database: TestDatabase,
}

impl Site {
    pub(crate) async fn mariadb(table: &'static str) -> Option<Self> {
        let database = TestDatabase::mariadb(MariaVariant::Unicode520Ci)?;
        Some(Self::on(database, BaseTable::Ibexa, table).await)
    }

    /// With a table that eZ Publish made.
    pub(crate) async fn legacy(table: &'static str) -> Option<Self> {
        let database = TestDatabase::mariadb(MariaVariant::Utf8mb3)?;
        Some(Self::on(database, BaseTable::Legacy, table).await)
    }

    pub(crate) async fn postgres(table: &'static str) -> Option<Self> {
        let database = TestDatabase::postgres(PostgresVariant::Linguistic)?;
        Some(Self::on(database, BaseTable::Ibexa, table).await)
    }

    async fn on(database: TestDatabase, base: BaseTable, table: &'static str) -> Self {
        let mount = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(mount.path().join(PREFIX)).unwrap();
        database.create_base_table(base, table);
        install(&database, table).await;
        let rows = writer(&database, table).await;
        let files = service(&database, table, PREFIX, &mount.path().join(PREFIX)).await;
        Self { files, rows, table, mount, database }
    }

    /// A node in Rust.
    pub(crate) async fn php(&self) -> Option<PhpNode> {
        Some(self.node())
    }

    /// The same without a choice.
    pub(crate) fn node(&self) -> PhpNode {
        PhpNode::new(self.rows.clone(), self.root(), PREFIX)
    }

    /// A node in PHP.
    pub(crate) async fn pdo(&self) -> Option<PdoNode> {
        PdoNode::start(&self.database, self.table, &self.root(), PREFIX).await
    }

    /// A further process of ezdfs, or one with another prefix for its names.
    pub(crate) async fn ezdfs(&self, prefix: &str) -> FileService {
        service(&self.database, self.table, prefix, &self.root()).await
    }

    pub(crate) fn kind(&self) -> ServerKind {
        self.database.kind()
    }

    /// Where the files lie.
    pub(crate) fn root(&self) -> PathBuf {
        self.mount.path().join(PREFIX)
    }

    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    /// The row of a path, whether visible or not.
    pub(crate) async fn row(&self, id: &str) -> Option<ForeignRow> {
        self.rows.get(Name::from_row(&name(id)).hash()).await
    }

    /// Puts any row in place of that of its name.
    pub(crate) async fn set(&self, row: &ForeignRow) {
        self.rows.set(Name::from_row(&row.base.name).hash(), row).await;
    }

    /// ezdfs publishes.
    pub(crate) async fn put(&self, id: &str, bytes: &[u8], datatype: &str) -> Published {
        put(&self.files, id, bytes, datatype).await.unwrap()
    }

    /// ezdfs reads: size by the row, then the bytes.
    pub(crate) async fn read(&self, id: &str) -> Result<Vec<u8>, Error> {
        let (meta, body) = self.files.open_whole(&path(id)).await?;
        let bytes = body.try_collect::<Vec<Bytes>>().await?.concat();
        assert_eq!(meta.size, u64::try_from(bytes.len()).unwrap(), "{id}");
        Ok(bytes)
    }

    /// The same once PHP's changes have settled: until then ezdfs may say that it is busy, and
    /// nothing else.
    pub(crate) async fn read_settled(&self, id: &str) -> Vec<u8> {
        let deadline = tokio::time::Instant::now() + SETTLE * 10;
        loop {
            match self.read(id).await {
                Ok(bytes) => return bytes,
                Err(e) if e.kind() == ErrorKind::Busy && tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(e) => panic!("{id}: {e}"),
            }
        }
    }

    /// Every path that ezdfs lists below a directory, in byte order; directories end in a slash.
    pub(crate) async fn list(&self, dir: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut waiting = vec![dir.parse::<DirPath>().unwrap()];
        while let Some(dir) = waiting.pop() {
            let mut after = None;
            loop {
                let page = self.files.list(&dir, after.as_deref(), 100).await.unwrap();
                for entry in page.entries {
                    match entry {
                        Entry::File(file) => found.push(file.path.to_string()),
                        Entry::Directory(dir) => {
                            found.push(format!("{}/", dir.path));
                            waiting.push(dir.path);
                        }
                    }
                }
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
        }
        found.sort();
        found
    }

    /// Whether ezdfs does not know of a file: look-up, read, listing and HTTP.
    pub(crate) async fn assert_absent(&self, id: &str) {
        for answer in [
            self.files.load(&path(id)).await.map(drop),
            self.files.entry(&DirPath::from(path(id))).await.map(drop),
            self.read(id).await.map(drop),
        ] {
            assert_eq!(answer.unwrap_err().kind(), ErrorKind::NotFound, "{id}");
        }
        assert!(!self.files.exists(&path(id)).await.unwrap(), "{id}");
        let parent = path(id).parent();
        assert!(!self.list(parent.as_str()).await.iter().any(|p| p == id), "{id} is listed");
        assert_eq!(self.get(id).await.status, 404, "{id}");
    }

    /// `GET` of the URI that Ibexa makes of an id.
    pub(crate) async fn get(&self, id: &str) -> http::Response {
        self.get_raw(&http::encode(id)).await
    }

    /// The same with what stands behind the prefix as it is on the wire.
    pub(crate) async fn get_raw(&self, rest: &str) -> http::Response {
        let serving = self.serve().await;
        let (address, target) = (serving.address, format!("/{PREFIX}/{rest}"));
        tokio::task::spawn_blocking(move || http::get(address, &target)).await.unwrap()
    }

    /// Any request, with its target as it is on the wire.
    pub(crate) async fn request(
        &self,
        method: &'static str,
        target: &str,
        fields: &[(&str, &str)],
    ) -> http::Response {
        let serving = self.serve().await;
        let (address, target) = (serving.address, target.to_owned());
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let fields: Vec<(String, String)> = fields.iter().map(owned).collect();
        tokio::task::spawn_blocking(move || {
            let fields: Vec<_> = fields.iter().map(|(n, v)| (&**n, &**v)).collect();
            http::request(address, method, &target, &fields)
        })
        .await
        .unwrap()
    }

    async fn serve(&self) -> Serving {
        let settings = ServeSettings {
            listen: Listen::Address("127.0.0.1:0".parse().unwrap()),
            tls: None,
            sites: Vec::new(),
            memory: 0,
            offload: Offload::Off,
            url_prefix: format!("/{PREFIX}").parse().unwrap(),
            public: vec!["images".to_owned(), "images-versioned".to_owned()],
            signing_keys: SigningKeys::new([], Duration::from_secs(60)).unwrap(),
            policies: Policies::default(),
            access_log: None,
            limits: Limits::default(),
        };
        let log = Box::new(std::io::sink());
        let server = Server::bind(self.files.clone(), settings, None, log).await.unwrap();
        let address = server.address();
        Serving { address, running: tokio::spawn(server.run(std::future::pending())) }
    }
}

/// A server that ends with this value.
struct Serving {
    address: SocketAddr,
    running: JoinHandle<()>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// The row's name of an id.
pub(crate) fn name(id: &str) -> String {
    format!("{PREFIX}/{id}")
}

pub(crate) fn path(id: &str) -> FilePath {
    id.parse().unwrap()
}

/// Publishes bytes.
pub(crate) async fn put(
    files: &FileService,
    id: &str,
    bytes: &[u8],
    datatype: &str,
) -> Result<Published, Error> {
    let options = PublishOptions { datatype: Some(datatype.to_owned()), ..Default::default() };
    let body = futures::stream::iter([Ok(Bytes::copy_from_slice(bytes))]);
    files.publish(&path(id), body, options).await
}

/// PHP on a table.
pub(crate) async fn writer(database: &TestDatabase, table: &str) -> Arc<dyn ForeignWriter> {
    match database.kind() {
        ServerKind::Mariadb => Arc::new(MariadbForeignWriter::connect(database, table).await),
        ServerKind::Postgres => Arc::new(PostgresForeignWriter::connect(database, table).await),
    }
}

fn options(database: &TestDatabase, table: &str, prefix: &str) -> ServerOptions {
    let host = Host { name: database.host().to_owned(), port: Some(database.port()) };
    ServerOptions {
        password: Some(Password::new(database.password())),
        table: table.to_owned(),
        prefix: NamePrefix::new(prefix),
        tls: Tls::Off,
        ..ServerOptions::new(host, database.user(), database.database())
    }
}

/// `ezdfs schema install`.
async fn install(database: &TestDatabase, table: &str) {
    let options = options(database, table, PREFIX);
    let feed = FeedChoice::Trigger;
    match database.kind() {
        ServerKind::Mariadb => mysql::install(&options, feed, &mut |_| {}).await.unwrap(),
        ServerKind::Postgres => postgres::install(&options, feed, &mut |_| {}).await.unwrap(),
    };
}

async fn service(
    database: &TestDatabase,
    table: &str,
    prefix: &str,
    root: &std::path::Path,
) -> FileService {
    let options = options(database, table, prefix);
    let metadata: Arc<dyn MetadataStore> = match database.kind() {
        ServerKind::Mariadb => mysql::open(options).await.unwrap(),
        ServerKind::Postgres => postgres::open(options).await.unwrap(),
    };
    // Power cuts are tested elsewhere.
    let local = LocalOptions { fsync: false, ..LocalOptions::default() };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let parts = Parts {
        metadata,
        binary: BinaryStore {
            name: "nfs".to_owned(),
            store: Arc::new(LocalStore::open(root, local).unwrap()),
            prefix: KeyPrefix::default(),
            capabilities: Capabilities::LOCAL,
            side: CloudSide::default(),
            io_timeout: Duration::from_secs(30),
        },
        clock,
        entropy: Arc::new(OsEntropy),
    };
    FileService::new(parts, Options { settle: SETTLE, ..Options::default() })
}
