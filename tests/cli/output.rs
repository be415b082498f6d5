//! What goes where: stdout, stderr, exit codes, help, closed pipes.

use std::io::Read as _;
use std::process::Stdio;

use super::{Home, Ran};

const COMMANDS: [&str; 22] = [
    "serve",
    "put",
    "get",
    "cat",
    "ls",
    "stat",
    "cp",
    "mv",
    "rm",
    "touch",
    "du",
    "mkdir",
    "rmdir",
    "trash",
    "watch",
    "warmup",
    "gc",
    "bench",
    "status",
    "config",
    "migrate-files",
    "schema",
];

#[test]
fn every_command_explains_itself_with_examples() {
    let home = Home::new();
    let all = home.ok(["--help"]);
    for command in COMMANDS {
        assert!(all.contains(&format!("\n  {command} ")), "{command}: {all}");
        let help = home.ok([command, "--help"]);
        assert!(help.contains("Examples:\n  "), "{command}: {help}");
        assert!(help.lines().all(|l| l.chars().count() <= 100), "{command}: {help}");
    }
    assert!(all.contains("Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 done in part"));
    assert_eq!(home.ok(["--version"]), format!("ezdfs {}\n", env!("CARGO_PKG_VERSION")));
    // Asking for help makes no store.
    assert!(!home.path().join("ezdfs-data").exists());
}

#[test]
fn usage_errors_are_2() {
    let home = Home::new();
    for args in [
        &["nonsense"][..],
        &["ls", "--nonsense"],
        &["put"],
        &["put", "a"],
        &["cat"],
        &[],
        &["completions", "x"],
        &["man", "x"],
    ] {
        home.fails(2, args);
    }
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let home = Home::new();
    for i in 0..40 {
        std::fs::create_dir_all(home.path().join("t")).unwrap();
        home.write(format!("t/{i:02}-{}", "n".repeat(200)), "x");
    }
    home.ok(["put", "-r", "t", "/"]);
    home.write("large", vec![b'x'; 4 << 20]);
    home.ok(["put", "large", "large"]);
    for args in [
        &["ls", "-R"][..],
        &["ls", "--json", "-R"],
        &["cat", "large"],
        &["stat", "large"],
        &["man"],
        &["--help"],
    ] {
        let mut child = home.start(args);
        // Gone before anything is written.
        drop(child.stdout.take());
        let ran = Ran::of(child.wait_with_output().unwrap());
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}: {ran:?}");
    }
    let mut child = home.start(["cat", "large"]);
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).unwrap();
    drop(stdout);
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
}

#[test]
fn a_full_disk_on_stdout_is_an_error() {
    let home = Home::new();
    home.put("a", "a");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = home.command(["cat", "a"]);
    let ran = Ran::of(command.stdout(full).stderr(Stdio::piped()).output().unwrap());
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("stdout"), "{ran:?}");
}

#[test]
fn closed_stderr_does_not_matter() {
    let home = Home::new();
    let mut command = home.command(["cat", "none"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn completions_and_manual_pages() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = home.ok(["completions", shell]);
        assert!(script.contains("migrate-files"), "{shell}");
    }
    let page = home.ok(["man"]);
    assert!(page.contains(".TH ezdfs 1") && page.contains(".SH SYNOPSIS"), "{page}");
    assert!(home.ok(["man", "put"]).contains(".TH ezdfs-put 1"));
    assert!(home.ok(["man", "trash", "ls"]).contains(".TH ezdfs-trash-ls 1"));
}

#[test]
fn logs_go_to_stderr_in_the_form_that_was_asked_for() {
    let home = Home::new();
    home.put("a", "a");
    home.put("d/x", "x");
    let ran = Ran::of(home.command(["-vv", "cat", "a"]).output().unwrap());
    assert_eq!((ran.code, ran.out.as_str()), (0, "a"));
    let mut command = home.command(["--log-format", "json", "mv", "d", "new/"]);
    let ran = Ran::of(command.env("EZDFS_LOG", "debug").output().unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!ran.err.is_empty());
    for line in ran.err.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    let mut command = home.command(["ls"]);
    let ran = Ran::of(command.env("EZDFS_LOG", "=,=").output().unwrap());
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("EZDFS_LOG"), "{ran:?}");
}
