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

#[test]
fn handlers_without_a_database_here() {
    let home = Home::configured(
        "[metadata_handlers.dfs]\nurl = \"mysql://dfs@db1/ezdfs\"\n[metadata_handlers.tree]\nobjects = \"nfs\"\n",
    );
    let err = home.fails(2, ["schema", "check"]);
    assert!(err.contains("metadata_handlers.dfs.url"), "{err}");
    assert!(home.fails(2, ["schema", "print", "--handler", "tree"]).contains("no database"));
    assert!(home.fails(2, ["schema", "print", "--handler", "none"]).contains("`dfs`, `tree`"));
}
