//! Triggers that are lost or amiss, and scans in place of them.

use super::*;

/// A user that may not make triggers: fed by scans, and by triggers as soon as it may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_privilege_changes_are_found_by_scans() {
    let Some(database) = database() else { return };
    database.create_base_table(BaseTable::Ibexa, TABLE);
    let sql = MariadbForeignWriter::connect(&database, TABLE).await;
    sql.store(&name("d/before"), 1, START_SECS, "a/b").await;
    let user = User::new(&database, "us").trusted();
    user.may("SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, INDEX", "*");
    let options = ServerOptions { scan_pause: Duration::ZERO, ..user.options() };
    let refused = install(&options, FeedChoice::Trigger, &mut |_| {}).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    assert!(refused.to_string().contains("GRANT TRIGGER ON"), "{refused}");
    let installed = put_in(&options, FeedChoice::Auto).await;
    assert_eq!(installed.feed, FeedKind::Scan);
    assert!(installed.warnings[0].contains("GRANT TRIGGER ON"), "{installed:?}");
    assert!(installed.warnings[0].contains("show late"), "{installed:?}");
    let found = problems(&check(&options).await.unwrap());
    assert!(found.iter().any(|l| l.contains("degraded")), "{found:?}");
    assert!(found.iter().any(|l| l.contains("lacks TRIGGER on ezdfsfile")), "{found:?}");

    let store = mysql::open(options.clone()).await.unwrap();
    expect_list(&*store, "d", &["before"]).await;
    sql.store(&name("d/php"), 2, START_SECS, "a/b").await;
    publish(&*store, "d/own", version(3, 1)).await;
    expect_list(&*store, "d", &["before", "own", "php"]).await;
    sql.delete(&name("d/before")).await;
    sql.store(&name("d/php"), 3, START_SECS, "a/b").await;
    expect_list(&*store, "d", &["own", "php"]).await;
    assert_eq!(file(&*store, "d/php").await.size, 3);
    assert!(file(&*store, "d/own").await.token.is_some(), "no scan voids what is ours");
    // Nothing is found twice.
    let mut changes = Vec::new();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        list(&*store, "d").await;
        changes.push(sql.number("SELECT count(*) FROM ezdfs_change").await);
    }
    assert_eq!((changes[1], changes[2]), (changes[0], changes[0]));
    let entries = "SELECT count(*) FROM ezdfs_node WHERE kind = 'file'";
    assert_eq!(sql.number(entries).await, 2);

    // Uninstalling needs no privilege on triggers that are not there.
    drop(store);
    assert_eq!(uninstall(&options, true).await.unwrap().len(), 6);
    put_in(&options, FeedChoice::Auto).await;

    sql.store(&name("d/last"), 1, START_SECS, "a/b").await;
    user.may("TRIGGER", TABLE);
    let installed = put_in(&options, FeedChoice::Auto).await;
    assert_eq!((installed.feed, installed.made), (FeedKind::Trigger, FEED.map(Into::into).into()));
    assert_eq!(problems(&check(&options).await.unwrap()), Vec::<String>::new());
    let store = mysql::open(options.clone()).await.unwrap();
    assert_eq!(list(&*store, "d").await, ["last", "own", "php"]);
    // And back, as asked for.
    let installed = put_in(&options, FeedChoice::Scan).await;
    assert_eq!(installed.feed, FeedKind::Scan);
    let store = mysql::open(options.clone()).await.unwrap();
    sql.delete(&name("d/last")).await;
    expect_list(&*store, "d", &["own", "php"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_triggers_come_back_and_nothing_is_missed() {
    let Some(database) = database() else { return };
    let options = options(&database);
    put_in(&options, FeedChoice::Auto).await;
    let store = mysql::open(options.clone()).await.unwrap();
    publish(&*store, "l/ours", version(3, 1)).await;
    let sql = MariadbForeignWriter::connect(&database, TABLE).await;
    sql.run("DROP TRIGGER ezdfs_feed_insert").await;
    sql.store(&name("l/untold"), 1, START_SECS, "a/b").await;
    assert_eq!(list(&*store, "l").await, ["ours"]);
    let mut steps = Vec::new();
    install(&options, FeedChoice::Auto, &mut |step| steps.push(step)).await.unwrap();
    assert_eq!(steps, [InstallStep::Made(vec![FEED[0].to_owned()]), InstallStep::Scan]);
    assert_eq!(list(&*store, "l").await, ["ours", "untold"]);
    assert!(file(&*store, "l/ours").await.token.is_some());

    // Without anybody's help, once an hour.
    sql.run("DROP TRIGGER ezdfs_feed_insert; DROP TRIGGER ezdfs_feed_delete").await;
    sql.store(&name("l/later"), 1, START_SECS, "a/b").await;
    sql.delete(&name("l/untold")).await;
    sql.run("UPDATE ezdfs_meta SET value = 'idle:0:' WHERE `key` = 'scan'").await;
    let store = mysql::open(options.clone()).await.unwrap();
    for _ in 0..100 {
        store.materialise(100).await.unwrap();
        if list(&*store, "l").await == ["later", "ours"] {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{:?}", list(&*store, "l").await);
}

#[tokio::test]
async fn what_is_amiss_is_named() {
    let faults = [
        ("DROP TRIGGER ezdfs_feed_delete", "trigger ezdfs_feed_delete is missing"),
        (
            "DROP TRIGGER ezdfs_feed_update",
            "the update of a row of ezdfsfile on trial was not told",
        ),
        (
            "CREATE OR REPLACE TRIGGER ezdfs_feed_insert AFTER INSERT ON ezdfsfile FOR EACH ROW \
             BEGIN END",
            "trigger ezdfs_feed_insert is not as this version makes it",
        ),
        (
            "CREATE OR REPLACE DEFINER='nobody'@'nowhere' TRIGGER ezdfs_feed_insert BEFORE INSERT \
             ON ezdfsfile FOR EACH ROW BEGIN END",
            "'nobody'@'nowhere', as whom the trigger ezdfs_feed_insert runs, does not exist",
        ),
        (
            "CREATE OR REPLACE DEFINER='nobody'@'nowhere' TRIGGER ezdfs_feed_insert AFTER INSERT \
             ON ezdfsfile FOR EACH ROW BEGIN END",
            "a change of a row of ezdfsfile on trial fails",
        ),
        ("DROP TABLE ezdfs_lease", "table ezdfs_lease is missing"),
        ("ALTER TABLE ezdfs_node DROP COLUMN pin", "ezdfs_node has no column pin"),
        ("ALTER TABLE ezdfs_node MODIFY size INT NOT NULL", "ezdfs_node.size is int(11)"),
        (
            "ALTER TABLE ezdfs_pending MODIFY owner VARCHAR(255) CHARACTER SET utf8mb4 COLLATE \
             utf8mb4_general_ci NOT NULL",
            "ezdfs_pending.owner has the collation utf8mb4_general_ci",
        ),
        (
            "ALTER TABLE ezdfs_node MODIFY kind VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin",
            "ezdfs_node.kind takes NULL",
        ),
        (
            "ALTER TABLE ezdfs_pending DROP INDEX ezdfs_pending_hold",
            "ezdfs_pending has no unique key on (hold)",
        ),
        ("ALTER TABLE ezdfs_change DROP INDEX ezdfs_change_todo", "no index on (todo,seq)"),
        ("ALTER TABLE ezdfs_xattr ENGINE=Aria", "table ezdfs_xattr has the engine Aria"),
        ("UPDATE ezdfs_meta SET value = '2' WHERE `key` = 'schema_version'", "schema version 2"),
        ("DELETE FROM ezdfs_meta WHERE `key` = 'schema_version'", "installation was interrupted"),
        ("DELETE FROM ezdfs_meta WHERE `key` = 'gate'", "the row `gate` of ezdfs_meta is missing"),
        ("INSERT INTO ezdfs_meta VALUES ('backfill', '')", "wait for their entries"),
        ("UPDATE ezdfs_meta SET value = 'x' WHERE `key` = 'base_table'", "serves the table `x`"),
        ("UPDATE ezdfs_meta SET value = 'scan' WHERE `key` = 'feed'", "(degraded)"),
        ("ALTER TABLE ezdfsfile DROP PRIMARY KEY", "no primary key on name_hash"),
        ("ALTER TABLE ezdfsfile DROP COLUMN scope", "no column scope"),
        ("ALTER TABLE ezdfsfile MODIFY name_hash VARCHAR(30) NOT NULL", "name_hash is varchar(30)"),
        ("ALTER TABLE ezdfsfile ENGINE=MyISAM", "table ezdfsfile has the engine MyISAM"),
        ("ALTER TABLE ezdfsfile DROP INDEX ezdfsfile_name", "no index on name"),
        (
            "ALTER TABLE ezdfsfile DROP INDEX ezdfsfile_name, ADD INDEX short (name(20))",
            "index on ezdfsfile.name has 20 characters",
        ),
        (
            "ALTER TABLE ezdfsfile CONVERT TO CHARACTER SET latin1",
            "ezdfsfile.name has the character set latin1",
        ),
        ("DROP TABLE ezdfsfile", "table ezdfsfile is missing"),
        ("DROP TABLE ezdfs_change", "table ezdfs_change is missing"),
    ];
    for (fault, expected) in faults {
        let Some(database) = database() else { return };
        put_in(&options(&database), FeedChoice::Auto).await;
        database.run(fault);
        let found = check(&options(&database)).await.unwrap();
        let all: Vec<String> = found.all.iter().map(ToString::to_string).collect();
        assert!(all.iter().any(|line| line.contains(expected)), "{fault}: {all:?}");
    }
}

/// What a scan found is out of date when it is told: it voids nothing that one of us wrote.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scans_and_publishers_side_by_side() {
    let Some(database) = database() else { return };
    let options = ServerOptions { scan_pause: Duration::ZERO, ..options(&database) };
    put_in(&options, FeedChoice::Scan).await;
    let store = mysql::open(options.clone()).await.unwrap();
    let neighbour = mysql::open(options).await.unwrap();
    let sql = MariadbForeignWriter::connect(&database, TABLE).await;
    publish(&*store, "s/late", version(1, 1)).await;
    let hash = ezdfs_core::Name::from_row(&name("s/late")).hash();
    sql.run(&format!(
        "INSERT INTO ezdfs_change (op, name_hash, name, todo, at) \
         VALUES ('found', '{hash}', '{}', TRUE, 0)",
        name("s/late")
    ))
    .await;
    materialise(&*store).await;
    assert!(file(&*store, "s/late").await.token.is_some());
    publish_among_scans(store, neighbour, &sql).await;
}
