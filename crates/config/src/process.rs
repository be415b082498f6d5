//! The name of a process.

use std::fs;

/// Host and process number, for people: other hosts have processes of the same number.
#[must_use]
pub fn this_process() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host.trim().chars().filter(|c| !c.is_control()).take(64).collect();
    format!("{host}:{}", std::process::id())
}
