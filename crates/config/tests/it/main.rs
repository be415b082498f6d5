//! Tests of the configuration through its public interface.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod check;
mod defaults;
mod docs;
mod environment;
mod grammar;
mod messages;
mod parts;
#[cfg(feature = "aws")]
mod probes;
mod secrets;
mod show;
mod site;
mod sources;
