//! Paths that are refused, and awkward names that are not.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use super::{Home, json_lines};

#[test]
fn a_leading_slash_is_explained() {
    let home = Home::new();
    let err = home.fails(2, ["cat", "/images/a.jpg"]);
    assert!(err.contains("paths are relative to the store: use `images/a.jpg`"), "{err}");
}

#[test]
fn what_no_back_end_can_store_is_refused_before_anything_is_done() {
    let home = Home::new();
    home.put("a", "a");
    let long = "x".repeat(256);
    let longest = vec!["x".repeat(255); 17].join("/");
    for bad in [
        "",
        "a//b",
        "a/../b",
        "./a",
        "a/.",
        "a\nb",
        ".ezdfs/limbo/x",
        &long,
        &longest,
        "a\u{7f}",
        "a\u{85}",
    ] {
        home.fails(2, ["rm", "a", bad]);
        home.fails(2, ["put", "/dev/null", bad]);
        home.fails(2, ["stat", bad]);
    }
    let bytes = OsStr::from_bytes(b"caf\xe9");
    home.fails(2, [OsStr::new("cat"), bytes]);
    assert_eq!(home.cat("a"), "a");
}

#[test]
fn awkward_names_are_literal() {
    let home = Home::new();
    let longest = "x".repeat(255);
    let names = [
        "x#123",
        "100%.jpg",
        "%2e%2e",
        "~a",
        "it's",
        "\"q\"",
        "a b",
        " lead",
        "trail ",
        "back\\slash",
        "p_c",
        "pXc",
        "*",
        "?",
        "a;b",
        "a&b",
        "$HOME",
        "`id`",
        "-n",
        "--help",
        "é",
        "e\u{301}",
        "E",
        "e",
        "😀",
        "\u{202e}rtl",
        "a.jpg.",
        "CON",
        "[x]",
        "{y}",
        "a|b",
        "<>",
        "a:b",
        "\u{feff}bom",
        ".hidden",
        "...",
        "wéird/ñested dir/ünd 100%",
        &longest,
    ];
    for (i, name) in names.iter().enumerate() {
        let ran = home.feed(format!("content {i}").as_bytes(), ["put", "-", "--", name]);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{name}: {ran:?}");
    }
    for (i, name) in names.iter().enumerate() {
        assert_eq!(home.ok(["cat", "--", name]), format!("content {i}"), "{name}");
        // Literally that file, whoever looks.
        assert_eq!(
            home.read(format!("ezdfs-data/files/{name}")),
            format!("content {i}").as_bytes()
        );
    }
    let mut listed: Vec<String> = json_lines(&home.ok(["ls", "-R", "--json", "--files-only"]))
        .iter()
        .map(|e| e["path"].as_str().unwrap().to_owned())
        .collect();
    let mut wanted = names.map(str::to_owned).to_vec();
    listed.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(listed, wanted);
    // Every line of ls names a path that other commands take.
    for line in home.ok(["ls"]).lines().filter(|l| !l.ends_with('/')) {
        home.ok(["stat", "--", line]);
    }
    for name in names {
        home.ok(["rm", "--", name]);
    }
    assert_eq!(home.ok(["ls", "-R", "--files-only"]), "");
}

#[test]
fn listings_are_in_byte_order() {
    let home = Home::new();
    for name in ["b", "a", "B", "é", "z", "a-", "a/x"] {
        if name != "a" {
            home.put(name, "");
        }
    }
    assert_eq!(home.ok(["ls"]), "B\na/\na-\nb\nz\né\n");
}

#[test]
fn a_file_is_no_directory() {
    let home = Home::new();
    home.put("a", "a");
    home.put("d/x", "x");
    home.fails(1, ["put", "/dev/null", "a/b"]);
    home.fails(1, ["cat", "d"]);
    home.fails(2, ["cat", "d/"]);
    home.fails(1, ["stat", "a/"]);
    home.fails(1, ["touch", "d"]);
    home.fails(1, ["get", "/"]);
    let ran = home.feed(b"", ["put", "-", "d"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert_eq!(home.cat("a") + &home.cat("d/x"), "ax");
}
