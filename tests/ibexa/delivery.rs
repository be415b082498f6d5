//! Checks 31 to 40: what a browser gets of a file that either side wrote. Check 30, URIs, is a test
//! of crates/config.

use ezdfs_core::BaseRow;
use ezdfs_testkit::IbexaNode;
use ezdfs_testkit::php::NewBinary;

use super::site::{PREFIX, Site, name};

const ID: &str = "images/1/a.png";

/// A file of PHP of 1,000 bytes, its bytes, and where it is.
async fn thousand(site: &Site, php: &dyn IbexaNode) -> (Vec<u8>, String) {
    let bytes: Vec<u8> = (0..1000_u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
    php.create(ID, &NewBinary::new(&bytes, "image/png")).await.unwrap();
    assert_eq!(site.read_settled(ID).await, bytes);
    (bytes, format!("/{}", name(ID)))
}

pub(crate) async fn check_31_32_33_get_head_and_queries(site: &Site, php: &dyn IbexaNode) {
    let (bytes, target) = thousand(site, php).await;
    let mtime = site.row(ID).await.unwrap().base.mtime;
    let date = httpdate::fmt_http_date(
        std::time::UNIX_EPOCH + std::time::Duration::from_secs(u64::try_from(mtime).unwrap()),
    );
    let get = site.request("GET", &target, &[]).await;
    assert_eq!((get.status, &get.body), (200, &bytes));
    for (field, value) in [
        ("content-type", "image/png"),
        ("content-length", "1000"),
        ("last-modified", &*date),
        ("accept-ranges", "bytes"),
    ] {
        assert_eq!(get.header(field), Some(value), "{field}");
    }
    assert!(get.header("cache-control").unwrap().contains("public"));
    let head = site.request("HEAD", &target, &[]).await;
    assert!(head.status == 200 && head.body.is_empty());
    for field in ["content-type", "content-length", "last-modified", "accept-ranges", "etag"] {
        assert_eq!(head.header(field), get.header(field), "{field}");
    }
    let query = site.request("GET", &format!("{target}?itok=abc&x"), &[]).await;
    assert_eq!((query.status, query.body), (200, bytes));
}

pub(crate) async fn check_34_encoded_names(site: &Site, php: &dyn IbexaNode) {
    let id = "images/1/ü a%20b.png";
    php.create(id, &NewBinary::new(b"bytes", "image/png")).await.unwrap();
    site.read_settled(id).await;
    let answer =
        site.request("GET", &format!("/{PREFIX}/images/1/%C3%BC%20a%2520b.png"), &[]).await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b"bytes"[..]));
}

pub(crate) async fn check_35_36_ranges(site: &Site, php: &dyn IbexaNode) {
    let (bytes, target) = thousand(site, php).await;
    let get = async |range: &str| site.request("GET", &target, &[("Range", range)]).await;
    for (range, span, part) in [
        ("bytes=0-9", "bytes 0-9/1000", &bytes[..10]),
        ("bytes=-10", "bytes 990-999/1000", &bytes[990..]),
        ("bytes=5-", "bytes 5-999/1000", &bytes[5..]),
        ("bytes=990-2000", "bytes 990-999/1000", &bytes[990..]),
        ("bytes=-5000", "bytes 0-999/1000", &bytes[..]),
    ] {
        let answer = get(range).await;
        assert_eq!((answer.status, answer.header("content-range")), (206, Some(span)), "{range}");
        assert_eq!(answer.body, part, "{range}");
    }
    for range in ["bytes=5000-", "bytes=abc", "bytes=10-5"] {
        let answer = get(range).await;
        assert_eq!((answer.status, answer.header("content-range")), (416, Some("bytes */1000")));
    }
    let answer = get("items=0-4").await;
    assert_eq!((answer.status, answer.body), (200, bytes.clone()));
    let several = get("bytes=0-1,5-6").await;
    assert_eq!(several.status, 206);
    assert!(several.header("content-type").unwrap().starts_with("multipart/byteranges"));
}

pub(crate) async fn check_37_conditions(site: &Site, php: &dyn IbexaNode) {
    let (bytes, target) = thousand(site, php).await;
    let first = site.request("GET", &target, &[]).await;
    let (tag, date) = (first.header("etag").unwrap(), first.header("last-modified").unwrap());
    let status = async |fields: &[(&str, &str)]| {
        let answer = site.request("GET", &target, fields).await;
        let length = answer.body.len();
        (answer.status, length)
    };
    assert_eq!(status(&[("If-None-Match", tag)]).await, (304, 0));
    assert_eq!(status(&[("If-None-Match", "\"x\"")]).await, (200, 1000));
    assert_eq!(status(&[("If-Modified-Since", date)]).await, (304, 0));
    // What PHP wrote has no strong validator: a part of it is never joined with another one.
    assert_eq!(status(&[("Range", "bytes=0-9"), ("If-Range", tag)]).await, (200, 1000));
    assert!(tag.starts_with("W/"), "{tag}");
    // ezdfs's own file has one.
    site.put(ID, &bytes, "image/png").await;
    let own = site.request("GET", &target, &[]).await;
    let tag = own.header("etag").unwrap();
    assert_eq!(status(&[("Range", "bytes=0-9"), ("If-Range", tag)]).await, (206, 10));
}

pub(crate) async fn check_38_what_is_not_public(site: &Site, php: &dyn IbexaNode) {
    let id = "original/image/secret.png";
    php.create(id, &NewBinary::new(b"bytes", "image/png")).await.unwrap();
    thousand(site, php).await;
    for target in
        [format!("/{PREFIX}/{id}"), format!("/{PREFIX}XX/{ID}"), format!("//{PREFIX}/{ID}")]
    {
        assert_eq!(site.request("GET", &target, &[]).await.status, 404, "{target}");
    }
}

pub(crate) async fn check_39_bytes_that_do_not_fit_their_row(site: &Site, php: &dyn IbexaNode) {
    let (_, target) = thousand(site, php).await;
    // A row whose size is another one: nobody gets the bytes of one and the length of the other.
    let row = site.row(ID).await.unwrap();
    let other = BaseRow { size: 999, ..row.base.clone() };
    site.set(&ezdfs_metadata::memory::ForeignRow { base: other, ..row.clone() }).await;
    let answer = site.request("GET", &target, &[]).await;
    let wanted = answer.header("content-length").and_then(|l| l.parse().ok());
    assert!(answer.status >= 404 || wanted == Some(answer.body.len()), "{}", answer.status);
    site.set(&row).await;
    std::fs::remove_file(site.file(ID)).unwrap();
    let answer = site.request("GET", &target, &[]).await;
    assert!(matches!(answer.status, 404 | 503), "{}", answer.status);
}

pub(crate) async fn check_40_other_methods(site: &Site, php: &dyn IbexaNode) {
    let (bytes, target) = thousand(site, php).await;
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let answer = site.request(method, &target, &[]).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
    }
    assert_eq!(site.read(ID).await.unwrap(), bytes);
}
