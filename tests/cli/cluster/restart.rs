//! A database server that is killed and comes back.

use ezdfs_testkit::OwnServer;
use ezdfs_testkit::skip::skipped;

use super::serving::only_errors;
use super::*;

#[test]
fn mariadb_that_is_killed_and_comes_back() {
    a_server_that_is_killed_and_comes_back(ServerKind::Mariadb);
}

#[test]
fn postgres_that_is_killed_and_comes_back() {
    a_server_that_is_killed_and_comes_back(ServerKind::Postgres);
}

fn a_server_that_is_killed_and_comes_back(kind: ServerKind) {
    let dir = tempfile::tempdir().unwrap();
    let mut server = match OwnServer::start(kind, dir.path()) {
        Ok(server) => server,
        Err(why) => return skipped("a test that kills a database server", &why),
    };
    let site = Site::installed(server.database());
    let home = &site.home;
    let [kept, hidden] = ["images/1/kept.txt", "images/1/hidden.txt"];
    let text = Answer::Whole(b"text".to_vec());
    let node = Serving::start(home);
    for id in [kept, hidden] {
        home.put(id, "text");
        wait_for("the file", || ask(&node, id) == text);
        warm(&node, id, &text);
    }
    let again = server.kill();
    let last = now() + MAX_STALENESS;
    only_errors(&node, kept, &text, last);
    assert!(home.fails(1, ["ls"]).contains("cannot connect"));

    server.revive(again, &site.database);
    wait_for("the database", || home.run(["ls"]).code == 0);
    let php = Php::of(&site);
    php.soft_delete(hidden);
    for (id, expected) in [(kept, &text), (hidden, &Answer::Missing)] {
        wait_for("the end of the outage", || match ask(&node, id) {
            Answer::Failed => false,
            answer => {
                assert!(answer == *expected, "{id}: {answer:?}");
                true
            }
        });
        warm(&node, id, expected);
    }
    home.put(hidden, "new");
    wait_for("the new version", || ask(&node, hidden) == Answer::Whole(b"new".to_vec()));
    home.ok(["status"]);
    node.stop();
    // It is dropped while there is a server.
    drop(site);
}

/// With `store.stale_if_error`: what was last known is answered with its mark, anything else is an
/// error at once, and afterwards nothing is left of either.
#[test]
fn while_mariadb_is_away_what_was_last_known_is_answered_and_marked() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = match OwnServer::start(ServerKind::Mariadb, dir.path()) {
        Ok(server) => server,
        Err(why) => return skipped("a test that kills a database server", &why),
    };
    let site = Site::installed(server.database());
    let home = &site.home;
    let toml = String::from_utf8(home.read("ezdfs.toml")).unwrap();
    home.write("ezdfs.toml", format!("[store]\nstale_if_error = \"10m\"\n{toml}"));
    let [known, unknown] = ["images/1/known.txt", "images/1/unknown.txt"];
    home.put(known, "text");
    home.put(unknown, "text");
    let node = Serving::start(home);
    warm(&node, known, &Answer::Whole(b"text".to_vec()));
    let answer = http::get(node.assets, &url(known));
    assert_eq!((answer.header("cache-status"), answer.header("age")), (Some("ezdfs; hit"), None));

    let again = server.kill();
    wait_for("a marked answer", || {
        let answer = http::get(node.assets, &url(known));
        assert_eq!((answer.status, &*answer.body), (200, &b"text"[..]), "{answer:?}");
        answer.header("cache-status").is_some_and(|mark| mark.contains("stale-if-error"))
    });
    for method in ["GET", "HEAD"] {
        let answer = http::request(node.assets, method, &url(known), &[]);
        let mark = answer.header("cache-status").unwrap();
        let age = answer.header("age").unwrap();
        assert_eq!(mark, format!("ezdfs; hit; ttl=-{age}; detail=stale-if-error"), "{answer:?}");
    }
    let began = now();
    for _ in 0..20 {
        let answer = http::get(node.assets, &url(unknown));
        assert_eq!(answer.status, 503, "{answer:?}");
    }
    let took = now() - began;
    assert!(took < Duration::from_secs(10), "20 errors took {took:?}");

    server.revive(again, &site.database);
    wait_for("the end of the outage", || http::get(node.assets, &url(unknown)).status == 200);
    wait_for("an answer without a mark", || {
        let answer = http::get(node.assets, &url(known));
        !answer.header("cache-status").is_some_and(|mark| mark.contains("stale-if-error"))
    });
    home.put(known, "newer");
    wait_for("the new version", || ask(&node, known) == Answer::Whole(b"newer".to_vec()));
    node.stop();
    drop(site);
}
