//! Durations: `"500ms"`, `"1s"`, `"5m"`, `"2h"`, `"30d"`.

use std::time::Duration;

use crate::reader::{Refusal, text};
use crate::tree::{Node, Value};

/// Units and their length in milliseconds, longest first.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Parses a whole number and a unit (`ms`, `s`, `m`, `h`, `d`), nothing between or around them.
/// `None` for anything else, and for more milliseconds than 64 bits hold.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, millis) = UNITS.iter().find(|(u, _)| *u == unit)?;
    Some(Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(*millis)?))
}

/// The shortest text that [`parse`] reads back; fractions of a millisecond are dropped.
#[must_use]
pub fn format(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis == 0 {
        return "0s".to_owned();
    }
    UNITS.iter().find(|(_, unit)| millis.is_multiple_of(u128::from(*unit))).map_or_else(
        || format!("{millis}ms"),
        |(u, unit)| format!("{}{u}", millis / u128::from(*unit)),
    )
}

pub(crate) fn between(
    min: Duration,
    max: Duration,
) -> impl FnOnce(Node) -> Result<Duration, Refusal> {
    move |node| {
        let range = format!("from \"{}\" to \"{}\"", format(min), format(max));
        if let Value::Integer(_) = node.value {
            return Err(Refusal::new(
                "a duration needs a unit",
                format!("write a number and ms, s, m, h or d in quotes, {range}"),
            ));
        }
        let duration = parse(&text(node)?).ok_or_else(|| {
            Refusal::new(
                "not a duration",
                format!("write a whole number and ms, s, m, h or d, {range}"),
            )
        })?;
        if (min..=max).contains(&duration) {
            Ok(duration)
        } else {
            Err(Refusal::new("out of bounds", format!("write a duration {range}")))
        }
    }
}

pub(crate) fn serialize<S: serde::Serializer>(d: &Duration, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&format(*d))
}
