//! A fresh database for each test.

use ezdfs_testkit::servers::{BaseTable, MariaVariant, PostgresVariant, ServerKind};
use ezdfs_testkit::{MariadbForeignWriter, PostgresForeignWriter, TestDatabase};

#[tokio::test]
async fn a_mariadb_database_is_alone_and_goes() {
    let Some(one) = TestDatabase::mariadb(MariaVariant::default()) else { return };
    let two = TestDatabase::mariadb(MariaVariant::default()).unwrap();
    assert_ne!(one.database(), two.database());
    one.create_base_table(BaseTable::Ibexa, "ezdfsfile");
    let sql = MariadbForeignWriter::connect(&two, "ezdfsfile").await;
    assert_eq!(
        sql.number(
            "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE()"
        )
        .await,
        0
    );
    let is_there = format!(
        "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = '{}'",
        one.database()
    );
    assert_eq!(sql.number(&is_there).await, 1);
    // A transaction that a failed test left open.
    let open = MariadbForeignWriter::connect(&one, "ezdfsfile").await;
    open.run("BEGIN; INSERT INTO ezdfsfile (name, name_trunk) VALUES ('a', 'a')").await;
    drop(one);
    assert_eq!(sql.number(&is_there).await, 0);
}

#[tokio::test]
async fn a_postgres_database_is_alone_and_goes() {
    let Some(one) = TestDatabase::postgres(PostgresVariant::default()) else { return };
    let two = TestDatabase::postgres(PostgresVariant::default()).unwrap();
    assert_ne!(one.database(), two.database());
    one.create_base_table(BaseTable::Ibexa, "ezdfsfile");
    let sql = PostgresForeignWriter::connect(&two, "ezdfsfile").await;
    assert_eq!(sql.number("SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'").await, 0);
    let is_there = format!("SELECT COUNT(*) FROM pg_database WHERE datname = '{}'", one.database());
    assert_eq!(sql.number(&is_there).await, 1);
    let open = PostgresForeignWriter::connect(&one, "ezdfsfile").await;
    open.run("BEGIN; INSERT INTO ezdfsfile (name, name_trunk) VALUES ('a', 'a')").await;
    drop(one);
    assert_eq!(sql.number(&is_there).await, 0);
}

/// A table without a collation of its own takes the database's.
#[tokio::test]
async fn mariadb_databases_differ_in_collation() {
    for (variant, collation) in [
        (MariaVariant::GeneralCi, "utf8mb4_general_ci"),
        (MariaVariant::Unicode520Ci, "utf8mb4_unicode_520_ci"),
        (MariaVariant::Bin, "utf8mb4_bin"),
        (MariaVariant::Utf8mb3, "utf8mb3_general_ci"),
        (MariaVariant::Latin1, "latin1_swedish_ci"),
    ] {
        let Some(database) = TestDatabase::mariadb(variant) else { return };
        database.run("CREATE TABLE t (name text)");
        let sql = MariadbForeignWriter::connect(&database, "t").await;
        let of_column = format!(
            "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() \
             AND collation_name = '{collation}'"
        );
        assert_eq!(sql.number(&of_column).await, 1, "{collation}");
    }
}

#[tokio::test]
async fn postgres_databases_differ_in_collation() {
    for (variant, in_order) in [(PostgresVariant::Linguistic, 1), (PostgresVariant::C, 0)] {
        let Some(database) = TestDatabase::postgres(variant) else { return };
        let sql = PostgresForeignWriter::connect(&database, "t").await;
        assert_eq!(sql.number("SELECT ('a' < 'B')::int::bigint").await, in_order, "{variant:?}");
    }
}

#[tokio::test]
async fn base_tables_of_mariadb_differ_in_collation_and_index() {
    let Some(database) = TestDatabase::mariadb(MariaVariant::default()) else { return };
    let sql = MariadbForeignWriter::connect(&database, "t").await;
    for (variant, table, collation, prefix) in [
        (BaseTable::Ibexa, "ezdfsfile", "utf8mb4_unicode_520_ci", 191),
        (BaseTable::IbexaGeneralCi, "ibexa_dfs_file", "utf8mb4_general_ci", 191),
        (BaseTable::Legacy, "old", "utf8mb3_bin", 250),
    ] {
        database.create_base_table(variant, table);
        let columns = format!(
            "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() \
             AND table_name = '{table}' AND collation_name = '{collation}'"
        );
        assert_eq!(sql.number(&columns).await, 5, "{table}");
        let indexes = format!(
            "SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = DATABASE() \
             AND table_name = '{table}' AND sub_part = {prefix}"
        );
        assert_eq!(sql.number(&indexes).await, 3, "{table}");
    }
    assert_eq!(BaseTable::of(ServerKind::Mariadb).len(), 3);
}

#[test]
fn addresses_have_all_parts() {
    let Some(database) = TestDatabase::mariadb(MariaVariant::default()) else { return };
    assert_eq!(database.kind(), ServerKind::Mariadb);
    let end = format!("@{}:{}/{}", database.host(), database.port(), database.database());
    assert!(database.url().starts_with(&format!("mysql://{}", database.user())));
    assert!(database.url().ends_with(&end));
    assert!(database.url_without_password().ends_with(&end));
    assert!(!database.password().is_empty(), "the server of scripts/test-servers has one");
    assert!(!database.url_without_password().contains(database.password()));
    assert!(!format!("{database:?}").contains(database.password()));
}
