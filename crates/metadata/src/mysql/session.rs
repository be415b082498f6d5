//! What each connection is told first, so that nothing depends on how the server is set up.

use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};

use super::Mysql;
use crate::server::dialect::Dialect as _;
use crate::server::{Host, ServerOptions, Tls};

/// Longest wait for a row that another transaction has locked.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Prepared statements that a connection keeps. A server has 16,382 of them for all its clients
/// unless told otherwise; to close one costs a connection 40 ms.
const STATEMENTS: usize = 100;

/// Deepest directory, and some: both servers stop at 1,000 otherwise.
const DEPTH: u32 = 4_096;

/// Bytes by which names are sorted; both servers look at 1,024 otherwise. More than the longest
/// path with its prefix has.
const SORTED: u32 = 8_192;

/// Connects to one host and prepares the session.
pub(super) async fn connect(
    options: &ServerOptions,
    host: &Host,
) -> Result<MySqlConnection, sqlx::Error> {
    let mut connect = MySqlConnectOptions::new()
        .host(&host.name)
        .port(host.port.unwrap_or(Mysql::PORT))
        .username(&options.user)
        .database(&options.database)
        .ssl_mode(match &options.tls {
            Tls::Off => MySqlSslMode::Disabled,
            Tls::Prefer => MySqlSslMode::Preferred,
            Tls::Verify(_) => MySqlSslMode::VerifyIdentity,
        })
        .ssl_ca_from_pem(options.tls.authorities())
        .charset("utf8mb4")
        .timezone("+00:00".to_owned())
        // The whole of `sql_mode` is set below.
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .statement_cache_capacity(STATEMENTS)
        .disable_statement_logging();
    if let Some(password) = &options.password {
        connect = connect.password(password.reveal());
    }
    let mut conn = connect.connect().await?;
    let row = sqlx::raw_sql("SELECT VERSION()").fetch_one(&mut conn).await?;
    let version: String = row.try_get_unchecked(0)?;
    let session = prepare(&version, options.io_timeout, &options.origin);
    sqlx::raw_sql(AssertSqlSafe(session)).execute(&mut conn).await?;
    Ok(conn)
}

/// The statement that prepares a session. The origin is written in hex, so that it is text whatever
/// it holds.
fn prepare(version: &str, io_timeout: Duration, origin: &str) -> String {
    let origin: String = origin.bytes().map(|b| format!("{b:02x}")).collect();
    let of_server = if version.contains("MariaDB") {
        // A long IN is to stay a look-up of each value.
        format!(
            "tx_isolation = 'READ-COMMITTED', max_statement_time = {}, \
             idle_transaction_timeout = {}, \
             max_recursive_iterations = {DEPTH}, in_predicate_conversion_threshold = 0",
            io_timeout.as_secs_f64(),
            io_timeout.as_secs().max(1)
        )
    } else {
        format!(
            "transaction_isolation = 'READ-COMMITTED', max_execution_time = {}, \
             cte_max_recursion_depth = {DEPTH}",
            io_timeout.as_millis()
        )
    };
    format!(
        // Nothing is converted on the way to us: hashes and digests are ASCII, names are bytes, and
        // what may be in another character set is converted by its statement.
        "SET character_set_results = NULL, sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO', \
         autocommit = 1, innodb_lock_wait_timeout = {0}, lock_wait_timeout = {0}, \
         max_sort_length = {SORTED}, {of_server}, \
         @ezdfs_origin = CONVERT(x'{origin}' USING utf8mb4)",
        LOCK_WAIT.as_secs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_gets_its_own_variables() {
        let time = Duration::from_millis(1_500);
        let mariadb = prepare("10.11.19-MariaDB-0+deb12u1", time, "it's");
        assert!(mariadb.contains("max_statement_time = 1.5,"), "{mariadb}");
        assert!(mariadb.contains("tx_isolation = 'READ-COMMITTED'"));
        let mysql = prepare("8.0.36", time, "a");
        assert!(mysql.contains("max_execution_time = 1500,"), "{mysql}");
        assert!(mysql.contains(" transaction_isolation = 'READ-COMMITTED'"));
        assert!(mysql.ends_with("@ezdfs_origin = CONVERT(x'61' USING utf8mb4)"));
    }
}
