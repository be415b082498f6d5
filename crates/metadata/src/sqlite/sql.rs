//! The statements, built once per store around the configured table.
//!
//! Name columns of the base table carry an explicit `COLLATE BINARY` in ranges and orders: a table
//! that somebody else made may have another default.

use std::sync::Arc;

/// Columns of base row `b` and node row `n`, as [`super::decode`] reads them.
const COLUMNS: &str = "b.name, b.datatype, b.scope, b.size, b.mtime, b.expired = 1, \
     n.parent_hash, n.basename, n.kind, n.ino, n.mode, n.uid, n.gid, n.mtime_ns, n.ctime_ns, \
     n.pin, n.token, n.sha256, n.expires_at, n.base_size, n.base_mtime";

/// The same columns as one JSON array, as [`super::packed`] reads them. Each row that SQLite hands
/// over costs a switch between threads, so many of them travel as one. Casts, because a foreign
/// writer may have stored a BLOB, which JSON cannot hold, or text where a number belongs.
const PACKED: &str = "json_array(CAST(b.name AS TEXT), CAST(b.datatype AS TEXT), \
     CAST(b.scope AS TEXT), CAST(b.size AS INTEGER), CAST(b.mtime AS INTEGER), b.expired = 1, \
     n.parent_hash, n.basename, n.kind, n.ino, n.mode, n.uid, n.gid, n.mtime_ns, n.ctime_ns, \
     n.pin, n.token, n.sha256, n.expires_at, n.base_size, n.base_mtime, ";

/// Hidden rows are no rows for a reader; `expired` is true as PHP compares it (ibexa-dfs.md §1.2).
const VISIBLE: &str = "(b.expired <> 1 AND b.mtime > 0)";

/// Columns of a pending row, as [`super::decode::intent`] reads them.
const PENDING: &str = "p.id, p.kind, p.path, p.subtree, p.token, p.owner, p.state, p.lease_end, \
     p.not_before, p.size, p.sha256, p.datatype, p.mtime_ns, p.expires_at, p.pin, p.other_path, \
     p.key";

/// Held rows that keep a path from being held. ?1 own hash, ?2 JSON array of the hashes above,
/// ?3 subtree, ?4 prefix, ?5 and ?6 the range of the paths below.
const BLOCKERS: [&str; 3] = [
    "p.hold = ?1",
    "p.hold IN (SELECT value FROM json_each(?2)) AND p.subtree",
    "?3 AND p.hold IS NOT NULL AND p.prefix = ?4 AND p.path >= ?5 AND p.path < ?6",
];

/// A statement text that is cheap to hand to sqlx over and over.
pub(super) type Text = Arc<str>;

#[derive(Debug)]
pub(super) struct Sql {
    pub(super) record: Text,
    pub(super) find: Text,
    pub(super) list: Text,
    pub(super) scan_first: Text,
    pub(super) scan_after: Text,
    pub(super) scan_all: Text,
    pub(super) unhidden_first: Text,
    pub(super) unhidden_after: Text,
    pub(super) unhidden_all: Text,
    pub(super) tombstones: Text,
    pub(super) tombstones_all: Text,
    pub(super) expired: Text,
    pub(super) put_base: Text,
    pub(super) hide_base: Text,
    pub(super) delete_base: Text,
    pub(super) put_node: Text,
    pub(super) put_nodes: Text,
    pub(super) add_intent: Text,
    pub(super) blocker: Text,
    pub(super) intents_on: Text,
    pub(super) intents_of: Text,
    pub(super) due_lease: Text,
    pub(super) due_queue: Text,
    pub(super) figures_files: Text,
    pub(super) figures_files_all: Text,
    pub(super) backfill: Text,
    pub(super) strays: Text,
    pub(super) remove_strays: Text,
}

/// Node rows that one statement of [`Sql::put_nodes`] writes.
pub(super) const NODES_AT_ONCE: usize = 32;

impl Sql {
    /// Statements around `table`, a name that [`crate::table::check`] has seen.
    pub(super) fn new(table: &str) -> Self {
        let text = |s: String| Text::from(s);
        let join = format!("\"{table}\" b LEFT JOIN ezdfs_node n ON n.path_hash = b.name_hash");
        // Scans: names below a directory (?1 low, ?2 high), behind a cursor (?1), or all of them.
        // Cursors are bound as bytes, because a foreign name need not be UTF-8.
        let scan = |start: &str, more: &str| {
            text(format!(
                "SELECT {COLUMNS}, b.name_hash FROM {join} WHERE {start}{more} \
                 ORDER BY b.name COLLATE BINARY LIMIT ?3"
            ))
        };
        const FIRST: &str =
            "b.name COLLATE BINARY >= CAST(?1 AS TEXT) AND b.name COLLATE BINARY < ?2";
        const AFTER: &str =
            "b.name COLLATE BINARY > CAST(?1 AS TEXT) AND b.name COLLATE BINARY < ?2";
        const ALL: &str = "b.name COLLATE BINARY > CAST(?1 AS TEXT) AND ?2 IS NULL";
        let unhidden = format!(" AND {VISIBLE}");
        // Two index walks: soft-deleted rows by (expired, name), and the few that only their
        // mtime hides by (mtime). The unary plus keeps the second one off the
        // index on names.
        let tombstones = |range: &str| {
            let by_mtime = range.replace("b.name", "+b.name");
            text(format!(
                "SELECT * FROM (SELECT {COLUMNS}, b.name_hash AS hash, b.name AS found FROM {join} \
                 WHERE b.expired = 1 AND {range} ORDER BY b.name COLLATE BINARY LIMIT ?3) \
                 UNION ALL \
                 SELECT * FROM (SELECT {COLUMNS}, b.name_hash, b.name FROM {join} \
                 WHERE b.mtime <= 0 AND +b.expired <> 1 AND {by_mtime} \
                 ORDER BY +b.name COLLATE BINARY LIMIT ?3) \
                 ORDER BY found LIMIT ?3"
            ))
        };
        let figures = |range: &str| {
            // A size beyond 2^53 can only be wrong, and must not make the sum overflow.
            text(format!(
                "SELECT count(*), coalesce(sum(s.visible), 0), \
                 coalesce(sum(CASE WHEN s.visible THEN min(max(s.size, 0), 1 << 53) END), 0) \
                 FROM (SELECT b.size AS size, {VISIBLE} AND NOT (n.expires_at IS NOT NULL \
                 AND n.expires_at <= ?3 AND n.base_size = b.size AND n.base_mtime = abs(b.mtime)) \
                 AS visible FROM {join} WHERE {range}) s"
            ))
        };
        Self {
            record: text(format!(
                "SELECT {COLUMNS} FROM (SELECT ?1 AS hash) k \
                 LEFT JOIN \"{table}\" b ON b.name_hash = k.hash \
                 LEFT JOIN ezdfs_node n ON n.path_hash = k.hash"
            )),
            find: text(format!(
                "SELECT json_group_array({PACKED} k.key)), \
                 max(CASE WHEN k.key = 0 AND ?2 IS NOT NULL THEN \
                   EXISTS (SELECT 1 FROM \"{table}\" b WHERE b.name COLLATE BINARY >= ?2 \
                   AND b.name COLLATE BINARY < ?3 AND {VISIBLE}) ELSE 0 END) \
                 FROM json_each(?1) k \
                 LEFT JOIN \"{table}\" b ON b.name_hash = k.value \
                 LEFT JOIN ezdfs_node n ON n.path_hash = k.value"
            )),
            list: text(format!(
                "SELECT '[' || coalesce(group_concat(packed, ','), '') || ']' FROM ( \
                 SELECT {PACKED} 0) AS packed FROM ezdfs_node n \
                 LEFT JOIN \"{table}\" b ON b.name_hash = n.path_hash \
                 WHERE n.parent_hash = ?1 AND n.basename > ?2 ORDER BY n.basename LIMIT ?3)"
            )),
            scan_first: scan(FIRST, ""),
            scan_after: scan(AFTER, ""),
            scan_all: scan(ALL, ""),
            unhidden_first: scan(FIRST, &unhidden),
            unhidden_after: scan(AFTER, &unhidden),
            unhidden_all: scan(ALL, &unhidden),
            tombstones: tombstones(AFTER),
            tombstones_all: tombstones(ALL),
            expired: text(format!(
                "SELECT {COLUMNS}, b.name_hash FROM ezdfs_node n \
                 JOIN \"{table}\" b ON b.name_hash = n.path_hash \
                 WHERE n.expires_at IS NOT NULL AND n.expires_at <= ?1 AND {VISIBLE} \
                 AND n.base_size = b.size AND n.base_mtime = abs(b.mtime) \
                 AND (?2 = '' OR (b.name COLLATE BINARY >= ?3 AND b.name COLLATE BINARY < ?4)) \
                 ORDER BY n.expires_at, b.name COLLATE BINARY LIMIT ?5"
            )),
            // `name` and `name_trunk` of an existing row stay, as with Ibexa's own UPDATE.
            put_base: text(format!(
                "INSERT INTO \"{table}\" \
                 (name, name_trunk, name_hash, datatype, scope, size, mtime, expired, status) \
                 VALUES (?2, ?2, ?1, ?3, ?4, ?5, ?6, 0, 0) \
                 ON CONFLICT (name_hash) DO UPDATE SET datatype = excluded.datatype, \
                 scope = excluded.scope, size = excluded.size, mtime = excluded.mtime, \
                 expired = 0, status = 0"
            )),
            hide_base: text(format!(
                "UPDATE \"{table}\" SET mtime = -abs(mtime), expired = 1 \
                 WHERE name_hash = ?1 AND name = ?2"
            )),
            delete_base: text(format!(
                "DELETE FROM \"{table}\" WHERE name_hash = ?1 AND name = ?2"
            )),
            put_node: text(put_nodes(1)),
            put_nodes: text(put_nodes(NODES_AT_ONCE)),
            add_intent: {
                let [own, above, below] =
                    BLOCKERS.map(|b| format!("SELECT 1 FROM ezdfs_pending p WHERE {b}"));
                text(format!(
                    "INSERT INTO ezdfs_pending (path_hash, subtree, prefix, path, kind, token, \
                     owner, state, hold, lease_end, not_before, size, sha256, datatype, mtime_ns, \
                     expires_at, pin, other_path, key) \
                     SELECT ?1, ?3, ?4, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, \
                     ?19, ?20, ?21, ?22 WHERE ?12 IS NULL OR NOT (EXISTS ({own}) \
                     OR EXISTS ({above}) OR EXISTS ({below}))"
                ))
            },
            blocker: {
                let [own, above, below] =
                    BLOCKERS.map(|b| format!("SELECT {PENDING} FROM ezdfs_pending p WHERE {b}"));
                text(format!("{own} UNION ALL {above} UNION ALL {below} LIMIT 1"))
            },
            // INDEXED BY: left alone, SQLite prefers the unique index on `hold` and walks every
            // row that holds nothing, which is every queued reap.
            intents_of: text(format!(
                "SELECT {PENDING} FROM ezdfs_pending p WHERE p.token = ?1 ORDER BY p.id"
            )),
            intents_on: {
                let [own, above, _] =
                    BLOCKERS.map(|b| format!("SELECT {PENDING} FROM ezdfs_pending p WHERE {b}"));
                text(format!(
                    "{own} UNION ALL {above} UNION ALL \
                     SELECT {PENDING} FROM ezdfs_pending p INDEXED BY ezdfs_pending_path \
                     WHERE p.path_hash = ?1 AND p.hold IS NULL ORDER BY 1"
                ))
            },
            due_lease: text(format!(
                "SELECT {PENDING} FROM ezdfs_pending p WHERE p.prefix = ?1 AND p.state = ?2 \
                 AND p.state <> 'queued' AND p.lease_end <= ?3 ORDER BY p.lease_end, p.id LIMIT ?4"
            )),
            due_queue: text(format!(
                "SELECT {PENDING} FROM ezdfs_pending p WHERE p.prefix = ?1 AND p.state = 'queued' \
                 AND p.not_before <= ?3 ORDER BY p.not_before, p.id LIMIT ?4"
            )),
            figures_files: figures(FIRST),
            figures_files_all: figures("?1 = '' AND ?2 IS NULL"),
            strays: text(format!(
                "SELECT n.path_hash, n.basename FROM ezdfs_node n LEFT JOIN \"{table}\" b \
                 ON b.name_hash = n.path_hash WHERE n.path_hash > ?1 AND n.kind = 'file' \
                 AND b.name_hash IS NULL ORDER BY n.path_hash LIMIT ?2"
            )),
            remove_strays: text(format!(
                "DELETE FROM ezdfs_node WHERE kind = 'file' AND NOT EXISTS \
                 (SELECT 1 FROM \"{table}\" b WHERE b.name_hash = ezdfs_node.path_hash)"
            )),
            backfill: text(format!(
                "SELECT name_hash, name FROM \"{table}\" WHERE name_hash > ?1 \
                 ORDER BY name_hash LIMIT ?2"
            )),
        }
    }

    /// The statements whose cost must not grow with the table, by name.
    pub(super) fn hot(&self) -> [(&'static str, Text); 14] {
        [
            ("record", &self.record),
            ("find", &self.find),
            ("list", &self.list),
            ("scan_first", &self.scan_first),
            ("scan_after", &self.scan_after),
            ("scan_all", &self.scan_all),
            ("unhidden_first", &self.unhidden_first),
            ("tombstones", &self.tombstones),
            ("expired", &self.expired),
            ("blocker", &self.blocker),
            ("intents_on", &self.intents_on),
            ("intents_of", &self.intents_of),
            ("due_lease", &self.due_lease),
            ("due_queue", &self.due_queue),
        ]
        .map(|(name, text)| (name, Text::clone(text)))
    }
}

/// Columns of a node row that a write sets, in the order of [`super::bind::bind_node`].
const NODE_WRITE: [&str; 15] = [
    "path_hash",
    "parent_hash",
    "basename",
    "kind",
    "mode",
    "uid",
    "gid",
    "mtime_ns",
    "ctime_ns",
    "pin",
    "token",
    "sha256",
    "expires_at",
    "base_size",
    "base_mtime",
];

fn put_nodes(rows: usize) -> String {
    // `size` repeats the fingerprint's, so that a listing needs no base row for it.
    let values = format!("({}, ?)", vec!["?"; NODE_WRITE.len()].join(", "));
    let update: Vec<String> = NODE_WRITE
        .iter()
        .filter(|c| **c != "path_hash")
        .chain(["size"].iter())
        .map(|c| format!("{c} = excluded.{c}"))
        .collect();
    format!(
        "INSERT INTO ezdfs_node ({}, size) VALUES {} \
         ON CONFLICT (path_hash) DO UPDATE SET {}",
        NODE_WRITE.join(", "),
        vec![values.as_str(); rows].join(", "),
        update.join(", ")
    )
}
