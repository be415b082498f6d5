//! The admin API: one file, one directory, copies and moves, and who may.

use ezdfs_core::Clock as _;

use crate::client::{Reply, exchange, head, request};
use crate::site::{Site, path, url};

const ALL: (&str, &str) = ("Authorization", "Bearer all");
const IMAGES: (&str, &str) = ("Authorization", "Bearer images");

/// One request with a body.
async fn send(
    site: &Site,
    method: &str,
    target: &str,
    fields: &[(&str, &str)],
    body: &str,
) -> Reply {
    let length = body.len().to_string();
    let mut fields = fields.to_vec();
    fields.extend([("Connection", "close"), ("Content-Length", &length)]);
    let message = head(method, target, &fields) + body;
    Reply::parse(&exchange(site.admin, message.as_bytes()).await)
}

fn problem(reply: &Reply) -> String {
    assert_eq!(reply.field("content-type"), Some("application/problem+json"), "{reply:?}");
    let problem: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(problem["status"], reply.status);
    let kind = problem["type"].as_str().unwrap();
    kind.strip_prefix("urn:ezdfs:problem:").unwrap().to_owned()
}

fn json(reply: &Reply) -> serde_json::Value {
    serde_json::from_slice(&reply.body).unwrap_or_else(|e| panic!("{e}: {reply:?}"))
}

#[tokio::test]
async fn a_file_is_put_read_and_deleted() {
    let site = Site::start().await;
    let file = "/v1/files/images/a%20b.jpg";
    let reply = send(&site, "PUT", file, &[ALL], "hello").await;
    assert_eq!(reply.status, 201);
    let etag = reply.field("etag").unwrap().to_owned();
    let digest = "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:";
    assert_eq!(reply.field("repr-digest"), Some(digest));

    let reply = request(site.admin, "GET", file, &[ALL]).await;
    assert_eq!((reply.status, &reply.body[..]), (200, &b"hello"[..]));
    assert_eq!(reply.field("etag"), Some(&*etag));
    assert_eq!(reply.field("repr-digest"), Some(digest));
    assert_eq!(reply.field("content-type"), Some("image/jpeg"));
    assert_eq!(reply.field("cache-control"), Some("private, no-cache"));
    let reply = request(site.admin, "HEAD", file, &[ALL]).await;
    assert_eq!((reply.status, reply.length(), reply.body.len()), (200, Some(5), 0));
    let reply = request(site.admin, "GET", file, &[ALL, ("Range", "bytes=1-2")]).await;
    assert_eq!((reply.status, &reply.body[..]), (206, &b"el"[..]));
    let reply = request(site.admin, "GET", file, &[ALL, ("Range", "bytes=9-")]).await;
    assert_eq!(
        (problem(&reply), reply.field("content-range")),
        ("no-such-bytes".to_owned(), Some("bytes */5"))
    );
    let reply = request(site.admin, "GET", file, &[ALL, ("If-None-Match", &etag)]).await;
    assert_eq!(reply.status, 304);
    assert_eq!(site.get(&url("images/a%20b.jpg"), &[]).await.status, 200);

    let reply = send(&site, "PUT", file, &[ALL, ("Content-Type", "image/png")], "other").await;
    assert_eq!(reply.status, 204);
    assert_ne!(reply.field("etag"), Some(&*etag));
    let reply = request(site.admin, "GET", file, &[ALL]).await;
    assert_eq!(reply.field("content-type"), Some("image/png"));

    assert_eq!(request(site.admin, "DELETE", file, &[ALL]).await.status, 204);
    let reply = request(site.admin, "DELETE", file, &[ALL]).await;
    assert_eq!((reply.status, problem(&reply)), (404, "not-found".to_owned()));
    assert_eq!(problem(&request(site.admin, "GET", file, &[ALL]).await), "not-found");
}

#[tokio::test]
async fn abuse_43_44_preconditions_of_writes() {
    let site = Site::start().await;
    let file = "/v1/files/images/a";
    let absent = ("If-None-Match", "*");
    let first = send(&site, "PUT", file, &[ALL, absent], "one").await;
    assert_eq!(first.status, 201);
    let tag = first.field("etag").unwrap();
    let reply = send(&site, "PUT", file, &[ALL, absent], "two").await;
    assert_eq!((reply.status, problem(&reply)), (412, "precondition-failed".to_owned()));
    let matches = ("If-Match", tag);
    assert_eq!(send(&site, "PUT", file, &[ALL, matches], "two").await.status, 204);
    assert_eq!(send(&site, "PUT", file, &[ALL, matches], "three").await.status, 412);
    assert_eq!(request(site.admin, "DELETE", file, &[ALL, matches]).await.status, 412);
    assert_eq!(site.get(&url("images/a"), &[]).await.body, b"two");
    assert_eq!(send(&site, "PUT", file, &[ALL, ("If-Match", "x")], "").await.status, 400);
    let any = ("If-Match", "*");
    assert_eq!(request(site.admin, "DELETE", file, &[ALL, any]).await.status, 204);
    assert_eq!(send(&site, "PUT", file, &[ALL, any], "x").await.status, 412);
}

#[tokio::test]
async fn abuse_39_without_a_right_nothing_is_done() {
    let site = Site::start().await;
    site.publish("original/a", "kept").await;
    for (fields, status, kind) in [
        (&[][..], 401, "unauthenticated"),
        (&[("Authorization", "Bearer none")], 401, "unauthenticated"),
        (&[IMAGES], 403, "forbidden"),
    ] {
        for (method, target) in [
            ("PUT", "/v1/files/original/a"),
            ("DELETE", "/v1/files/original/a"),
            ("GET", "/v1/files/original/a"),
            ("DELETE", "/v1/dirs/original"),
            ("GET", "/v1/dirs/"),
        ] {
            let reply = send(&site, method, target, fields, "").await;
            assert_eq!((reply.status, &*problem(&reply)), (status, kind), "{method} {target}");
            assert_eq!(reply.field("www-authenticate").is_some(), status == 401);
        }
        for target in ["/v1/copy", "/v1/move"] {
            let order = r#"{"from": "original/a", "to": "images/a"}"#;
            let reply = send(&site, "POST", target, fields, order).await;
            assert_eq!((reply.status, &*problem(&reply)), (status, kind), "{target}");
        }
    }
    // Abuse case 30: refused before the body is asked for.
    let expect = [("Expect", "100-continue"), ("Content-Length", "5"), ("Connection", "close")];
    let message = head("PUT", "/v1/files/images/x", &expect);
    let answer = exchange(site.admin, message.as_bytes()).await;
    assert!(answer.starts_with(b"HTTP/1.1 401 "), "{}", String::from_utf8_lossy(&answer));
    // The token of the images may do what it says, and no more.
    assert_eq!(send(&site, "PUT", "/v1/files/images/x", &[IMAGES], "x").await.status, 201);
    assert_eq!(request(site.admin, "DELETE", "/v1/files/images/x", &[IMAGES]).await.status, 403);
    assert_eq!(request(site.admin, "GET", "/v1/files/images/x", &[IMAGES]).await.status, 403);
    assert!(site.service.exists(&path("original/a")).await.unwrap());
}

#[tokio::test]
async fn abuse_40_42_45_46_bodies_that_are_refused() {
    let site = Site::start().await;
    let put = |fields: Vec<(&'static str, &'static str)>, body: &'static str| {
        let site = &site;
        async move {
            let fields: Vec<_> = [ALL].into_iter().chain(fields).collect();
            let reply = send(site, "PUT", "/v1/files/images/x", &fields, body).await;
            (reply.status, problem(&reply))
        }
    };
    let bad = (400, "bad-request".to_owned());
    assert_eq!(put(vec![("Content-Range", "bytes 0-4/10")], "hello").await, bad);
    let other = "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:";
    assert_eq!(put(vec![("Content-Digest", other)], "hello").await, bad);
    assert_eq!(put(vec![("Repr-Digest", "sha-256=hello")], "hello").await, bad);
    assert_eq!(put(vec![("X-Ezdfs-Expires", "soon")], "hello").await, bad);
    let long: &'static str = Box::leak(format!("text/{}", "x".repeat(300)).into_boxed_str());
    assert_eq!(put(vec![("Content-Type", long)], "hello").await, bad);
    let large: &'static str = Box::leak("x".repeat(1 << 20 | 1).into_boxed_str());
    assert_eq!(put(vec![], large).await, (413, "too-large".to_owned()));
    // Without a length it is cut where it becomes too large.
    let chunked = [ALL, ("Transfer-Encoding", "chunked"), ("Connection", "close")];
    let mut message = head("PUT", "/v1/files/images/x", &chunked).into_bytes();
    message.extend(format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len()).into_bytes());
    let reply = Reply::parse(&exchange(site.admin, &message).await);
    assert_eq!((reply.status, problem(&reply)), (413, "too-large".to_owned()));
    assert!(!site.service.exists(&path("images/x")).await.unwrap());
    // What keeps to its promise is stored.
    let hello = "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:";
    let fields = [ALL, ("Content-Digest", hello), ("X-Ezdfs-Expires", "+60")];
    assert_eq!(send(&site, "PUT", "/v1/files/images/x", &fields, "hello").await.status, 201);
    let meta = site.service.load(&path("images/x")).await.unwrap();
    assert_eq!(meta.expires.unwrap().secs(), site.clock.now().secs() + 60);
}

#[tokio::test]
async fn abuse_41_a_body_that_breaks_off_stores_nothing() {
    let site = Site::start().await;
    let fields = [ALL, ("Content-Length", "100"), ("Connection", "close")];
    let message = head("PUT", "/v1/files/images/x", &fields) + "only this";
    let mut stream = tokio::net::TcpStream::connect(site.admin).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, message.as_bytes()).await.unwrap();
    drop(stream);
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert!(!site.service.exists(&path("images/x")).await.unwrap());
    assert_eq!(site.service.metadata().figures().await.unwrap().held, 0);
}

#[tokio::test]
async fn abuse_48_paths_that_are_refused() {
    let site = Site::start().await;
    site.publish("images/a", "x").await;
    for (target, status, kind) in [
        ("/v1/files/images/", 400, "invalid-path"),
        ("/v1/files/images//a", 400, "invalid-path"),
        ("/v1/files/images/../a", 400, "invalid-path"),
        ("/v1/files/images%2fa", 400, "invalid-path"),
        ("/v1/files/images/%5ca", 400, "invalid-path"),
        ("/v1/files/images/%00", 400, "invalid-path"),
        ("/v1/files/images/%ff", 400, "invalid-path"),
        ("/v1/files/.ezdfs/limbo/x", 400, "reserved"),
        ("/v1/files/images", 409, "is-directory"),
        ("/v1/files/images/a/b", 409, "not-directory"),
    ] {
        let reply = send(&site, "PUT", target, &[ALL], "x").await;
        assert_eq!((reply.status, &*problem(&reply)), (status, kind), "{target}");
    }
    let reply = send(&site, "POST", "/v1/files/images/a", &[ALL], "x").await;
    assert_eq!((reply.status, reply.field("allow")), (405, Some("GET, HEAD, PUT, DELETE")));
    assert_eq!(request(site.admin, "GET", "/v1/files/", &[ALL]).await.status, 404);
}

#[tokio::test]
async fn directories_are_listed_and_deleted() {
    let site = Site::start().await;
    for file in ["images/1/a", "images/1/b", "images/2/c", "images/d.png"] {
        site.publish(file, "xyz").await;
    }
    let list = |target: &'static str| request(site.admin, "GET", target, &[ALL]);
    let page = json(&list("/v1/dirs/images?limit=2").await);
    let names = |page: &serde_json::Value| -> Vec<String> {
        let entries = page["entries"].as_array().unwrap();
        entries.iter().map(|e| e["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!((names(&page), page["next"].as_str()), (vec!["1".into(), "2".into()], Some("2")));
    let page = json(&list("/v1/dirs/images?after=2&limit=2").await);
    assert_eq!((names(&page), page["next"].as_str()), (vec!["d.png".into()], None));
    let entry = &page["entries"][0];
    assert_eq!((&entry["kind"], &entry["size"]), (&"file".into(), &3.into()));
    assert_eq!(
        (&entry["path"], &entry["media_type"]),
        (&"images/d.png".into(), &"image/png".into())
    );
    assert!(entry["etag"].as_str().unwrap().starts_with('"'));
    for root in ["/v1/dirs", "/v1/dirs/"] {
        assert_eq!(names(&json(&list(root).await)), ["images"]);
    }
    for (target, status) in [
        ("/v1/dirs/none", 404),
        ("/v1/dirs/images/d.png", 409),
        ("/v1/dirs/images?recursive=1", 400),
        ("/v1/dirs/images/", 400),
    ] {
        assert_eq!(list(target).await.status, status, "{target}");
    }

    // Abuse case 49: never everything at once.
    assert_eq!(request(site.admin, "DELETE", "/v1/dirs/", &[ALL]).await.status, 400);
    let reply = request(site.admin, "DELETE", "/v1/dirs/images/1", &[ALL]).await;
    assert_eq!((reply.status, &json(&reply)["files"]), (200, &2.into()));
    assert!(site.service.exists(&path("images/2/c")).await.unwrap());
    assert!(!site.service.exists(&path("images/1/a")).await.unwrap());
}

#[tokio::test]
async fn files_are_copied_and_moved() {
    let site = Site::start().await;
    site.publish("images/a", "one").await;
    site.publish("images/b", "two").await;
    let order = |from, to, overwrite: bool| {
        format!(r#"{{"from": "images/{from}", "to": "images/{to}", "overwrite": {overwrite}}}"#)
    };
    let post = |target, order: String| {
        let site = &site;
        async move { send(site, "POST", target, &[ALL], &order).await }
    };
    assert_eq!(post("/v1/copy", order("a", "c", false)).await.status, 201);
    assert_eq!(post("/v1/copy", order("a", "b", false)).await.status, 412);
    assert_eq!(post("/v1/copy", order("a", "b", true)).await.status, 204);
    assert_eq!(site.get(&url("images/b"), &[]).await.body, b"one");
    let reply = post("/v1/move", order("a", "d", false)).await;
    assert_eq!((reply.status, &json(&reply)["files"]), (200, &1.into()));
    assert_eq!(post("/v1/move", order("b", "c", false)).await.status, 409);
    assert_eq!(post("/v1/move", order("a", "x", false)).await.status, 404);
    for body in
        ["", "{}", "[]", r#"{"from": "a", "to": "b", "mode": 1}"#, r#"{"from": "a//b", "to": "c"}"#]
    {
        assert_eq!(post("/v1/copy", body.to_owned()).await.status, 400, "{body}");
    }
    let large = format!(r#"{{"from": "{}", "to": "b"}}"#, "a".repeat(100_000));
    assert_eq!(post("/v1/copy", large).await.status, 400);
    let reply = request(site.admin, "GET", "/v1/copy", &[ALL]).await;
    assert_eq!((reply.status, reply.field("allow")), (405, Some("POST")));
}
