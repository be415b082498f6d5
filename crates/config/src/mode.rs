//! Permission bits: `"0644"`, octal in quotes.

use std::fmt;
use std::str::FromStr;

use crate::reader::{Refusal, text};
use crate::tree::{Node, Value};

/// Permission bits of files or directories, at most `0777`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(u32);

impl Mode {
    /// `0644`, Ibexa's default for files.
    pub const FILE: Self = Self(0o644);
    /// `0755`, Ibexa's default for directories.
    pub const DIR: Self = Self(0o755);

    /// Without these bits ezdfs could not use its own files.
    pub(crate) const OWNER_FILE: Self = Self(0o600);
    /// Without these bits ezdfs could not use its own directories.
    pub(crate) const OWNER_DIR: Self = Self(0o700);

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
}

/// Not three or four octal digits of at most `0777`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not permission bits: three octal digits, with or without a leading 0")]
pub struct NotAMode;

impl FromStr for Mode {
    type Err = NotAMode;
    fn from_str(s: &str) -> Result<Self, NotAMode> {
        let digits = if s.len() == 4 { s.strip_prefix('0').ok_or(NotAMode)? } else { s };
        if digits.len() != 3 || !digits.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
            return Err(NotAMode);
        }
        u32::from_str_radix(digits, 8).map(Self).map_err(|_| NotAMode)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl serde::Serialize for Mode {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// A mode that has all bits of `least`: without them ezdfs could not use its own files.
pub(crate) fn at_least(least: Mode) -> impl FnOnce(Node) -> Result<Mode, Refusal> {
    move |node| {
        let fix = format!(
            "write it in octal and in quotes, as \"{}\"",
            if least == Mode::OWNER_DIR { Mode::DIR } else { Mode::FILE }
        );
        if let Value::Integer(_) = node.value {
            return Err(Refusal::new(
                "a number is no mode: a plain 644 would be read as decimal, which is 01204 in octal",
                fix,
            ));
        }
        let mode: Mode =
            text(node)?.parse().map_err(|e: NotAMode| Refusal::new(e.to_string(), fix))?;
        if mode.0 & least.0 == least.0 {
            Ok(mode)
        } else {
            Err(Refusal::new(
                "ezdfs itself could not use what it creates",
                format!("give the owner all bits of \"{least}\""),
            ))
        }
    }
}
