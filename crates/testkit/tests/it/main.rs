//! The databases of the tests, the foreign writers on them, and the Ibexa nodes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod databases;
mod nodes;
mod writers;
