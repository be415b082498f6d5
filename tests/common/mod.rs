//! What several modules of the end-to-end tests share.

pub(crate) mod http;
