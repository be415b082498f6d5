//! `Objects`: where the bytes are, for nodes, commands and PHP.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ezdfs_testkit::proxy::Proxy;
use ezdfs_testkit::{CarelessProxy, ForeignWriter, OwnStore, PhpNode, TestBucket};
use futures::TryStreamExt as _;

use crate::options::Bytes;
use crate::site::{NODES, PREFIX};

/// Probes of commands that were killed stay.
const PROBES: &str = ".ezdfs/probe/";

#[derive(Debug)]
pub(crate) enum Objects {
    /// Below the data directory that all share.
    Local(PathBuf),
    Bucket(Box<Bucket>),
}

#[derive(Debug)]
pub(crate) struct Bucket {
    bucket: TestBucket,
    /// One for each node, and one for the commands.
    proxies: Vec<Proxy>,
    password: PathBuf,
    /// Between proxies and server, where the store is to ignore conditions.
    careless: Option<CarelessProxy>,
    _server: OwnStore,
}

impl Objects {
    /// Files below `data`, or a server of its own.
    pub(crate) async fn start(bytes: Bytes, dir: &Path, data: &Path) -> Result<Self, String> {
        if bytes == Bytes::Local {
            return Ok(Self::Local(data.join("files")));
        }
        let at = dir.join("store");
        let starting = tokio::task::spawn_blocking(move || {
            OwnStore::start(&at).map(|server| (server.bucket(), server))
        });
        let (bucket, server) = starting.await.map_err(|e| e.to_string())??;
        let mut port = bucket.port();
        let mut careless = None;
        if bytes == Bytes::S3Plain {
            let proxy = CarelessProxy::start(bucket.host(), port).await;
            port = proxy.port();
            careless = Some(proxy);
        }
        let mut proxies = Vec::new();
        for _ in 0..=NODES {
            proxies.push(Proxy::start(bucket.host(), port).await);
        }
        let password = dir.join("s3-password");
        std::fs::write(&password, bucket.secret_access_key()).map_err(|e| e.to_string())?;
        let bucket = Bucket { bucket, proxies, password, careless, _server: server };
        Ok(Self::Bucket(Box::new(bucket)))
    }

    /// The line between each node (and the commands) and the store; none to a directory.
    pub(crate) fn proxies(&self) -> &[Proxy] {
        match self {
            Self::Local(_) => &[],
            Self::Bucket(bucket) => &bucket.proxies,
        }
    }

    pub(crate) fn is_bucket(&self) -> bool {
        matches!(self, Self::Bucket(_))
    }

    /// Whether a PUT can be made on a condition; `None` in a directory.
    pub(crate) fn honours_conditions(&self) -> Option<bool> {
        match self {
            Self::Local(_) => None,
            Self::Bucket(bucket) => Some(bucket.careless.is_none()),
        }
    }

    /// The handler, as configured for node or commands `n`.
    pub(crate) fn settings(&self, n: usize) -> String {
        let mut toml = String::new();
        if let Self::Bucket(bucket) = self {
            let Bucket { bucket, proxies, password, .. } = &**bucket;
            let port = proxies[n].port();
            let id = bucket.access_key_id();
            let name = bucket.name();
            write!(
                toml,
                "[binarydata_handlers.nfs]\nurl = \"s3://{name}\"\n\
                 endpoint = \"http://127.0.0.1:{port}\"\naccess_key_id = \"{id}\"\n\
                 secret_access_key = {{ file = \"{}\" }}\n",
                password.display()
            )
            .unwrap();
        }
        toml
    }

    /// A PHP node with its bytes here.
    pub(crate) fn php(&self, rows: Arc<dyn ForeignWriter>) -> PhpNode {
        match self {
            Self::Local(files) => PhpNode::new(rows, files, PREFIX),
            Self::Bucket(bucket) => PhpNode::on_bucket(rows, bucket.bucket.client(), PREFIX),
        }
    }

    /// The paths of everything that is stored, with what ezdfs keeps beside the files.
    pub(crate) async fn list(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        match self {
            Self::Local(files) => walk(files, files, &mut found),
            Self::Bucket(bucket) => {
                let client = bucket.bucket.client();
                let listed: Vec<_> = client.list(None).try_collect().await.unwrap();
                found.extend(listed.into_iter().map(|object| object.location.to_string()));
            }
        }
        found.retain(|path| !path.starts_with(PROBES));
        found
    }
}

fn walk(root: &Path, dir: &Path, into: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(root, &path, into);
        } else if let Ok(path) = path.strip_prefix(root) {
            into.insert(path.to_string_lossy().into_owned());
        }
    }
}
