//! Answers from memory: what they cost, and that they are never of another version.

use std::sync::atomic::Ordering;
use std::time::Duration;

use h2::client;
use http::Request;
use tokio::net::TcpStream;

use crate::client::{Reply, request};
use crate::site::{Plan, Site, path, url};

async fn following() -> Site {
    let site = Site::with(Plan { follow: true, ..Plan::default() }).await;
    site.is_fresh().await;
    site
}

/// Requests for bytes that the object store got so far.
fn fetched(site: &Site) -> usize {
    site.faults.opened.load(Ordering::SeqCst)
}

fn status(reply: &Reply) -> &str {
    reply.field("cache-status").unwrap()
}

#[tokio::test]
async fn a_miss_is_one_select_and_one_request_and_a_hit_is_none() {
    let site = following().await;
    site.publish("images/a", "hello").await;
    site.has_told(1).await;
    let target = url("images/a");
    site.asked.reset();
    let before = fetched(&site);
    let first = site.get(&target, &[]).await;
    assert_eq!((status(&first), &first.body[..]), ("ezdfs; fwd=uri-miss; stored", &b"hello"[..]));
    assert_eq!((site.asked.calls(), fetched(&site) - before), (vec!["record"], 1));

    site.asked.reset();
    let before = fetched(&site);
    let tag = first.field("etag").unwrap();
    for _ in 0..5 {
        let again = site.get(&target, &[]).await;
        assert_eq!((status(&again), &again.body), ("ezdfs; hit", &first.body));
        // All fields but Date and this one are those of the first answer.
        for (name, value) in &first.fields {
            if !["date", "cache-status"].contains(&&**name) {
                assert_eq!(again.field(name), Some(&**value), "{name}");
            }
        }
        assert_eq!(again.fields.len(), first.fields.len());
        let head = request(site.address, "HEAD", &target, &[]).await;
        assert_eq!((head.status, head.length(), status(&head)), (200, Some(5), "ezdfs; hit"));
        let part = site.get(&target, &[("Range", "bytes=1-2")]).await;
        assert_eq!((part.status, &part.body[..], status(&part)), (206, &b"el"[..], "ezdfs; hit"));
        let same = site.get(&target, &[("If-None-Match", tag)]).await;
        assert_eq!((same.status, status(&same), same.length()), (304, "ezdfs; hit", None));
        let other = site.get(&target, &[("If-Match", "\"x\"")]).await;
        assert_eq!(other.status, 412);
    }
    assert_eq!((site.asked.calls(), fetched(&site) - before), (vec![], 0));
}

#[tokio::test]
async fn a_missing_file_is_remembered_until_it_comes() {
    let site = following().await;
    site.asked.reset();
    for _ in 0..5 {
        assert_eq!(site.status("GET", &url("images/late")).await, 404);
    }
    assert_eq!(site.asked.calls(), ["record"]);
    site.publish("images/late", "here").await;
    assert_eq!(site.status("GET", &url("images/late")).await, 200);
}

#[tokio::test]
async fn a_thousand_misses_at_once_are_one_request() {
    let site = following().await;
    let bytes = vec![7; 100_000];
    site.publish("images/a", bytes.clone()).await;
    site.has_told(1).await;
    site.asked.reset();
    let before = fetched(&site);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let stream = TcpStream::connect(site.address).await.unwrap();
        let mut builder = client::Builder::new();
        builder.initial_window_size(1 << 20).initial_connection_window_size(16 << 20);
        let (client, connection) = builder.handshake::<_, bytes::Bytes>(stream).await.unwrap();
        tokio::spawn(connection);
        for _ in 0..100 {
            let mut client = client.clone().ready().await.unwrap();
            let target = format!("http://localhost{}", url("images/a"));
            tasks.spawn(async move {
                let request = Request::get(target).body(()).unwrap();
                let (answer, _) = client.send_request(request, true).unwrap();
                let answer = answer.await.unwrap();
                let how = answer.headers()["cache-status"].to_str().unwrap().to_owned();
                let mut body = answer.into_body();
                let mut bytes = Vec::new();
                while let Some(chunk) = body.data().await {
                    let chunk = chunk.unwrap();
                    body.flow_control().release_capacity(chunk.len()).unwrap();
                    bytes.extend_from_slice(&chunk);
                }
                (how, bytes)
            });
        }
    }
    let answers = tasks.join_all().await;
    assert_eq!(answers.len(), 1000);
    assert!(answers.iter().all(|(_, body)| *body == bytes));
    let stored = answers.iter().filter(|(how, _)| how.ends_with("stored")).count();
    assert_eq!((stored, fetched(&site) - before), (1, 1));
    assert_eq!(site.asked.calls(), ["record"]);
}

#[tokio::test]
async fn what_was_replaced_or_deleted_is_not_answered() {
    let site = following().await;
    let target = url("images/a");
    for i in 0..20 {
        let text = format!("version {i}");
        site.publish("images/a", text.clone()).await;
        for _ in 0..2 {
            assert_eq!(site.get(&target, &[]).await.body, text.as_bytes());
        }
    }
    site.service.delete(&path("images/a"), &ezdfs_engine::Precondition::None).await.unwrap();
    assert_eq!(site.status("GET", &target).await, 404);
    // A foreign change shows when the feed has told it.
    site.publish("images/a", "again").await;
    assert_eq!(site.get(&target, &[]).await.body, b"again");
    site.foreign("images/a", |row| row.expired = true);
    let gone = async {
        while site.status("GET", &target).await != 404 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
}

#[tokio::test]
async fn a_file_that_expires_is_gone_on_the_second() {
    let site = following().await;
    let expires = Some(site.service.clock().now().plus(Duration::from_millis(1500)));
    let options = ezdfs_engine::PublishOptions { expires, ..Default::default() };
    site.publish_as("images/a", "soon gone", options).await;
    let target = url("images/a");
    assert_eq!(site.get(&target, &[]).await.status, 200);
    let second = site.get(&target, &[]).await;
    assert_eq!(second.status, 200);
    assert!(second.field("cache-control").unwrap().contains("must-revalidate"));
    site.clock.advance(Duration::from_secs(2));
    assert_eq!(site.get(&target, &[]).await.status, 404);
}

#[tokio::test]
async fn without_a_feed_the_database_is_asked_and_an_old_version_needs_no_object() {
    let site = Site::start().await;
    site.publish("images/a", "hello").await;
    let target = url("images/a");
    let costs = async || {
        site.asked.reset();
        let before = fetched(&site);
        assert_eq!(site.get(&target, &[]).await.body, b"hello");
        (site.asked.calls(), fetched(&site) - before)
    };
    // A version of this moment may be overtaken within its second: its object tells.
    for _ in 0..2 {
        assert_eq!(costs().await, (vec!["record"], 1));
    }
    site.clock.advance(Duration::from_secs(31));
    assert_eq!(costs().await, (vec!["record"], 1));
    for _ in 0..3 {
        assert_eq!(costs().await, (vec!["record"], 0));
    }
}

#[tokio::test]
async fn large_files_are_not_kept() {
    let site = following().await;
    site.publish("images/big", vec![1; (1 << 20) + 1]).await;
    for _ in 0..2 {
        let before = fetched(&site);
        let reply = site.get(&url("images/big"), &[]).await;
        assert!(reply.is_complete());
        assert_eq!((status(&reply), fetched(&site) - before), ("ezdfs; fwd=bypass", 1));
    }
}

#[tokio::test]
async fn a_read_that_breaks_is_not_kept() {
    let site = following().await;
    site.publish("images/a", vec![1; 100_000]).await;
    let target = url("images/a");
    site.faults.break_after.store(50_000, Ordering::SeqCst);
    // Nothing was sent yet: it is an error, and no cut connection.
    assert_eq!(site.get(&target, &[]).await.status, 503);
    site.faults.break_after.store(u64::MAX, Ordering::SeqCst);
    assert!(site.get(&target, &[]).await.is_complete());
}
