//! Large files that somebody else sends.

use std::sync::Arc;
use std::time::Duration;

use ezdfs_core::FilePath;
use ezdfs_engine::PublishOptions;
use ezdfs_http::Offload;
use futures::FutureExt as _;

use crate::client::request;
use crate::site::{Plan, Site, url};

const FROM: u64 = 1000;

fn presigned() -> Offload {
    let sign = |path: FilePath, life: Duration| {
        async move { Ok(format!("https://bucket/{path}?for={}", life.as_secs())) }.boxed()
    };
    Offload::Presigned { sign: Arc::new(sign), life: Duration::from_secs(60), from: FROM }
}

async fn site(offload: Offload) -> Site {
    let site = Site::with(Plan { offload, ..Plan::default() }).await;
    site.publish("images/a b.jpg", vec![1; 1000]).await;
    site.publish("images/small.jpg", vec![1; 999]).await;
    site.publish("images/page.html", vec![b'x'; 1000]).await;
    site
}

#[tokio::test]
async fn nginx_is_told_where_a_large_file_is() {
    let site = site(Offload::Accel { prefix: "/internal/".to_owned(), from: FROM }).await;
    let target = url("images/a%20b.jpg");
    let reply = site.get(&target, &[("Range", "bytes=0-9")]).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.field("x-accel-redirect"), Some("/internal/prefix/images/a%20b.jpg"));
    assert_eq!(reply.field("content-type"), Some("image/jpeg"));
    assert_eq!(reply.field("cache-control"), Some("public, max-age=60"));
    assert!(reply.body.is_empty());
    // Conditions are ours, and so is everything that is small, or needs fields that nginx drops.
    let tag = reply.field("etag").unwrap();
    assert_eq!(site.get(&target, &[("If-None-Match", tag)]).await.status, 304);
    for (file, length) in [("images/small.jpg", 999), ("images/page.html", 1000)] {
        let reply = site.get(&url(file), &[]).await;
        assert_eq!((reply.status, reply.body.len()), (200, length), "{file}");
        assert_eq!(reply.field("x-accel-redirect"), None);
    }
    // Nobody is in front of the admin listener.
    let fields = [("Authorization", "Bearer all")];
    let reply = request(site.admin, "GET", "/v1/files/images/a%20b.jpg", &fields).await;
    assert_eq!(reply.body.len(), 1000);
}

#[tokio::test]
async fn a_store_sends_by_a_url_that_ends_soon() {
    let site = site(presigned()).await;
    let reply = site.get(&url("images/a%20b.jpg"), &[]).await;
    assert_eq!(reply.status, 302);
    assert_eq!(reply.field("location"), Some("https://bucket/images/a b.jpg?for=60"));
    assert_eq!(reply.field("cache-control"), Some("private, max-age=30"));
    assert_eq!(reply.field("surrogate-key"), None);
    // Not longer than the file.
    let expires = site.service.clock().now().plus(Duration::from_secs(10));
    let options = PublishOptions { expires: Some(expires), ..PublishOptions::default() };
    site.publish_as("images/soon.jpg", vec![1; 1000], options).await;
    let reply = site.get(&url("images/soon.jpg"), &[]).await;
    assert_eq!(reply.field("location"), Some("https://bucket/images/soon.jpg?for=10"));
    assert_eq!(reply.field("cache-control"), Some("private, max-age=5"));
    let page = site.get(&url("images/page.html"), &[]).await;
    assert_eq!((page.status, page.body.len()), (200, 1000));
}

#[tokio::test]
async fn a_row_without_its_object_is_sent_nowhere() {
    let site = site(presigned()).await;
    site.foreign("images/gone.jpg", |row| row.size = 5000);
    assert_eq!(site.status("GET", &url("images/gone.jpg")).await, 404);
}
