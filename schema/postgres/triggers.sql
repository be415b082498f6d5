-- The feed trigger. It appends rows to ezdfs_change and does nothing else. An error in it is
-- reported as a warning and swallowed, because Ibexa turns any error of an INSERT into an
-- unchecked UPDATE and reports success (ibexa-dfs.md §1.8); the scan that `ezdfs serve` makes now
-- and then finds what was not told. SECURITY DEFINER: PHP's role needs no privilege on our tables.
-- Tables are named with their schema, and everything else is found in pg_catalog alone: it runs as
-- its owner, and no search_path of a caller may slip in an operator of its own.
CREATE OR REPLACE FUNCTION {schema}.ezdfs_feed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    who text := nullif(pg_catalog.current_setting('ezdfs.origin', true), '');
    moment bigint := (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000)::bigint;
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO {schema}.ezdfs_change (op, name_hash, name, origin, todo, at)
        VALUES ('insert', NEW.name_hash, NEW.name, who, who IS NULL, moment);
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO {schema}.ezdfs_change (op, name_hash, name, origin, todo, at)
        VALUES ('delete', OLD.name_hash, OLD.name, who, who IS NULL, moment);
    ELSE
        INSERT INTO {schema}.ezdfs_change (op, name_hash, name, origin, todo, at)
        VALUES ('update', NEW.name_hash, NEW.name, who, who IS NULL, moment);
        -- A rename in place (legacy eZ Publish ends the generation of a cache file so).
        IF OLD.name_hash IS DISTINCT FROM NEW.name_hash THEN
            INSERT INTO {schema}.ezdfs_change (op, name_hash, name, origin, todo, at)
            VALUES ('delete', OLD.name_hash, OLD.name, who, who IS NULL, moment);
        END IF;
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'ezdfs: a change of % was not told: %', TG_TABLE_NAME, SQLERRM;
    RETURN NULL;
END $$;

DROP TRIGGER IF EXISTS ezdfs_feed ON "{table}";
CREATE TRIGGER ezdfs_feed AFTER INSERT OR UPDATE OR DELETE ON "{table}"
    FOR EACH ROW EXECUTE FUNCTION {schema}.ezdfs_feed();
