//! Binarydata handlers of ezdfs: the local/NFS store, builders, metadata derived from objects.
//!
//! | file | subject |
//! |---|---|
//! | [`local`] | [`LocalStore`]: plain files on a local disk or NFS, as an `ObjectStore` |
//! | [`open`] | [`open_url`]: from a URL to a store |
//! | [`from_objects`] | [`ObjectsMetadata`]: the `default` metadata handler |

pub mod from_objects;
pub mod local;
pub mod open;

pub use from_objects::ObjectsMetadata;
pub use local::{LocalOptions, LocalStore};
pub use open::{Opened, file_url, open_url};
