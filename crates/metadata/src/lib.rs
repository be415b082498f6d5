//! Metadata stores of ezdfs: SQL handlers and the memory store.
//!
//! | file | subject |
//! |---|---|
//! | `rows` | what a store must be able to do inside one transaction |
//! | `change` | what each guard and step of a change means, once for every store |
//! | `place` | where a name stands: parent, basename, ancestors |
//! | `materialise` | foreign changes become entries |
//! | [`memory`] | the store of tests |
//! | `sqlite` | the embedded database |

mod change;
mod materialise;
pub mod memory;
mod place;
mod rows;
#[cfg(feature = "sqlite")]
pub mod sqlite;

pub use memory::MemoryMetadata;
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteMetadata, SqliteOptions};
