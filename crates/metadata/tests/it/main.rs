//! The conformance suite over every metadata store, and what is particular to each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "sqlite")]
mod sqlite_feed;
#[cfg(feature = "sqlite")]
mod sqlite_plans;
#[cfg(feature = "sqlite")]
mod sqlite_processes;
#[cfg(feature = "sqlite")]
mod sqlite_schema;
