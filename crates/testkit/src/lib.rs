//! Conformance suites, fault-injecting stores and test servers of ezdfs.

pub mod careless;
pub mod fake_cloud;
pub mod faults;
pub mod foreign_writer;
pub mod history;
pub mod mariadb_writer;
pub mod metadata_suite;
pub mod model;
pub mod object_store_suite;
pub mod own_server;
pub mod php;
pub mod postgres_writer;
pub mod proxy;
pub mod servers;
pub mod skip;
pub mod sqlite_writer;

pub use careless::CarelessProxy;
pub use fake_cloud::{FakeCloud, Trouble};
pub use foreign_writer::ForeignWriter;
pub use mariadb_writer::MariadbForeignWriter;
pub use own_server::{OwnServer, OwnStore};
pub use php::{IbexaNode, PdoNode, PhpNode};
pub use postgres_writer::PostgresForeignWriter;
pub use servers::{TestBucket, TestContainer, TestDatabase};
pub use sqlite_writer::SqliteForeignWriter;
