//! Takes keys out of the tree one by one, and reports what is wrong with them and what is left over.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::problem::{Place, Problem};
use crate::tree::{Node, Origin, Table, Value};

/// Why a value is refused, without the value.
pub(crate) struct Refusal {
    pub(crate) message: String,
    pub(crate) fix: String,
}

impl Refusal {
    pub(crate) fn new(message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { message: message.into(), fix: fix.into() }
    }

    pub(crate) fn wrong_type(found: &Value, fix: impl Into<String>) -> Self {
        Self::new(format!("{} is not what this key takes", found.what()), fix)
    }
}

/// Keys of the plan that later versions bring: saying "unknown" alone would mislead.
const LATER: [&str; 1] = ["mount"];

/// What was found while reading.
pub(crate) struct Reader {
    pub(crate) problems: Vec<Problem>,
    pub(crate) origins: BTreeMap<String, Origin>,
    file: Option<PathBuf>,
}

impl Reader {
    pub(crate) fn new(file: Option<PathBuf>) -> Self {
        Self { problems: Vec::new(), origins: BTreeMap::new(), file }
    }

    /// The place of an origin; a default is placed at the file that could have set it.
    pub(crate) fn place(&self, origin: &Origin) -> Place {
        match (origin, &self.file) {
            (Origin::Env(name), _) => Place::Env(name.clone()),
            (Origin::File(line), Some(path)) => Place::File { path: path.clone(), line: *line },
            (_, Some(path)) => Place::File { path: path.clone(), line: 0 },
            (_, None) => Place::Defaults,
        }
    }

    /// Where the key was set; a default if nowhere.
    pub(crate) fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or_default()
    }

    /// Reports a key by the place where it was set.
    pub(crate) fn refuse(&mut self, key: &str, refusal: Refusal) {
        let place = self.place(&self.origin(key));
        self.refuse_at(place, key, refusal);
    }

    pub(crate) fn refuse_at(&mut self, place: Place, key: &str, refusal: Refusal) {
        let Refusal { message, fix } = refusal;
        self.problems.push(Problem { place, key: key.to_owned(), message, fix });
    }
}

/// A table of the tree, while its keys are taken out.
pub(crate) struct Section {
    path: String,
    entries: Table,
    known: Vec<&'static str>,
}

impl Section {
    pub(crate) fn root(entries: Table) -> Self {
        Self { path: String::new(), entries, known: Vec::new() }
    }

    /// A table found at `path`; anything else is reported and read as an empty one.
    pub(crate) fn of(r: &mut Reader, path: String, node: Node) -> Self {
        r.origins.insert(path.clone(), node.origin);
        let entries = match node.value {
            Value::Table(entries) => entries,
            other => {
                let fix = format!("write it as a table, `[{path}]`");
                r.refuse(&path, Refusal::wrong_type(&other, fix));
                Vec::new()
            }
        };
        Self { path, entries, known: Vec::new() }
    }

    /// The sub-table of that name; empty when it is not there.
    pub(crate) fn section(&mut self, r: &mut Reader, name: &'static str) -> Self {
        let path = self.key(name);
        match self.take(name) {
            Some(node) => Self::of(r, path, node),
            None => Self { path, entries: Vec::new(), known: Vec::new() },
        }
    }

    /// Dotted key of the table itself.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Dotted key of an entry.
    pub(crate) fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Takes an entry out; from then on its name is known here.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<Node> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        let at = self.entries.iter().position(|(key, _)| key == name)?;
        Some(self.entries.remove(at).1)
    }

    /// Takes every entry that is left, in file order.
    pub(crate) fn take_all(&mut self) -> Table {
        std::mem::take(&mut self.entries)
    }

    /// The value of a key; `None` when it is not there or was refused and reported.
    pub(crate) fn get<T>(
        &mut self,
        r: &mut Reader,
        name: &'static str,
        parse: impl FnOnce(Node) -> Result<T, Refusal>,
    ) -> Option<T> {
        let node = self.take(name)?;
        let key = self.key(name);
        r.origins.insert(key.clone(), node.origin.clone());
        parse(node).map_err(|refusal| r.refuse(&key, refusal)).ok()
    }

    /// Reports a key that does nothing beside what else is set.
    pub(crate) fn forbid(&mut self, r: &mut Reader, name: &'static str, why: &str) {
        let key = self.key(name);
        if let Some(node) = self.take(name) {
            let place = r.place(&node.origin);
            r.refuse_at(place, &key, Refusal::new(why, "remove the key"));
        }
    }

    /// Reports every entry that nobody asked for.
    pub(crate) fn finish(self, r: &mut Reader) {
        for (name, node) in &self.entries {
            let key = self.key(name);
            let place = r.place(&node.origin);
            let kind = if self.path.is_empty() { "section" } else { "key" };
            let refusal = if LATER.contains(&&*key) {
                Refusal::new(
                    format!("this version of ezdfs has no such {kind} yet"),
                    "remove it, or use a later version",
                )
            } else {
                Refusal::new(format!("unknown {kind}"), suggestion(name, &self.known))
            };
            r.refuse_at(place, &key, refusal);
        }
    }
}

/// "did you mean", or the list of what is known.
pub(crate) fn suggestion<S: AsRef<str>>(name: &str, known: &[S]) -> String {
    let lower = name.to_lowercase();
    // A third of the letters may be wrong, and one in a short name.
    let tolerance = (name.chars().count() / 3).max(1);
    let nearest = known
        .iter()
        .map(|k| (strsim::damerau_levenshtein(&lower, &k.as_ref().to_lowercase()), k.as_ref()))
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((distance, k)) if distance <= tolerance => format!("did you mean `{k}`?"),
        Some(_) => {
            let list: Vec<String> = known.iter().map(|k| format!("`{}`", k.as_ref())).collect();
            format!("known here: {}", list.join(", "))
        }
        None => "remove it".to_owned(),
    }
}

/// Text. An environment variable is text whatever it looks like.
pub(crate) fn text(node: Node) -> Result<String, Refusal> {
    match (node.value, node.raw) {
        (Value::String(s), _) | (_, Some(s)) => Ok(s),
        (other, None) => Err(Refusal::wrong_type(&other, "write a string in quotes")),
    }
}

/// `true` or `false`.
pub(crate) fn boolean(node: Node) -> Result<bool, Refusal> {
    match node.value {
        Value::Boolean(b) => Ok(b),
        other => Err(Refusal::wrong_type(&other, "write true or false, without quotes")),
    }
}

/// A whole number within bounds, both included.
pub(crate) fn integer(min: u32, max: u32) -> impl FnOnce(Node) -> Result<u32, Refusal> {
    move |node| {
        let fix = format!("write a whole number from {min} to {max}, without quotes");
        match node.value {
            Value::Integer(i) => u32::try_from(i)
                .ok()
                .filter(|i| (min..=max).contains(i))
                .ok_or_else(|| Refusal::new("out of bounds", fix)),
            other => Err(Refusal::wrong_type(&other, fix)),
        }
    }
}

/// A list, each item read by `item`.
pub(crate) fn list<T>(
    item: impl Fn(Node) -> Result<T, Refusal>,
) -> impl FnOnce(Node) -> Result<Vec<T>, Refusal> {
    move |node| match node.value {
        Value::Array(items) => items.into_iter().map(item).collect(),
        other => Err(Refusal::wrong_type(&other, "write a list, [\"…\", \"…\"]")),
    }
}

/// One word out of a table.
pub(crate) fn word<T: Copy>(words: &[(&str, T)]) -> impl FnOnce(Node) -> Result<T, Refusal> {
    move |node| {
        let text = text(node)?;
        words.iter().find(|(w, _)| *w == text).map(|(_, t)| *t).ok_or_else(|| {
            let list: Vec<String> = words.iter().map(|(w, _)| format!("\"{w}\"")).collect();
            Refusal::new(
                "not one of the words that this key takes",
                format!("write {}", list.join(" or ")),
            )
        })
    }
}
