//! The journal: what a run has done, so that the next one goes on where it was cut off.
//!
//! A text file, one JSON value per line, only ever appended to. The first line tells version,
//! sides, source mode and filters. Every finished file has one line with its symbol. Files finish
//! out of order within a bounded window, so from time to time a watermark line says that
//! everything at or before a position of the lister is done: a resumed run lists from there, and has
//! to remember only what finished last.
//!
//! Lines reach the operating system before the next files start and the disk at least every second,
//! before any source file is deleted, and at the end. After kill -9 only files that were in flight
//! are looked at again; after a power cut those of the last second too.

mod format;
mod read;
mod resume;
mod write;

pub(crate) use format::{Header, Line, VERSION};
pub(crate) use read::{Piece, each_line};
pub(crate) use resume::{Before, Behind, Seen};
pub(crate) use write::{Journal, blocking};
