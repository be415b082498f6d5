//! The cache on disk: what serve and commands read from it, and warmup.

use std::path::PathBuf;

use super::serve::{Serving, get};
use super::{Home, wait_for};

const CACHED: &str = "[cache]\nenabled = \"on\"\nmin_free = \"0B\"\nmemory = \"0B\"\n";

fn url(path: &str) -> String {
    format!("/var/site/storage/{path}")
}

fn status(serving: &Serving) -> serde_json::Value {
    serde_json::from_str(&get(serving.admin, "/v1/status").1).unwrap()
}

/// A server whose feed is fresh.
fn serving(home: &Home) -> Serving {
    let serving = Serving::start(home);
    wait_for("a fresh feed", || status(&serving)["memory"]["fresh"] == true);
    serving
}

/// The bytes of the store, moved out of the way.
fn away(home: &Home) -> (PathBuf, PathBuf) {
    let data = home.path().join("ezdfs-data");
    (data.join("files/images"), data.join("away"))
}

#[test]
fn a_server_answers_from_its_cache_while_the_bytes_are_away() {
    let home = Home::configured(CACHED);
    home.put("images/kept.txt", "kept");
    home.put("images/other.txt", "other");
    let serving = serving(&home);
    assert_eq!(get(serving.assets, &url("images/kept.txt")), (200, "kept".to_owned()));
    let (there, away) = away(&home);
    std::fs::rename(&there, &away).unwrap();
    assert_eq!(get(serving.assets, &url("images/kept.txt")), (200, "kept".to_owned()));
    assert_ne!(get(serving.assets, &url("images/other.txt")).0, 200);
    std::fs::rename(&away, &there).unwrap();
    wait_for("the other file", || get(serving.assets, &url("images/other.txt")).0 == 200);
    let cache = status(&serving)["cache"].clone();
    assert_eq!((&cache["errors"], &cache["size"]), (&0.into(), &(10_u64 << 30).into()), "{cache}");
    assert!(cache["hits"].as_u64() >= Some(1), "{cache}");
    // What replaces it is served, and the cache may go at any time.
    home.put("images/kept.txt", "newer");
    wait_for("the new version", || get(serving.assets, &url("images/kept.txt")).1 == "newer");
    std::fs::remove_dir_all(home.path().join("ezdfs-data/cache")).unwrap();
    assert_eq!(get(serving.assets, &url("images/kept.txt")), (200, "newer".to_owned()));
    serving.stop();
}

#[test]
fn warmup_fills_the_cache_that_a_server_uses() {
    let home = Home::configured(CACHED);
    for n in 0..20 {
        home.write(format!("t/{n}/a.txt"), format!("file {n}"));
    }
    home.write("t/large.bin", vec![7; 3 << 20]);
    home.ok(["put", "-r", "t", "images"]);
    let json = |out: String| serde_json::from_str::<serde_json::Value>(&out).unwrap();
    let first = json(home.ok(["warmup", "--json", "images/3"]));
    assert_eq!(
        (&first["files"], &first["fetched"], &first["bytes"]),
        (&1.into(), &1.into(), &6.into())
    );
    let all = json(home.ok(["warmup", "--json", "--jobs", "4", "/"]));
    assert_eq!(
        (&all["files"], &all["fetched"], &all["present"]),
        (&21.into(), &20.into(), &1.into())
    );
    assert!(
        home.ok(["warmup", "/"]).starts_with("21 files: 0 fetched (0 B), 21 present, 0 not kept")
    );

    let text = home.ok(["status", "--json"]);
    let cache = json(text)["cache"].clone();
    assert_eq!(cache["files"], 20 + 3, "{cache}");
    assert!(cache["dir"].as_str().unwrap().ends_with("ezdfs-data/cache"), "{cache}");

    let serving = serving(&home);
    let (there, away) = away(&home);
    std::fs::rename(&there, away).unwrap();
    for n in 0..20 {
        let at = url(&format!("images/{n}/a.txt"));
        assert_eq!(get(serving.assets, &at), (200, format!("file {n}")));
    }
    let (code, body) = get(serving.assets, &url("images/large.bin"));
    assert!(code == 200 && body.len() == 3 << 20);
    let cache = status(&serving)["cache"].clone();
    assert_eq!((&cache["hits"], &cache["misses"]), (&21.into(), &0.into()), "{cache}");
    serving.stop();
}

#[test]
fn warmup_names_what_fails_and_goes_on() {
    let home = Home::configured(CACHED);
    home.put("images/a", "a");
    home.put("images/b", "b");
    std::fs::remove_file(home.path().join("ezdfs-data/files/images/b")).unwrap();
    let ran = home.run(["warmup", "images", "none"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.err.contains("images/b") && ran.err.contains("`none` does not exist"), "{ran:?}");
    assert!(ran.out.starts_with("3 files: 1 fetched (1 B), 0 present, 0 not kept, 2 failed"));
    home.fails(1, ["warmup", "none"]);
    home.fails(2, ["warmup"]);
    home.fails(2, ["warmup", "--jobs", "0", "/"]);
}

#[test]
fn warmup_of_a_local_store_says_that_nothing_is_cached() {
    let home = Home::new();
    home.put("images/a", "a");
    let ran = home.run(["warmup", "--json", "images"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.contains("nothing is cached") && ran.err.contains("`nfs`"), "{ran:?}");
    assert!(ran.out.contains("\"enabled\":false"), "{ran:?}");
    home.cat("images/a");
    assert!(!home.path().join("ezdfs-data/cache").exists());
}

#[test]
fn commands_read_from_the_cache() {
    let home = Home::configured(CACHED);
    home.put("images/a", "first");
    for _ in 0..2 {
        assert_eq!(home.cat("images/a"), "first");
    }
    assert_eq!(home.ok(["get", "images/a", "-"]), "first");
    let files = || {
        let status: serde_json::Value =
            serde_json::from_str(&home.ok(["status", "--json"])).unwrap();
        status["cache"]["files"].clone()
    };
    assert_eq!(files(), 1);
    home.put("images/a", "second");
    assert_eq!(home.cat("images/a"), "second");
    assert_eq!(files(), 2);
}
