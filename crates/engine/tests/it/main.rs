//! The protocol of the file service, proven: faults, pauses, interleavings, a model, and costs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cached;
mod clouds;
mod costs;
mod faults;
mod foreign;
mod fsck;
mod fsck_clouds;
mod fsck_crashes;
mod fsck_repair;
mod memory;
mod model;
mod outages;
mod pauses;
mod simulation;
mod smoke;
mod world;
