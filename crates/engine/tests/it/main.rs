//! The protocol of the file service, proven: faults, pauses, interleavings, a model, and costs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod costs;
mod faults;
mod foreign;
mod fsck;
mod fsck_repair;
mod memory;
mod model;
mod pauses;
mod simulation;
mod smoke;
mod world;
