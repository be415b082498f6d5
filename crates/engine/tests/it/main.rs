//! The protocol of the file service, proven: faults, pauses, interleavings, a model, and costs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod faults;
mod world;
