//! Connections: reuse, limits, slow clients, panics, shutdown.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use ezdfs_http::Limits;
use ezdfs_http::body::AssetBody;
use ezdfs_http::connection::Connection;
use ezdfs_http::listener::Listener;

use crate::client::{Reply, exchange, head, request};
use crate::site::{Plan, Site, url};

const SOON: Duration = Duration::from_secs(10);

async fn limited(limits: Limits) -> Site {
    let site = Site::with(Plan { limits, ..Plan::default() }).await;
    site.publish("images/a", "hello").await;
    site
}

/// Reads up to the end of one answer with the body `hello`.
async fn read_hello(stream: &mut TcpStream) {
    let mut answer = Vec::new();
    while !answer.ends_with(b"hello") {
        assert_ne!(timeout(SOON, stream.read_buf(&mut answer)).await.unwrap().unwrap(), 0);
    }
    assert_eq!(Reply::parse(&answer).status, 200);
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let site = limited(Limits::default()).await;
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    for _ in 0..3 {
        let missing = head("HEAD", &url("images/none"), &[]);
        stream.write_all(missing.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
        }
        assert_eq!(Reply::parse(&answer).status, 404);
        stream.write_all(head("GET", &url("images/a"), &[]).as_bytes()).await.unwrap();
        read_hello(&mut stream).await;
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let site = limited(Limits::default()).await;
    let mut requests = head("GET", &url("images/a"), &[("Range", "bytes=0-1")]);
    requests += &head("GET", &url("images/a"), &[("Range", "bytes=2-4"), ("Connection", "close")]);
    let answer = exchange(site.address, requests.as_bytes()).await;
    let text = String::from_utf8(answer).unwrap();
    let (first, second) = text.split_once("\r\n\r\nhe").unwrap();
    assert!(first.contains("bytes 0-1/5"));
    assert!(second.contains("bytes 2-4/5") && second.ends_with("\r\n\r\nllo"));
}

#[tokio::test]
async fn connections_above_the_limit_wait() {
    let site = limited(Limits { connections: 1, ..Limits::default() }).await;
    let mut first = TcpStream::connect(site.address).await.unwrap();
    first.write_all(head("GET", &url("images/a"), &[]).as_bytes()).await.unwrap();
    read_hello(&mut first).await;
    let mut second = TcpStream::connect(site.address).await.unwrap();
    second.write_all(head("GET", &url("images/a"), &[]).as_bytes()).await.unwrap();
    let mut byte = [0];
    assert!(timeout(Duration::from_millis(200), second.peek(&mut byte)).await.is_err());
    drop(first);
    read_hello(&mut second).await;
}

#[tokio::test]
async fn abuse_26_slow_heads_and_idle_connections_are_closed() {
    let limits = Limits { head_timeout: Duration::from_millis(200), ..Limits::default() };
    let site = limited(limits).await;
    // Nothing at all; half a head, byte by byte; an answer and then nothing.
    let idle = TcpStream::connect(site.address).await.unwrap();
    let mut slow = TcpStream::connect(site.address).await.unwrap();
    let mut used = TcpStream::connect(site.address).await.unwrap();
    used.write_all(head("GET", &url("images/a"), &[]).as_bytes()).await.unwrap();
    read_hello(&mut used).await;
    let dripping = async {
        for byte in b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Very-Slow: yes".iter().cycle() {
            if slow.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, dripping).await.expect("a dripping head is cut");
    for mut stream in [idle, used] {
        let mut rest = Vec::new();
        let _ = timeout(SOON, stream.read_to_end(&mut rest)).await.expect("closed");
    }
    assert_eq!(site.status("GET", &url("images/a")).await, 200);
}

#[tokio::test]
async fn abuse_27_a_reader_that_stops_is_dropped() {
    let limits = Limits { stall_timeout: Duration::from_millis(300), ..Limits::default() };
    let site = limited(limits).await;
    let size = 64 << 20;
    site.publish("images/big", vec![1; size]).await;
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    stream.write_all(head("GET", &url("images/big"), &[]).as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut answer = Vec::new();
    let _ = timeout(SOON, stream.read_to_end(&mut answer)).await.expect("closed");
    let reply = Reply::parse(&answer);
    assert!(reply.length() == Some(size) && reply.body.len() < size, "{}", reply.body.len());
    // A reader that is slow but takes bytes is served.
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let close = [("Connection", "close")];
    stream.write_all(head("GET", &url("images/big"), &close).as_bytes()).await.unwrap();
    let mut answer = Vec::with_capacity(size + 1024);
    let mut pauses = 0;
    while stream.read_buf(&mut answer).await.unwrap() > 0 {
        if answer.len() > (pauses + 1) * size / 8 {
            pauses += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    assert!(pauses > 4 && Reply::parse(&answer).is_complete());
}

#[tokio::test]
async fn abuse_27_a_reader_that_takes_a_little_now_and_then_is_dropped() {
    let window = Duration::from_secs(1);
    let limits = Limits { stall_timeout: window, min_rate: 32 << 20, ..Limits::default() };
    let site = limited(limits).await;
    let size = 64 << 20;
    site.publish("images/big", vec![1; size]).await;
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    stream.write_all(head("GET", &url("images/big"), &[]).as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let dripping = async {
        let mut chunk = vec![0; 256 << 10];
        loop {
            match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => break,
                Ok(n) => answer.extend_from_slice(&chunk[..n]),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(SOON, dripping).await.expect("it is cut");
    let reply = Reply::parse(&answer);
    assert!(reply.length() == Some(size) && reply.body.len() < size, "{}", reply.body.len());
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_refused() {
    let limits =
        Limits { stall_timeout: Duration::from_secs(1), min_rate: 1 << 20, ..Limits::default() };
    let site = limited(limits).await;
    let fields = [("Authorization", "Bearer all"), ("Content-Length", "1000")];
    let mut stream = TcpStream::connect(site.admin).await.unwrap();
    stream.write_all(head("PUT", "/v1/files/images/slow", &fields).as_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.split();
    let mut answer = Vec::new();
    let dripping = async {
        while writing.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = dripping => panic!("the connection ended without an answer"),
        n = timeout(SOON, reading.read_buf(&mut answer)) => assert_ne!(n.unwrap().unwrap(), 0),
    }
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(site.status("GET", &url("images/slow")).await, 404);
}

#[tokio::test]
async fn requests_above_the_limit_are_refused_and_counted_down() {
    let site = limited(Limits { requests: 1, ..Limits::default() }).await;
    let (stream, _) = begin(&site, 64 << 20).await;
    let refused = request(site.address, "GET", &url("images/a"), &[]).await;
    assert_eq!((refused.status, refused.field("retry-after")), (503, Some("1")));
    assert_eq!(refused.field("cache-control"), Some("no-store"));
    drop(stream);
    let served = async {
        while site.status("GET", &url("images/a")).await != 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, served).await.unwrap();
}

#[tokio::test]
async fn a_request_is_told_apart() {
    let site = limited(Limits::default()).await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let fields = [("X-Request-Id", "abc-1"), ("traceparent", parent)];
    let reply = site.get(&url("images/a"), &fields).await;
    assert_eq!(reply.field("x-request-id"), Some("abc-1"));
    let trace = reply.field("traceparent").unwrap();
    assert!(trace.starts_with(&parent[..36]) && trace != parent, "{trace}");
    // Nobody wants to know.
    assert_eq!(site.get(&url("images/a"), &[]).await.field("x-request-id"), None);
}

#[tokio::test]
async fn a_panic_ends_one_connection_alone() {
    let any = "127.0.0.1:0".parse().unwrap();
    let listener = Listener::bind("serve.listen", any, Limits::default()).await.unwrap();
    let address = listener.address();
    let service = |_: &Arc<Connection>| {
        service_fn(|request: Request<Incoming>| async move {
            assert_ne!(request.uri().path(), "/panic", "a defect");
            Ok::<_, Infallible>(Response::new(AssetBody::text("fine")))
        })
    };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(listener.run(service, async {
        let _ = stopped.await;
    }));
    assert_eq!(exchange(address, head("GET", "/panic", &[]).as_bytes()).await, b"");
    assert_eq!(request(address, "GET", "/", &[]).await.body, b"fine");
    stop.send(()).unwrap();
    timeout(SOON, running).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_address_in_use_is_a_configuration_error() {
    let any = "127.0.0.1:0".parse().unwrap();
    let first = Listener::bind("serve.listen", any, Limits::default()).await.unwrap();
    let second = Listener::bind("serve.listen", first.address(), Limits::default()).await;
    let e = second.unwrap_err();
    assert_eq!(e.kind(), ezdfs_core::ErrorKind::Config);
    assert!(e.to_string().contains("serve.listen"), "{e}");
}

/// Starts a download of `size` bytes and reads its first ones.
async fn begin(site: &Site, size: usize) -> (TcpStream, Vec<u8>) {
    site.publish("images/big", vec![1; size]).await;
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    stream.write_all(head("GET", &url("images/big"), &[]).as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
    (stream, answer)
}

#[tokio::test]
async fn shutdown_finishes_answers_under_way() {
    let site = limited(Limits { drain: SOON, ..Limits::default() }).await;
    let size = 32 << 20;
    let (mut stream, mut answer) = begin(&site, size).await;
    let idle = TcpStream::connect(site.address).await.unwrap();
    let (address, admin) = (site.address, site.admin);
    assert_eq!(request(admin, "GET", "/readyz", &[]).await.status, 200);
    let running = site.shut_down();
    // Readiness fails while the answer is under way, and nobody new gets in.
    let not_ready = async {
        while request(admin, "GET", "/readyz", &[]).await.status != 503 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, not_ready).await.unwrap();
    assert!(!running.is_finished());
    stream.read_to_end(&mut answer).await.unwrap();
    let reply = Reply::parse(&answer);
    assert!(reply.is_complete() && reply.body.len() == size);
    drop(idle);
    timeout(SOON, running).await.unwrap().unwrap();
}

#[tokio::test]
async fn shutdown_does_not_wait_for_ever() {
    let site = limited(Limits { drain: Duration::from_millis(300), ..Limits::default() }).await;
    let (_stream, _) = begin(&site, 64 << 20).await;
    timeout(SOON, site.shut_down()).await.expect("the drain is bounded").unwrap();
}
