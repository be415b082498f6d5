//! The examples for servers in front of ezdfs, each with the real program of Debian.

mod apache;
mod haproxy;
mod nginx;
mod varnish;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ezdfs_testkit::skip::skipped;

use crate::cli::serve::Serving;
use crate::cli::{Home, wait_for};
use crate::common::http::{self, Response};

/// What the site's web server answers, whatever it is asked for.
const WEB: &str = "the site's web server";
const IMAGE: &str = "/var/site/storage/images/1/2/a.jpg";
const LARGE_BYTES: usize = 20 << 20;

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/proxies").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// The program, else the test is skipped.
fn program(name: &str) -> Option<PathBuf> {
    let found = ["/usr/sbin", "/usr/bin"].map(|dir| Path::new(dir).join(name));
    let found = found.into_iter().find(|path| path.exists());
    if found.is_none() {
        skipped(&format!("the example for {name}"), "the program is not installed");
    }
    found
}

/// An address that nobody listens on. Somebody else may take it before it is used; then the program
/// does not start, and says so.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A store with some files, its server, and the site's web server.
struct Site {
    home: Home,
    ezdfs: Serving,
    web: SocketAddr,
}

impl Site {
    fn new(settings: &str) -> Self {
        let home = Home::configured(settings);
        home.put("images/1/2/a.jpg", "bytes of an image");
        home.put("images/\u{fc} %.txt", "an odd name");
        home.put("images-versioned/1/a.jpg", "a draft");
        home.put("original/secret.pdf", "private");
        home.write("large", vec![b'x'; LARGE_BYTES]);
        home.ok(["put", "large", "images/large.bin"]);
        let ezdfs = Serving::start(&home);
        Self { home, ezdfs, web: web() }
    }

    /// A program's configuration with the addresses of this site.
    fn addressed(&self, text: &str) -> String {
        text.replace("127.0.0.1:8080", &self.ezdfs.assets.to_string())
            .replace("127.0.0.1:8000", &self.web.to_string())
    }
}

/// Answers every request with [`WEB`].
fn web() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
                    line.clear();
                }
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{WEB}",
                    WEB.len()
                );
                (&stream).write_all(answer.as_bytes()).ok();
            });
        }
    });
    address
}

/// A server in front; it ends with the test.
struct Front {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Front {
    /// Starts a program that stays in the foreground, and waits until it listens.
    fn start(site: &Site, command: &mut Command, address: SocketAddr) -> Self {
        let log = site.home.write("front.log", "");
        let file = || Stdio::from(std::fs::File::options().append(true).open(&log).unwrap());
        let child = command.stdin(Stdio::null()).stdout(file()).stderr(file()).spawn().unwrap();
        let mut front = Self { child, address, log };
        wait_for("the server in front listens", || {
            let ended = front.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended: {}", front.log());
            TcpStream::connect(address).is_ok()
        });
        front
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn get(&self, target: &str, headers: &[(&str, &str)]) -> Response {
        http::request(self.address, "GET", target, headers)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // SIGTERM, so that a master takes its workers with it.
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        for _ in 0..200 {
            if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What every server in front must keep.
fn check(front: &Front) {
    let whole = front.get(IMAGE, &[]);
    assert_eq!((whole.status, whole.body.as_slice()), (200, b"bytes of an image".as_slice()));
    assert_eq!(whole.header("content-type"), Some("image/jpeg"));
    assert_eq!(whole.header("x-content-type-options"), Some("nosniff"));
    assert!(whole.header("cache-control").unwrap().contains("max-age=60"), "{whole:?}");
    let tag = whole.header("etag").unwrap();
    assert!(whole.header("last-modified").is_some());

    let part = front.get(IMAGE, &[("Range", "bytes=9-10")]);
    assert_eq!((part.status, part.body.as_slice()), (206, b"an".as_slice()));
    assert_eq!(part.header("content-range"), Some("bytes 9-10/17"));
    let known = front.get(IMAGE, &[("If-None-Match", tag)]);
    assert_eq!((known.status, known.body.len()), (304, 0));
    let head = http::request(front.address, "HEAD", IMAGE, &[]);
    assert_eq!((head.status, head.header("content-length")), (200, Some("17")));

    let large = front.get("/var/site/storage/images/large.bin", &[]);
    assert_eq!((large.status, large.body.len()), (200, LARGE_BYTES));
    let odd = front.get("/var/site/storage/images/%C3%BC%20%25.txt", &[]);
    assert_eq!((odd.status, odd.body.as_slice()), (200, b"an odd name".as_slice()), "escapes");
    let draft = front.get("/var/site/storage/images-versioned/1/a.jpg", &[]);
    assert_eq!((draft.status, draft.body.as_slice()), (200, b"a draft".as_slice()));
    let missing = front.get("/var/site/storage/images/none.jpg", &[]);
    assert_eq!(missing.status, 404);

    // Everything else is the site's.
    for target in ["/", "/var/site/storage/original/secret.pdf", "/content/download/1/2/a.pdf"] {
        let other = front.get(target, &[]);
        assert_eq!((other.status, other.body.as_slice()), (200, WEB.as_bytes()), "{target}");
    }
    // No way of writing a path leads to what is private.
    for target in [
        "/var/site/storage/images/../original/secret.pdf",
        "/var/site/storage/images/%2e%2e/original/secret.pdf",
        "/var/site/storage/images/..%2foriginal/secret.pdf",
        "/var/site/storage//images/1/2/a.jpg/../../../../original/secret.pdf",
    ] {
        let answer = front.get(target, &[]);
        assert_ne!(answer.body, b"private", "{target}");
        assert!([200, 400, 404].contains(&answer.status), "{target}: {}", answer.status);
        assert!(answer.status != 200 || answer.body == WEB.as_bytes(), "{target}");
    }
    for method in ["DELETE", "POST", "MKCOL"] {
        let answer = http::request(front.address, method, IMAGE, &[]);
        assert!([403, 405].contains(&answer.status), "{method}: {}", answer.status);
    }
}
