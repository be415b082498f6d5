//! Servers of one test: `OwnServer`, a database that can be killed and started again, and
//! `OwnStore`, an object store.

// A server that fails ends the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

use std::net::TcpStream;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ezdfs_core::{Clock as _, SystemClock};
use rustix::process::{Pid, Signal, kill_process};

use crate::servers::{ServerKind, TestBucket, TestDatabase};

/// Longer than a server needs to end, or to recover.
const WAIT: Duration = Duration::from_secs(60);

/// A server that `scripts/test-servers` starts; stopped when dropped. What was committed outlives
/// [`Self::kill`]. Nothing here needs an async runtime.
#[derive(Debug)]
pub struct OwnServer {
    kind: ServerKind,
    dir: PathBuf,
    url: String,
    /// Since it was started again.
    child: Option<Child>,
}

impl OwnServer {
    /// Starts one below `dir`.
    ///
    /// # Errors
    /// Why none can be started here.
    pub fn start(kind: ServerKind, dir: &Path) -> Result<Self, String> {
        let url = start(dir, name(kind))?;
        Ok(Self { kind, dir: dir.to_owned(), url, child: None })
    }

    /// A new database on it.
    #[must_use]
    pub fn database(&self) -> TestDatabase {
        let database = TestDatabase::at(self.kind, &self.url);
        // Whatever was committed is with the operating system, and outlives the server; servers
        // of tests are not like that by themselves.
        match self.kind {
            ServerKind::Mariadb => database.run("SET GLOBAL innodb_flush_log_at_trx_commit = 2"),
            ServerKind::Postgres => {
                database.run("ALTER SYSTEM SET synchronous_commit = on");
                database.run("SELECT pg_reload_conf()");
            }
        }
        database
    }

    fn pid(&self) -> i32 {
        let file = match self.kind {
            ServerKind::Mariadb => "mariadb/pid",
            ServerKind::Postgres => "postgres/data/postmaster.pid",
        };
        let text = std::fs::read_to_string(self.dir.join(file)).unwrap();
        text.lines().next().unwrap().trim().parse().unwrap()
    }

    /// SIGKILL; how it is started again.
    pub fn kill(&mut self) -> Command {
        let pid = self.pid();
        let process = PathBuf::from(format!("/proc/{pid}"));
        let arguments = std::fs::read(process.join("cmdline")).unwrap();
        let mut arguments = arguments
            .split(|b| *b == 0)
            .filter(|argument| !argument.is_empty())
            .map(|argument| String::from_utf8(argument.to_vec()).unwrap());
        let mut again = Command::new(arguments.next().unwrap());
        let durable = "--innodb-flush-log-at-trx-commit=2";
        again.args(arguments.filter(|argument| argument != durable)).current_dir(&self.dir);
        if self.kind == ServerKind::Mariadb {
            again.arg(durable);
        }
        again.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let owner = std::fs::metadata(&process).unwrap();
        if owner.uid() != rustix::process::getuid().as_raw() {
            again.uid(owner.uid()).gid(owner.gid());
        }
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        // A child of ours that has ended waits for us.
        wait_for("the end of the server", || {
            drop(self.child.as_mut().map(Child::try_wait));
            !is_alive(&process)
        });
        again
    }

    /// Until it takes connections. Processes that the killed one left may be in the way at first.
    pub fn revive(&mut self, mut again: Command, database: &TestDatabase) {
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

impl Drop for OwnServer {
    fn drop(&mut self) {
        stop(&self.dir);
        if let Some(child) = &mut self.child {
            drop(child.wait());
        }
    }
}

/// An S3 server (moto, which honours conditions) that `scripts/test-servers` starts; stopped when
/// dropped. Its objects are in its memory. Nothing here needs an async runtime.
#[derive(Debug)]
pub struct OwnStore {
    dir: PathBuf,
    url: String,
}

impl OwnStore {
    /// Starts one below `dir`, where no other server may be.
    ///
    /// # Errors
    /// Why none can be started here.
    pub fn start(dir: &Path) -> Result<Self, String> {
        Ok(Self { url: start(dir, "s3")?, dir: dir.to_owned() })
    }

    /// A new bucket on it.
    #[must_use]
    pub fn bucket(&self) -> TestBucket {
        TestBucket::at(&self.url)
    }
}

impl Drop for OwnStore {
    fn drop(&mut self) {
        stop(&self.dir);
    }
}

/// Starts a server of that name below a directory; its URL.
fn start(dir: &Path, name: &str) -> Result<String, String> {
    let started = script().arg("start").arg(dir).arg(name).output().map_err(|e| e.to_string())?;
    if !started.status.success() {
        return Err(String::from_utf8_lossy(&started.stderr).into_owned());
    }
    let lines = String::from_utf8(started.stdout).unwrap();
    let line = lines.lines().find(|line| line.contains("_URL='")).unwrap();
    Ok(line.split('\'').nth(1).unwrap().to_owned())
}

/// Stops all servers below a directory.
fn stop(dir: &Path) {
    let stopped = script().arg("stop").arg(dir).status();
    assert!(stopped.is_ok_and(|status| status.success()) || std::thread::panicking());
}

fn name(kind: ServerKind) -> &'static str {
    match kind {
        ServerKind::Mariadb => "mariadb",
        ServerKind::Postgres => "postgres",
    }
}

fn script() -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/test-servers");
    let mut command = Command::new("bash");
    command.arg(script);
    command
}

/// A process that has ended and waits for its parent is not alive.
fn is_alive(process: &Path) -> bool {
    std::fs::read(process.join("cmdline")).is_ok_and(|arguments| !arguments.is_empty())
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = SystemClock.boot() + WAIT;
    while !holds() {
        assert!(SystemClock.boot() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
