//! Leases between machines: what a dead one left is finished when its lease and the longest step
//! are over, and one that stood still for longer harms nothing.

use std::process::{Child, Command, Stdio};

use ezdfs_testkit::skip::skipped;
use rustix::process::{Pid, Signal, kill_process};

use super::super::{Ran, json_lines};
use super::killed::{end_waiting, working};
use super::*;

on_both! {
    a_put_of_a_dead_machine_is_finished_after_its_lease,
    a_put_that_stood_still_for_longer_than_its_lease_harms_nothing,
}

const ID: &str = "images/1/a.txt";
/// Lease, longest step.
const LEASE: Duration = Duration::from_secs(15);
const STEP: Duration = Duration::from_secs(10);
/// For commands on a machine that has other things to do.
const SLACK: Duration = Duration::from_secs(15);

/// Runs a command in a process namespace of its own: nobody outside can tell whether its process
/// lives, as if it were on another machine. `None` where that is not allowed, after saying so.
fn elsewhere(home: &Home, args: &[&str]) -> Option<Child> {
    let here = home.command(args);
    let mut command = Command::new("unshare");
    // Users other than root need a user namespace for that.
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-current-user"]);
    }
    command.args(["--pid", "--fork", "--kill-child=KILL", "--"]);
    command.arg(here.get_program()).args(here.get_args()).current_dir(home.path());
    for (name, _) in here.get_envs() {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut probe = Command::new("unshare");
    probe.args(command.get_args().take_while(|arg| *arg != "--")).args(["--", "true"]);
    if !probe.stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        skipped("a test with a machine of its own", "unshare --pid is not allowed here");
        return None;
    }
    Some(command.spawn().unwrap())
}

/// A program that is not ezdfs keeps the row: a publisher gets as far as its bytes.
struct Blocked {
    site: Site,
    php: Php,
    other: Session,
}

impl Blocked {
    fn new(database: TestDatabase) -> Self {
        let site = Site::installed(database);
        let php = Php::of(&site);
        let home = &site.home;
        home.put(ID, "old");
        home.write("new", "brand-new");
        home.write("last", "the last one");
        let other = php.runtime.block_on(async {
            let other = Session::open(&site.database).await;
            other.run("BEGIN").await;
            let name = format!("{PREFIX}/{ID}");
            let lock =
                format!("SELECT size FROM {TABLE} WHERE name_hash = MD5('{name}') FOR UPDATE");
            other.run(&lock).await;
            other
        });
        Self { site, php, other }
    }

    /// Until a put of `new` has put its bytes in place and waits for the row.
    fn wait_for_the_put(&self) {
        wait_for("the new bytes in place", || self.php.contents(ID) == b"brand-new");
        wait_for("the row's turn", || {
            self.php.runtime.block_on(self.other.number(working(&self.site))) == 1
        });
    }

    fn let_go(&self) {
        self.php.runtime.block_on(self.other.run("ROLLBACK"));
    }
}

fn a_put_of_a_dead_machine_is_finished_after_its_lease(database: TestDatabase) {
    let blocked = Blocked::new(database);
    let home = &blocked.site.home;
    let Some(mut put) = elsewhere(home, &["put", "new", ID]) else { return };
    blocked.wait_for_the_put();
    let killed = now();
    // Its end is that of everything in it.
    put.kill().unwrap();
    put.wait().unwrap();
    end_waiting(&blocked.site);
    blocked.let_go();
    assert_eq!(home.cat(ID), "brand-new");
    let took = now() - killed;
    // The lease began a moment before.
    assert!(took > LEASE + STEP - SLACK, "nobody could know that it was dead: {took:?}");
    assert!(took < LEASE + STEP + SLACK, "{took:?}");
    assert_eq!(blocked.php.size(ID), 9, "PHP sees the same");
    let status = &json_lines(&home.ok(["status", "--json"]))[0];
    assert_eq!((&status["figures"]["held"], &status["figures"]["overdue"]), (&0.into(), &0.into()));
}

fn a_put_that_stood_still_for_longer_than_its_lease_harms_nothing(database: TestDatabase) {
    let blocked = Blocked::new(database);
    let home = &blocked.site.home;
    let put = home.start(["put", "new", ID]);
    blocked.wait_for_the_put();
    let pid = Pid::from_child(&put);
    kill_process(pid, Signal::STOP).unwrap();
    let stopped = now();
    blocked.let_go();
    // Another node takes the path over when lease and step are over, or finds it free.
    let last = home.run(["put", "last", ID]);
    assert_eq!((last.code, last.err.as_str()), (0, ""), "{last:?}");
    assert_eq!(home.cat(ID), "the last one");
    std::thread::sleep((LEASE + STEP).saturating_sub(now() - stopped));
    kill_process(pid, Signal::CONT).unwrap();
    let late = Ran::of(put.wait_with_output().unwrap());
    assert!(late.code == 0 || late.code == 1, "{late:?}");
    for _ in 0..2 {
        assert_eq!(home.cat(ID), "the last one", "{late:?}");
        assert_eq!(blocked.php.size(ID), 12, "{late:?}");
        assert_eq!(blocked.php.contents(ID), b"the last one", "{late:?}");
        home.ok(["gc"]);
    }
    let status = &json_lines(&home.ok(["status", "--json"]))[0];
    assert_eq!(status["figures"]["held"], 0, "{status}");
}
