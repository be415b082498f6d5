//! The statements of MySQL and MariaDB.
//!
//! Statements that lock name their index: on a small table the optimizer would walk all rows, and
//! so wait for rows that others have locked, in another order than everybody else.

use super::names::{NODE_BY_BASE, Names};
use crate::server::limits::NameLimits;
use crate::server::sql::{Sql, many_nodes};
use crate::server::statement::Statement;

/// Columns of base row `b`. `expired` is true as PHP compares it, and NULL hides a row from it.
fn base(names: &Names) -> String {
    let [name, datatype, scope] = ["b.name", "b.datatype", "b.scope"].map(|c| names.utf8(c));
    format!(
        "{name}, {datatype}, {scope}, CAST(b.size AS SIGNED), CAST(b.mtime AS SIGNED), \
         CAST(b.expired = 1 AS SIGNED)"
    )
}

/// Columns of node row `n`.
const NODE: &str = "n.parent_hash, n.basename, n.kind, n.ino, n.mode, n.uid, n.gid, n.mtime_ns, \
     n.ctime_ns, n.pin, n.token, n.sha256, n.expires_at, n.base_size, n.base_mtime";

const NO_BASE: &str = "NULL, NULL, NULL, NULL, NULL, NULL";

const NO_NODE: &str =
    "NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL";

const VISIBLE: &str = "(b.expired <> 1 AND b.mtime > 0)";

/// Columns of a pending row, as `decode::intent` reads them.
const PENDING: &str = "p.id, p.kind, p.path, p.subtree, p.token, p.owner, p.state, p.lease_end, \
     p.not_before, p.size, p.sha256, p.datatype, p.mtime_ns, p.expires_at, p.pin, p.other_path, \
     p.`key`";

/// Held rows that keep a path from being held.
const BLOCKERS: [&str; 3] = [
    "p.hold = ?1",
    "p.hold @in(?2) AND p.subtree = 1",
    "?3 AND p.hold IS NOT NULL AND p.state = 'held' AND p.prefix = ?4 AND p.path >= ?5 \
     AND p.path < ?6",
];

/// Columns that a write of a node row sets, in the order of `bind::node`; `size` repeats ?14.
const NODE_WRITE: &str = "path_hash, parent_hash, basename, kind, mode, uid, gid, mtime_ns, \
     ctime_ns, pin, token, sha256, expires_at, base_size, base_mtime, size";
const NODE_VALUES: &str = "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?14";
const NODE_SET: &str = "parent_hash = ?2, basename = ?3, kind = ?4, mode = ?5, uid = ?6, \
     gid = ?7, mtime_ns = ?8, ctime_ns = ?9, pin = ?10, token = ?11, sha256 = ?12, \
     expires_at = ?13, base_size = ?14, base_mtime = ?15, size = ?14";

fn s(text: impl AsRef<str>) -> Statement {
    Statement::pieces(text.as_ref())
}

/// Whether the file's own expiry has come, for the version that the node row describes.
fn is_over(now: &str) -> String {
    format!(
        "(n.expires_at IS NOT NULL AND n.expires_at <= {now} AND n.base_size = b.size \
         AND n.base_mtime = ABS(b.mtime))"
    )
}

/// Soft-deleted rows by (expired, name), and the few that only their mtime hides.
fn tombstones(base: &str, join: &str, bytes: &str, range: &str, limit: &str) -> Statement {
    let columns = format!("{base}, {NODE}, b.name_hash, {bytes} AS name_bytes");
    s(format!(
        "(SELECT {columns} FROM {join} WHERE b.expired = 1 AND {range} \
         ORDER BY name_bytes LIMIT {limit}) UNION ALL \
         (SELECT {columns} FROM {join} WHERE b.mtime <= 0 AND b.expired <> 1 AND {range} \
         ORDER BY name_bytes LIMIT {limit}) ORDER BY name_bytes LIMIT {limit}"
    ))
}

/// Rows, visible ones, their bytes. A sum of sizes is a DECIMAL here, and cannot overflow.
fn figures(join: &str, range: &str, now: &str) -> Statement {
    s(format!(
        "SELECT COUNT(*), CAST(COALESCE(SUM(s.shown), 0) AS SIGNED), \
         CAST(LEAST(COALESCE(SUM(CASE WHEN s.shown THEN s.size END), 0), 9223372036854775807) \
         AS SIGNED) FROM (SELECT GREATEST(b.size, 0) AS size, \
         ({VISIBLE} AND NOT COALESCE({over}, FALSE)) AS shown FROM {join} WHERE {range}) s",
        over = is_over(now),
    ))
}

/// The statements around `table`, a checked name.
pub(super) fn sql(table: &str, names: &Names) -> Sql {
    let columns = base(names);
    let t = format!("`{table}`");
    let join = format!("{t} b LEFT JOIN ezdfs_node n ON {NODE_BY_BASE}");
    let bytes = names.bytes("b.name");
    let base_by_node = names.base_by("n.path_hash");
    let [own, above, below] =
        BLOCKERS.map(|w| format!("SELECT {PENDING} FROM ezdfs_pending p WHERE {w}"));
    let by_path = "FORCE INDEX (ezdfs_node_path)";
    let by_token = "FORCE INDEX (ezdfs_pending_token)";
    Sql {
        names: NameLimits { bytes: None, of_character: names.bytes_of_character() },
        record: s(format!(
            "SELECT {columns}, {NODE} FROM (SELECT 1 AS one) k LEFT JOIN {t} b ON {base} \
             LEFT JOIN ezdfs_node n ON n.path_hash = ?1",
            base = names.base_by("?1"),
        )),
        list: s(format!(
            "SELECT {columns}, {NODE} FROM ezdfs_node n LEFT JOIN {t} b ON {base_by_node} \
             WHERE n.parent_hash = ?1 AND n.basename > ?2 ORDER BY n.basename LIMIT ?3"
        )),
        scan: s(format!(
            "SELECT {columns}, {NODE}, b.name_hash FROM {join} WHERE b.name_hash > ?1 AND {range} \
             ORDER BY b.name_hash LIMIT ?5",
            range = names.below("?2", "?3", "?4"),
        )),
        scan_all: s(format!(
            "SELECT {columns}, {NODE}, b.name_hash FROM {join} WHERE b.name_hash > ?1 \
             ORDER BY b.name_hash LIMIT ?2"
        )),
        tombstones: tombstones(
            &columns,
            &join,
            &bytes,
            &format!("{bytes} > ?1 AND {}", names.below("?2", "?3", "?4")),
            "?5",
        ),
        tombstones_all: tombstones(&columns, &join, &bytes, &format!("{bytes} > ?1"), "?2"),
        expired: s(format!(
            "SELECT STRAIGHT_JOIN {columns}, {NODE}, b.name_hash \
             FROM ezdfs_node n FORCE INDEX (ezdfs_node_expires) JOIN {t} b ON {base_by_node} \
             WHERE {over} AND {VISIBLE} AND (NOT ?2 OR ({bytes} >= ?3 AND {bytes} < ?4)) \
             ORDER BY n.expires_at, n.parent_hash, n.basename LIMIT ?5",
            over = is_over("?1"),
        )),
        intents_of: s(format!(
            "SELECT {PENDING} FROM ezdfs_pending p WHERE p.token = ?1 ORDER BY p.id"
        )),
        intents_on: s(format!(
            "{own} UNION ALL {above} UNION ALL SELECT {PENDING} FROM ezdfs_pending p \
             WHERE p.path_hash = ?1 AND p.hold IS NULL ORDER BY 1"
        )),
        due_lease: s(format!(
            "SELECT {PENDING} FROM ezdfs_pending p WHERE p.prefix = ?1 AND p.state = ?2 \
             AND p.state <> 'queued' AND p.lease_end <= ?3 ORDER BY p.lease_end, p.id LIMIT ?4"
        )),
        due_queue: s(format!(
            "SELECT {PENDING} FROM ezdfs_pending p WHERE p.prefix = ?1 AND p.state = 'queued' \
             AND p.not_before <= ?2 ORDER BY p.not_before, p.id LIMIT ?3"
        )),
        figures_files: figures(&join, &names.below("?1", "?2", "?3"), "?4"),
        figures_files_all: figures(&join, "TRUE", "?1"),
        figures_dirs: s(
            "WITH RECURSIVE tree (h) AS (SELECT CONVERT(?1 USING ascii) COLLATE ascii_bin UNION \
             SELECT n.path_hash FROM tree JOIN ezdfs_node n ON n.parent_hash = tree.h \
             WHERE n.kind = 'dir') SELECT COUNT(*) - 1 FROM tree",
        ),
        figures_pending: s("SELECT CAST(COALESCE(SUM(state = 'held'), 0) AS SIGNED), \
             CAST(COALESCE(SUM(state = 'held' AND lease_end <= ?2), 0) AS SIGNED), \
             CAST(COALESCE(SUM(state = 'queued' AND kind = 'reap'), 0) AS SIGNED) \
             FROM ezdfs_pending WHERE prefix = ?1"),
        foreign_count: s("SELECT COUNT(*) FROM ezdfs_change WHERE todo = 1"),
        foreign_waits: s("SELECT 1 FROM ezdfs_change WHERE todo = 1 LIMIT 1"),
        now: s("SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) * 1000"),

        // Ordered, so that transactions lock in one order.
        nodes_change: s(format!(
            "SELECT {NO_BASE}, {NODE}, n.path_hash FROM ezdfs_node n {by_path} \
             WHERE n.path_hash @in(?1) ORDER BY n.path_hash FOR UPDATE"
        )),
        nodes_keep: s(format!(
            "SELECT {NO_BASE}, {NODE}, n.path_hash FROM ezdfs_node n {by_path} \
             WHERE n.path_hash @in(?1) ORDER BY n.path_hash LOCK IN SHARE MODE"
        )),
        bases: s(format!(
            "SELECT {columns}, {NO_NODE}, b.name_hash FROM {t} b WHERE b.name_hash @in(?1)"
        )),
        bases_change: s(format!(
            "SELECT {columns}, {NO_NODE}, b.name_hash FROM {t} b FORCE INDEX (PRIMARY) \
             WHERE b.name_hash @in(?1) ORDER BY b.name_hash FOR UPDATE"
        )),
        // DISTINCT over the hashes only: what waits may name a row many times.
        unseen_below: s(format!(
            "SELECT STRAIGHT_JOIN {columns}, {NODE}, b.name_hash FROM (SELECT DISTINCT name_hash \
             FROM ezdfs_change WHERE todo = 1 AND CAST(name AS BINARY) >= ?1 \
             AND CAST(name AS BINARY) < ?2) c JOIN {t} b ON {base} \
             LEFT JOIN ezdfs_node n ON {NODE_BY_BASE} \
             WHERE {bytes} >= ?1 AND {bytes} < ?2 AND {bytes} > ?3 AND {VISIBLE} \
             ORDER BY {bytes} LIMIT ?4",
            base = names.base_by("c.name_hash"),
        )),
        files_in: s(format!(
            "SELECT STRAIGHT_JOIN {columns}, {NODE}, b.name_hash FROM ezdfs_node n \
             JOIN {t} b ON {base_by_node} WHERE n.parent_hash = ?1 AND n.kind = 'file' \
             AND {bytes} > ?2 AND {VISIBLE} ORDER BY n.basename LIMIT ?3"
        )),
        // `name` and `name_trunk` of an existing row stay, as with Ibexa's own UPDATE.
        put_base: s(format!(
            "INSERT INTO {t} (name, name_trunk, name_hash, datatype, scope, size, mtime, \
             expired, status) VALUES (?2, ?2, ?1, ?3, ?4, ?5, ?6, 0, 0) \
             ON DUPLICATE KEY UPDATE datatype = ?3, scope = ?4, size = ?5, mtime = ?6, \
             expired = 0, status = 0"
        )),
        hide_base: s(format!(
            "UPDATE {t} b SET b.mtime = -ABS(b.mtime), b.expired = 1 WHERE {} AND {bytes} = ?2",
            names.base_by("?1"),
        )),
        delete_base: s(format!(
            "DELETE b FROM {t} b WHERE {} AND {bytes} = ?2",
            names.base_by("?1"),
        )),
        delete_node_of: s(
            "DELETE FROM ezdfs_node WHERE path_hash = ?1 AND kind = ?2 AND parent_hash = ?3 \
             AND basename = ?4",
        ),
        insert_node: s(format!("INSERT INTO ezdfs_node ({NODE_WRITE}) VALUES ({NODE_VALUES})")),
        insert_nodes: s(format!(
            "INSERT INTO ezdfs_node ({NODE_WRITE}) VALUES {}",
            many_nodes(NODE_VALUES)
        )),
        update_node: s(format!("UPDATE ezdfs_node SET {NODE_SET} WHERE path_hash = ?1")),
        upsert_node: s(format!(
            "INSERT INTO ezdfs_node ({NODE_WRITE}) VALUES ({NODE_VALUES}) \
             ON DUPLICATE KEY UPDATE {NODE_SET}"
        )),
        delete_nodes: s(format!("DELETE n FROM ezdfs_node n {by_path} WHERE n.path_hash @in(?1)")),
        empty_dirs: s(format!(
            "WITH RECURSIVE tree (h) AS (SELECT path_hash FROM ezdfs_node WHERE parent_hash = ?1 \
             AND kind = 'dir' UNION SELECT n.path_hash FROM tree JOIN ezdfs_node n \
             ON n.parent_hash = tree.h WHERE n.kind = 'dir') \
             SELECT h FROM tree WHERE NOT EXISTS (SELECT 1 FROM ezdfs_node n \
             LEFT JOIN {t} b ON {base_by_node} WHERE n.parent_hash = tree.h \
             AND (n.kind <> 'file' OR {VISIBLE}))"
        )),
        has_subdir: s("SELECT 1 FROM ezdfs_node WHERE parent_hash = ?1 AND kind <> 'file' LIMIT 1"),
        touch_dirs: s(format!(
            "UPDATE ezdfs_node n {by_path} SET n.mtime_ns = ?2, n.ctime_ns = ?2 \
             WHERE n.path_hash @in(?1) AND n.kind = 'dir' AND n.mtime_ns <= ?3"
        )),
        count_holds: s(format!(
            "SELECT CAST(COALESCE(SUM(p.state = 'held'), 0) AS SIGNED), \
             CAST(COALESCE(SUM(p.state = 'ended'), 0) AS SIGNED) FROM ezdfs_pending p {by_token} \
             WHERE p.token = ?1 AND p.state @in(?2) FOR UPDATE"
        )),
        add_intent: s("INSERT INTO ezdfs_pending (path_hash, subtree, prefix, path, kind, token, \
             owner, state, hold, lease_end, not_before, size, sha256, datatype, mtime_ns, \
             expires_at, pin, other_path, `key`) VALUES (?1, ?3, ?4, ?7, ?8, ?9, ?10, ?11, ?12, \
             ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)"),
        blocker: s(format!("{own} UNION ALL {above} UNION ALL {below} LIMIT 1")),
        end_hold: s(format!(
            "DELETE p FROM ezdfs_pending p {by_token} WHERE p.token = ?1 AND p.state = 'held'"
        )),
        keep_hold: s(format!(
            "UPDATE ezdfs_pending p {by_token} SET p.state = 'ended', p.hold = NULL \
             WHERE p.token = ?1 AND p.state = 'held'"
        )),
        renew: s(format!(
            "UPDATE ezdfs_pending p {by_token} SET p.lease_end = ?2 \
             WHERE p.token = ?1 AND p.state = 'held'"
        )),
        forget: s("DELETE FROM ezdfs_pending WHERE id = ?1"),
        // Side by side. Many that want one path at the same moment lock the gap above its last
        // holder's row for each other: then all but one of them run again.
        gate_shared: s("SELECT 1 FROM ezdfs_meta WHERE `key` = 'gate' LOCK IN SHARE MODE"),
        gate_alone: s("SELECT 1 FROM ezdfs_meta WHERE `key` = 'gate' FOR UPDATE"),

        // A look that locks would wait for rows that PHP has not committed yet.
        todo_numbers: s(
            "SELECT seq FROM ezdfs_change FORCE INDEX (ezdfs_change_todo) WHERE todo = 1 \
             ORDER BY seq LIMIT ?1",
        ),
        todo: s("SELECT seq, op, COALESCE(name_hash, ''), COALESCE(name, '') \
             FROM ezdfs_change FORCE INDEX (PRIMARY) WHERE seq @in(?1) AND todo = 1 \
             ORDER BY seq FOR UPDATE"),
        own_changes: s(
            "SELECT name_hash, MAX(seq) FROM ezdfs_change FORCE INDEX (PRIMARY) WHERE seq > ?1 \
             AND origin IS NOT NULL AND name_hash @in(?2) GROUP BY name_hash",
        ),
        todo_done: s("UPDATE ezdfs_change FORCE INDEX (PRIMARY) SET todo = NULL \
             WHERE seq @in(?1)"),
        // No further than to the first row that is too young: it would read the whole log.
        trimmable: s("SELECT seq FROM ezdfs_change FORCE INDEX (PRIMARY) WHERE at < ?1 \
             AND seq < COALESCE((SELECT MIN(w.seq) FROM ezdfs_change w WHERE w.todo = 1), \
             9223372036854775807) \
             AND seq < COALESCE((SELECT y.seq FROM ezdfs_change y FORCE INDEX (PRIMARY) \
             WHERE y.at >= ?1 ORDER BY y.seq LIMIT 1), 9223372036854775807) \
             ORDER BY seq LIMIT ?2 FOR UPDATE SKIP LOCKED"),
        trim: s("DELETE c FROM ezdfs_change c FORCE INDEX (PRIMARY) WHERE c.seq @in(?1)"),
        note_trimmed: s("INSERT INTO ezdfs_meta (`key`, `value`) VALUES ('trimmed', ?1) \
             ON DUPLICATE KEY UPDATE \
             `value` = GREATEST(CAST(`value` AS SIGNED), CAST(?1 AS SIGNED))"),
        tell: s("INSERT INTO ezdfs_change (op, name_hash, name, origin, todo, at) \
             VALUES (?1, ?2, ?3, ?4, IF(?4 IS NULL, 1, NULL), ?5)"),
        beat: s("INSERT INTO ezdfs_meta (`key`, `value`) VALUES ('heartbeat', ?1) \
             ON DUPLICATE KEY UPDATE `value` = IF(CAST(`value` AS SIGNED) <= ?2, ?1, `value`)"),
        renew_member: s(crate::decode::RENEW_MEMBER),
        add_member: s(crate::decode::ADD_MEMBER),
        forget_members: s(crate::decode::FORGET_MEMBERS),
        leave: s(crate::decode::LEAVE),
        members: s(crate::decode::MEMBERS),
        walk: s(format!(
            "SELECT {columns}, {NODE}, b.name_hash FROM {join} WHERE b.name_hash > ?1 \
             ORDER BY b.name_hash LIMIT ?2"
        )),
        orphans: s(format!(
            "SELECT n.path_hash, n.basename, n.parent_hash FROM ezdfs_node n \
             LEFT JOIN {t} b ON {base_by_node} WHERE n.path_hash > ?1 AND n.kind = 'file' \
             AND b.name_hash IS NULL ORDER BY n.path_hash LIMIT ?2"
        )),

        meta: s("SELECT `value` FROM ezdfs_meta WHERE `key` = ?1"),
        set_meta: s("INSERT INTO ezdfs_meta (`key`, `value`) VALUES (?1, ?2) \
             ON DUPLICATE KEY UPDATE `value` = ?2"),
        delete_meta: s("DELETE FROM ezdfs_meta WHERE `key` = ?1"),
        lock_meta: s("SELECT `value` FROM ezdfs_meta WHERE `key` = ?1 FOR UPDATE"),
        // It would take one that both changes rows and asks for others.
        publish: None,
    }
}
