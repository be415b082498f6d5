//! The name of the base table.

use ezdfs_core::{Error, ErrorKind, Result};

/// Refuses a table name that is not safe inside a statement, or is one of ours.
///
/// # Errors
/// [`ErrorKind::Config`].
pub(crate) fn check(table: &str) -> Result<()> {
    let mut bytes = table.bytes();
    let is_identifier = table.len() <= 64
        && bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !is_identifier {
        return Err(Error::new(
            ErrorKind::Config,
            format!(
                "`{table}` cannot be a table name: use letters, digits and `_`, at most 64 (Ibexa: `ezdfsfile` or `ibexa_dfs_file`)"
            ),
        ));
    }
    let lower = table.to_ascii_lowercase();
    if lower.starts_with("ezdfs_") || lower.starts_with("sqlite_") || lower.starts_with("pg_") {
        return Err(Error::new(
            ErrorKind::Config,
            format!(
                "`{table}` cannot be the base table: that prefix belongs to the side tables or to the database"
            ),
        ));
    }
    Ok(())
}

/// What to say of a database that serves another base table.
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(crate) fn is_another(other: &str, table: &str) -> String {
    format!(
        "it serves the table `{other}`, not `{table}`: one database has one base table; set `table = \"{other}\"` or use another database"
    )
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn table_names() {
        for good in ["ezdfsfile", "ibexa_dfs_file", "_t1", "T"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", "1a", "a b", "a\"; DROP TABLE x; --", "é", "ezdfs_node", "SQLITE_x", "pg_x"]
        {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert!(check(&"x".repeat(65)).is_err());
    }
}
