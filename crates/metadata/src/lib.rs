//! Metadata stores of ezdfs: SQL handlers and the memory store.
//!
//! | file | subject |
//! |---|---|
//! | `rows` | what a store must be able to do inside one transaction |
//! | `change` | what each guard and step of a change means, once for every store |
//! | `decode` | rows of a database as our types |
//! | `place` | where a name stands: parent, basename, ancestors |
//! | `materialise` | foreign changes become entries |
//! | [`memory`] | the store of tests |
//! | `page` | from rows to what a page shows |
//! | `server` | what MySQL and PostgreSQL have in common |
//! | `sqlite` | the embedded database |
//! | `mysql` | MySQL and MariaDB |
//! | `postgres` | PostgreSQL |
//! | `table` | the name of the base table |

mod change;
#[cfg(any(feature = "sqlite", feature = "mysql", feature = "postgres"))]
mod decode;
mod materialise;
pub mod memory;
#[cfg(feature = "mysql")]
pub mod mysql;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod page;
mod place;
#[cfg(feature = "postgres")]
pub mod postgres;
mod rows;
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub mod server;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(any(feature = "sqlite", feature = "mysql", feature = "postgres"))]
mod table;

pub use memory::MemoryMetadata;
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub use server::ServerOptions;
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteMetadata, SqliteOptions};
