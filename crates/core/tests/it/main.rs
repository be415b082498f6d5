//! Property and table tests of the core types, through their public interface.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

mod digest;
mod entry;
mod error;
mod name;
mod path;
mod record;
mod strategies;
mod time;
