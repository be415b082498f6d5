//! The program on buckets of real S3 servers.
//!
//! | file | subject |
//! |---|---|
//! | `commands` | what the commands do to a bucket, with conditional requests and without |
//! | `migrating` | `migrate-files` into a bucket |
//! | `serving` | `serve` with the cache on disk, and `warmup` |
//! | `outages` | `serve` while the bucket is away, slow, or breaks off |
//! | `azure` | the same on a container of Azure |
//! | `fsck` | `fsck` and `gc` on a bucket, unfinished uploads included |

#[cfg(feature = "azure")]
mod azure;
mod commands;
mod fsck;
mod migrating;
mod outages;
mod serving;

use ezdfs_testkit::{CarelessProxy, TestBucket};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::Home;

/// What stands before each path in the keys.
const PREFIX: &str = "var/site/storage";

/// A bucket, and a directory whose configuration has its files there.
struct Cloud {
    bucket: TestBucket,
    home: Home,
    /// Takes the conditions out of requests, where that is wanted; on a runtime of its own, since
    /// these tests are not async.
    _careless: Option<(Runtime, CarelessProxy)>,
}

impl Cloud {
    /// On the server that honours conditions; `None` without one.
    fn new() -> Option<Self> {
        let bucket = TestBucket::s3()?;
        let home = Home::configured(&configuration(&bucket, &bucket.endpoint()));
        Some(Self { bucket, home, _careless: None })
    }

    /// The same as if it ignored them.
    fn careless() -> Option<Self> {
        let bucket = TestBucket::s3()?;
        let runtime = runtime();
        let proxy = runtime.block_on(CarelessProxy::start(bucket.host(), bucket.port()));
        let home = Home::configured(&configuration(&bucket, &proxy.endpoint()));
        Some(Self { bucket, home, _careless: Some((runtime, proxy)) })
    }

    /// More sections at the end of the configuration, and keys at the start of `[store]`.
    fn configure(&self, store: &str, sections: &str) {
        let toml = String::from_utf8(self.home.read("ezdfs.toml")).unwrap();
        let toml = toml.replacen("[store]\n", &format!("[store]\n{store}\n"), 1);
        self.home.write("ezdfs.toml", format!("{toml}\n{sections}"));
    }

    /// The keys of the files, without those below `.ezdfs`.
    fn files(&self) -> Vec<String> {
        let prefix = format!("{PREFIX}/");
        let keys = self.bucket.keys().into_iter();
        let keys = keys.map(|key| key.strip_prefix(&prefix).expect("a key of ours").to_owned());
        keys.filter(|key| !key.starts_with(".ezdfs/")).collect()
    }

    fn json<const N: usize>(&self, args: [&str; N]) -> Value {
        serde_json::from_str(&self.home.ok(args)).unwrap()
    }
}

/// Rows in SQLite, files in the bucket at that endpoint.
fn configuration(bucket: &TestBucket, endpoint: &str) -> String {
    let (id, secret) = (bucket.access_key_id(), bucket.secret_access_key());
    format!(
        "[store]\nbinarydata = \"s3\"\n\
         [binarydata_handlers.s3]\nurl = \"s3://{}/{PREFIX}\"\nendpoint = \"{endpoint}\"\n\
         access_key_id = \"{id}\"\nsecret_access_key = \"{secret}\"\n",
        bucket.name()
    )
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Bytes that name their place, so that no mix and no shift looks right.
fn pattern(len: usize) -> Vec<u8> {
    (0_u32..).flat_map(u32::to_le_bytes).take(len).collect()
}
