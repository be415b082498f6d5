//! The HTTP server over real sockets, with a real file service behind it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod abuse;
mod admin;
mod api;
mod client;
mod conditionals;
mod connections;
mod faulty;
mod files;
mod log;
mod policies;
mod ranges;
mod replace;
mod site;
