//! What our user may do.

use super::grants::gives;
use super::*;

/// What our user may not do, found out by statements that do nothing: grants are of too many kinds
/// to be added up. Answers with the tables where something is lacking.
pub(super) async fn privileges(
    conn: &mut MySqlConnection,
    options: &ServerOptions,
    has_base: bool,
    missing: &[&str],
    findings: &mut Findings,
) -> Result<Vec<String>, Stop> {
    let user = account(conn).await?;
    let mut tables = Vec::new();
    if has_base {
        tables.push((options.table.as_str(), "name_hash"));
    }
    let side = [
        ("ezdfs_node", "path_hash"),
        ("ezdfs_pending", "path_hash"),
        ("ezdfs_lease", "node"),
        ("ezdfs_change", "op"),
        ("ezdfs_xattr", "path_hash"),
        ("ezdfs_meta", "value"),
    ];
    tables.extend(side.into_iter().filter(|(table, _)| !missing.contains(table)));
    let mut all = Vec::new();
    for (table, column) in tables {
        let mut lacks = Vec::new();
        for (privilege, statement) in [
            ("SELECT", format!("SELECT 1 FROM `{table}` LIMIT 0")),
            (
                "INSERT",
                format!("INSERT INTO `{table}` (`{column}`) SELECT '' FROM DUAL WHERE FALSE"),
            ),
            ("UPDATE", format!("UPDATE `{table}` SET `{column}` = '' WHERE FALSE")),
            ("DELETE", format!("DELETE FROM `{table}` WHERE FALSE")),
        ] {
            let done = execute(conn, statement).await;
            if done.is_err_and(|e| matches!(fault::number(&e), Some(1044 | 1142 | 1143))) {
                lacks.push(privilege);
            }
        }
        if lacks.is_empty() {
            continue;
        }
        let lacks = lacks.join(", ");
        findings.problem(
            format!("the user {user} lacks {lacks} on {table}"),
            "statements fail",
            format!("GRANT {lacks} ON {} TO {user}", granted(options, table)),
        );
        all.push(table.to_owned());
    }
    Ok(all)
}

/// Whether our user could make triggers.
pub(super) async fn may_trigger(
    conn: &mut MySqlConnection,
    options: &ServerOptions,
    server: &Server,
    findings: &mut Findings,
) -> Result<(), Stop> {
    let user = account(conn).await?;
    let found = rows(conn, "SHOW GRANTS", vec![]).await?;
    let grants: Result<Vec<_>, _> = found.iter().map(|row| decode::text(row, 0)).collect();
    let grants: Vec<String> =
        grants.map_err(during("read the grants"))?.into_iter().flatten().collect();
    if !grants.iter().any(|grant| gives(grant, "TRIGGER", &options.database, &options.table)) {
        findings.problem(
            format!("the user {user} lacks TRIGGER on {}", options.table),
            NO_TRIGGERS,
            format!("GRANT TRIGGER ON {} TO {user}", granted(options, &options.table)),
        );
    }
    let is_trusted = server.trusts
        || ["SUPER", "BINLOG ADMIN"].iter().any(|p| grants.iter().any(|g| gives(g, p, "", "")));
    if server.has_binlog && !is_trusted {
        findings.problem(
            format!("the server {DISTRUST} (error {NOT_TRUSTED})"),
            NO_TRIGGERS,
            TRUST,
        );
    }
    Ok(())
}
