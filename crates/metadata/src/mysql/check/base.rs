//! The base table: what PHP made, and what that costs.

use super::*;

/// A column as it is.
pub(super) struct Found {
    pub(super) kind: String,
    pub(super) charset: String,
    pub(super) collation: String,
    pub(super) is_not_null: bool,
    pub(super) length: i64,
}

pub(super) type Columns = BTreeMap<String, Found>;

pub(super) async fn columns_of(conn: &mut MySqlConnection, table: &str) -> Result<Columns, Stop> {
    let found = rows(
        conn,
        "SELECT COLUMN_NAME, COLUMN_TYPE, COALESCE(CHARACTER_SET_NAME, ''), \
         COALESCE(COLLATION_NAME, ''), IS_NULLABLE, \
         CAST(LEAST(COALESCE(CHARACTER_MAXIMUM_LENGTH, 0), 2147483647) AS SIGNED) \
         FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?1",
        params![table],
    )
    .await?;
    let columns = found.iter().map(|row| {
        let text = |at| Ok::<_, sqlx::Error>(decode::text(row, at)?.unwrap_or_default());
        let found = Found {
            kind: text(1)?.to_ascii_lowercase(),
            charset: text(2)?,
            collation: text(3)?,
            is_not_null: text(4)? == "NO",
            length: decode::int(row, 5)?.unwrap_or_default(),
        };
        Ok((text(0)?.to_ascii_lowercase(), found))
    });
    columns.collect::<Result<_, _>>().map_err(during("read the schema"))
}

/// An index of a table.
pub(super) struct Index {
    pub(super) table: String,
    pub(super) columns: String,
    pub(super) is_unique: bool,
    /// Characters of the first column, if not all.
    pub(super) prefix: Option<i64>,
}

pub(super) async fn indexes(
    conn: &mut MySqlConnection,
    tables: Vec<String>,
) -> Result<Vec<Index>, Stop> {
    let found = rows(
        conn,
        "SELECT TABLE_NAME, GROUP_CONCAT(COLUMN_NAME ORDER BY SEQ_IN_INDEX), \
         CAST(MIN(NON_UNIQUE) AS SIGNED), \
         CAST(MIN(CASE SEQ_IN_INDEX WHEN 1 THEN SUB_PART END) AS SIGNED) \
         FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() \
         AND TABLE_NAME @in(?1) GROUP BY TABLE_NAME, INDEX_NAME",
        params![tables],
    )
    .await?;
    let indexes = found.iter().map(|row| {
        let text = |at| Ok::<_, sqlx::Error>(decode::text(row, at)?.unwrap_or_default());
        Ok(Index {
            table: text(0)?,
            columns: text(1)?.to_ascii_lowercase(),
            is_unique: decode::int(row, 2)? == Some(0),
            prefix: decode::int(row, 3)?,
        })
    });
    indexes.collect::<Result<_, _>>().map_err(during("read the schema"))
}

/// The storage engine, and whether it is a table at all.
pub(super) async fn engine(conn: &mut MySqlConnection, table: &str) -> Result<String, Stop> {
    let query = "SELECT COALESCE(ENGINE, '') FROM information_schema.TABLES \
         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?1";
    Ok(text(conn, query, params![table]).await?.unwrap_or_default())
}

/// Refuses a base table that the statements cannot work with.
pub(in crate::mysql) async fn refuse_base(
    conn: &mut MySqlConnection,
    options: &ServerOptions,
) -> Result<(), Stop> {
    let mut findings = Findings::default();
    base_table(conn, options, &mut findings).await?;
    match findings.problems().next() {
        None => Ok(()),
        Some(problem) => {
            let what = format!("mysql {}: {problem}", options.place());
            Err(Error::new(ErrorKind::Config, what).into())
        }
    }
}

/// Engine, columns, keys, and what differs from Ibexa's.
pub(super) async fn base_table(
    conn: &mut MySqlConnection,
    options: &ServerOptions,
    findings: &mut Findings,
) -> Result<(), Stop> {
    let table = &options.table;
    let engine = engine(conn, table).await?;
    if engine.is_empty() {
        findings.problem(
            format!("{table} is not a table"),
            "it takes no trigger and has no key",
            "name the table that Ibexa writes to as `table`",
        );
        return Ok(());
    }
    if !engine.eq_ignore_ascii_case("InnoDB") {
        findings.problem(
            format!("the table {table} has the engine {engine}"),
            "its rows are not part of transactions, so rows and entries come apart at any failure",
            format!("ALTER TABLE `{table}` ENGINE=InnoDB"),
        );
    }
    let found = columns_of(conn, table).await?;
    for column in BASE_COLUMNS.iter().filter(|c| !found.contains_key(**c)) {
        findings.problem(
            format!("the table {table} has no column {column}"),
            "neither Ibexa nor ezdfs can use it",
            "compare it with `ezdfs schema print`; is it another table?",
        );
    }
    if let Some(hash) = found.get("name_hash").filter(|hash| hash.length < HASH) {
        findings.problem(
            format!("{table}.name_hash is {}", hash.kind),
            "a hash does not fit into it",
            format!("ALTER TABLE `{table}` MODIFY name_hash varchar(34) NOT NULL DEFAULT ''"),
        );
    }
    let indexes = indexes(conn, vec![table.clone()]).await?;
    let has_key = indexes
        .iter()
        .any(|i| i.columns == "name_hash" && i.is_unique && i.prefix.is_none_or(|n| n >= HASH));
    if found.contains_key("name_hash") && !has_key {
        findings.problem(
            format!("the table {table} has no primary key on name_hash"),
            "a file could have two rows, and each look-up reads the whole table",
            format!("remove double rows, then ALTER TABLE `{table}` ADD PRIMARY KEY (name_hash)"),
        );
    }
    if let Some(name) = found.get("name") {
        names(table, name, &indexes, findings);
    }
    Ok(())
}

/// Character set and index of the names.
pub(super) fn names(table: &str, name: &Found, indexes: &[Index], findings: &mut Findings) {
    if name.charset != "utf8mb4" && !name.charset.is_empty() {
        let lacks = if name.charset.starts_with("utf8") {
            "names with 4-byte characters (emoji) are refused"
        } else {
            "names with characters that it lacks are refused"
        };
        findings.note(
            format!("{table}.name has the character set {}", name.charset),
            format!("{lacks}, for PHP as for ezdfs"),
            format!("convert the table as Ibexa's upgrade does: ALTER TABLE `{table}` CONVERT TO CHARACTER SET utf8mb4"),
        );
    }
    let by_name = indexes.iter().filter(|i| i.columns == "name" || i.columns.starts_with("name,"));
    let longest = by_name.map(|i| i.prefix.unwrap_or(i64::MAX)).max();
    let what = match longest {
        Some(length) if length >= NAME_PREFIX => return,
        Some(length) => format!("the index on {table}.name has {length} characters"),
        None => format!("the table {table} has no index on name"),
    };
    findings.note(
        what,
        "PHP's deletes of a directory and ezdfs's walks of one store read more rows, or the whole table",
        format!("CREATE INDEX {table}_name ON `{table}` (name({NAME_PREFIX}))"),
    );
}
