//! The admin listener.

use std::sync::atomic::Ordering;

use crate::client::request;
use crate::site::Site;

#[tokio::test]
async fn health_and_readiness() {
    let site = Site::start().await;
    let reply = request(site.admin, "GET", "/healthz", &[]).await;
    assert_eq!((reply.status, &reply.body[..]), (200, &b"ok\n"[..]));
    let reply = request(site.admin, "GET", "/readyz", &[]).await;
    assert_eq!((reply.status, &reply.body[..]), (200, &b"ready\n"[..]));
    assert_eq!(reply.field("cache-control"), Some("no-store"));
    site.readiness.withdraw();
    let reply = request(site.admin, "GET", "/readyz", &[]).await;
    assert_eq!((reply.status, &reply.body[..]), (503, &b"shutting down\n"[..]));
    assert_eq!(request(site.admin, "GET", "/healthz", &[]).await.status, 200);
}

#[tokio::test]
async fn readiness_fails_when_a_handler_does() {
    let site = Site::start().await;
    site.faults.down.store(true, Ordering::SeqCst);
    let reply = request(site.admin, "GET", "/readyz", &[]).await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.body, b"the binarydata handler does not answer\n");
    site.faults.down.store(false, Ordering::SeqCst);
    assert_eq!(request(site.admin, "GET", "/readyz", &[]).await.status, 200);
}

#[tokio::test]
async fn status_counts_files() {
    let site = Site::start().await;
    site.publish("images/a", "hello").await;
    site.publish("images/b", "hi").await;
    site.foreign("images/b", |row| row.expired = true);
    let reply = request(site.admin, "GET", "/v1/status", &[]).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.field("content-type"), Some("application/json"));
    let status: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    for (key, value) in [("files", 1), ("bytes", 5), ("hidden", 1), ("held", 0)] {
        assert_eq!(status[key], value, "{key} in {status}");
    }
    assert_eq!(status["binarydata"], "memory");
    assert_eq!(status["ready"], true);
}

#[tokio::test]
async fn status_says_nothing_of_memory_where_there_is_none() {
    let site = Site::start().await;
    let reply = request(site.admin, "GET", "/v1/status", &[]).await;
    let status: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert!(status.get("memory").is_none(), "{status}");
}

#[tokio::test]
async fn everything_else_is_a_problem() {
    let site = Site::start().await;
    site.publish("images/a", "hello").await;
    for (method, target, expected) in [
        ("GET", "/", 404),
        ("GET", "/var/site/storage/images/a", 404),
        ("GET", "/healthz/", 404),
        ("POST", "/v1/batch", 404),
        ("POST", "/v1/status", 405),
    ] {
        let reply = request(site.admin, method, target, &[]).await;
        assert_eq!(reply.status, expected, "{method} {target}");
        assert_eq!(reply.field("content-type"), Some("application/problem+json"));
        let problem: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(problem["status"], expected);
    }
}
