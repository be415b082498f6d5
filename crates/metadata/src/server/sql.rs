//! The statements of a store, built once around the base table as it really is, and what that table
//! can hold. Each dialect
//! writes them by hand; what each takes and answers is said here.

use super::limits::NameLimits;
use super::statement::Statement;

/// Node rows that one statement inserts.
pub(crate) const NODES_AT_ONCE: usize = 64;
/// Parameters of one node row.
const NODE_PARAMS: usize = 15;

/// The values of [`NODES_AT_ONCE`] node rows, given those of one.
pub(crate) fn many_nodes(one: &str) -> String {
    let row = |n: usize| {
        let mut text = one.to_owned();
        // From the highest number down, so that `?1` is not found in `?15`.
        for param in (1..=NODE_PARAMS).rev() {
            text = text.replace(&format!("?{param}"), &format!("\u{0}{}", param + n * NODE_PARAMS));
        }
        format!("({})", text.replace('\u{0}', "?"))
    };
    (0..NODES_AT_ONCE).map(row).collect::<Vec<_>>().join(", ")
}

/// Columns of base row and node row first, as [`crate::decode::stored`] reads them, unless said
/// otherwise.
#[derive(Debug, Clone)]
pub(crate) struct Sql {
    /// What the base table can hold.
    pub(crate) names: NameLimits,
    // Reads.
    /// ?1 hash. One row in any case.
    pub(crate) record: Statement,
    /// ?1 parent hash, ?2 after, ?3 limit. In byte order of basenames.
    pub(crate) list: Statement,
    /// ?1 after which hash, ?2 and ?3 range of names, ?4 the directory above them, ?5 limit. In the
    /// order of hashes; behind the columns: the hash.
    pub(crate) scan: Statement,
    /// ?1 after which hash, ?2 limit.
    pub(crate) scan_all: Statement,
    /// ?1 after which name, ?2 and ?3 range, ?4 the directory above them, ?5 limit. In byte order of
    /// names; behind the columns: the hash.
    pub(crate) tombstones: Statement,
    /// ?1 after which name, ?2 limit.
    pub(crate) tombstones_all: Statement,
    /// ?1 time, ?2 whether a range counts, ?3 and ?4 range, ?5 limit; behind the columns: the hash.
    pub(crate) expired: Statement,
    /// ?1 own hash, ?2 hashes above. Pending rows.
    pub(crate) intents_on: Statement,
    /// ?1 token.
    pub(crate) intents_of: Statement,
    /// ?1 prefix, ?2 state, ?3 time, ?4 limit. Pending rows.
    pub(crate) due_lease: Statement,
    /// ?1 prefix, ?2 time, ?3 limit. Pending rows.
    pub(crate) due_queue: Statement,
    /// ?1 and ?2 range, ?3 the directory above them, ?4 time. Rows, visible ones, their bytes.
    pub(crate) figures_files: Statement,
    /// ?1 time.
    pub(crate) figures_files_all: Statement,
    /// ?1 hash of the root. Directories below it.
    pub(crate) figures_dirs: Statement,
    /// ?1 prefix, ?2 time. Held, overdue, reaps.
    pub(crate) figures_pending: Statement,
    /// How many foreign changes wait.
    pub(crate) foreign_count: Statement,
    /// A row while foreign changes wait.
    pub(crate) foreign_waits: Statement,
    /// Database time in nanoseconds.
    pub(crate) now: Statement,

    // One write transaction. `node` columns are those of `decode::stored` with NULL for the base.
    /// ?1 hashes, locked for change. Behind the columns: the hash.
    pub(crate) nodes_change: Statement,
    /// ?1 hashes, locked so that they stay. Behind the columns: the hash.
    pub(crate) nodes_keep: Statement,
    /// ?1 hashes. Base columns, NULL for the node; behind the columns: the hash.
    pub(crate) bases: Statement,
    /// ?1 hashes, locked for change.
    pub(crate) bases_change: Statement,
    /// ?1 and ?2 range. Behind the columns: the hash. Rows of names that the materialiser has not
    /// seen yet and that are not hidden, in byte order; ?3 after which name, ?4 limit.
    pub(crate) unseen_below: Statement,
    /// ?1 parent hash, ?2 after which name, ?3 limit. Files of one directory that are not hidden, in
    /// byte order; behind the columns: the hash.
    pub(crate) files_in: Statement,
    /// ?1 hash, ?2 name, ?3 datatype, ?4 scope, ?5 size, ?6 mtime.
    pub(crate) put_base: Statement,
    /// ?1 hash, ?2 name.
    pub(crate) hide_base: Statement,
    /// ?1 hash, ?2 name.
    pub(crate) delete_base: Statement,
    /// ?1 hash, ?2 kind, ?3 parent hash, ?4 basename.
    pub(crate) delete_node_of: Statement,
    /// ?1 to ?15 as [`super::bind::node`] says.
    pub(crate) insert_node: Statement,
    /// [`NODES_AT_ONCE`] of them, one after the other.
    pub(crate) insert_nodes: Statement,
    /// The same.
    pub(crate) update_node: Statement,
    /// The same: inserted, or updated where there is one.
    pub(crate) upsert_node: Statement,
    /// ?1 hashes.
    pub(crate) delete_nodes: Statement,
    /// ?1 hash of a directory. Hashes of the directories below it that have no entries.
    pub(crate) empty_dirs: Statement,
    /// ?1 hash. A row if the directory has an entry that is not a file.
    pub(crate) has_subdir: Statement,
    /// ?1 hashes, ?2 now, ?3 not above that time.
    pub(crate) touch_dirs: Statement,
    /// ?1 token, ?2 states. Rows that hold, and rows that were ended; locked, so that nobody takes the
    /// path over before the commit.
    pub(crate) count_holds: Statement,
    /// ?1 own hash, ?2 hashes above, ?3 subtree, ?4 prefix, ?5 and ?6 range of paths below, ?7 path,
    /// ?8 kind, ?9 token, ?10 owner, ?11 state, ?12 hold, ?13 lease end, ?14 not before, ?15 size,
    /// ?16 sha256, ?17 datatype, ?18 mtime, ?19 expiry, ?20 pin, ?21 other path, ?22 key. No row, or
    /// [`super::dialect::Fault::Duplicate`], when the path is not free; only of rows on the path itself
    /// where [`super::dialect::Dialect::INSERT_LOOKS`] is false.
    pub(crate) add_intent: Statement,
    /// ?1 to ?6 as above. Pending rows.
    pub(crate) blocker: Statement,
    /// ?1 token.
    pub(crate) end_hold: Statement,
    /// ?1 token.
    pub(crate) keep_hold: Statement,
    /// ?1 token, ?2 lease end.
    pub(crate) renew: Statement,
    /// ?1 id.
    pub(crate) forget: Statement,
    /// Before a path is taken or must be free: others may do so too, nobody takes a subtree.
    pub(crate) gate_shared: Statement,
    /// Before a subtree is taken: waits for everybody who passed the gate, and keeps others out.
    pub(crate) gate_alone: Statement,

    // Feed.
    /// ?1 limit. Numbers of committed foreign changes that wait, lowest first.
    pub(crate) todo_numbers: Statement,
    /// ?1 numbers. Number, operation, hash, name of those that still wait; locked, so that whoever
    /// comes second waits, and what was told is done when it goes on.
    pub(crate) todo: Statement,
    /// ?1 above which number, ?2 hashes. Hash and number of the last own change of each.
    pub(crate) own_changes: Statement,
    /// ?1 numbers.
    pub(crate) todo_done: Statement,
    /// ?1 time in ms, ?2 limit. Numbers of changes that may be trimmed, locked.
    pub(crate) trimmable: Statement,
    /// ?1 numbers.
    pub(crate) trim: Statement,
    /// ?1 number. Notes the highest number that was trimmed.
    pub(crate) note_trimmed: Statement,
    /// ?1 operation, ?2 hash, ?3 name, ?4 origin, ?5 time in ms: what the trigger would have
    /// written, where there is none.
    pub(crate) tell: Statement,
    /// ?1 now, ?2 not above that time.
    pub(crate) beat: Statement,
    /// ?1 name, ?2 owner, ?3 lease end, ?4 heartbeat, ?5 number of a change, ?6 version.
    pub(crate) renew_member: Statement,
    /// The same.
    pub(crate) add_member: Statement,
    /// ?1 lease end.
    pub(crate) forget_members: Statement,
    /// ?1 name.
    pub(crate) leave: Statement,
    /// Rows of [`crate::decode::member`], by name.
    pub(crate) members: Statement,
    /// ?1 after which hash, ?2 limit. Behind the columns: the hash. For the backfill and for the
    /// scan that stands in for a trigger.
    pub(crate) walk: Statement,
    /// ?1 after which hash, ?2 limit. Node rows of files without base row: hash and basename.
    pub(crate) orphans: Statement,

    // ezdfs_meta.
    /// ?1 key.
    pub(crate) meta: Statement,
    /// ?1 key, ?2 value.
    pub(crate) set_meta: Statement,
    /// ?1 key.
    pub(crate) delete_meta: Statement,
    /// ?1 key. Locked.
    pub(crate) lock_meta: Statement,
    /// Publish in one statement, where the dialect has one: ?1 to ?15 as
    /// [`super::bind::node`] says, ?16 token of the hold, ?17 name, ?18 datatype, ?19 scope, ?20 touch
    /// directories not above that time, ?21 and ?22 range of the names below. One row with the
    /// number of rows written: 0 when anything is out of the ordinary, and then nothing is changed.
    pub(crate) publish: Option<Statement>,
}
