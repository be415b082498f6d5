-- Feed triggers. Each appends rows to ezdfs_change and does nothing else. An error of its INSERT is
-- swallowed, because Ibexa turns any error of an INSERT into an unchecked UPDATE and reports
-- success (ibexa-dfs.md §1.8); the scan that `ezdfs serve` makes now and then finds what was not
-- told. A deadlock is not swallowed: InnoDB has taken the whole transaction back, and PHP is told
-- so; nothing of ours takes a lock that could cause one. Times are counted in UTC, because NOW()
-- has one hour of the year twice. Each statement ends where its line is `//`.
CREATE TRIGGER ezdfs_feed_insert AFTER INSERT ON `{table}` FOR EACH ROW
BEGIN
    DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END;
    INSERT INTO ezdfs_change (op, name_hash, name, origin, todo, at)
    VALUES ('insert', NEW.name_hash, NEW.name, @ezdfs_origin, IF(@ezdfs_origin IS NULL, 1, NULL),
            TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000);
END
//
CREATE TRIGGER ezdfs_feed_update AFTER UPDATE ON `{table}` FOR EACH ROW
BEGIN
    DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END;
    INSERT INTO ezdfs_change (op, name_hash, name, origin, todo, at)
    VALUES ('update', NEW.name_hash, NEW.name, @ezdfs_origin, IF(@ezdfs_origin IS NULL, 1, NULL),
            TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000);
    -- A rename in place (legacy eZ Publish ends the generation of a cache file so).
    IF OLD.name_hash <> NEW.name_hash THEN
        INSERT INTO ezdfs_change (op, name_hash, name, origin, todo, at)
        VALUES ('delete', OLD.name_hash, OLD.name, @ezdfs_origin, IF(@ezdfs_origin IS NULL, 1, NULL),
                TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000);
    END IF;
END
//
CREATE TRIGGER ezdfs_feed_delete AFTER DELETE ON `{table}` FOR EACH ROW
BEGIN
    DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END;
    INSERT INTO ezdfs_change (op, name_hash, name, origin, todo, at)
    VALUES ('delete', OLD.name_hash, OLD.name, @ezdfs_origin, IF(@ezdfs_origin IS NULL, 1, NULL),
            TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000);
END
//
