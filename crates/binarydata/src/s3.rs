//! `s3://bucket/prefix`: Amazon S3 and what speaks its protocol.

use std::sync::Arc;

use ezdfs_core::{Error, ErrorKind, KeyPrefix, Result};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3CopyIfNotExists};

use crate::cloud::{Access, CloudOptions, Completes, is_plain_http, opened, refused, uploads};
use crate::open::Opened;

/// Where nobody names one, as object_store has it.
const REGION: &str = "us-east-1";

/// A bucket, and how to get at it. No `Debug`: it holds a secret.
#[derive(Clone)]
pub struct S3Options {
    /// Name of the bucket.
    pub bucket: String,
    /// What stands before each path in its keys.
    pub prefix: KeyPrefix,
    /// Region; `None` for `AWS_REGION`, else `us-east-1`.
    pub region: Option<String>,
    /// Access key id and secret access key; `None` for the chain of [`open_s3`].
    pub keys: Option<(String, String)>,
    /// `https://host/bucket/key` instead of `https://bucket.host/key`.
    pub path_style: bool,
}

/// Opens a bucket. Nothing is sent yet.
///
/// Credentials, the first that is there: those of the options; the variables `AWS_ACCESS_KEY_ID`,
/// `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`; a web identity (`AWS_WEB_IDENTITY_TOKEN_FILE`
/// and `AWS_ROLE_ARN`); those of an ECS task or an EKS pod; the instance's profile.
///
/// # Errors
/// [`ErrorKind::Config`] for an endpoint or certificates that cannot be used.
pub fn open_s3(options: S3Options, cloud: &CloudOptions) -> Result<Opened> {
    let S3Options { bucket, prefix, region, keys, path_style } = options;
    let env = AmazonS3Builder::from_env();
    let from_env = |key| env.get_config_value(&key);
    let endpoint = cloud
        .endpoint
        .clone()
        .or_else(|| from_env(AmazonS3ConfigKey::S3Endpoint))
        .or_else(|| from_env(AmazonS3ConfigKey::Endpoint));
    let region = region
        .or_else(|| from_env(AmazonS3ConfigKey::Region))
        .or_else(|| from_env(AmazonS3ConfigKey::DefaultRegion));
    let mut builder = match keys {
        // Nothing of the environment's: a session token, for one, belongs to other keys.
        Some((id, secret)) => {
            AmazonS3Builder::new().with_access_key_id(id).with_secret_access_key(secret)
        }
        None => env,
    };
    let region = region.unwrap_or_else(|| REGION.to_owned());
    builder = builder.with_region(region.clone());
    let service = endpoint.clone().unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
    let url = if path_style {
        format!("{}/{bucket}", service.trim_end_matches('/'))
    } else {
        virtual_hosted(&service, &bucket)?
    };
    if let Some(endpoint) = &endpoint {
        // Of the two this one counts, whichever the environment sets. Here the host has the
        // bucket's name in front already.
        let endpoint = if path_style { endpoint.clone() } else { url.clone() };
        builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
    }
    let connector = cloud.connector();
    let store = builder
        .with_bucket_name(bucket)
        .with_virtual_hosted_style_request(!path_style)
        .with_client_options(cloud.client(is_plain_http(endpoint.as_deref()))?)
        .with_retry(CloudOptions::no_retries())
        .with_http_connector(connector.clone())
        // One by one: not every store has the other call, and ours are few.
        .with_disable_bulk_delete(true)
        // Tags need a permission of their own; the attributes of ezdfs are metadata.
        .with_disable_tagging(true)
        .with_copy_if_not_exists(S3CopyIfNotExists::Multipart)
        .build()
        .map_err(refused)?;
    let access = Access::S3 { credentials: store.credentials().clone(), region };
    let uploads = uploads(url, access, prefix.clone(), cloud, &connector)?;
    let signer = Arc::new(store.clone());
    Ok(opened(store, signer, prefix, cloud, &connector, Completes::OnCondition, Some(uploads)))
}

/// `https://host:port` to `https://bucket.host:port`.
fn virtual_hosted(endpoint: &str, bucket: &str) -> Result<String> {
    let (scheme, host) = endpoint.split_once("://").ok_or_else(|| {
        Error::new(ErrorKind::Config, "the endpoint is no URL; write https://host[:port]")
    })?;
    Ok(format!("{scheme}://{bucket}.{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(path_style: bool) -> S3Options {
        S3Options {
            bucket: "b".to_owned(),
            prefix: KeyPrefix::new("p/q").unwrap(),
            region: Some("eu-west-1".to_owned()),
            keys: Some(("id".to_owned(), "hidden".to_owned())),
            path_style,
        }
    }

    #[test]
    fn nothing_that_is_opened_shows_a_secret() {
        let opened = open_s3(options(true), &CloudOptions::new("aws_s3")).unwrap();
        assert_eq!(opened.prefix, KeyPrefix::new("p/q").unwrap());
        assert!(!format!("{opened:?}").contains("hidden"));
        assert_eq!(opened.store.to_string(), "AmazonS3(b)");
    }

    #[tokio::test]
    async fn urls_are_signed_for_a_while() {
        let opened = open_s3(options(true), &CloudOptions::new("aws_s3")).unwrap();
        let key = opened.prefix.key(&"images/a b.jpg".parse().unwrap(), 1024).unwrap();
        let cloud = opened.cloud.unwrap();
        let url = cloud.sign(&key, std::time::Duration::from_secs(60)).await.unwrap();
        assert!(url.contains("/b/p/q/images/a%20b.jpg?"), "{url}");
        assert!(url.contains("X-Amz-Expires=60&") && url.contains("X-Amz-Signature="), "{url}");
        assert!(!url.contains("hidden"));
    }

    #[test]
    fn the_bucket_goes_before_the_host() {
        assert_eq!(
            virtual_hosted("https://s3.example.com:9000", "b").unwrap(),
            "https://b.s3.example.com:9000"
        );
        assert!(virtual_hosted("s3.example.com", "b").is_err());
    }

    #[test]
    fn certificates_that_are_none_are_refused() {
        let cloud = CloudOptions {
            authorities: Some(
                b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----".to_vec(),
            ),
            ..CloudOptions::new("aws_s3")
        };
        assert_eq!(open_s3(options(true), &cloud).unwrap_err().kind(), ErrorKind::Config);
    }
}
