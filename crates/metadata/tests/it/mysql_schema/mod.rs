//! `ezdfs schema` on MariaDB and MySQL.

mod feed;
mod install;
mod privileges;

use std::fs::File;
use std::process::Command;
use std::time::Duration;

use ezdfs_core::ErrorKind;
use ezdfs_metadata::mysql::{self, check, ddl, install, uninstall};
use ezdfs_metadata::server::{
    FeedChoice, FeedKind, Findings, InstallStep, Installed, Password, ServerOptions,
};
use ezdfs_testkit::metadata_suite::{
    PREFIX, START_SECS, expect_kind, file, list, materialise, name, publish, version,
};
use ezdfs_testkit::servers::{BaseTable, MariaVariant, TestDatabase};
use ezdfs_testkit::skip::skipped;
use ezdfs_testkit::{ForeignWriter as _, MariadbForeignWriter};
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, ConnectOptions as _};

use crate::server_scans::{expect_list, publish_among_scans};

const TABLE: &str = "ezdfsfile";
const FEED: [&str; 3] = ["ezdfs_feed_insert", "ezdfs_feed_update", "ezdfs_feed_delete"];

fn database() -> Option<TestDatabase> {
    TestDatabase::mariadb(MariaVariant::default())
}

fn options(database: &TestDatabase) -> ServerOptions {
    crate::mysql::options(database, TABLE, PREFIX)
}

async fn put_in(options: &ServerOptions, feed: FeedChoice) -> Installed {
    install(options, feed, &mut |_| {}).await.unwrap()
}

fn problems(findings: &Findings) -> Vec<String> {
    findings.problems().map(ToString::to_string).collect()
}

/// A user without any privilege, gone with the value.
struct User<'d> {
    database: &'d TestDatabase,
    name: String,
}

impl<'d> User<'d> {
    fn new(database: &'d TestDatabase, what: &str) -> Self {
        let name = database.database().replace("ezdfs_test_", &format!("{what}_"));
        database.run(&format!("CREATE USER '{name}'@'%' IDENTIFIED BY 'secret'"));
        Self { database, name }
    }

    fn may(&self, privileges: &str, table: &str) {
        let database = self.database.database();
        self.database
            .run(&format!("GRANT {privileges} ON `{database}`.{table} TO '{}'@'%'", self.name));
    }

    /// A binary log would be a second reason against triggers.
    fn trusted(self) -> Self {
        self.database.run(&format!("GRANT SUPER ON *.* TO '{}'@'%'", self.name));
        self
    }

    fn options(&self) -> ServerOptions {
        ServerOptions {
            user: self.name.clone(),
            password: Some(Password::new("secret")),
            ..options(self.database)
        }
    }

    async fn connect(&self) -> MySqlConnection {
        let options = self.database.mysql_options();
        options.username(&self.name).password("secret").connect().await.unwrap()
    }
}

impl Drop for User<'_> {
    fn drop(&mut self) {
        self.database.run(&format!("DROP USER IF EXISTS '{}'@'%'", self.name));
    }
}

async fn run(conn: &mut MySqlConnection, text: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(conn).await.map(drop)
}

/// What Ibexa does with a file, each statement alone.
async fn php_writes(conn: &mut MySqlConnection) {
    for statement in [
        "INSERT INTO ezdfsfile (name, name_hash, name_trunk, mtime, size, scope, datatype) \
         VALUES ('p', md5('p'), 'p', 1, 1, 'image', 'a/b')",
        "UPDATE ezdfsfile SET mtime = 2, size = 2 WHERE name_hash = md5('p')",
        "UPDATE ezdfsfile SET name = 'q', name_hash = md5('q') WHERE name_hash = md5('p')",
        "DELETE FROM ezdfsfile WHERE name_hash = md5('q')",
    ] {
        run(conn, statement).await.unwrap_or_else(|e| panic!("{statement}: {e}"));
    }
}

/// A base table of before ezdfs.
fn fill(database: &TestDatabase, rows: u32) {
    database.create_base_table(BaseTable::Ibexa, TABLE);
    database.run(&format!(
        "INSERT INTO {TABLE} (name, name_hash, name_trunk, mtime, size, scope, datatype) \
         SELECT n, md5(n), n, {START_SECS}, 5, 'image', 'image/png' FROM \
         (SELECT CONCAT('{PREFIX}/d', seq % 7, '/f', seq) AS n FROM seq_1_to_{rows}) x"
    ));
}
