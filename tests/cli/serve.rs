//! serve: addresses, signals, maintenance.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{Home, Ran, wait_for};

/// A running server of a home's store.
pub(crate) struct Serving {
    child: Child,
    pub(crate) assets: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Serving {
    pub(crate) fn start(home: &Home) -> Self {
        let mut child =
            home.start(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut address = |before: &str| -> SocketAddr {
            let mut line = String::new();
            loop {
                line.clear();
                assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "no line with {before}");
                if let Some((_, url)) = line.split_once(before) {
                    let (_, url) = url.trim().split_once("://").unwrap();
                    return url.split_once('/').unwrap().0.parse().unwrap();
                }
            }
        };
        let assets = address("serving ");
        let admin = address("admin listener ");
        // The rest of stderr is drained, so that the server never waits for its reader.
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        Self { child, assets, admin }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// SIGTERM; it must end well.
    pub(crate) fn stop(self) {
        self.signal(Signal::TERM);
        let ran = self.end();
        assert_eq!(ran.code, 0, "{ran:?}");
    }

    /// Ends it by a signal.
    pub(crate) fn kill(self, signal: Signal) {
        self.signal(signal);
        self.end();
    }

    pub(crate) fn end(mut self) -> Ran {
        self.child.stdin = None;
        Ran::of(self.child.wait_with_output().unwrap())
    }
}

pub(crate) fn get(address: SocketAddr, target: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

#[test]
fn files_are_served_while_commands_change_them() {
    let home = Home::configured("[serve]\nfreshness = \"strict\"\n");
    home.put("images/a.txt", "first");
    let serving = Serving::start(&home);
    let url = "/var/site/storage/images/a.txt";
    assert_eq!(get(serving.assets, url), (200, "first".to_owned()));
    home.put("images/a.txt", "second");
    assert_eq!(get(serving.assets, url), (200, "second".to_owned()));
    home.ok(["rm", "images/a.txt"]);
    assert_eq!(get(serving.assets, url).0, 404);
    assert_eq!(get(serving.admin, "/healthz").0, 200);
    assert_eq!(get(serving.admin, "/readyz").0, 200);
    serving.signal(Signal::TERM);
    let ran = serving.end();
    assert_eq!(ran.code, 0, "{ran:?}");
    // The access log, one line per answer.
    assert_eq!(ran.out.lines().filter(|l| l.contains("a.txt")).count(), 3, "{ran:?}");
}

/// With `freshness = "feed"`, the default, answers come from memory until the feed tells.
#[test]
fn what_commands_change_shows_in_the_memory_of_a_server() {
    let home = Home::new();
    home.put("images/a.txt", "first");
    let serving = Serving::start(&home);
    let url = "/var/site/storage/images/a.txt";
    let memory = || {
        let (_, status) = get(serving.admin, "/v1/status");
        serde_json::from_str::<serde_json::Value>(&status).unwrap()["memory"].clone()
    };
    wait_for("a fresh feed", || memory()["fresh"] == true);
    for _ in 0..3 {
        assert_eq!(get(serving.assets, url), (200, "first".to_owned()));
    }
    assert!(memory()["hits"].as_u64() >= Some(1), "{}", memory());
    home.put("images/a.txt", "second");
    wait_for("the new version", || get(serving.assets, url) == (200, "second".to_owned()));
    home.ok(["rm", "images/a.txt"]);
    wait_for("the end of the file", || get(serving.assets, url).0 == 404);
    wait_for("both changes", || memory()["events"].as_u64() >= Some(2));
    serving.stop();

    home.write("ezdfs.toml", "[serve]\nfreshness = \"strict\"\n");
    let strict = Serving::start(&home);
    let (_, status) = get(strict.admin, "/v1/status");
    assert!(!status.contains("memory\":{"), "{status}");
    strict.stop();
}

#[test]
fn interrupt_ends_it_too() {
    let home = Home::new();
    let serving = Serving::start(&home);
    serving.signal(Signal::INT);
    assert_eq!(serving.end().code, 0);
}

#[test]
fn it_does_what_gc_does() {
    let home = Home::configured("[store]\ndelete_grace = \"0s\"\n");
    home.put("a", "a");
    home.ok(["rm", "a"]);
    let limbo = home.path().join("ezdfs-data/files/.ezdfs/limbo");
    let waiting = || std::fs::read_dir(&limbo).unwrap().count();
    assert_eq!(waiting(), 1);
    let serving = Serving::start(&home);
    wait_for("the reaper", || waiting() == 0);
    serving.signal(Signal::TERM);
    serving.end();
}

#[test]
fn a_taken_address_is_a_configuration_error() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let err = home.fails(2, ["serve", "--listen", &address, "--admin-listen", "127.0.0.1:0"]);
    assert!(err.contains(&address), "{err}");
    home.fails(2, ["serve", "--listen", "nonsense"]);
}
