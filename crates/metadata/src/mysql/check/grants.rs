//! Reading `SHOW GRANTS`.

/// Whether a line of `SHOW GRANTS` gives a privilege on a table, or on everything for no table.
pub(super) fn gives(grant: &str, privilege: &str, database: &str, table: &str) -> bool {
    let Some((privileges, place)) =
        grant.strip_prefix("GRANT ").and_then(|rest| rest.split_once(" ON "))
    else {
        return false;
    };
    let place = place.split(" TO ").next().unwrap_or_default().replace('`', "");
    // In the names of databases `_` and `%` stand for any characters unless escaped.
    let place = place.replace('\\', "");
    let is_here = place == "*.*"
        || (!table.is_empty() && {
            let (of, what) = place.split_once('.').unwrap_or_default();
            is_like(of, database) && (what == "*" || what == table)
        });
    is_here && privileges.split(", ").any(|p| p == privilege || p == "ALL PRIVILEGES" || p == "ALL")
}

/// `LIKE`, as grants on databases mean it.
pub(super) fn is_like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('%') {
        None => {
            pattern.len() == text.len()
                && pattern.bytes().zip(text.bytes()).all(|(p, t)| p == b'_' || p == t)
        }
        Some((before, rest)) => {
            text.is_char_boundary(before.len())
                && text.get(..before.len()).is_some_and(|begin| is_like(before, begin))
                && (before.len()..=text.len())
                    .filter_map(|at| text.get(at..))
                    .any(|end| is_like(rest, end))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants() {
        for grant in [
            "GRANT ALL PRIVILEGES ON *.* TO `a`@`%` IDENTIFIED BY PASSWORD 'x'",
            "GRANT SELECT, TRIGGER ON *.* TO `a`@`%`",
            "GRANT ALL PRIVILEGES ON `d\\_b`.* TO `a`@`%`",
            "GRANT TRIGGER, DROP ON `d%`.* TO `a`@`%`",
            "GRANT TRIGGER ON `d_b`.`t` TO `a`@`%`",
        ] {
            assert!(gives(grant, "TRIGGER", "d_b", "t"), "{grant}");
        }
        for grant in [
            "GRANT USAGE ON *.* TO `a`@`%`",
            "GRANT SELECT ON *.* TO `a`@`%`",
            "GRANT TRIGGER ON `d_b`.`other` TO `a`@`%`",
            "GRANT TRIGGER ON `e%`.* TO `a`@`%`",
            "GRANT `role` TO `a`@`%`",
        ] {
            assert!(!gives(grant, "TRIGGER", "d_b", "t"), "{grant}");
        }
        assert!(gives("GRANT SUPER ON *.* TO `a`@`%`", "SUPER", "", ""));
        assert!(!gives("GRANT ALL PRIVILEGES ON `d`.* TO `a`@`%`", "SUPER", "", ""));
    }
}
