//! The feed's triggers: as they should be, as they are, and whether they work.

use ezdfs_core::{Entropy as _, OsEntropy};
use sqlx::AssertSqlSafe;
use sqlx::mysql::{MySqlConnection, MySqlRow};

use super::Mysql;
use super::schema::rows;
use crate::decode;
use crate::server::ServerOptions;
use crate::server::dialect::{Dialect as _, Fault};
use crate::server::schema::{Stop, during, essence};
use crate::server::statement::{Param, Statement, params};

pub(super) const TRIGGERS: &str = include_str!("../../../../schema/mysql/triggers.sql");

/// Names, and what each fires after.
pub(super) const FEED: [(&str, &str); 3] = [
    ("ezdfs_feed_insert", "INSERT"),
    ("ezdfs_feed_update", "UPDATE"),
    ("ezdfs_feed_delete", "DELETE"),
];

/// What the triggers tell, one each.
const OPS: [&str; 3] = ["insert", "update", "delete"];

/// The statement that makes a trigger.
pub(super) fn statement(name: &str, table: &str) -> String {
    let begin = format!("CREATE TRIGGER {name} ");
    let all = TRIGGERS.replace("{table}", table);
    let mut statements =
        all.split("\n//").filter_map(|text| text.find(&begin).map(|at| &text[at..]));
    statements.next().unwrap_or_default().to_owned()
}

/// What a trigger does, as the server keeps it.
fn body(statement: &str) -> &str {
    statement.split_once("FOR EACH ROW").map_or("", |(_, body)| body)
}

/// A trigger as it is. One of which our user may not see what it does counts as not seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trigger {
    pub(super) name: String,
    pub(super) definer: String,
    /// Where it differs from what this version makes.
    pub(super) differs: bool,
}

pub(super) async fn find(
    conn: &mut MySqlConnection,
    options: &ServerOptions,
) -> Result<Vec<Trigger>, Stop> {
    let names: Vec<String> = FEED.iter().map(|(name, _)| (*name).to_owned()).collect();
    let found = rows(
        conn,
        "SELECT TRIGGER_NAME, DEFINER, ACTION_STATEMENT, EVENT_MANIPULATION, ACTION_TIMING, \
         EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS \
         WHERE TRIGGER_SCHEMA = DATABASE() AND TRIGGER_NAME @in(?1) \
         AND COALESCE(ACTION_STATEMENT, '') <> ''",
        params![names],
    )
    .await?;
    let triggers = found.iter().map(|row| {
        let text = |at| Ok::<_, sqlx::Error>(decode::text(row, at)?.unwrap_or_default());
        let name = text(0)?;
        let event = FEED.iter().find(|(n, _)| *n == name).map_or("", |(_, event)| *event);
        let wanted = statement(&name, &options.table);
        let is_same = essence(&text(2)?) == essence(body(&wanted))
            && text(3)? == event
            && text(4)? == "AFTER"
            && text(5)?.eq_ignore_ascii_case(&options.table);
        Ok(Trigger { name, definer: text(1)?, differs: !is_same })
    });
    triggers.collect::<Result<_, _>>().map_err(during("read the triggers"))
}

/// What a trial showed.
#[derive(Debug)]
pub(super) enum Proof {
    /// Each change was told.
    Works,
    /// Some were not: the operations.
    Untold(Vec<&'static str>),
    /// A statement failed, as one of PHP would.
    Fails(sqlx::Error),
}

/// Writes, changes and deletes a row as PHP would, looks for what the triggers wrote, and rolls all
/// of it back. Only for tables that can roll back.
pub(super) async fn prove(
    conn: &mut MySqlConnection,
    options: &ServerOptions,
) -> Result<Proof, Stop> {
    let what = "try out the triggers";
    Mysql::run(conn, "START TRANSACTION").await.map_err(during(what))?;
    Mysql::run(conn, "SET @ezdfs_was = @ezdfs_origin, @ezdfs_origin = NULL")
        .await
        .map_err(during(what))?;
    let proof = trial(conn, options).await;
    Mysql::run(conn, "ROLLBACK").await.map_err(during(what))?;
    Mysql::run(conn, "SET @ezdfs_origin = @ezdfs_was").await.map_err(during(what))?;
    proof
}

async fn trial(conn: &mut MySqlConnection, options: &ServerOptions) -> Result<Proof, Stop> {
    let what = "try out the triggers";
    let table = &options.table;
    let name = format!("ezdfs schema check {}", OsEntropy.token());
    let begun = match seen(conn, "SELECT MAX(seq) FROM ezdfs_change", vec![]).await? {
        Some(rows) => {
            rows.first().map(|row| decode::int(row, 0)).transpose().map_err(during(what))?
        }
        None => return Ok(Proof::Untold(OPS.to_vec())),
    };
    let before = begun.flatten().unwrap_or_default();
    for statement in [
        format!(
            "INSERT INTO `{table}` (name, name_trunk, name_hash) VALUES ('{name}', '{name}', MD5('{name}'))"
        ),
        format!("UPDATE `{table}` SET size = 1 WHERE name_hash = MD5('{name}')"),
        format!("DELETE FROM `{table}` WHERE name_hash = MD5('{name}')"),
    ] {
        if let Err(e) = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *conn).await {
            return Ok(Proof::Fails(e));
        }
    }
    let query = "SELECT op FROM ezdfs_change WHERE seq > ?1 AND name = ?2";
    let rows = seen(conn, query, params![before, name]).await?.unwrap_or_default();
    let told: Result<Vec<_>, _> = rows.iter().map(|row| decode::text(row, 0)).collect();
    let told: Vec<String> = told.map_err(during(what))?.into_iter().flatten().collect();
    let untold: Vec<_> = OPS.into_iter().filter(|op| !told.iter().any(|told| told == op)).collect();
    Ok(if untold.is_empty() { Proof::Works } else { Proof::Untold(untold) })
}

/// What the feed has; `None` where it is not as it should be.
async fn seen(
    conn: &mut MySqlConnection,
    query: &str,
    params: Vec<Param>,
) -> Result<Option<Vec<MySqlRow>>, Stop> {
    match Mysql::fetch(conn, &Statement::pieces(query), params).await {
        Ok(rows) => Ok(Some(rows)),
        Err(e) if matches!(Mysql::fault(&e), Fault::Other(..)) => Ok(None),
        Err(e) => Err(Stop::Sql("try out the triggers", e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trigger_has_its_statement() {
        for (name, event) in FEED {
            let text = statement(name, "ibexa_dfs_file");
            let begin = format!(
                "CREATE TRIGGER {name} AFTER {event} ON `ibexa_dfs_file` FOR EACH ROW\nBEGIN"
            );
            assert!(text.starts_with(&begin), "{text}");
            assert!(text.ends_with("END"), "{text}");
            assert!(body(&text).trim_start().starts_with("BEGIN"));
        }
    }
}
