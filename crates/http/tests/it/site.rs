//! `Site`: a server on free ports with a file service in memory behind it.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ezdfs_binarydata::{LocalOptions, LocalStore};
use ezdfs_core::{
    BaseRow, Capabilities, Clock as _, CloudSide, FilePath, KeyPrefix, ManualClock,
    MetadataStore as _, NamePrefix, SeededEntropy, Sha256, SystemClock, Timestamp,
};
use ezdfs_engine::{
    BinaryStore, CacheOptions, FileService, Follower, FollowerOptions, Options, Parts,
    PublishOptions, Published,
};
use ezdfs_http::{
    AdminSettings, CachePolicies, CachePolicy, Format, Limits, Listen, Offload, Policies,
    PurgeHooks, Readiness, ServeSettings, Server, SigningKeys, SiteSettings, Token, Tokens, Verb,
};
use ezdfs_metadata::MemoryMetadata;
use ezdfs_metadata::memory::ForeignRow;
use ezdfs_testkit::faults::FaultyMetadata;
use object_store::memory::InMemory;
use sha2::Digest as _;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::{self, Reply};
use crate::faulty::{Faults, FaultyStore};

/// A running server.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) service: FileService,
    pub(crate) metadata: Arc<MemoryMetadata>,
    pub(crate) clock: ManualClock,
    pub(crate) faults: Arc<Faults>,
    /// What the service asks of the database.
    pub(crate) asked: ezdfs_testkit::faults::Plan,
    pub(crate) readiness: Readiness,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
    /// Follows the feed, and moves the clock on with the time.
    _following: Option<(Follower, JoinHandle<()>)>,
    /// Holds the files of a local store until the server is gone.
    _root: Option<tempfile::TempDir>,
}

/// How a site differs from the usual one.
pub(crate) struct Plan {
    pub(crate) url_prefix: &'static str,
    pub(crate) limits: Limits,
    pub(crate) log: Option<(Format, Box<dyn Write + Send>)>,
    pub(crate) local: bool,
    pub(crate) policies: Policies,
    /// Further sites, by their URL prefix.
    pub(crate) sites: Vec<(&'static str, FileService)>,
    /// Who sends large files.
    pub(crate) offload: Offload,
    /// What is told of a purge.
    pub(crate) hooks: PurgeHooks,
    /// Answers from memory while the feed is fresh.
    pub(crate) follow: bool,
}

/// Tokens of every site: `all` may do everything, `images` put images,
/// `cache` purge them.
fn tokens() -> Tokens {
    let token = |name: &str, verbs: &[Verb], prefix: &str| Token {
        name: name.to_owned(),
        sha256: Sha256::from_bytes(sha2::Sha256::digest(name.as_bytes()).into()),
        verbs: verbs.to_vec(),
        prefixes: vec![prefix.to_owned()],
    };
    let images = token("images", &[Verb::Put], "images/");
    let cache = token("cache", &[Verb::Purge], "images/");
    Tokens::new(vec![token("all", &Verb::ALL, ""), images, cache]).unwrap()
}

/// The key that signs URLs of every site.
pub(crate) const SIGNING_KEY: &[u8] = b"a key of more than 16 bytes";

/// `images/**` for a minute, as little else as may be.
pub(crate) fn policies() -> Policies {
    let images = CachePolicy {
        pattern: "images/**",
        hashed: false,
        cache_control: "public, max-age=60",
        cdn_cache_control: None,
    };
    Policies { cache: CachePolicies::new([images]).unwrap(), ..Policies::default() }
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            url_prefix: "/var/site/storage",
            limits: Limits { drain: Duration::from_secs(5), ..Limits::default() },
            log: None,
            local: false,
            policies: policies(),
            sites: Vec::new(),
            offload: Offload::Off,
            hooks: PurgeHooks::default(),
            follow: false,
        }
    }
}

/// The URL of a path on the usual site.
pub(crate) fn url(path: &str) -> String {
    format!("/var/site/storage/{path}")
}

pub(crate) fn path(text: &str) -> FilePath {
    text.parse().unwrap()
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::with(Plan::default()).await
    }

    pub(crate) async fn with(plan: Plan) -> Self {
        // Whole seconds, so that tests can count them.
        let clock = ManualClock::at(Timestamp::from_secs(SystemClock.now().secs()));
        let prefix = NamePrefix::new("var/site/storage");
        let metadata = Arc::new(MemoryMetadata::new(prefix, Arc::new(clock.clone())));
        let faults = Arc::new(Faults::default());
        let (store, capabilities, root): (Arc<dyn object_store::ObjectStore>, _, _) = if plan.local
        {
            let root = tempfile::tempdir().unwrap();
            let options = LocalOptions { fsync: false, ..LocalOptions::default() };
            let store = LocalStore::open(root.path(), options).unwrap();
            (Arc::new(store), Capabilities::LOCAL, Some(root))
        } else {
            let store = FaultyStore { inner: Arc::new(InMemory::new()), faults: faults.clone() };
            (Arc::new(store), Capabilities::MEMORY, None)
        };
        let asked = ezdfs_testkit::faults::Plan::calm();
        let mut service = FileService::new(
            Parts {
                metadata: Arc::new(FaultyMetadata::new(metadata.clone(), asked.clone())),
                binary: BinaryStore {
                    name: "memory".to_owned(),
                    store,
                    prefix: KeyPrefix::new("prefix").unwrap(),
                    capabilities,
                    side: CloudSide::default(),
                    io_timeout: Duration::from_secs(10),
                },
                clock: Arc::new(clock.clone()),
                entropy: Arc::new(SeededEntropy::new(1)),
            },
            Options { io_timeout: Duration::from_millis(300), ..Options::default() },
        );
        let _following = plan.follow.then(|| {
            let (clock, entropy) = (Arc::new(clock.clone()), Arc::new(SeededEntropy::new(2)));
            let options = FollowerOptions::default();
            let follower =
                Follower::start(metadata.clone(), clock.clone(), entropy, options).unwrap();
            service = service.with_follower(&follower, CacheOptions::default());
            let tick = Duration::from_millis(5);
            let ticking = tokio::spawn(async move {
                loop {
                    tokio::time::sleep(tick).await;
                    clock.advance(tick);
                }
            });
            (follower, ticking)
        });
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (format, out) = match plan.log {
            Some((format, out)) => (Some(format), out),
            None => (None, Box::new(std::io::sink()) as Box<dyn Write + Send>),
        };
        let serve = ServeSettings {
            listen: Listen::Address(any),
            tls: None,
            sites: plan
                .sites
                .into_iter()
                .map(|(prefix, service)| SiteSettings {
                    service,
                    url_prefix: prefix.parse().unwrap(),
                    public: vec!["images".to_owned()],
                })
                .collect(),
            memory: 8 << 20,
            offload: plan.offload,
            url_prefix: plan.url_prefix.parse().unwrap(),
            public: vec!["images".to_owned(), "images-versioned".to_owned()],
            signing_keys: SigningKeys::new([("test", SIGNING_KEY)], Duration::from_secs(3600))
                .unwrap(),
            policies: plan.policies,
            access_log: format,
            limits: plan.limits.clone(),
        };
        let admin = AdminSettings {
            listen: Listen::Address(any),
            tokens: tokens(),
            max_file: 1 << 20,
            hooks: plan.hooks,
            limits: plan.limits,
        };
        let server = Server::bind(service.clone(), serve, Some(admin), out).await.unwrap();
        let (address, admin) = (server.address(), server.admin_address().unwrap());
        let readiness = server.readiness();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        let _root = root;
        Self {
            address,
            admin,
            service,
            metadata,
            clock,
            faults,
            asked,
            readiness,
            stop,
            running,
            _following,
            _root,
        }
    }

    /// Waits until answers come from memory.
    pub(crate) async fn is_fresh(&self) {
        let fresh = async {
            while self.service.memory_state().unwrap().0.age.is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), fresh).await.expect("a fresh feed");
    }

    /// Waits until the feed has told so many changes: one's own are told as well.
    pub(crate) async fn has_told(&self, changes: u64) {
        let told = async {
            while self.service.memory_state().unwrap().0.events < changes {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        tokio::time::timeout(Duration::from_secs(10), told).await.expect("changes are told");
    }

    /// Begins shutdown; the handle ends when the server has.
    pub(crate) fn shut_down(self) -> JoinHandle<()> {
        let _ = self.stop.send(());
        self.running
    }

    pub(crate) async fn publish(&self, file: &str, bytes: impl Into<Bytes>) -> Published {
        self.publish_as(file, bytes, PublishOptions::default()).await
    }

    pub(crate) async fn publish_as(
        &self,
        file: &str,
        bytes: impl Into<Bytes>,
        options: PublishOptions,
    ) -> Published {
        let bytes: Bytes = bytes.into();
        let body = futures::stream::iter([Ok(bytes)]);
        self.service.publish(&path(file), body, options).await.unwrap()
    }

    /// Changes the base row of a path as a PHP node would, through plain SQL.
    pub(crate) fn foreign(&self, file: &str, edit: impl FnOnce(&mut BaseRow)) {
        let name = self.metadata.prefix().name(&path(file));
        let mut row = self.metadata.foreign().get(name.hash()).unwrap_or_else(|| ForeignRow {
            base: BaseRow {
                name: name.as_str().to_owned(),
                datatype: "image/jpeg".to_owned(),
                scope: "image".to_owned(),
                size: 0,
                mtime: 1_000_000_000,
                expired: false,
            },
            name_trunk: name.as_str().to_owned(),
            status: false,
        });
        edit(&mut row.base);
        self.metadata.foreign().set(name.hash(), row);
    }

    pub(crate) async fn get(&self, target: &str, fields: &[(&str, &str)]) -> Reply {
        client::request(self.address, "GET", target, fields).await
    }

    pub(crate) async fn status(&self, method: &str, target: &str) -> u16 {
        client::request(self.address, method, target, &[]).await.status
    }
}
