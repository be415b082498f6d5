//! URLs of handlers: where a table or a tree of objects is.
//!
//! Refusals never quote a URL, because what was written into it may be a password.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use ezdfs_core::KeyPrefix;

use crate::reader::{Refusal, text};
use crate::server_url::ServerUrl;
use crate::tree::Node;
use crate::url::{is_host, percent_decoded, split};

/// URL of a metadata handler. It holds no password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    text: String,
    /// Which database.
    pub database: Database,
}

/// Which database a metadata handler uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// The embedded database in that file. Absolute.
    Sqlite(PathBuf),
    /// A MySQL or MariaDB server.
    Mysql(ServerUrl),
    /// A PostgreSQL server.
    Postgres(ServerUrl),
}

/// URL of a binarydata handler. It holds no credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinaryUrl {
    text: String,
    /// Which kind of store.
    pub storage: Storage,
}

/// Where a binarydata handler keeps its objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// A directory on a local disk or an NFS mount. Absolute.
    File(PathBuf),
    /// The memory of this process, gone when it ends.
    Memory(KeyPrefix),
    /// Amazon S3 and what speaks its protocol.
    S3 {
        /// Bucket.
        bucket: String,
        /// What stands before each path in its keys.
        prefix: KeyPrefix,
    },
    /// Google Cloud Storage.
    Gcs {
        /// Bucket.
        bucket: String,
        /// What stands before each path in its keys.
        prefix: KeyPrefix,
    },
    /// Azure Blob Storage.
    Azure {
        /// Container.
        container: String,
        /// What stands before each path in its keys.
        prefix: KeyPrefix,
    },
}

impl Database {
    /// Name of the kind of handler that opens it.
    #[must_use]
    pub const fn handler(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Mysql(_) => "mysql",
            Self::Postgres(_) => "postgres",
        }
    }
}

impl Storage {
    /// Name of the kind of handler that opens it.
    #[must_use]
    pub const fn handler(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Memory(_) => "memory",
            Self::S3 { .. } => "s3",
            Self::Gcs { .. } => "gs",
            Self::Azure { .. } => "az",
        }
    }

    /// Cargo feature of the builds that can open it.
    #[must_use]
    pub const fn feature(&self) -> &'static str {
        match self {
            Self::File(_) | Self::Memory(_) => "default",
            Self::S3 { .. } => "aws",
            Self::Gcs { .. } => "gcp",
            Self::Azure { .. } => "azure",
        }
    }
}

impl DatabaseUrl {
    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Reads a URL; a relative SQLite path lies in `data_dir`.
    pub(crate) fn parse(text: &str, data_dir: &Path) -> Result<Self, Refusal> {
        const FORMS: &str = "write \"sqlite:FILE\", \"mysql://user@host/database\", \
                             \"mariadb://…\" or \"postgres://…\"";
        let parts = split(text).ok_or_else(|| Refusal::new("not a database URL", FORMS))?;
        let database = match parts.scheme {
            "sqlite" => Database::Sqlite(sqlite_file(text, data_dir)?),
            "mysql" | "mariadb" => Database::Mysql(ServerUrl::parse(&parts)?),
            "postgres" | "postgresql" => Database::Postgres(ServerUrl::parse(&parts)?),
            _ => return Err(Refusal::new("not a database that ezdfs knows", FORMS)),
        };
        Ok(Self { text: text.to_owned(), database })
    }
}

/// The file of `sqlite:file`, `sqlite://file` or `sqlite:///absolute/file`, literally.
fn sqlite_file(text: &str, data_dir: &Path) -> Result<PathBuf, Refusal> {
    let file = text.strip_prefix("sqlite:").unwrap_or_default();
    let file = file.strip_prefix("//").unwrap_or(file);
    if file.is_empty() || file == ":memory:" || file.ends_with('/') {
        return Err(Refusal::new(
            "several processes share the database, so it needs a file",
            "write \"sqlite:ezdfs.db\" (in the data directory) or \"sqlite:///absolute/file.db\"",
        ));
    }
    if file.contains(['?', '#']) || file.chars().any(char::is_control) {
        return Err(Refusal::new(
            "a SQLite URL has no parameters",
            "remove everything from the ? on: ezdfs sets journal, locking and time-outs itself",
        ));
    }
    Ok(data_dir.join(file))
}

impl BinaryUrl {
    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Reads a URL; a relative file path lies in `data_dir`.
    pub(crate) fn parse(text: &str, data_dir: &Path) -> Result<Self, Refusal> {
        const FORMS: &str = "write \"file:///absolute/directory\", \"s3://bucket/prefix\", \
                             \"gs://bucket/prefix\", \"az://container/prefix\" or \"memory:\"";
        let parts = split(text).ok_or_else(|| Refusal::new("not a storage URL", FORMS))?;
        if parts.userinfo.is_some() || parts.rest.contains('@') && parts.scheme != "file" {
            return Err(Refusal::new(
                "a storage URL holds no user name, key or password",
                "remove everything up to the @; credentials have keys of their own, or come from the environment",
            ));
        }
        if parts.rest.contains(['?', '#']) {
            return Err(Refusal::new(
                "a storage URL has no query and no fragment",
                "remove it, or write ? as %3F and # as %23",
            ));
        }
        let bucket = || {
            parts
                .host
                .filter(|h| is_host(h) && !h.contains([':', '[']))
                .map(str::to_owned)
                .ok_or_else(|| {
                    Refusal::new(
                        "the URL names no bucket or container",
                        format!("write \"{}://name/prefix\"", parts.scheme),
                    )
                })
        };
        let decoded = percent_decoded(parts.rest)?;
        let prefix = || {
            let refused = |why: String| {
                Refusal::new(
                    format!("the object prefix is not valid: {why}"),
                    "correct the URL's path",
                )
            };
            let text =
                std::str::from_utf8(&decoded).map_err(|_| refused("not UTF-8".to_owned()))?;
            KeyPrefix::new(text).map_err(|e| refused(e.to_string()))
        };
        let storage = match parts.scheme {
            "file" => Storage::File(directory(parts.host, &decoded, data_dir)?),
            "memory" if parts.host.is_none_or(str::is_empty) => Storage::Memory(prefix()?),
            "s3" => Storage::S3 { bucket: bucket()?, prefix: prefix()? },
            "gs" => Storage::Gcs { bucket: bucket()?, prefix: prefix()? },
            "az" => Storage::Azure { container: bucket()?, prefix: prefix()? },
            _ => return Err(Refusal::new("not a storage that ezdfs knows", FORMS)),
        };
        Ok(Self { text: text.to_owned(), storage })
    }
}

/// The directory of `file:///absolute` or `file:relative` (RFC 8089 §2), byte for byte.
fn directory(host: Option<&str>, path: &[u8], data_dir: &Path) -> Result<PathBuf, Refusal> {
    let forms = "write \"file:///absolute/directory\", or \"file:directory\" for one in the data \
                 directory";
    if !matches!(host, None | Some("" | "localhost")) || host.is_some() && !path.starts_with(b"/") {
        return Err(Refusal::new("a file URL names no host", forms));
    }
    let dots = path.split(|b| *b == b'/').any(|s| s == b"." || s == b"..");
    if path.is_empty() || dots || path.iter().any(u8::is_ascii_control) {
        return Err(Refusal::new("not a directory name without `.`, `..` and controls", forms));
    }
    Ok(data_dir.join(OsStr::from_bytes(path)))
}

macro_rules! serialize_as_text {
    ($($name:ident),*) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.text)
            }
        }
    )*};
}
serialize_as_text!(DatabaseUrl, BinaryUrl);

pub(crate) fn database(data_dir: &Path) -> impl FnOnce(Node) -> Result<DatabaseUrl, Refusal> {
    move |node| DatabaseUrl::parse(&text(node)?, data_dir)
}

pub(crate) fn binary(data_dir: &Path) -> impl FnOnce(Node) -> Result<BinaryUrl, Refusal> {
    move |node| BinaryUrl::parse(&text(node)?, data_dir)
}

/// An endpoint of a store: scheme, host, and nothing secret.
pub(crate) fn endpoint(node: Node) -> Result<String, Refusal> {
    let text = text(node)?;
    let valid = split(&text).is_some_and(|p| {
        matches!(p.scheme, "http" | "https")
            && p.userinfo.is_none()
            && p.host.is_some_and(is_host)
            && !p.rest.contains(['?', '#', '@'])
    });
    if valid {
        Ok(text)
    } else {
        Err(Refusal::new(
            "not the URL of an endpoint without credentials and query",
            "write \"https://host[:port]\"",
        ))
    }
}
