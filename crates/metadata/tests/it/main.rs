//! The conformance suite over every metadata store, and what is particular to each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod memory;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "mysql")]
mod mysql_feed;
#[cfg(feature = "mysql")]
mod mysql_schema;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod postgres_schema;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod server_faults;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod server_feed;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod server_scans;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod server_tls;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod servers;
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
