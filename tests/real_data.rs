//! The main job on a tree that nobody here made: an icon theme of Debian. `scripts/test` fetches it
//! and names it in `EZDFS_TEST_TREE`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::cli::Home;
use crate::cli::serve::Serving;
use crate::common::http;

/// The parts of the theme that are migrated: more than 10,000 files in a minute of debug build.
const PARTS: [&str; 3] = ["ePapirus", "ePapirus-Dark", "Papirus-Light"];
/// At least so many files, or the tree is not what it should be.
const ENOUGH: usize = 10_000;

/// Digests of the regular files below `root`, and the paths of everything else but directories.
#[derive(Default)]
struct Tree {
    files: BTreeMap<String, String>,
    links: BTreeSet<String>,
}

impl Tree {
    fn read(root: &Path) -> Self {
        let mut tree = Self::default();
        for part in PARTS {
            tree.walk(root, &root.join(part));
        }
        tree
    }

    fn walk(&mut self, root: &Path, dir: &Path) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if meta.is_dir() {
                self.walk(root, &path);
            } else if meta.is_file() {
                self.files.insert(name, digest(&std::fs::read(&path).unwrap()));
            } else {
                self.links.insert(name);
            }
        }
    }
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The tree, or `None` after saying so where it is missing.
#[expect(clippy::print_stderr, reason = "a skipped test says so, loudly")]
fn tree() -> Option<PathBuf> {
    let tree = std::env::var_os("EZDFS_TEST_TREE").map(PathBuf::from);
    if tree.is_none() {
        assert_ne!(
            std::env::var("EZDFS_REQUIRE").as_deref(),
            Ok("all"),
            "EZDFS_TEST_TREE is unset"
        );
        eprintln!(
            "SKIPPED: the real-data test, because EZDFS_TEST_TREE is unset (see scripts/test)"
        );
    }
    tree
}

fn migrate(report: &str) -> Vec<String> {
    let mut args = vec!["migrate-files".to_owned(), "-n".to_owned(), "--report".to_owned()];
    args.push(report.to_owned());
    for part in PARTS {
        args.extend(["--include".to_owned(), format!("{part}/**")]);
    }
    args
}

/// The report as path → symbol; every path once.
fn report(home: &Home, name: &str) -> BTreeMap<String, char> {
    let text = String::from_utf8(home.read(name)).unwrap();
    let mut lines = BTreeMap::new();
    for line in text.lines() {
        let (symbol, path) = line.split_once(' ').expect("symbol, space, path");
        let twice = lines.insert(path.to_owned(), symbol.chars().next().unwrap());
        assert_eq!(twice, None, "{path} is reported twice");
    }
    lines
}

/// Inode and mtime of every stored object: a copy would change them.
fn objects(home: &Home) -> BTreeMap<PathBuf, (u64, i64, i64)> {
    let mut found = BTreeMap::new();
    let mut todo = vec![home.path().join("ezdfs-data/files")];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            if meta.is_dir() {
                if !path.ends_with(".ezdfs") {
                    todo.push(path);
                }
            } else {
                found.insert(path, (meta.ino(), meta.mtime(), meta.mtime_nsec()));
            }
        }
    }
    found
}

/// Kills the migration when so many objects are in place; `false` if it ended before.
fn kill_at(home: &Home, objects_in_place: usize) -> bool {
    let mut command = home.command(migrate("killed"));
    // Nobody reads while we watch.
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    for _ in 0..15_000 {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if home.path().join("ezdfs-data/files").exists() && objects(home).len() >= objects_in_place
        {
            child.kill().unwrap();
            child.wait().unwrap();
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the migration does not come to {objects_in_place} objects in five minutes");
}

#[test]
fn a_real_tree_survives_kills_is_copied_once_and_answers_byte_for_byte() {
    let Some(root) = tree() else { return };
    let source = Tree::read(&root);
    assert!(
        source.files.len() >= ENOUGH,
        "only {} files in {}",
        source.files.len(),
        root.display()
    );
    let home = Home::configured(&format!(
        "[store]\ndefault_root = {:?}\n[serve]\npublic = {PARTS:?}\naccess_log = \"off\"\n",
        root.to_str().unwrap()
    ));

    // kill -9 in the middle, several times; what is in place then must never be copied again.
    let mut in_place = BTreeMap::new();
    for at in [50, 1_000, 3_000] {
        assert!(kill_at(&home, at), "killed before the end");
        let now = objects(&home);
        let in_flight = in_place.iter().filter(|(path, id)| now.get(*path) != Some(id)).count();
        assert!(in_flight <= 64, "{in_flight} files were copied again after a kill");
        in_place = now;
    }
    let resumed = home.run(migrate("report"));
    assert_eq!(resumed.code, 3, "symbolic links are reported, all else is done: {resumed:?}");
    let done = report(&home, "report");
    for path in source.files.keys() {
        assert!(matches!(done.get(path), Some('+' | '=')), "{path}: {:?}", done.get(path));
    }
    for path in &source.links {
        assert_eq!(done.get(path), Some(&'!'), "{path}");
    }
    assert_eq!(done.len(), source.files.len() + source.links.len());
    let again = done.values().filter(|s| **s == '=').count();
    assert!(again <= 3 * 64, "{again} files were looked at again after 3 kills");

    // Everything is there, byte for byte: the fetched copy, and over HTTP.
    let stored = objects(&home);
    assert_eq!(stored.len(), source.files.len());
    home.ok(["get", "-r", "/", "fetched"]);
    assert_eq!(Tree::read(&home.path().join("fetched")).files, source.files);
    every_file_over_http(&home, &source);

    // A second pass copies nothing.
    let second = home.run(migrate("second"));
    assert_eq!(second.code, 3, "{second:?}");
    let second = report(&home, "second");
    assert_eq!(second.values().filter(|s| **s == '=').count(), source.files.len());
    assert_eq!(objects(&home), stored);
    assert_eq!(Tree::read(&root).files, source.files, "the source is untouched");
    let status = home.run(["gc", "--staging-age", "0s"]);
    assert_eq!(status.code, 0, "{status:?}");
    assert_eq!(home.staged(), 0);
}

fn every_file_over_http(home: &Home, source: &Tree) {
    let server = Serving::start(home);
    let address: SocketAddr = server.assets;
    let files: Vec<(&String, &String)> = source.files.iter().collect();
    let chunk = files.len().div_ceil(4);
    std::thread::scope(|scope| {
        for part in files.chunks(chunk) {
            scope.spawn(move || {
                for (path, expected) in part {
                    let target = format!("/var/site/storage/{}", http::encode(path));
                    let answer = http::get(address, &target);
                    assert_eq!(answer.status, 200, "{path}");
                    assert_eq!(digest(&answer.body), **expected, "{path}");
                    let etag = format!("\"{expected}\"");
                    assert_eq!(answer.header("etag"), Some(etag.as_str()), "{path}");
                }
            });
        }
    });
    server.stop();
}
