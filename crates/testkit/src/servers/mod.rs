//! Databases on real servers: a fresh one for each test, gone with it. Object stores: [`store`].
//!
//! `scripts/test` starts the servers and names them in `EZDFS_TEST_MARIADB_URL` and
//! `EZDFS_TEST_POSTGRES_URL`, and the authority of their certificates in `EZDFS_TEST_TLS_CA`;
//! `scripts/test-servers` does so by hand.

// A server that fails ends the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod base_table;
pub mod store;
mod url;

pub use base_table::BaseTable;
pub use store::{TestBucket, TestContainer};

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use crate::skip::skipped;
use url::ServerUrl;

/// Names the MariaDB or MySQL server of the tests: `mysql://user:password@host:port`.
pub const MARIADB_URL: &str = "EZDFS_TEST_MARIADB_URL";
/// Names the PostgreSQL server: `postgres://user:password@host:port/postgres`.
pub const POSTGRES_URL: &str = "EZDFS_TEST_POSTGRES_URL";

/// Names a file with the certificate of the authority that signed those of both servers.
pub const TLS_CA: &str = "EZDFS_TEST_TLS_CA";

/// Longer than any statement of a clean-up takes.
const DROP_WAIT: Duration = Duration::from_secs(10);

/// Which program serves a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerKind {
    /// MariaDB or MySQL.
    Mariadb,
    /// PostgreSQL.
    Postgres,
}

/// Default character set and collation of a MariaDB database; a table may have its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MariaVariant {
    /// `utf8mb4_general_ci`, the server's default: ignores case and accents.
    #[default]
    GeneralCi,
    /// `utf8mb4_unicode_520_ci`, as in Ibexa's installation guide.
    Unicode520Ci,
    /// `utf8mb4_bin`.
    Bin,
    /// `utf8mb3_general_ci`: tables without a character set of their own refuse 4-byte UTF-8.
    Utf8mb3,
    /// `latin1_swedish_ci`: where nobody ever chose one.
    Latin1,
}

impl MariaVariant {
    fn clause(self) -> &'static str {
        match self {
            Self::GeneralCi => "CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
            Self::Unicode520Ci => "CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci",
            Self::Bin => "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
            Self::Utf8mb3 => "CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci",
            Self::Latin1 => "CHARACTER SET latin1 COLLATE latin1_swedish_ci",
        }
    }
}

/// Default collation of a PostgreSQL database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PostgresVariant {
    /// The cluster's, which `scripts/test-servers` makes a linguistic one (ICU, `en-US`).
    #[default]
    Linguistic,
    /// `C`: by bytes.
    C,
}

/// A database of one test, dropped with this value. Nothing here needs an async runtime, so a
/// test may call it from anywhere.
#[derive(Debug)]
pub struct TestDatabase {
    kind: ServerKind,
    server: ServerUrl,
    name: String,
}

impl TestDatabase {
    /// A new database on the server of this URL, for a test that starts a server of its own.
    ///
    /// # Panics
    /// When the server refuses.
    #[must_use]
    pub fn at(kind: ServerKind, url: &str) -> Self {
        let database = Self::on(kind, ServerUrl::parse(url).unwrap());
        let quote = if kind == ServerKind::Mariadb { '`' } else { '"' };
        let create = format!("CREATE DATABASE {quote}{}{quote}", database.name);
        database.administrate(vec![create]).expect("CREATE DATABASE");
        database
    }

    /// A new database on MariaDB; `None` without a server, after saying so.
    ///
    /// # Panics
    /// When the server refuses, or is missing with `EZDFS_REQUIRE=all`.
    #[must_use]
    pub fn mariadb(variant: MariaVariant) -> Option<Self> {
        let database = Self::named(ServerKind::Mariadb, MARIADB_URL)?;
        let create = format!("CREATE DATABASE `{}` {}", database.name, variant.clause());
        database.administrate(vec![create]).expect("CREATE DATABASE on MariaDB");
        Some(database)
    }

    /// A new database on PostgreSQL; `None` without a server, after saying so.
    ///
    /// # Panics
    /// When the server refuses, or is missing with `EZDFS_REQUIRE=all`.
    #[must_use]
    pub fn postgres(variant: PostgresVariant) -> Option<Self> {
        let database = Self::named(ServerKind::Postgres, POSTGRES_URL)?;
        let clause = match variant {
            PostgresVariant::Linguistic => "",
            PostgresVariant::C => {
                " TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER libc LC_COLLATE 'C' \
                 LC_CTYPE 'C'"
            }
        };
        let create = format!("CREATE DATABASE \"{}\"{clause}", database.name);
        database.administrate(vec![create]).expect("CREATE DATABASE on PostgreSQL");
        Some(database)
    }

    fn named(kind: ServerKind, variable: &str) -> Option<Self> {
        let Ok(url) = std::env::var(variable) else {
            let why = format!("{variable} is unset (scripts/test-servers starts one)");
            skipped(&format!("a test on {kind:?}"), &why);
            return None;
        };
        let server = ServerUrl::parse(&url).unwrap_or_else(|e| panic!("{variable}: {e}"));
        Some(Self::on(kind, server))
    }

    fn on(kind: ServerKind, server: ServerUrl) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Unique among processes that live at the same time and, on a server that outlives them,
        // among their followers.
        let moment = chrono::Utc::now().timestamp_micros();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ezdfs_test_{}_{moment}_{count}", std::process::id());
        Self { kind, server, name }
    }

    /// The program that serves it.
    #[must_use]
    pub fn kind(&self) -> ServerKind {
        self.kind
    }

    /// The server's host.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.server.host
    }

    /// The server's port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.port
    }

    /// A user that may do everything.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.server.user
    }

    /// The user's password; may be empty.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.server.password
    }

    /// The database's name.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.name
    }

    /// All of it: `mysql://user:password@host:port/database` or `postgres://…`.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = match self.kind {
            ServerKind::Mariadb => "mysql",
            ServerKind::Postgres => "postgres",
        };
        self.server.url(scheme, &self.name)
    }

    /// The same without the password.
    #[must_use]
    pub fn url_without_password(&self) -> String {
        let scheme = match self.kind {
            ServerKind::Mariadb => "mysql",
            ServerKind::Postgres => "postgres",
        };
        ServerUrl { password: String::new(), ..self.server.clone() }.url(scheme, &self.name)
    }

    /// How PHP connects to MariaDB: utf8mb4, and the server's own `sql_mode` and time zone.
    #[must_use]
    pub fn mysql_options(&self) -> MySqlConnectOptions {
        self.mysql_server().database(&self.name)
    }

    /// How PHP connects to PostgreSQL.
    #[must_use]
    pub fn postgres_options(&self) -> PgConnectOptions {
        self.postgres_server().database(&self.name)
    }

    /// Runs statements without parameters in this database.
    ///
    /// # Panics
    /// When one fails.
    pub fn run(&self, statements: &str) {
        let sql = vec![statements.to_owned()];
        let done = match self.kind {
            ServerKind::Mariadb => on_mariadb(self.mysql_options(), sql),
            ServerKind::Postgres => on_postgres(self.postgres_options(), sql),
        };
        done.unwrap_or_else(|e| panic!("in {}: {e}", self.name));
    }

    /// Makes a base table as a product ships it, without anything of ezdfs.
    ///
    /// # Panics
    /// When it fails, and for a legacy table on PostgreSQL: there were none.
    pub fn create_base_table(&self, variant: BaseTable, table: &str) {
        self.run(&variant.sql(self.kind, table));
    }

    fn mysql_server(&self) -> MySqlConnectOptions {
        MySqlConnectOptions::new()
            .host(&self.server.host)
            .port(self.server.port)
            .username(&self.server.user)
            .password(&self.server.password)
            .ssl_mode(MySqlSslMode::Disabled)
            .charset("utf8mb4")
            .pipes_as_concat(false)
            .no_engine_substitution(false)
            .timezone(None)
    }

    fn postgres_server(&self) -> PgConnectOptions {
        // Not `new`, which reads the variables of libpq.
        PgConnectOptions::new_without_pgpass()
            .host(&self.server.host)
            .port(self.server.port)
            .username(&self.server.user)
            .password(&self.server.password)
            .ssl_mode(PgSslMode::Disable)
            .database(self.server.database.as_deref().unwrap_or("postgres"))
    }

    fn administrate(&self, sql: Vec<String>) -> Result<(), sqlx::Error> {
        match self.kind {
            ServerKind::Mariadb => on_mariadb(self.mysql_server(), sql),
            ServerKind::Postgres => on_postgres(self.postgres_server(), sql),
        }
    }
}

impl Drop for TestDatabase {
    /// Best effort: `scripts/test` throws the server away anyway.
    fn drop(&mut self) {
        let name = &self.name;
        // Pools of the test may be open and in a transaction.
        let sql = match self.kind {
            ServerKind::Mariadb => vec![
                format!("SET SESSION lock_wait_timeout = {}", DROP_WAIT.as_secs() / 2),
                format!(
                    "BEGIN NOT ATOMIC FOR c IN (SELECT id FROM information_schema.processlist \
                     WHERE db = '{name}') DO KILL c.id; END FOR; END"
                ),
                format!("DROP DATABASE IF EXISTS `{name}`"),
            ],
            ServerKind::Postgres => vec![format!("DROP DATABASE IF EXISTS \"{name}\" (FORCE)")],
        };
        drop(self.administrate(sql));
    }
}

/// The certificate of the servers' authority, in PEM; `None` without one, after saying so.
///
/// # Panics
/// When it cannot be read, or is missing with `EZDFS_REQUIRE=all`.
#[must_use]
pub fn tls_ca() -> Option<Vec<u8>> {
    let Ok(file) = std::env::var(TLS_CA) else {
        let why = format!("{TLS_CA} is unset (scripts/test-servers sets it)");
        skipped("a test of encrypted connections", &why);
        return None;
    };
    Some(std::fs::read(&file).unwrap_or_else(|e| panic!("{TLS_CA}: {file}: {e}")))
}

fn on_mariadb(options: MySqlConnectOptions, sql: Vec<String>) -> Result<(), sqlx::Error> {
    on_own_thread(async move {
        let mut conn = options.connect().await?;
        for statement in sql {
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut conn).await?;
        }
        conn.close().await
    })
}

fn on_postgres(options: PgConnectOptions, sql: Vec<String>) -> Result<(), sqlx::Error> {
    on_own_thread(async move {
        let mut conn = options.connect().await?;
        for statement in sql {
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut conn).await?;
        }
        conn.close().await
    })
}

/// Also inside of a runtime, and in a destructor.
fn on_own_thread<T: Send + 'static>(
    work: impl Future<Output = Result<T, sqlx::Error>> + Send + 'static,
) -> Result<T, sqlx::Error> {
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime
            .block_on(async { tokio::time::timeout(DROP_WAIT * 3, work).await })
            .unwrap_or(Err(sqlx::Error::PoolTimedOut))
    });
    thread.join().unwrap_or(Err(sqlx::Error::WorkerCrashed))
}
