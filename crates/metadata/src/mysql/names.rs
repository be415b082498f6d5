//! How names and hashes of the base table are compared: that table may have any character set and
//! collation.

use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Row as _};

/// Character set and collation of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Text {
    charset: String,
    collation: String,
}

impl Text {
    /// Only what can be written into a statement.
    fn new(charset: Option<String>, collation: Option<String>) -> Option<Self> {
        // A column of bytes has neither.
        let charset = charset.unwrap_or_else(|| "binary".to_owned());
        let collation = collation.unwrap_or_else(|| "binary".to_owned());
        let is_word =
            |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        (is_word(&charset) && is_word(&collation)).then_some(Self { charset, collation })
    }

    /// An expression as a value of that column, so that an index on it serves.
    fn of(&self, expression: &str) -> String {
        let Self { charset, collation } = self;
        format!("CONVERT({expression} USING {charset}) COLLATE {collation}")
    }
}

/// How the base table's names and hashes are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    name: Text,
    hash: Text,
    /// Whether the collation has a slash behind the blank and before the digits, as all have that
    /// are known.
    is_slash_in_order: bool,
}

impl Names {
    /// Looks at the table as it is.
    pub(super) async fn of(conn: &mut MySqlConnection, table: &str) -> Result<Self, sqlx::Error> {
        let name = column(conn, table, "name").await?;
        let hash = column(conn, table, "name_hash").await?;
        let order = format!(
            "SELECT {blank} < {slash} AND {slash} < {digit}",
            blank = name.of("' '"),
            slash = name.of("'/'"),
            digit = name.of("'0'"),
        );
        let row = sqlx::raw_sql(AssertSqlSafe(order)).fetch_one(conn).await?;
        let is_slash_in_order: i64 = row.try_get_unchecked(0)?;
        Ok(Self { name, hash, is_slash_in_order: is_slash_in_order != 0 })
    }

    /// Longest character of the names, in bytes of UTF-8. What other character sets lack is told by the
    /// server when a row is written.
    pub(super) fn bytes_of_character(&self) -> usize {
        match self.name.charset.as_str() {
            "ascii" => 1,
            "utf8mb3" | "utf8" => 3,
            _ => 4,
        }
    }

    /// A text column in UTF-8: the session asks the server not to convert what it sends.
    pub(super) fn utf8(&self, column: &str) -> String {
        match self.name.charset.as_str() {
            "utf8mb4" | "utf8mb3" | "utf8" | "ascii" | "binary" => column.to_owned(),
            _ => format!("CONVERT({column} USING utf8mb4)"),
        }
    }

    /// The bytes of a name column as UTF-8, without case folding, accents and padding.
    pub(super) fn bytes(&self, column: &str) -> String {
        match self.name.charset.as_str() {
            // Their bytes are those of UTF-8; what is not valid stays as it is.
            "utf8mb4" | "utf8mb3" | "utf8" | "ascii" | "binary" => {
                format!("CAST({column} AS BINARY)")
            }
            _ => format!("CAST(CONVERT({column} USING utf8mb4) AS BINARY)"),
        }
    }

    /// That base row `b` lies below a directory: `low` and `high` are both ends of the range in byte
    /// order, `dir` the directory's name.
    ///
    /// The ends in the order of the collation are for the index, and contain all that the bytes do:
    /// whatever follows the directory's name begins with a slash. `LIKE 'dir/%'` is no substitute:
    /// on an index of `utf8mb4_bin` and others it leaves out names with emoji or control
    /// characters behind the slash (MariaDB 10.11).
    pub(super) fn below(&self, low: &str, high: &str, dir: &str) -> String {
        let bytes = self.bytes("b.name");
        let exact = format!("{bytes} >= {low} AND {bytes} < {high}");
        if !self.is_slash_in_order {
            return format!("{exact} AND {dir} IS NOT NULL");
        }
        let (dir, end) = (self.name.of(dir), self.name.of(high));
        format!("b.name >= {dir} AND b.name < {end} AND {exact}")
    }

    /// The condition by which base row `b` is found from a hash in ASCII.
    pub(super) fn base_by(&self, hash: &str) -> String {
        format!("b.name_hash = {}", self.hash.of(hash))
    }
}

/// The condition by which node row `n` is found from base row `b`.
pub(super) const NODE_BY_BASE: &str =
    "n.path_hash = CONVERT(b.name_hash USING ascii) COLLATE ascii_bin";

async fn column(conn: &mut MySqlConnection, table: &str, name: &str) -> Result<Text, sqlx::Error> {
    // MySQL 8 says what is text in `information_schema` as bytes.
    let row = sqlx::query(
        "SELECT CAST(character_set_name AS CHAR), CAST(collation_name AS CHAR) \
         FROM information_schema.columns \
         WHERE table_schema = DATABASE() AND table_name = ? AND column_name = ?",
    )
    .bind(table)
    .bind(name)
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else {
        // Not there or not to be seen: the server says which of these.
        let look = AssertSqlSafe(format!("SELECT `{name}` FROM `{table}` LIMIT 0"));
        sqlx::raw_sql(look).execute(conn).await?;
        return Err(sqlx::Error::ColumnNotFound(format!("{table}.{name}")));
    };
    Text::new(row.try_get_unchecked(0)?, row.try_get_unchecked(1)?)
        .ok_or_else(|| sqlx::Error::Decode(format!("the collation of {table}.{name}").into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(charset: &str, collation: &str, is_slash_in_order: bool) -> Names {
        let text = Text::new(Some(charset.to_owned()), Some(collation.to_owned())).unwrap();
        Names { name: text.clone(), hash: text, is_slash_in_order }
    }

    #[test]
    fn only_words_get_into_statements() {
        let word = |charset: &str| Text::new(Some(charset.to_owned()), None).is_some();
        assert!(word("utf8mb4") && word("latin1"));
        assert!(!word("a b") && !word("") && !word("x'y") && !word("a;b"));
        let bytes = Text::new(None, None).unwrap();
        assert_eq!(bytes.of("?1"), "CONVERT(?1 USING binary) COLLATE binary");
    }

    #[test]
    fn bytes_are_those_of_utf8() {
        assert_eq!(names("utf8mb3", "utf8mb3_bin", true).bytes("x"), "CAST(x AS BINARY)");
        let latin = names("latin1", "latin1_swedish_ci", true);
        assert_eq!(latin.bytes("x"), "CAST(CONVERT(x USING utf8mb4) AS BINARY)");
    }

    #[test]
    fn an_unknown_order_goes_without_the_index() {
        let odd = names("utf8mb4", "utf8mb4_odd", false).below("?1", "?2", "?3");
        assert_eq!(
            odd,
            "CAST(b.name AS BINARY) >= ?1 AND CAST(b.name AS BINARY) < ?2 AND ?3 IS NOT NULL"
        );
    }
}
