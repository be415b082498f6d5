//! The file as a tree whose every value knows its line.
//!
//! Not serde: it stops at the first fault, quotes the offending value (which may be a secret) in its
//! message, and forgets where a value came from once the environment is laid over the file.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::problem::{Place, Problem};

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Origin {
    /// Nowhere: it is the default.
    #[default]
    Default,
    /// In that line of the file, from 1.
    File(usize),
    /// By that environment variable.
    Env(String),
}

/// A value. No `Debug`: it may be a secret.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
    /// The text of an environment variable, for keys that want text whatever it looks like.
    pub(crate) raw: Option<String>,
}

#[derive(Clone)]
pub(crate) enum Value {
    String(String),
    Integer(i64),
    Boolean(bool),
    Array(Vec<Node>),
    Table(Table),
    /// A type that no key has; holds its name for people.
    Other(&'static str),
}

/// Entries in file order.
pub(crate) type Table = Vec<(String, Node)>;

impl Value {
    /// The type, for people.
    pub(crate) fn what(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Boolean(_) => "true or false",
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(what) => what,
        }
    }
}

/// Parses the text of `file`.
pub(crate) fn parse(text: &str, file: &Path) -> Result<Table, Vec<Problem>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(table_of(table.get_ref(), &|at| Origin::File(line_of(text, at))));
    }
    let problems = errors.iter().map(|e| Problem {
        place: Place::File {
            path: file.to_owned(),
            line: e.span().map_or(0, |span| line_of(text, span.start)),
        },
        key: String::new(),
        // Only the message: Display quotes the line, which may hold a secret.
        message: format!("this is not TOML: {}", e.message()),
        fix: "correct the syntax (https://toml.io)".to_owned(),
    });
    Err(problems.collect())
}

/// The value of an environment variable: TOML where it is TOML, else text.
pub(crate) fn parse_variable(name: &str, raw: &str) -> Node {
    let origin = Origin::Env(name.to_owned());
    let value = match DeValue::parse(raw) {
        Ok(value) => value_of(value.get_ref(), &|_| origin.clone()),
        Err(_) => Value::String(raw.to_owned()),
    };
    Node { value, origin, raw: Some(raw.to_owned()) }
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|b| *b == b'\n').count()
}

fn table_of(table: &DeTable<'_>, origin: &dyn Fn(usize) -> Origin) -> Table {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
        .into_iter()
        .map(|(key, value)| {
            let node = Node {
                value: value_of(value.get_ref(), origin),
                origin: origin(key.span().start),
                raw: None,
            };
            (key.get_ref().to_string(), node)
        })
        .collect()
}

fn value_of(value: &DeValue<'_>, origin: &dyn Fn(usize) -> Origin) -> Value {
    match value {
        DeValue::String(s) => Value::String(s.to_string()),
        DeValue::Integer(i) => i64::from_str_radix(i.as_str(), i.radix())
            .map_or(Value::Other("an integer of more than 64 bits"), Value::Integer),
        DeValue::Float(_) => Value::Other("a floating-point number"),
        DeValue::Boolean(b) => Value::Boolean(*b),
        DeValue::Datetime(_) => Value::Other("a date or time"),
        DeValue::Array(items) => Value::Array(
            items
                .iter()
                .map(|item| Node {
                    value: value_of(item.get_ref(), origin),
                    origin: origin(item.span().start),
                    raw: None,
                })
                .collect(),
        ),
        DeValue::Table(table) => Value::Table(table_of(table, origin)),
    }
}
