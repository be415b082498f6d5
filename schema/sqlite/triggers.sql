-- Feed triggers. Each appends rows to ezdfs_change and does nothing else: no lookup, nothing that
-- can fail, because Ibexa turns any error of an INSERT into an unchecked UPDATE and reports
-- success (ibexa-dfs.md §1.8). They run inside the writer's own SQLite, PHP's included, so they
-- use functions that every version has.

CREATE TRIGGER IF NOT EXISTS ezdfs_feed_insert AFTER INSERT ON "{table}"
BEGIN
    INSERT INTO ezdfs_change (op, name_hash, name, at)
    VALUES ('insert', NEW.name_hash, NEW.name,
            CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));
END;

CREATE TRIGGER IF NOT EXISTS ezdfs_feed_update AFTER UPDATE ON "{table}"
BEGIN
    INSERT INTO ezdfs_change (op, name_hash, name, at)
    VALUES ('update', NEW.name_hash, NEW.name,
            CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));
END;

-- A rename in place (legacy eZ Publish ends the generation of a cache file so) removes a name.
CREATE TRIGGER IF NOT EXISTS ezdfs_feed_rename AFTER UPDATE ON "{table}"
WHEN OLD.name_hash <> NEW.name_hash
BEGIN
    INSERT INTO ezdfs_change (op, name_hash, name, at)
    VALUES ('delete', OLD.name_hash, OLD.name,
            CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));
END;

CREATE TRIGGER IF NOT EXISTS ezdfs_feed_delete AFTER DELETE ON "{table}"
BEGIN
    INSERT INTO ezdfs_change (op, name_hash, name, at)
    VALUES ('delete', OLD.name_hash, OLD.name,
            CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER));
END;
