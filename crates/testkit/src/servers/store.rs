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

use object_store::aws::AmazonS3Builder;
use object_store::path::Path as ObjectKey;
use object_store::signer::Signer as _;
use object_store::{ObjectStore, RetryConfig};

use super::url::ServerUrl;
use crate::skip::skipped;

/// Names an S3 server that honours conditional requests: `http://key:secret@host:port`.
pub const S3_URL: &str = "EZDFS_TEST_S3_URL";
/// Names an S3 server that accepts conditional PUTs and ignores their conditions.
pub const S3_CARELESS_URL: &str = "EZDFS_TEST_S3_CARELESS_URL";

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
        let store = bucket.builder().build().unwrap();
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
pub(super) fn request(
    server: &ServerUrl,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
) -> u16 {
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
    status.unwrap_or_else(|| panic!("no answer of {at}: {answer:?}"))
}

/// Also inside of a runtime.
fn on_own_thread<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let thread = std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    });
    thread.join().unwrap()
}
