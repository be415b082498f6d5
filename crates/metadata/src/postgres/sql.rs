//! The statements of PostgreSQL.
//!
//! Names are compared by bytes: `COLLATE "C"` on our columns. The base table's own index on `name`
//! has the collation of the database; where that is not bytewise nothing that compares bytes can
//! use it, so whatever must be fast goes by hashes and by our own tables.

use crate::server::limits::NameLimits;
use crate::server::sql::{Sql, many_nodes};
use crate::server::statement::Statement;

/// Bytes of a name that always fit into the base table's indexes, one of which has `expired` too.
const NAME_BYTES: usize = 2_600;

/// Columns of base row `b`. `CASE`, because a NULL in `expired` hides a row from PHP.
const BASE: &str = "b.name, b.datatype, b.scope, b.size, b.mtime::bigint, \
     CASE WHEN b.expired THEN 1 WHEN NOT b.expired THEN 0 END::bigint";

/// Columns of node row `n`.
const NODE: &str = "n.parent_hash, n.basename, n.kind, n.ino, n.mode, n.uid, n.gid, n.mtime_ns, \
     n.ctime_ns, n.pin, n.token, n.sha256, n.expires_at, n.base_size, n.base_mtime";

const NO_BASE: &str =
    "NULL::text, NULL::text, NULL::text, NULL::bigint, NULL::bigint, NULL::bigint";

const NO_NODE: &str = "NULL::text, NULL::text, NULL::text, NULL::bigint, NULL::bigint, \
     NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::text, NULL::text, NULL::text, \
     NULL::bigint, NULL::bigint, NULL::bigint";

const VISIBLE: &str = "(NOT b.expired AND b.mtime > 0)";

/// Columns of a pending row, as `decode::intent` reads them.
const PENDING: &str = "p.id, p.kind, p.path, p.subtree::int::bigint, p.token, p.owner, p.state, \
     p.lease_end, p.not_before, p.size, p.sha256, p.datatype, p.mtime_ns, p.expires_at, p.pin, \
     p.other_path, p.key";

/// Held rows that keep a path from being held.
const BLOCKERS: [&str; 3] = [
    "p.hold = ?1",
    "p.hold @in(?2) AND p.subtree",
    "?3 AND p.hold IS NOT NULL AND p.state = 'held' AND p.prefix = ?4 AND p.path >= ?5 \
     AND p.path < ?6",
];

/// Columns that a write of a node row sets, in the order of `bind::node`; `size` repeats ?14, and
/// `base_tid` is found by [`base_tid`].
const NODE_WRITE: &str = "path_hash, parent_hash, basename, kind, mode, uid, gid, mtime_ns, \
     ctime_ns, pin, token, sha256, expires_at, base_size, base_mtime, size, base_tid";
const NODE_VALUES: &str = "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?14";
const NODE_SET: &str = "parent_hash = ?2, basename = ?3, kind = ?4, mode = ?5, uid = ?6, \
     gid = ?7, mtime_ns = ?8, ctime_ns = ?9, pin = ?10, token = ?11, sha256 = ?12, \
     expires_at = ?13, base_size = ?14, base_mtime = ?15, size = ?14";

fn s(text: impl AsRef<str>) -> Statement {
    Statement::numbered(text.as_ref())
}

/// Where the base row of a node row lies now. A write of both writes the base row first.
fn base_tid(t: &str) -> String {
    format!("(SELECT h.ctid FROM {t} h WHERE h.name_hash = ?1)")
}

/// The base row `b` of node row `n`: where `n` says that it lies, else by its key. A page of a
/// directory is a thousand look-ups, and those in the key take four times as long: its collation is
/// a linguistic one, and neighbours in a directory are none among hashes. What lies there may have
/// become another row, or a row's version that is gone; the hash and the snapshot tell, and then
/// the key is asked. Both branches find the same row, so it does not matter which one is first.
fn base_of_node(t: &str) -> String {
    let row = "SELECT h.name, h.datatype, h.scope, h.size, h.mtime, h.expired";
    format!(
        "LATERAL ({row} FROM {t} h WHERE h.ctid = n.base_tid AND h.name_hash = n.path_hash \
         UNION ALL {row} FROM {t} h WHERE h.name_hash = n.path_hash LIMIT 1) b"
    )
}

/// How names of the base table are compared by bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// The database's own collation is bytewise, so plain operators are, and use the index.
    Plain,
    /// The pattern operators are bytewise everywhere, and use a `text_pattern_ops` index if the
    /// administrator has made one.
    Pattern,
}

impl Names {
    fn between(self) -> &'static str {
        match self {
            Self::Plain => "b.name >= ?2 AND b.name < ?3",
            Self::Pattern => "b.name ~>=~ ?2 AND b.name ~<~ ?3",
        }
    }

    fn after(self) -> &'static str {
        match self {
            Self::Plain => "b.name > ?1",
            Self::Pattern => "b.name ~>~ ?1",
        }
    }
}

/// The statements around `table`, a checked name.
pub(super) fn sql(table: &str, names: Names) -> Sql {
    let t = format!("\"{table}\"");
    let join = format!("{t} b LEFT JOIN ezdfs_node n ON n.path_hash = b.name_hash");
    // Behind ?1. The second condition follows from the first, but not for the planner: its merge join
    // would read the side table's index from the start for each page.
    let walk = format!("{join} AND n.path_hash > ?1 WHERE b.name_hash > ?1");
    let tid = base_tid(&t);
    let node_values = format!("{NODE_VALUES}, {tid}");
    let between = names.between();
    let after = names.after();
    let [own, above, below] =
        BLOCKERS.map(|w| format!("SELECT {PENDING} FROM ezdfs_pending p WHERE {w}"));
    let [is_own, is_above, is_below] =
        BLOCKERS.map(|w| format!("EXISTS (SELECT 1 FROM ezdfs_pending p WHERE {w})"));
    let tombstones = |range: &str, limit: &str| {
        s(format!(
            "SELECT * FROM (SELECT {BASE}, {NODE}, b.name_hash FROM {join} \
             WHERE b.expired AND {range} \
             UNION ALL SELECT {BASE}, {NODE}, b.name_hash FROM {join} \
             WHERE b.mtime <= 0 AND NOT b.expired AND {range}) x \
             ORDER BY x.name COLLATE \"C\" LIMIT {limit}"
        ))
    };
    let is_over = |now: &str| {
        format!(
            "(n.expires_at IS NOT NULL AND n.expires_at <= {now} AND n.base_size = b.size \
             AND n.base_mtime = abs(b.mtime::bigint))"
        )
    };
    let figures = |range: &str, now: &str| {
        s(format!(
            "SELECT count(*), count(*) FILTER (WHERE {VISIBLE} AND NOT coalesce({over}, FALSE)), \
             least(coalesce(sum(greatest(b.size, 0)) FILTER (WHERE {VISIBLE} \
             AND NOT coalesce({over}, FALSE)), 0), 9223372036854775807)::bigint \
             FROM {join} WHERE {range}",
            over = is_over(now),
        ))
    };
    Sql {
        names: NameLimits { bytes: Some(NAME_BYTES), of_character: 4 },
        record: s(format!(
            "SELECT {BASE}, {NODE} FROM (SELECT 1) k LEFT JOIN {t} b ON b.name_hash = ?1 \
             LEFT JOIN ezdfs_node n ON n.path_hash = ?1"
        )),
        list: s(format!(
            "SELECT {BASE}, {NODE} FROM ezdfs_node n LEFT JOIN {} ON TRUE \
             WHERE n.parent_hash = ?1 AND n.basename > ?2 ORDER BY n.basename LIMIT ?3",
            base_of_node(&t)
        )),
        // The directory is for MySQL: a type tells PostgreSQL what an unused parameter is.
        scan: s(format!(
            "SELECT {BASE}, {NODE}, b.name_hash FROM {walk} AND {between} \
             AND ?4::text IS NOT NULL ORDER BY b.name_hash LIMIT ?5"
        )),
        scan_all: s(format!(
            "SELECT {BASE}, {NODE}, b.name_hash FROM {walk} \
             ORDER BY b.name_hash LIMIT ?2"
        )),
        tombstones: tombstones(&format!("{after} AND {between} AND ?4::text IS NOT NULL"), "?5"),
        tombstones_all: tombstones(after, "?2"),
        expired: s(format!(
            "SELECT {BASE}, {NODE}, b.name_hash FROM ezdfs_node n \
             JOIN {t} b ON b.name_hash = n.path_hash WHERE {over} AND {VISIBLE} \
             AND (NOT ?2 OR (b.name ~>=~ ?3 AND b.name ~<~ ?4)) \
             ORDER BY n.expires_at, b.name_hash LIMIT ?5",
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
        figures_files: s_range(&figures, names),
        figures_files_all: figures("TRUE", "?1"),
        figures_dirs: s("WITH RECURSIVE tree (hash) AS (SELECT ?1::varchar UNION \
             SELECT n.path_hash FROM tree JOIN ezdfs_node n ON n.parent_hash = tree.hash \
             WHERE n.kind = 'dir') SELECT count(*) - 1 FROM tree"),
        figures_pending: s("SELECT count(*) FILTER (WHERE state = 'held'), \
             count(*) FILTER (WHERE state = 'held' AND lease_end <= ?2), \
             count(*) FILTER (WHERE state = 'queued' AND kind = 'reap') \
             FROM ezdfs_pending WHERE prefix = ?1"),
        foreign_count: s("SELECT count(*) FROM ezdfs_change WHERE todo"),
        foreign_waits: s("SELECT 1::bigint FROM ezdfs_change WHERE todo LIMIT 1"),
        now: s("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000"),

        // Ordered, so that transactions lock in one order.
        nodes_change: s(format!(
            "SELECT {NO_BASE}, {NODE}, n.path_hash FROM ezdfs_node n WHERE n.path_hash @in(?1) \
             ORDER BY n.path_hash FOR UPDATE"
        )),
        nodes_keep: s(format!(
            "SELECT {NO_BASE}, {NODE}, n.path_hash FROM ezdfs_node n WHERE n.path_hash @in(?1) \
             ORDER BY n.path_hash FOR KEY SHARE"
        )),
        bases: s(format!(
            "SELECT {BASE}, {NO_NODE}, b.name_hash FROM {t} b WHERE b.name_hash @in(?1)"
        )),
        bases_change: s(format!(
            "SELECT {BASE}, {NO_NODE}, b.name_hash FROM {t} b WHERE b.name_hash @in(?1) \
             ORDER BY b.name_hash FOR NO KEY UPDATE"
        )),
        unseen_below: s(format!(
            "SELECT DISTINCT {BASE}, {NODE}, b.name_hash, b.name COLLATE \"C\" FROM ezdfs_change c \
             JOIN {join} ON b.name_hash = c.name_hash WHERE c.todo AND c.name >= ?1 AND c.name < ?2 \
             AND c.name > ?3 AND b.name = c.name AND {VISIBLE} \
             ORDER BY b.name COLLATE \"C\" LIMIT ?4"
        )),
        files_in: s(format!(
            "SELECT {BASE}, {NODE}, b.name_hash FROM ezdfs_node n \
             JOIN {t} b ON b.name_hash = n.path_hash WHERE n.parent_hash = ?1 AND n.kind = 'file' \
             AND b.name ~>~ ?2 AND {VISIBLE} ORDER BY n.basename LIMIT ?3"
        )),
        // `name` and `name_trunk` of an existing row stay, as with Ibexa's own UPDATE.
        put_base: s(format!(
            "INSERT INTO {t} AS b (name, name_trunk, name_hash, datatype, scope, size, mtime, \
             expired, status) VALUES (?2, ?2, ?1, ?3, ?4, ?5, ?6, FALSE, FALSE) \
             ON CONFLICT (name_hash) DO UPDATE SET datatype = excluded.datatype, \
             scope = excluded.scope, size = excluded.size, mtime = excluded.mtime, \
             expired = FALSE, status = FALSE"
        )),
        hide_base: s(format!(
            "UPDATE {t} SET mtime = -abs(mtime), expired = TRUE WHERE name_hash = ?1 AND name = ?2"
        )),
        delete_base: s(format!("DELETE FROM {t} WHERE name_hash = ?1 AND name = ?2")),
        delete_node_of: s(
            "DELETE FROM ezdfs_node WHERE path_hash = ?1 AND kind = ?2 AND parent_hash = ?3 \
             AND basename = ?4",
        ),
        insert_node: s(format!("INSERT INTO ezdfs_node ({NODE_WRITE}) VALUES ({node_values})")),
        insert_nodes: s(format!(
            "INSERT INTO ezdfs_node ({NODE_WRITE}) VALUES {}",
            many_nodes(&node_values)
        )),
        update_node: s(format!(
            "UPDATE ezdfs_node SET {NODE_SET}, base_tid = {tid} WHERE path_hash = ?1"
        )),
        upsert_node: s(format!(
            "INSERT INTO ezdfs_node ({NODE_WRITE}) VALUES ({node_values}) \
             ON CONFLICT (path_hash) DO UPDATE SET {NODE_SET}, base_tid = excluded.base_tid"
        )),
        delete_nodes: s("DELETE FROM ezdfs_node WHERE path_hash @in(?1)"),
        empty_dirs: s(format!(
            "WITH RECURSIVE tree (hash) AS ( \
             SELECT path_hash FROM ezdfs_node WHERE parent_hash = ?1 AND kind = 'dir' UNION \
             SELECT n.path_hash FROM tree JOIN ezdfs_node n ON n.parent_hash = tree.hash \
             WHERE n.kind = 'dir') \
             SELECT hash FROM tree WHERE NOT EXISTS (SELECT 1 FROM ezdfs_node n \
             LEFT JOIN {t} b ON b.name_hash = n.path_hash WHERE n.parent_hash = tree.hash \
             AND (n.kind <> 'file' OR {VISIBLE}))"
        )),
        has_subdir: s(
            "SELECT 1::bigint FROM ezdfs_node WHERE parent_hash = ?1 AND kind <> 'file' LIMIT 1",
        ),
        touch_dirs: s(
            "UPDATE ezdfs_node SET mtime_ns = ?2, ctime_ns = ?2 WHERE path_hash @in(?1) \
             AND kind = 'dir' AND mtime_ns <= ?3",
        ),
        count_holds: s("SELECT count(*) FILTER (WHERE state = 'held'), \
             count(*) FILTER (WHERE state = 'ended') FROM ezdfs_pending \
             WHERE token = ?1 AND state @in(?2)"),
        add_intent: s(format!(
            "INSERT INTO ezdfs_pending (path_hash, subtree, prefix, path, kind, token, owner, \
             state, hold, lease_end, not_before, size, sha256, datatype, mtime_ns, expires_at, pin, \
             other_path, key) SELECT ?1, ?3, ?4, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, \
             ?18, ?19, ?20, ?21, ?22 \
             WHERE ?12 IS NULL OR NOT ({is_own} OR {is_above} OR {is_below}) \
             ON CONFLICT (hold) DO NOTHING"
        )),
        blocker: s(format!("{own} UNION ALL {above} UNION ALL {below} LIMIT 1")),
        end_hold: s("DELETE FROM ezdfs_pending WHERE token = ?1 AND state = 'held'"),
        keep_hold: s("UPDATE ezdfs_pending SET state = 'ended', hold = NULL \
             WHERE token = ?1 AND state = 'held'"),
        renew: s("UPDATE ezdfs_pending SET lease_end = ?2 WHERE token = ?1 AND state = 'held'"),
        forget: s("DELETE FROM ezdfs_pending WHERE id = ?1"),
        // An INSERT takes the first of these by itself, before its snapshot is made.
        gate_shared: s("LOCK TABLE ezdfs_pending IN ROW EXCLUSIVE MODE"),
        gate_alone: s("LOCK TABLE ezdfs_pending IN SHARE ROW EXCLUSIVE MODE"),

        todo_numbers: s("SELECT seq FROM ezdfs_change WHERE todo ORDER BY seq LIMIT ?1"),
        todo: s("SELECT seq, op, coalesce(name_hash, ''), coalesce(name, '') FROM ezdfs_change \
             WHERE seq @in(?1) AND todo ORDER BY seq FOR UPDATE"),
        own_changes: s(
            "SELECT name_hash, max(seq) FROM ezdfs_change WHERE seq > ?1 AND origin IS NOT NULL \
             AND name_hash @in(?2) GROUP BY name_hash",
        ),
        todo_done: s("UPDATE ezdfs_change SET todo = FALSE WHERE seq @in(?1)"),
        trimmable: s("SELECT seq FROM ezdfs_change WHERE at < ?1 AND seq < coalesce( \
             (SELECT min(seq) FROM ezdfs_change WHERE todo), 9223372036854775807) \
             ORDER BY seq LIMIT ?2 FOR UPDATE SKIP LOCKED"),
        trim: s("DELETE FROM ezdfs_change WHERE seq @in(?1)"),
        note_trimmed: s("INSERT INTO ezdfs_meta AS m (key, value) VALUES ('trimmed', ?1::text) \
             ON CONFLICT (key) DO UPDATE SET \
             value = greatest(m.value::bigint, excluded.value::bigint)::text"),
        tell: s("INSERT INTO ezdfs_change (op, name_hash, name, origin, todo, at) \
             VALUES (?1, ?2, ?3, ?4, ?4 IS NULL, ?5)"),
        beat: s("INSERT INTO ezdfs_meta AS m (key, value) VALUES ('heartbeat', ?1::text) \
             ON CONFLICT (key) DO UPDATE SET value = excluded.value \
             WHERE m.value::bigint <= ?2"),
        renew_member: s(crate::decode::RENEW_MEMBER),
        add_member: s(crate::decode::ADD_MEMBER),
        forget_members: s(crate::decode::FORGET_MEMBERS),
        leave: s(crate::decode::LEAVE),
        members: s(crate::decode::MEMBERS),
        walk: s(format!(
            "SELECT {BASE}, {NODE}, b.name_hash FROM {walk} \
             ORDER BY b.name_hash LIMIT ?2"
        )),
        orphans: s(format!(
            "SELECT n.path_hash, n.basename, n.parent_hash FROM ezdfs_node n \
             LEFT JOIN {t} b ON b.name_hash = n.path_hash AND b.name_hash > ?1 \
             WHERE n.path_hash > ?1 AND n.kind = 'file' AND b.name_hash IS NULL ORDER BY n.path_hash LIMIT ?2"
        )),

        meta: s("SELECT value FROM ezdfs_meta WHERE key = ?1"),
        set_meta: s("INSERT INTO ezdfs_meta (key, value) VALUES (?1, ?2) \
             ON CONFLICT (key) DO UPDATE SET value = excluded.value"),
        delete_meta: s("DELETE FROM ezdfs_meta WHERE key = ?1"),
        lock_meta: s("SELECT value FROM ezdfs_meta WHERE key = ?1 FOR UPDATE"),
        publish: Some(publish(&t)),
    }
}

fn s_range(figures: &impl Fn(&str, &str) -> Statement, names: Names) -> Statement {
    let range = match names {
        Names::Plain => "b.name >= ?1 AND b.name < ?2",
        Names::Pattern => "b.name ~>=~ ?1 AND b.name ~<~ ?2",
    };
    figures(&format!("{range} AND ?3::text IS NOT NULL"), "?4")
}

/// A publish in one round trip. A directory that is made at that path in the same moment makes it
/// fail by the NOT NULL of `kind`. It does what `change::files` does in the ordinary case, and nothing
/// at all in any other: the hold stands, the directory exists, the path is a file or nothing, and no
/// name collides.
fn publish(t: &str) -> Statement {
    s(format!(
        "WITH held AS MATERIALIZED (SELECT p.state FROM ezdfs_pending p \
           WHERE p.token = ?16 AND p.state IN ('held', 'ended') FOR UPDATE), \
         own AS MATERIALIZED (SELECT n.kind, n.parent_hash, n.basename FROM ezdfs_node n \
           WHERE n.path_hash = ?1 FOR UPDATE), \
         dir AS MATERIALIZED (SELECT n.path_hash FROM ezdfs_node n \
           WHERE n.path_hash = ?2 AND n.kind = 'dir' FOR KEY SHARE), \
         ok AS MATERIALIZED (SELECT 1 WHERE EXISTS (SELECT 1 FROM held WHERE state = 'held') \
           AND NOT EXISTS (SELECT 1 FROM held WHERE state = 'ended') \
           AND EXISTS (SELECT 1 FROM dir) \
           AND NOT EXISTS (SELECT 1 FROM {t} b WHERE b.name_hash = ?1 AND b.name <> ?17) \
           AND NOT EXISTS (SELECT 1 FROM own WHERE kind <> 'file' OR parent_hash <> ?2 \
             OR basename <> ?3) \
           AND NOT EXISTS (SELECT 1 FROM ezdfs_change c WHERE c.todo AND c.name >= ?21 \
             AND c.name < ?22)), \
         base AS (INSERT INTO {t} AS b (name, name_trunk, name_hash, datatype, scope, size, mtime, \
             expired, status) SELECT ?17, ?17, ?1, ?18, ?19, ?14, ?15::bigint::integer, FALSE, FALSE FROM ok \
           ON CONFLICT (name_hash) DO UPDATE SET datatype = excluded.datatype, \
             scope = excluded.scope, size = excluded.size, mtime = excluded.mtime, \
             expired = FALSE, status = FALSE RETURNING b.ctid), \
         node AS (INSERT INTO ezdfs_node AS n ({NODE_WRITE}) \
           SELECT {NODE_VALUES}, (SELECT base.ctid FROM base) FROM ok \
           ON CONFLICT (path_hash) DO UPDATE SET \
             kind = CASE WHEN n.kind = 'file' THEN n.kind END, mode = coalesce(excluded.mode, n.mode), \
             uid = coalesce(excluded.uid, n.uid), gid = coalesce(excluded.gid, n.gid), \
             mtime_ns = ?8, ctime_ns = ?9, pin = ?10, token = ?11, sha256 = ?12, \
             expires_at = ?13, base_size = ?14, base_mtime = ?15, size = ?14, \
             base_tid = excluded.base_tid), \
         touched AS (UPDATE ezdfs_node d SET mtime_ns = ?9, ctime_ns = ?9 FROM ok \
           WHERE d.path_hash = ?2 AND d.kind = 'dir' AND d.mtime_ns <= ?20 \
           AND NOT EXISTS (SELECT 1 FROM {t} b WHERE b.name_hash = ?1 AND {VISIBLE})), \
         done AS (DELETE FROM ezdfs_pending p USING ok \
           WHERE p.token = ?16 AND p.state = 'held') \
         SELECT count(*) FROM ok"
    ))
}
