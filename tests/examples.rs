//! The configuration files in examples/.

use std::path::{Path, PathBuf};

use crate::cli::Home;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

#[test]
fn every_example_is_a_valid_configuration() {
    let home = Home::new();
    let mut checked = 0;
    for entry in std::fs::read_dir(example("")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "toml") {
            home.ok(["config", "check", "--config", path.to_str().unwrap()]);
            checked += 1;
        }
    }
    assert!(checked >= 2, "{checked} examples");
}

#[test]
fn the_default_example_changes_nothing() {
    let home = Home::new();
    let file = example("ezdfs.toml");
    let file = file.to_str().unwrap();
    let defaults = home.ok(["config", "show", "--json"]);
    assert_eq!(home.ok(["config", "show", "--json", "--config", file]), defaults);
}

#[test]
fn the_default_example_names_every_default() {
    let file = example("ezdfs.toml");
    let text = Home::new().ok(["config", "show", "--config", file.to_str().unwrap()]);
    assert!(text.contains(" # line "), "{text}");
    // Where the cache is depends on the data directory.
    let is_left_out = |line: &&str| line.ends_with(" # default") && !line.starts_with("dir = ");
    let left_out: Vec<&str> = text.lines().filter(is_left_out).collect();
    assert_eq!(left_out, [] as [&str; 0], "keys that examples/ezdfs.toml leaves out");
}
