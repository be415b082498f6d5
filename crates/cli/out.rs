//! `Out`: results, on stdout and nowhere else.

use std::io::{BufWriter, Write};

use ezdfs_core::{Error, ErrorKind};
use serde::Serialize;

use crate::outcome::{Failure, Result};

/// Buffered stdout. What is written shows after [`Out::flush`], or when much has gathered.
pub(crate) struct Out(BufWriter<Box<dyn Write + Send>>);

impl Out {
    pub(crate) fn new() -> Self {
        Self(BufWriter::with_capacity(64 * 1024, Box::new(std::io::stdout())))
    }

    /// Nowhere.
    #[cfg(test)]
    pub(crate) fn sink() -> Self {
        Self(BufWriter::new(Box::new(std::io::sink())))
    }

    /// A line of text.
    pub(crate) fn line(&mut self, line: &str) -> Result<()> {
        told(writeln!(self.0, "{line}"))
    }

    /// Text as it is.
    pub(crate) fn text(&mut self, text: &str) -> Result<()> {
        self.bytes(text.as_bytes())
    }

    /// Bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        told(self.0.write_all(bytes))
    }

    /// One JSON value on one line.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(value).map_err(|e| {
            Error::new(ErrorKind::Internal, "a result cannot be written as JSON").with_source(e)
        })?;
        self.line(&text)
    }

    /// Shows what was written.
    pub(crate) fn flush(&mut self) -> Result<()> {
        told(self.0.flush())
    }
}

fn told(written: std::io::Result<()>) -> Result<()> {
    written.map_err(|e| {
        if e.kind() == std::io::ErrorKind::BrokenPipe {
            return Failure::ReaderGone;
        }
        let kind = match e.kind() {
            std::io::ErrorKind::StorageFull => ErrorKind::NoSpace,
            _ => ErrorKind::Unavailable,
        };
        Failure::Error(Error::new(kind, "cannot write to stdout").with_source(e))
    })
}
