//! Handlers on the buckets of the test servers.

use ezdfs_binarydata::{CloudOptions, Opened, S3Options, open_s3};
use ezdfs_core::KeyPrefix;
use ezdfs_testkit::TestBucket;

/// The bucket at that endpoint: its server's own, or that of a proxy before it.
pub(crate) fn open(bucket: &TestBucket, endpoint: String) -> Opened {
    open_with(bucket, CloudOptions { endpoint: Some(endpoint), ..CloudOptions::new("s3") })
}

/// The same with other options.
pub(crate) fn open_with(bucket: &TestBucket, cloud: CloudOptions) -> Opened {
    let keys = (bucket.access_key_id().to_owned(), bucket.secret_access_key().to_owned());
    let options = S3Options {
        bucket: bucket.name().to_owned(),
        prefix: KeyPrefix::default(),
        region: None,
        keys: Some(keys),
        path_style: true,
    };
    open_s3(options, &cloud).unwrap()
}
