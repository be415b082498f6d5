//! HTTP/2 without TLS, by prior knowledge.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use ezdfs_http::Limits;
use h2::client::{self, SendRequest};
use http::{Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{Reply, exchange, head};
use crate::site::{Plan, Site, url};

const SOON: Duration = Duration::from_secs(10);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

async fn site(limits: Limits) -> Site {
    let site = Site::with(Plan { limits, ..Plan::default() }).await;
    site.publish("images/a", "hello").await;
    site
}

/// A client whose windows are of that size, and how its connection ends.
async fn connect(
    server: SocketAddr,
    window: u32,
) -> (SendRequest<Bytes>, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    let stream = TcpStream::connect(server).await.unwrap();
    let mut builder = client::Builder::new();
    builder.initial_window_size(window);
    let (client, connection) = builder.handshake(stream).await.unwrap();
    (client, tokio::spawn(connection))
}

fn get(target: &str) -> Request<()> {
    Request::get(format!("http://localhost{target}")).body(()).unwrap()
}

async fn read(response: Response<h2::RecvStream>) -> (u16, Vec<u8>) {
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.unwrap();
        body.flow_control().release_capacity(chunk.len()).unwrap();
        bytes.extend_from_slice(&chunk);
    }
    (status, bytes)
}

#[tokio::test]
async fn many_requests_share_a_connection() {
    let site = site(Limits::default()).await;
    let big = vec![7; 3 << 20];
    site.publish("images/big", big.clone()).await;
    let (mut client, _) = connect(site.address, 65_535).await;
    let (answer, _) = client.send_request(get(&url("images/big")), true).unwrap();
    let reading = tokio::spawn(async move { read(answer.await.unwrap()).await });
    for _ in 0..20 {
        client = client.ready().await.unwrap();
        let (answer, _) = client.send_request(get(&url("images/a")), true).unwrap();
        assert_eq!(read(answer.await.unwrap()).await, (200, b"hello".to_vec()));
    }
    assert_eq!(reading.await.unwrap(), (200, big));
    let mut request = get(&url("images/a"));
    request.headers_mut().insert("range", "bytes=1-2".parse().unwrap());
    let (answer, _) = client.send_request(request, true).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.headers()["content-range"], "bytes 1-2/5");
    assert_eq!(read(answer).await, (206, b"el".to_vec()));
    let (answer, _) = client.send_request(get("/elsewhere"), true).unwrap();
    assert_eq!(read(answer.await.unwrap()).await.0, 404);
    let put = Request::put(format!("http://localhost{}", url("images/a"))).body(()).unwrap();
    let (answer, _) = client.send_request(put, true).unwrap();
    assert_eq!(answer.await.unwrap().headers()["allow"], "GET, HEAD, OPTIONS");
}

#[tokio::test]
async fn without_http2_its_preface_is_a_bad_request() {
    let site = site(Limits { http2: false, ..Limits::default() }).await;
    let answer = exchange(site.address, PREFACE).await;
    assert!(answer.is_empty() || Reply::parse(&answer).status == 400);
    assert_eq!(site.status("GET", &url("images/a")).await, 200);
    // The admin listener never speaks it.
    let answer = exchange(site.admin, PREFACE).await;
    assert!(answer.is_empty() || Reply::parse(&answer).status == 400);
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let limits = Limits { head_timeout: Duration::from_millis(200), ..Limits::default() };
    let site = site(limits).await;
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    stream.write_all(&PREFACE[..10]).await.unwrap();
    let mut rest = Vec::new();
    let _ = timeout(SOON, stream.read_to_end(&mut rest)).await.expect("closed");
}

#[tokio::test]
async fn abuse_28_a_window_that_stays_closed_ends_the_connection() {
    let limits = Limits { stall_timeout: Duration::from_millis(300), ..Limits::default() };
    let site = site(limits).await;
    site.publish("images/big", vec![1; 1 << 20]).await;
    let (mut client, connection) = connect(site.address, 1).await;
    let (answer, _) = client.send_request(get(&url("images/big")), true).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200);
    let _ = timeout(SOON, connection).await.expect("closed").unwrap();
    // Nobody else suffers.
    assert_eq!(site.status("GET", &url("images/a")).await, 200);
    // One that reads in time is served, however small its window is.
    let (mut client, _) = connect(site.address, 1).await;
    let (answer, _) = client.send_request(get(&url("images/a")), true).unwrap();
    assert_eq!(read(answer.await.unwrap()).await, (200, b"hello".to_vec()));
}

#[tokio::test]
async fn abuse_28_rapid_resets_end_the_connection() {
    let site = site(Limits::default()).await;
    // HEADERS of a GET, indexed or literal without Huffman (RFC 7541), then RST_STREAM, as fast as
    // they go out.
    let target = url("images/a");
    let mut block = vec![0x82, 0x86, 0x44, u8::try_from(target.len()).unwrap()];
    block.extend_from_slice(target.as_bytes());
    block.extend_from_slice(b"\x41\x09localhost");
    let mut bytes = PREFACE.to_vec();
    bytes.extend_from_slice(&frame(4, 0, 0, &[]));
    for i in 0..10_000_u32 {
        let stream = 2 * i + 1;
        bytes.extend_from_slice(&frame(1, 0x5, stream, &block));
        bytes.extend_from_slice(&frame(3, 0, stream, &8_u32.to_be_bytes()));
    }
    let answer = timeout(SOON, exchange(site.address, &bytes)).await.expect("closed");
    assert!(is_goaway(&answer, 11), "no GOAWAY with ENHANCE_YOUR_CALM in {} bytes", answer.len());
    assert_eq!(site.status("GET", &url("images/a")).await, 200);
}

#[tokio::test]
async fn abuse_28_a_flood_of_continuations_ends_the_connection() {
    let site = site(Limits::default()).await;
    let mut bytes = PREFACE.to_vec();
    bytes.extend_from_slice(&frame(4, 0, 0, &[]));
    bytes.extend_from_slice(&frame(1, 0, 1, &[0x82, 0x86, 0x84]));
    let part = [&[0x40, 0x01, b'x', 0x7f, 0xff, 0x06][..], &[b'y'; 4000]].concat();
    for _ in 0..2000 {
        bytes.extend_from_slice(&frame(9, 0, 1, &part));
    }
    let answer = timeout(SOON, exchange(site.address, &bytes)).await.expect("closed");
    assert!(goaway(&answer).is_some(), "no GOAWAY in {} bytes", answer.len());
    assert_eq!(site.status("GET", &url("images/a")).await, 200);
}

#[tokio::test]
async fn abuse_28_a_flood_of_empty_frames_ends_the_connection() {
    let site = site(Limits::default()).await;
    let mut bytes = PREFACE.to_vec();
    bytes.extend_from_slice(&frame(4, 0, 0, &[]));
    let block = [&[0x83, 0x86, 0x84][..], b"\x41\x09localhost"].concat();
    bytes.extend_from_slice(&frame(1, 0x4, 1, &block));
    for _ in 0..200_000 {
        bytes.extend_from_slice(&frame(0, 0, 1, &[]));
    }
    let answer = timeout(SOON, exchange(site.address, &bytes)).await.expect("closed");
    assert!(goaway(&answer).is_some(), "no GOAWAY in {} bytes", answer.len());
    assert_eq!(site.status("GET", &url("images/a")).await, 200);
}

#[tokio::test]
async fn shutdown_finishes_answers_under_way() {
    let site = site(Limits { drain: SOON, ..Limits::default() }).await;
    let size = 8 << 20;
    site.publish("images/big", vec![1; size]).await;
    let (mut client, _) = connect(site.address, 65_535).await;
    let (answer, _) = client.send_request(get(&url("images/big")), true).unwrap();
    let answer = answer.await.unwrap();
    let running = site.shut_down();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (status, bytes) = timeout(SOON, read(answer)).await.unwrap();
    assert_eq!((status, bytes.len()), (200, size));
    timeout(SOON, running).await.unwrap().unwrap();
}

#[tokio::test]
async fn http1_clients_are_served_beside() {
    let site = site(Limits::default()).await;
    let close = [("Connection", "close")];
    // Slowly, so that the protocol is not known at once.
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    for byte in head("GET", &url("images/a"), &close).as_bytes() {
        stream.write_all(&[*byte]).await.unwrap();
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(Reply::parse(&answer).body, b"hello");
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// The error code of the last GOAWAY among frames.
fn goaway(mut bytes: &[u8]) -> Option<u32> {
    let mut code = None;
    while let Some((header, rest)) = bytes.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let Some((payload, behind)) = rest.split_at_checked(usize::try_from(length).unwrap())
        else {
            break;
        };
        if header[3] == 7 {
            code = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
        bytes = behind;
    }
    code
}

fn is_goaway(bytes: &[u8], code: u32) -> bool {
    goaway(bytes) == Some(code)
}
