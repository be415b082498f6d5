//! The file cache: contents of a remote back end on a local disk.
//!
//! A content is kept under a [`Key`] that names its very bytes, so nothing that is kept becomes
//! wrong: what was replaced has another key, and goes when room is needed. It is kept in blocks,
//! each a file with checksums that appears whole; what is torn, or no such file, is a miss. A disk
//! that is full or fails makes reads slower and never wrong: the back end is asked past the cache.
//!
//! | file | subject |
//! |---|---|
//! | `cache` | [`FileCache`], its options and its [`Source`] |
//! | `key` | [`Key`]: which bytes, and the blocks of a range |
//! | `format` | the form of a block's file |
//! | `disk` | the directory: opening, writing aside, putting into place, sweeping |
//! | `room` | the bound on the size, the free space, eviction |
//! | `fill` | single flight: what is missing is fetched once |
//! | `read` | the stream of a reader |
//! | `counters` | [`State`] |

mod cache;
mod counters;
mod disk;
mod fill;
mod format;
mod key;
mod read;
mod room;

pub use cache::{FileCache, Options, Source, Usage};
pub use counters::State;
pub use key::{BLOCK, Key, PIECE};
pub use read::Reading;
