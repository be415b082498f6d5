//! Installation, refusals and backfill.

use std::path::Path;
use std::sync::Arc;

use ezdfs_core::{ErrorKind, MetadataStore as _};
use ezdfs_metadata::sqlite::ddl;
use ezdfs_metadata::{SqliteMetadata, SqliteOptions};
use ezdfs_testkit::metadata_suite::{
    PREFIX, START_SECS, clock, dir, expect_kind, file, list, materialise, name, publish, version,
};
use ezdfs_testkit::{ForeignWriter as _, SqliteForeignWriter};

use crate::sqlite::{open, options};

async fn try_open(
    file: &Path,
    options: SqliteOptions,
) -> Result<SqliteMetadata, ezdfs_core::Error> {
    SqliteMetadata::open(file, options, Arc::new(clock())).await
}

/// A base table alone, as Ibexa would make it.
async fn base_table_only(file: &Path, table: &str) -> SqliteForeignWriter {
    std::fs::File::create_new(file).unwrap();
    let writer = SqliteForeignWriter::connect(file, table).await;
    let base = include_str!("../../../../schema/sqlite/base.sql").replace("{table}", table);
    writer.run(&base).await;
    writer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_open_a_new_database_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ezdfs.db");
    let mut openers = tokio::task::JoinSet::new();
    for n in 0..8_u8 {
        let file = file.clone();
        openers.spawn(async move {
            let store = open(&file, PREFIX, clock()).await;
            publish(&store, &format!("a/f{n}"), version(1, n)).await;
        });
    }
    openers.join_all().await;
    let store = open(&file, PREFIX, clock()).await;
    assert_eq!(list(&store, "a").await.len(), 8);
    let triggers = SqliteForeignWriter::connect(&file, "ezdfsfile").await;
    let count = "SELECT count(*) FROM sqlite_master WHERE type = 'trigger'";
    assert_eq!(triggers.number(count).await, 4);
}

#[tokio::test]
async fn an_existing_table_is_backfilled() {
    let tmp = tempfile::tempdir().unwrap();
    let file = tmp.path().join("ezdfs.db");
    let writer = base_table_only(&file, "ibexa_dfs_file").await;
    writer.run("BEGIN").await;
    for n in 0..4_500 {
        writer.store(&name(&format!("b/{}/f{n}", n % 7)), n, START_SECS, "a/b").await;
    }
    writer.store(&name("b/gone/f"), 1, START_SECS, "a/b").await;
    writer.soft_delete(&name("b/gone/f")).await;
    writer.run("COMMIT").await;
    let options = || SqliteOptions { table: "ibexa_dfs_file".to_owned(), ..options(PREFIX) };
    let store = try_open(&file, options()).await.unwrap();
    let figures = store.figures().await.unwrap();
    assert_eq!((figures.files, figures.hidden, figures.feed_lag), (4_500, 1, 0));
    assert_eq!(figures.directories, 8, "b and its seven; not b/gone");
    assert_eq!(list(&store, "b").await, ["0", "1", "2", "3", "4", "5", "6"]);
    assert_eq!(list(&store, "b/3").await.len(), 643);
    assert_eq!(writer.number("SELECT count(*) FROM ezdfs_meta WHERE key = 'backfill'").await, 0);
}

#[tokio::test]
async fn an_interrupted_backfill_is_resumed() {
    let tmp = tempfile::tempdir().unwrap();
    let file = tmp.path().join("ezdfs.db");
    let writer = base_table_only(&file, "ezdfsfile").await;
    for n in 0..50 {
        writer.store(&name(&format!("r/f{n}")), n, START_SECS, "a/b").await;
    }
    drop(open(&file, PREFIX, clock()).await);
    // As a process leaves it that is killed half way.
    writer
        .run(
            "DELETE FROM ezdfs_node WHERE kind = 'file' AND path_hash > '8'; \
             INSERT INTO ezdfs_meta VALUES ('backfill', '8')",
        )
        .await;
    let left = writer.number("SELECT count(*) FROM ezdfs_node WHERE kind = 'file'").await;
    assert!(left < 50);
    let store = open(&file, PREFIX, clock()).await;
    assert_eq!(list(&store, "r").await.len(), 50);
}

#[tokio::test]
async fn lost_triggers_come_back_and_nothing_is_missed() {
    let tmp = tempfile::tempdir().unwrap();
    let file = tmp.path().join("ezdfs.db");
    let store = open(&file, PREFIX, clock()).await;
    publish(&store, "l/a", version(1, 1)).await;
    drop(store);
    let writer = SqliteForeignWriter::connect(&file, "ezdfsfile").await;
    writer.run("DROP TRIGGER ezdfs_feed_insert").await;
    writer.store(&name("l/unseen"), 1, START_SECS, "a/b").await;
    let store = open(&file, PREFIX, clock()).await;
    assert_eq!(list(&store, "l").await, ["a", "unseen"]);
    writer.store(&name("l/seen"), 1, START_SECS, "a/b").await;
    assert_eq!(list(&store, "l").await, ["a", "seen", "unseen"]);
    assert!(ezdfs_testkit::metadata_suite::file(&store, "l/a").await.token.is_some());
}

#[tokio::test]
async fn a_rename_in_place_is_followed() {
    let tmp = tempfile::tempdir().unwrap();
    let file_name = tmp.path().join("ezdfs.db");
    let store = open(&file_name, PREFIX, clock()).await;
    publish(&store, "r/old", version(1, 1)).await;
    let writer = SqliteForeignWriter::connect(&file_name, "ezdfsfile").await;
    let (old, new) = (name("r/old"), name("r/new"));
    let hash = |name: &str| ezdfs_core::Name::from_row(name).hash();
    writer
        .run(&format!(
            "UPDATE ezdfsfile SET name = '{new}', name_hash = '{}' WHERE name_hash = '{}'",
            hash(&new),
            hash(&old)
        ))
        .await;
    assert_eq!(list(&store, "r").await, ["new"]);
    assert_eq!(file(&store, "r/new").await.size, 1);
    materialise(&store).await;
    assert_eq!(writer.number("SELECT count(*) FROM ezdfs_node WHERE basename = 'old'").await, 0);
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let tmp = tempfile::tempdir().unwrap();
    let file = tmp.path().join("ezdfs.db");
    drop(open(&file, PREFIX, clock()).await);
    let writer = SqliteForeignWriter::connect(&file, "ezdfsfile").await;
    writer.run("UPDATE ezdfs_meta SET value = '99' WHERE key = 'schema_version'").await;
    let refused = try_open(&file, options(PREFIX)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Config);
    let text = refused.to_string();
    assert!(text.contains("99") && text.contains(&file.display().to_string()), "{text}");
    writer.run("UPDATE ezdfs_meta SET value = 'x' WHERE key = 'schema_version'").await;
    expect_kind(try_open(&file, options(PREFIX)).await, ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_second_base_table_is_refused() {
    let tmp = tempfile::tempdir().unwrap();
    let file = tmp.path().join("ezdfs.db");
    drop(open(&file, PREFIX, clock()).await);
    let other = SqliteOptions { table: "ibexa_dfs_file".to_owned(), ..options(PREFIX) };
    let refused = try_open(&file, other).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Config);
    assert!(refused.to_string().contains("`ezdfsfile`"), "{refused}");
}

#[tokio::test]
async fn what_is_no_database_of_ours_is_refused() {
    let tmp = tempfile::tempdir().unwrap();
    let missing = tmp.path().join("no/such/dir/ezdfs.db");
    let refused = try_open(&missing, options(PREFIX)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Config);
    assert!(refused.to_string().contains("no/such/dir"), "{refused}");

    let text = tmp.path().join("text.db");
    std::fs::write(&text, "this is no database, and it is long enough to be one".repeat(100))
        .unwrap();
    expect_kind(try_open(&text, options(PREFIX)).await, ErrorKind::Corrupt);

    let table = SqliteOptions { table: "a;b".to_owned(), ..options(PREFIX) };
    let unmade = tmp.path().join("unmade.db");
    expect_kind(try_open(&unmade, table).await, ErrorKind::Config);
    assert!(!unmade.exists());

    let odd = tmp.path().join("odd.db");
    std::fs::File::create_new(&odd).unwrap();
    let writer = SqliteForeignWriter::connect(&odd, "ezdfsfile").await;
    writer.run("CREATE TABLE ezdfsfile (name TEXT, name_hash TEXT, mtime INT, expired INT)").await;
    let refused = try_open(&odd, options(PREFIX)).await.unwrap_err();
    assert!(refused.to_string().contains("odd.db"), "{refused}");
    let tables = writer.number("SELECT count(*) FROM sqlite_master WHERE type = 'table'").await;
    assert_eq!(tables, 1, "a refused table is left as it was");
}

/// A table that somebody else made may compare names otherwise, and may store anything.
#[tokio::test]
async fn another_collation_changes_nothing() {
    let tmp = tempfile::tempdir().unwrap();
    let file_name = tmp.path().join("ezdfs.db");
    std::fs::File::create_new(&file_name).unwrap();
    let writer = SqliteForeignWriter::connect(&file_name, "ezdfsfile").await;
    let base = ddl("ezdfsfile").unwrap();
    let base = base.split_inclusive(';').find(|s| s.contains("CREATE TABLE")).unwrap();
    let nocase = base.replace("name       text ", "name       text COLLATE NOCASE ");
    assert_ne!(nocase, base);
    writer.run(&nocase).await;
    let store = open(&file_name, PREFIX, clock()).await;
    for at in ["Dir/f", "dir/f", "DIR/g"] {
        publish(&store, at, version(1, 1)).await;
    }
    let scanned = ezdfs_testkit::metadata_suite::scan(&store, "dir").await;
    assert_eq!(scanned, ["dir/f"]);
    assert_eq!(ezdfs_testkit::metadata_suite::scan_by(&store, "", 1).await.len(), 3);

    // Names that are no UTF-8, on every page border.
    for (n, byte) in ["f0", "80", "ff", "e9"].iter().enumerate() {
        writer
            .run(&format!(
                "INSERT INTO ezdfsfile (name, name_trunk, name_hash, mtime, size) VALUES \
                 (CAST('{PREFIX}/u/' || x'{byte}' || 'x' AS TEXT), '', 'h{n}', 1, -5)"
            ))
            .await;
    }
    publish(&store, "u/a", version(1, 1)).await;
    publish(&store, "u/\u{10ffff}", version(1, 1)).await;
    for limit in [1, 2, 3, 10] {
        let found = ezdfs_testkit::metadata_suite::scan_by(&store, "u", limit).await;
        assert_eq!(found, ["u/a", "u/\u{10ffff}"], "pages of {limit}");
    }
    assert_eq!(list(&store, "u").await.len(), 2);
    assert_eq!(store.scan(&dir("u"), None, 100).await.unwrap().rows.len(), 6);
}

#[tokio::test]
async fn entries_without_a_row_are_found_and_removed() {
    let tmp = tempfile::tempdir().unwrap();
    let file = tmp.path().join("ezdfs.db");
    let store = open(&file, PREFIX, clock()).await;
    for n in 0..5_u8 {
        publish(&store, &format!("s/{n}"), version(1, n)).await;
    }
    assert!(store.strays(None, 10).await.unwrap().is_empty());
    // A change that nothing tells of.
    let writer = SqliteForeignWriter::connect(&file, "ezdfsfile").await;
    for n in [1, 3] {
        let delete = format!("DELETE FROM ezdfsfile WHERE name = '{}'", name(&format!("s/{n}")));
        writer.run(&delete).await;
    }
    writer.run("UPDATE ezdfs_change SET origin = 'somebody'").await;
    materialise(&store).await;
    let all = store.strays(None, 10).await.unwrap();
    let mut names: Vec<&str> = all.iter().map(|stray| stray.basename.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["1", "3"]);
    assert!(all[0].hash < all[1].hash);
    assert_eq!(store.strays(None, 1).await.unwrap(), all[..1]);
    assert_eq!(store.strays(Some(&all[0].hash), 10).await.unwrap(), all[1..]);
    store.remove_strays().await.unwrap();
    assert!(store.strays(None, 10).await.unwrap().is_empty());
    assert_eq!(list(&store, "s").await.len(), 3);
}
