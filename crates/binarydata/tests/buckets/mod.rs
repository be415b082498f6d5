//! Handlers on the buckets of the test servers.

#![allow(dead_code, reason = "each test binary uses some of it")]

use std::time::Duration;

use ezdfs_binarydata::{
    AzureOptions, CloudOptions, GcsOptions, Opened, S3Options, open_azure, open_gcs, open_s3,
};
use ezdfs_core::KeyPrefix;
use ezdfs_testkit::{FakeCloud, TestBucket, TestContainer};

/// The bucket at that endpoint: its server's own, or that of a proxy before it.
pub(crate) fn open(bucket: &TestBucket, endpoint: String) -> Opened {
    open_with(bucket, CloudOptions { endpoint: Some(endpoint), ..CloudOptions::new("s3") })
}

/// A part of it, at its server's own endpoint.
pub(crate) fn open_below(bucket: &TestBucket, prefix: &str) -> Opened {
    let cloud = CloudOptions { endpoint: Some(bucket.endpoint()), ..CloudOptions::new("s3") };
    open_all(bucket, KeyPrefix::new(prefix).unwrap(), cloud)
}

/// The same with other options.
pub(crate) fn open_with(bucket: &TestBucket, cloud: CloudOptions) -> Opened {
    open_all(bucket, KeyPrefix::default(), cloud)
}

fn open_all(bucket: &TestBucket, prefix: KeyPrefix, cloud: CloudOptions) -> Opened {
    let keys = (bucket.access_key_id().to_owned(), bucket.secret_access_key().to_owned());
    let options = S3Options {
        bucket: bucket.name().to_owned(),
        prefix,
        region: None,
        keys: Some(keys),
        path_style: true,
    };
    open_s3(options, &cloud).unwrap()
}

/// A container.
pub(crate) fn open_container(container: &TestContainer) -> Opened {
    let options = AzureOptions {
        container: container.name().to_owned(),
        prefix: KeyPrefix::default(),
        account: Some(container.account().to_owned()),
        account_key: Some(container.account_key().to_owned()),
    };
    let endpoint = Some(container.endpoint());
    open_azure(options, &CloudOptions { endpoint, ..CloudOptions::new("azure") }).unwrap()
}

/// A fake cloud, from a function that is not asynchronous.
pub(crate) fn fake() -> FakeCloud {
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| runtime.block_on(FakeCloud::start()))
}

/// It as Google Cloud Storage.
pub(crate) fn open_gcs_fake(fake: &FakeCloud) -> Opened {
    let options = GcsOptions {
        bucket: "bucket".to_owned(),
        prefix: KeyPrefix::default(),
        service_account: Some(fake.service_account()),
    };
    // object_store takes the base URL from the account; this says that it is unencrypted.
    let cloud = CloudOptions { endpoint: Some(fake.endpoint()), ..CloudOptions::new("gcs") };
    open_gcs(options, &cloud).unwrap()
}

/// It as S3, with a short time-out.
pub(crate) fn open_s3_fake(fake: &FakeCloud, io_timeout: Duration) -> Opened {
    let options = S3Options {
        bucket: "bucket".to_owned(),
        prefix: KeyPrefix::default(),
        region: None,
        keys: Some(("id".to_owned(), "secret".to_owned())),
        path_style: true,
    };
    let endpoint = Some(fake.endpoint());
    let cloud = CloudOptions { endpoint, io_timeout, ..CloudOptions::new("s3") };
    open_s3(options, &cloud).unwrap()
}
