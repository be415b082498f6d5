//! `gs://bucket/prefix`: Google Cloud Storage, through its XML API.

use std::sync::Arc;

use ezdfs_core::{KeyPrefix, Result};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};

use crate::cloud::{Access, CloudOptions, Completes, is_plain_http, opened, refused, uploads};
use crate::open::Opened;

/// Google's own endpoint.
const SERVICE: &str = "https://storage.googleapis.com";

/// A bucket, and how to get at it. No `Debug`: it holds a secret.
#[derive(Clone)]
pub struct GcsOptions {
    /// Name of the bucket.
    pub bucket: String,
    /// What stands before each path in its keys.
    pub prefix: KeyPrefix,
    /// The JSON of a service account's key; `None` for the chain of [`open_gcs`].
    pub service_account: Option<String>,
}

/// Opens a bucket. Nothing is sent yet.
///
/// Credentials, the first that is there: the service account of the options; `GOOGLE_SERVICE_ACCOUNT`
/// or `GOOGLE_SERVICE_ACCOUNT_KEY`; the file of `GOOGLE_APPLICATION_CREDENTIALS`; what `gcloud auth
/// application-default login` left; the instance's service account.
///
/// # Errors
/// [`ezdfs_core::ErrorKind::Config`] for a service account or certificates that cannot be used.
pub fn open_gcs(options: GcsOptions, cloud: &CloudOptions) -> Result<Opened> {
    let GcsOptions { bucket, prefix, service_account } = options;
    let mut builder = match service_account {
        Some(key) => GoogleCloudStorageBuilder::new().with_service_account_key(key),
        None => GoogleCloudStorageBuilder::from_env(),
    };
    let endpoint =
        cloud.endpoint.clone().or_else(|| builder.get_config_value(&GoogleConfigKey::BaseUrl));
    if let Some(endpoint) = &cloud.endpoint {
        builder = builder.with_base_url(endpoint);
    }
    let connector = cloud.connector();
    let url = format!("{}/{bucket}", endpoint.as_deref().unwrap_or(SERVICE).trim_end_matches('/'));
    let store = builder
        .with_bucket_name(bucket)
        .with_client_options(cloud.client(is_plain_http(endpoint.as_deref()))?)
        .with_retry(CloudOptions::no_retries())
        .with_http_connector(connector.clone())
        .build()
        .map_err(refused)?;
    let access = Access::Gcs(store.credentials().clone());
    let uploads = uploads(url, access, prefix.clone(), cloud, &connector)?;
    let signer = Arc::new(store.clone());
    Ok(opened(store, signer, prefix, cloud, &connector, Completes::Always, Some(uploads)))
}
