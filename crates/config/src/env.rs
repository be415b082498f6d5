//! The environment: `EZDFS__SECTION__KEY` lies over the file.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;

use crate::problem::Place;
use crate::reader::{Reader, Refusal};
use crate::tree::{Node, Origin, Table, Value, parse_variable};

/// What every overlay variable starts with. `EZDFS_CONFIG` and `EZDFS_DATA_DIR` do not.
pub const OVERLAY_PREFIX: &str = "EZDFS__";

/// Sections whose tables have names that users choose.
const NAMED: [&str; 2] = ["metadata_handlers", "binarydata_handlers"];

/// Environment variables. `Debug` shows names only.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// The variables of this process whose names are UTF-8.
    #[must_use]
    pub fn of_process() -> Self {
        std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v))).collect()
    }

    /// A variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(name).map(OsString::as_os_str)
    }

    /// A variable that is set and not empty.
    #[must_use]
    pub fn get_non_empty(&self, name: &str) -> Option<&OsStr> {
        self.get(name).filter(|v| !v.is_empty())
    }
}

impl<K: Into<String>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(vars: I) -> Self {
        Self(vars.into_iter().map(|(k, v)| (k.into(), v.into())).collect())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Lays every overlay variable over the tree. Keys that do not exist are found by whoever reads
/// the tree, and reported with the name of the variable.
pub(crate) fn overlay(root: &mut Table, env: &Environment, r: &mut Reader) {
    for (name, value) in &env.0 {
        let Some(rest) = name.strip_prefix(OVERLAY_PREFIX) else { continue };
        if let Err(refusal) = set(root, name, rest, value) {
            r.refuse_at(Place::Env(name.clone()), &key_of(rest), refusal);
        }
    }
}

fn key_of(rest: &str) -> String {
    rest.to_lowercase().replace("__", ".")
}

fn set(root: &mut Table, name: &str, rest: &str, value: &OsStr) -> Result<(), Refusal> {
    let lower = rest.to_lowercase();
    let parts: Vec<&str> = lower.split("__").collect();
    let (section, handler, key) = match parts[..] {
        [section, key] if !NAMED.contains(&section) => (section, None, key),
        [section, handler, key] if NAMED.contains(&section) => (section, Some(handler), key),
        [section, ..] if NAMED.contains(&section) => {
            return Err(Refusal::new(
                "this names no key of a handler",
                format!("write {OVERLAY_PREFIX}{}__NAME__KEY", section.to_uppercase()),
            ));
        }
        _ => {
            return Err(Refusal::new(
                "this names no key",
                format!("write {OVERLAY_PREFIX}SECTION__KEY"),
            ));
        }
    };
    let raw = value.to_str().ok_or_else(|| Refusal::new("not UTF-8", "set it to text"))?;
    let node = parse_variable(name, raw);
    let Some(mut table) = table_in(root, section, name) else { return Ok(()) };
    if let Some(handler) = handler {
        let known = existing(table, handler)?;
        let Some(inner) = table_in(table, &known, name) else { return Ok(()) };
        table = inner;
    }
    match table.iter_mut().find(|(k, _)| k == key) {
        Some((_, old)) => *old = node,
        None => table.push((key.to_owned(), node)),
    }
    Ok(())
}

/// The table of that name, made if missing; `None` when the file has something else there, which
/// is reported when it is read.
fn table_in<'a>(table: &'a mut Table, name: &str, variable: &str) -> Option<&'a mut Table> {
    let at = table.iter().position(|(k, _)| k == name).unwrap_or_else(|| {
        let origin = Origin::Env(variable.to_owned());
        table.push((name.to_owned(), Node { value: Value::Table(Vec::new()), origin, raw: None }));
        table.len() - 1
    });
    match &mut table.get_mut(at)?.1.value {
        Value::Table(inner) => Some(inner),
        _ => None,
    }
}

/// The name of a handler as the file spells it. Variables know neither case nor dashes.
fn existing(handlers: &Table, name: &str) -> Result<String, Refusal> {
    let mut same = handlers.iter().map(|(k, _)| k).filter(|k| variable_form(k) == name);
    match (same.next(), same.next()) {
        (Some(one), None) => Ok(one.clone()),
        (None, _) => Ok(name.to_owned()),
        (Some(a), Some(b)) => Err(Refusal::new(
            format!("both `{a}` and `{b}` could be meant"),
            "rename one of these handlers",
        )),
    }
}

/// A handler name as it stands in a variable, in lower case.
pub(crate) fn variable_form(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}
