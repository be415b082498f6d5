//! How the cloud of a handler is opened.

use ezdfs_binarydata::{CloudOptions, Opened};
use ezdfs_core::{Error, ErrorKind, Result};

use crate::authorities;
use crate::load::Loaded;
use crate::location::Storage;
use crate::probes;
use crate::secret::Secret;
use crate::settings::BinaryHandler;

/// Opens the store of a cloud handler, and finds out what it can do.
///
/// # Errors
/// [`ErrorKind::Config`] for a cloud that is not in this build, and when credentials or
/// certificates are not where the settings say.
pub(crate) async fn open(loaded: &Loaded, name: &str, handler: &BinaryHandler) -> Result<Opened> {
    let mut opened = open_unprobed(loaded, name, handler)?;
    probes::add(loaded, name, handler, &mut opened).await;
    Ok(opened)
}

fn open_unprobed(loaded: &Loaded, name: &str, handler: &BinaryHandler) -> Result<Opened> {
    let key = |key: &str| format!("binarydata_handlers.{name}.{key}");
    let authorities = handler.tls_ca.as_deref().map(authorities::pem).transpose();
    let cloud = CloudOptions {
        io_timeout: loaded.settings.store.io_timeout,
        endpoint: handler.endpoint.clone(),
        authorities: authorities.map_err(|e| loaded.at(&key("tls_ca"), e))?,
        ..CloudOptions::new(name)
    };
    let secret = |of: &str, secret: &Option<Secret>| {
        let value = secret.as_ref().map(|secret| secret.resolve(&loaded.env)).transpose();
        let value = value.map_err(|e| loaded.at(&key(of), e))?;
        Ok::<_, Error>(value.map(|value| value.expose().to_owned()))
    };
    match &handler.url.storage {
        #[cfg(feature = "aws")]
        Storage::S3 { bucket, prefix } => {
            let id = secret("access_key_id", &handler.access_key_id)?;
            let key = secret("secret_access_key", &handler.secret_access_key)?;
            let options = ezdfs_binarydata::S3Options {
                bucket: bucket.clone(),
                prefix: prefix.clone(),
                region: handler.region.clone(),
                keys: id.zip(key),
                path_style: handler.path_style.unwrap_or(true),
            };
            ezdfs_binarydata::open_s3(options, &cloud)
        }
        #[cfg(feature = "gcp")]
        Storage::Gcs { bucket, prefix } => {
            let options = ezdfs_binarydata::GcsOptions {
                bucket: bucket.clone(),
                prefix: prefix.clone(),
                service_account: secret("service_account", &handler.service_account)?,
            };
            ezdfs_binarydata::open_gcs(options, &cloud)
        }
        #[cfg(feature = "azure")]
        Storage::Azure { container, prefix } => {
            let options = ezdfs_binarydata::AzureOptions {
                container: container.clone(),
                prefix: prefix.clone(),
                account: handler.account.clone(),
                account_key: secret("account_key", &handler.account_key)?,
            };
            ezdfs_binarydata::open_azure(options, &cloud)
        }
        other => {
            let problem = crate::check::no_storage(loaded, name, other);
            Err(Error::new(ErrorKind::Config, format!("{}; {}", problem.message, problem.fix)))
        }
    }
}
