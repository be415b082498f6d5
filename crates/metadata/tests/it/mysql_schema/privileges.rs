//! What users may not do, and what that costs.

use super::*;

#[tokio::test]
async fn php_needs_no_privilege_on_our_tables_and_no_error_of_ours_reaches_it() {
    let Some(database) = database() else { return };
    database.create_base_table(BaseTable::Ibexa, TABLE);
    let options = options(&database);
    put_in(&options, FeedChoice::Auto).await;
    let php = User::new(&database, "php");
    php.may("SELECT, INSERT, UPDATE, DELETE", TABLE);
    let mut conn = php.connect().await;
    let sql = MariadbForeignWriter::connect(&database, TABLE).await;
    php_writes(&mut conn).await;
    assert_eq!(sql.number("SELECT count(*) FROM ezdfs_change WHERE todo = 1").await, 5);
    assert!(run(&mut conn, "SELECT 1 FROM ezdfs_change").await.is_err());
    sql.run("DELETE FROM ezdfs_change").await;
    for fault in [
        "ALTER TABLE ezdfs_change ADD CONSTRAINT broken CHECK (op = 'none')",
        "ALTER TABLE ezdfs_change RENAME COLUMN op TO operation",
        "ALTER TABLE ezdfs_change RENAME TO elsewhere",
        "DROP TABLE elsewhere",
    ] {
        sql.run(fault).await;
        php_writes(&mut conn).await;
        let found = problems(&check(&options).await.unwrap());
        assert!(!found.is_empty(), "{fault}");
    }
    // Installing makes the table again, and the feed goes on.
    put_in(&options, FeedChoice::Auto).await;
    php_writes(&mut conn).await;
    assert_eq!(sql.number("SELECT count(*) FROM ezdfs_change WHERE todo = 1").await, 5);
}

/// An administrator made the triggers; the user that runs ezdfs may not even see them.
#[tokio::test]
async fn triggers_of_an_administrator_are_good_enough() {
    let Some(database) = database() else { return };
    put_in(&options(&database), FeedChoice::Auto).await;
    let user = User::new(&database, "us");
    user.may("SELECT, INSERT, UPDATE, DELETE", TABLE);
    for table in
        ["ezdfs_node", "ezdfs_pending", "ezdfs_lease", "ezdfs_change", "ezdfs_xattr", "ezdfs_meta"]
    {
        let found = problems(&check(&user.options()).await.unwrap());
        let is_named = |l: &String| {
            l.contains("ezdfs is not installed in this database, or the user may not see")
                || l.contains(&format!("table {table} is missing, or the user may not see it"))
        };
        assert!(found.iter().any(is_named), "{found:?}");
        user.may("SELECT, INSERT, UPDATE, DELETE", table);
    }
    assert_eq!(problems(&check(&user.options()).await.unwrap()), Vec::<String>::new());
    let installed = put_in(&user.options(), FeedChoice::Auto).await;
    assert_eq!((installed.feed, installed.made), (FeedKind::Trigger, Vec::new()));
    // These are enough.
    let store = mysql::open(user.options()).await.unwrap();
    publish(&*store, "a/b", version(1, 1)).await;
    store.materialise(10).await.unwrap();
    assert_eq!(list(&*store, "a").await, ["b"]);
    database.run(&format!(
        "REVOKE DELETE ON `{}`.ezdfs_pending FROM '{}'@'%'",
        database.database(),
        user.name
    ));
    let found = problems(&check(&user.options()).await.unwrap());
    assert!(found.iter().any(|l| l.contains("lacks DELETE on ezdfs_pending")), "{found:?}");
}

/// Error 1419: a binary log, and a user without SUPER.
#[tokio::test]
async fn a_binary_log_that_trusts_nobody_is_named() {
    let Some(database) = database() else { return };
    let sql = MariadbForeignWriter::connect(&database, TABLE).await;
    if sql.number("SELECT @@log_bin AND NOT @@log_bin_trust_function_creators").await == 0 {
        skipped("error 1419", "the server writes no binary log, or trusts every user");
        return;
    }
    let user = User::new(&database, "us");
    user.may("ALL PRIVILEGES", "*");
    let before = problems(&check(&user.options()).await.unwrap());
    assert!(before.iter().any(|l| l.contains("error 1419")), "{before:?}");
    let refused = install(&user.options(), FeedChoice::Trigger, &mut |_| {}).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    let installed = put_in(&user.options(), FeedChoice::Auto).await;
    assert_eq!(installed.feed, FeedKind::Scan);
    assert!(installed.warnings[0].contains("log_bin_trust_function_creators"), "{installed:?}");
    let found = problems(&check(&user.options()).await.unwrap());
    assert!(found.iter().any(|l| l.contains("error 1419")), "{found:?}");
    // An administrator's run is enough, and the user's next one leaves it so.
    assert_eq!(put_in(&options(&database), FeedChoice::Auto).await.feed, FeedKind::Trigger);
    assert_eq!(put_in(&user.options(), FeedChoice::Auto).await.feed, FeedKind::Trigger);
    assert_eq!(problems(&check(&user.options()).await.unwrap()), Vec::<String>::new());
}

/// The user as whom the triggers run loses a privilege, or goes.
#[tokio::test]
async fn trouble_with_the_definer_is_named() {
    let Some(database) = database() else { return };
    let definer = User::new(&database, "def").trusted();
    definer.may("ALL PRIVILEGES", "*");
    put_in(&definer.options(), FeedChoice::Auto).await;
    let options = options(&database);
    assert_eq!(problems(&check(&options).await.unwrap()), Vec::<String>::new());
    let database_name = database.database();
    database.run(&format!("REVOKE INSERT ON `{database_name}`.* FROM '{}'@'%'", definer.name));
    let found = problems(&check(&options).await.unwrap());
    assert!(found.iter().any(|l| l.contains("on trial was not told")), "{found:?}");
    let mut php = database.mysql_options().connect().await.unwrap();
    php_writes(&mut php).await;
    database.run(&format!("DROP USER '{}'@'%'", definer.name));
    let found = problems(&check(&options).await.unwrap());
    assert!(found.iter().any(|l| l.contains("error 1449")), "{found:?}");
    assert!(found.iter().any(|l| l.contains("on trial fails")), "{found:?}");
    // What the finding tells to do.
    for name in FEED {
        database.run(&format!("DROP TRIGGER {name}"));
    }
    put_in(&options, FeedChoice::Auto).await;
    assert_eq!(problems(&check(&options).await.unwrap()), Vec::<String>::new());
}
