//! `serve` on a bucket: a hit in the cache on disk asks the store nothing.

use std::net::SocketAddr;

use ezdfs_testkit::proxy::Proxy;

use super::super::serve::Serving;
use super::super::wait_for;
use super::*;
use crate::common::http;

/// The bucket behind a proxy that counts.
pub(super) fn proxied(bucket: &TestBucket) -> (Runtime, Proxy, Home) {
    let runtime = runtime();
    let proxy = runtime.block_on(Proxy::start(bucket.host(), bucket.port()));
    let endpoint = format!("http://127.0.0.1:{}", proxy.port());
    let home = Home::configured(&configuration(bucket, &endpoint));
    (runtime, proxy, home)
}

pub(super) fn url(path: &str) -> String {
    format!("/var/site/storage/{path}")
}

fn status(address: SocketAddr) -> Value {
    serde_json::from_slice(&http::get(address, "/v1/status").body).unwrap()
}

/// A server whose answers come from memory, as far as they may.
pub(super) fn serving(home: &Home) -> Serving {
    let serving = Serving::start(home);
    wait_for("a fresh feed", || status(serving.admin)["memory"]["fresh"] == true);
    serving
}

#[test]
fn a_hit_in_the_cache_is_no_request_to_the_bucket() {
    let Some(bucket) = TestBucket::s3() else { return };
    let (_runtime, proxy, home) = proxied(&bucket);
    let large = pattern((7 << 20) + 3);
    let file = home.write("large.bin", &large);
    home.ok(["put", file.to_str().unwrap(), "images/large.bin"]);
    home.put("images/small.txt", "small");
    let serving = serving(&home);
    let get = |path: &str| http::get(serving.assets, &url(path));

    // A young version may have been overtaken within its second: the first answers look.
    let requests = |ask: &dyn Fn()| {
        let _ = proxy.take_round_trips();
        ask();
        proxy.take_round_trips()
    };
    assert_ne!(requests(&|| assert_eq!(get("images/small.txt").body, b"small")), 0, "a miss");
    assert_ne!(requests(&|| assert!(get("images/large.bin").body == large)), 0, "a miss");
    for _ in 0..3 {
        let asked = requests(&|| {
            assert_eq!(get("images/small.txt").body, b"small");
            assert!(get("images/large.bin").body == large);
            let range = [("Range", "bytes=7000001-7000100")];
            let part = http::request(serving.assets, "GET", &url("images/large.bin"), &range);
            assert_eq!((part.status, &*part.body), (206, &large[7_000_001..=7_000_100]));
        });
        assert_eq!(asked, 0, "a hit");
    }
    let cache = status(serving.admin)["cache"].clone();
    assert_eq!((&cache["misses"], &cache["errors"]), (&2.into(), &0.into()), "{cache}");

    // A new version is another entry of the cache.
    home.put("images/small.txt", "new");
    wait_for("the new version", || get("images/small.txt").body == b"new");
    serving.stop();
}

#[test]
fn warmup_fetches_a_bucket_once() {
    let Some(bucket) = TestBucket::s3() else { return };
    let (_runtime, proxy, home) = proxied(&bucket);
    for n in 0..20 {
        home.write(format!("tree/{n}.txt"), format!("file {n}"));
    }
    let large = pattern(3 << 20);
    home.write("tree/large.bin", &large);
    home.ok(["put", "-r", "tree", "images"]);
    let text = home.ok(["warmup", "images"]);
    assert!(text.starts_with("21 files: 21 fetched"), "{text}");
    let text = home.ok(["warmup", "images"]);
    assert!(text.starts_with("21 files: 0 fetched (0 B), 21 present"), "{text}");

    let serving = serving(&home);
    let _ = proxy.take_round_trips();
    for n in 0..20 {
        let answer = http::get(serving.assets, &url(&format!("images/{n}.txt")));
        assert_eq!(answer.body, format!("file {n}").as_bytes());
    }
    assert!(http::get(serving.assets, &url("images/large.bin")).body == large);
    assert_eq!(proxy.take_round_trips(), 0);
    // Nor does it matter that the bucket is away.
    proxy.refuse(true);
    proxy.cut();
    assert_eq!(http::get(serving.assets, &url("images/7.txt")).body, b"file 7");
    assert_eq!(http::request(serving.assets, "HEAD", &url("images/8.txt"), &[]).status, 200);
    serving.stop();
}
