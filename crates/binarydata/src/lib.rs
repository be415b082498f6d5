//! Binarydata handlers of ezdfs: the local/NFS store, builders, metadata derived from objects.
//!
//! | file | subject |
//! |---|---|
//! | [`local`] | [`LocalStore`]: plain files on a local disk or NFS, as an `ObjectStore` |
//! | [`open`] | [`open_url`]: from a URL to a store |
//! | `s3`, `gcs`, `azure` | `open_s3`, `open_gcs`, `open_azure`, each behind a feature |
//! | `cloud` | what the three share: time-outs, retries, breaker, uploads |
//! | [`from_objects`] | [`ObjectsMetadata`]: the `default` metadata handler |

#[cfg(feature = "azure")]
pub mod azure;
#[cfg(feature = "cloud")]
pub mod cloud;
pub mod from_objects;
#[cfg(feature = "gcp")]
pub mod gcs;
pub mod local;
pub mod open;
#[cfg(feature = "aws")]
pub mod s3;

#[cfg(feature = "azure")]
pub use azure::{AzureOptions, open_azure};
#[cfg(feature = "cloud")]
pub use cloud::{Cloud, CloudOptions};
pub use from_objects::ObjectsMetadata;
#[cfg(feature = "gcp")]
pub use gcs::{GcsOptions, open_gcs};
pub use local::{LocalOptions, LocalStore};
pub use open::{Opened, file_url, open_url};
#[cfg(feature = "aws")]
pub use s3::{S3Options, open_s3};
