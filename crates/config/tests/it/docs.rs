//! docs/CONFIGURATION.md names every key, and only keys that exist.

use std::collections::BTreeSet;

use crate::site::{FULL, Site};

const DOCUMENT: &str = include_str!("../../../../docs/CONFIGURATION.md");

/// Dotted keys of a settings tree; a handler's own name and a list's index are left out.
fn keys(value: &toml::Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        // A secret is a table with its source.
        toml::Value::Table(table)
            if table.is_empty() || path.contains('.') && table.contains_key("env") =>
        {
            found.insert(path.to_owned());
        }
        toml::Value::Table(table) => {
            for (key, value) in table {
                let named = matches!(path, "metadata_handlers" | "binarydata_handlers");
                let key = if named { "NAME" } else { key };
                let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
                keys(value, &path, found);
            }
        }
        toml::Value::Array(items) if items.iter().any(toml::Value::is_table) => {
            items.iter().for_each(|item| keys(item, path, found));
        }
        _ => {
            found.insert(path.to_owned());
        }
    }
}

#[test]
fn every_key_is_documented_with_its_variable_and_nothing_else() {
    let loaded = Site::new(FULL).load().unwrap();
    let value = toml::Value::try_from(&loaded.settings).unwrap();
    let mut existing = BTreeSet::new();
    keys(&value, "", &mut existing);
    assert_eq!(existing.len(), 80, "the full example has every key: {existing:?}");

    let documented: BTreeSet<String> = DOCUMENT
        .lines()
        .filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'))
        .map(str::to_owned)
        .collect();
    assert_eq!(documented, existing);

    for key in &existing {
        let variable = match &**key {
            // Set as a whole: `EZDFS__SERVE__CACHE_POLICY`.
            item if ["serve.", "admin."].iter().any(|s| item.starts_with(s))
                && item.matches('.').count() == 2 =>
            {
                item.rsplit_once('.').unwrap().0.to_owned()
            }
            key => key.to_owned(),
        };
        let variable = format!("`EZDFS__{}`", variable.to_uppercase().replace('.', "__"));
        assert!(DOCUMENT.contains(&variable), "{variable}");
    }
}

#[test]
fn examples_of_the_document_load() {
    let examples: Vec<&str> =
        DOCUMENT.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        if let Err(problems) = Site::new(example).load() {
            panic!("{problems}\n{example}");
        }
    }
}

/// The value of a dotted key; of a list, that of its first item.
fn lookup(value: &toml::Value, key: &str) -> Option<toml::Value> {
    let value = value.as_array().map_or(Some(value), |items| items.first())?;
    match key.split_once('.') {
        Some((first, rest)) => lookup(value.get(first)?, rest),
        None => value.get(key).cloned(),
    }
}

#[test]
fn documented_defaults_are_the_defaults() {
    let shown = ezdfs_config::show::show(&Site::bare().load().unwrap()).unwrap();
    let table = toml::Value::Table(shown.parse().unwrap());
    let mut checked = 0;
    for part in DOCUMENT.split("\n### `").skip(1) {
        let (key, text) = part.split_once('`').unwrap();
        let Some(default) = text.lines().find_map(|l| l.strip_prefix("- default: `")) else {
            continue;
        };
        let default = default.split('`').next().unwrap();
        let key = key
            .replace("metadata_handlers.NAME", "metadata_handlers.dfs")
            .replace("binarydata_handlers.NAME", "binarydata_handlers.nfs");
        let value = lookup(&table, &key).unwrap_or_else(|| panic!("{key} has no default"));
        let documented: toml::Table = format!("v = {default}").parse().unwrap();
        let same = match (&documented["v"], &value) {
            (toml::Value::String(a), toml::Value::String(b)) => {
                let duration = ezdfs_config::duration::parse;
                a == b
                    || duration(a).is_some_and(|d| Some(d) == duration(b))
                    || format!("{a}/") == *b
            }
            (a, b) => a == b,
        };
        assert!(same, "{key}: documented {default}, is {value}");
        checked += 1;
    }
    assert!(checked >= 18, "{checked}");
}
