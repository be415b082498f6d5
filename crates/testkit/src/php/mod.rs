//! What a real Ibexa node does for its IO service, on rows and on bytes: files by SPI id, bytes
//! written in place (or in a bucket), no other table.
//!
//! [`PhpNode`] does it in Rust over any [`ForeignWriter`](crate::ForeignWriter). [`PdoNode`] lets
//! PHP do it, with PHP's own drivers, sessions and file functions. Both are [`IbexaNode`]s, so one
//! test runs with either.

// A node that fails in a way that PHP would not ends the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod binaries;
mod node;
mod pdo;
mod rules;

pub use binaries::InPlaceWrite;
pub use node::PhpNode;
pub use pdo::PdoNode;
pub use rules::{BinaryPathError, binary_path, name_of, scope_of_id};

use std::fmt;
use std::io;

use async_trait::async_trait;

use crate::foreign_writer::ForeignError;

/// A file to be created.
#[derive(Debug, Clone, Copy)]
pub struct NewBinary<'a> {
    /// What is written.
    pub bytes: &'a [u8],
    /// What the row says; Ibexa believes its caller (ibexa-dfs.md §1.2).
    pub size: u64,
    /// MIME type.
    pub datatype: &'a str,
    /// Unix seconds; `None` is now, as the IO service does. A migration keeps the source's.
    pub mtime: Option<i64>,
}

impl<'a> NewBinary<'a> {
    /// With the true size, now.
    #[must_use]
    pub fn new(bytes: &'a [u8], datatype: &'a str) -> Self {
        Self { bytes, size: bytes.len().try_into().unwrap(), datatype, mtime: None }
    }

    /// With another size in the row.
    #[must_use]
    pub fn size(self, size: u64) -> Self {
        Self { size, ..self }
    }

    /// With a time.
    #[must_use]
    pub fn mtime(self, secs: i64) -> Self {
        Self { mtime: Some(secs), ..self }
    }
}

/// What Ibexa's load returns: the row, never the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedBinary {
    /// As the row says.
    pub size: u64,
    /// Unix seconds.
    pub mtime: i64,
}

/// How an operation of a node fails.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// No visible row, or no bytes.
    #[error("not found")]
    NotFound,
    /// The id has no place in the binary store.
    #[error(transparent)]
    Path(#[from] BinaryPathError),
    /// The binary store failed.
    #[error("binary store: {0}")]
    Io(#[from] io::Error),
    /// The database failed.
    #[error("database: {0}")]
    Database(#[from] ForeignError),
}

/// The IO service of one node. Ids are SPI ids, e.g. `images/1/2/3/605-1-eng-GB/x.jpg`.
#[async_trait]
pub trait IbexaNode: Send + Sync + fmt::Debug {
    /// Bytes in place, then the row. A row that cannot be written leaves the bytes behind.
    async fn create(&self, id: &str, file: &NewBinary<'_>) -> Result<(), NodeError>;

    /// From the row alone.
    async fn load(&self, id: &str) -> Result<LoadedBinary, NodeError>;

    /// From the row alone.
    async fn exists(&self, id: &str) -> Result<bool, NodeError>;

    /// From the row alone.
    async fn mime_type(&self, id: &str) -> Result<String, NodeError>;

    /// From the bytes alone; every failure is "not found".
    async fn contents(&self, id: &str) -> Result<Vec<u8>, NodeError>;

    /// The row, then the bytes; without a row the bytes go as well, and it is "not found".
    async fn delete(&self, id: &str) -> Result<(), NodeError>;

    /// Rows by LIKE, then the tree of bytes.
    async fn delete_directory(&self, id: &str) -> Result<(), NodeError>;

    /// Legacy eZ Publish: row and bytes stay, hidden.
    async fn soft_delete(&self, id: &str) -> Result<(), NodeError>;
}
