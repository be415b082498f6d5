//! `open_url`: from the URL of a binarydata handler to its store.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ezdfs_core::{Capabilities, CloudSide, Error, ErrorKind, KeyPrefix, Result};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use crate::local::{LocalOptions, LocalStore};

/// A binarydata handler, opened.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The object store.
    pub store: Arc<dyn ObjectStore>,
    /// What stands before each path in the object key.
    pub prefix: KeyPrefix,
    /// What the store can do.
    pub capabilities: Capabilities,
    /// What only a cloud has.
    pub side: CloudSide,
    /// The store again when it is a local one: it has directories of its own, and staged files to
    /// be swept.
    pub local: Option<Arc<LocalStore>>,
    /// The store again when it is a cloud: it can be probed.
    #[cfg(feature = "cloud")]
    pub cloud: Option<crate::cloud::Cloud>,
}

impl Opened {
    /// A store that is nothing special.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, prefix: KeyPrefix, capabilities: Capabilities) -> Self {
        Self {
            store,
            prefix,
            capabilities,
            side: CloudSide::default(),
            local: None,
            #[cfg(feature = "cloud")]
            cloud: None,
        }
    }
}

/// Opens the store of a URL.
///
/// - `file:///dir`: a directory of this machine, local or NFS. The URL's path, percent-decoded
///   once, is the root, byte for byte; `?` and `#` must be written `%3F` and `%23`.
/// - `memory:` or `memory:///prefix`: for tests; gone when the process ends.
///
/// # Errors
/// [`ErrorKind::Config`] for a URL that is none or a root that cannot be used,
/// [`ErrorKind::Unsupported`] for a scheme that this build cannot open.
pub async fn open_url(url: &str, options: &LocalOptions) -> Result<Opened> {
    // The rest of a URL may hold credentials: no message shows it unless the scheme is `file`.
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err(config("a binarydata URL starts with its scheme, e.g. file:///mnt/nfs/site"));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "file" => {
            let (root, options) = (file_root(url, rest)?, options.clone());
            let open = move || LocalStore::open(root, options);
            let store = tokio::task::spawn_blocking(open).await.map_err(|e| {
                Error::new(ErrorKind::Internal, "opening a local store did not finish")
                    .with_source(e)
            })??;
            let local = Arc::new(store);
            let opened = Opened::new(local.clone(), KeyPrefix::default(), Capabilities::LOCAL);
            Ok(Opened { local: Some(local), ..opened })
        }
        "memory" => {
            let store = Arc::new(InMemory::new());
            Ok(Opened::new(store, memory_prefix(rest)?, Capabilities::MEMORY))
        }
        scheme @ ("s3" | "gs" | "az") => Err(Error::new(
            ErrorKind::Unsupported,
            format!("{scheme}:// stores need more than a URL: see `open_s3` and its like"),
        )),
        _ => Err(config("unknown scheme of a binarydata URL; file:// and memory: work")),
    }
}

/// The `file://` URL of an absolute path.
#[must_use]
pub fn file_url(root: &Path) -> String {
    const LITERAL: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    format!("file://{}", percent_encode(root.as_os_str().as_bytes(), LITERAL))
}

fn file_root(url: &str, rest: &str) -> Result<PathBuf> {
    let path = match rest.strip_prefix("//") {
        Some(authority) => authority.strip_prefix("localhost").unwrap_or(authority),
        None => rest,
    };
    if !path.starts_with('/') {
        return Err(config(format!(
            "`{url}`: write file:// and an absolute path, e.g. file:///mnt/nfs/site"
        )));
    }
    let bytes = decode(path).map_err(|why| config(format!("`{url}`: {why}")))?;
    if bytes.contains(&0) {
        return Err(config(format!("`{url}`: a path cannot have a NUL byte")));
    }
    Ok(PathBuf::from(OsString::from_vec(bytes)))
}

fn memory_prefix(rest: &str) -> Result<KeyPrefix> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    let bytes = decode(path).map_err(config)?;
    let text = String::from_utf8(bytes)
        .map_err(|e| config("the prefix of a memory: URL is not UTF-8").with_source(e))?;
    KeyPrefix::new(&text).map_err(|e| config("the prefix of a memory: URL").with_source(e))
}

/// Percent-decodes once; refuses what would not mean itself.
fn decode(path: &str) -> Result<Vec<u8>, &'static str> {
    if path.contains(['?', '#']) {
        return Err("write `?` as %3F and `#` as %23");
    }
    let escapes_are_whole = path.split('%').skip(1).all(|after| {
        after.as_bytes().get(..2).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    });
    if !escapes_are_whole {
        return Err("write `%` as %25");
    }
    Ok(percent_decode_str(path).collect())
}

fn config(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(url: &str) -> Result<PathBuf> {
        file_root(url, url.strip_prefix("file:").unwrap())
    }

    #[test]
    fn the_path_of_a_file_url_is_literal_after_one_decoding() {
        assert_eq!(root("file:///mnt/a b/%23x%2541").unwrap(), Path::new("/mnt/a b/#x%41"));
        assert_eq!(root("file://localhost/x").unwrap(), Path::new("/x"));
        assert_eq!(root("file:/x//y/").unwrap(), Path::new("/x//y/"));
        assert_eq!(root("file:///%FF").unwrap().as_os_str().as_bytes(), b"/\xff");
        for bad in [
            "file:x",
            "file://host/x",
            "file:///a#b",
            "file:///a?b",
            "file:///100%",
            "file:///%zz",
            "file:///%00",
        ] {
            assert_eq!(root(bad).unwrap_err().kind(), ErrorKind::Config, "{bad}");
        }
    }

    #[test]
    fn file_urls_round_trip() {
        for path in ["/a/b", "/100%/x#1?y", "/é 😀/\\", "/~a"] {
            assert_eq!(root(&file_url(Path::new(path))).unwrap(), Path::new(path));
        }
        let bytes = Path::new(std::ffi::OsStr::from_bytes(b"/\xff\x01"));
        assert_eq!(root(&file_url(bytes)).unwrap(), bytes);
    }

    #[tokio::test]
    async fn each_scheme_is_opened_or_refused_with_a_reason() {
        let options = LocalOptions::default();
        let dir = tempfile::tempdir().unwrap();
        let local = open_url(&file_url(dir.path()), &options).await.unwrap();
        assert_eq!(local.local.unwrap().root(), dir.path());
        assert_eq!(local.capabilities, Capabilities::LOCAL);
        assert_eq!(open_url("memory:", &options).await.unwrap().prefix, KeyPrefix::default());
        let memory = open_url("memory:///a%20b/c", &options).await.unwrap();
        assert_eq!(memory.prefix, KeyPrefix::new("a b/c").unwrap());

        let missing = file_url(&dir.path().join("none"));
        let refused = [
            (missing.as_str(), ErrorKind::Config),
            ("s3://user:hidden@bucket/p", ErrorKind::Unsupported),
            ("gs://bucket", ErrorKind::Unsupported),
            ("az://user:hidden@c", ErrorKind::Unsupported),
            ("ftp://user:hidden@host", ErrorKind::Config),
            ("/mnt/x", ErrorKind::Config),
            ("memory:///a//b", ErrorKind::Config),
        ];
        for (url, kind) in refused {
            let error = open_url(url, &options).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{url}: {error}");
            assert!(!error.to_string().contains("hidden"), "{error}");
        }
        let create = LocalOptions { create_root: true, ..options };
        assert!(open_url(&missing, &create).await.is_ok());
    }
}
