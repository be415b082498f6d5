//! The HTTP server over real sockets, with a real file service behind it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod abuse;
mod admin;
mod api;
mod caches;
mod client;
mod conditionals;
mod connections;
mod events;
mod faulty;
mod files;
mod http2;
mod log;
mod metrics;
mod offload;
mod openapi;
mod policies;
mod purge;
mod ranges;
mod replace;
mod site;
mod sites;
