//! Binarydata handlers of ezdfs: the local/NFS store, builders, metadata derived from objects.
//!
//! | file | subject |
//! |---|---|
//! | [`local`] | [`LocalStore`]: plain files on a local disk or NFS, as an `ObjectStore` |
//! | [`bad_entry`] | [`BadEntry`]: what a listing found that cannot be an object |

pub mod bad_entry;
pub mod local;

pub use bad_entry::{BadEntries, BadEntry, BadReason};
pub use local::{LocalOptions, LocalStore};
