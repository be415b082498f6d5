//! The foreign writers send PHP's statements: the same cases with sqlx and with PHP's drivers.

use std::path::Path;

use ezdfs_core::{BaseRow, Name, NameHash};
use ezdfs_metadata::memory::ForeignRow;
use ezdfs_testkit::foreign_writer::ibexa_row;
use ezdfs_testkit::servers::{BaseTable, MariaVariant, PostgresVariant, ServerKind};
use ezdfs_testkit::{
    ForeignWriter, MariadbForeignWriter, PdoNode, PostgresForeignWriter, TestDatabase,
};

/// 1,700,000,000 is a time that every column can hold.
const THEN: i64 = 1_700_000_000;

fn name(path: &str) -> String {
    format!("var/site/storage/{path}")
}

fn hash(name: &str) -> NameHash {
    Name::from_row(name).hash()
}

/// A writer of each kind on a table of its own.
async fn writers(kind: ServerKind) -> Vec<(String, Box<dyn ForeignWriter>, TestDatabase)> {
    let mut writers: Vec<(String, Box<dyn ForeignWriter>, TestDatabase)> = Vec::new();
    for (at, variant) in BaseTable::of(kind).iter().enumerate() {
        // Both names of the table.
        let table = ["ezdfsfile", "ibexa_dfs_file"][at % 2];
        for php in [false, true] {
            let database = match kind {
                ServerKind::Mariadb => TestDatabase::mariadb(MariaVariant::default()),
                ServerKind::Postgres => TestDatabase::postgres(PostgresVariant::default()),
            };
            let Some(database) = database else { return writers };
            database.create_base_table(*variant, table);
            let writer: Box<dyn ForeignWriter> = match kind {
                _ if php => match PdoNode::start(&database, table, Path::new("/"), "").await {
                    Some(node) => Box::new(node),
                    None => continue,
                },
                ServerKind::Mariadb => {
                    Box::new(MariadbForeignWriter::connect(&database, table).await)
                }
                ServerKind::Postgres => {
                    Box::new(PostgresForeignWriter::connect(&database, table).await)
                }
            };
            let what = format!("{kind:?} {variant:?} {}", if php { "PDO" } else { "sqlx" });
            writers.push((what, writer, database));
        }
    }
    writers
}

async fn all_writers() -> Vec<(String, Box<dyn ForeignWriter>, TestDatabase)> {
    let mut all = writers(ServerKind::Mariadb).await;
    all.extend(writers(ServerKind::Postgres).await);
    all
}

#[tokio::test]
async fn a_create_inserts_ibexas_row() {
    for (what, writer, _database) in all_writers().await {
        let names =
            ["images/1/ü ' % _ \\ x.jpg", "original/image/y.png", "images-versioned/z", "other/a"];
        for name in names.map(name) {
            writer.store(&name, 5, THEN, "image/jpeg").await;
            let row = ibexa_row(&name, 5, THEN, "image/jpeg");
            assert_eq!(writer.get(hash(&name)).await.as_ref(), Some(&row), "{what}: {name}");
            assert_eq!(writer.load(&name).await, Some(row), "{what}: {name}");
        }
        assert_eq!(writer.get(hash("none")).await, None, "{what}");
        assert_eq!(writer.load("none").await, None, "{what}");
    }
}

/// The trap of the tombstone: only legacy's upsert clears the mark.
#[tokio::test]
async fn a_create_over_a_row_keeps_its_names_and_marks() {
    for (what, writer, _database) in all_writers().await {
        let name = name("images/a");
        let old = ForeignRow {
            base: BaseRow { expired: true, ..ibexa_row("another/name", 1, -THEN, "a/b").base },
            name_trunk: "trunk".to_owned(),
            status: true,
        };
        writer.set(hash(&name), &old).await;
        assert_eq!(writer.get(hash(&name)).await, Some(old.clone()), "{what}");
        writer.store(&name, 7, THEN, "image/png").await;
        let new = ibexa_row(&name, 7, THEN, "image/png");
        let mut expected =
            ForeignRow { base: BaseRow { name: old.base.name, expired: true, ..new.base }, ..old };
        assert_eq!(writer.get(hash(&name)).await, Some(expected.clone()), "{what}");
        assert_eq!(writer.load(&name).await, None, "{what}: hidden");
        writer.legacy_store(&name, 8, THEN + 1, "image/gif").await;
        expected.base.expired = false;
        expected.base.size = 8;
        expected.base.mtime = THEN + 1;
        expected.base.datatype = "image/gif".to_owned();
        assert_eq!(writer.load(&name).await, Some(expected), "{what}");
        writer.legacy_store(&self::name("new"), 8, THEN, "a/b").await;
        assert!(writer.load(&self::name("new")).await.is_some(), "{what}");
    }
}

#[tokio::test]
async fn deletes_of_one_file() {
    for (what, writer, _database) in all_writers().await {
        let name = name("images/a");
        writer.store(&name, 7, THEN, "image/png").await;
        assert!(!writer.purge(&name).await, "{what}: not expired");
        writer.soft_delete(&name).await;
        writer.soft_delete(&name).await;
        let row = writer.get(hash(&name)).await.unwrap();
        assert_eq!((row.base.mtime, row.base.expired), (-THEN, true), "{what}");
        assert_eq!(writer.load(&name).await, None, "{what}");
        assert!(writer.purge(&name).await, "{what}");
        assert!(!writer.delete(&name).await, "{what}");
        writer.store(&name, 7, THEN, "image/png").await;
        assert!(writer.delete(&name).await, "{what}");
        assert_eq!(writer.get(hash(&name)).await, None, "{what}");
    }
}

#[tokio::test]
async fn visibility_is_ibexas() {
    for (what, writer, _database) in all_writers().await {
        let name = name("images/a");
        for (mtime, expired, visible) in
            [(1, false, true), (0, false, false), (-1, false, false), (1, true, false)]
        {
            let mut row = ibexa_row(&name, 7, mtime, "a/b");
            row.base.expired = expired;
            row.status = true;
            writer.set(hash(&name), &row).await;
            let found = writer.load(&name).await.is_some();
            assert_eq!(found, visible, "{what}: {mtime} {expired}");
        }
        // Without the mark a re-create heals.
        writer.set(hash(&name), &ibexa_row(&name, 7, -THEN, "a/b")).await;
        writer.store(&name, 7, THEN, "a/b").await;
        assert!(writer.load(&name).await.is_some(), "{what}");
    }
}

#[tokio::test]
async fn the_greatest_sizes() {
    for (kind, size) in [(ServerKind::Mariadb, u64::MAX), (ServerKind::Postgres, u64::MAX / 2)] {
        for (what, writer, _database) in writers(kind).await {
            writer.store("a", size, THEN, "a/b").await;
            assert_eq!(writer.get(hash("a")).await.unwrap().base.size, size, "{what}");
        }
    }
}

#[tokio::test]
async fn a_directory_delete_follows_the_collation() {
    for (what, writer, _database) in all_writers().await {
        let exact = what.contains("Postgres") || what.contains("Legacy");
        for (at, is_below, is_folded) in [
            ("a_b/1", true, true),
            ("a_b/c/2", true, true),
            ("aXb/1", false, false),
            ("a_b", false, false),
            ("a_bc/1", false, false),
            ("A_B/1", false, true),
            ("á_b/1", false, true),
        ] {
            let name = name(at);
            writer.store(&name, 1, THEN, "a/b").await;
            writer.delete_directory(&self::name("a_b")).await;
            let gone = if exact { is_below } else { is_folded };
            assert_eq!(writer.get(hash(&name)).await.is_none(), gone, "{what}: {at}");
        }
        for (at, directory) in [("pqc/1", "p%c"), ("10/1", "1")] {
            writer.store(&name(at), 1, THEN, "a/b").await;
            writer.delete_directory(&name(directory)).await;
            assert!(writer.get(hash(&name(at))).await.is_some(), "{what}: {directory}");
        }
    }
}

/// The INSERT is refused, and the UPDATE meets no row.
#[tokio::test]
async fn refused_rows_vanish_without_an_error() {
    let long = "x".repeat(256);
    for (what, writer, _database) in writers(ServerKind::Mariadb).await {
        let refused = writer.store_row(&ibexa_row("long", 1, THEN, &long)).await;
        assert_eq!(refused, Ok(()), "{what}");
        assert_eq!(writer.get(hash("long")).await, None, "{what}");
        writer.store("😀", 1, THEN, "a/b").await;
        let stored = writer.get(hash("😀")).await.is_some();
        assert_eq!(stored, !what.contains("Legacy"), "{what}: utf8mb3 has no 4-byte characters");
    }
    for (what, writer, _database) in writers(ServerKind::Postgres).await {
        // Here the server looks at the value even without a row.
        let refused = writer.store_row(&ibexa_row("long", 1, THEN, &long)).await;
        assert_eq!(refused.unwrap_err().sqlstate.as_deref(), Some("22001"), "{what}");
        let incompressible: String =
            (0..4000_u32).map(|n| char::from_u32(0x4e00 + n * 7919 % 20_000).unwrap()).collect();
        writer.store(&incompressible, 1, THEN, "a/b").await;
        assert_eq!(writer.get(hash(&incompressible)).await, None, "{what}");
        writer.store("😀", 1, THEN, "a/b").await;
        assert!(writer.get(hash("😀")).await.is_some(), "{what}");
    }
}

#[tokio::test]
async fn names_with_nul() {
    for (what, writer, _database) in all_writers().await {
        writer.store("a\0b", 1, THEN, "a/b").await;
        let found = writer.get(hash("a\0b")).await.map(|r| r.base.name);
        let expected = match what.as_str() {
            maria if maria.contains("Mariadb") => Some("a\0b"),
            // The client library cuts text at U+0000; the hash is the whole name's.
            pdo if pdo.contains("PDO") => Some("a"),
            _ => None,
        };
        assert_eq!(found.as_deref(), expected, "{what}");
    }
}

/// Only 1 is TRUE.
#[tokio::test]
async fn mariadb_knows_more_than_two_booleans() {
    for (what, writer, database) in writers(ServerKind::Mariadb).await {
        writer.store("a", 1, THEN, "a/b").await;
        let table = if what.contains("GeneralCi") { "ibexa_dfs_file" } else { "ezdfsfile" };
        database.run(&format!("UPDATE {table} SET expired = 2, status = 2"));
        let row = writer.load("a").await.expect("a visible row");
        assert_eq!((row.base.expired, row.status), (false, false), "{what}");
    }
}

/// A failed INSERT ends the transaction on PostgreSQL, so the UPDATE fails, too.
#[tokio::test]
async fn a_create_over_a_row_inside_of_a_transaction() {
    for kind in [ServerKind::Mariadb, ServerKind::Postgres] {
        let database = match kind {
            ServerKind::Mariadb => TestDatabase::mariadb(MariaVariant::default()),
            ServerKind::Postgres => TestDatabase::postgres(PostgresVariant::default()),
        };
        let Some(database) = database else { return };
        database.create_base_table(BaseTable::Ibexa, "ezdfsfile");
        let php = PdoNode::start(&database, "ezdfsfile", Path::new("/"), "").await;
        let Some(php) = php else { return };
        php.begin().await;
        php.store("a", 1, THEN, "a/b").await;
        php.rollback().await;
        assert_eq!(php.get(hash("a")).await, None);
        php.store("a", 1, THEN, "a/b").await;
        php.begin().await;
        let again = php.store_row(&ibexa_row("a", 2, THEN, "a/b")).await;
        let size = match kind {
            ServerKind::Mariadb => {
                assert_eq!(again, Ok(()));
                php.commit().await;
                2
            }
            ServerKind::Postgres => {
                assert_eq!(again.unwrap_err().sqlstate.as_deref(), Some("25P02"));
                php.rollback().await;
                1
            }
        };
        assert_eq!(php.get(hash("a")).await.unwrap().base.size, size, "{kind:?}");
    }
}
