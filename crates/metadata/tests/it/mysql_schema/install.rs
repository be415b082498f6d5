//! Installing, again and again, resumed and beside others; uninstalling.

use super::*;

#[tokio::test]
async fn a_second_installation_finds_all_there() {
    for (variant, base, table) in [
        (MariaVariant::GeneralCi, None, TABLE),
        (MariaVariant::Unicode520Ci, Some(BaseTable::Ibexa), "ibexa_dfs_file"),
        (MariaVariant::Bin, Some(BaseTable::IbexaGeneralCi), TABLE),
        (MariaVariant::Utf8mb3, Some(BaseTable::Legacy), TABLE),
        (MariaVariant::Latin1, Some(BaseTable::Legacy), "ibexa_dfs_file"),
        (MariaVariant::Latin1, None, TABLE),
    ] {
        let Some(database) = TestDatabase::mariadb(variant) else { return };
        let options = crate::mysql::options(&database, table, PREFIX);
        if let Some(base) = base {
            database.create_base_table(base, table);
        }
        assert!(check(&options).await.unwrap().not_installed);
        let first = put_in(&options, FeedChoice::Auto).await;
        assert_eq!(first.feed, FeedKind::Trigger);
        assert_eq!(first.made.iter().any(|name| name == table), base.is_none());
        for made in ["ezdfs_node", "ezdfs_meta"].iter().chain(&FEED) {
            assert!(first.made.iter().any(|name| name == made), "{made}: {first:?}");
        }
        let found = check(&options).await.unwrap();
        assert_eq!(problems(&found), Vec::<String>::new(), "{variant:?} {base:?}");
        assert!(!found.not_installed);
        let notes: Vec<String> = found.notes().map(ToString::to_string).collect();
        if base == Some(BaseTable::Legacy) {
            assert!(notes[0].contains("4-byte characters"), "{notes:?}");
        } else {
            assert_eq!(notes, Vec::<String>::new());
        }
        let second = put_in(&options, FeedChoice::Auto).await;
        assert_eq!((second.made, second.feed), (Vec::new(), FeedKind::Trigger));
        let store = mysql::open(options).await.unwrap();
        publish(&*store, "a/b", version(1, 1)).await;
        let sql = MariadbForeignWriter::connect(&database, table).await;
        sql.store(&name("a/c"), 1, START_SECS, "a/b").await;
        assert_eq!(list(&*store, "a").await, ["b", "c"]);
    }
}

#[tokio::test]
async fn what_is_printed_is_what_is_installed() {
    let Some(database) = database() else { return };
    for round in 0..2 {
        let script = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(script.path(), ddl(TABLE).unwrap()).unwrap();
        let done = Command::new("mariadb")
            .args(["--no-defaults", "--protocol=tcp", "--host", database.host()])
            .args(["--port", &database.port().to_string(), "--user", database.user()])
            .arg(database.database())
            .env("MYSQL_PWD", database.password())
            .stdin(File::open(script.path()).unwrap())
            .output()
            .unwrap();
        assert!(done.status.success(), "{round}: {done:?}");
    }
    let options = options(&database);
    assert_eq!(problems(&check(&options).await.unwrap()), Vec::<String>::new());
    let installed = put_in(&options, FeedChoice::Auto).await;
    assert_eq!((installed.made, installed.feed), (Vec::new(), FeedKind::Trigger));
    mysql::open(options).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_before_get_entries_and_a_killed_run_is_resumed() {
    let Some(database) = database() else { return };
    fill(&database, 5_000);
    let options = options(&database);
    let (told, mut steps) = tokio::sync::mpsc::unbounded_channel();
    let job = options.clone();
    let running = tokio::spawn(async move {
        install(&job, FeedChoice::Auto, &mut |step| drop(told.send(step))).await
    });
    loop {
        match steps.recv().await.unwrap() {
            InstallStep::Backfill { done, .. } if done >= 1_000 => break,
            _ => {}
        }
    }
    running.abort();
    drop(running.await);
    // The transaction that is under way ends.
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    let sql = MariadbForeignWriter::connect(&database, TABLE).await;
    let before = sql.number("SELECT count(*) FROM ezdfs_node WHERE kind = 'file'").await;
    assert!((1_000..5_000).contains(&before), "{before}");
    let refused = mysql::open(options.clone()).await.unwrap_err();
    assert!(refused.to_string().contains("goes on where it stopped"), "{refused}");
    let found = problems(&check(&options).await.unwrap());
    assert!(found.iter().any(|l| l.contains("wait for their entries")), "{found:?}");

    // Meanwhile PHP goes on.
    sql.store(&name("d1/new"), 1, START_SECS, "a/b").await;
    let mut last = (0, 0);
    let installed = install(&options, FeedChoice::Auto, &mut |step| {
        if let InstallStep::Backfill { done, total } = step {
            assert!(done <= total && done >= last.0, "{done} of {total} after {last:?}");
            last = (done, total);
        }
    })
    .await
    .unwrap();
    assert!(installed.backfilled < 4_500, "{installed:?}");
    assert!(last.0 > 4_000 && last.1 < 20_000, "{last:?}");
    let store = mysql::open(options.clone()).await.unwrap();
    let figures = store.figures().await.unwrap();
    assert_eq!((figures.files, figures.directories), (5_001, 7));
    assert_eq!(list(&*store, "d1").await.len(), 716);
    assert_eq!(problems(&check(&options).await.unwrap()), Vec::<String>::new());
}

/// Killed between the statements that make tables.
#[tokio::test]
async fn a_half_made_schema_is_completed() {
    let Some(database) = database() else { return };
    fill(&database, 10);
    let options = options(&database);
    put_in(&options, FeedChoice::Auto).await;
    database.run(
        "DROP TRIGGER ezdfs_feed_delete; DELETE FROM ezdfs_node; DROP TABLE ezdfs_xattr; \
         DELETE FROM ezdfs_meta WHERE `key` <> 'base_table'",
    );
    let refused = mysql::open(options.clone()).await.unwrap_err();
    assert!(refused.to_string().contains("was interrupted"), "{refused}");
    let other = crate::mysql::options(&database, "ibexa_dfs_file", PREFIX);
    expect_kind(install(&other, FeedChoice::Auto, &mut |_| {}).await, ErrorKind::Config);
    let installed = put_in(&options, FeedChoice::Auto).await;
    assert_eq!(installed.made, ["ezdfs_xattr", "ezdfs_feed_delete"]);
    assert_eq!(installed.backfilled, 10);
    assert_eq!(problems(&check(&options).await.unwrap()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_install_at_once() {
    let Some(database) = database() else { return };
    fill(&database, 1_500);
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let options = options(&database);
        running.spawn(async move { put_in(&options, FeedChoice::Auto).await });
    }
    let made = running.join_all().await.iter().filter(|i| !i.made.is_empty()).count();
    assert_eq!(made, 1);
    let store = mysql::open(options(&database)).await.unwrap();
    assert_eq!(store.figures().await.unwrap().files, 1_500);
}

#[tokio::test]
async fn a_second_base_table_is_refused() {
    let Some(database) = database() else { return };
    put_in(&options(&database), FeedChoice::Auto).await;
    let second = crate::mysql::options(&database, "ibexa_dfs_file", PREFIX);
    let refused = install(&second, FeedChoice::Auto, &mut |_| {}).await;
    assert!(
        refused.as_ref().is_err_and(|e| e.to_string().contains("serves the table `ezdfsfile`"))
    );
    expect_kind(refused, ErrorKind::Config);
    expect_kind(uninstall(&second, true).await, ErrorKind::Config);
    let sql = MariadbForeignWriter::connect(&database, TABLE).await;
    let tables = "SELECT count(*) FROM information_schema.tables \
         WHERE table_schema = DATABASE() AND table_name = 'ibexa_dfs_file'";
    assert_eq!(sql.number(tables).await, 0);
    let found = problems(&check(&second).await.unwrap());
    assert!(found.iter().any(|l| l.contains("serves the table")), "{found:?}");
}

/// Making a trigger waits for transactions on the table; PHP does not wait behind it for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn php_goes_on_while_an_installation_waits() {
    let Some(database) = database() else { return };
    database.create_base_table(BaseTable::Ibexa, TABLE);
    let mut long = database.mysql_options().connect().await.unwrap();
    run(&mut long, "START TRANSACTION").await.unwrap();
    run(&mut long, "INSERT INTO ezdfsfile (name, name_trunk) VALUES ('l', 'l')").await.unwrap();
    let options = options(&database);
    let (told, mut steps) = tokio::sync::mpsc::unbounded_channel();
    let running = tokio::spawn(async move {
        install(&options, FeedChoice::Auto, &mut |step| drop(told.send(step))).await
    });
    let sql = MariadbForeignWriter::connect(&database, TABLE).await;
    let begin = tokio::time::Instant::now();
    let mut longest = Duration::ZERO;
    let mut n = 0;
    while begin.elapsed() < Duration::from_secs(4) {
        let before = tokio::time::Instant::now();
        sql.store(&name(&format!("w/{n}")), 1, START_SECS, "a/b").await;
        longest = longest.max(before.elapsed());
        n += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(longest < Duration::from_secs(3), "{longest:?}");
    assert!(matches!(steps.recv().await, Some(InstallStep::Waiting { .. })));
    run(&mut long, "ROLLBACK").await.unwrap();
    assert_eq!(running.await.unwrap().unwrap().feed, FeedKind::Trigger);
}

#[tokio::test]
async fn a_base_table_that_does_not_work_is_refused() {
    for (change, expected) in [
        ("ALTER TABLE ezdfsfile ENGINE=MyISAM", "has the engine MyISAM"),
        ("ALTER TABLE ezdfsfile DROP PRIMARY KEY", "no primary key"),
        ("ALTER TABLE ezdfsfile DROP COLUMN mtime", "no column mtime"),
    ] {
        let Some(database) = database() else { return };
        database.create_base_table(BaseTable::Ibexa, TABLE);
        database.run(change);
        let refused = install(&options(&database), FeedChoice::Auto, &mut |_| {}).await;
        assert!(refused.as_ref().is_err_and(|e| e.to_string().contains(expected)), "{refused:?}");
        expect_kind(refused, ErrorKind::Config);
        assert!(check(&options(&database)).await.unwrap().not_installed);
    }
}

#[tokio::test]
async fn uninstalling_leaves_the_base_table_and_its_rows() {
    let Some(database) = database() else { return };
    fill(&database, 10);
    let options = options(&database);
    put_in(&options, FeedChoice::Auto).await;
    database.run(
        "INSERT INTO ezdfs_pending (kind, prefix, path, path_hash, subtree, token, owner, state, \
         lease_end) VALUES ('reap', '', 'a', 'h', false, 't', 'o', 'queued', 0)",
    );
    expect_kind(uninstall(&options, false).await, ErrorKind::Busy);
    assert_eq!(problems(&check(&options).await.unwrap()), Vec::<String>::new());
    let dropped = uninstall(&options, true).await.unwrap();
    assert_eq!(dropped[..3], FEED);
    assert_eq!(dropped.len(), 9);
    let sql = MariadbForeignWriter::connect(&database, TABLE).await;
    assert_eq!(sql.number("SELECT count(*) FROM ezdfsfile").await, 10);
    let left = "SELECT count(*) FROM information_schema.tables \
         WHERE table_schema = DATABASE() AND table_name LIKE 'ezdfs\\_%'";
    assert_eq!(sql.number(left).await, 0);
    assert_eq!(uninstall(&options, false).await.unwrap(), Vec::<String>::new());
    assert!(check(&options).await.unwrap().not_installed);
    assert_eq!(put_in(&options, FeedChoice::Auto).await.backfilled, 10);
}
