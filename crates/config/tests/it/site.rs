//! A directory with an `ezdfs.toml`, and an environment of its own.

use std::path::PathBuf;

use ezdfs_config::{Environment, Loaded, Problem, Problems, Sources, load};

pub struct Site {
    pub dir: tempfile::TempDir,
    pub sources: Sources,
}

impl Site {
    /// A site with that configuration.
    pub fn new(toml: &str) -> Self {
        let site = Self::bare();
        std::fs::write(site.file(), toml).unwrap();
        site
    }

    /// A site without a configuration.
    pub fn bare() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sources = Sources {
            config: None,
            data_dir: Some(dir.path().join("data")),
            env: Environment::default(),
            candidates: vec![dir.path().join("ezdfs.toml")],
        };
        Self { dir, sources }
    }

    pub fn env(mut self, vars: &[(&str, &str)]) -> Self {
        self.sources.env = vars.iter().copied().collect();
        self
    }

    pub fn file(&self) -> PathBuf {
        self.dir.path().join("ezdfs.toml")
    }

    pub fn load(&self) -> Result<Loaded, Problems> {
        load(&self.sources)
    }

    pub fn problems(&self) -> Vec<Problem> {
        self.load().expect_err("a problem").0
    }
}

/// One handler of each side, so that a test needs to write only what it is about.
pub const SIDES: &str = "
[metadata_handlers.dfs]
url = \"sqlite:ezdfs.db\"
[binarydata_handlers.nfs]
url = \"file:///srv/nfs\"
";

/// Every key at once, with values that differ from the defaults.
pub const FULL: &str = r#"[store]
metadata = "main"
binarydata = "local"
max_staleness = "2s"
delete_grace = "30s"
io_timeout = "10s"
rename_dir_max = 500
trash = "7d"
stale_if_error = "10m"
default_root = "/srv/site/var/site/storage"

[metadata_handlers.main]
url = "mysql://dfs@db1:3306/ezdfs"
password = { env = "DFS_DB_PASSWORD" }
tls = "verify"
tls_ca = "/etc/ezdfs/no/db-ca.pem"
connections = 4
table = "ibexa_dfs_file"
name_prefix = "var/storage"

[metadata_handlers.aws_s3]
objects = "aws_s3"

[binarydata_handlers.local]
url = "file:///mnt/nfs/var/storage"
fsync = false
file_mode = "0664"
dir_mode = "0775"

[binarydata_handlers.aws_s3]
url = "s3://my-bucket/prefix"
endpoint = "https://s3.eu-west-1.amazonaws.com"
region = "eu-west-1"
path_style = false
access_key_id = { env = "S3_ACCESS_KEY_ID" }
secret_access_key = { env = "S3_SECRET_ACCESS_KEY" }
tls_ca = "/etc/ezdfs/no/s3-ca.pem"

[binarydata_handlers.gcs]
url = "gs://my-bucket/prefix"
service_account = { env = "GCS_SERVICE_ACCOUNT" }

[binarydata_handlers.azure]
url = "az://my-container/prefix"
account = "mysite"
account_key = { env = "AZURE_ACCOUNT_KEY" }

[serve]
listen = "0.0.0.0:80"
url_prefix = "https://static.example.com/files"
public = ["images"]
freshness = "strict"
access_log = "json"
max_signed_life = "1h"
inline = ["image/*", "application/pdf"]
surrogate_keys = false
cors_origins = ["https://www.example.com"]
http2 = false
tls_certificate = "/etc/ezdfs/no/site.pem"
tls_key = "/etc/ezdfs/no/site.key"
max_connections = 1000
max_requests = 500
min_rate = "10KiB"
shutdown_delay = "5s"
drain = "1m"
offload = "x-accel-redirect"
offload_prefix = "/internal/"
offload_from = "10MiB"

[[serve.cache_policy]]
match = "images/_aliases/**"
hashed = true
cache_control = "public, max-age=31536000, immutable"
cdn_cache_control = "max-age=3600"

[[serve.cache_policy]]
match = "**"
cache_control = "no-cache"

[[serve.placeholder]]
match = "images/**"
path = "images/missing.png"
status = 200

[[serve.signing_keys]]
id = "2026-11"
secret = { env = "SIGNING_KEY" }

[[serve.sites]]
url_prefix = "http://other.example.com/"
metadata = "aws_s3"
binarydata = "aws_s3"
public = ["images", "media"]

[admin]
listen = "[::1]:9090"
max_file = "1GiB"

[[admin.tokens]]
name = "deploy"
sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
verbs = ["put", "delete"]
prefixes = ["images/"]

[[admin.purge_hooks]]
name = "varnish"
url = "http://varnish:6081/"
method = "PURGE"
headers = ["xkey: {tags}"]
authorization = { env = "PURGE_TOKEN" }
body = ""

[cache]
enabled = "on"
dir = "/var/cache/ezdfs"
size = "50GiB"
min_free = "5GiB"
memory = "256MiB"
"#;
