//! A foreign writer on a SQLite database: a connection of its own and Ibexa's statements.

// A foreign writer that fails ends the test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use ezdfs_core::{BaseRow, NameHash};
use ezdfs_metadata::memory::ForeignRow;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};
use tokio::sync::Mutex;

use crate::foreign_writer::{ForeignError, ForeignWriter, hash_of, like_pattern};

/// Plain SQL on the base table of a SQLite database.
#[derive(Debug)]
pub struct SqliteForeignWriter {
    // One statement at a time, as one PHP process.
    conn: Mutex<SqliteConnection>,
    table: String,
}

impl SqliteForeignWriter {
    /// Connects to an existing database; `table` is its base table.
    pub async fn connect(file: &Path, table: &str) -> Self {
        let conn = SqliteConnectOptions::new()
            .filename(file)
            .busy_timeout(Duration::from_secs(10))
            .connect()
            .await
            .unwrap();
        Self { conn: Mutex::new(conn), table: table.to_owned() }
    }

    /// Runs statements without parameters.
    pub async fn run(&self, statements: &str) {
        self.try_run(statements).await.unwrap();
    }

    /// Runs statements that may fail.
    pub async fn try_run(&self, statements: &str) -> Result<(), sqlx::Error> {
        let mut conn = self.conn.lock().await;
        sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut *conn).await.map(drop)
    }

    /// The first column of the first row.
    pub async fn number(&self, query: &str) -> i64 {
        let mut conn = self.conn.lock().await;
        let row = sqlx::query(AssertSqlSafe(query.to_owned())).fetch_one(&mut *conn).await.unwrap();
        row.try_get_unchecked(0).unwrap()
    }

    /// Closes the connection.
    pub async fn close(self) {
        self.conn.into_inner().close().await.unwrap();
    }

    fn sql(&self, statement: &str) -> AssertSqlSafe<String> {
        AssertSqlSafe(statement.replace("{t}", &format!("\"{}\"", self.table)))
    }
}

#[async_trait]
impl ForeignWriter for SqliteForeignWriter {
    async fn store_row(&self, row: &ForeignRow) -> Result<(), ForeignError> {
        let mut conn = self.conn.lock().await;
        let base = &row.base;
        let hash = hash_of(&base.name).to_hex();
        let size = i64::try_from(base.size).unwrap();
        let inserted = sqlx::query(self.sql(
            "INSERT INTO {t} (name, name_hash, name_trunk, mtime, size, scope, datatype) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        ))
        .bind(&base.name)
        .bind(&hash)
        .bind(&row.name_trunk)
        .bind(base.mtime)
        .bind(size)
        .bind(&base.scope)
        .bind(&base.datatype)
        .execute(&mut *conn)
        .await;
        if inserted.is_err() {
            sqlx::query(self.sql(
                "UPDATE {t} SET mtime = ?, size = ?, scope = ?, datatype = ? WHERE name_hash = ?",
            ))
            .bind(base.mtime)
            .bind(size)
            .bind(&base.scope)
            .bind(&base.datatype)
            .bind(&hash)
            .execute(&mut *conn)
            .await?;
        }
        Ok(())
    }

    async fn delete(&self, name: &str) -> bool {
        let mut conn = self.conn.lock().await;
        let done = sqlx::query(self.sql("DELETE FROM {t} WHERE name_hash = ?"))
            .bind(hash_of(name).to_hex())
            .execute(&mut *conn)
            .await
            .unwrap();
        done.rows_affected() == 1
    }

    async fn soft_delete(&self, name: &str) {
        let mut conn = self.conn.lock().await;
        sqlx::query(
            self.sql("UPDATE {t} SET mtime = -abs(mtime), expired = 1 WHERE name_hash = ?"),
        )
        .bind(hash_of(name).to_hex())
        .execute(&mut *conn)
        .await
        .unwrap();
    }

    async fn delete_directory(&self, name: &str) {
        let mut conn = self.conn.lock().await;
        sqlx::query(self.sql("DELETE FROM {t} WHERE name LIKE ? ESCAPE '\\'"))
            .bind(like_pattern(name))
            .execute(&mut *conn)
            .await
            .unwrap();
    }

    async fn set(&self, hash: NameHash, row: &ForeignRow) {
        let mut conn = self.conn.lock().await;
        sqlx::query(self.sql(
            "INSERT INTO {t} (name_hash, name, name_trunk, datatype, scope, size, mtime, expired, \
             status) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name_hash) DO UPDATE SET \
             name = excluded.name, name_trunk = excluded.name_trunk, \
             datatype = excluded.datatype, scope = excluded.scope, size = excluded.size, \
             mtime = excluded.mtime, expired = excluded.expired, status = excluded.status",
        ))
        .bind(hash.to_hex())
        .bind(&row.base.name)
        .bind(&row.name_trunk)
        .bind(&row.base.datatype)
        .bind(&row.base.scope)
        .bind(i64::try_from(row.base.size).unwrap())
        .bind(row.base.mtime)
        .bind(row.base.expired)
        .bind(row.status)
        .execute(&mut *conn)
        .await
        .unwrap();
    }

    async fn get(&self, hash: NameHash) -> Option<ForeignRow> {
        let mut conn = self.conn.lock().await;
        let row = sqlx::query(self.sql(
            "SELECT name, name_trunk, datatype, scope, size, mtime, expired, status FROM {t} \
             WHERE name_hash = ?",
        ))
        .bind(hash.to_hex())
        .fetch_optional(&mut *conn)
        .await
        .unwrap()?;
        let number = |at: usize| row.try_get_unchecked::<i64, _>(at).unwrap();
        let text = |at: usize| row.try_get_unchecked::<String, _>(at).unwrap();
        Some(ForeignRow {
            base: BaseRow {
                name: text(0),
                datatype: text(2),
                scope: text(3),
                size: u64::try_from(number(4)).unwrap(),
                mtime: number(5),
                expired: number(6) != 0,
            },
            name_trunk: text(1),
            status: number(7) != 0,
        })
    }
}
