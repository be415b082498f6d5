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
    only_errors(&node, kept, Some(&text), last);
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
