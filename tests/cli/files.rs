//! ls, stat, cp, mv, rm, touch, du, mkdir, rmdir.

use super::{Home, json_lines};

#[test]
fn ls_of_nothing_of_a_directory_and_of_a_file() {
    let home = Home::new();
    assert_eq!(home.ok(["ls"]), "");
    home.put("b/2", "22");
    home.put("b/c/3", "333");
    home.put("a", "1");
    assert_eq!(home.ok(["ls"]), "a\nb/\n");
    assert_eq!(home.ok(["ls", "/"]), "a\nb/\n");
    assert_eq!(home.ok(["ls", "b"]), "b/2\nb/c/\n");
    assert_eq!(home.ok(["ls", "b/"]), "b/2\nb/c/\n");
    assert_eq!(home.ok(["ls", "b/2"]), "b/2\n");
    assert_eq!(home.ok(["ls", "-R"]), "a\nb/\nb/2\nb/c/\nb/c/3\n");
    assert_eq!(home.ok(["ls", "-R", "--files-only"]), "a\nb/2\nb/c/3\n");
    assert!(home.fails(1, ["ls", "none"]).contains("`none` does not exist"));
    assert!(home.fails(1, ["ls", "a/"]).contains("not a directory"));
    let ran = home.run(["ls", "none", "b/2"]);
    assert_eq!((ran.code, ran.out.as_str()), (3, "b/2\n"));
}

#[test]
fn ls_long_and_json() {
    let home = Home::new();
    home.put("i/a.png", "12345");
    let long = home.ok(["ls", "-l", "i"]);
    let words: Vec<&str> = long.split_whitespace().collect();
    assert_eq!(
        [words[0], words[1], words[3], words[4]],
        ["-rw-r--r--", "5", "image/png", "i/a.png"]
    );
    assert!(words[2].ends_with('Z') && words[2].len() == 20, "{long}");
    assert!(home.ok(["ls", "-lh", "i/a.png"]).contains("5 B"));
    assert!(home.ok(["ls", "-l"]).starts_with("drwxr-xr-x"));
    let json = json_lines(&home.ok(["ls", "-R", "--json"]));
    assert_eq!((&json[0]["kind"], &json[0]["path"]), (&"dir".into(), &"i".into()));
    assert_eq!((&json[1]["kind"], &json[1]["size"]), (&"file".into(), &5.into()));
    assert_eq!(json[1]["etag"], format!("\"{}\"", json[1]["sha256"].as_str().unwrap()));
}

#[test]
fn stat_prints_every_known_field() {
    let home = Home::new();
    home.put("images/a.jpg", "abc");
    let text = home.ok(["stat", "images/a.jpg"]);
    for (field, value) in [
        ("path", "images/a.jpg"),
        ("name", "var/site/storage/images/a.jpg"),
        ("kind", "file"),
        ("visible", "yes"),
        ("size", "3"),
        ("type", "image/jpeg"),
        ("scope", "image"),
        ("sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("object key", "images/a.jpg"),
        ("handlers", "dfs,nfs"),
    ] {
        assert!(text.contains(&format!("{field:<11} {value}\n")), "{field}: {text}");
    }
    for field in ["name hash", "mtime", "etag", "token", "pin"] {
        assert!(text.contains(&format!("\n{field:<11} ")), "{field}: {text}");
    }
    // md5 of `var/site/storage/images/a.jpg`
    assert_eq!(home.stat("images/a.jpg")["name_hash"], "d01b855f10c39bd2198fed99da7ff07b");
    assert_eq!(home.stat("images")["kind"], "dir");
    assert_eq!(home.stat("/")["kind"], "dir");
    assert_eq!(
        home.stat("images/a.jpg")["mtime"].as_str().unwrap().len(),
        "2026-11-20T21:42:13.123456789Z".len()
    );
    home.fails(1, ["stat", "none"]);
}

#[test]
fn cp_copies_replaces_and_leaves_alone() {
    let home = Home::new();
    home.put("a.txt", "a");
    home.put("d/b.txt", "b");
    home.ok(["cp", "a.txt", "c.txt"]);
    home.ok(["cp", "a.txt", "d/b.txt", "into/"]);
    assert_eq!(home.cat("c.txt") + &home.cat("into/a.txt") + &home.cat("into/b.txt"), "aab");
    home.ok(["cp", "-n", "d/b.txt", "c.txt"]);
    assert_eq!(home.cat("c.txt"), "a");
    home.ok(["cp", "d/b.txt", "c.txt"]);
    assert_eq!(home.cat("c.txt"), "b");
    home.fails(2, ["cp", "a.txt", "a.txt"]);
    home.fails(1, ["cp", "none", "x"]);
    assert!(home.fails(1, ["cp", "d", "e"]).contains("-r"));
    home.put("d/deep/e.txt", "e");
    home.ok(["cp", "-r", "d", "e"]);
    assert_eq!(home.cat("e/deep/e.txt"), "e");
    home.fails(2, ["cp", "-r", "d", "d/inside"]);
    home.ok(["touch", "--expires", "+1h", "a.txt"]);
    home.ok(["cp", "a.txt", "kept"]);
    assert_eq!(home.stat("kept")["expires"], home.stat("a.txt")["expires"]);
    assert_eq!(home.stat("kept")["type"], "text/plain");
}

#[test]
fn mv_renames_files_and_directories() {
    let home = Home::new();
    home.put("a", "a");
    home.put("b", "b");
    home.put("d/x", "x");
    home.put("d/y/z", "z");
    home.ok(["mv", "-n", "a", "b"]);
    assert_eq!(home.cat("a") + &home.cat("b"), "ab");
    home.ok(["mv", "a", "b"]);
    assert_eq!(home.cat("b"), "a");
    home.fails(1, ["cat", "a"]);
    home.ok(["mv", "b", "d"]);
    assert_eq!(home.cat("d/b"), "a");
    home.ok(["mv", "d", "new"]);
    assert_eq!(home.cat("new/y/z"), "z");
    home.fails(1, ["ls", "d"]);
    home.ok(["mkdir", "into"]);
    home.ok(["mv", "new", "into"]);
    assert_eq!(home.cat("into/new/x"), "x");
    home.ok(["mv", "into/new", "fresh/"]);
    assert_eq!(home.cat("fresh/x"), "x");
    home.fails(2, ["mv", "fresh", "fresh/inside"]);
    home.fails(1, ["mv", "none", "x"]);
    assert!(home.fails(2, ["mv", "fresh/x", "fresh/b", "none"]).contains("not a directory"));
    home.ok(["mkdir", "t"]);
    home.ok(["mv", "-T", "fresh", "t"]);
    assert_eq!(home.cat("t/x"), "x");
}

#[test]
fn rm_removes_and_names_what_it_cannot() {
    let home = Home::new();
    for path in ["a", "b", "d/x", "d/e/y", "ab"] {
        home.put(path, path);
    }
    home.ok(["rm", "a"]);
    home.fails(1, ["cat", "a"]);
    home.fails(1, ["rm", "a"]);
    home.ok(["rm", "-f", "a"]);
    assert!(home.fails(1, ["rm", "d"]).contains("-r"));
    assert!(home.fails(1, ["rm", "-f", "d"]).contains("-r"));
    let err = home.fails(3, ["rm", "none1", "b", "none2"]);
    assert!(err.contains("none1") && err.contains("none2"), "{err}");
    home.fails(1, ["cat", "b"]);
    home.ok(["rm", "-r", "d"]);
    assert_eq!(home.ok(["ls", "-R"]), "ab\n");
    assert!(home.fails(2, ["rm", "-r", "/"]).contains("root"));
    home.ok(["rm", "-r", "ab"]);
    // Bytes leave their place at once, whoever reads the tree.
    assert!(!home.path().join("ezdfs-data/files/ab").exists());
}

#[test]
fn rm_of_a_directory_is_exact() {
    let home = Home::new();
    for dir in ["a_b", "aXb", "p%c", "pqc", "1", "10", "Dir", "dir"] {
        home.put(&format!("{dir}/f"), dir);
    }
    home.ok(["rm", "-r", "a_b", "p%c", "1", "Dir"]);
    assert_eq!(home.ok(["ls"]), "10/\naXb/\ndir/\npqc/\n");
}

#[test]
fn touch_makes_and_changes() {
    let home = Home::new();
    home.ok(["touch", "new.txt"]);
    assert_eq!(home.stat("new.txt")["size"], 0);
    home.ok(["touch", "-c", "none"]);
    home.fails(1, ["stat", "none"]);
    home.put("a", "abc");
    let before = home.stat("a");
    home.ok(["touch", "-d", "2024-02-29T12:00:00Z", "a"]);
    let after = home.stat("a");
    assert_eq!(after["mtime"], "2024-02-29T12:00:00Z");
    assert_eq!(after["sha256"], before["sha256"]);
    home.ok(["touch", "--type", "image/avif", "--expires", "+1h", "a"]);
    assert_eq!(home.stat("a")["type"], "image/avif");
    assert!(home.stat("a")["expires"].is_string());
    home.ok(["touch", "--expires", "never", "a"]);
    assert!(home.stat("a")["expires"].is_null());
    assert_eq!(home.cat("a"), "abc");
    home.fails(1, ["touch", "a/b"]);
    home.fails(2, ["touch", "-d", "yesterday", "a"]);
}

#[test]
fn du_sums_up() {
    let home = Home::new();
    home.put("d/1", "12345");
    home.put("d/e/2", "123");
    home.put("x", "1");
    let fields = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(fields(&home.ok(["du"])), ["9", "3", "/"]);
    assert_eq!(fields(&home.ok(["du", "d", "x"])), ["8", "2", "d", "1", "1", "x"]);
    assert!(home.ok(["du", "-h", "d"]).contains("8 B"));
    let json = json_lines(&home.ok(["du", "--json", "d"]));
    assert_eq!(
        (&json[0]["bytes"], &json[0]["files"], &json[0]["directories"]),
        (&8.into(), &2.into(), &1.into())
    );
    home.fails(1, ["du", "none"]);
}

#[test]
fn directories_are_made_and_removed() {
    let home = Home::new();
    home.ok(["mkdir", "a"]);
    assert!(home.fails(1, ["mkdir", "a"]).contains("exists"));
    home.ok(["mkdir", "-p", "a"]);
    assert!(home.fails(1, ["mkdir", "x/y"]).contains("-p"));
    home.ok(["mkdir", "-p", "x/y/z"]);
    home.put("x/y/f", "f");
    home.ok(["rmdir", "x/y/z"]);
    assert!(home.fails(1, ["rmdir", "x/y"]).contains("x/y"));
    home.fails(1, ["rmdir", "x/y/f"]);
    home.fails(1, ["rmdir", "none"]);
    home.fails(1, ["mkdir", "-p", "x/y/f/g"]);
    home.fails(1, ["put", "/dev/null", "x/y/f/g"]);
    assert_eq!(home.ok(["ls", "-R"]), "a/\nx/\nx/y/\nx/y/f\n");
}
