//! The reference model of a store: what every operation of the file service, and of a PHP node on
//! the same tables and objects, does to what a reader sees.
//!
//! A test runs an operation on the service and on the [`Model`], which says whether the outcome is
//! one of those that the promises allow and follows it. Times are whole seconds.

mod ours;
mod php;
mod state;

pub use ours::Operation;
pub use php::PhpOperation;
pub use state::{Limits, Listed, Model, Seen};

use ezdfs_core::ErrorKind;

/// How an operation ended.
pub type Outcome = Result<(), ErrorKind>;
