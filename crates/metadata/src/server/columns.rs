//! The columns that the side tables are made with, read from the statements that make them.

/// A column of a side table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Column<'a> {
    pub(crate) table: &'a str,
    pub(crate) name: &'a str,
    /// Type and what stands behind it.
    pub(crate) definition: &'a str,
}

impl Column<'_> {
    /// Whether it takes no NULL.
    pub(crate) fn is_not_null(&self) -> bool {
        ["NOT NULL", "PRIMARY KEY", "IDENTITY"].iter().any(|word| self.definition.contains(word))
    }
}

/// Lines of `CREATE TABLE IF NOT EXISTS name (` up to `)`, one column each, as schema/ has them.
pub(crate) fn columns(side: &str) -> Vec<Column<'_>> {
    let mut all = Vec::new();
    let mut table = None;
    for line in side.lines() {
        if let Some(rest) = line.strip_prefix("CREATE TABLE IF NOT EXISTS ") {
            table = rest.strip_suffix(" (");
        } else if line.starts_with(')') {
            table = None;
        }
        let (Some(table), Some(line)) = (table, line.strip_prefix("    ")) else { continue };
        let line = line.trim_end_matches(',');
        let Some((name, definition)) = line.split_once(' ') else { continue };
        if matches!(name, "--" | "PRIMARY" | "UNIQUE" | "KEY") {
            continue;
        }
        let (name, definition) = (name.trim_matches('`'), definition.trim_start());
        all.push(Column { table, name, definition });
    }
    all
}

/// Names of what is made: `CREATE … IF NOT EXISTS name`.
pub(crate) fn objects(side: &str) -> impl Iterator<Item = &str> {
    side.lines()
        .filter(|line| line.starts_with("CREATE "))
        .filter_map(|line| line.split_once(" IF NOT EXISTS ")?.1.split_whitespace().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: &str = "-- A table.\nCREATE TABLE IF NOT EXISTS ezdfs_a (\n    -- Why.\n    id   bigint PRIMARY KEY,\n    `key` text,\n    UNIQUE (`key`)\n);\n\nCREATE INDEX IF NOT EXISTS ezdfs_a_key ON ezdfs_a (`key`)\n    WHERE id > 0;\n";

    #[test]
    fn columns_and_objects_are_found() {
        let found = columns(SIDE);
        let names: Vec<_> = found.iter().map(|c| (c.table, c.name, c.definition)).collect();
        assert_eq!(names, [("ezdfs_a", "id", "bigint PRIMARY KEY"), ("ezdfs_a", "key", "text")]);
        assert_eq!(found.iter().map(Column::is_not_null).collect::<Vec<_>>(), [true, false]);
        assert_eq!(objects(SIDE).collect::<Vec<_>>(), ["ezdfs_a", "ezdfs_a_key"]);
    }
}
