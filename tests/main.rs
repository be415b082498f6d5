//! End-to-end tests on the real binary, and on real parts put together.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cli;
mod common;
#[cfg(feature = "demo")]
mod demo;
mod examples;
mod real_data;
