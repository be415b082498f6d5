-- Side tables: what the base table has no room for. Hashes, tokens and digests are lowercase hex
-- text (ascii_bin), names and paths are bytes (VARBINARY): neither case, accents nor trailing
-- blanks may ever be folded. Times are nanoseconds since the epoch (`_ns`), except `expires_at` and
-- `at`, which are milliseconds. MariaDB 10.6+ and MySQL 8.

-- One row per entry of a directory: files, directories, later symlinks and special files.
CREATE TABLE IF NOT EXISTS ezdfs_node (
    -- MD5 of `name_prefix/` + path, for every kind of entry.
    path_hash   CHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- The inode number; 1 is the root of every mount. InnoDB keeps the counter over a restart, so
    -- no number is given twice.
    ino         BIGINT NOT NULL AUTO_INCREMENT,
    -- MD5 of the name of the directory that lists the entry.
    parent_hash CHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    basename    VARBINARY(255) NOT NULL,
    -- 'file' or 'dir'.
    kind        VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    mode        BIGINT,
    uid         BIGINT,
    gid         BIGINT,
    size        BIGINT NOT NULL DEFAULT 0,
    mtime_ns    BIGINT NOT NULL,
    ctime_ns    BIGINT NOT NULL,
    -- Target of a symlink, or primary of an alias.
    target      VARBINARY(4096),
    -- The store's own identity of the object.
    pin         VARBINARY(2048),
    token       CHAR(32) CHARACTER SET ascii COLLATE ascii_bin,
    sha256      CHAR(64) CHARACTER SET ascii COLLATE ascii_bin,
    expires_at  BIGINT,
    -- Fingerprint: size and abs(mtime) of the base row this row was written with. Where it differs
    -- from the base row a foreign writer overtook this row.
    base_size   BIGINT NOT NULL DEFAULT 0,
    base_mtime  BIGINT NOT NULL DEFAULT 0,
    -- Rows are stored in the order of listings: a page of a directory is one range.
    PRIMARY KEY (parent_hash, basename),
    UNIQUE KEY ezdfs_node_path (path_hash),
    KEY ezdfs_node_ino (ino),
    KEY ezdfs_node_expires (expires_at)
) ENGINE=InnoDB AUTO_INCREMENT=2 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- One row per piece of work that must be rolled forward or done later.
CREATE TABLE IF NOT EXISTS ezdfs_pending (
    id          BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    -- 'publish', 'rename', 'delete', 'reap' or 'repair'.
    kind        VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- The store's name prefix: several stores share one database.
    prefix      VARBINARY(512) NOT NULL,
    path        VARBINARY(4096) NOT NULL,
    path_hash   CHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- Whether the work reaches everything below the path.
    subtree     TINYINT(1) NOT NULL,
    token       CHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    owner       VARCHAR(255) NOT NULL,
    -- 'held', 'ended' or 'queued'.
    state       VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- path_hash while held, else NULL: a unique index ignores NULL in every database, which makes
    -- exclusion portable.
    hold        CHAR(32) CHARACTER SET ascii COLLATE ascii_bin,
    lease_end   BIGINT NOT NULL,
    not_before  BIGINT,
    -- What is needed to finish the work elsewhere.
    size        BIGINT,
    sha256      CHAR(64) CHARACTER SET ascii COLLATE ascii_bin,
    datatype    VARCHAR(255),
    mtime_ns    BIGINT,
    expires_at  BIGINT,
    pin         VARBINARY(2048),
    other_path  VARBINARY(4096),
    `key`       VARBINARY(4096),
    UNIQUE KEY ezdfs_pending_hold (hold),
    -- A directory delete queues many reaps under one token; the state keeps its hold cheap to find.
    KEY ezdfs_pending_token (token, state),
    -- Work on a path, by which a late object is recognised.
    KEY ezdfs_pending_path (path_hash),
    -- Work that is due. Held work is little at any moment, and the first of these finds all of it.
    KEY ezdfs_pending_lease (state, lease_end),
    KEY ezdfs_pending_queue (state, not_before)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- One row per live node, or per advisory lock of one.
CREATE TABLE IF NOT EXISTS ezdfs_lease (
    id          BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    node        VARCHAR(255) NOT NULL,
    -- NULL for the node's own row.
    lock_hash   CHAR(32) CHARACTER SET ascii COLLATE ascii_bin,
    range_start BIGINT NOT NULL DEFAULT 0,
    range_end   BIGINT NOT NULL DEFAULT 0,
    exclusive   TINYINT(1) NOT NULL DEFAULT 1,
    owner       VARCHAR(255) NOT NULL,
    lease_end   BIGINT NOT NULL,
    heartbeat   BIGINT NOT NULL,
    feed_seq    BIGINT NOT NULL DEFAULT 0,
    version     VARCHAR(64) NOT NULL,
    KEY ezdfs_lease_lock (lock_hash, range_start),
    KEY ezdfs_lease_node (node)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- One row per change of a base row, appended by the triggers. Columns wider than the base table's
-- and no unique key but the sequence: nothing here may ever fail for a PHP statement.
CREATE TABLE IF NOT EXISTS ezdfs_change (
    seq       BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    -- 'insert', 'update' or 'delete'; 'found' by a scan.
    op        VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    name_hash VARCHAR(255),
    name      MEDIUMTEXT,
    -- The ezdfs process that made the change; NULL for foreign writers.
    origin    VARCHAR(255),
    -- 1: the materialiser still has to look at it; NULL: nothing to do.
    todo      TINYINT,
    at        BIGINT NOT NULL,
    KEY ezdfs_change_todo (todo, seq),
    -- The last change that one of us made to a row.
    KEY ezdfs_change_row (name_hash, seq)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- One row per extended attribute.
CREATE TABLE IF NOT EXISTS ezdfs_xattr (
    path_hash CHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    name      VARBINARY(255) NOT NULL,
    value     MEDIUMBLOB NOT NULL,
    PRIMARY KEY (path_hash, name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- schema_version, base_table, layout, feed ('trigger' or 'scan'), heartbeat, trimmed (highest
-- sequence number that was trimmed), gate (locked, never changed), backfill (cursor while one runs).
CREATE TABLE IF NOT EXISTS ezdfs_meta (
    `key`   VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    `value` VARCHAR(1024) NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
