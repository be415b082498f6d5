//! What people read: stderr.

use std::io::Write as _;

/// An error, as every Unix command says it.
pub(crate) fn error(message: &str) {
    note(&format!("ezdfs: {message}"));
}

/// A line for people. With stderr closed there is nobody to tell, and nothing to do about it.
pub(crate) fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
