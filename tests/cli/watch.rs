//! watch: changes as they happen, as NDJSON.

use std::io::{BufRead as _, BufReader};
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Home, Ran};

pub(super) struct Watching {
    child: Child,
    lines: Receiver<String>,
}

impl Watching {
    pub(super) fn start(home: &Home, args: &[&str]) -> Self {
        let mut child = home.start([&["watch"], args].concat());
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    pub(super) fn next(&self) -> Value {
        let line = self.lines.recv_timeout(Duration::from_secs(20)).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    pub(super) fn nothing(&self) {
        let line = self.lines.recv_timeout(Duration::from_millis(400));
        assert!(line.is_err(), "{line:?}");
    }

    pub(super) fn end(self, signal: Signal) -> Ran {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        Ran::of(self.child.wait_with_output().unwrap())
    }
}

/// What a line says, without number, origin and time.
pub(super) fn what(line: &Value) -> (String, String) {
    (line["op"].as_str().unwrap().to_owned(), line["path"].as_str().unwrap().to_owned())
}

pub(super) fn pair(op: &str, path: &str) -> (String, String) {
    (op.to_owned(), path.to_owned())
}

/// What has happened up to now, and the number of the last change.
pub(super) fn so_far(home: &Home, args: &[&str], count: usize) -> (Vec<Value>, u64) {
    let watching = Watching::start(home, args);
    let lines: Vec<Value> = (0..count).map(|_| watching.next()).collect();
    watching.nothing();
    let ran = watching.end(Signal::TERM);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    let last = lines.iter().filter_map(|l| l["seq"].as_u64()).max().unwrap_or_default();
    (lines, last)
}

#[test]
fn changes_are_printed_as_they_happen() {
    let home = Home::new();
    home.put("images/a", "1");
    let watching = Watching::start(&home, &["--since", "0"]);
    let first = watching.next();
    assert_eq!(what(&first), pair("insert", "images/a"));
    assert!(first["origin"].as_str().unwrap().contains("pid"), "{first}");
    let at = first["at"].as_str().unwrap();
    assert!(at.starts_with("20") && at.ends_with('Z'), "{at}");

    home.put("images/a", "2");
    let second = watching.next();
    assert_eq!(what(&second), pair("update", "images/a"));
    assert!(second["seq"].as_u64() > first["seq"].as_u64());
    home.put("images/b \"c\"", "3");
    assert_eq!(what(&watching.next()), pair("insert", "images/b \"c\""));
    home.ok(["rm", "images/a"]);
    assert_eq!(what(&watching.next()), pair("delete", "images/a"));
    watching.nothing();
    let ran = watching.end(Signal::INT);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
}

#[test]
fn since_goes_on_where_one_ended() {
    let home = Home::new();
    home.put("a", "1");
    let (_, last) = so_far(&home, &["--since", "0"], 1);
    home.put("b", "1");
    home.put("c", "1");
    let (lines, _) = so_far(&home, &["--since", &last.to_string()], 2);
    assert_eq!(
        lines.iter().map(what).collect::<Vec<_>>(),
        [pair("insert", "b"), pair("insert", "c")]
    );
    // Without it nothing of the past is shown.
    so_far(&home, &[], 0);
}

#[test]
fn a_prefix_is_a_directory_or_a_file() {
    let home = Home::new();
    for path in ["images/1/a", "images/10/a", "images/1/b/c", "x"] {
        home.put(path, "1");
    }
    for (prefix, expected) in [
        ("images/1", &["images/1/a", "images/1/b/c"][..]),
        ("images/1/", &["images/1/a", "images/1/b/c"]),
        ("images/1/a", &["images/1/a"]),
        ("/", &["images/1/a", "images/10/a", "images/1/b/c", "x"]),
        ("none", &[]),
    ] {
        let (lines, _) = so_far(&home, &["--since", "0", "--prefix", prefix], expected.len());
        let paths: Vec<String> = lines.iter().map(|l| what(l).1).collect();
        assert_eq!(paths, expected, "{prefix}");
    }
}

#[test]
fn a_gap_and_names_that_are_no_paths_are_told() {
    let home = Home::new();
    home.put("a", "1");
    home.put("b", "1");
    let db = sql(&home);
    db("DELETE FROM ezdfs_change");
    let row = |name: &str| {
        format!(
            "INSERT INTO ezdfsfile (name, name_trunk, name_hash, mtime) \
             VALUES ('{name}', '{name}', 'h-{name}', 1)"
        )
    };
    db(&row("var/site/storage/a//b"));
    db(&row("elsewhere/c"));
    let (lines, _) = so_far(&home, &["--since", "1"], 2);
    assert_eq!(lines[0], serde_json::json!({"lost": true}));
    assert_eq!(
        (&lines[1]["name"], &lines[1]["origin"]),
        (&"var/site/storage/a//b".into(), &Value::Null)
    );
    assert!(lines[1].get("path").is_none());
}

/// Statements of a program that is not ezdfs.
fn sql(home: &Home) -> impl Fn(&str) {
    let file = home.path().join("ezdfs-data/ezdfs.db");
    move |statement| {
        use sqlx::ConnectOptions as _;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file);
            let mut conn = options.connect().await.unwrap();
            let statement = sqlx::AssertSqlSafe(statement.to_owned());
            sqlx::raw_sql(statement).execute(&mut conn).await.unwrap();
        });
    }
}

#[test]
fn a_reader_that_leaves_ends_it() {
    let home = Home::new();
    home.put("a", "1");
    let mut child = home.start(["watch", "--since", "0"]);
    drop(child.stdout.take());
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
}

#[test]
fn without_a_table_there_is_nothing_to_watch() {
    let home = Home::configured(
        "[store]\nmetadata = \"default\"\nbinarydata = \"default\"\n\
         default_root = \"/tmp\"\n",
    );
    let err = home.fails(1, ["watch"]);
    assert!(err.contains("no change feed"), "{err}");
}
