//! End-to-end tests on the real binary, and on real parts put together.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cli;
mod common;
#[cfg(feature = "demo")]
mod demo;
mod examples;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod ibexa;
mod proxies;
mod real_data;
