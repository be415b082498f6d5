//! Abuse cases by their number: raw bytes in, the required answer out.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::client::{Reply, exchange, head, request};
use crate::site::{Site, url};

/// A site with files that a wrong reading of a hostile target would reach.
async fn site() -> Site {
    let site = Site::start().await;
    site.publish("images/a.jpg", "hello").await;
    site.publish("original/secret.pdf", "secret").await;
    site
}

async fn answers(cases: &[(&str, u16)]) {
    let site = site().await;
    for (target, expected) in cases {
        for method in ["GET", "HEAD"] {
            let reply = request(site.address, method, target, &[]).await;
            assert_eq!(reply.status, *expected, "{method} {target}");
            assert_eq!(reply.field("location"), None, "{method} {target}");
        }
    }
}

#[tokio::test]
async fn abuse_01_raw_dot_segments() {
    answers(&[
        ("/var/site/storage/../../etc/passwd", 400),
        ("/../../etc/passwd", 400),
        ("/var/site/storage/images/../original/secret.pdf", 400),
    ])
    .await;
}

#[tokio::test]
async fn abuse_02_encoded_dot_segments() {
    answers(&[
        ("/var/site/storage/%2e%2e/%2e%2e/etc/passwd", 400),
        ("/var/site/storage/images/%2E%2e/original/secret.pdf", 400),
    ])
    .await;
}

#[tokio::test]
async fn abuse_03_encoded_slashes() {
    answers(&[
        ("/var/site/storage/..%2f..%2fetc/passwd", 400),
        ("/var/site/storage/images%2Fa.jpg", 400),
    ])
    .await;
}

#[tokio::test]
async fn abuse_04_double_encoding() {
    answers(&[
        ("/var/site/storage/%252e%252e%252fx", 404),
        ("/var/site/storage/images/%252e%252e%252fx", 404),
    ])
    .await;
}

#[tokio::test]
async fn abuse_05_overlong_utf8() {
    answers(&[("/var/site/storage/images/%c0%ae%c0%ae/x", 400)]).await;
}

#[tokio::test]
async fn abuse_06_nul() {
    answers(&[("/var/site/storage/images/a%00.png", 400), ("/1k.jpg%00.png", 400)]).await;
}

#[tokio::test]
async fn abuse_07_line_ends() {
    let site = site().await;
    let reply = site.get(&url("images/a%0d%0aSet-Cookie:x=1"), &[]).await;
    assert_eq!((reply.status, reply.field("set-cookie")), (400, None));
}

#[tokio::test]
async fn abuse_08_backslashes() {
    answers(&[
        ("/var/site/storage/..%5c..%5cwin.ini", 400),
        ("/var/site/storage/images\\a.jpg", 400),
    ])
    .await;
}

#[tokio::test]
async fn abuse_09_windows_names() {
    answers(&[
        ("/var/site/storage/C:/x", 404),
        ("/var/site/storage/images/CON", 404),
        ("/var/site/storage/images/a.jpg::$DATA", 404),
        ("/var/site/storage/images/a.jpg.", 404),
        ("/var/site/storage/images/a.jpg%20", 404),
    ])
    .await;
}

#[tokio::test]
async fn abuse_10_no_slash_merging() {
    answers(&[("/var/site/storage//images//a.jpg", 404), ("//var/site/storage/images/a.jpg", 404)])
        .await;
}

#[tokio::test]
async fn abuse_11_trailing_slash() {
    answers(&[("/var/site/storage/images/a.jpg/", 404), ("/var/site/storage/images/", 404)]).await;
}

#[tokio::test]
async fn abuse_12_dot_segment() {
    answers(&[("/var/site/storage/./images/a.jpg", 400)]).await;
}

#[tokio::test]
async fn abuse_13_prefix_twin() {
    answers(&[
        ("/var/site/storagex/images/a.jpg", 404),
        ("/var/site/storage-secret/images/a.jpg", 404),
        ("/var/site/storage", 404),
        ("/images/a.jpg", 404),
    ])
    .await;
}

#[tokio::test]
async fn abuse_14_delimiters() {
    answers(&[
        ("/var/site/storage/images/a.jpg;v=1", 404),
        ("/var/site/storage/images/a.jpg%3f.css", 404),
        ("/var/site/storage/images/a.jpg%23", 404),
        ("/var/site/storage/images/a.jpg?v=1", 200),
    ])
    .await;
}

#[tokio::test]
async fn abuse_15_direction_marks() {
    let site = site().await;
    site.publish("images/\u{202e} gpj.exe", "x").await;
    site.publish("images/\u{200b}", "y").await;
    assert_eq!(site.get(&url("images/%E2%80%AE%20gpj.exe"), &[]).await.body, b"x");
    assert_eq!(site.get(&url("images/%E2%80%8B"), &[]).await.body, b"y");
}

#[tokio::test]
async fn abuse_16_normalisation_forms() {
    let site = site().await;
    site.publish("images/\u{e9}", "composed").await;
    assert_eq!(site.get(&url("images/e%CC%81"), &[]).await.status, 404);
    site.publish("images/e\u{301}", "decomposed").await;
    assert_eq!(site.get(&url("images/e%CC%81"), &[]).await.body, b"decomposed");
    assert_eq!(site.get(&url("images/%C3%A9"), &[]).await.body, b"composed");
}

#[tokio::test]
async fn abuse_17_case() {
    answers(&[
        ("/var/site/storage/images/A.JPG", 404),
        ("/var/site/storage/IMAGES/a.jpg", 404),
        ("/VAR/site/storage/images/a.jpg", 404),
    ])
    .await;
}

#[tokio::test]
async fn abuse_18_lengths() {
    answers(&[
        (&url(&format!("images/{}", "a/".repeat(4096))), 414),
        (&url(&vec!["images/a"; 512].join("/")), 400),
        (&url(&format!("images/{}", "s".repeat(256))), 400),
        (&url(&format!("images/{}", "s".repeat(255))), 404),
    ])
    .await;
}

async fn raw(site: &Site, request: &str) -> u16 {
    Reply::parse(&exchange(site.address, request.as_bytes()).await).status
}

#[tokio::test]
async fn abuse_19_absolute_form() {
    let site = site().await;
    let of = |target: &str, host: &str| {
        format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
    };
    let target = format!("http://evil{}", url("images/a.jpg"));
    assert_eq!(raw(&site, &of(&target, "good")).await, 400);
    assert_eq!(raw(&site, &of(&target, "evil")).await, 200);
    let reply = site.get("//evil/x", &[]).await;
    assert_eq!((reply.status, reply.field("location")), (404, None));
}

#[tokio::test]
async fn abuse_20_hosts() {
    let site = site().await;
    let target = url("images/a.jpg");
    for (host, expected) in [
        ("", 400),
        ("Host: a\r\nHost: a\r\n", 400),
        ("Host: a@b\r\n", 400),
        ("Host: a/b\r\n", 400),
        ("Host:\r\n", 400),
        ("Host: any.example:8080\r\n", 200),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
        assert_eq!(raw(&site, &request).await, expected, "{host:?}");
    }
}

#[tokio::test]
async fn abuse_21_fields_that_must_not_count() {
    let site = site().await;
    let fields = [
        ("X-Forwarded-Host", "evil"),
        ("X-Original-URL", "/var/site/storage/original/secret.pdf"),
        ("X-Rewrite-URL", "/var/site/storage/original/secret.pdf"),
        ("X-HTTP-Method-Override", "DELETE"),
    ];
    let plain = site.get(&url("images/a.jpg"), &[]).await;
    let reply = site.get(&url("images/a.jpg"), &fields).await;
    assert_eq!((reply.status, reply.body), (plain.status, plain.body));
}

/// A request with these framing fields, and another one behind it.
async fn followed(site: &Site, fields: &str) -> String {
    let target = url("images/a.jpg");
    let smuggled = head("GET", "/smuggled", &[]);
    let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n{smuggled}");
    String::from_utf8_lossy(&exchange(site.address, request.as_bytes()).await).into_owned()
}

#[tokio::test]
async fn abuse_22_ambiguous_lengths() {
    let site = site().await;
    for fields in [
        "Content-Length: 3\r\nContent-Length: 4\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5x\r\n",
    ] {
        let answer = followed(&site, fields).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{fields}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{fields}: {answer}");
    }
}

/// hyper reads the body as chunked, as RFC 9112 §6.3 has it, and closes the connection after its
/// answer: what follows is never taken for a request.
#[tokio::test]
async fn a_length_beside_chunks_hides_no_request() {
    let site = site().await;
    for fields in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
    ] {
        let answer = followed(&site, fields).await;
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{fields}: {answer}");
        assert!(answer.contains("connection: close\r\n"), "{fields}: {answer}");
        let answer = followed(&site, &format!("{fields}\r\n0\r\n")).await;
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{fields}: {answer}");
    }
}

#[tokio::test]
async fn abuse_23_a_get_with_a_body_hides_no_request() {
    let site = site().await;
    let smuggled = head("GET", "/var/site/storage/images/smuggled", &[]);
    let target = url("images/a.jpg");
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{smuggled}{}",
        smuggled.len(),
        head("HEAD", &target, &[("Connection", "close")])
    );
    let answer = exchange(site.address, request.as_bytes()).await;
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    assert!(!text.contains("404"), "{text}");
}

#[tokio::test]
async fn abuse_24_malformed_heads() {
    let site = site().await;
    let target = url("images/a.jpg");
    for field in ["X : y\r\n", "X: a\r\n folded\r\n", "X: a\0b\r\n", "X\r\n"] {
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: a\r\n{field}Connection: close\r\n\r\n");
        assert_eq!(raw(&site, &request).await, 400, "{field:?}");
    }
}

#[tokio::test]
async fn abuse_25_heads_beyond_the_limits() {
    let site = site().await;
    let fields: String = (0..101).map(|n| format!("X-{n}: y\r\n")).collect();
    let target = url("images/a.jpg");
    let many = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    assert_eq!(raw(&site, &many).await, 431);
    for request in [
        format!("GET {target} HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(64 << 10)),
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "y".repeat(1 << 20)),
    ] {
        // What the server does not read any more may reset the connection and take the answer
        // with it.
        let answer = exchange(site.address, request.as_bytes()).await;
        assert!(answer.is_empty() || matches!(Reply::parse(&answer).status, 431 | 414));
    }
}

#[tokio::test]
async fn abuse_29_methods() {
    let site = site().await;
    let target = url("images/a.jpg");
    for method in
        ["POST", "PUT", "DELETE", "PATCH", "TRACE", "PURGE", "FOO", "PROPFIND", "COPY", "LINK"]
    {
        let reply = request(site.address, method, &target, &[]).await;
        assert_eq!(reply.status, 405, "{method}");
        assert_eq!(reply.field("allow"), Some("GET, HEAD, OPTIONS"), "{method}");
    }
    let connect = "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nConnection: close\r\n\r\n";
    assert_eq!(raw(&site, connect).await, 405);
    for target in [&*target, "*"] {
        let reply = request(site.address, "OPTIONS", target, &[]).await;
        assert_eq!((reply.status, reply.body.len()), (204, 0), "{target}");
        assert_eq!(reply.field("allow"), Some("GET, HEAD, OPTIONS"), "{target}");
    }
    assert_eq!(site.get(&target, &[]).await.body, b"hello");
}

#[tokio::test]
async fn abuse_31_to_34_ranges() {
    let site = site().await;
    let many = format!("bytes={}", vec!["0-"; 1300].join(","));
    for (range, status, body) in [
        (&*many, 200, &b"hello"[..]),
        ("bytes=0-18446744073709551615", 206, b"hello"),
        ("bytes=-9223372036854775808", 206, b"hello"),
        ("bytes=18446744073709551615-", 416, b"The file has no such bytes.\n"),
        ("bytes=-17208,-9223372036854758792", 200, b"hello"),
        ("items=0-1", 200, b"hello"),
        ("bytes=5-2", 416, b"The file has no such bytes.\n"),
        ("bytes=a-b", 416, b"The file has no such bytes.\n"),
        ("bytes=1-2-3", 416, b"The file has no such bytes.\n"),
        ("bytes=", 200, b"hello"),
    ] {
        let reply = site.get(&url("images/a.jpg"), &[("Range", range)]).await;
        assert_eq!((reply.status, &reply.body[..]), (status, body), "{range:.60}");
    }
}

#[tokio::test]
async fn abuse_35_ranges_of_an_empty_file() {
    let site = site().await;
    site.publish("images/empty", "").await;
    for range in ["bytes=0-", "bytes=-1", "bytes=0-0", "bytes=x"] {
        for method in ["GET", "HEAD"] {
            let fields = [("Range", range)];
            let reply = request(site.address, method, &url("images/empty"), &fields).await;
            assert_eq!((reply.status, reply.length()), (200, Some(0)), "{method} {range}");
            assert!(reply.body.is_empty());
        }
    }
}

#[tokio::test]
async fn abuse_37_and_38_conditions_that_do_not_count() {
    let site = site().await;
    // As many tags as a request head may hold.
    let tags = vec!["\"x\""; 3500].join(",");
    for fields in [
        ("If-None-Match", ","),
        ("If-None-Match", &tags),
        ("If-Modified-Since", "garbage"),
        ("If-Modified-Since", "Fri, 31 Dec 9999 23:59:59 GMT"),
    ] {
        let reply = site.get(&url("images/a.jpg"), &[fields]).await;
        assert_eq!((reply.status, &reply.body[..]), (200, &b"hello"[..]), "{:.60}", fields.1);
    }
    let fields = [("If-Range", "W/\"x\""), ("Range", "bytes=0-1")];
    assert_eq!(site.get(&url("images/a.jpg"), &fields).await.status, 200);
}

#[tokio::test]
async fn abuse_30_a_body_is_not_asked_for_without_a_right() {
    let site = Site::start().await;
    let fields = [("Expect", "100-continue"), ("Content-Length", "1000000")];
    let mut stream = tokio::net::TcpStream::connect(site.admin).await.unwrap();
    let head = crate::client::head("PUT", "/v1/files/images/a", &fields);
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401");
}

#[tokio::test]
async fn abuse_52_53_there_is_neither_tus_nor_batch() {
    let site = Site::start().await;
    let fields = [("Authorization", "Bearer all"), ("Content-Length", "0")];
    for (method, target) in [
        ("POST", "/v1/uploads"),
        ("PATCH", "/v1/uploads/1"),
        ("POST", "/v1/batch"),
        ("POST", "/files"),
    ] {
        let reply = crate::client::request(site.admin, method, target, &fields).await;
        assert_eq!(reply.status, 404, "{method} {target}");
    }
}

#[tokio::test]
async fn abuse_60_sizes_that_differ() {
    let site = Site::start().await;
    site.publish("images/short", "12345").await;
    site.foreign("images/short", |row| row.size = 10);
    site.publish("images/long", vec![b'x'; 20]).await;
    site.foreign("images/long", |row| row.size = 10);
    for file in ["images/short", "images/long"] {
        let reply = site.get(&url(file), &[]).await;
        // The whole version that the store has, or none.
        let is_whole = reply.status == 200 && matches!(reply.body.len(), 5 | 20);
        assert!(is_whole && reply.is_complete() || reply.status == 503, "{file}: {reply:?}");
    }
}
