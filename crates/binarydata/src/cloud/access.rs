//! `Access`: how a request of our own, beside object_store's, shows who sends it.

use ezdfs_core::{Error, Result};
#[cfg(feature = "aws")]
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::HttpRequest;
#[cfg(feature = "gcp")]
use object_store::gcp::GcpCredentialProvider;

/// Credentials of the handler, fetched again when they end.
#[derive(Debug)]
pub(crate) enum Access {
    /// A signature, version 4.
    #[cfg(feature = "aws")]
    S3 {
        /// Keys.
        credentials: AwsCredentialProvider,
        /// Region of the bucket, which is signed.
        region: String,
    },
    /// A bearer token.
    #[cfg(feature = "gcp")]
    Gcs(GcpCredentialProvider),
}

impl Access {
    /// Adds what shows it.
    ///
    /// # Errors
    /// When there are no credentials to be had.
    pub(super) async fn authorize(&self, request: &mut HttpRequest) -> Result<()> {
        match self {
            #[cfg(feature = "aws")]
            Self::S3 { credentials, region } => {
                let credential = credentials.get_credential().await?;
                AwsAuthorizer::new(&credential, "s3", region).try_authorize(request, None)?;
            }
            #[cfg(feature = "gcp")]
            Self::Gcs(credentials) => {
                let credential = credentials.get_credential().await?;
                let bearer = format!("Bearer {}", credential.bearer);
                let mut bearer = http::HeaderValue::from_str(&bearer).map_err(|e| {
                    let text = "the bearer token cannot be sent";
                    Error::new(ezdfs_core::ErrorKind::Config, text).with_source(e)
                })?;
                bearer.set_sensitive(true);
                request.headers_mut().insert(http::header::AUTHORIZATION, bearer);
            }
        }
        Ok(())
    }
}
