//! Numbers of bytes: `"10GiB"`, `"512MiB"`.

use std::fmt;
use std::str::FromStr;

use crate::reader::{Refusal, text};
use crate::tree::{Node, Value};

/// Units and their length in bytes, longest first.
const UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// Not a whole number and a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a number of bytes: a whole number and B, KiB, MiB, GiB or TiB")]
pub struct NotASize;

impl FromStr for ByteSize {
    type Err = NotASize;
    fn from_str(s: &str) -> Result<Self, NotASize> {
        let digits = s.find(|c: char| !c.is_ascii_digit()).ok_or(NotASize)?;
        let (number, unit) = s.split_at(digits);
        let (_, bytes) = UNITS.iter().find(|(u, _)| *u == unit).ok_or(NotASize)?;
        let number: u64 = number.parse().map_err(|_| NotASize)?;
        number.checked_mul(*bytes).map(Self).ok_or(NotASize)
    }
}

impl fmt::Display for ByteSize {
    /// The shortest text that is read back as the same number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(_, unit)| self.0 > 0 && self.0.is_multiple_of(*unit));
        let (name, unit) = unit.unwrap_or(&("B", 1));
        write!(f, "{}{name}", self.0 / unit)
    }
}

impl serde::Serialize for ByteSize {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// A size within bounds, both included.
pub(crate) fn within(
    min: ByteSize,
    max: ByteSize,
) -> impl FnOnce(Node) -> Result<ByteSize, Refusal> {
    move |node| {
        let range = format!("from \"{min}\" to \"{max}\"");
        if let Value::Integer(_) = node.value {
            return Err(Refusal::new(
                "a size needs a unit",
                format!("write a number and KiB, MiB, GiB or TiB in quotes, {range}"),
            ));
        }
        let size: ByteSize = text(node)?.parse().map_err(|e: NotASize| {
            Refusal::new(e.to_string(), format!("write e.g. \"10GiB\", {range}"))
        })?;
        if (min..=max).contains(&size) {
            Ok(size)
        } else {
            Err(Refusal::new("out of bounds", format!("write a size {range}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_one_form() {
        for (text, bytes) in
            [("0B", 0), ("1B", 1), ("1023B", 1023), ("1KiB", 1024), ("10GiB", 10 << 30)]
        {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)));
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
        assert_eq!("1024MiB".parse(), Ok(ByteSize(1 << 30)));
        for text in ["", "1", "GiB", "1 GiB", "1GB", "1gib", "-1B", "1.5GiB", "99999999999TiB"] {
            assert_eq!(text.parse::<ByteSize>(), Err(NotASize), "{text}");
        }
    }
}
