//! put, get, cat: bytes in and out.

use std::os::unix::fs::PermissionsExt as _;

use super::{Home, json_lines};
use sha2::Digest as _;

/// Bytes that compress badly and differ everywhere.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    })
    .take(len)
    .collect()
}

#[test]
fn bytes_come_back_as_they_went_in() {
    let home = Home::new();
    for (name, len) in [("empty", 0), ("one", 1), ("small", 4096), ("large", 9_000_001)] {
        let bytes = noise(len);
        home.write(name, &bytes);
        let path = format!("images/1/{name}.bin");
        home.ok(["put", name, &path]);
        home.ok(["get", &path, "back"]);
        assert_eq!(home.read("back"), bytes, "{name}");
        assert_eq!(home.run(["cat", &path]).bytes, bytes, "{name}");
        assert_eq!(home.run(["get", &path, "-"]).bytes, bytes, "{name}");
        let stat = home.stat(&path);
        assert_eq!(stat["size"], len);
        assert_eq!(stat["sha256"], hex(&sha2::Sha256::digest(&bytes)));
        // The object is a plain file under its own name.
        assert_eq!(home.read(format!("ezdfs-data/files/{path}")), bytes);
    }
    assert_eq!(home.staged(), 0);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn stdin_is_a_dash() {
    let home = Home::new();
    let ran = home.feed(b"from a pipe", ["put", "-", "a.txt", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let put = &json_lines(&ran.out)[0];
    assert_eq!(
        (&put["path"], &put["size"], &put["created"]),
        (&"a.txt".into(), &11.into(), &true.into())
    );
    assert_eq!(put["media_type"], "text/plain");
    assert_eq!(home.cat("a.txt"), "from a pipe");
    let again = home.feed(b"x", ["put", "--json", "-", "a.txt"]);
    assert_eq!(json_lines(&again.out)[0]["created"], false);
    assert!(home.fails(2, ["put", "-", "dir/"]).contains("no name of its own"));
}

#[test]
fn several_sources_go_into_a_directory() {
    let home = Home::new();
    home.write("a", "1");
    home.write("b", "2");
    home.ok(["put", "a", "b", "d/e/"]);
    assert_eq!(home.cat("d/e/a") + &home.cat("d/e/b"), "12");
    home.ok(["put", "a", "d"]);
    assert_eq!(home.cat("d/a"), "1");
    assert!(home.fails(2, ["put", "a", "b", "none"]).contains("`none/`"));
    // One of them fails: the other is stored, and the exit code says so.
    let err = home.fails(3, ["put", "a", "missing", "f/"]);
    assert!(err.contains("missing"), "{err}");
    assert_eq!(home.cat("f/a"), "1");
    home.fails(1, ["put", "missing", "f/x"]);
}

#[test]
fn trees_go_in_and_out() {
    let home = Home::new();
    for (name, text) in [("t/a.txt", "a"), ("t/sub/b.txt", "b"), ("t/sub/deep/#c 100%.txt", "c")] {
        home.write(name, text);
    }
    std::fs::create_dir(home.path().join("t/empty")).unwrap();
    assert!(home.fails(1, ["put", "t", "/"]).contains("-r"));
    home.ok(["put", "-r", "t", "/"]);
    assert_eq!(
        home.ok(["ls", "-R"]),
        "t/\nt/a.txt\nt/empty/\nt/sub/\nt/sub/b.txt\nt/sub/deep/\nt/sub/deep/#c 100%.txt\n"
    );
    assert!(home.fails(1, ["get", "t", "back"]).contains("directory"));
    home.ok(["get", "-r", "t", "back"]);
    assert_eq!(home.read("back/sub/deep/#c 100%.txt"), b"c");
    assert!(home.path().join("back/empty").is_dir());
    // Again: into the directory that is there now.
    home.ok(["get", "-r", "t", "back"]);
    assert_eq!(home.read("back/t/a.txt"), b"a");
}

#[test]
fn a_symbolic_link_in_a_tree_is_named_and_left_out() {
    let home = Home::new();
    home.write("t/a", "a");
    std::os::unix::fs::symlink("/etc/passwd", home.path().join("t/link")).unwrap();
    let err = home.fails(3, ["put", "-r", "t", "/"]);
    assert!(err.contains("t/link"), "{err}");
    assert_eq!(home.ok(["ls", "-R", "--files-only"]), "t/a\n");
}

#[test]
fn get_without_target_uses_the_basename() {
    let home = Home::new();
    home.put("x/y.txt", "y");
    home.ok(["get", "x/y.txt"]);
    assert_eq!(home.read("y.txt"), b"y");
    std::fs::create_dir(home.path().join("into")).unwrap();
    home.ok(["get", "x/y.txt", "into"]);
    assert_eq!(home.read("into/y.txt"), b"y");
}

#[test]
fn a_local_file_is_replaced_whole_or_stays() {
    let home = Home::new();
    home.put("a", "new");
    home.write("dst", "old");
    home.fails(1, ["get", "missing", "dst"]);
    assert_eq!(home.read("dst"), b"old");
    home.ok(["get", "a", "dst"]);
    assert_eq!(home.read("dst"), b"new");
    let mode = std::fs::metadata(home.path().join("dst")).unwrap().permissions().mode();
    assert_eq!(mode & 0o111, 0, "{mode:o}");
    assert_ne!(mode & 0o444, 0, "{mode:o}");
    // Through a link, as cp does; and what is no regular file stays what it is.
    std::os::unix::fs::symlink("dst", home.path().join("link")).unwrap();
    home.put("a", "newer");
    home.ok(["get", "a", "link"]);
    assert_eq!(home.read("dst"), b"newer");
    assert!(home.path().join("link").is_symlink());
    home.ok(["get", "a", "/dev/null"]);
    let names: Vec<_> = std::fs::read_dir(home.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| n.contains("ezdfs-get"))
        .collect();
    assert!(names.is_empty(), "{names:?}");
}

#[test]
fn bytes_that_were_changed_behind_our_back_are_no_file() {
    let home = Home::new();
    home.put("a.txt", "0123456789");
    // Another program overwrites the object in place: the row still names the old version. It
    // keeps its size but not its identity.
    std::thread::sleep(std::time::Duration::from_millis(5200));
    std::fs::write(home.path().join("ezdfs-data/files/a.txt"), "9876543210").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(5200));
    let ran = home.run(["get", "a.txt", "back"]);
    // Either refused, or adopted as the new version that it is: never new bytes under the old
    // digest.
    if ran.code == 0 {
        assert_eq!(home.read("back"), b"9876543210");
        assert_ne!(
            home.stat("a.txt")["sha256"],
            hex(&sha2::Sha256::digest(b"0123456789")).as_str()
        );
    } else {
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(!home.path().join("back").exists());
    }
}

#[test]
fn ranges() {
    let home = Home::new();
    home.put("a", "0123456789");
    for (range, bytes) in
        [("0-3", "0123"), ("7-", "789"), ("-2", "89"), ("8-99", "89"), ("0-", "0123456789")]
    {
        assert_eq!(home.ok(["cat", "--range", range, "a"]), bytes, "{range}");
        assert_eq!(home.ok(["get", "--range", range, "a", "-"]), bytes, "{range}");
    }
    assert!(home.fails(2, ["cat", "--range", "10-", "a"]).contains("10 bytes"));
    home.fails(2, ["cat", "--range", "5-2", "a"]);
    home.put("empty", "");
    assert_eq!(home.ok(["cat", "--range", "0-", "empty"]), "");
}

#[test]
fn type_expiry_and_mtime_are_kept() {
    let home = Home::new();
    home.write("a", "a");
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    std::fs::File::options()
        .write(true)
        .open(home.path().join("a"))
        .unwrap()
        .set_modified(old)
        .unwrap();
    home.ok(["put", "-p", "a", "x", "--type", "image/webp", "--expires", "2099-01-01T00:00:00Z"]);
    let stat = home.stat("x");
    assert_eq!(stat["type"], "image/webp");
    assert_eq!(stat["expires"], "2099-01-01T00:00:00Z");
    assert_eq!(stat["mtime"], "2001-09-09T01:46:40Z");
    home.ok(["get", "-p", "x", "back"]);
    assert_eq!(std::fs::metadata(home.path().join("back")).unwrap().modified().unwrap(), old);
    assert!(home.fails(2, ["put", "a", "x", "--expires", "2001-01-01"]).contains("has passed"));
    assert!(home.fails(2, ["put", "a", "x", "--expires", "soon"]).contains("+3600"));
    home.fails(2, ["put", "a", "x", "--type", "image/png\r\nX: y"]);
}

#[test]
fn an_expired_file_is_gone_for_every_command() {
    let home = Home::new();
    home.write("a", "a");
    home.ok(["put", "a", "soon", "--expires", "+1"]);
    assert_eq!(home.cat("soon"), "a");
    std::thread::sleep(std::time::Duration::from_millis(1200));
    for command in ["cat", "stat", "ls"] {
        home.fails(1, [command, "soon"]);
    }
    assert_eq!(home.ok(["ls"]), "");
    assert_eq!(home.stat_hidden("soon")["visible"], false);
}

impl Home {
    fn stat_hidden(&self, path: &str) -> serde_json::Value {
        serde_json::from_str(&self.ok(["stat", "--hidden", "--json", path])).unwrap()
    }
}

#[test]
fn memory_stays_small_however_large_the_file() {
    let home = Home::new();
    let large = home.path().join("large");
    std::fs::File::create(&large).unwrap().set_len(300 << 20).unwrap();
    let rss = |args: &[&str]| {
        let child = home.command(args).spawn().unwrap();
        // VmHWM of a process that has ended cannot be read: time(1) would be one more program to
        // install, wait4 is not in std. So it is sampled while the command runs.
        let status = format!("/proc/{}/status", child.id());
        let mut child = child;
        let mut peak = 0_u64;
        while child.try_wait().unwrap().is_none() {
            if let Ok(text) = std::fs::read_to_string(&status) {
                let line = text.lines().find(|l| l.starts_with("VmHWM"));
                let kib = line.and_then(|l| l.split_whitespace().nth(1)?.parse().ok());
                peak = peak.max(kib.unwrap_or(0));
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        assert!(child.wait().unwrap().success());
        peak
    };
    let (base, put) = (rss(&["ls"]), rss(&["-q", "put", "large", "large"]));
    let got = rss(&["-q", "get", "large", "back"]);
    for (what, peak) in [("put", put), ("get", got)] {
        assert!(
            peak > 0 && peak < base.max(20 << 10) + (8 << 10),
            "{what}: {peak} KiB, base {base}"
        );
    }
    assert_eq!(std::fs::metadata(home.path().join("back")).unwrap().len(), 300 << 20);
}
