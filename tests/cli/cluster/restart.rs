//! A database server that is killed and comes back.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ezdfs_testkit::skip::skipped;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::serving::only_errors;
use super::*;

#[test]
fn mariadb_that_is_killed_and_comes_back() {
    a_server_that_is_killed_and_comes_back(ServerKind::Mariadb);
}

#[test]
fn postgres_that_is_killed_and_comes_back() {
    a_server_that_is_killed_and_comes_back(ServerKind::Postgres);
}

/// A server of this test's own.
struct Killable {
    kind: ServerKind,
    dir: TempDir,
    url: String,
    /// Since it was started again.
    child: Option<Child>,
}

impl Killable {
    /// `None` where none can be started, after saying so.
    fn start(kind: ServerKind) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let name = match kind {
            ServerKind::Mariadb => "mariadb",
            ServerKind::Postgres => "postgres",
        };
        let mut start = script();
        start.arg("start").arg(dir.path()).arg(name);
        let started = start.output().unwrap();
        if !started.status.success() {
            let why = String::from_utf8_lossy(&started.stderr).into_owned();
            skipped("a test that kills a database server", &why);
            return None;
        }
        let lines = String::from_utf8(started.stdout).unwrap();
        let line = lines.lines().find(|line| line.contains("_URL='")).unwrap();
        let url = line.split('\'').nth(1).unwrap().to_owned();
        Some(Self { kind, dir, url, child: None })
    }

    fn pid(&self) -> i32 {
        let file = match self.kind {
            ServerKind::Mariadb => "mariadb/pid",
            ServerKind::Postgres => "postgres/data/postmaster.pid",
        };
        let text = std::fs::read_to_string(self.dir.path().join(file)).unwrap();
        text.lines().next().unwrap().parse().unwrap()
    }

    /// SIGKILL; how it is started again.
    fn kill(&self) -> Command {
        let pid = self.pid();
        let process = PathBuf::from(format!("/proc/{pid}"));
        let arguments = std::fs::read(process.join("cmdline")).unwrap();
        let mut arguments = arguments
            .split(|b| *b == 0)
            .filter(|argument| !argument.is_empty())
            .map(|argument| String::from_utf8(argument.to_vec()).unwrap());
        let mut again = Command::new(arguments.next().unwrap());
        again.args(arguments).current_dir(self.dir.path());
        again.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let owner = std::fs::metadata(&process).unwrap();
        if owner.uid() != rustix::process::getuid().as_raw() {
            again.uid(owner.uid()).gid(owner.gid());
        }
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        wait_for("the end of the server", || !is_alive(&process));
        again
    }

    /// Until it takes connections. Processes that the killed one left may be in the way at first.
    fn revive(&mut self, mut again: Command, database: &TestDatabase) {
        let address = (database.host(), database.port());
        wait_for("the server", || {
            let has_ended =
                self.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some());
            if has_ended {
                self.child = Some(again.spawn().unwrap());
            }
            TcpStream::connect(address).is_ok()
        });
    }
}

impl Drop for Killable {
    fn drop(&mut self) {
        let stopped = script().arg("stop").arg(self.dir.path()).status();
        assert!(stopped.is_ok_and(|status| status.success()) || std::thread::panicking());
        if let Some(child) = &mut self.child {
            drop(child.wait());
        }
    }
}

/// Whatever was committed is with the operating system, and outlives the server; servers of tests
/// are not like that by themselves.
fn outlived_by_commits(database: &TestDatabase) {
    match database.kind() {
        ServerKind::Mariadb => database.run("SET GLOBAL innodb_flush_log_at_trx_commit = 2"),
        ServerKind::Postgres => {
            database.run("ALTER SYSTEM SET synchronous_commit = on");
            database.run("SELECT pg_reload_conf()");
        }
    }
}

fn script() -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/test-servers");
    let mut command = Command::new("bash");
    command.arg(script);
    command
}

/// A process that has ended and waits for its parent is not alive.
fn is_alive(process: &Path) -> bool {
    std::fs::read(process.join("cmdline")).is_ok_and(|arguments| !arguments.is_empty())
}

fn a_server_that_is_killed_and_comes_back(kind: ServerKind) {
    let Some(mut server) = Killable::start(kind) else { return };
    let database = TestDatabase::at(kind, &server.url);
    outlived_by_commits(&database);
    let site = Site::installed(database);
    let home = &site.home;
    let [kept, hidden] = ["images/1/kept.txt", "images/1/hidden.txt"];
    let text = Answer::Whole(b"text".to_vec());
    let node = Serving::start(home);
    for id in [kept, hidden] {
        home.put(id, "text");
        wait_for("the file", || ask(&node, id) == text);
        warm(&node, id, &text);
    }
    let again = server.kill();
    let last = now() + MAX_STALENESS;
    only_errors(&node, kept, Some(&text), last);
    assert!(home.fails(1, ["ls"]).contains("cannot connect"));

    server.revive(again, &site.database);
    wait_for("the database", || home.run(["ls"]).code == 0);
    let php = Php::of(&site);
    php.soft_delete(hidden);
    for (id, expected) in [(kept, &text), (hidden, &Answer::Missing)] {
        wait_for("the end of the outage", || match ask(&node, id) {
            Answer::Failed => false,
            answer => {
                assert!(answer == *expected, "{id}: {answer:?}");
                true
            }
        });
        warm(&node, id, expected);
    }
    home.put(hidden, "new");
    wait_for("the new version", || ask(&node, hidden) == Answer::Whole(b"new".to_vec()));
    home.ok(["status"]);
    node.stop();
    // It is dropped while there is a server.
    drop(site);
}
