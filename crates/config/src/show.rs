//! The effective settings as TOML: every value with its origin, secrets masked.

use std::fmt::Write as _;

use serde::Serialize;
use toml::{Table, Value};

use crate::load::Loaded;
use crate::tree::Origin;

/// The effective settings. The text is TOML, and loads to the same settings when no secret is
/// written into the configuration itself.
///
/// # Errors
/// Never for loaded settings: [`std::fmt::Error`] would be a defect.
pub fn show(loaded: &Loaded) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    match &loaded.file {
        Some(path) => writeln!(out, "# file: {}", path.display())?,
        None => writeln!(out, "# no configuration file: defaults")?,
    }
    writeln!(out, "# data directory: {}", loaded.data_dir.display())?;
    let s = &loaded.settings;
    section(&mut out, loaded, "store", &s.store)?;
    for (name, handler) in s.metadata_handlers.iter() {
        section(&mut out, loaded, &format!("metadata_handlers.{name}"), handler)?;
    }
    for (name, handler) in s.binarydata_handlers.iter() {
        section(&mut out, loaded, &format!("binarydata_handlers.{name}"), handler)?;
    }
    section(&mut out, loaded, "serve", &s.serve)?;
    section(&mut out, loaded, "admin", &s.admin)?;
    section(&mut out, loaded, "cache", &s.cache)?;
    Ok(out)
}

fn section(
    out: &mut String,
    loaded: &Loaded,
    path: &str,
    settings: &impl Serialize,
) -> std::fmt::Result {
    let table = Table::try_from(settings).map_err(|_| std::fmt::Error)?;
    writeln!(out, "\n[{path}]")?;
    let (tables, values): (Vec<_>, Vec<_>) =
        table.iter().partition(|(_, value)| first_table(value).is_some());
    for (key, value) in values {
        line(out, loaded, path, key, value)?;
    }
    for (key, value) in tables {
        let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
        for (i, item) in items.iter().enumerate() {
            writeln!(out, "\n[[{path}.{key}]]")?;
            for (name, value) in item.as_table().into_iter().flatten() {
                line(out, loaded, &format!("{path}.{key}[{i}]"), name, value)?;
            }
        }
    }
    Ok(())
}

/// The first item of a list of tables.
fn first_table(value: &Value) -> Option<&Table> {
    value.as_array()?.first()?.as_table()
}

fn line(
    out: &mut String,
    loaded: &Loaded,
    path: &str,
    key: &str,
    value: &Value,
) -> std::fmt::Result {
    let origin = match loaded.origin(&format!("{path}.{key}")) {
        Origin::Default => "default".to_owned(),
        Origin::File(line) => format!("line {line}"),
        Origin::Env(name) => name,
    };
    writeln!(out, "{key} = {value} # {origin}")
}
