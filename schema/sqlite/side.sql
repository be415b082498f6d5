-- Side tables: what the base table has no room for. Hashes, tokens and digests are lowercase hex
-- text in every table, as `name_hash` is in the base table, so that one join needs no conversion
-- and a person can read them. Text is compared by bytes (BINARY, SQLite's default). Times are
-- nanoseconds since the epoch (`_ns`), except `expires_at` and `at`, which are milliseconds.

-- One row per entry of a directory: files, directories, later symlinks and special files.
CREATE TABLE IF NOT EXISTS ezdfs_node (
    -- The inode number. AUTOINCREMENT, so that the number of a removed entry is never given to
    -- another one while a kernel may still remember it. It has to be the primary key for that; the
    -- key of lookups is path_hash.
    ino         INTEGER PRIMARY KEY AUTOINCREMENT,
    -- MD5 of `name_prefix/` + path, for every kind of entry.
    path_hash   TEXT    NOT NULL UNIQUE,
    -- MD5 of the name of the directory that lists the entry.
    parent_hash TEXT    NOT NULL,
    basename    TEXT    NOT NULL,
    -- 'file' or 'dir'.
    kind        TEXT    NOT NULL,
    mode        INTEGER,
    uid         INTEGER,
    gid         INTEGER,
    size        INTEGER NOT NULL DEFAULT 0,
    mtime_ns    INTEGER NOT NULL,
    ctime_ns    INTEGER NOT NULL,
    -- Target of a symlink, or primary of an alias.
    target      TEXT,
    -- The store's own identity of the object.
    pin         TEXT,
    token       TEXT,
    sha256      TEXT,
    expires_at  INTEGER,
    -- Fingerprint: size and abs(mtime) of the base row this row was written with. Where it differs
    -- from the base row a foreign writer overtook this row. abs, because a soft delete turns the
    -- sign and must not lose the version.
    base_size   INTEGER NOT NULL DEFAULT 0,
    base_mtime  INTEGER NOT NULL DEFAULT 0,
    -- Listing order and keyset pages.
    UNIQUE (parent_hash, basename)
);

-- Few files expire: a full index would cost every publish.
CREATE INDEX IF NOT EXISTS ezdfs_node_expires ON ezdfs_node (expires_at)
    WHERE expires_at IS NOT NULL;

-- Inode 1 is the root of every mount; numbers start above it.
INSERT INTO sqlite_sequence (name, seq)
    SELECT 'ezdfs_node', 1
    WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'ezdfs_node');

-- One row per piece of work that must be rolled forward or done later.
CREATE TABLE IF NOT EXISTS ezdfs_pending (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    -- 'publish', 'rename', 'delete', 'reap' or 'repair'.
    kind        TEXT    NOT NULL,
    -- The store's name prefix: several stores share one database.
    prefix      TEXT    NOT NULL,
    path        TEXT    NOT NULL,
    path_hash   TEXT    NOT NULL,
    -- Whether the work reaches everything below the path.
    subtree     INTEGER NOT NULL,
    token       TEXT    NOT NULL,
    owner       TEXT    NOT NULL,
    -- 'held', 'ended' or 'queued'.
    state       TEXT    NOT NULL,
    -- path_hash while held, else NULL: a unique index ignores NULL in every database, which makes
    -- exclusion portable (MySQL has no partial indexes).
    hold        TEXT    UNIQUE,
    lease_end   INTEGER NOT NULL,
    not_before  INTEGER,
    -- What is needed to finish the work elsewhere.
    size        INTEGER,
    sha256      TEXT,
    datatype    TEXT,
    mtime_ns    INTEGER,
    expires_at  INTEGER,
    pin         TEXT,
    other_path  TEXT,
    key         TEXT
);

-- A directory delete queues many reaps under one token; the state keeps its hold cheap to find.
CREATE INDEX IF NOT EXISTS ezdfs_pending_token ON ezdfs_pending (token, state);
-- Holds below a directory.
CREATE INDEX IF NOT EXISTS ezdfs_pending_below ON ezdfs_pending (prefix, path)
    WHERE hold IS NOT NULL;
-- Ended and queued work on a path, by which a late object is recognised. Held work is found by `hold`.
CREATE INDEX IF NOT EXISTS ezdfs_pending_path ON ezdfs_pending (path_hash)
    WHERE hold IS NULL;
-- Work that is due.
CREATE INDEX IF NOT EXISTS ezdfs_pending_lease ON ezdfs_pending (prefix, state, lease_end)
    WHERE state <> 'queued';
CREATE INDEX IF NOT EXISTS ezdfs_pending_queue ON ezdfs_pending (prefix, not_before)
    WHERE state = 'queued';

-- One row per live node, or per advisory lock of one.
CREATE TABLE IF NOT EXISTS ezdfs_lease (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    node        TEXT    NOT NULL,
    -- NULL for the node's own row.
    lock_hash   TEXT,
    range_start INTEGER NOT NULL DEFAULT 0,
    range_end   INTEGER NOT NULL DEFAULT 0,
    exclusive   INTEGER NOT NULL DEFAULT 1,
    owner       TEXT    NOT NULL,
    lease_end   INTEGER NOT NULL,
    heartbeat   INTEGER NOT NULL,
    feed_seq    INTEGER NOT NULL DEFAULT 0,
    version     TEXT    NOT NULL
);

CREATE INDEX IF NOT EXISTS ezdfs_lease_lock ON ezdfs_lease (lock_hash, range_start);
CREATE INDEX IF NOT EXISTS ezdfs_lease_node ON ezdfs_lease (node);

-- One row per change of a base row, appended by the triggers. Columns as wide as the base
-- table's and no key but the sequence: nothing here may ever fail for a PHP statement.
CREATE TABLE IF NOT EXISTS ezdfs_change (
    -- AUTOINCREMENT, so that numbers go on above those of trimmed rows. SQLite has one writer at a
    -- time, so sequence order is commit order here.
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    -- 'insert', 'update' or 'delete'.
    op        TEXT    NOT NULL,
    name_hash varchar(34),
    name      TEXT,
    -- The ezdfs process that made the change; NULL for foreign writers.
    origin    TEXT,
    at        INTEGER NOT NULL
);

-- What the materialiser still has to look at is found without reading our own changes.
CREATE INDEX IF NOT EXISTS ezdfs_change_foreign ON ezdfs_change (seq) WHERE origin IS NULL;

-- One row per extended attribute.
CREATE TABLE IF NOT EXISTS ezdfs_xattr (
    path_hash TEXT NOT NULL,
    name      TEXT NOT NULL,
    value     BLOB NOT NULL,
    PRIMARY KEY (path_hash, name)
) WITHOUT ROWID;

-- schema_version, base_table, materialised (feed watermark), backfill (cursor while one runs).
CREATE TABLE IF NOT EXISTS ezdfs_meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
