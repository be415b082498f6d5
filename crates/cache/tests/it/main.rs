//! Tests of the file cache over a back end that counts, stalls and fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// Lists of requests, each a range.
#![allow(clippy::single_range_in_vec_init)]

mod disk;
mod flights;
mod killed;
mod reads;
mod room;
mod world;
