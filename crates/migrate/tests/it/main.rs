//! migrate-files over real handlers: local stores, SQLite and memory.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod compare;
mod delete;
mod failures;
mod halves;
mod names;
mod overlap;
mod resume;
mod runs;
mod spy;
mod support;
