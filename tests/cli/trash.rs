//! Soft delete, restore, purge.

use std::time::Duration;

use super::{Home, json_lines};

fn home() -> Home {
    Home::configured("[store]\ntrash = \"1h\"\n")
}

#[test]
fn a_deleted_file_waits_in_the_trash() {
    let home = home();
    home.put("d/a.txt", "a");
    home.put("d/b.txt", "b");
    home.put("e.txt", "e");
    let before = home.stat("d/a.txt");
    home.ok(["rm", "d/a.txt", "e.txt"]);
    home.fails(1, ["cat", "d/a.txt"]);
    assert!(home.fails(1, ["stat", "d/a.txt"]).contains("--hidden"));
    assert_eq!(home.ok(["ls", "-R", "--files-only"]), "d/b.txt\n");
    assert_eq!(home.ok(["trash", "ls"]), "d/a.txt\ne.txt\n");
    assert_eq!(home.ok(["trash", "ls", "d"]), "d/a.txt\n");
    assert!(home.ok(["trash", "ls", "-l", "d"]).contains("text/plain"));
    let json = json_lines(&home.ok(["trash", "ls", "--json", "d"]));
    assert_eq!((&json[0]["path"], &json[0]["size"]), (&"d/a.txt".into(), &1.into()));
    home.ok(["trash", "restore", "d/a.txt"]);
    assert_eq!(home.cat("d/a.txt"), "a");
    assert_eq!(home.stat("d/a.txt")["sha256"], before["sha256"]);
    assert_eq!(home.ok(["trash", "ls"]), "e.txt\n");
    assert!(home.fails(1, ["trash", "restore", "d/a.txt"]).contains("visible"));
    assert!(home.fails(1, ["trash", "restore", "none"]).contains("trash"));
}

#[test]
fn purge_is_for_good() {
    let home = home();
    home.put("a", "a");
    home.put("b", "b");
    assert!(home.fails(1, ["trash", "purge", "a"]).contains("visible"));
    home.ok(["rm", "a", "b"]);
    home.ok(["trash", "purge", "a"]);
    assert_eq!(home.ok(["trash", "ls"]), "b\n");
    home.fails(1, ["trash", "restore", "a"]);
    assert!(!home.path().join("ezdfs-data/files/a").exists());
    assert!(home.fails(3, ["trash", "purge", "a", "b"]).contains("`a`"));
    assert_eq!(home.ok(["trash", "ls"]), "");
}

#[test]
fn whole_directories_come_back_or_go() {
    let home = home();
    for path in ["d/1", "d/e/2", "dx/3"] {
        home.put(path, path);
    }
    home.ok(["rm", "-r", "d"]);
    assert_eq!(home.ok(["ls", "-R", "--files-only"]), "dx/3\n");
    home.fails(2, ["trash", "restore", "d/"]);
    home.ok(["trash", "restore", "-r", "d"]);
    assert_eq!(home.ok(["ls", "-R", "--files-only"]), "d/1\nd/e/2\ndx/3\n");
    home.ok(["rm", "-r", "d", "dx"]);
    home.ok(["trash", "purge", "-r", "/"]);
    assert_eq!(home.ok(["trash", "ls"]), "");
}

#[test]
fn gc_ends_what_has_been_there_long_enough() {
    let home = Home::configured("[store]\ntrash = \"1s\"\ndelete_grace = \"0s\"\n");
    home.put("a", "a");
    home.ok(["rm", "a"]);
    assert_eq!(home.ok(["trash", "ls"]), "a\n");
    std::thread::sleep(Duration::from_millis(1100));
    let done = &json_lines(&home.ok(["gc", "--json"]))[0];
    assert_eq!(done["reaped"], 1, "{done}");
    assert_eq!(home.ok(["trash", "ls"]), "");
    assert!(!home.path().join("ezdfs-data/files/a").exists());
}

#[test]
fn a_new_file_of_that_path_wins() {
    let home = home();
    home.put("a", "old");
    home.ok(["rm", "a"]);
    home.put("a", "new");
    assert_eq!(home.ok(["trash", "ls"]), "");
    home.ok(["gc"]);
    assert_eq!(home.cat("a"), "new");
}
