//! The command line, end to end, on the real binary.

mod cache;
#[cfg(feature = "aws")]
mod clouds;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod cluster;
mod conditions;
mod configuration;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod databases;
mod files;
mod fsck;
mod housekeeping;
mod migrate;
mod output;
mod paths;
mod processes;
mod schema;
pub(crate) mod serve;
mod systemd;
mod transfer;
mod trash;
mod watch;

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use ezdfs_core::{Clock as _, SystemClock};
use tempfile::TempDir;

/// A directory with a store of its own, in which commands run.
pub(crate) struct Home(TempDir);

/// What a command left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) bytes: Vec<u8>,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// With that text as `ezdfs.toml`.
    pub(crate) fn configured(toml: &str) -> Self {
        let home = Self::new();
        home.write("ezdfs.toml", toml);
        home
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a local file; its path.
    pub(crate) fn write(&self, name: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn read(&self, name: impl AsRef<Path>) -> Vec<u8> {
        std::fs::read(self.path().join(name)).unwrap()
    }

    /// The files that the store has staged.
    pub(crate) fn staged(&self) -> usize {
        let dir = self.path().join("ezdfs-data/files/.ezdfs/staging");
        std::fs::read_dir(dir).map_or(0, Iterator::count)
    }

    pub(crate) fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ezdfs"));
        command.current_dir(self.path()).args(args).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("EZDFS") {
                command.env_remove(name);
            }
        }
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }

    /// Runs a command that must succeed and say nothing on stderr; its stdout.
    pub(crate) fn ok<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> String {
        let ran = self.run(args);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
        ran.out
    }

    /// Runs a command that must fail with that exit code; its stderr.
    pub(crate) fn fails<A: AsRef<OsStr>>(
        &self,
        code: i32,
        args: impl IntoIterator<Item = A>,
    ) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, code, "{ran:?}");
        assert_ne!(ran.err, "", "a failure is explained: {ran:?}");
        ran.err
    }

    /// Runs a command with that stdin.
    pub(crate) fn feed<A: AsRef<OsStr>>(
        &self,
        stdin: &[u8],
        args: impl IntoIterator<Item = A>,
    ) -> Ran {
        let mut child = self.start(args);
        child.stdin.take().unwrap().write_all(stdin).unwrap();
        Ran::of(child.wait_with_output().unwrap())
    }

    /// Starts a command with pipes on all ends.
    pub(crate) fn start<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Child {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Stores text at a path.
    pub(crate) fn put(&self, path: &str, text: &str) {
        let ran = self.feed(text.as_bytes(), ["put", "-", path]);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{path}: {ran:?}");
    }

    /// The text at a path.
    pub(crate) fn cat(&self, path: &str) -> String {
        self.ok(["cat", path])
    }

    /// `stat --json`
    pub(crate) fn stat(&self, path: &str) -> serde_json::Value {
        serde_json::from_str(&self.ok(["stat", "--json", path])).unwrap()
    }
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            bytes: output.stdout,
        }
    }
}

/// The JSON values of NDJSON.
pub(crate) fn json_lines(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits for what another process brings about.
pub(crate) fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = SystemClock.boot() + Duration::from_secs(30);
    while !holds() {
        assert!(SystemClock.boot() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
