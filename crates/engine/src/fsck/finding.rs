//! What fsck can find, and how it counts it.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $title:literal;)*) => {
        /// A kind of finding.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[$doc])* $name,)*
        }

        impl Kind {
            /// Every kind, in the order in which they are shown.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// As in JSON.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// For people.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

kinds! {
    /// A visible row whose object is not there.
    MissingObject = "missing-object", "rows without an object";
    /// An object that no row names.
    Orphan = "orphan", "objects without a row";
    /// The object has another size than its row says.
    Size = "size", "objects of another size than their row";
    /// The object is not the one that was pinned: replaced, or restored from a backup.
    Pin = "pin", "objects that are not the pinned ones";
    /// The bytes have another digest than the row says.
    Digest = "sha256", "objects whose SHA-256 differs";
    /// An object that cannot be read.
    Unreadable = "unreadable", "objects that cannot be read";
    /// An object of an interrupted publish that came late.
    Late = "late-version", "objects of interrupted publishes";
    /// A row that readers see and listings do not: the entry is missing.
    NotListed = "not-listed", "rows without an entry";
    /// An entry that a foreign writer overtook and that was not materialised.
    StaleEntry = "stale-entry", "entries overtaken by another program";
    /// An entry of a file whose row is gone.
    StrayEntry = "stray-entry", "entries of files without a row";
    /// A re-created file that its old soft-delete mark hides.
    TombstoneTrap = "tombstone-trap", "re-created files hidden by an old delete mark";
    /// Hidden by its mtime only.
    HalfHidden = "half-hidden", "rows hidden by their mtime only";
    /// A file beside a directory of the same path.
    FileAndDirectory = "file-and-directory", "files beside a directory of the same path";
    /// Names of one directory that differ by case only.
    CaseTwin = "case-twin", "names that differ by case only";
    /// Names of one directory that differ by Unicode normalisation only.
    UnicodeTwin = "unicode-twin", "names that differ by Unicode form only";
    /// A row under a hash that is not its name's.
    Hash = "hash", "rows under a hash that is not their name's";
    /// A row whose path breaks rules K.
    BadName = "bad-name", "rows with a name that cannot be served";
    /// Something in the store that cannot be an object of a file.
    BadObject = "bad-object", "objects with a name that cannot be served";
    /// Staged bytes of a writer that is gone, or an upload in parts that it began.
    Staging = "staging", "abandoned uploads";
    /// Bytes in limbo or quarantine that no pending work names.
    Limbo = "limbo", "deleted bytes that nobody will remove";
    /// Pending work that nobody does.
    Overdue = "overdue", "pending work that nobody does";
    /// A directory without entries.
    EmptyDirectory = "empty-directory", "empty directories";
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub kind: Kind,
    /// Where: a path of the store, or a name or key where there is no such path.
    pub path: String,
    /// Bytes that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// What was found, in words.
    pub detail: String,
}

/// What fsck tells while it works.
#[derive(Debug)]
pub enum Event<'a> {
    /// Progress: what is being done, how many are done, of how many if that is known.
    Progress {
        /// In words: `rows`, `objects`, …
        what: &'static str,
        /// How many.
        done: u64,
        /// Of how many.
        total: Option<u64>,
    },
    /// A finding.
    Found(&'a Finding),
    /// A repair of a finding, or why there was none.
    Repaired {
        /// Of what kind.
        kind: Kind,
        /// Where.
        path: &'a str,
        /// How it ended, in words; `Err`: why it stays as it was.
        outcome: Result<&'a str, &'a str>,
    },
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Summary {
    /// Base rows that were seen.
    pub rows: u64,
    /// Objects that were seen.
    pub objects: u64,
    /// Bytes of the objects.
    pub bytes: u64,
    /// Files whose bytes were read (`--deep`).
    pub read: u64,
    /// Differences that are too young to be judged.
    pub young: u64,
    /// Differences on paths that somebody is at work on.
    pub busy: u64,
    /// Bytes of the orphans.
    pub orphan_bytes: u64,
    /// Findings by kind.
    pub found: BTreeMap<Kind, u64>,
    /// Of the `pin` findings, objects that are the version of their row.
    pub adoptable: u64,
    /// Repaired findings by kind.
    pub repaired: BTreeMap<Kind, u64>,
    /// Why unfinished uploads were not looked for, where the store does not tell of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uploads_unknown: Option<String>,
    /// Repairs that failed; each was told.
    pub failed: u64,
    /// Why no repair was made, or would be: the view looks wrong, not the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Nothing was compared: metadata comes from the objects themselves.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub nothing_to_compare: bool,
}

impl Summary {
    /// All findings.
    #[must_use]
    pub fn findings(&self) -> u64 {
        self.found.values().sum()
    }

    /// All repaired findings.
    #[must_use]
    pub fn repairs(&self) -> u64 {
        self.repaired.values().sum()
    }

    /// Findings of one kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> u64 {
        self.found.get(&kind).copied().unwrap_or_default()
    }
}
