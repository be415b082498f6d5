//! The triggers, as whom they run, and whether they work.

use super::*;

/// The triggers, as whom they run, and whether they work.
pub(super) async fn triggers(
    conn: &mut MySqlConnection,
    options: &ServerOptions,
    may_try: bool,
    findings: &mut Findings,
) -> Result<(), Stop> {
    let found = triggers::find(conn, options).await?;
    for trigger in &found {
        if trigger.differs {
            findings.problem(
                format!("the trigger {} is not as this version makes it", trigger.name),
                "changes by PHP may not be told, or its statements may fail",
                REINSTALL,
            );
        }
        definer(conn, options, trigger, findings).await?;
    }
    let proof = if may_try { Some(prove(conn, options).await?) } else { None };
    let works = matches!(proof, Some(Proof::Works));
    for (name, _) in FEED {
        // Without TRIGGER on the table nobody sees its triggers, and they work all the same.
        if !works && !found.iter().any(|trigger| trigger.name == name) {
            findings.problem(
                format!("the trigger {name} is missing, or the user may not see it"),
                "changes by PHP are not told: listings lack files until a scan finds them, once an hour",
                REINSTALL,
            );
        }
    }
    match proof {
        Some(Proof::Untold(ops)) => findings.problem(
            format!(
                "the {} of a row of {} on trial was not told by the triggers",
                ops.join(", "),
                options.table
            ),
            "changes by PHP are not told: listings lack files until a scan finds them, once an hour",
            "see the other lines, then run `ezdfs schema install`",
        ),
        Some(Proof::Fails(e)) => findings.problem(
            format!("a change of a row of {} on trial fails ({e})", options.table),
            "so does what PHP writes, and Ibexa reports success",
            "if it names a definer: DROP TRIGGER ezdfs_feed_insert, ezdfs_feed_update and \
             ezdfs_feed_delete, then run `ezdfs schema install` as a user that stays",
        ),
        Some(Proof::Works) | None => {}
    }
    Ok(())
}

/// Whether the user as whom a trigger runs is there.
pub(super) async fn definer(
    conn: &mut MySqlConnection,
    options: &ServerOptions,
    trigger: &Trigger,
    findings: &mut Findings,
) -> Result<(), Stop> {
    let Some((user, host)) = trigger.definer.rsplit_once('@') else { return Ok(()) };
    let query = "SELECT COUNT(*) FROM mysql.user WHERE User = ?1 AND Host = ?2";
    // Few users may look there; the trial finds it out too.
    let count = match number(conn, query, params![user, host]).await {
        Ok(count) => count,
        Err(Stop::Sql(_, e)) if matches!(Mysql::fault(&e), Fault::Other(..)) => {
            return Ok(());
        }
        Err(stop) => return Err(stop),
    };
    if count == 0 {
        findings.problem(
            format!("'{user}'@'{host}', as whom the trigger {} runs, does not exist", trigger.name),
            format!(
                "each such statement of PHP on {} fails with error 1449, and Ibexa reports success",
                options.table
            ),
            format!(
                "DROP TRIGGER {}, then run `ezdfs schema install` as a user that stays",
                trigger.name
            ),
        );
    }
    Ok(())
}
