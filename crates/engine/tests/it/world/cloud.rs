//! Clouds behind the real client: a fake, or a bucket on a real server.

use ezdfs_binarydata::{CloudOptions, Opened, S3Options};
use ezdfs_core::{Capabilities, Conditions, KeyPrefix};
use ezdfs_testkit::{CarelessProxy, FakeCloud, TestBucket};

/// Which, by what becomes of conditional requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cloud {
    Honours,
    Ignores,
    ServerHonours,
    ServerIgnores,
}

/// What lives as long as the world.
pub(super) struct Started {
    pub(super) opened: Opened,
    pub(super) fake: Option<FakeCloud>,
    _careless: Option<CarelessProxy>,
}

impl Cloud {
    pub(super) async fn start(self) -> Started {
        match self {
            Self::Honours | Self::Ignores => {
                let fake = FakeCloud::start().await;
                if self == Self::Ignores {
                    fake.ignore_conditions();
                }
                let opened = open_s3("bucket", ("id", "secret"), fake.endpoint());
                Started { opened, fake: Some(fake), _careless: None }
            }
            Self::ServerHonours | Self::ServerIgnores => {
                let bucket = TestBucket::s3().expect("a server: the test asked for one");
                let careless = match self {
                    Self::ServerIgnores => {
                        Some(CarelessProxy::start(bucket.host(), bucket.port()).await)
                    }
                    _ => None,
                };
                let endpoint =
                    careless.as_ref().map_or_else(|| bucket.endpoint(), CarelessProxy::endpoint);
                let keys = (bucket.access_key_id(), bucket.secret_access_key());
                let opened = open_s3(bucket.name(), keys, endpoint);
                Started { opened, fake: None, _careless: careless }
            }
        }
    }

    /// As a probe would find them.
    pub(super) fn capabilities(self) -> Capabilities {
        let conditions = match self {
            Self::Honours => Conditions { versions: false, ..Conditions::ALL },
            Self::ServerHonours => Conditions { complete_absent: true, ..Conditions::WHOLE },
            Self::Ignores | Self::ServerIgnores => Conditions::NONE,
        };
        Capabilities { conditions, ..Capabilities::CLOUD }
    }
}

fn open_s3(bucket: &str, keys: (&str, &str), endpoint: String) -> Opened {
    let options = S3Options {
        bucket: bucket.to_owned(),
        prefix: KeyPrefix::default(),
        region: None,
        keys: Some((keys.0.to_owned(), keys.1.to_owned())),
        path_style: true,
    };
    let cloud = CloudOptions { endpoint: Some(endpoint), ..CloudOptions::new("test") };
    ezdfs_binarydata::open_s3(options, &cloud).unwrap()
}
