//! Configuration: where it comes from, what is wrong with it, what is shown of it.

use super::{Home, Ran};

#[test]
fn errors_name_file_line_key_and_fix() {
    let home = Home::configured(
        "[store]\ntrash = \"1h\"\ndelete_grase = \"5s\"\nio_timeout = \"5 parsecs\"\n",
    );
    for args in [&["ls"][..], &["config", "check"], &["serve"], &["status"]] {
        let err = home.fails(2, args);
        assert!(err.contains("ezdfs.toml:3: `store.delete_grase`"), "{err}");
        assert!(err.contains("delete_grace"), "a suggestion: {err}");
        assert!(
            err.contains("ezdfs.toml:4: `store.io_timeout`")
                && err.contains("\"1ms\"") | err.contains("ms, s, m, h or d"),
            "{err}"
        );
    }
    assert!(!home.path().join("ezdfs-data").exists(), "nothing is made on a bad configuration");
}

#[test]
fn a_syntax_error_names_the_line() {
    let home = Home::configured("[store]\ntrash = \n");
    assert!(home.fails(2, ["ls"]).contains("ezdfs.toml:2"));
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let home = Home::new();
    let err = home.fails(2, ["--config", "none.toml", "ls"]);
    assert!(err.contains("none.toml") && err.contains("--config"), "{err}");
    home.write("other.toml", "[store]\ntrash = \"2h\"\n");
    let shown = home.ok(["--config", "other.toml", "config", "show"]);
    assert!(shown.contains("trash = \"2h\" # line 2"), "{shown}");
    let mut command = home.command(["config", "show"]);
    let ran = Ran::of(command.env("EZDFS_CONFIG", "other.toml").output().unwrap());
    assert!(ran.out.contains("trash = \"2h\""), "{ran:?}");
}

#[test]
fn the_environment_lies_over_the_file() {
    let home = Home::configured("[store]\ntrash = \"2h\"\n");
    let mut command = home.command(["config", "show", "--json"]);
    let ran = Ran::of(command.env("EZDFS__STORE__TRASH", "3h").output().unwrap());
    let shown: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(shown["store"]["trash"], "3h");
    let mut command = home.command(["ls"]);
    let ran = Ran::of(command.env("EZDFS__STORE__TRASH", "soon").output().unwrap());
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("EZDFS__STORE__TRASH"), "{ran:?}");
}

#[test]
fn check_says_when_nothing_is_wrong() {
    let home = Home::new();
    assert!(home.ok(["config", "check"]).contains("no problems"));
    let home = Home::configured("[store]\n");
    assert_eq!(home.ok(["config", "check"]), "./ezdfs.toml: no problems\n");
}

#[test]
fn secrets_are_never_shown() {
    let home = Home::configured(
        "[metadata_handlers.dfs]\nurl = \"mysql://dfs@db1/ezdfs\"\npassword = \"hunter2\"\n\
         [metadata_handlers.own]\nurl = \"sqlite:x.db\"\n[store]\nmetadata = \"own\"\n",
    );
    for args in [
        &["config", "show"][..],
        &["config", "show", "--json"],
        &["config", "check"],
        &["-vv", "ls"],
        &["status"],
    ] {
        let ran = home.run(args);
        assert!(!ran.out.contains("hunter2") && !ran.err.contains("hunter2"), "{args:?}: {ran:?}");
    }
    assert!(home.ok(["config", "show"]).contains("password = \"********\""));
    home.ok(["config", "check"]);
}

#[test]
fn data_directory() {
    let home = Home::new();
    home.ok(["--data-dir", "elsewhere", "touch", "a"]);
    assert!(home.path().join("elsewhere/files/a").exists());
    let mut command = home.command(["ls"]);
    let ran = Ran::of(command.env("EZDFS_DATA_DIR", "elsewhere").output().unwrap());
    assert_eq!(ran.out, "a\n");
    assert!(!home.path().join("ezdfs-data").exists());
    home.write("file", "");
    assert!(home.fails(2, ["--data-dir", "file", "ls"]).contains("data directory"));
}

#[test]
fn one_store_has_one_name() {
    let home = Home::new();
    let err = home.fails(2, ["--store", "shop", "ls"]);
    assert!(err.contains("no store `shop`") && err.contains("`default`"), "{err}");
    home.ok(["--store", "default", "ls"]);
}

#[test]
fn a_root_outside_the_data_directory_is_never_made() {
    let home = Home::new();
    let missing = home.path().join("not-mounted");
    home.write(
        "ezdfs.toml",
        format!("[binarydata_handlers.nfs]\nurl = \"file://{}\"\n", missing.display()),
    );
    let err = home.fails(2, ["ls"]);
    assert!(err.contains("binarydata_handlers.nfs.url") && err.contains("not-mounted"), "{err}");
    assert!(!missing.exists());
}

#[test]
fn objects_alone_can_be_the_store() {
    let home = Home::new();
    std::fs::create_dir(home.path().join("tree")).unwrap();
    let root = home.path().join("tree");
    home.write(
        "ezdfs.toml",
        format!(
            "[store]\nmetadata = \"default\"\nbinarydata = \"default\"\ndefault_root = \"{}\"\n",
            root.display()
        ),
    );
    home.put("images/a.png", "png");
    assert_eq!(home.read("tree/images/a.png"), b"png");
    assert_eq!(home.cat("images/a.png"), "png");
    assert_eq!(home.ok(["ls", "-R"]), "images/\nimages/a.png\n");
    home.ok(["mv", "images/a.png", "images/b.png"]);
    home.ok(["cp", "images/b.png", "c.png"]);
    home.ok(["rm", "-r", "images"]);
    assert_eq!(home.ok(["ls", "-R"]), "c.png\n");
    assert!(home.fails(1, ["touch", "-d", "@5", "c.png"]).contains("derived"));
    home.ok(["gc"]);
    home.ok(["status"]);
}
