//! `az://container/prefix`: Azure Blob Storage.

use std::sync::Arc;

use ezdfs_core::{KeyPrefix, Result};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};

use crate::cloud::{AzureStore, CloudOptions, Completes, is_plain_http, opened, refused};
use crate::open::Opened;

/// A container, and how to get at it. No `Debug`: it holds a secret.
#[derive(Clone)]
pub struct AzureOptions {
    /// Name of the container.
    pub container: String,
    /// What stands before each path in its blob names.
    pub prefix: KeyPrefix,
    /// Name of the storage account; `None` for `AZURE_STORAGE_ACCOUNT_NAME`.
    pub account: Option<String>,
    /// Key of the account, in base64; `None` for the chain of [`open_azure`].
    pub account_key: Option<String>,
}

/// Opens a container. Nothing is sent yet.
///
/// Credentials, the first that is there: the account key of the options; `AZURE_STORAGE_ACCOUNT_KEY`;
/// a workload identity (`AZURE_FEDERATED_TOKEN_FILE`); a client secret (`AZURE_STORAGE_CLIENT_ID`,
/// `…_SECRET`, `…_TENANT_ID`); `AZURE_STORAGE_SAS_KEY`; the managed identity of the machine.
///
/// # Errors
/// [`ezdfs_core::ErrorKind::Config`] for an account or certificates that cannot be used.
pub fn open_azure(options: AzureOptions, cloud: &CloudOptions) -> Result<Opened> {
    let AzureOptions { container, prefix, account, account_key } = options;
    let mut builder = match account_key {
        Some(key) => MicrosoftAzureBuilder::new().with_access_key(key),
        None => MicrosoftAzureBuilder::from_env(),
    };
    let from_env = MicrosoftAzureBuilder::from_env();
    let account = account.or_else(|| from_env.get_config_value(&AzureConfigKey::AccountName));
    if let Some(account) = account {
        builder = builder.with_account(account);
    }
    let endpoint =
        cloud.endpoint.clone().or_else(|| builder.get_config_value(&AzureConfigKey::Endpoint));
    if let Some(endpoint) = &cloud.endpoint {
        builder = builder.with_endpoint(endpoint.clone());
    }
    let connector = cloud.connector();
    let store = builder
        .with_container_name(container)
        .with_client_options(cloud.client(is_plain_http(endpoint.as_deref()))?)
        .with_retry(CloudOptions::no_retries())
        .with_http_connector(connector.clone())
        .with_disable_tagging(true)
        .build()
        .map_err(refused)?;
    // Blocks that were never committed go after a week; there is no call to list them.
    let signer = Arc::new(store.clone());
    let store = AzureStore(store);
    Ok(opened(store, signer, prefix, cloud, &connector, Completes::ByItself, None))
}
