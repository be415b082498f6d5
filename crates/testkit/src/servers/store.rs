//! Object stores on real servers: a fresh bucket for each test.
//!
//! `scripts/test` starts the servers and names them in `EZDFS_TEST_S3_URL`,
//! `EZDFS_TEST_S3_CARELESS_URL` and `EZDFS_TEST_AZURE_URL`; `scripts/test-servers` does so by hand.
//! Buckets are not deleted: the servers are thrown away.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::HttpRequestBody;
use object_store::multipart::MultipartStore as _;
use object_store::path::Path as ObjectKey;
use object_store::signer::{SignedUrlOptions, Signer as _};
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload, RetryConfig};

use super::url::ServerUrl;
use crate::skip::skipped;

/// Names an S3 server that honours conditional requests: `http://key:secret@host:port`.
pub const S3_URL: &str = "EZDFS_TEST_S3_URL";
/// Names an S3 server that accepts conditional PUTs and ignores their conditions.
pub const S3_CARELESS_URL: &str = "EZDFS_TEST_S3_CARELESS_URL";

/// Names an Azure server, which is one for all accounts: `http://account:key@host:port`.
pub const AZURE_URL: &str = "EZDFS_TEST_AZURE_URL";

/// Longest wait for a server.
const WAIT: Duration = Duration::from_secs(30);

/// A bucket of one test.
#[derive(Debug, Clone)]
pub struct TestBucket {
    server: ServerUrl,
    name: String,
}

impl TestBucket {
    /// A new bucket on the server that honours conditions; `None` without one, after saying so.
    ///
    /// # Panics
    /// When the server refuses, or is missing with `EZDFS_REQUIRE=all`.
    #[must_use]
    pub fn s3() -> Option<Self> {
        Self::on(S3_URL)
    }

    /// The same on the server that ignores them.
    ///
    /// # Panics
    /// As [`Self::s3`].
    #[must_use]
    pub fn careless_s3() -> Option<Self> {
        Self::on(S3_CARELESS_URL)
    }

    /// A new bucket on the server of this URL, for a test that starts a server of its own.
    ///
    /// # Panics
    /// When the server refuses.
    #[must_use]
    pub fn at(url: &str) -> Self {
        Self::new(ServerUrl::parse(url).unwrap())
    }

    fn on(variable: &str) -> Option<Self> {
        Some(Self::new(server(variable, "a test on S3")?))
    }

    fn new(server: ServerUrl) -> Self {
        let bucket = Self { server, name: unique_name() };
        let store = bucket.store();
        let create = on_own_thread(async move {
            let root = ObjectKey::default();
            store.signed_url(http::Method::PUT, &root, WAIT).await.unwrap()
        });
        let target = format!("{}?{}", create.path(), create.query().unwrap_or_default());
        let status = request(&bucket.server, "PUT", &target, &[]);
        assert_eq!(status, 200, "the bucket `{}` cannot be made", bucket.name);
        bucket
    }

    fn builder(&self) -> AmazonS3Builder {
        AmazonS3Builder::new()
            .with_endpoint(self.endpoint())
            .with_allow_http(true)
            .with_access_key_id(self.access_key_id())
            .with_secret_access_key(self.secret_access_key())
            .with_bucket_name(&self.name)
    }

    /// A client of another program than ezdfs: nothing is done twice, and nobody knows of tokens.
    ///
    /// # Panics
    /// Never: what the client needs is there.
    #[must_use]
    pub fn client(&self) -> Arc<dyn ObjectStore> {
        let once = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        Arc::new(self.builder().with_retry(once).build().unwrap())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server's host.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.server.host
    }

    /// The server's port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.port
    }

    /// `http://host:port`
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}:{}", self.server.host, self.server.port)
    }

    /// Access key.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        &self.server.user
    }

    /// Its secret.
    #[must_use]
    pub fn secret_access_key(&self) -> &str {
        &self.server.password
    }

    fn store(&self) -> AmazonS3 {
        self.builder().build().unwrap()
    }
}

/// What other programs see of it and do to it.
impl TestBucket {
    /// The keys of all objects, in order.
    ///
    /// # Panics
    /// When the server refuses, as do the next ones.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let store = self.store();
        let listed = on_own_thread(async move { store.list(None).try_collect::<Vec<_>>().await });
        let mut keys: Vec<_> =
            listed.unwrap().into_iter().map(|object| object.location.to_string()).collect();
        keys.sort_unstable();
        keys
    }

    /// Stores an object.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn put(&self, key: &str, bytes: impl Into<Bytes>) {
        let (store, key, bytes) = (self.store(), ObjectKey::parse(key).unwrap(), bytes.into());
        on_own_thread(async move { store.put(&key, bytes.into()).await }).unwrap();
    }

    /// The bytes of an object.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn read(&self, key: &str) -> Bytes {
        let (store, key) = (self.store(), ObjectKey::parse(key).unwrap());
        on_own_thread(async move { store.get(&key).await.unwrap().bytes().await }).unwrap()
    }

    /// Begins an upload, sends so many parts of it, and is heard of no more.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn begin_upload(&self, key: &str, parts: usize) {
        let (store, key) = (self.store(), ObjectKey::parse(key).unwrap());
        let begun = on_own_thread(async move {
            let id = store.create_multipart(&key).await?;
            for part in 0..parts {
                store.put_part(&key, &id, part, PutPayload::from_static(b"part")).await?;
            }
            Ok::<_, object_store::Error>(())
        });
        begun.unwrap();
    }

    /// The keys of unfinished uploads, in order.
    ///
    /// # Panics
    /// When the server refuses.
    #[must_use]
    pub fn uploads(&self) -> Vec<String> {
        let (store, name) = (self.store(), self.name.clone());
        let list = on_own_thread(async move {
            let root = ObjectKey::default();
            let options = SignedUrlOptions::new().with_query([("uploads", "")]);
            store.signed_url_opts(http::Method::GET, &root, WAIT, &options).await.unwrap()
        });
        let target = format!("{}?{}", list.path(), list.query().unwrap_or_default());
        let (status, body) = exchange(&self.server, "GET", &target, &[]);
        assert_eq!(status, 200, "the uploads of `{name}` cannot be listed: {body}");
        let keys = body.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
        let mut keys: Vec<_> = keys.map(str::to_owned).collect();
        keys.sort_unstable();
        keys
    }

    /// Deletes an object.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn delete(&self, key: &str) {
        let (store, key) = (self.store(), ObjectKey::parse(key).unwrap());
        on_own_thread(async move { store.delete(&key).await }).unwrap();
    }
}

/// A container of one test in Azure Blob Storage.
#[derive(Debug, Clone)]
pub struct TestContainer {
    server: ServerUrl,
    name: String,
}

impl TestContainer {
    /// A new container; `None` without a server, after saying so.
    ///
    /// # Panics
    /// When the server refuses, or is missing with `EZDFS_REQUIRE=all`.
    #[must_use]
    pub fn azure() -> Option<Self> {
        let server = server(AZURE_URL, "a test on Azure")?;
        let container = Self { server, name: unique_name() };
        let url = format!("{}/{}?restype=container", container.endpoint(), container.name);
        let create = http::Request::builder().method("PUT").uri(url);
        let mut create = create.body(HttpRequestBody::empty()).unwrap();
        let key = AzureAccessKey::try_new(container.account_key()).unwrap();
        let credential = AzureCredential::AccessKey(key);
        let authorizer = AzureAuthorizer::new(&credential, container.account());
        authorizer.try_authorize(&mut create).unwrap();
        let headers: Vec<_> = create
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        let target = create.uri().path_and_query().unwrap().as_str();
        let status = request(&container.server, "PUT", target, &headers);
        assert_eq!(status, 201, "the container `{}` cannot be made", container.name);
        Some(container)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `http://host:port/account`: one server has all accounts.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}:{}/{}", self.server.host, self.server.port, self.account())
    }

    /// The account.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.server.user
    }

    /// Its key, in base64.
    #[must_use]
    pub fn account_key(&self) -> &str {
        &self.server.password
    }
}

/// The server that a variable names.
pub(super) fn server(variable: &str, what: &str) -> Option<ServerUrl> {
    let Ok(url) = std::env::var(variable) else {
        let why = format!("{variable} is unset (scripts/test-servers starts one)");
        skipped(what, &why);
        return None;
    };
    Some(ServerUrl::parse(&url).unwrap_or_else(|e| panic!("{variable}: {e}")))
}

/// A name that no bucket or container has yet.
pub(super) fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let moment = chrono::Utc::now().timestamp_micros();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("ezdfs-{}-{moment}-{count}", std::process::id())
}

/// One request without a body; its status.
fn request(server: &ServerUrl, method: &str, target: &str, headers: &[(&str, &str)]) -> u16 {
    exchange(server, method, target, headers).0
}

/// One request without a body; status, and head and body of the answer.
fn exchange(
    server: &ServerUrl,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
) -> (u16, String) {
    let at = format!("{}:{}", server.host, server.port);
    let mut stream = TcpStream::connect(&at).unwrap_or_else(|e| panic!("{at}: {e}"));
    stream.set_read_timeout(Some(WAIT)).unwrap();
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "Content-Length: 0\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no answer of {at}: {answer:?}"));
    (status, answer)
}

/// Also inside of a runtime.
fn on_own_thread<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let thread = std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    });
    thread.join().unwrap()
}
