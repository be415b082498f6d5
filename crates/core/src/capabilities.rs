//! What a binarydata handler can do; `SealSlot`, by which a store with staging tells the pin of a
//! staged object before it is complete; and `ReplaceSlot`, by which a publish tells what it may
//! replace.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

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
    /// Most parts of one upload.
    pub max_parts: usize,
    /// Conditional requests that the store honours.
    pub conditions: Conditions,
    /// Whether uploads heed a [`ReplaceSlot`], as far as `conditions` allow.
    pub replace_slot: bool,
}

/// Conditional requests that a store honours. Some stores accept them and do as they please, so
/// only a probe can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Conditions {
    /// Whether the rest is known: a store that does not answer cannot be probed, and counts as one
    /// that honours nothing.
    pub known: bool,
    /// `If-None-Match: *` on PUT: nothing is replaced.
    pub put_absent: bool,
    /// `If-Match` on PUT: only that version is replaced.
    pub put_match: bool,
    /// `If-None-Match: *` when an upload in parts is completed.
    pub complete_absent: bool,
    /// `If-Match` when an upload in parts is completed.
    pub complete_match: bool,
    /// `If-Match` on GET.
    pub get_match: bool,
    /// Every version has an id of its own.
    pub versions: bool,
}

impl Capabilities {
    /// Local disk and NFS: whole paths up to 4,095 bytes, rename(2), no attributes.
    pub const LOCAL: Self = Self {
        max_key_bytes: 4095,
        atomic_rename: true,
        attributes: false,
        part_bytes: 256 << 10,
        max_parts: usize::MAX,
        conditions: Conditions::WHOLE,
        replace_slot: false,
    };
    /// S3, GCS, Azure: keys up to 1,024 bytes, no rename, uploads of up to 10,000 parts, so files of
    /// up to 48 GiB. What a probe finds is added.
    pub const CLOUD: Self = Self {
        max_key_bytes: 1024,
        atomic_rename: false,
        attributes: true,
        part_bytes: 5 << 20,
        max_parts: 10_000,
        conditions: Conditions::NONE,
        replace_slot: true,
    };
    /// The memory store of object_store, which behaves as a cloud with long keys.
    pub const MEMORY: Self = Self {
        max_key_bytes: 4095,
        atomic_rename: false,
        attributes: true,
        part_bytes: 256 << 10,
        max_parts: usize::MAX,
        conditions: Conditions::WHOLE,
        replace_slot: false,
    };

    /// Whether a publish of so many bytes replaces that and nothing else.
    #[must_use]
    pub fn heeds(&self, size: u64, replaces: &Replaces) -> bool {
        let is_whole = usize::try_from(size).is_ok_and(|size| size <= self.part_bytes);
        let found = self.conditions;
        self.replace_slot
            && match replaces {
                Replaces::Anything => true,
                Replaces::Nothing if is_whole => found.put_absent,
                Replaces::Nothing => found.complete_absent,
                Replaces::Version(_) if is_whole => found.put_match,
                Replaces::Version(_) => found.complete_match,
            }
    }
}

impl Conditions {
    /// None, or not known.
    pub const NONE: Self = Self {
        known: false,
        put_absent: false,
        put_match: false,
        complete_absent: false,
        complete_match: false,
        get_match: false,
        versions: false,
    };
    /// All that concern whole objects.
    pub const WHOLE: Self =
        Self { complete_absent: false, complete_match: false, versions: false, ..Self::ALL };
    /// All of them.
    pub const ALL: Self = Self {
        known: true,
        put_absent: true,
        put_match: true,
        complete_absent: true,
        complete_match: true,
        get_match: true,
        versions: true,
    };
}

/// What an object may replace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Replaces {
    /// Whatever is there.
    #[default]
    Anything,
    /// Nothing: there must be no object of that key.
    Nothing,
    /// That version, and it must be there.
    Version(Pin),
}

/// Put into the extensions of `PutMultipartOptions`, and set before the upload is completed: what is
/// there is known only then. Stores that ignore it replace anything; see [`Conditions`].
#[derive(Debug, Clone, Default)]
pub struct ReplaceSlot(Arc<Mutex<Replaces>>);

impl ReplaceSlot {
    /// What the upload may replace.
    pub fn set(&self, replaces: Replaces) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = replaces;
    }

    /// What was set last; else anything.
    #[must_use]
    pub fn get(&self) -> Replaces {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
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
