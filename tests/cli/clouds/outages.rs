//! `serve` on a bucket behind a proxy that cuts, silences, delays and throttles.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use ezdfs_core::{Clock as _, SystemClock};
use ezdfs_testkit::proxy::Proxy;

use super::super::serve::Serving;
use super::super::wait_for;
use super::serving::{proxied, serving, url};
use super::*;
use crate::common::http;

/// Several seconds at the rate of the proxy.
const LARGE: usize = 24 << 20;
/// So that buffers do not take it all at once, in bytes a second.
const RATE: u64 = 6 << 20;
/// `store.io_timeout` here.
const IO_TIMEOUT: Duration = Duration::from_secs(2);

/// A bucket behind a proxy; bytes are not cached, so that each answer needs the bucket.
fn bucket() -> Option<(TestBucket, Runtime, Proxy, Home)> {
    let bucket = TestBucket::s3()?;
    let (runtime, proxy, home) = proxied(&bucket);
    let toml = String::from_utf8(home.read("ezdfs.toml")).unwrap();
    let toml = toml.replacen("[store]\n", "[store]\nio_timeout = \"2s\"\n", 1);
    home.write("ezdfs.toml", format!("{toml}[cache]\nenabled = \"off\"\nmemory = \"0B\"\n"));
    Some((bucket, runtime, proxy, home))
}

/// An answer whose reader waits in the middle.
struct Slow {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Slow {
    /// Head and the first megabyte.
    fn start(node: &Serving, path: &str) -> Self {
        let mut stream = TcpStream::connect(node.assets).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let request = format!("GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", url(path));
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = vec![0; 1 << 20];
        stream.read_exact(&mut bytes).unwrap();
        assert!(bytes.starts_with(b"HTTP/1.1 200"));
        let head = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        Self { stream, bytes: bytes.split_off(head + 4) }
    }

    /// The body as far as it comes.
    fn finish(mut self) -> Vec<u8> {
        // A connection that is cut may say so.
        let _ = self.stream.read_to_end(&mut self.bytes);
        self.bytes
    }
}

#[test]
fn a_body_that_breaks_off_goes_on_where_it_broke() {
    let Some((bucket, _runtime, proxy, home)) = bucket() else { return };
    let large = pattern(LARGE);
    let file = home.write("large.bin", &large);
    home.ok(["put", file.to_str().unwrap(), "images/large.bin"]);
    let node = serving(&home);
    proxy.throttle(RATE);
    let slow = Slow::start(&node, "images/large.bin");
    let _ = proxy.take_round_trips();
    proxy.cut();
    proxy.heal();
    assert!(slow.finish() == large);
    assert_ne!(proxy.take_round_trips(), 0, "it was not cut in the middle");

    // The same again, and meanwhile another program has put other bytes of the same size there:
    // what came and what would come are not of one version.
    proxy.throttle(RATE);
    let slow = Slow::start(&node, "images/large.bin");
    bucket.put(&format!("{PREFIX}/images/large.bin"), vec![7; LARGE]);
    proxy.cut();
    proxy.heal();
    let body = slow.finish();
    assert!(body.len() < LARGE && body == large[..body.len()], "{} bytes", body.len());
    node.stop();
}

#[test]
fn a_bucket_that_goes_away_and_comes_back() {
    let Some((_bucket, _runtime, proxy, home)) = bucket() else { return };
    home.put("images/a.txt", "text");
    let node = serving(&home);
    let get = || http::get(node.assets, &url("images/a.txt"));
    let works = || get().body == b"text";
    assert!(works());

    // Slow is not away.
    proxy.delay(Duration::from_millis(100));
    assert!(works());
    proxy.delay(Duration::ZERO);
    proxy.throttle(20_000);
    assert!(works());
    proxy.heal();

    // Neither connections nor answers.
    for away in [Proxy::refuse, Proxy::silence] {
        away(&proxy, true);
        proxy.cut();
        let began = SystemClock.boot();
        for _ in 0..12 {
            let answer = get();
            assert_eq!(answer.status, 503, "{answer:?}");
            assert!(!String::from_utf8_lossy(&answer.body).contains("127.0.0.1"), "{answer:?}");
        }
        let took = SystemClock.boot() - began;
        // The first few wait for an answer; after that nobody does.
        assert!(took < 7 * IO_TIMEOUT, "12 errors took {took:?}");
        assert_eq!(http::get(node.admin, "/healthz").status, 200);
        proxy.heal();
        proxy.cut();
        wait_for("the end of the outage", works);
        for _ in 0..20 {
            assert!(works());
        }
    }
    // Writes as well.
    home.put("images/a.txt", "newer");
    wait_for("the new version", || get().body == b"newer");
    node.stop();
}

/// A server starts without its bucket, and learns later what that can do.
#[test]
fn a_bucket_that_is_away_at_the_start() {
    let Some((_bucket, _runtime, proxy, home)) = bucket() else { return };
    home.ok(["ls"]);
    let probed = home.path().join("ezdfs-data/probes/s3.toml");
    std::fs::remove_file(&probed).unwrap();
    proxy.refuse(true);
    let node = Serving::start(&home);
    assert_eq!(http::get(node.admin, "/healthz").status, 200);
    assert!(!probed.exists());
    // Nothing is repaired, or found, by a view that could not be had.
    let err = home.fails(1, ["fsck", "--repair"]);
    assert!(err.contains("s3"), "{err}");
    let ran = home.run(["status"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.out.contains("not known: the store could not be probed"), "{ran:?}");
    proxy.heal();
    wait_for("the probe", || probed.exists());
    home.put("images/a.txt", "text");
    wait_for("the file", || http::get(node.assets, &url("images/a.txt")).body == b"text");
    node.stop();
}
