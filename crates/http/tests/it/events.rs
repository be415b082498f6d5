//! `/v1/events`: the change feed as server-sent events.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{head, request};
use crate::site::{Site, path};

const ALL: (&str, &str) = ("Authorization", "Bearer all");
const SOON: Duration = Duration::from_secs(10);

/// A client that is told of changes.
struct Told {
    stream: TcpStream,
    text: String,
}

impl Told {
    async fn open(site: &Site, query: &str, fields: &[(&str, &str)]) -> Self {
        let mut stream = TcpStream::connect(site.admin).await.unwrap();
        let mut fields = fields.to_vec();
        fields.push(ALL);
        let head = head("GET", &format!("/v1/events{query}"), &fields);
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut told = Self { stream, text: String::new() };
        told.until("\r\n\r\n").await;
        assert!(told.text.contains("content-type: text/event-stream"), "{}", told.text);
        told
    }

    async fn until(&mut self, what: &str) {
        let reading = async {
            let mut chunk = [0; 4096];
            while !self.text.contains(what) {
                let n = self.stream.read(&mut chunk).await.unwrap();
                assert_ne!(n, 0, "{}", self.text);
                self.text.push_str(std::str::from_utf8(&chunk[..n]).unwrap());
            }
        };
        timeout(SOON, reading).await.unwrap_or_else(|_| panic!("no {what} in {}", self.text));
    }
}

#[tokio::test]
async fn changes_are_told_and_a_client_goes_on_where_it_was() {
    let site = Site::start().await;
    let mut all = Told::open(&site, "", &[]).await;
    let mut some = Told::open(&site, "?prefix=images/1", &[]).await;
    site.publish("images/10/a", "x").await;
    site.publish("images/1/a", "x").await;
    site.service.delete(&path("images/1/a"), &ezdfs_engine::Precondition::None).await.unwrap();
    all.until("\"op\":\"delete\"").await;
    some.until("\"op\":\"delete\"").await;
    assert!(all.text.contains("\"path\":\"images/10/a\""), "{}", all.text);
    assert!(!some.text.contains("images/10/a"), "{}", some.text);
    let first = all.text.split("id: ").nth(1).unwrap().split('\n').next().unwrap().to_owned();
    assert!(all.text.contains(&format!("id: {first}\nevent: change\ndata: {{\"seq\":{first},")));

    for (query, fields) in [
        (format!("?since={first}"), vec![]),
        ("?since=0".to_owned(), vec![("Last-Event-ID", &*first)]),
    ] {
        let mut again = Told::open(&site, &query, &fields).await;
        again.until("\"op\":\"delete\"").await;
        assert!(!again.text.contains(&format!("id: {first}\n")), "{}", again.text);
    }
}

#[tokio::test]
async fn a_trimmed_cursor_is_gone() {
    let site = Site::start().await;
    for text in ["a", "b", "c"] {
        site.publish("images/a", text).await;
    }
    let late = site.service.metadata().now().await.unwrap().plus(Duration::from_secs(86_400));
    site.service.metadata().trim_feed(late).await.unwrap();
    site.publish("images/a", "d").await;
    let reply = request(site.admin, "GET", "/v1/events?since=1", &[ALL]).await;
    assert_eq!(reply.status, 410, "{reply:?}");
    assert!(String::from_utf8_lossy(&reply.body).contains("urn:ezdfs:problem:trimmed"));
}

#[tokio::test]
async fn who_may_not_list_is_told_nothing_and_nonsense_is_refused() {
    let site = Site::start().await;
    let status = async |target: &str, fields: &[(&str, &str)]| {
        request(site.admin, "GET", target, fields).await.status
    };
    assert_eq!(status("/v1/events", &[]).await, 401);
    assert_eq!(status("/v1/events", &[("Authorization", "Bearer images")]).await, 403);
    for query in ["?since=x", "?since=-1", "?since=1&since=2", "?after=1", "?prefix=../a", "?x"] {
        assert_eq!(status(&format!("/v1/events{query}"), &[ALL]).await, 400, "{query}");
    }
}

#[tokio::test]
async fn shutdown_does_not_wait_for_clients_that_listen() {
    let site = Site::start().await;
    let mut told = Told::open(&site, "", &[]).await;
    timeout(Duration::from_secs(3), site.shut_down()).await.expect("in time").unwrap();
    let mut rest = Vec::new();
    let _ = timeout(SOON, told.stream.read_to_end(&mut rest)).await.unwrap();
}

#[tokio::test]
async fn clients_that_listen_are_bounded() {
    let site = Site::start().await;
    let mut told = Vec::new();
    for _ in 0..32 {
        told.push(Told::open(&site, "", &[]).await);
    }
    assert_eq!(request(site.admin, "GET", "/v1/events", &[ALL]).await.status, 503);
    drop(told);
    let free = async {
        loop {
            let mut stream = TcpStream::connect(site.admin).await.unwrap();
            stream.write_all(head("GET", "/v1/events", &[ALL]).as_bytes()).await.unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.unwrap();
            if answer.ends_with(b"200") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, free).await.unwrap();
}
