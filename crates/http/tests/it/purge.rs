//! `/v1/purge`: what is dropped, on every node, and what hooks are told.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ezdfs_http::{PurgeHook, PurgeHooks};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::client::{Reply, exchange, head};
use crate::site::{Plan, Site, url};

async fn purge(site: &Site, token: &str, body: &str) -> Reply {
    let token = format!("Bearer {token}");
    let length = body.len().to_string();
    let fields =
        [("Authorization", &*token), ("Connection", "close"), ("Content-Length", &*length)];
    let message = head("POST", "/v1/purge", &fields) + body;
    Reply::parse(&exchange(site.admin, message.as_bytes()).await)
}

#[tokio::test]
async fn what_is_purged_is_fetched_again() {
    let site = Site::with(Plan { follow: true, ..Plan::default() }).await;
    site.is_fresh().await;
    for file in ["images/1/a", "images/1/b", "images/10/a"] {
        site.publish(file, "hello").await;
    }
    site.has_told(3).await;
    for file in ["images/1/a", "images/1/b", "images/10/a"] {
        site.get(&url(file), &[]).await;
    }
    let fetches = async |file: &str| {
        let before = site.faults.opened.load(Ordering::SeqCst);
        assert_eq!(site.get(&url(file), &[]).await.body, b"hello");
        site.faults.opened.load(Ordering::SeqCst) - before
    };
    assert_eq!(fetches("images/1/a").await, 0);
    let reply = purge(&site, "all", r#"{"paths": ["images/1/a"]}"#).await;
    assert_eq!(reply.status, 200);
    let purged: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(purged, serde_json::json!({"paths": 1, "prefixes": 0, "tags": 0, "hooks": []}));
    assert_eq!((fetches("images/1/a").await, fetches("images/1/b").await), (1, 0));
    assert_eq!(purge(&site, "all", r#"{"prefixes": ["images/1/"]}"#).await.status, 200);
    assert_eq!((fetches("images/1/a").await, fetches("images/1/b").await), (1, 1));
    assert_eq!(fetches("images/10/a").await, 0);
}

#[tokio::test]
async fn other_nodes_are_told() {
    let site = Site::with(Plan { follow: true, ..Plan::default() }).await;
    site.is_fresh().await;
    site.publish("images/1/a", "hello").await;
    for (name, at) in [
        ("images/1/a", "var/site/storage/images/1/a/"),
        ("images/1/", "var/site/storage/images/1/"),
    ] {
        site.get(&url("images/1/a"), &[]).await;
        let before = site.faults.opened.load(Ordering::SeqCst);
        // As another node does.
        site.service.metadata().tell(&[at.to_owned()]).await.unwrap();
        let fetched = async {
            while site.faults.opened.load(Ordering::SeqCst) == before {
                site.get(&url("images/1/a"), &[]).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), fetched).await.expect(name);
    }
}

#[tokio::test]
async fn abuse_29_without_the_right_nothing_is_purged() {
    let site = Site::start().await;
    let order = r#"{"paths": ["images/a"]}"#;
    assert_eq!(purge(&site, "nobody", order).await.status, 401);
    assert_eq!(purge(&site, "images", order).await.status, 403);
    assert_eq!(purge(&site, "cache", order).await.status, 200);
    for order in [
        r#"{"paths": ["original/a"]}"#,
        r#"{"prefixes": ["image"]}"#,
        r#"{"prefixes": [""]}"#,
        r#"{"tags": ["p-1"]}"#,
    ] {
        assert_eq!(purge(&site, "cache", order).await.status, 403, "{order}");
    }
    for order in ["", "[]", r#"{"path": "a"}"#, r#"{"paths": ["../a"]}"#, r#"{"tags": ["a b"]}"#] {
        assert_eq!(purge(&site, "all", order).await.status, 400, "{order}");
    }
    let many = format!(r#"{{"tags": [{}]}}"#, vec!["\"a\""; 1001].join(","));
    assert_eq!(purge(&site, "all", &many).await.status, 400);
    // The method of caches means nothing on the asset listener.
    assert_eq!(site.status("PURGE", &url("images/a")).await, 405);
}

/// A cache in front: takes requests, answers with that status, and remembers their heads.
async fn cache(status: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = socket.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let n = stream.read(&mut request).await.unwrap();
            let text = String::from_utf8_lossy(&request[..n]).into_owned();
            told.lock().unwrap().push(text);
            let answer =
                format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (format!("http://{address}"), seen)
}

#[tokio::test]
async fn hooks_tell_caches_in_front() {
    let (varnish, by_path) = cache("200 Purged").await;
    let (xkey, by_tag) = cache("200 OK").await;
    let (broken, tries) = cache("500 Broken").await;
    let (by_path_url, xkey_url) = (format!("{varnish}{{path}}"), format!("{xkey}/"));
    let headers = ["xkey-purge: {tags}".to_owned()];
    let hook = |name, url| PurgeHook {
        name,
        url,
        method: "PURGE",
        headers: &[],
        authorization: None,
        body: None,
    };
    let hooks = PurgeHooks::new([
        hook("varnish", &by_path_url),
        PurgeHook { headers: &headers, authorization: Some("Bearer t"), ..hook("xkey", &xkey_url) },
        hook("broken", &broken),
    ])
    .unwrap();
    let site = Site::with(Plan { hooks, ..Plan::default() }).await;
    let order = r#"{"paths": ["images/a b%.jpg"], "prefixes": ["images"], "tags": ["mine"]}"#;
    let reply = purge(&site, "all", order).await;
    let purged: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(
        purged["hooks"],
        serde_json::json!([
            {"hook": "varnish", "sent": 1, "failed": 0},
            {"hook": "xkey", "sent": 1, "failed": 0},
            {"hook": "broken", "sent": 1, "failed": 1},
        ])
    );
    let seen = by_path.lock().unwrap().join("");
    assert!(seen.starts_with("PURGE /var/site/storage/images/a%20b%25.jpg HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains(varnish.strip_prefix("http://").unwrap()), "{seen}");
    let seen = by_tag.lock().unwrap().join("").to_lowercase();
    let tag = "p-59b514174bffe4ae402b3d63aad79fe0";
    assert!(seen.contains(&format!("xkey-purge: mine {tag}\r\n")), "{seen}");
    assert!(seen.contains("authorization: bearer t\r\n"), "{seen}");
    assert_eq!(tries.lock().unwrap().len(), 3);
}
