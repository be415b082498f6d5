//! Conformance suites, fault-injecting stores and test servers of ezdfs.

pub mod faults;
pub mod foreign_writer;
pub mod metadata_suite;
pub mod model;
pub mod object_store_suite;
pub mod sqlite_writer;

pub use foreign_writer::ForeignWriter;
pub use sqlite_writer::SqliteForeignWriter;
