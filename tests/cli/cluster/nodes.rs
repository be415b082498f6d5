//! Several nodes that clean up at once, and the list of those that serve.

use rustix::process::Signal;

use super::super::{Ran, json_lines};
use super::*;

on_both! {
    nodes_that_clean_up_at_once_do_everything_once,
    status_lists_the_servers,
}

/// Files of each kind.
const FILES: usize = 40;

fn nodes_that_clean_up_at_once_do_everything_once(database: TestDatabase) {
    let site = Site::installed(database);
    let (home, php) = (&site.home, Php::of(&site));
    let host = format!("{}:{}", site.database.host(), site.database.port());
    site.configure(&host, TABLE, "[store]\ndelete_grace = \"0s\"\n");
    for n in 0..FILES {
        home.write(format!("gone/{n}"), n.to_string());
        home.write(format!("over/{n}"), n.to_string());
    }
    home.ok(["put", "-r", "gone", "images/gone"]);
    home.ok(["put", "-r", "over", "images/over", "--expires", "+1"]);
    home.ok(["rm", "-r", "images/gone"]);
    for n in 0..FILES {
        php.create(&format!("images/php/{n}"), b"by PHP");
    }
    // The files whose time is over are over.
    wait_for("the end of a file", || home.run(["stat", "images/over/0"]).code == 1);

    let gcs: Vec<_> = (0..3).map(|_| home.start(["gc", "--json"])).collect();
    let done: Vec<Value> = gcs
        .into_iter()
        .map(|gc| {
            let ran = Ran::of(gc.wait_with_output().unwrap());
            assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
            json_lines(&ran.out)[0].clone()
        })
        .collect();
    let sum = |what: &str| done.iter().map(|gc| gc[what].as_u64().unwrap()).sum::<u64>();
    let files = u64::try_from(FILES).unwrap();
    assert_eq!((sum("expired"), sum("failed")), (files, 0), "{done:?}");
    // What one of them hid may be left for the next round.
    let last = &json_lines(&home.ok(["gc", "--json"]))[0];
    let last = last["reaped"].as_u64().unwrap();
    assert_eq!(sum("reaped") + last, 2 * files, "{done:?}, then {last}");
    let files = home.path().join("ezdfs-data/files");
    for gone in ["images/gone", "images/over", ".ezdfs/limbo"] {
        let left = std::fs::read_dir(files.join(gone)).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{gone}");
    }
    assert_eq!(home.ok(["ls", "images/php"]).lines().count(), FILES);
    let status = &json_lines(&home.ok(["status", "--json"]))[0];
    for what in ["held", "reaps", "feed_lag", "hidden"] {
        assert_eq!(status["figures"][what], 0, "{status}");
    }
}

fn status_lists_the_servers(database: TestDatabase) {
    let site = Site::installed(database);
    let home = &site.home;
    let nodes = || {
        let status = json_lines(&home.ok(["status", "--json"])).remove(0);
        status["nodes"].as_array().cloned().unwrap_or_default()
    };
    assert_eq!(nodes(), Vec::<Value>::new());
    let (first, second) = (Serving::start(home), Serving::start(home));
    wait_for("both servers", || nodes().len() == 2);
    home.put("images/a.txt", "text");
    wait_for("the change", || {
        nodes().iter().all(|node| {
            node["alive"] == true
                && node["feed_lag"] == 0
                && node["version"] == env!("CARGO_PKG_VERSION")
        })
    });
    let text = home.ok(["status"]);
    let lines = text.lines().filter(|line| line.starts_with("node ") && line.contains("alive"));
    assert_eq!(lines.count(), 2, "{text}");

    first.stop();
    wait_for("the end of one", || nodes().len() == 1);
    second.kill(Signal::KILL);
    wait_for("the end of its lease", || nodes()[0]["alive"] == false);
    assert!(home.ok(["status"]).contains("DEAD"), "it is shown, and is no problem by itself");
}
