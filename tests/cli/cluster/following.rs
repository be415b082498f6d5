//! `watch`, listings and `status`, while several programs write the table.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;

use super::super::watch::{Watching, pair, so_far, what};
use super::super::{Ran, json_lines};
use super::*;

on_both! {
    watch_that_goes_back_misses_no_slow_transaction,
    watch_tells_each_change_once,
    without_triggers_a_scan_finds_what_php_did,
}

/// Transactions of each program, and changes of each of them.
const ROUNDS: usize = 5;
const CHANGES: usize = 20;

/// A change of a row by another program, and what is to be told of it.
fn change(program: usize, round: usize, at: usize) -> (String, (String, String)) {
    let (op, file) = match at {
        0..10 => ("insert", at),
        10..16 => ("update", at - 10),
        _ => ("delete", at - 16),
    };
    let path = format!("images/{program}/{round}-{file}");
    let name = format!("{PREFIX}/{path}");
    let sql = match op {
        "insert" => format!(
            "INSERT INTO {TABLE} (name, name_trunk, name_hash, scope, size, mtime, datatype) \
             VALUES ('{name}', '{name}', MD5('{name}'), 'images', 1, 1700000000, 'text/plain')"
        ),
        "update" => format!("UPDATE {TABLE} SET size = 2 WHERE name_hash = MD5('{name}')"),
        _ => format!("DELETE FROM {TABLE} WHERE name_hash = MD5('{name}')"),
    };
    (sql, pair(op, &path))
}

fn watch_tells_each_change_once(database: TestDatabase) {
    let site = Site::installed(database);
    let (home, runtime) = (&site.home, runtime());
    let watching = Watching::start(home, &["--since", "0"]);
    let programs: Vec<Session> =
        (0..4).map(|_| runtime.block_on(Session::open(&site.database))).collect();
    let mut expected = Vec::new();
    for round in 0..ROUNDS {
        runtime.block_on(async {
            for program in &programs {
                program.run("BEGIN").await;
            }
            for at in 0..CHANGES {
                for (n, program) in programs.iter().enumerate() {
                    let (sql, told) = change(n, round, at);
                    program.run(&sql).await;
                    // The last one takes everything back.
                    if n < 3 {
                        expected.push((told, None));
                    }
                }
            }
        });
        let path = format!("images/own/{round}");
        let pid = put(home, &path);
        expected.push((pair("insert", &path), Some(pid)));
        runtime.block_on(async {
            // Never in the order in which they began.
            for n in (0..3).rev() {
                programs[(n + round) % 3].run("COMMIT").await;
            }
            programs[3].run("ROLLBACK").await;
        });
    }
    let pid = put(home, "images/1/0-9");
    expected.push((pair("update", "images/1/0-9"), Some(pid)));
    assert_eq!(expected.len(), 3 * ROUNDS * CHANGES + ROUNDS + 1);

    let lines: Vec<Value> = expected.iter().map(|_| watching.next()).collect();
    watching.nothing();
    let ran = watching.end(Signal::TERM);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    assert_eq!(by_path(lines.iter().map(of_line)), by_path(expected.iter().cloned()));
    let mut numbers = numbers(&lines);
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), lines.len(), "each has a number of its own");

    // From any number on, when all that was under way has ended.
    for since in [numbers[0], numbers[numbers.len() / 2], numbers[numbers.len() - 1]] {
        let later = numbers.iter().filter(|n| **n > since).count();
        let (lines, _) = so_far(home, &["--since", &since.to_string()], later);
        assert!(lines.iter().all(|line| line["seq"].as_u64() > Some(since)), "{since}");
    }
    for (prefix, count) in
        [("images/1", ROUNDS * CHANGES + 1), ("images/own", ROUNDS), ("images/1/0-1", 3)]
    {
        let (lines, _) = so_far(home, &["--since", "0", "--prefix", prefix], count);
        assert!(lines.iter().all(|line| what(line).1.starts_with(prefix)), "{prefix}");
    }
}

fn numbers(lines: &[Value]) -> Vec<u64> {
    lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect()
}

/// Stores something; the id of the process.
fn put(home: &Home, path: &str) -> u32 {
    let child = home.start(["put", "-", path]);
    let pid = child.id();
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    pid
}

/// What was done to which path, and by which process of ezdfs.
type Told = ((String, String), Option<u32>);

fn of_line(line: &Value) -> Told {
    let pid = line["origin"].as_str().map(|origin| {
        let (host, pid) = origin.rsplit_once(':').unwrap();
        assert_ne!(host, "", "{line}");
        pid.parse().unwrap()
    });
    assert!(pid.is_some() || line["origin"].is_null(), "{line}");
    (what(line), pid)
}

/// What was done to each path, in its order.
fn by_path(told: impl Iterator<Item = Told>) -> BTreeMap<String, Vec<(String, Option<u32>)>> {
    let mut paths: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for ((op, path), pid) in told {
        paths.entry(path).or_default().push((op, pid));
    }
    paths
}

/// Pause between two scans, and some time for the machine.
const SCAN: Duration = Duration::from_secs(5 + 3);

fn without_triggers_a_scan_finds_what_php_did(database: TestDatabase) {
    let site = Site::new(database, TABLE);
    let home = &site.home;
    let ran = home.run(["schema", "install", "--feed", "scan"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let php = Php::of(&site);
    let list = || Ran::of(home.command(["ls", "-R", "--files-only"]).output().unwrap()).out;
    home.write("own", "own");
    // It warns that it is degraded.
    assert_eq!(home.run(["put", "own", "images/own.txt"]).code, 0);
    assert_eq!(list(), "images/own.txt\n");
    for (id, is_there, listed) in [
        ("images/1/php.txt", true, "images/1/php.txt\nimages/own.txt\n"),
        ("images/1/php.txt", false, "images/own.txt\n"),
    ] {
        if is_there {
            php.create(id, b"by PHP");
        } else {
            php.delete(id);
        }
        let done = now();
        // One file is looked up in its row, which needs no scan.
        let ran = home.run(["cat", id]);
        assert_eq!((ran.code, ran.out.as_str()), if is_there { (0, "by PHP") } else { (1, "") });
        wait_for("the next scan", || list() == listed);
        assert!(now() < done + SCAN, "{:?}", now() - done);
    }
    let ran = home.run(["status"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    let problem = ran.out.lines().find(|line| line.starts_with("PROBLEM: ")).unwrap();
    assert!(problem.contains("degraded") && problem.contains("ezdfs schema check"), "{problem}");
    // Nothing is answered from memory.
    let node = Serving::start(home);
    for _ in 0..5 {
        assert_eq!(ask(&node, "images/own.txt"), Answer::Whole(b"own".to_vec()));
    }
    assert_eq!((&memory(&node)["fresh"], &memory(&node)["hits"]), (&false.into(), &0.into()));
    node.stop();

    php.create("images/2/missed.txt", b"before the triggers");
    let ran = home.run(["schema", "install"]);
    assert!(ran.code == 0 && ran.out.contains("triggers tell"), "{ran:?}");
    home.ok(["schema", "check"]);
    let status = &json_lines(&home.ok(["status", "--json"]))[0];
    assert_eq!(status["metadata"].get("degraded"), None, "{status}");
    home.ok(["status"]);
    php.create("images/2/told.txt", b"told");
    // At once.
    let expected = "images/2/missed.txt\nimages/2/told.txt\nimages/own.txt\n";
    assert_eq!(home.ok(["ls", "-R", "--files-only"]), expected);
}

/// A change has its number before its transaction ends: a higher one may be told first.
fn watch_that_goes_back_misses_no_slow_transaction(database: TestDatabase) {
    let site = Site::installed(database);
    let (home, runtime) = (&site.home, runtime());
    let slow = runtime.block_on(Session::open(&site.database));
    let fast = runtime.block_on(Session::open(&site.database));
    let run = |session: &Session, at| runtime.block_on(session.run(&change(0, 0, at).0));
    let told = |at| change(0, 0, at).1;
    run(&fast, 0);
    runtime.block_on(slow.run("BEGIN"));
    run(&slow, 1);
    run(&fast, 2);
    let watching = Watching::start(home, &["--since", "0"]);
    let first = watching.next();
    assert_eq!((what(&first), what(&watching.next())), (told(0), told(2)));
    watching.nothing();
    runtime.block_on(slow.run("COMMIT"));
    // Who goes on watching hears of it.
    assert_eq!(what(&watching.next()), told(1));
    watching.end(Signal::TERM);
    let since = first["seq"].to_string();
    let (lines, _) = so_far(home, &["--since", &since], 2);
    assert_eq!(lines.iter().map(what).collect::<Vec<_>>(), [told(1), told(2)]);
}
