//! Statement texts and their parameters, in one notation for both servers.
//!
//! Texts number their parameters `?1`, `?2`, … and may use one more than once. A list is written
//! `column @in(?3)`. PostgreSQL gets `$1` and `= ANY($3)`; MySQL, which has neither numbers nor
//! arrays, gets a `?` for each use, and one for each value of a list.

use std::sync::Arc;

/// A value of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Param {
    /// Text; also for columns of bytes.
    Text(String),
    /// Text or NULL.
    MaybeText(Option<String>),
    /// A whole number.
    Int(i64),
    /// A whole number or NULL.
    MaybeInt(Option<i64>),
    /// True or false.
    Bool(bool),
    /// What `@in` compares with.
    Texts(Vec<String>),
    /// What `@in` compares with.
    Ints(Vec<i64>),
}

macro_rules! from {
    ($($type:ty => $variant:ident),+) => {
        $(impl From<$type> for Param {
            fn from(value: $type) -> Self {
                Self::$variant(value)
            }
        })+
    };
}
from!(
    String => Text, Option<String> => MaybeText, i64 => Int, Option<i64> => MaybeInt,
    bool => Bool, Vec<String> => Texts, Vec<i64> => Ints
);

impl From<&str> for Param {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

/// Values in the order of their numbers.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        vec![$($crate::server::statement::Param::from($value)),*]
    };
}
pub(crate) use params;

/// A statement text, ready for one kind of server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Statement {
    /// PostgreSQL: parameters by number.
    #[cfg(feature = "postgres")]
    Numbered(Arc<str>),
    /// MySQL: pieces of text, and the number of the parameter behind each piece but the last.
    #[cfg(feature = "mysql")]
    Pieces(Arc<[Piece]>),
}

/// Text, and the parameter behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    text: String,
    behind: Option<Behind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Behind {
    /// From 1 on.
    number: usize,
    is_list: bool,
}

const LIST: &str = "@in(?";

impl Statement {
    /// For PostgreSQL.
    #[cfg(feature = "postgres")]
    pub(crate) fn numbered(text: &str) -> Self {
        let mut out = String::with_capacity(text.len());
        for Piece { text, behind } in pieces(text) {
            out.push_str(&text);
            match behind {
                Some(Behind { number, is_list: true }) => {
                    out.push_str(&format!("= ANY(${number})"));
                }
                Some(Behind { number, is_list: false }) => out.push_str(&format!("${number}")),
                None => {}
            }
        }
        Self::Numbered(out.into())
    }

    /// For MySQL.
    #[cfg(feature = "mysql")]
    pub(crate) fn pieces(text: &str) -> Self {
        Self::Pieces(pieces(text).into())
    }

    /// The text to prepare, and the values in the order in which it takes them.
    pub(crate) fn render(&self, params: Vec<Param>) -> (Arc<str>, Vec<Param>) {
        match self {
            #[cfg(feature = "postgres")]
            Self::Numbered(text) => (Arc::clone(text), params),
            #[cfg(feature = "mysql")]
            Self::Pieces(pieces) => Self::joined(pieces, &params),
        }
    }

    /// A list is filled up to a power of two with its last value, so that few different texts are
    /// ever prepared.
    #[cfg(feature = "mysql")]
    fn joined(pieces: &[Piece], params: &[Param]) -> (Arc<str>, Vec<Param>) {
        let mut out = String::new();
        let mut bound = Vec::with_capacity(params.len());
        for Piece { text, behind } in pieces {
            out.push_str(text);
            let Some(Behind { number, is_list }) = *behind else { continue };
            let Some(param) = number.checked_sub(1).and_then(|at| params.get(at)) else { continue };
            if !is_list {
                out.push('?');
                bound.push(param.clone());
                continue;
            }
            let values: Vec<Param> = match param {
                Param::Texts(all) => all.iter().cloned().map(Param::Text).collect(),
                Param::Ints(all) => all.iter().copied().map(Param::Int).collect(),
                one => vec![one.clone()],
            };
            // No value matches NULL.
            let fill = values.last().cloned().unwrap_or(Param::MaybeText(None));
            let len = values.len().next_power_of_two();
            out.push_str("IN (");
            for at in 0..len {
                out.push_str(if at == 0 { "?" } else { ",?" });
                bound.push(values.get(at).unwrap_or(&fill).clone());
            }
            out.push(')');
        }
        (out.into(), bound)
    }
}

fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut plain = String::new();
    while let Some(at) = rest.find('?') {
        let digits = rest[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
        let after = at + 1 + digits;
        let Ok(number) = rest[at + 1..after].parse() else {
            plain.push_str(&rest[..=at]);
            rest = &rest[at + 1..];
            continue;
        };
        let is_list = rest[..=at].ends_with(LIST);
        let end = if is_list { at + 1 - LIST.len() } else { at };
        plain.push_str(&rest[..end]);
        pieces.push(Piece {
            text: std::mem::take(&mut plain),
            behind: Some(Behind { number, is_list }),
        });
        // The closing bracket belongs to `@in(`.
        rest = &rest[after + usize::from(is_list)..];
    }
    plain.push_str(rest);
    pieces.push(Piece { text: plain, behind: None });
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "SELECT a FROM t WHERE h @in(?2) AND x = ?1 AND (y = ?12 OR y = ?1)";

    fn values() -> Vec<Param> {
        let mut all = params!["x", vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]];
        all.extend((3..=12).map(Param::Int));
        all
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn postgres_has_numbers_and_arrays() {
        let (text, bound) = Statement::numbered(TEXT).render(values());
        assert_eq!(&*text, "SELECT a FROM t WHERE h = ANY($2) AND x = $1 AND (y = $12 OR y = $1)");
        assert_eq!(bound, values());
    }

    #[cfg(feature = "mysql")]
    #[test]
    fn mysql_has_a_mark_for_each_use() {
        let (text, bound) = Statement::pieces(TEXT).render(values());
        assert_eq!(&*text, "SELECT a FROM t WHERE h IN (?,?,?,?) AND x = ? AND (y = ? OR y = ?)");
        assert_eq!(bound, params!["a", "b", "c", "c", "x", 12, "x"]);
        let (text, bound) = Statement::pieces("h @in(?1)").render(params![Vec::<i64>::new()]);
        assert_eq!((&*text, bound), ("h IN (?)", vec![Param::MaybeText(None)]));
    }
}
