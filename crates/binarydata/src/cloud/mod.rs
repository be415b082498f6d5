//! What the three clouds share: how a request is sent, retried and given up, and an
//! [`ObjectStore`] that makes one behaviour of theirs.
//!
//! | file | subject |
//! |---|---|
//! | `transport` | every HTTP request: time-out, retries, the two below |
//! | `breaker` | a store that does not answer is asked rarely |
//! | `budget` | how many retries a store may cause |
//! | `store` | `CloudStore`, the store that the engine sees |
//! | `upload` | small objects by one PUT, large ones in parts; conditions; leftovers |
//! | `body` | a body that breaks is resumed, pinned |
//! | `probe` | which conditional requests a store honours |
//! | `azure` | what Azure does unlike the others |
//! | `uploads`, `access` | uploads that nobody completed: found and aborted |

#[cfg(feature = "xml")]
mod access;
#[cfg(feature = "azure")]
mod azure;
mod body;
mod breaker;
mod budget;
mod probe;
mod store;
mod transport;
mod upload;
#[cfg(feature = "xml")]
mod uploads;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ezdfs_core::{
    Capabilities, CloudSide, Conditions, Entropy, Error, ErrorKind, KeyPrefix, OsEntropy, Result,
    Uploads,
};
#[cfg(feature = "xml")]
use object_store::client::HttpConnector as _;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{BackoffConfig, Certificate, ClientOptions, ObjectStore, RetryConfig};

use crate::open::Opened;
#[cfg(feature = "xml")]
pub(crate) use access::Access;
#[cfg(feature = "azure")]
pub(crate) use azure::AzureStore;
use store::CloudStore;
use transport::Connector;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What every cloud handler is opened with.
#[derive(Clone)]
pub struct CloudOptions {
    /// Handler name of the configuration, for messages.
    pub handler: String,
    /// Longest silence of the store before a request counts as failed.
    pub io_timeout: Duration,
    /// URL of the service; `None` for the provider's own.
    pub endpoint: Option<String>,
    /// Certificates of authorities of one's own, in PEM, beside those of the system.
    pub authorities: Option<Vec<u8>>,
    /// Spreads retries.
    pub entropy: Arc<dyn Entropy>,
}

impl CloudOptions {
    /// A handler of that name, with the defaults of the configuration.
    #[must_use]
    pub fn new(handler: impl Into<String>) -> Self {
        Self {
            handler: handler.into(),
            io_timeout: Duration::from_secs(30),
            endpoint: None,
            authorities: None,
            entropy: Arc::new(OsEntropy),
        }
    }

    pub(crate) fn connector(&self) -> Connector {
        Connector::new(&self.handler, self.io_timeout, Arc::clone(&self.entropy))
    }

    /// No total deadline, which would cut large bodies: a time-out for the connection and one for
    /// each silence.
    pub(crate) fn client(&self, allow_http: bool) -> Result<ClientOptions> {
        let mut client = ClientOptions::new()
            .with_timeout_disabled()
            .with_connect_timeout(CONNECT_TIMEOUT.min(self.io_timeout))
            .with_read_timeout(self.io_timeout)
            .with_allow_http(allow_http);
        if let Some(pem) = &self.authorities {
            let found = Certificate::from_pem_bundle(pem).map_err(|e| {
                Error::new(ErrorKind::Config, "the certificates cannot be read").with_source(e)
            })?;
            for certificate in found {
                client = client.with_root_certificate(certificate);
            }
        }
        Ok(client)
    }

    /// What object_store itself would do again. Nothing: see `transport`.
    pub(crate) fn no_retries() -> RetryConfig {
        RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: 0,
            retry_timeout: Duration::ZERO,
        }
    }
}

/// No secrets are in it, but nothing of it helps either.
impl fmt::Debug for CloudOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudOptions").field("handler", &self.handler).finish_non_exhaustive()
    }
}

/// Whether requests go out unencrypted: only where the endpoint says so.
pub(crate) fn is_plain_http(endpoint: Option<&str>) -> bool {
    endpoint
        .is_some_and(|e| e.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://")))
}

/// What can be done with a cloud besides storing objects.
#[derive(Debug, Clone)]
pub struct Cloud {
    store: Arc<CloudStore>,
    prefix: KeyPrefix,
    entropy: Arc<dyn Entropy>,
    completes: Completes,
    signer: Arc<dyn Signer>,
}

/// Whether a condition can be sent when an upload in parts is completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "a build may have only some of the three")]
pub(crate) enum Completes {
    /// S3 does not sign the header, so that it can be added.
    OnCondition,
    /// GCS has none.
    Always,
    /// Azure signs it. Only the client's own uploads send attributes, and take no condition.
    ByItself,
}

impl Cloud {
    /// A URL by which anyone may read an object for `life`. It holds a signature: keep it out of logs.
    ///
    /// # Errors
    /// When the credentials cannot sign.
    pub async fn sign(&self, key: &Path, life: Duration) -> Result<String> {
        let url = self.signer.signed_url(http::Method::GET, key, life).await;
        url.map(String::from).map_err(|e| Error::from(e).context("no URL can be signed"))
    }

    /// Finds out which conditional requests the store honours, on a throw-away object below
    /// `.ezdfs/probe/`. About twenty round trips.
    ///
    /// # Errors
    /// When the store does not answer, or does not let this user write.
    pub async fn probe(&self) -> Result<Conditions> {
        let parts = match self.completes {
            Completes::OnCondition => self.store.parts(),
            Completes::Always | Completes::ByItself => None,
        };
        let token = self.entropy.token();
        probe::probe(&self.store, &self.prefix, token, parts).await.map_err(|e| {
            Error::from(e).context("which conditional requests the store honours is not known")
        })
    }
}

/// A handler of a store that object_store's client talks to.
pub(crate) fn opened<S>(
    store: S,
    signer: Arc<dyn Signer>,
    prefix: KeyPrefix,
    options: &CloudOptions,
    connector: &Connector,
    completes: Completes,
    uploads: Option<Arc<dyn Uploads>>,
) -> Opened
where
    S: ObjectStore + MultipartStore,
{
    let store = Arc::new(store);
    let parts: Option<Arc<dyn MultipartStore>> = match completes {
        Completes::OnCondition | Completes::Always => Some(store.clone()),
        Completes::ByItself => None,
    };
    let store = Arc::new(CloudStore::new(store, parts, connector.policy()));
    let entropy = Arc::clone(&options.entropy);
    let opened = Opened::new(store.clone(), prefix.clone(), Capabilities::CLOUD);
    let side = CloudSide { uploads, ..CloudSide::default() };
    Opened { cloud: Some(Cloud { store, prefix, entropy, completes, signer }), side, ..opened }
}

/// The unfinished uploads of a bucket. `bucket` is its URL.
///
/// # Errors
/// [`ErrorKind::Config`] for certificates that cannot be used.
#[cfg(feature = "xml")]
pub(crate) fn uploads(
    bucket: String,
    access: Access,
    prefix: KeyPrefix,
    options: &CloudOptions,
    connector: &Connector,
) -> Result<Arc<dyn Uploads>> {
    let client = options.client(is_plain_http(Some(&bucket)))?;
    let client = connector.connect(&client).map_err(refused)?;
    let (name, io_timeout) = (options.handler.clone(), options.io_timeout);
    Ok(Arc::new(uploads::CloudUploads { name, client, access, bucket, prefix, io_timeout }))
}

/// What a builder refuses is the configuration's fault.
pub(crate) fn refused(e: object_store::Error) -> Error {
    Error::new(ErrorKind::Config, "the handler cannot be set up").with_source(e)
}
