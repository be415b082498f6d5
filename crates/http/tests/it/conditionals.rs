//! Conditional requests over the wire (RFC 9110 §13.2.2).

use ezdfs_core::Timestamp;
use ezdfs_engine::PublishOptions;

use crate::client::request;
use crate::site::{Site, url};

const AT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

async fn site() -> (Site, String) {
    let site = Site::start().await;
    let mtime = Some(Timestamp::from_secs(784_111_777));
    let options = PublishOptions { mtime, ..PublishOptions::default() };
    let etag = site.publish_as("images/a.jpg", "hello", options).await.etag.to_string();
    (site, etag)
}

#[tokio::test]
async fn the_matrix() {
    let (site, etag) = site().await;
    let other = "\"other\"";
    let weak = format!("W/{etag}");
    let list = format!("{other}, {etag}");
    let cases: &[(&[(&str, &str)], u16)] = &[
        (&[], 200),
        (&[("If-None-Match", &etag)], 304),
        (&[("If-None-Match", &weak)], 304),
        (&[("If-None-Match", &list)], 304),
        (&[("If-None-Match", "*")], 304),
        (&[("If-None-Match", other)], 200),
        (&[("If-None-Match", other), ("If-None-Match", &etag)], 304),
        (&[("If-None-Match", other), ("If-Modified-Since", AT)], 200),
        (&[("If-Modified-Since", AT)], 304),
        (&[("If-Modified-Since", BEFORE)], 200),
        (&[("If-Match", &etag)], 200),
        (&[("If-Match", "*")], 200),
        (&[("If-Match", &weak)], 412),
        (&[("If-Match", other)], 412),
        (&[("If-Unmodified-Since", AT)], 200),
        (&[("If-Unmodified-Since", BEFORE)], 412),
        (&[("If-Match", &etag), ("If-Unmodified-Since", BEFORE)], 200),
        (&[("If-Match", &etag), ("If-None-Match", &etag)], 304),
        (&[("If-Match", other), ("If-None-Match", &etag)], 412),
        // Preconditions before ranges.
        (&[("If-None-Match", &etag), ("Range", "bytes=0-1")], 304),
        (&[("If-None-Match", &etag), ("Range", "bytes=9-")], 304),
        (&[("If-Match", other), ("Range", "bytes=9-")], 412),
        (&[("If-Match", &etag), ("Range", "bytes=0-1")], 206),
        // If-Range.
        (&[("If-Range", &etag), ("Range", "bytes=0-1")], 206),
        (&[("If-Range", AT), ("Range", "bytes=0-1")], 206),
        (&[("If-Range", &weak), ("Range", "bytes=0-1")], 200),
        (&[("If-Range", other), ("Range", "bytes=0-1")], 200),
        (&[("If-Range", BEFORE), ("Range", "bytes=0-1")], 200),
        (&[("If-Range", other), ("Range", "bytes=9-")], 200),
        (&[("If-Range", &etag)], 200),
    ];
    for (fields, expected) in cases {
        let reply = site.get(&url("images/a.jpg"), fields).await;
        assert_eq!(reply.status, *expected, "{fields:?}");
        let body = match expected {
            200 => &b"hello"[..],
            206 => b"he",
            412 => b"The file is another version.\n",
            _ => b"",
        };
        assert_eq!(reply.body, body, "{fields:?}");
        let head = request(site.address, "HEAD", &url("images/a.jpg"), fields).await;
        let expected = if *expected == 206 { 200 } else { *expected };
        assert_eq!((head.status, head.body.len()), (expected, 0), "HEAD {fields:?}");
    }
}

#[tokio::test]
async fn a_304_repeats_the_validators_and_describes_no_content() {
    let (site, etag) = site().await;
    let reply = site.get(&url("images/a.jpg"), &[("If-None-Match", &etag)]).await;
    assert_eq!((reply.status, reply.body.len()), (304, 0));
    assert_eq!(reply.field("etag"), Some(&*etag));
    assert_eq!(reply.field("last-modified"), Some(AT));
    assert_eq!(reply.field("cache-control"), Some("public, max-age=60"));
    assert!(reply.field("date").is_some());
    for name in ["content-length", "content-type", "content-range", "transfer-encoding"] {
        assert_eq!(reply.field(name), None, "{name}");
    }
    let opened = site.faults.opened.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(opened, 0, "a 304 opens no object");
}

#[tokio::test]
async fn preconditions_do_not_count_where_there_is_no_file() {
    let (site, _) = site().await;
    for fields in [[("If-Match", "*")], [("If-None-Match", "*")]] {
        assert_eq!(site.get(&url("images/none"), &fields).await.status, 404);
    }
}

#[tokio::test]
async fn a_replaced_file_is_another_version() {
    let (site, etag) = site().await;
    let new = site.publish("images/a.jpg", "HELLO").await.etag.to_string();
    assert_ne!(new, etag);
    let reply = site.get(&url("images/a.jpg"), &[("If-None-Match", &etag)]).await;
    assert_eq!((reply.status, &reply.body[..]), (200, &b"HELLO"[..]));
    let fields = [("If-Range", &*etag), ("Range", "bytes=0-1")];
    assert_eq!(site.get(&url("images/a.jpg"), &fields).await.body, b"HELLO");
}

#[tokio::test]
async fn two_versions_of_one_second_are_told_apart_by_date() {
    let site = Site::start().await;
    site.publish("images/a", "one").await;
    let first = site.get(&url("images/a"), &[]).await;
    site.publish("images/a", "two").await;
    let date = first.field("last-modified").unwrap();
    let second = site.get(&url("images/a"), &[("If-Modified-Since", date)]).await;
    assert_eq!((second.status, &second.body[..]), (200, &b"two"[..]));
    // Never later than Date: the second version shows the same second for now.
    assert_eq!(second.field("last-modified"), Some(date));
}
