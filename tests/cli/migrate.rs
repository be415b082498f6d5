//! migrate-files: the command around the library: options, order, texts, question, exit codes.

use std::io::{Read as _, Write as _};

use super::{Home, Ran, json_lines, wait_for};

/// A home with a tree behind `default`.
fn home(files: usize) -> Home {
    let home = Home::new();
    let root = home.path().join("site");
    std::fs::create_dir(&root).unwrap();
    home.write("ezdfs.toml", format!("[store]\ndefault_root = \"{}\"\n", root.display()));
    for i in 0..files {
        home.write(format!("site/images/{}/{i}.txt", i % 7), format!("content {i}"));
    }
    home
}

/// Everything below a directory: paths, and the bytes of files.
fn snapshot(dir: &std::path::Path) -> std::collections::BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(snapshot(&path));
            found.insert(path, Vec::new());
        } else {
            let bytes = std::fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}

const MIGRATE: [&str; 2] = ["migrate-files", "-n"];

#[test]
fn handlers_are_listed_and_nothing_else() {
    let home = home(0);
    let list = home.ok(["migrate-files", "--list-io-handlers", "--bulk-count", "0"]);
    let words: Vec<&str> = list.split_whitespace().collect();
    assert_eq!(
        words,
        [
            "Metadata",
            "handlers:",
            "dfs",
            "default",
            "Binary",
            "data",
            "handlers:",
            "nfs",
            "default"
        ]
    );
    let json = &json_lines(&home.ok(["migrate-files", "--list-io-handlers", "--json"]))[0];
    assert_eq!(json["metadata"], serde_json::json!(["dfs", "default"]));
    assert!(!home.path().join("ezdfs-data").exists());
}

#[test]
fn a_tree_is_migrated_once() {
    let home = home(40);
    let out = home.run(MIGRATE);
    assert_eq!((out.code, out.err.as_str()), (0, ""), "{out:?}");
    for text in [
        "Source: metadata handler `default`",
        "Files to migrate: 40",
        "Files processed: 40",
        "+ 40 copied",
    ] {
        assert!(out.out.contains(text), "{text}: {out:?}");
    }
    assert_eq!(home.cat("images/3/3.txt"), "content 3");
    assert_eq!(home.ok(["ls", "-R", "--files-only"]).lines().count(), 40);
    let again = home.ok([&MIGRATE[..], &["--report", "report"]].concat());
    assert!(again.contains("= 40 unchanged, + 0 copied"), "{again}");
    let report = String::from_utf8(home.read("report")).unwrap();
    assert!(
        report.lines().count() == 40 && report.lines().all(|l| l.starts_with("= images/")),
        "{report}"
    );
    // Sources stay.
    assert_eq!(home.read("site/images/3/3.txt"), b"content 3");
}

#[test]
fn errors_come_in_order_and_change_nothing() {
    let home = home(3);
    for (args, words) in [
        (&["--bulk-count", "0"][..], &["positive integer"][..]),
        (&["--bulk-count", "-1"], &["positive integer"]),
        (&["--from", "dfs"], &["--from"]),
        (&["--to", "dfs,nfs,x"], &["--to"]),
        (&["--from", "x,default"], &["source", "metadata", "`x`", "Binary data handlers"]),
        (&["--to", "dfs,y"], &["target", "binary data", "`y`"]),
        (&["--jobs", "0"], &["--jobs"]),
        (&["--verify", "md5"], &["sha256"]),
        (&["--include", "a["], &["--include"]),
        (&["--resume", "--restart"], &["--restart"]),
    ] {
        let err = home.fails(2, [&MIGRATE[..], args].concat());
        for word in words {
            assert!(err.contains(word), "{args:?} {word}: {err}");
        }
    }
    let same = home.ok([&MIGRATE[..], &["--from", "dfs,nfs", "--to", "dfs,nfs"]].concat());
    assert!(same.contains("nothing to migrate"), "{same}");
    assert_eq!(home.ok(["ls"]), "");
}

#[test]
fn the_answer_is_no_unless_it_is_yes() {
    let home = home(2);
    for answer in ["", "\n", "n\n", "nonsense\n"] {
        let ran = home.feed(answer.as_bytes(), ["migrate-files"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.err.contains("[y/N]") && ran.out.contains("nothing was changed"), "{ran:?}");
        assert_eq!(home.ok(["ls"]), "");
    }
    let ran = home.feed(b"y\n", ["migrate-files"]);
    assert!(ran.code == 0 && ran.out.contains("+ 2 copied"), "{ran:?}");
}

#[test]
fn a_dry_run_writes_nothing() {
    let home = home(5);
    let before = snapshot(home.path());
    let out = home.ok([&MIGRATE[..], &["--dry-run"]].concat());
    assert!(out.contains("+ 5 copied") && out.contains("dry run"), "{out}");
    // A source that is not there yet is not made either.
    let back = ["--dry-run", "--from", "dfs,nfs", "--to", "default,default"];
    assert!(home.ok([&MIGRATE[..], &back].concat()).contains("Files to migrate: 0"));
    assert_eq!(snapshot(home.path()), before);
    home.ok([&MIGRATE[..], &["--dry-run", "--report", "report"]].concat());
    assert_eq!(String::from_utf8(home.read("report")).unwrap().lines().count(), 5);
    // Once it is there, the dry run sees it.
    home.ok(MIGRATE);
    let again = home.ok([&MIGRATE[..], &["--dry-run"]].concat());
    assert!(again.contains("= 5 unchanged, + 0 copied"), "{again}");
}

#[tokio::test]
async fn a_dry_run_installs_nothing_in_a_base_table() {
    use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
    for mode in ["DELETE", "WAL"] {
        let home = home(5);
        std::fs::create_dir_all(home.path().join("ezdfs-data")).unwrap();
        let script = home.ok(["schema", "print"]);
        let end = script.find("ezdfs_node").unwrap();
        let base = &script[..script[..end].rfind("CREATE").unwrap()];
        let file = home.path().join("ezdfs-data/ezdfs.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file);
        let mut conn = options.create_if_missing(true).connect().await.unwrap();
        let script = format!("PRAGMA journal_mode = {mode}; {base}");
        sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
        let before = snapshot(home.path());
        let out = home.ok([&MIGRATE[..], &["--dry-run"]].concat());
        assert!(out.contains("+ 5 copied"), "{mode}: {out}");
        assert_eq!(snapshot(home.path()), before, "{mode}");
        assert!(home.ok(MIGRATE).contains("+ 5 copied"), "{mode}");
    }
}

#[test]
fn missing_bytes_count_like_failures() {
    let home = home(3);
    home.ok(MIGRATE);
    let back = [&MIGRATE[..], &["--from", "dfs,nfs", "--to", "dfs,other"]].concat();
    let root = home.path().join("other");
    std::fs::create_dir(&root).unwrap();
    let toml = String::from_utf8(home.read("ezdfs.toml")).unwrap();
    home.write(
        "ezdfs.toml",
        format!(
            "{toml}[binarydata_handlers.nfs]\nurl = \"file:files\"\n\
             [binarydata_handlers.other]\nurl = \"file://{}\"\n",
            root.display()
        ),
    );
    let files = home.path().join("ezdfs-data/files/images");
    std::fs::remove_file(files.join("1/1.txt")).unwrap();
    for symbol in ["+ 2 copied", "= 2 unchanged"] {
        let ran = home.run(&back);
        assert_eq!(ran.code, 3, "{ran:?}");
        assert!(ran.out.contains(symbol) && ran.out.contains("- 1 missing"), "{ran:?}");
        assert!(ran.err.contains("- images/1/1.txt"), "{ran:?}");
    }
    std::fs::remove_dir_all(files).unwrap();
    std::fs::remove_dir_all(root.join("images")).unwrap();
    let ran = home.run(&back);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("- 3 missing"), "{ran:?}");
}

#[test]
fn an_unreadable_directory_is_named() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::{Command, Stdio};
    let home = home(5);
    home.write("site/images/secret/x.txt", "x");
    let chmod = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let secret = home.path().join("site/images/secret");
    chmod(&secret, 0o000);
    let args = [&MIGRATE[..], &["--dry-run"]].concat();
    let ran = if rustix::process::geteuid().is_root() {
        // Modes do not bind root: the child is nobody, with a copy of the program that it can reach.
        chmod(home.path(), 0o755);
        let program = home.path().join("program");
        std::fs::copy(env!("CARGO_BIN_EXE_ezdfs"), &program).unwrap();
        let mut child = Command::new("setpriv");
        child.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        child.arg(&program).args(&args).current_dir(home.path()).stdin(Stdio::null());
        Ran::of(child.output().unwrap())
    } else {
        home.run(&args)
    };
    chmod(&secret, 0o755);
    assert_eq!((ran.code, ran.out.contains("Files to migrate")), (1, false), "{ran:?}");
    for words in ["`images/secret`", "`default`", "right to read and to enter it"] {
        assert!(ran.err.contains(words), "{words}: {ran:?}");
    }
    assert!(!ran.err.contains("`/`"), "{ran:?}");
}

#[test]
fn nothing_to_migrate_is_told() {
    let home = home(0);
    assert!(home.ok(MIGRATE).contains("Files to migrate: 0"));
}

#[test]
fn a_file_that_fails_is_named_and_the_rest_goes_on() {
    let home = home(6);
    use std::os::unix::ffi::OsStrExt as _;
    home.write(std::ffi::OsStr::from_bytes(b"site/images/bad\x01name"), "x");
    let ran = home.run(MIGRATE);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.err.contains("! images/bad"), "{ran:?}");
    assert!(ran.out.contains("+ 6 copied") && ran.out.contains("! 1 failed"), "{ran:?}");
    assert_eq!(home.ok(["ls", "-R", "--files-only"]).lines().count(), 6);
}

#[test]
fn globs_choose() {
    let home = home(14);
    home.ok([
        &MIGRATE[..],
        &["--include", "images/1/**", "--include", "images/2/**", "--exclude", "**/1.txt"],
    ]
    .concat());
    assert_eq!(
        home.ok(["ls", "-R", "--files-only"]),
        "images/1/8.txt\nimages/2/2.txt\nimages/2/9.txt\n"
    );
}

#[test]
fn only_the_table_is_built_over_the_same_files() {
    let home = home(4);
    home.ok([&MIGRATE[..], &["--from", "default,default", "--to", "dfs,default"]].concat());
    let root = home.path().join("ezdfs-data/files");
    assert!(!root.join("images").exists(), "no byte was copied");
    let mut list = home.command(["ls", "-R", "--files-only"]);
    let ran = Ran::of(list.env("EZDFS__STORE__BINARYDATA", "default").output().unwrap());
    assert_eq!((ran.code, ran.out.lines().count()), (0, 4), "{ran:?}");
}

#[test]
fn an_interrupted_run_stops_cleanly_and_goes_on() {
    let home = home(60);
    for i in 0..60 {
        home.write(format!("site/images/{}/{i}.txt", i % 7), vec![b'x'; 40_000]);
    }
    let mut child = home
        .start([&MIGRATE[..], &["--bwlimit", "400K", "--jobs", "1", "--verify", "size"]].concat());
    // When the first files are there it is in the middle.
    wait_for("the first files", || home.run(["ls", "-R", "--files-only"]).out.lines().count() >= 3);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    child.stdin.take().unwrap().flush().unwrap();
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.out.contains("Interrupted"), "{ran:?}");
    let before = home.ok(["ls", "-R", "--files-only"]).lines().count();
    assert!((3..60).contains(&before), "{before}");
    let out = home.ok([&MIGRATE[..], &["--verify", "size"]].concat());
    assert!(out.contains("Files processed: 60") && out.contains("+ 60 copied"), "{out}");
    assert_eq!(home.staged(), 0);
}

#[test]
fn a_killed_run_loses_and_repeats_nothing() {
    let home = home(60);
    for i in 0..60 {
        home.write(format!("site/images/{}/{i}.txt", i % 7), vec![b'x'; 40_000]);
    }
    let mut child = home.start([&MIGRATE[..], &["--bwlimit", "400K", "--jobs", "2"]].concat());
    // When the first files are there it is in the middle.
    wait_for("the first files", || home.run(["ls", "-R", "--files-only"]).out.lines().count() >= 5);
    child.kill().unwrap();
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    child.wait().unwrap();
    let out = home.ok([&MIGRATE[..], &["--report", "report"]].concat());
    assert!(out.contains("Files processed: 60") && out.contains("! 0 failed"), "{out}");
    let report = String::from_utf8(home.read("report")).unwrap();
    let mut paths: Vec<&str> = report.lines().map(|l| &l[2..]).collect();
    paths.sort_unstable();
    paths.dedup();
    assert_eq!((report.lines().count(), paths.len()), (60, 60));
    for i in [0, 17, 59] {
        assert_eq!(home.cat(&format!("images/{}/{i}.txt", i % 7)).len(), 40_000);
    }
}
