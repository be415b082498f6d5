//! What a binarydata handler can do, and `SealSlot`, by which a store with staging tells the pin
//! of a staged object before it is complete.

use std::fmt;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;

use crate::digest::Pin;
use crate::error::Result;

/// What a binarydata handler can do; fixed per back end, or probed at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Longest object key in bytes, prefix included.
    pub max_key_bytes: usize,
    /// A rename is one atomic step that keeps the pin. Then deleted objects move to
    /// `.ezdfs/limbo/` at once; otherwise they are deleted in place, after a check of the pin.
    pub atomic_rename: bool,
    /// Attributes (content type, token) are stored with the object.
    pub attributes: bool,
    /// How many bytes an upload hands over at once. S3 wants at least 5 MiB per part; elsewhere
    /// small parts keep the memory of a transfer low.
    pub part_bytes: usize,
}

impl Capabilities {
    /// Local disk and NFS: whole paths up to 4,095 bytes, rename(2), no attributes.
    pub const LOCAL: Self =
        Self { max_key_bytes: 4095, atomic_rename: true, attributes: false, part_bytes: 256 << 10 };
    /// S3, GCS, Azure: keys up to 1,024 bytes, no rename.
    pub const CLOUD: Self =
        Self { max_key_bytes: 1024, atomic_rename: false, attributes: true, part_bytes: 5 << 20 };
    /// The memory store of object_store, which behaves as a cloud with long keys.
    pub const MEMORY: Self =
        Self { max_key_bytes: 4095, atomic_rename: false, attributes: true, part_bytes: 256 << 10 };
}

/// A staged object that is complete but not yet published.
#[async_trait]
pub trait Seal: Send + Sync + fmt::Debug {
    /// Makes the staged bytes durable and says which pin the object will carry once it is
    /// published. No byte may be written afterwards.
    ///
    /// # Errors
    /// When the bytes cannot be made durable; the upload must be aborted then.
    async fn seal(&self) -> Result<Pin>;
}

/// Put into the extensions of `PutMultipartOptions`. A store whose publish keeps the identity of
/// the staged object (local: rename keeps inode, mtime and size) fills it; others ignore it, and
/// the token then travels as an attribute.
#[derive(Debug, Clone, Default)]
pub struct SealSlot(Arc<OnceLock<Arc<dyn Seal>>>);

impl SealSlot {
    /// Filled once, by the store.
    pub fn fill(&self, seal: Arc<dyn Seal>) {
        // A second fill of one slot would be a defect of the store; the first one stays in force.
        let _ = self.0.set(seal);
    }

    /// The seal, if the store has one.
    #[must_use]
    pub fn get(&self) -> Option<Arc<dyn Seal>> {
        self.0.get().cloned()
    }
}

/// Attribute key under which the token of a version travels with its object.
pub const TOKEN_ATTRIBUTE: &str = "ezdfs-token";
