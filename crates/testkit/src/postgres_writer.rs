//! A foreign writer on PostgreSQL: a connection of its own, and the statements of PHP.

// A foreign writer that fails ends the test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use async_trait::async_trait;
use ezdfs_core::{BaseRow, NameHash};
use ezdfs_metadata::memory::ForeignRow;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};
use tokio::sync::Mutex;

use crate::foreign_writer::{ForeignError, ForeignWriter, hash_of, ibexa_row, like_pattern};
use crate::servers::TestDatabase;

/// Plain SQL on the base table of a PostgreSQL database.
///
/// PostgreSQL stores no U+0000 in text: the INSERT of such a name fails and the UPDATE meets no
/// row, so [`store`](ForeignWriter::store) stores nothing and says nothing. PHP's client library
/// cuts the name there instead. No node gets so far, for the bytes are refused first.
#[derive(Debug)]
pub struct PostgresForeignWriter {
    // One statement at a time, as one PHP process.
    conn: Mutex<PgConnection>,
    table: String,
}

const COLUMNS: &str = "name, name_trunk, datatype, scope, size, mtime::bigint, expired, status";

impl PostgresForeignWriter {
    /// Connects; `table` is the base table, which may be made later.
    pub async fn connect(database: &TestDatabase, table: &str) -> Self {
        let conn = database.postgres_options().connect().await.unwrap();
        Self { conn: Mutex::new(conn), table: table.to_owned() }
    }

    /// Runs statements without parameters.
    pub async fn run(&self, statements: &str) {
        let mut conn = self.conn.lock().await;
        sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut *conn).await.unwrap();
    }

    /// The first column of the first row, a 64-bit integer.
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
        let statement = statement.replace("{columns}", COLUMNS);
        AssertSqlSafe(statement.replace("{t}", &format!("\"{}\"", self.table)))
    }
}

#[async_trait]
impl ForeignWriter for PostgresForeignWriter {
    async fn store_row(&self, row: &ForeignRow) -> Result<(), ForeignError> {
        let mut conn = self.conn.lock().await;
        let base = &row.base;
        let hash = hash_of(&base.name).to_hex();
        let inserted = sqlx::query(self.sql(
            "INSERT INTO {t} (name, name_hash, name_trunk, mtime, size, scope, datatype) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        ))
        .bind(&base.name)
        .bind(&hash)
        .bind(&row.name_trunk)
        .bind(base.mtime)
        .bind(signed(base.size))
        .bind(&base.scope)
        .bind(&base.datatype)
        .execute(&mut *conn)
        .await;
        if inserted.is_err() {
            sqlx::query(self.sql(
                "UPDATE {t} SET mtime = $1, size = $2, scope = $3, datatype = $4 WHERE name_hash \
             = $5",
            ))
            .bind(base.mtime)
            .bind(signed(base.size))
            .bind(&base.scope)
            .bind(&base.datatype)
            .bind(&hash)
            .execute(&mut *conn)
            .await?;
        }
        Ok(())
    }

    async fn legacy_store(&self, name: &str, size: u64, mtime: i64, datatype: &str) {
        let mut conn = self.conn.lock().await;
        let row = ibexa_row(name, size, mtime, datatype);
        let base = &row.base;
        sqlx::query(self.sql(
            "INSERT INTO {t} (datatype, name, name_trunk, name_hash, scope, size, mtime, expired) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, FALSE) ON CONFLICT (name_hash) DO UPDATE SET \
             datatype = excluded.datatype, scope = excluded.scope, size = excluded.size, mtime = \
             excluded.mtime, expired = excluded.expired",
        ))
        .bind(&base.datatype)
        .bind(&base.name)
        .bind(&row.name_trunk)
        .bind(hash_of(name).to_hex())
        .bind(&base.scope)
        .bind(signed(base.size))
        .bind(base.mtime)
        .execute(&mut *conn)
        .await
        .unwrap();
    }

    async fn load(&self, name: &str) -> Option<ForeignRow> {
        let mut conn = self.conn.lock().await;
        let query = self.sql(
            "SELECT {columns} FROM {t} WHERE name_hash = $1 AND expired != TRUE AND mtime > 0",
        );
        let row = sqlx::query(query)
            .bind(hash_of(name).to_hex())
            .fetch_optional(&mut *conn)
            .await
            .unwrap()?;
        Some(foreign_row(&row))
    }

    async fn delete(&self, name: &str) -> bool {
        let mut conn = self.conn.lock().await;
        let done = sqlx::query(self.sql("DELETE FROM {t} WHERE name_hash = $1"))
            .bind(hash_of(name).to_hex())
            .execute(&mut *conn)
            .await
            .unwrap();
        done.rows_affected() == 1
    }

    async fn soft_delete(&self, name: &str) {
        let mut conn = self.conn.lock().await;
        sqlx::query(
            self.sql("UPDATE {t} SET mtime = -ABS(mtime), expired = TRUE WHERE name_hash = $1"),
        )
        .bind(hash_of(name).to_hex())
        .execute(&mut *conn)
        .await
        .unwrap();
    }

    async fn purge(&self, name: &str) -> bool {
        let mut conn = self.conn.lock().await;
        let delete = self.sql("DELETE FROM {t} WHERE name_hash = $1 AND expired = TRUE");
        let done =
            sqlx::query(delete).bind(hash_of(name).to_hex()).execute(&mut *conn).await.unwrap();
        done.rows_affected() == 1
    }

    async fn delete_directory(&self, name: &str) {
        let mut conn = self.conn.lock().await;
        sqlx::query(self.sql("DELETE FROM {t} WHERE name LIKE $1 ESCAPE '\\'"))
            .bind(like_pattern(name))
            .execute(&mut *conn)
            .await
            .unwrap();
    }

    async fn set(&self, hash: NameHash, row: &ForeignRow) {
        let mut conn = self.conn.lock().await;
        sqlx::query(self.sql(
            "INSERT INTO {t} (name_hash, name, name_trunk, datatype, scope, size, mtime, expired, \
             status) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (name_hash) DO \
             UPDATE SET \
             name = excluded.name, name_trunk = excluded.name_trunk, datatype = \
             excluded.datatype, scope = excluded.scope, size = excluded.size, mtime = \
             excluded.mtime, expired = excluded.expired, status = excluded.status",
        ))
        .bind(hash.to_hex())
        .bind(&row.base.name)
        .bind(&row.name_trunk)
        .bind(&row.base.datatype)
        .bind(&row.base.scope)
        .bind(signed(row.base.size))
        .bind(row.base.mtime)
        .bind(row.base.expired)
        .bind(row.status)
        .execute(&mut *conn)
        .await
        .unwrap();
    }

    async fn get(&self, hash: NameHash) -> Option<ForeignRow> {
        let mut conn = self.conn.lock().await;
        let query = self.sql("SELECT {columns} FROM {t} WHERE name_hash = $1");
        let row =
            sqlx::query(query).bind(hash.to_hex()).fetch_optional(&mut *conn).await.unwrap()?;
        Some(foreign_row(&row))
    }
}

fn foreign_row(row: &PgRow) -> ForeignRow {
    let text = |at: usize| row.try_get::<String, _>(at).unwrap();
    let flag = |at: usize| row.try_get::<bool, _>(at).unwrap();
    ForeignRow {
        base: BaseRow {
            name: text(0),
            datatype: text(2),
            scope: text(3),
            size: u64::try_from(row.try_get::<i64, _>(4).unwrap()).unwrap(),
            mtime: row.try_get(5).unwrap(),
            expired: flag(6),
        },
        name_trunk: text(1),
        status: flag(7),
    }
}

fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap()
}
