//! Ranges over the wire: the pinned table, and slicing.

use std::sync::OnceLock;

use proptest::prelude::*;
use tokio::runtime::Runtime;

use crate::client::request;
use crate::site::{Plan, Site, url};

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

#[tokio::test]
async fn pinned_answers() {
    let site = Site::start().await;
    let bytes = content(1024);
    site.publish("images/1k.jpg", bytes.clone()).await;
    for (range, status, expected) in [
        ("bytes=0-0,5000-", 206, Some((0, 1))),
        ("bytes=-2000", 206, Some((0, 1024))),
        ("bytes=2000-", 416, None),
        ("bytes=0-,1-,2-,3-", 200, Some((0, 1024))),
        ("bytes=abc", 416, None),
        ("bytes=5-2", 416, None),
        ("bytes=1-2-3", 416, None),
        ("bytes=0-99999999999999999999", 206, Some((0, 1024))),
        ("items=0-1", 200, Some((0, 1024))),
        ("bytes=-0", 416, None),
        ("bytes=", 200, Some((0, 1024))),
        ("bytes=0-0", 206, Some((0, 1))),
        ("bytes=100-199", 206, Some((100, 200))),
        ("bytes=1000-", 206, Some((1000, 1024))),
        ("bytes=-24", 206, Some((1000, 1024))),
    ] {
        let reply = site.get(&url("images/1k.jpg"), &[("Range", range)]).await;
        assert_eq!(reply.status, status, "{range}");
        assert!(reply.is_complete(), "{range}");
        match expected {
            Some((start, end)) => {
                assert_eq!(reply.body, bytes[start..end], "{range}");
                assert_eq!(reply.field("accept-ranges"), Some("bytes"), "{range}");
                let field = format!("bytes {start}-{}/1024", end - 1);
                let field = (status == 206).then_some(&*field);
                assert_eq!(reply.field("content-range"), field, "{range}");
                assert!(reply.field("etag").is_some(), "{range}");
            }
            None => assert_eq!(reply.field("content-range"), Some("bytes */1024"), "{range}"),
        }
        let head = request(site.address, "HEAD", &url("images/1k.jpg"), &[("Range", range)]).await;
        assert_eq!((head.status, head.length(), head.body.len()), (200, Some(1024), 0), "{range}");
    }
}

#[tokio::test]
async fn several_ranges_are_several_parts() {
    for local in [false, true] {
        let site = Site::with(Plan { local, ..Plan::default() }).await;
        let bytes = content(100_000);
        site.publish("images/m.jpg", bytes.clone()).await;
        for (range, expected) in [
            ("bytes=0-0,5-8", &[0..1, 5..9][..]),
            ("bytes=90000-99999,0-9,4090-4100", &[90_000..100_000, 0..10, 4090..4101]),
            ("bytes=-1,5000000-,0-49999", &[99_999..100_000, 0..50_000]),
        ] {
            let reply = site.get(&url("images/m.jpg"), &[("Range", range)]).await;
            assert_eq!(reply.status, 206, "{range}");
            assert!(reply.is_complete(), "{range}");
            assert_eq!(reply.field("content-range"), None, "{range}");
            let expected: Vec<(String, &[u8])> = expected
                .iter()
                .map(|r| (format!("bytes {}-{}/100000", r.start, r.end - 1), &bytes[r.clone()]))
                .collect();
            assert_eq!(reply.parts("image/jpeg"), expected, "{range}");
        }
        let head =
            request(site.address, "HEAD", &url("images/m.jpg"), &[("Range", "bytes=0-0,5-8")])
                .await;
        assert_eq!((head.status, head.length()), (200, Some(100_000)));
    }
}

#[tokio::test]
async fn a_part_spans_the_chunks_of_the_store() {
    let site = Site::start().await;
    let bytes = content(100_000);
    site.publish("images/a", bytes.clone()).await;
    for (start, end) in [(0, 100_000), (4095, 4097), (1, 99_999), (99_999, 100_000)] {
        let range = format!("bytes={start}-{}", end - 1);
        let reply = site.get(&url("images/a"), &[("Range", &range)]).await;
        assert_eq!(reply.status, 206);
        assert!(reply.body == bytes[start..end], "{range}");
    }
}

/// One server for all cases of the property.
fn shared() -> &'static (Runtime, Site) {
    static SHARED: OnceLock<(Runtime, Site)> = OnceLock::new();
    SHARED.get_or_init(|| {
        let runtime = Runtime::new().unwrap();
        let site = runtime.block_on(Site::start());
        (runtime, site)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_range_is_a_slice(size in 0_usize..20_000, first in 0_usize..25_000, len in 0_usize..25_000, kind in 0..3) {
        let (runtime, site) = shared();
        let bytes = content(size);
        let (range, slice) = match kind {
            0 => (format!("{first}-{}", first + len), first..size.min(first + len + 1)),
            1 => (format!("{first}-"), first..size),
            _ => (format!("-{first}"), size.saturating_sub(first)..size),
        };
        let reply = runtime.block_on(async {
            site.publish("images/p", bytes.clone()).await;
            site.get(&url("images/p"), &[("Range", &format!("bytes={range}"))]).await
        });
        prop_assert!(reply.is_complete());
        if size == 0 {
            prop_assert_eq!((reply.status, reply.body.len()), (200, 0));
        } else if slice.is_empty() {
            prop_assert_eq!(reply.status, 416);
        } else {
            prop_assert_eq!(reply.status, 206);
            prop_assert!(reply.body == bytes[slice]);
        }
    }
}
