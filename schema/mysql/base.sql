-- The base table exactly as Ibexa ships it (ibexa-dfs.md §1.2, §1.3): no column, index or
-- constraint of ours, so that PHP nodes and their upgrade scripts find what they expect.
-- `{table}` is `ezdfsfile`, or `ibexa_dfs_file` from Ibexa 5.0 on. MariaDB 10.6+ and MySQL 8.
CREATE TABLE IF NOT EXISTS `{table}` (
    `name`       text                NOT NULL,
    `name_trunk` text                NOT NULL,
    `name_hash`  varchar(34)         NOT NULL DEFAULT '',
    `datatype`   varchar(255)        NOT NULL DEFAULT 'application/octet-stream',
    `scope`      varchar(25)         NOT NULL DEFAULT '',
    `size`       bigint(20) unsigned NOT NULL DEFAULT 0,
    `mtime`      int(11)             NOT NULL DEFAULT 0,
    `expired`    tinyint(1)          NOT NULL DEFAULT 0,
    `status`     tinyint(1)          NOT NULL DEFAULT 0,
    PRIMARY KEY (`name_hash`),
    KEY `{table}_name` (`name`(191)),
    KEY `{table}_name_trunk` (`name_trunk`(191)),
    KEY `{table}_mtime` (`mtime`),
    KEY `{table}_expired_name` (`expired`, `name`(191))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_520_ci;
