//! `ezdfs demo`: the main job, end to end on the real binary.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::cli::Home;
use crate::common::http;

/// Where assets are in the URL space.
const PREFIX: &str = "/var/site/storage";

/// A running demo. Killed when dropped.
struct Demo {
    child: Child,
    stdout: BufReader<ChildStdout>,
    urls: Vec<String>,
    addr: SocketAddr,
}

/// How a demo ended.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Demo {
    /// Starts it on a free port with its temporary directory in `home`, and waits for its URLs.
    fn start(home: &Home, args: &[&str]) -> Self {
        let mut child = command(home, &[&["--listen", "127.0.0.1:0"], args].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut urls = Vec::new();
        while urls.len() < 5 {
            let mut line = String::new();
            if stdout.read_line(&mut line).unwrap() == 0 {
                let mut stderr = String::new();
                child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
                panic!("the demo ended early: {stderr}");
            }
            urls.push(line.trim_end().to_owned());
        }
        let addr = split(&urls[0]).0;
        Self { child, stdout, urls, addr }
    }

    /// Sends SIGTERM; it must end within 5 s.
    fn terminate(mut self) -> Ended {
        send_term(&self.child);
        for _ in 0..100 {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert_eq!(status.signal(), None, "ended by the signal itself");
                let (mut stdout, mut stderr) = (String::new(), String::new());
                self.stdout.read_to_string(&mut stdout).unwrap();
                self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
                return Ended { code: status.code(), stdout, stderr };
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("still running 5 s after SIGTERM");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It has ended already unless a test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `ezdfs demo` with its temporary directories in `home`.
fn command(home: &Home, args: &[&str]) -> Command {
    let mut command = home.command([&["demo"], args].concat());
    command.env("TMPDIR", home.path());
    command
}

fn send_term(child: &Child) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
}

/// Address and request target of a URL.
fn split(url: &str) -> (SocketAddr, &str) {
    let rest = url.strip_prefix("http://").unwrap();
    let (addr, target) = rest.split_at(rest.find('/').unwrap());
    (addr.parse().unwrap(), target)
}

fn target(path: &str) -> String {
    format!("{PREFIX}/{}", http::encode(path))
}

/// Every file of the sample site in the repository: path in the store, and bytes.
fn site() -> BTreeMap<String, Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/site/var/site/storage");
    let mut files = BTreeMap::new();
    let mut dirs = vec![root.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let id = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                files.insert(id, fs::read(path).unwrap());
            }
        }
    }
    assert!(files.len() > 50, "only {} files in examples/site", files.len());
    files
}

fn digest(bytes: &[u8]) -> String {
    ezdfs_core::Sha256::from_bytes(Sha256::digest(bytes).into()).to_string()
}

/// What is left in a directory.
fn names(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn every_file_of_the_sample_site_is_served_byte_for_byte() {
    let home = Home::new();
    let demo = Demo::start(&home, &[]);
    for url in &demo.urls {
        let (addr, target) = split(url);
        assert_eq!(http::get(addr, target).status, 200, "{url}");
    }
    assert!(demo.urls.iter().any(|url| url.contains('%')), "{:?}", demo.urls);

    let (mut served, mut private) = (0, 0);
    for (path, bytes) in site() {
        let answer = http::get(demo.addr, &target(&path));
        if path.starts_with("original/") {
            assert_eq!(answer.status, 404, "{path}");
            private += 1;
            continue;
        }
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.body == bytes, "{path}: other bytes");
        let sha256 = digest(&bytes);
        assert_eq!(digest(&answer.body), sha256, "{path}");
        assert_eq!(answer.header("etag"), Some(&*format!("\"{sha256}\"")), "{path}");
        let kind = answer.header("content-type").unwrap();
        let expected = match Path::new(&path).extension().and_then(|e| e.to_str()) {
            Some("png" | "PNG") => "image/png",
            Some("jpg") => "image/jpeg",
            Some("gif") => "image/gif",
            Some("webp") => "image/webp",
            Some("svg") => "image/svg+xml",
            Some("bmp") => "image/bmp",
            _ => "application/octet-stream",
        };
        assert_eq!(kind, expected, "{path}");
        served += 1;
    }
    assert!(served > 50 && private >= 5, "{served} served, {private} private");

    for absent in ["images/import/none.png", "images/import/aXb", "images/import/DIR/tile.png", "x"]
    {
        assert_eq!(http::get(demo.addr, &target(absent)).status, 404, "{absent}");
    }
    let ended = demo.terminate();
    assert_eq!((ended.code, &*ended.stdout), (Some(0), ""), "{}", ended.stderr);
    assert_eq!(names(home.path()), [] as [PathBuf; 0], "the temporary directory is still there");
}

#[test]
fn conditional_and_range_requests_are_answered_as_such() {
    let home = Home::new();
    let demo = Demo::start(&home, &[]);
    let path = "images/import/50%20off.png";
    let bytes = &site()[path];
    let target = target(path);
    let ask =
        |method: &str, headers: &[(&str, &str)]| http::request(demo.addr, method, &target, headers);

    let whole = ask("GET", &[]);
    let etag = whole.header("etag").unwrap();
    for value in [etag, &format!("\"other\", {etag}"), "*"] {
        let unchanged = ask("GET", &[("If-None-Match", value)]);
        assert_eq!((unchanged.status, unchanged.header("etag")), (304, Some(etag)), "{value}");
        assert!(unchanged.body.is_empty());
    }
    assert_eq!(ask("GET", &[("If-None-Match", "\"other\"")]).status, 200);
    let modified = whole.header("last-modified").unwrap();
    assert_eq!(ask("GET", &[("If-Modified-Since", modified)]).status, 304);

    let part = ask("GET", &[("Range", "bytes=1-9")]);
    assert_eq!((part.status, &*part.body), (206, &bytes[1..10]));
    let expected = format!("bytes 1-9/{}", bytes.len());
    assert_eq!(part.header("content-range"), Some(&*expected));
    let end = ask("GET", &[("Range", "bytes=-5")]);
    assert_eq!((end.status, &*end.body), (206, &bytes[bytes.len() - 5..]));
    assert_eq!(ask("GET", &[("Range", "bytes=99999-")]).status, 416);

    let head = ask("HEAD", &[]);
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some(&*bytes.len().to_string()));
    assert_eq!(ask("DELETE", &[]).status, 405);
    assert_eq!(demo.terminate().code, Some(0));
}

#[test]
fn a_second_run_on_the_same_data_copies_nothing() {
    let home = Home::new();
    let files = site().len();
    let first = Demo::start(&home, &["--keep"]).terminate();
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    let told = format!("{files} copied");
    assert!(first.stderr.contains(&told), "{}", first.stderr);
    let [kept] = &names(home.path())[..] else { panic!("{:?}", names(home.path())) };
    assert!(first.stderr.contains(kept.to_str().unwrap()), "{}", first.stderr);

    let stored = || {
        let file = kept.join("files/images/import/100%.jpg");
        fs::metadata(file).unwrap().modified().unwrap()
    };
    let before = stored();
    let second = Demo::start(&home, &["--data-dir", kept.to_str().unwrap()]);
    assert_eq!(http::get(second.addr, &target("images/import/100%.jpg")).status, 200);
    let second = second.terminate();
    assert_eq!(second.code, Some(0), "{}", second.stderr);
    let told = format!("0 copied (0 B), {files} there already");
    assert!(second.stderr.contains(&told), "{}", second.stderr);
    assert_eq!(stored(), before, "a file was written again");
}

#[test]
fn a_signal_at_any_time_leaves_nothing_behind() {
    for delay in [0, 30, 60, 100, 150, 250, 400] {
        let home = Home::new();
        let mut command = command(&home, &["--listen", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        send_term(&child);
        let status = child.wait().unwrap();
        // Before its first statement the signal itself ends it; later it is interrupted, or done.
        let signal = status.signal();
        assert!(signal == Some(15) || matches!(status.code(), Some(0 | 1)), "{delay} ms: {status}");
        assert_eq!(names(home.path()), [] as [PathBuf; 0], "{delay} ms");
    }
}

#[test]
fn what_stands_in_the_way_is_told_with_the_fix() {
    let home = Home::new();
    let occupied = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = occupied.local_addr().unwrap().to_string();
    let other = home.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("ezdfs.db"), "").unwrap();
    let other = other.to_str().unwrap();
    for (args, fix) in [
        (&["--listen", &taken][..], "--listen 127.0.0.1:0"),
        (&["--listen", "127.0.0.1:0", "--config", "x.toml"][..], "leave --config out"),
        (&["--listen", "127.0.0.1:0", "--data-dir", other][..], "name another directory"),
    ] {
        let output = command(&home, args).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(fix), "{stderr}");
    }
}
