//! Several processes at once, and processes that die.

use std::io::Write as _;
use std::time::Duration;

use super::{Home, Ran, json_lines, wait_for};

#[test]
fn ten_puts_of_different_paths_in_a_fresh_store() {
    let home = Home::new();
    let children: Vec<_> = (0..10)
        .map(|i| {
            let name = home.write(format!("f{i}"), format!("content {i}"));
            home.start(["put", name.to_str().unwrap(), &format!("d/{i}")])
        })
        .collect();
    for child in children {
        let ran = Ran::of(child.wait_with_output().unwrap());
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    }
    for i in 0..10 {
        assert_eq!(home.cat(&format!("d/{i}")), format!("content {i}"));
    }
    assert_eq!(home.ok(["ls", "d"]).lines().count(), 10);
}

#[test]
fn ten_puts_of_one_path_leave_one_whole_version() {
    let home = Home::new();
    let children: Vec<_> = (0..10)
        .map(|i: u8| {
            let bytes = vec![b'a' + i; 100_000 + usize::from(i)];
            let name = home.write(format!("f{i}"), bytes);
            home.start(["put", name.to_str().unwrap(), "one"])
        })
        .collect();
    for child in children {
        let ran = Ran::of(child.wait_with_output().unwrap());
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    }
    let bytes = home.run(["cat", "one"]).bytes;
    let writer = bytes[0] - b'a';
    assert_eq!(bytes, vec![bytes[0]; 100_000 + usize::from(writer)]);
    assert_eq!(home.stat("one")["size"], bytes.len());
    assert_eq!(home.staged(), 0);
}

#[test]
fn readers_see_whole_versions_while_writers_replace_them() {
    let home = Home::new();
    let (short, long) = ("s".repeat(200_000), "l".repeat(300_000));
    home.write("short", &short);
    home.write("long", &long);
    home.ok(["put", "short", "x"]);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for i in 0..12 {
                home.ok(["put", if i % 2 == 0 { "long" } else { "short" }, "x"]);
            }
        });
        while !writer.is_finished() {
            let text = home.ok(["cat", "x"]);
            assert!(text == short || text == long, "{} bytes of neither version", text.len());
        }
    });
}

#[test]
fn a_put_that_is_killed_shows_nothing_and_gc_cleans_up() {
    let home = Home::new();
    home.put("x", "old");
    let mut child = home.start(["put", "-", "x"]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&vec![b'n'; 3 << 20]).unwrap();
    wait_for("bytes are staged", || home.staged() == 1);
    // While it lives nothing of it shows, and no sweep takes its bytes away.
    assert_eq!(home.cat("x"), "old");
    let swept = &json_lines(&home.ok(["gc", "--json", "--staging-age", "0s"]))[0];
    assert_eq!((&swept["staging_files"], &swept["staging_kept"]), (&0.into(), &1.into()));
    child.kill().unwrap();
    child.wait().unwrap();
    drop(stdin);
    assert_eq!(home.staged(), 1, "a killed process cannot clean up");
    assert_eq!(home.cat("x"), "old");
    home.ok(["gc"]);
    assert_eq!(home.staged(), 1, "younger than the default age");
    let swept = &json_lines(&home.ok(["gc", "--json", "--staging-age", "0s"]))[0];
    assert_eq!((&swept["staging_files"], &swept["staging_bytes"]), (&1.into(), &(3 << 20).into()));
    assert_eq!(home.staged(), 0);
    home.ok(["status"]);
    home.put("x", "new");
    assert_eq!(home.cat("x"), "new");
}

#[test]
fn a_put_that_is_interrupted_cleans_up_itself() {
    let home = Home::new();
    home.ok(["ls"]);
    let mut child = home.start(["put", "-", "x"]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&vec![b'n'; 1 << 20]).unwrap();
    wait_for("bytes are staged", || home.staged() == 1);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let ran = Ran::of(child.wait_with_output().unwrap());
    drop(stdin);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("interrupted"), "{ran:?}");
    assert_eq!(home.staged(), 0);
    home.fails(1, ["stat", "x"]);
}

#[test]
fn puts_that_are_killed_anywhere_leave_old_or_new() {
    let home = Home::new();
    let old = "o".repeat(70_000);
    let new = "n".repeat(90_000);
    home.write("old", &old);
    home.write("new", &new);
    for i in 0..25 {
        home.ok(["put", "old", "x"]);
        let mut child = home.start(["put", "new", "x"]);
        std::thread::sleep(Duration::from_millis(2 * i));
        child.kill().unwrap();
        child.wait().unwrap();
        let text = home.ok(["cat", "x"]);
        assert!(text == old || text == new, "after {} ms: {} bytes", 2 * i, text.len());
        assert_eq!(home.stat("x")["size"], text.len());
    }
    home.ok(["gc", "--staging-age", "0s"]);
    assert_eq!(home.staged(), 0);
    home.ok(["status"]);
}
