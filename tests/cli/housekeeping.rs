//! gc, status, bench.

use std::time::Duration;

use super::{Home, json_lines};

#[test]
fn gc_removes_the_bytes_of_deleted_files_after_their_grace() {
    let home = Home::configured("[store]\ndelete_grace = \"1s\"\n");
    home.put("a", "12345");
    home.ok(["rm", "a"]);
    let limbo = home.path().join("ezdfs-data/files/.ezdfs/limbo");
    let waiting = || std::fs::read_dir(&limbo).unwrap().count();
    assert_eq!(waiting(), 1, "readers that have it open may go on");
    let done = &json_lines(&home.ok(["gc", "--json"]))[0];
    assert_eq!((&done["reaped"], &done["failed"]), (&0.into(), &0.into()));
    assert_eq!(waiting(), 1);
    std::thread::sleep(Duration::from_millis(1100));
    let text = home.ok(["gc"]);
    assert!(text.contains("        1 deleted files whose bytes were removed\n"), "{text}");
    assert_eq!(waiting(), 0);
}

#[test]
fn gc_hides_expired_files() {
    let home = Home::configured("[store]\ndelete_grace = \"0s\"\n");
    home.write("a", "a");
    home.ok(["put", "a", "x", "--expires", "+1"]);
    home.ok(["put", "a", "y", "--expires", "+1h"]);
    std::thread::sleep(Duration::from_millis(1100));
    let done = &json_lines(&home.ok(["gc", "--json"]))[0];
    assert_eq!(done["expired"], 1);
    assert!(!home.path().join("ezdfs-data/files/x").exists());
    assert_eq!(home.cat("y"), "a");
}

#[test]
fn status_counts_and_finds_nothing_wrong() {
    let home = Home::new();
    home.put("d/a", "12345");
    home.put("b", "123");
    let status = &json_lines(&home.ok(["status", "--json"]))[0];
    assert_eq!(status["figures"]["files"], 2);
    assert_eq!(status["figures"]["bytes"], 8);
    assert_eq!(status["figures"]["directories"], 1);
    assert_eq!(status["problems"].as_array().unwrap().len(), 0);
    assert_eq!(status["metadata"]["handler"], "dfs");
    assert_eq!(status["binarydata"]["reachable"], true);
    let text = home.ok(["status"]);
    assert!(text.contains("files        2 (8 B)") && text.contains("sqlite"), "{text}");
}

#[test]
fn status_tells_a_store_that_does_not_answer_with_4() {
    let home = Home::new();
    home.put("a", "a");
    // The database is damaged beyond reading.
    for file in ["ezdfs.db-wal", "ezdfs.db-shm"] {
        // Gone already if the last process could close the database.
        let _ = std::fs::remove_file(home.path().join("ezdfs-data").join(file));
    }
    home.write("ezdfs-data/ezdfs.db", "this is no database, whatever its name says".repeat(100));
    let ran = home.run(["status"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.out.contains("PROBLEM: "), "{ran:?}");
    let ran = home.run(["status", "--json"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(!json_lines(&ran.out)[0]["problems"].as_array().unwrap().is_empty());
    home.fails(1, ["ls"]);
}

#[test]
fn bench_leaves_nothing_behind() {
    for toml in ["", "[store]\ntrash = \"1h\"\n"] {
        let home = Home::configured(toml);
        home.put("a", "a");
        let figures = json_lines(&home.ok(["bench", "--files", "20", "--json"]));
        let names: Vec<_> = figures.iter().map(|f| f["name"].as_str().unwrap()).collect();
        for name in ["put 4 KiB", "get 4 KiB", "put 1 MiB", "get 1 MiB", "load", "delete"] {
            assert!(names.contains(&name), "{names:?}");
        }
        assert!(figures.iter().all(|f| f["per_second"].as_f64().unwrap() > 0.0));
        assert_eq!(home.ok(["ls", "-R"]), "a\n");
        assert_eq!(home.ok(["trash", "ls"]), "");
    }
    let home = Home::new();
    assert!(home.ok(["bench", "--files", "5"]).contains("MiB/s"));
    home.fails(2, ["bench", "--files", "0"]);
}
