//! print, install, check, uninstall.

use super::Home;

#[test]
fn print_is_what_a_database_takes() {
    let home = Home::configured(
        "[metadata_handlers.dfs]\nurl = \"sqlite:x.db\"\ntable = \"ibexa_dfs_file\"\n",
    );
    let ddl = home.ok(["schema", "print"]);
    for what in ["\"ibexa_dfs_file\"", "ezdfs_node", "CREATE TRIGGER", "ezdfs_feed_delete"] {
        assert!(ddl.contains(what), "{what}: {ddl}");
    }
    assert!(!ddl.contains("{table}"), "{ddl}");
    assert!(!home.path().join("ezdfs-data").exists(), "printing makes nothing");
}

#[test]
fn install_check_uninstall() {
    let home = Home::new();
    let ran = home.run(["schema", "check"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.out.contains("does not exist"), "{ran:?}");
    assert!(home.ok(["schema", "install"]).contains("installed"));
    assert!(home.ok(["schema", "check"]).contains("as it should be"));
    home.ok(["schema", "install"]);
    home.put("a", "a");
    let dropped = home.ok(["schema", "uninstall"]);
    let (first, last) = (dropped.lines().next().unwrap(), dropped.lines().last().unwrap());
    assert!(first.contains("ezdfs_feed_") && last.contains("ezdfs_meta"), "{dropped}");
    assert_eq!(home.run(["schema", "check"]).code, 4);
    // The base table and the files stay; the next use installs and finds them.
    assert_eq!(home.cat("a"), "a");
    assert_eq!(home.ok(["ls"]), "a\n");
    home.ok(["schema", "check"]);
}

#[test]
fn pending_work_is_not_forgotten_by_accident() {
    let home = Home::new();
    home.put("a", "a");
    home.ok(["rm", "a"]);
    assert!(home.fails(1, ["schema", "uninstall"]).contains("--force"));
    home.ok(["schema", "check"]);
    home.ok(["schema", "uninstall", "--force"]);
}

#[cfg(all(feature = "mysql", feature = "postgres"))]
#[test]
fn print_asks_no_server_and_needs_no_password() {
    for (url, quote) in [("mariadb://dfs@db1/x", '`'), ("postgres://dfs@db1,db2/x", '"')] {
        let home = Home::configured(&format!(
            "[metadata_handlers.dfs]\nurl = \"{url}\"\npassword = {{ env = \"NOT_SET\" }}\n\
             table = \"ibexa_dfs_file\"\n"
        ));
        let ddl = home.ok(["schema", "print"]);
        for what in ["ezdfs_node", "CREATE TRIGGER", &format!("{quote}ibexa_dfs_file{quote}")] {
            assert!(ddl.contains(what), "{url}: {what}: {ddl}");
        }
        assert!(!ddl.contains('{'), "{url}: {ddl}");
        assert!(home.fails(2, ["schema", "check"]).contains("NOT_SET is not set"));
    }
}

#[test]
fn handlers_without_a_database() {
    let home = Home::configured(
        "[metadata_handlers.dfs]\nurl = \"sqlite:x.db\"\n[metadata_handlers.tree]\nobjects = \"nfs\"\n",
    );
    assert!(home.fails(2, ["schema", "print", "--handler", "tree"]).contains("no database"));
    assert!(home.fails(2, ["schema", "print", "--handler", "none"]).contains("`dfs`, `tree`"));
    assert!(home.fails(2, ["schema", "install", "--feed", "scan"]).contains("leave --feed out"));
    let found = home.run(["schema", "check", "--json"]);
    assert_eq!(found.code, 4, "{found:?}");
    let found = &super::json_lines(&found.out)[0];
    assert_eq!((&found["installed"], &found["handler"]), (&false.into(), &"dfs".into()));
}
