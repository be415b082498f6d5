//! The metadata table as the products ship it (ibexa-dfs.md §1.2, §1.3).

use super::ServerKind;

/// A base table without anything of ezdfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BaseTable {
    /// Ibexa's: on MariaDB utf8mb4 with `utf8mb4_unicode_520_ci` and indexes on 191 characters.
    Ibexa,
    /// The same on MariaDB with `utf8mb4_general_ci`; on PostgreSQL equal to [`Self::Ibexa`].
    IbexaGeneralCi,
    /// eZ Publish's on MariaDB: utf8mb3 with `utf8_bin` and indexes on 250 characters. It cannot
    /// hold 4-byte UTF-8.
    Legacy,
}

impl BaseTable {
    /// All that a server can have.
    #[must_use]
    pub fn of(kind: ServerKind) -> &'static [Self] {
        match kind {
            ServerKind::Mariadb => &[Self::Ibexa, Self::IbexaGeneralCi, Self::Legacy],
            ServerKind::Postgres => &[Self::Ibexa],
        }
    }

    /// The statements that make it.
    ///
    /// # Panics
    /// For a legacy table on PostgreSQL: there were none.
    #[must_use]
    pub fn sql(self, kind: ServerKind, table: &str) -> String {
        let (template, options, index) = match (kind, self) {
            (ServerKind::Postgres, Self::Ibexa | Self::IbexaGeneralCi) => (POSTGRES, "", ""),
            (ServerKind::Mariadb, Self::Ibexa) => {
                (MARIADB, "CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_520_ci", "191")
            }
            (ServerKind::Mariadb, Self::IbexaGeneralCi) => {
                (MARIADB, "CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci", "191")
            }
            (ServerKind::Mariadb, Self::Legacy) => {
                (MARIADB, "CHARSET=utf8mb3 COLLATE=utf8mb3_bin", "250")
            }
            (ServerKind::Postgres, Self::Legacy) => {
                panic!("eZ Publish has no table on PostgreSQL: use BaseTable::Ibexa")
            }
        };
        template.replace("{t}", table).replace("{options}", options).replace("{index}", index)
    }
}

const MARIADB: &str = "\
CREATE TABLE `{t}` (
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
    KEY `{t}_name` (`name`({index})),
    KEY `{t}_name_trunk` (`name_trunk`({index})),
    KEY `{t}_mtime` (`mtime`),
    KEY `{t}_expired_name` (`expired`, `name`({index}))
) ENGINE=InnoDB DEFAULT {options}";

const POSTGRES: &str = "\
CREATE TABLE \"{t}\" (
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
CREATE INDEX \"{t}_name\" ON \"{t}\" (name);
CREATE INDEX \"{t}_name_trunk\" ON \"{t}\" (name_trunk);
CREATE INDEX \"{t}_mtime\" ON \"{t}\" (mtime);
CREATE INDEX \"{t}_expired_name\" ON \"{t}\" (expired, name)";
