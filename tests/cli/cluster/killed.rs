//! `put` that is killed in the middle, with a database on a server.

use super::super::json_lines;
use super::*;

on_both! {
    a_put_killed_between_bytes_and_row_is_finished,
    puts_killed_anywhere_leave_old_or_new,
}

/// Ends what waits for a lock in this database.
pub(super) fn end_waiting(site: &Site) {
    site.database.run(match site.database.kind() {
        ServerKind::Mariadb => {
            "BEGIN NOT ATOMIC FOR c IN (SELECT id FROM information_schema.processlist \
             WHERE db = DATABASE() AND command <> 'Sleep' AND id <> CONNECTION_ID()) \
             DO KILL c.id; END FOR; END"
        }
        ServerKind::Postgres => {
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND wait_event_type = 'Lock'"
        }
    });
}

/// How many connections work in this database, beside the one that asks.
pub(super) fn working(site: &Site) -> &'static str {
    match site.database.kind() {
        ServerKind::Mariadb => {
            "SELECT count(*) FROM information_schema.processlist \
             WHERE db = DATABASE() AND id <> CONNECTION_ID() AND command <> 'Sleep'"
        }
        ServerKind::Postgres => {
            "SELECT count(*) FROM pg_stat_activity \
             WHERE datname = current_database() AND wait_event_type = 'Lock'"
        }
    }
}

/// The bytes are in place, and the row waits for a transaction of another program.
fn a_put_killed_between_bytes_and_row_is_finished(database: TestDatabase) {
    let site = Site::installed(database);
    let (home, php) = (&site.home, Php::of(&site));
    let id = "images/1/a.txt";
    let file = home.path().join("ezdfs-data/files").join(id);
    let other = php.runtime.block_on(Session::open(&site.database));
    for (round, command) in [&["cat", id][..], &["gc"], &["put", "last", id]].iter().enumerate() {
        let (old, new) = ("o".repeat(40_000 + round), "n".repeat(60_000 + round));
        home.write("old", &old);
        home.write("new", &new);
        home.write("last", "last");
        home.ok(["put", "old", id]);
        php.runtime.block_on(async {
            other.run("BEGIN").await;
            let name = format!("{PREFIX}/{id}");
            let lock =
                format!("SELECT size FROM {TABLE} WHERE name_hash = MD5('{name}') FOR UPDATE");
            other.run(&lock).await;
        });
        let mut child = home.start(["put", "new", id]);
        wait_for("the new bytes in place", || {
            std::fs::metadata(&file).unwrap().len() == u64::try_from(new.len()).unwrap()
        });
        wait_for("the row's turn", || php.runtime.block_on(other.number(working(&site))) == 1);
        child.kill().unwrap();
        child.wait().unwrap();
        end_waiting(&site);
        wait_for("the end of its connection", || {
            php.runtime.block_on(other.number(working(&site))) == 0
        });
        php.runtime.block_on(other.run("ROLLBACK"));
        assert_eq!(php.size(id), u64::try_from(old.len()).unwrap(), "half a publish");

        let ran = home.run(*command);
        assert_eq!(ran.code, 0, "{ran:?}");
        match command[0] {
            "cat" => assert_eq!(ran.out, new),
            "gc" => {
                assert_eq!(php.size(id), u64::try_from(new.len()).unwrap(), "gc finished it");
                assert_eq!(home.cat(id), new);
            }
            _ => assert_eq!(home.cat(id), "last"),
        }
        assert_eq!(php.size(id), u64::try_from(php.contents(id).len()).unwrap());
    }
    clean(home);
}

fn puts_killed_anywhere_leave_old_or_new(database: TestDatabase) {
    let site = Site::installed(database);
    let (home, php) = (&site.home, Php::of(&site));
    let (old, new) = ("o".repeat(70_000), "n".repeat(90_000));
    home.write("old", &old);
    home.write("new", &new);
    // How long it takes when nobody kills it.
    let started = now();
    home.ok(["put", "new", "images/x"]);
    let whole = now() - started;
    let kills = 14;
    for i in 0..kills {
        // A path of its own, which does not exist, and one that does.
        let (fresh, id) = (format!("images/{i}"), "images/x");
        home.ok(["put", "old", id]);
        let mut children = [home.start(["put", "new", id]), home.start(["put", "new", &fresh])];
        std::thread::sleep(whole * 2 * i / kills);
        for child in &mut children {
            child.kill().unwrap();
        }
        let acknowledged = children.map(|mut child| child.wait().unwrap().success());
        if i % 2 == 0 {
            home.ok(["gc"]);
        }
        let text = home.cat(id);
        assert!(text == new || (text == old && !acknowledged[0]), "{i}: {} bytes", text.len());
        assert_eq!(php.size(id), u64::try_from(text.len()).unwrap(), "PHP sees the same");
        let ran = home.run(["cat", &fresh]);
        let is_new = ran.code == 0 && ran.out == new;
        assert!(is_new || (ran.code == 1 && !acknowledged[1]), "{i}: {}", ran.err);
        assert!(is_new || ran.err.contains("does not exist"), "{i}: {}", ran.err);
    }
    clean(home);
}

/// Nothing is held, staged or amiss.
fn clean(home: &Home) {
    wait_for("the end of all work", || {
        home.ok(["gc", "--staging-age", "0s"]);
        let status = &json_lines(&home.ok(["status", "--json"]))[0];
        home.staged() == 0 && status["figures"]["held"] == 0
    });
}
