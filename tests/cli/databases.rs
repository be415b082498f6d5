//! Databases on servers: from `schema install` to `schema uninstall`, and what goes wrong.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ezdfs_core::{Clock as _, SystemClock};
use ezdfs_testkit::servers::{ServerKind, TestDatabase};

use super::{Home, Ran, json_lines};

/// Each test on a MariaDB and on a PostgreSQL server.
macro_rules! on_both {
    ($($test:ident),+ $(,)?) => {
        mod mariadb {
            use ezdfs_testkit::servers::{MariaVariant, TestDatabase};
            $(#[test] fn $test() {
                if let Some(database) = TestDatabase::mariadb(MariaVariant::default()) {
                    super::$test(database);
                }
            })+
        }
        mod postgres {
            use ezdfs_testkit::servers::{PostgresVariant, TestDatabase};
            $(#[test] fn $test() {
                if let Some(database) = TestDatabase::postgres(PostgresVariant::default()) {
                    super::$test(database);
                }
            })+
        }
    };
}
pub(super) use on_both;

on_both!(
    a_store_from_installation_to_removal,
    a_site_moves_in_and_out,
    rows_of_php_show,
    nothing_happens_before_the_installation,
    a_wrong_password,
    hosts_that_are_away,
    passwords_are_never_shown,
    a_degraded_feed_is_told,
    handlers_of_one_table_do_not_overlap,
);

/// A home whose store is in that database.
pub(super) struct Site {
    pub(super) home: Home,
    pub(super) database: TestDatabase,
    scheme: &'static str,
}

impl Site {
    pub(super) fn new(database: TestDatabase, table: &str) -> Self {
        let scheme = match database.kind() {
            ServerKind::Mariadb => "mysql",
            ServerKind::Postgres => "postgresql",
        };
        let site = Self { home: Home::new(), database, scheme };
        site.home.write("password", format!("{}\n", site.database.password()));
        let host = format!("{}:{}", site.database.host(), site.database.port());
        site.configure(&host, table, "");
        site
    }

    pub(super) fn configure(&self, hosts: &str, table: &str, more: &str) {
        let Self { home, database, scheme } = self;
        let toml = format!(
            "[metadata_handlers.dfs]\nurl = \"{scheme}://{}@{hosts}/{}\"\n\
             password = {{ file = \"{}\" }}\ntable = \"{table}\"\n{more}",
            database.user(),
            database.database(),
            home.path().join("password").display(),
        );
        home.write("ezdfs.toml", toml);
    }

    pub(super) fn installed(database: TestDatabase) -> Self {
        let site = Self::new(database, "ezdfsfile");
        site.home.ok(["schema", "install"]);
        site
    }

    /// Makes PHP's row of a file, and the file.
    fn php(&self, table: &str, path: &str, text: &str) {
        let name = format!("var/site/storage/{path}");
        self.home.write(Path::new("ezdfs-data/files").join(path), text);
        self.database.run(&format!(
            "INSERT INTO {table} (name, name_trunk, name_hash, scope, size, mtime, datatype) \
             VALUES ('{name}', '{name}', MD5('{name}'), 'images', {}, 1700000000, 'text/plain')",
            text.len(),
        ));
    }
}

/// A port of this machine on which nobody listens.
fn dead_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn problems(ran: &Ran) -> Vec<&str> {
    ran.out.lines().filter(|line| line.starts_with("PROBLEM: ")).collect()
}

fn a_store_from_installation_to_removal(database: TestDatabase) {
    let table = "ibexa_dfs_file";
    let site = Site::new(database, table);
    let home = &site.home;
    let ran = home.run(["schema", "check"]);
    assert_eq!((ran.code, problems(&ran).is_empty()), (4, false), "{ran:?}");
    assert!(ran.out.contains("nothing is installed; `ezdfs schema install`"), "{ran:?}");
    let installed = home.ok(["schema", "install"]);
    assert!(installed.contains("ezdfs_node") && installed.contains("installed;"), "{installed}");
    let again = home.ok(["schema", "install"]);
    assert!(again.contains("installed;") && !again.contains("made "), "{again}");
    assert!(home.ok(["schema", "check"]).contains("as it should be"));
    let found = &json_lines(&home.ok(["schema", "check", "--json"]))[0];
    assert_eq!((&found["handler"], &found["installed"]), (&"dfs".into(), &true.into()));
    assert_eq!(found["problems"], serde_json::json!([]));
    assert!(found["where"].as_str().unwrap().ends_with("table ibexa_dfs_file"), "{found}");

    home.put("images/1/a ä.txt", "first");
    home.put("images/1/b.txt", "second");
    home.write("c", "third");
    let err = home.fails(1, ["put", "c", "images/1/b.txt", "--if-none-match", "*"]);
    assert!(err.contains("images/1/b.txt"), "{err}");
    assert_eq!(home.ok(["ls", "-R"]), "images/\nimages/1/\nimages/1/a ä.txt\nimages/1/b.txt\n");
    home.ok(["get", "images/1/a ä.txt", "copy"]);
    assert_eq!(home.read("copy"), b"first");
    assert_eq!(home.stat("images/1/b.txt")["size"], 6);
    home.ok(["mv", "images/1", "images/2"]);
    home.ok(["cp", "images/2/b.txt", "images/c.txt"]);
    assert_eq!(home.cat("images/c.txt"), "second");
    home.ok(["rm", "images/2/b.txt"]);
    assert_eq!(home.ok(["ls", "-R", "--files-only"]), "images/2/a ä.txt\nimages/c.txt\n");

    let mut command = home.command(["rm", "images/c.txt"]);
    let ran = Ran::of(command.env("EZDFS__STORE__TRASH", "1h").output().unwrap());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    assert!(home.ok(["trash", "ls"]).contains("images/c.txt"));
    home.ok(["trash", "restore", "images/c.txt"]);
    assert_eq!(home.cat("images/c.txt"), "second");

    let done = &json_lines(&home.ok(["gc", "--json"]))[0];
    assert_eq!(done["failed"], 0, "{done}");
    let status = &json_lines(&home.ok(["status", "--json"]))[0];
    assert_eq!((&status["figures"]["files"], &status["figures"]["bytes"]), (&2.into(), &11.into()));
    assert_eq!(status["metadata"].get("degraded"), None);
    assert_eq!(status["feed"]["readable"], true);

    // Bytes of the deleted file are in their grace period.
    assert!(home.fails(1, ["schema", "uninstall"]).contains("--force"));
    let dropped = home.ok(["schema", "uninstall", "--force"]);
    assert!(dropped.contains("ezdfs_feed") && dropped.contains("ezdfs_node"), "{dropped}");
    assert!(home.fails(2, ["ls"]).contains("`ezdfs schema install`"));
    // The base table and the files stay; the next installation finds them.
    let installed = home.ok(["schema", "install"]);
    assert!(installed.contains("2 rows of before have their entries"), "{installed}");
    assert_eq!(home.ok(["ls", "-R", "--files-only"]), "images/2/a ä.txt\nimages/c.txt\n");
    assert_eq!(home.cat("images/2/a ä.txt"), "first");
}

/// Files below a directory and their bytes.
fn tree(dir: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let below = tree(&path).into_iter();
            let name = path.file_name().unwrap();
            found.extend(below.map(|(file, bytes)| (Path::new(name).join(file), bytes)));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            found.insert(path.file_name().unwrap().into(), bytes);
        }
    }
    found
}

fn with_root(command: &mut Command, root: &Path) -> Ran {
    Ran::of(command.env("EZDFS__STORE__DEFAULT_ROOT", root).output().unwrap())
}

fn a_site_moves_in_and_out(database: TestDatabase) {
    let site = Site::installed(database);
    let home = &site.home;
    let root = home.path().join("site");
    for i in 0..300 {
        home.write(format!("site/images/{}/Bild ö {i}.txt", i % 13), format!("content {i}"));
    }
    let into = ["migrate-files", "-n", "--from", "default,default", "--to", "dfs,nfs"];
    let dry = with_root(home.command(into).arg("--dry-run"), &root);
    assert!(dry.code == 0 && dry.out.contains("+ 300 copied"), "{dry:?}");
    assert_eq!(home.ok(["ls"]), "", "a dry run writes nothing");
    let ran = with_root(&mut home.command(into), &root);
    assert!(ran.code == 0 && ran.out.contains("+ 300 copied"), "{ran:?}");
    let again = with_root(&mut home.command(into), &root);
    assert!(again.code == 0 && again.out.contains("= 300 unchanged"), "{again:?}");
    assert_eq!(home.ok(["ls", "-R", "--files-only"]).lines().count(), 300);
    assert_eq!(home.cat("images/4/Bild ö 17.txt"), "content 17");
    home.ok(["rm", "-r", "images/4"]);

    let other = home.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let back = ["migrate-files", "-n", "--from", "dfs,nfs", "--to", "default,default"];
    let ran = with_root(&mut home.command(back), &other);
    assert!(ran.code == 0 && ran.out.contains("+ 277 copied"), "{ran:?}");
    let mut left = tree(&root);
    left.retain(|path, _| !path.starts_with("images/4"));
    let mut came = tree(&other);
    came.retain(|path, _| !path.starts_with(".ezdfs"));
    assert_eq!(came, left);
}

fn rows_of_php_show(database: TestDatabase) {
    let site = Site::installed(database);
    let home = &site.home;
    home.put("images/own.txt", "own");
    site.php("ezdfsfile", "images/1/php.txt", "by PHP");
    assert_eq!(home.cat("images/1/php.txt"), "by PHP");
    assert_eq!(home.ok(["ls", "-R", "--files-only"]), "images/1/php.txt\nimages/own.txt\n");
    site.database.run("DELETE FROM ezdfsfile WHERE name LIKE '%php.txt'");
    assert_eq!(home.ok(["ls", "-R", "--files-only"]), "images/own.txt\n");
    assert!(home.fails(1, ["cat", "images/1/php.txt"]).contains("images/1/php.txt"));
}

fn nothing_happens_before_the_installation(database: TestDatabase) {
    let site = Site::new(database, "ezdfsfile");
    let home = &site.home;
    home.write("a", "a");
    home.ok(["config", "check"]);
    for args in [
        &["ls"][..],
        &["put", "a", "x"],
        &["status"],
        &["gc"],
        &["serve", "--listen", "127.0.0.1:0"],
        &["migrate-files", "-n", "--from", "dfs,nfs", "--to", "default,nfs"],
    ] {
        let err = home.fails(2, args);
        for text in ["./ezdfs.toml:2: `metadata_handlers.dfs.url`", "run `ezdfs schema install`"] {
            assert!(err.contains(text), "{args:?}: {err}");
        }
    }
    assert_eq!(home.run(["schema", "check"]).code, 4, "and still nothing is installed");
    // One database serves one base table.
    home.ok(["schema", "install"]);
    let host = format!("{}:{}", site.database.host(), site.database.port());
    site.configure(&host, "ibexa_dfs_file", "");
    for args in [&["ls"][..], &["schema", "install"], &["schema", "uninstall"]] {
        let err = home.fails(2, args);
        assert!(err.contains("serves the table `ezdfsfile`"), "{args:?}: {err}");
    }
}

fn a_wrong_password(database: TestDatabase) {
    let site = Site::installed(database);
    let home = &site.home;
    home.write("password", "correct-horse-battery\n");
    for args in [&["-vv", "ls"][..], &["schema", "check"], &["schema", "install"]] {
        let err = home.fails(1, args);
        assert!(err.contains("check user and password"), "{args:?}: {err}");
        assert!(!err.contains("correct-horse"), "{args:?}: {err}");
    }
    let ran = home.run(["status"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(problems(&ran)[0].contains("check user and password"), "{ran:?}");
    std::fs::remove_file(home.path().join("password")).unwrap();
    for args in [&["ls"][..], &["schema", "check"], &["config", "check"]] {
        let err = home.fails(2, args);
        assert!(err.contains("`metadata_handlers.dfs.password`: secret file"), "{args:?}: {err}");
    }
}

fn hosts_that_are_away(database: TestDatabase) {
    let site = Site::installed(database);
    let (home, dead) = (&site.home, dead_port());
    home.put("a", "a");
    let alive = format!("{}:{}", site.database.host(), site.database.port());

    site.configure(&format!("127.0.0.1:{dead}"), "ezdfsfile", "");
    let started = SystemClock.boot();
    let err = home.fails(1, ["ls"]);
    assert!(err.contains(&format!("127.0.0.1:{dead}/")), "{err}");
    assert!(err.contains("cannot connect"), "{err}");
    // It accepts connections and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let timeout = "[store]\nio_timeout = \"1s\"\n";
    site.configure(&silent.local_addr().unwrap().to_string(), "ezdfsfile", timeout);
    assert!(home.fails(1, ["ls"]).contains("cannot connect"));
    assert!(SystemClock.boot() < started + Duration::from_secs(20), "errors come soon");
    assert_eq!(home.run(["status"]).code, 4);
    drop(silent);

    site.configure(&format!("127.0.0.1:{dead},{alive}"), "ezdfsfile", "");
    let ran = home.run(["ls"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "a\n"), "{ran:?}");
    assert!(ran.err.contains(&format!("127.0.0.1:{dead}")), "who is away is told: {ran:?}");
    site.configure(&format!("{alive},127.0.0.1:{dead}"), "ezdfsfile", "");
    assert_eq!(home.ok(["ls"]), "a\n");
}

fn passwords_are_never_shown(database: TestDatabase) {
    let site = Site::new(database, "ezdfsfile");
    let home = &site.home;
    let toml = String::from_utf8(home.read("ezdfs.toml")).unwrap();
    let from = toml.find("password").unwrap();
    let to = from + toml[from..].find('\n').unwrap();
    let secret = site.database.password();
    let by_env = format!("{}password = {{ env = \"DB_PASSWORD\" }}{}", &toml[..from], &toml[to..]);
    let literal = format!("{}password = \"{secret}\"{}", &toml[..from], &toml[to..]);
    for text in [toml.clone(), by_env, literal] {
        home.write("ezdfs.toml", &text);
        home.write("a", "a");
        for args in [
            &["config", "show"][..],
            &["config", "show", "--json"],
            &["config", "check"],
            &["schema", "print"],
            &["schema", "install"],
            &["schema", "check"],
            &["put", "a", "x/a"],
            &["ls", "-lR"],
            &["stat", "x/a"],
            &["status", "--json"],
            &["migrate-files", "-n", "--from", "dfs,nfs", "--to", "default,nfs"],
            &["rm", "-r", "x"],
            &["schema", "uninstall", "--force"],
            &["ls"],
        ] {
            let mut command = home.command([&["-vv"], args].concat());
            command.env("DB_PASSWORD", secret).env("EZDFS_LOG", "trace");
            let ran = Ran::of(command.output().unwrap());
            let last = args == ["ls"];
            assert_eq!(ran.code, if last { 2 } else { 0 }, "{args:?}: {ran:?}");
            for shown in [&ran.out, &ran.err] {
                assert!(!shown.contains(secret), "{args:?}: {ran:?}");
            }
        }
    }
}

fn a_degraded_feed_is_told(database: TestDatabase) {
    let site = Site::new(database, "ezdfsfile");
    let home = &site.home;
    let ran = home.run(["schema", "install", "--feed", "scan"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("installed; ") && ran.out.contains("degraded"), "{ran:?}");
    let ran = home.run(["schema", "check"]);
    assert_eq!((ran.code, problems(&ran).is_empty()), (4, false), "{ran:?}");
    let ran = home.run(["status"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(problems(&ran)[0].contains("degraded"), "{ran:?}");
    let ran = home.run(["status", "--json"]);
    let status = &json_lines(&ran.out)[0];
    assert_eq!(status["metadata"]["reachable"], true);
    assert!(status["metadata"]["degraded"][0].as_str().unwrap().contains("no trigger"), "{status}");
    // A later installation with a trigger ends it.
    let ran = home.run(["schema", "install", "--feed", "trigger"]);
    assert!(ran.code == 0 && ran.out.contains("triggers tell"), "{ran:?}");
    assert!(ran.err.contains("no trigger told of"), "what was missed is looked for: {ran:?}");
    home.ok(["schema", "check"]);
    home.ok(["status"]);
}

fn handlers_of_one_table_do_not_overlap(database: TestDatabase) {
    let site = Site::installed(database);
    let home = &site.home;
    home.put("a", "a");
    // The same server and database, written in another way.
    let toml = String::from_utf8(home.read("ezdfs.toml")).unwrap();
    let twin = toml.replace("handlers.dfs]", "handlers.twin]");
    let user = site.database.user();
    let twin = twin
        .replace(&format!("//{user}@"), &format!("//%{:02x}{}@", user.as_bytes()[0], &user[1..]));
    home.write(
        "ezdfs.toml",
        format!("{toml}{twin}[binarydata_handlers.nfs]\nurl = \"file:files\"\n"),
    );
    let err = home.fails(2, ["migrate-files", "-n", "--from", "dfs,nfs", "--to", "twin,nfs"]);
    assert!(err.contains("keep their rows in the same table"), "{err}");
}
