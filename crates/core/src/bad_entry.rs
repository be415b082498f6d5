//! `BadEntry`: something in a listing that cannot be an object, reported instead of hidden.

use std::fmt;

/// Something below the root of a store that is not an object and never can be: reported one by
/// one in listings, so that `migrate-files` and fsck can name it and go on.
///
/// A listing yields it as the source of an [`object_store::Error::Generic`]; [`BadEntry::of`]
/// recognises it. Any other error ends a listing, so that callers fail closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadEntry {
    /// Path below the root; bytes that are not UTF-8 are shown as U+FFFD.
    pub path: String,
    /// Path below the root, byte for byte.
    pub raw: Vec<u8>,
    /// Why it is not an object.
    pub reason: BadReason,
    /// A directory: nothing below it is listed either.
    pub subtree: bool,
}

/// Why an entry is not an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadReason {
    /// The name is not UTF-8.
    NotUtf8,
    /// The name has a control character.
    Control,
    /// Its path has more than 4,095 bytes, so that no key can name it.
    TooLong,
    /// A symbolic link; they are never followed.
    Symlink,
    /// A FIFO, socket or device.
    Special,
}

impl BadEntry {
    /// From raw bytes.
    #[must_use]
    pub fn new(raw: Vec<u8>, reason: BadReason, subtree: bool) -> Self {
        Self { path: String::from_utf8_lossy(&raw).into_owned(), raw, reason, subtree }
    }

    /// The bad entry that an error of a listing reports; `None` for any other error.
    #[must_use]
    pub fn of(error: &object_store::Error) -> Option<&Self> {
        match error {
            object_store::Error::Generic { source, .. } => source.downcast_ref(),
            _ => None,
        }
    }

    /// As the item of a listing.
    #[must_use]
    pub fn into_error(self, store: &'static str) -> object_store::Error {
        object_store::Error::Generic { store, source: Box::new(self) }
    }
}

impl fmt::Display for BadEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.reason {
            BadReason::NotUtf8 => "its name is not UTF-8",
            BadReason::Control => "its name has a control character",
            BadReason::TooLong => "its path is longer than any key",
            BadReason::Symlink => "it is a symbolic link, and those are never followed",
            BadReason::Special => "it is neither a file nor a directory",
        };
        // Debug text: a control character must not reach a terminal or a log as it is.
        write!(f, "{:?} is not an object: {what}", self.path)?;
        if self.subtree { f.write_str("; nothing below it is listed") } else { Ok(()) }
    }
}

impl std::error::Error for BadEntry {}

/// What `ObjectStore::list_with_delimiter` found besides objects and prefixes: in
/// the extensions of its result, because a `ListResult` has no other place for it. Absent when
/// there was nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadEntries(pub Vec<BadEntry>);
