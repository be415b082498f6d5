//! What a file looks like over HTTP, and which files do not exist.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ezdfs_core::Clock as _;
use ezdfs_engine::PublishOptions;

use crate::client::{Reply, request};
use crate::site::{Plan, Site, path, url};

fn without_date(mut reply: Reply) -> Reply {
    reply.fields.remove("date");
    reply
}

#[tokio::test]
async fn a_file_comes_with_its_fields() {
    let site = Site::start().await;
    let published = site.publish("images/1/2/a.jpg", "hello").await;
    let reply = site.get(&url("images/1/2/a.jpg"), &[]).await;
    assert_eq!((reply.status, &reply.body[..]), (200, &b"hello"[..]));
    for (name, value) in [
        ("content-length", "5"),
        ("content-type", "image/jpeg"),
        ("accept-ranges", "bytes"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "public, max-age=60"),
        ("etag", &published.etag.to_string()),
    ] {
        assert_eq!(reply.field(name), Some(value), "{name}");
    }
    let modified = reply.field("last-modified").unwrap();
    let seconds = httpdate_secs(modified);
    assert_eq!(seconds, published.mtime.secs().min(site.clock.now().secs()));
    assert!(seconds <= httpdate_secs(reply.field("date").unwrap()));
    for name in ["transfer-encoding", "content-encoding", "content-disposition", "vary"] {
        assert_eq!(reply.field(name), None, "{name}");
    }
}

/// How an answer came about differs, and may.
fn without(mut reply: Reply, field: &str) -> Reply {
    reply.fields.remove(field);
    reply
}

fn httpdate_secs(text: &str) -> i64 {
    let at = httpdate::parse_http_date(text).unwrap();
    i64::try_from(at.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

#[tokio::test]
async fn head_has_the_fields_of_get_and_opens_nothing() {
    let site = Site::start().await;
    site.publish("images/a.jpg", "hello").await;
    site.publish("images/empty.txt", "").await;
    site.publish("images/a.svg", "<svg/>").await;
    for target in ["images/a.jpg", "images/empty.txt", "images/a.svg", "images/none", "original/a"]
    {
        let get = without_date(request(site.address, "GET", &url(target), &[]).await);
        let opened = site.faults.opened.load(Ordering::SeqCst);
        let head = without_date(request(site.address, "HEAD", &url(target), &[]).await);
        let how = (get.field("cache-status").is_some(), head.field("cache-status").is_some());
        assert_eq!(how.0, how.1, "{target}");
        let (get, head) = (without(get, "cache-status"), without(head, "cache-status"));
        assert_eq!(site.faults.opened.load(Ordering::SeqCst), opened, "{target}");
        assert_eq!((head.status, &head.fields), (get.status, &get.fields), "{target}");
        assert!(get.is_complete() && head.body.is_empty(), "{target}");
    }
    let get = without_date(request(site.address, "GET", "/x/%00", &[]).await);
    let head = without_date(request(site.address, "HEAD", "/x/%00", &[]).await);
    assert_eq!((head.status, &head.fields), (400, &get.fields));
}

#[tokio::test]
async fn awkward_names_are_literal() {
    let site = Site::start().await;
    for (name, target) in [
        ("images/a b.jpg", "images/a%20b.jpg"),
        ("images/ü/日本.jpg", "images/%C3%BC/%E6%97%A5%E6%9C%AC.jpg"),
        ("images/x#1?.jpg", "images/x%231%3F.jpg"),
        ("images/100%.jpg", "images/100%25.jpg"),
        ("images/~a'(1)&+=.jpg", "images/~a'(1)&+=.jpg"),
        ("images/😀.png", "images/%F0%9F%98%80.png"),
        ("images/\u{202e} gpj.exe", "images/%E2%80%AE%20gpj.exe"),
    ] {
        site.publish(name, name.to_owned()).await;
        let reply = site.get(&url(target), &[]).await;
        assert_eq!((reply.status, &reply.body[..]), (200, name.as_bytes()), "{name}");
    }
    // Sent as they are: raw UTF-8, and a lone percent sign as Ibexa writes it into its URIs.
    for name in ["images/ü/日本.jpg", "images/100%.jpg"] {
        assert_eq!(site.get(&url(name), &[]).await.body, name.as_bytes(), "{name}");
    }
}

#[tokio::test]
async fn a_name_with_a_literal_escape_is_found_before_the_decoded_one() {
    let site = Site::start().await;
    site.publish("images/a b", "decoded").await;
    assert_eq!(site.get(&url("images/a%20b"), &[]).await.body, b"decoded");
    site.publish("images/a%20b", "literal").await;
    assert_eq!(site.get(&url("images/a%20b"), &[]).await.body, b"literal");
    // Each of them stays reachable on its own.
    assert_eq!(site.get(&url("images/a%2520b"), &[]).await.body, b"literal");
    site.service.mkdir(&path("images/c%20d"), true, None).await.unwrap();
    site.publish("images/c d", "file").await;
    assert_eq!(site.get(&url("images/c%20d"), &[]).await.body, b"file");
}

#[tokio::test]
async fn what_no_reader_may_see_is_404() {
    let site = Site::start().await;
    for name in ["images/hidden", "images/zero", "images/negative", "original/private"] {
        site.publish(name, "secret").await;
    }
    site.foreign("images/hidden", |row| row.expired = true);
    site.foreign("images/zero", |row| row.mtime = 0);
    site.foreign("images/negative", |row| row.mtime = -5);
    site.publish("images/dir/file", "x").await;
    for target in [
        "images/hidden",
        "images/zero",
        "images/negative",
        "images/never",
        "images/dir",
        "images/dir/file/below",
        "original/private",
        ".ezdfs/limbo/x",
    ] {
        let reply = site.get(&url(target), &[]).await;
        assert_eq!(reply.status, 404, "{target}");
        assert_eq!(reply.field("cache-control"), Some("max-age=10"), "{target}");
        assert_eq!(reply.body, b"There is no such file.\n", "{target}");
    }
}

#[tokio::test]
async fn a_file_ends_with_its_expiry() {
    let site = Site::start().await;
    let expires = site.clock.now().plus(Duration::from_secs(30));
    let options = PublishOptions { expires: Some(expires), ..PublishOptions::default() };
    site.publish_as("images/a", "x", options).await;
    let reply = site.get(&url("images/a"), &[]).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.field("cache-control"), Some("public, max-age=30, must-revalidate"));
    site.clock.advance(Duration::from_secs(30));
    assert_eq!(site.status("GET", &url("images/a")).await, 404);
}

#[tokio::test]
async fn rows_of_php_have_a_weak_etag_and_its_type() {
    let site = Site::start().await;
    site.publish("images/a", "hello").await;
    site.foreign("images/a", |row| {
        row.mtime = 1_000_000_000;
        row.datatype = String::new();
    });
    let reply = site.get(&url("images/a"), &[]).await;
    assert_eq!((reply.status, &reply.body[..]), (200, &b"hello"[..]));
    assert_eq!(reply.field("etag"), Some("W/\"3b9aca00-5\""));
    assert_eq!(reply.field("last-modified"), Some("Sun, 09 Sep 2001 01:46:40 GMT"));
    assert_eq!(reply.field("content-type"), Some("application/octet-stream"));
}

#[tokio::test]
async fn a_row_without_bytes_is_404_before_any_field_goes_out() {
    let site = Site::start().await;
    site.foreign("images/a", |row| row.size = 10);
    let reply = site.get(&url("images/a"), &[]).await;
    assert_eq!((reply.status, reply.field("cache-control")), (404, Some("max-age=10")));
    assert_eq!(site.get(&url("images/a"), &[("Range", "bytes=0-1")]).await.status, 404);
}

#[tokio::test]
async fn an_outage_is_503_and_says_nothing_of_the_inside() {
    let site = Site::start().await;
    site.publish("images/a", "hello").await;
    site.faults.down.store(true, Ordering::SeqCst);
    let reply = site.get(&url("images/a"), &[]).await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.field("cache-control"), Some("no-store"));
    assert_eq!(reply.field("retry-after"), Some("5"));
    assert_eq!(reply.body, b"The file cannot be served now. Try again later.\n");
    site.faults.down.store(false, Ordering::SeqCst);
    assert_eq!(site.status("GET", &url("images/a")).await, 200);
}

#[tokio::test]
async fn a_read_that_breaks_cuts_the_connection() {
    let site = Site::start().await;
    let bytes = vec![7; 100_000];
    site.publish("images/a", bytes.clone()).await;
    for fault in [&site.faults.break_after, &site.faults.end_after] {
        fault.store(50_000, Ordering::SeqCst);
        let reply = site.get(&url("images/a"), &[]).await;
        assert_eq!((reply.status, reply.length()), (200, Some(100_000)));
        assert!(reply.body.len() <= 50_000, "{}", reply.body.len());
        fault.store(u64::MAX, Ordering::SeqCst);
    }
    assert_eq!(site.get(&url("images/a"), &[]).await.body, bytes);
}

#[tokio::test]
async fn an_absolute_prefix_answers_for_its_host_alone() {
    let plan = Plan { url_prefix: "http://localhost/x", ..Plan::default() };
    let site = Site::with(plan).await;
    site.publish("images/a", "hello").await;
    assert_eq!(site.get("/x/images/a", &[]).await.body, b"hello");
    assert_eq!(site.get("http://localhost/x/images/a", &[]).await.body, b"hello");
    let raw = b"GET /x/images/a HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n";
    let reply = Reply::parse(&crate::client::exchange(site.address, raw).await);
    assert_eq!(reply.status, 421);
}
