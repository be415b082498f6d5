-- The base table exactly as Ibexa ships it (ibexa-dfs.md §1.2, §1.3): no column, index or
-- constraint of ours, so that PHP nodes and their upgrade scripts find what they expect.
-- `{table}` is `ezdfsfile`, or `ibexa_dfs_file` from Ibexa 5.0 on.
CREATE TABLE IF NOT EXISTS "{table}" (
    name       text         NOT NULL,
    name_trunk text         NOT NULL,
    name_hash  varchar(34)  NOT NULL DEFAULT '',
    datatype   varchar(255) NOT NULL DEFAULT 'application/octet-stream',
    scope      varchar(25)  NOT NULL DEFAULT '',
    size       bigint       NOT NULL DEFAULT 0,
    mtime      integer      NOT NULL DEFAULT 0,
    expired    boolean      NOT NULL DEFAULT FALSE,
    status     boolean      NOT NULL DEFAULT FALSE,
    PRIMARY KEY (name_hash)
);

CREATE INDEX IF NOT EXISTS "{table}_name" ON "{table}" (name);
CREATE INDEX IF NOT EXISTS "{table}_name_trunk" ON "{table}" (name_trunk);
CREATE INDEX IF NOT EXISTS "{table}_mtime" ON "{table}" (mtime);
CREATE INDEX IF NOT EXISTS "{table}_expired_name" ON "{table}" (expired, name);
