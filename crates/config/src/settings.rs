//! `Settings`: what the configuration says, checked, with every default filled in.
//!
//! Serialising them gives the form of the file, secrets masked.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::bytes::ByteSize;
use crate::duration;
use crate::location::{BinaryUrl, DatabaseUrl};
use crate::mode::Mode;
use crate::secret::Secret;
use crate::url_prefix::UrlPrefix;

/// The handler that always exists: metadata derived from the objects of the side's own binarydata
/// handler; bytes in `[store] default_root`.
pub const DEFAULT_HANDLER: &str = "default";

/// Everything that is configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Settings {
    /// `[store]`
    pub store: StoreSettings,
    /// `[metadata_handlers.NAME]` in file order, without `default`.
    pub metadata_handlers: Handlers<MetadataHandler>,
    /// `[binarydata_handlers.NAME]` in file order, without `default`.
    pub binarydata_handlers: Handlers<BinaryHandler>,
    /// `[serve]`
    pub serve: ServeSettings,
    /// `[admin]`
    pub admin: AdminSettings,
    /// `[cache]`
    pub cache: CacheSettings,
}

/// `[store]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoreSettings {
    /// Name of the metadata handler.
    pub metadata: String,
    /// Name of the binarydata handler.
    pub binarydata: String,
    /// How old an answer may be that was given without asking the database.
    #[serde(serialize_with = "duration::serialize")]
    pub max_staleness: Duration,
    /// How long deleted bytes stay for readers that have the file open.
    #[serde(serialize_with = "duration::serialize")]
    pub delete_grace: Duration,
    /// Longest silence of a database or a store before a call counts as failed.
    #[serde(serialize_with = "duration::serialize")]
    pub io_timeout: Duration,
    /// Most entries that one directory rename moves.
    pub rename_dir_max: u32,
    /// How long soft-deleted files stay restorable; zero deletes at once.
    #[serde(serialize_with = "duration::serialize")]
    pub trash: Duration,
    /// How long a version that was known to be current may be answered while the database does not
    /// answer, marked; zero for never.
    #[serde(serialize_with = "duration::serialize")]
    pub stale_if_error: Duration,
    /// The tree behind the binarydata handler `default`. Absolute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_root: Option<PathBuf>,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            metadata: "dfs".to_owned(),
            binarydata: "nfs".to_owned(),
            max_staleness: Duration::from_secs(1),
            delete_grace: Duration::from_secs(60),
            io_timeout: Duration::from_secs(30),
            rename_dir_max: 1000,
            trash: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            default_root: None,
        }
    }
}

/// Handlers by name, in file order: the first ones are the defaults of migrate-files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handlers<T>(pub(crate) Vec<(String, T)>);

impl<T> Handlers<T> {
    /// The handler of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&T> {
        self.iter().find(|(n, _)| *n == name).map(|(_, h)| h)
    }

    /// Names and handlers in file order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().map(|(name, handler)| (&**name, handler))
    }

    /// The configured names in file order and `default` last, as Ibexa lists them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(name, _)| name).chain([DEFAULT_HANDLER])
    }

    /// The first configured name, else `default`.
    #[must_use]
    pub fn first(&self) -> &str {
        self.names().next().unwrap_or(DEFAULT_HANDLER)
    }
}

impl<T: Serialize> Serialize for Handlers<T> {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.iter())
    }
}

/// `[metadata_handlers.NAME]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum MetadataHandler {
    /// A table in a database.
    Sql(SqlHandler),
    /// Derived from the objects of a binarydata handler.
    Objects {
        /// Name of the binarydata handler.
        objects: String,
    },
}

/// A table in a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SqlHandler {
    /// Where the database is.
    pub url: DatabaseUrl,
    /// Password of the user in `url`; not for SQLite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// Whether connections are encrypted; servers only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsMode>,
    /// Certificates of authorities of one's own; with [`TlsMode::Verify`] only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ca: Option<PathBuf>,
    /// Most connections of one process; servers only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// Name of the base table.
    pub table: String,
    /// What stands before every path in the `name` column; outer slashes do not count.
    pub name_prefix: String,
}

impl SqlHandler {
    /// `ezdfsfile`: the table's name up to Ibexa 4.6.
    pub const TABLE: &str = "ezdfsfile";
    /// Ibexa's demo sites.
    pub const NAME_PREFIX: &str = "var/site/storage";
    /// What a web node's share of a server with the usual limit of about 150 connections can be.
    pub const CONNECTIONS: u32 = 8;
}

/// Whether connections to a database server are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// Never.
    Off,
    /// If the server can; its certificate is not checked.
    #[default]
    Prefer,
    /// Always, with a certificate for that host that a public authority has signed, or one of
    /// `tls_ca`.
    Verify,
}

/// `[binarydata_handlers.NAME]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BinaryHandler {
    /// Where the objects are.
    pub url: BinaryUrl,
    /// Make file and directory durable before a publish is answered; `file` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fsync: Option<bool>,
    /// Permission bits of new files; `file` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_mode: Option<Mode>,
    /// Permission bits of new directories; `file` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir_mode: Option<Mode>,
    /// URL of the service; clouds only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Certificates of authorities of one's own; clouds only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ca: Option<PathBuf>,
    /// Region; `s3` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The bucket in the path of a request instead of in its host; `s3` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
    /// Access key; `s3` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<Secret>,
    /// Its secret; `s3` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_access_key: Option<Secret>,
    /// JSON of a service account's key; `gs` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<Secret>,
    /// Name of the storage account; `az` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Key of the storage account; `az` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_key: Option<Secret>,
}

/// `[serve]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServeSettings {
    /// Address of the asset listener.
    pub listen: SocketAddr,
    /// Where the assets are in the URL space.
    pub url_prefix: UrlPrefix,
    /// First path segments that anyone may read; others need a signature.
    pub public: Vec<String>,
    /// What a request may be answered from.
    pub freshness: Freshness,
    /// Form of the access log.
    pub access_log: AccessLog,
    /// Longest life of a signed URL.
    #[serde(serialize_with = "duration::serialize")]
    pub max_signed_life: Duration,
    /// Media types that browsers show in place; everything else is downloaded.
    pub inline: Vec<String>,
    /// Whether answers name the directories that they lie in, for purges of caches in front.
    pub surrogate_keys: bool,
    /// Sites whose scripts may read answers.
    pub cors_origins: Vec<String>,
    /// Whether HTTP/2 is spoken.
    pub http2: bool,
    /// The certificate, and those between it and an authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_certificate: Option<PathBuf>,
    /// Its private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    /// Most connections at a time.
    pub max_connections: u32,
    /// Most requests at a time.
    pub max_requests: u32,
    /// Fewest bytes per second that a client takes while it is waited for.
    pub min_rate: ByteSize,
    /// How long `/readyz` fails at shutdown before connections are refused.
    #[serde(serialize_with = "duration::serialize")]
    pub shutdown_delay: Duration,
    /// How long answers under way may take at shutdown.
    #[serde(serialize_with = "duration::serialize")]
    pub drain: Duration,
    /// Who sends large files.
    pub offload: Offload,
    /// Where nginx has the files of the binarydata handler, as a URI.
    pub offload_prefix: String,
    /// Smallest file that somebody else sends.
    pub offload_from: ByteSize,
    /// Header fields by path; the first match counts.
    pub cache_policy: Vec<CachePolicy>,
    /// What is shown in place of missing files; the first match counts.
    pub placeholder: Vec<Placeholder>,
    /// Keys of signed URLs.
    pub signing_keys: Vec<SigningKey>,
    /// Further sites.
    pub sites: Vec<ServeSite>,
}

/// `[[serve.sites]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServeSite {
    /// Where its assets are in the URL space.
    pub url_prefix: UrlPrefix,
    /// Name of its metadata handler; that of the store if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// Name of its binarydata handler; that of the store if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binarydata: Option<String>,
    /// First path segments that anyone may read; those of the main site if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public: Option<Vec<String>>,
}

impl Default for ServeSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            url_prefix: UrlPrefix::var_site_storage(),
            public: vec!["images".to_owned(), "images-versioned".to_owned()],
            freshness: Freshness::Feed,
            access_log: AccessLog::Combined,
            max_signed_life: Duration::from_secs(7 * 86_400),
            inline: ["image/*", "audio/*", "video/*", "font/*", "text/plain", "text/css"]
                .map(str::to_owned)
                .into(),
            surrogate_keys: true,
            cors_origins: Vec::new(),
            http2: true,
            tls_certificate: None,
            tls_key: None,
            max_connections: 4096,
            max_requests: 4096,
            min_rate: ByteSize(1 << 10),
            shutdown_delay: Duration::ZERO,
            drain: Duration::from_secs(30),
            offload: Offload::Off,
            offload_prefix: "/ezdfs-files/".to_owned(),
            offload_from: ByteSize(1 << 20),
            cache_policy: vec![CachePolicy {
                pattern: "images/**".to_owned(),
                hashed: false,
                cache_control:
                    "public, max-age=60, stale-while-revalidate=600, stale-if-error=86400"
                        .to_owned(),
                cdn_cache_control: None,
            }],
            placeholder: Vec::new(),
            signing_keys: Vec::new(),
            sites: Vec::new(),
        }
    }
}

/// Who sends large files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Offload {
    /// This server.
    Off,
    /// nginx in front, told by `X-Accel-Redirect`.
    XAccelRedirect,
    /// The object store, by a redirect to a URL that is signed.
    Presigned,
}

/// What a request may be answered from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Freshness {
    /// Caches, while the change feed is fresh: at most `max_staleness` old.
    Feed,
    /// One primary-key SELECT per request.
    Strict,
}

/// Form of the access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessLog {
    /// The "combined" format of Apache httpd.
    Combined,
    /// One JSON object per line.
    Json,
    /// None.
    Off,
}

/// `[[serve.cache_policy]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CachePolicy {
    /// Glob over the path: `*` stays within a segment, `**` does not.
    #[serde(rename = "match")]
    pub pattern: String,
    /// Whether it is for names only that begin with a hash of the content.
    pub hashed: bool,
    /// Value of `Cache-Control`.
    pub cache_control: String,
    /// Value of `CDN-Cache-Control`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cdn_cache_control: Option<String>,
}

impl CachePolicy {
    /// The compiled pattern.
    ///
    /// # Errors
    /// Never for loaded settings: loading compiles it once.
    pub fn glob(&self) -> Result<globset::Glob, globset::Error> {
        path_glob(&self.pattern)
    }
}

/// A pattern over paths.
pub(crate) fn path_glob(pattern: &str) -> Result<globset::Glob, globset::Error> {
    globset::GlobBuilder::new(pattern).literal_separator(true).build()
}

/// `[[serve.placeholder]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Placeholder {
    /// Glob over the paths that may be missing.
    #[serde(rename = "match")]
    pub pattern: String,
    /// The file of the store that is shown.
    pub path: String,
    /// 404, or 200 as if it were the file.
    pub status: u32,
}

/// `[[serve.signing_keys]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SigningKey {
    /// What `ezdfs-key` names.
    pub id: String,
    /// The key.
    pub secret: Secret,
}

/// `[admin]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AdminSettings {
    /// Address of the admin listener.
    pub listen: SocketAddr,
    /// Most bytes of a file that is stored by the admin API.
    pub max_file: ByteSize,
    /// Who may read and write files by the admin API.
    pub tokens: Vec<AdminToken>,
    /// What is told of a purge.
    pub purge_hooks: Vec<PurgeHook>,
}

/// An item of `admin.tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AdminToken {
    /// For the log.
    pub name: String,
    /// SHA-256 of the token's text, in hex.
    pub sha256: String,
    /// What it allows.
    pub verbs: Vec<AdminVerb>,
    /// Directories at and below which it allows that; the empty text for all.
    pub prefixes: Vec<String>,
}

/// What a token of the admin API allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AdminVerb {
    /// Read files.
    Get,
    /// List directories.
    List,
    /// Write files.
    Put,
    /// Delete files and directories.
    Delete,
    /// Drop what caches keep.
    Purge,
}

/// `[[admin.purge_hooks]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PurgeHook {
    /// For log and answers.
    pub name: String,
    /// URL with placeholders.
    pub url: String,
    /// Method.
    pub method: String,
    /// `Name: value` with placeholders in the value.
    pub headers: Vec<String>,
    /// Value of `Authorization`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Secret>,
    /// Body with placeholders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8081)),
            // What S3 takes as one object.
            max_file: ByteSize(5 << 40),
            tokens: Vec::new(),
            purge_hooks: Vec::new(),
        }
    }
}

/// `[cache]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CacheSettings {
    /// Whether bytes are kept on a local disk.
    pub enabled: CacheMode,
    /// Where. Absolute.
    pub dir: PathBuf,
    /// Most bytes that are kept.
    pub size: ByteSize,
    /// Bytes of the file system that are left free.
    pub min_free: ByteSize,
    /// Bytes of small files that a server keeps in memory.
    pub memory: ByteSize,
}

impl CacheSettings {
    /// The defaults, in a data directory.
    #[must_use]
    pub fn in_data_dir(data_dir: &std::path::Path) -> Self {
        Self {
            enabled: CacheMode::Auto,
            dir: data_dir.join("cache"),
            size: ByteSize(10 << 30),
            min_free: ByteSize(1 << 30),
            memory: ByteSize(64 << 20),
        }
    }
}

/// Whether bytes are kept on a local disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheMode {
    /// If the binarydata handler is an object store on the network.
    #[default]
    Auto,
    /// Whatever the handler is.
    On,
    /// Never.
    Off,
}

impl CacheMode {
    /// Whether bytes of such a store are kept.
    #[must_use]
    pub const fn applies(self, storage: Option<&crate::location::Storage>) -> bool {
        use crate::location::Storage;
        match self {
            Self::Auto => matches!(
                storage,
                Some(Storage::S3 { .. } | Storage::Gcs { .. } | Storage::Azure { .. })
            ),
            Self::On => true,
            Self::Off => false,
        }
    }
}
