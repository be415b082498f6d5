//! A command that is killed or stopped.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use crate::board::Board;
use crate::plan::Fault;
use crate::site::{self, Site};

/// Longer than any command may take: it waits for the lease of another and for the database, each
/// at most 30 s, and for its turn on this machine.
const HANGS: Duration = Duration::from_secs(180);

/// What a command left.
#[derive(Debug)]
pub(crate) struct Ran {
    /// `None` when it was killed.
    pub(crate) code: Option<i32>,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn ok(&self) -> bool {
        self.code == Some(0)
    }

    /// The last thing that it said.
    pub(crate) fn why(&self) -> String {
        match self.code {
            None => "killed".to_owned(),
            Some(_) => self.err.lines().last().unwrap_or_default().to_owned(),
        }
    }
}

/// Runs `ezdfs` with these arguments.
pub(crate) async fn run(
    site: &Site,
    board: &Board,
    args: &[&str],
    stdin: Vec<u8>,
    fault: Fault,
    elsewhere: bool,
) -> Ran {
    let mut command = command(site, site::COMMANDS, elsewhere && site.can_be_elsewhere);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    let elsewhere = elsewhere && site.can_be_elsewhere;
    let outer = child.id();
    let mut input = child.stdin.take().unwrap();
    // Who is killed does not read to the end.
    let feeding = tokio::spawn(async move { drop(input.write_all(&stdin).await) });
    let breaking = async {
        match fault {
            Fault::None => std::future::pending().await,
            Fault::Kill(after) => {
                tokio::time::sleep(after).await;
                if signal(outer, elsewhere, Signal::KILL) {
                    board.fault(if elsewhere {
                        "commands killed elsewhere"
                    } else {
                        "commands killed"
                    });
                }
                std::future::pending().await
            }
            Fault::Stop(after, lasting) => {
                tokio::time::sleep(after).await;
                if signal(outer, elsewhere, Signal::STOP) {
                    board.fault("commands stopped for longer than a lease");
                    tokio::time::sleep(lasting).await;
                    signal(outer, elsewhere, Signal::CONT);
                }
                std::future::pending().await
            }
        }
    };
    let output = tokio::select! {
        output = child.wait_with_output() => output.unwrap(),
        () = breaking => unreachable!("it never ends"),
        () = tokio::time::sleep(HANGS) => {
            board.found("P7", format!("`ezdfs {}` does not end in {HANGS:?}", args.join(" ")));
            return Ran { code: None, out: Vec::new(), err: "hangs".to_owned() };
        }
    };
    feeding.abort();
    let ran = Ran {
        code: output.status.code().filter(|code| *code < 128),
        out: output.stdout,
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    if ran.err.contains("panicked at") || ran.code.is_some_and(|code| code > 4) {
        board.found(
            "P7",
            format!("`ezdfs {}` broke off ({:?}): {}", args.join(" "), ran.code, ran.err),
        );
    }
    ran
}

/// `ezdfs` with that configuration, perhaps in a process namespace of its own.
pub(crate) fn command(site: &Site, config: usize, elsewhere: bool) -> Command {
    let mut command = if elsewhere {
        let mut command = Command::from(unshare());
        command.arg(&site.ezdfs);
        command
    } else {
        Command::new(&site.ezdfs)
    };
    command
        .arg("--config")
        .arg(site.config(config))
        .arg("--data-dir")
        .arg(site.data(config, elsewhere));
    command.current_dir(&site.dir);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("EZDFS") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs what is added to it in a process namespace of its own.
pub(crate) fn unshare() -> std::process::Command {
    let mut command = std::process::Command::new("unshare");
    // Users other than root need a user namespace for that.
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-current-user"]);
    }
    command.args(["--pid", "--fork", "--kill-child=KILL", "--"]);
    command
}

/// Whether there was somebody to send it to.
pub(crate) fn signal(outer: Option<u32>, elsewhere: bool, signal: Signal) -> bool {
    let inner = if elsewhere { outer.and_then(child_of) } else { None };
    let pid = inner.or(outer).and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    pid.is_some_and(|pid| kill_process(pid, signal).is_ok())
}

fn child_of(pid: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// Waits for the end of a process.
pub(crate) async fn reap(child: &mut Child) {
    drop(child.wait().await);
}
