//! `MetadataStore`: the seam to the metadata handlers.
//!
//! A handler knows rows and nothing of bytes. It offers few reads and one write, [`apply`]: a
//! [`Change`] is a list of guards and operations that take effect together or not at all. What a
//! publish, a delete or a rename is made of is the engine's business.
//!
//! [`apply`]: MetadataStore::apply

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::digest::{Pin, Sha256, Token};
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::feed::{FeedReader, FeedStart};
use crate::intent::{Hold, Intent, IntentId, IntentState};
use crate::member::{Member, MemberState};
use crate::name::NamePrefix;
use crate::path::{DirPath, FilePath};
use crate::record::{BaseRow, Record, Witness};
use crate::time::Timestamp;

/// A version of a file, as it is written to base and node row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    /// Bytes.
    pub size: u64,
    /// True mtime; the base row gets [`Timestamp::base_mtime`].
    pub mtime: Timestamp,
    /// Media type, at most 255 bytes.
    pub datatype: String,
    /// Digest, when known.
    pub sha256: Option<Sha256>,
    /// Identity of the version; `None` keeps it unknown (adopted from a foreign writer).
    pub token: Option<Token>,
    /// The stored object, when known.
    pub pin: Option<Pin>,
    /// Per-file expiry.
    pub expires: Option<Timestamp>,
    /// Permission bits; `None` keeps those of an earlier version.
    pub mode: Option<u32>,
    /// Owner; `None` keeps that of an earlier version.
    pub uid: Option<u32>,
    /// Group; `None` keeps that of an earlier version.
    pub gid: Option<u32>,
}

/// A condition of a [`Change`]. If one does not hold nothing is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// Every pending row of `token` still stands as [`IntentState::Held`], whether its lease has
    /// ended or not, and there is at least one. Queued rows hold nothing and do not count. Else
    /// [`crate::ErrorKind::LostHold`].
    Holds(Token),
    /// The file's rows are as seen before: `None` for no base row at all. Else
    /// [`crate::ErrorKind::Stale`].
    Unchanged {
        /// Which file.
        path: FilePath,
        /// [`Record::witness`] as it was.
        witness: Option<Witness>,
    },
    /// Nobody holds the path, an ancestor of it, or (when `subtree`) something below it. Else
    /// [`crate::ErrorKind::Busy`].
    Free {
        /// Which path.
        path: FilePath,
        /// Whether holds below it count.
        subtree: bool,
    },
}

/// A step of a [`Change`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Upserts base and node row, resets `expired` and `status`, makes missing ancestors.
    /// `ctime` becomes database time; the inode number of an earlier version is kept.
    ///
    /// Fails with [`crate::ErrorKind::IsDirectory`] when the path is a directory,
    /// [`crate::ErrorKind::NotDirectory`] when a visible file is an ancestor,
    /// [`crate::ErrorKind::HashCollision`] when another name has that hash.
    PutFile {
        /// Which file.
        path: FilePath,
        /// Its new version.
        file: NewFile,
    },
    /// Deletes base and node row. No error when there are none. Directories stay.
    RemoveFile(FilePath),
    /// Soft-deletes the legacy way: `mtime = -abs(mtime), expired = 1`; the node row stays.
    HideFile(FilePath),
    /// Records the pin of a base row that a foreign writer made, with the row's present
    /// fingerprint; everything else of the version stays unknown. What is known of a version of
    /// our own stays known. [`crate::ErrorKind::Stale`] without a base row.
    SetPin {
        /// Which file.
        path: FilePath,
        /// The stored object.
        pin: Pin,
    },
    /// Makes a directory and its missing ancestors. With `exclusive` an existing directory is
    /// [`crate::ErrorKind::AlreadyExists`]; a visible file always is.
    /// [`crate::ErrorKind::NotDirectory`] when a visible file is an ancestor.
    MakeDir {
        /// Which directory.
        path: FilePath,
        /// Whether it must be new.
        exclusive: bool,
        /// Permission bits; `None` for the defaults of the door.
        mode: Option<u32>,
        /// Owner; `None` for the defaults of the door.
        uid: Option<u32>,
        /// Group; `None` for the defaults of the door.
        gid: Option<u32>,
    },
    /// Removes an empty directory. [`crate::ErrorKind::NotFound`],
    /// [`crate::ErrorKind::NotDirectory`], or [`crate::ErrorKind::NotEmpty`] when it lists
    /// anything, visible or not yet materialised. Soft-deleted files do not count.
    RemoveDir(FilePath),
    /// Removes the directory rows at and below `path` (below only, for the root), files excepted.
    RemoveDirTree(DirPath),
    /// Adds a pending row in the state that it names: queues a reap, or (after [`Op::EndHold`] of an
    /// overdue row in the same change) takes its path over.
    AddIntent(Intent),
    /// Ends every held row of a token: deleted after a commit (`keep` false), or kept as
    /// [`IntentState::Ended`] so that a late object is recognised.
    EndHold {
        /// Whose rows.
        token: Token,
        /// Whether they stay for 24 h.
        keep: bool,
    },
    /// Deletes one pending row: a reap that was done, or an ended row past its time.
    Forget(IntentId),
}

/// Guards and steps that take effect together or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// Conditions, checked first, in order.
    pub guards: Vec<Guard>,
    /// Steps, in order.
    pub ops: Vec<Op>,
}

impl Change {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a guard.
    #[must_use]
    pub fn guard(mut self, guard: Guard) -> Self {
        self.guards.push(guard);
        self
    }

    /// Adds a step.
    #[must_use]
    pub fn op(mut self, op: Op) -> Self {
        self.ops.push(op);
        self
    }
}

/// A page of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Entries in byte order of their basename.
    pub entries: Vec<Entry>,
    /// Where the next page starts (pass as `after`); `None` at the end. A page can be empty and
    /// still have a successor: invisible rows were passed over.
    pub next: Option<String>,
}

/// A page of a walk over base rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanPage {
    /// Rows, invisible ones included, with what is known of each.
    /// `Err` holds a row that no reader can reach: its path breaks rules K, or it stands under a
    /// hash that is not its name's.
    pub rows: Vec<Result<(FilePath, Record), BaseRow>>,
    /// Where the next page starts (pass as `after`); `None` at the end.
    pub next: Option<String>,
}

/// A soft-deleted file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// Which file.
    pub path: FilePath,
    /// Its rows.
    pub record: Record,
}

/// The entry of a file that has no row: a change that nothing told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// Hash of the name that it is about; the cursor of [`MetadataStore::strays`].
    pub hash: String,
    /// Last segment of that name.
    pub basename: String,
}

/// How far the materialiser came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Feed rows or base rows that were looked at.
    pub seen: u64,
    /// Entries that were made, changed or removed.
    pub changed: u64,
    /// Whether more waits.
    pub more: bool,
}

/// Figures for `ezdfs status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// Visible files of this store.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Rows of this store that no reader sees.
    pub hidden: u64,
    /// Directories.
    pub directories: u64,
    /// Pending rows that hold a path.
    pub held: u64,
    /// Held rows whose lease has ended.
    pub overdue: u64,
    /// Queued reaps.
    pub reaps: u64,
    /// Feed rows that the materialiser has not seen.
    pub feed_lag: u64,
}

/// A metadata handler. All calls may be made by several processes at once.
///
/// Every comparison of names is by bytes. Paths handed in were checked by [`FilePath`]; rows that
/// foreign writers made may hold anything.
#[async_trait]
pub trait MetadataStore: Send + Sync + fmt::Debug + 'static {
    /// What stands before each path in the `name` column.
    fn prefix(&self) -> &NamePrefix;

    /// One line for people, without secrets: `sqlite ezdfs-data/ezdfs.db, table ezdfsfile`.
    fn describe(&self) -> String;

    /// What an operator should know of how the handler works at present, a line each: what is
    /// degraded, what it costs, what to do. Mostly nothing.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether the rows live elsewhere than in the objects. `false` for the `default` handler,
    /// which derives everything from them: it has no pending work and no side table, and ignores
    /// or refuses what needs them.
    fn is_separate(&self) -> bool;

    /// Database time. Leases, expiry and grace periods are measured with it.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn now(&self) -> Result<Timestamp>;

    /// Everything that is stored of one path: at most one indexed SELECT.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn record(&self, path: &FilePath) -> Result<Record>;

    /// A page of a directory in byte order of basenames, starting after `after`, visible entries
    /// only (as of database time). An unknown directory lists nothing.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn list(&self, dir: &DirPath, after: Option<&str>, limit: u32) -> Result<Page>;

    /// A page of the base rows below `dir`, each once, in an order of the handler's own, starting
    /// after the page that ended with `after`; rows of any visibility.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn scan(&self, dir: &DirPath, after: Option<&str>, limit: u32) -> Result<ScanPage>;

    /// A page of soft-deleted files below `dir` in byte order of names.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn tombstones(
        &self,
        dir: &DirPath,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Tombstone>>;

    /// Takes the paths of all `intents` (one, or both ends of a rename, which share a token) with
    /// a lease of `lease`, in one statement or transaction: all or none. An existing holder, even
    /// one whose lease has ended, makes it [`Hold::Busy`].
    ///
    /// # Errors
    /// When the database does not answer.
    async fn hold(&self, intents: &[Intent], lease: Duration) -> Result<Hold>;

    /// Extends the lease of a token's held rows; `false` when they are gone.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn renew(&self, token: Token, lease: Duration) -> Result<bool>;

    /// Applies a change in one transaction.
    ///
    /// # Errors
    /// The kind that the failed guard or step names, and then nothing was changed; or a database
    /// error, and then it is unknown whether it was applied.
    async fn apply(&self, change: Change) -> Result<()>;

    /// Every pending row on `path` (held, ended, queued) and the held subtree rows on its ancestors.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn intents_on(&self, path: &FilePath) -> Result<Vec<Intent>>;

    /// Every pending row of a token, oldest first.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a handler without pending work; else when the database does
    /// not answer.
    async fn intents_of(&self, token: Token) -> Result<Vec<Intent>> {
        let _ = token;
        let text = format!("{} has no pending work", self.describe());
        Err(Error::new(ErrorKind::Unsupported, text))
    }

    /// Pending rows that are due, oldest first: held rows whose lease ended at or before `before`,
    /// queued rows whose `not_before` has come at or before `before`, ended rows whose lease ended
    /// at or before `before`; one state at a time.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn due(&self, state: IntentState, before: Timestamp, limit: u32) -> Result<Vec<Intent>>;

    /// Visible files whose `expires` lies at or before `before`, soonest first.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn expired(&self, before: Timestamp, limit: u32) -> Result<Vec<(FilePath, Record)>>;

    /// Turns up to `limit` foreign changes into entries with their ancestors. Idempotent.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn materialise(&self, limit: u32) -> Result<Progress>;

    /// Entries of files without a row, of every store of the table, in the order of their hashes
    /// after `after`. Foreign deletes that were not materialised yet look the same. None where rows
    /// and entries cannot part.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn strays(&self, after: Option<&str>, limit: u32) -> Result<Vec<Stray>> {
        let _ = (after, limit);
        Ok(Vec::new())
    }

    /// Removes the entries that [`MetadataStore::strays`] gives, or has the materialiser do so.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn remove_strays(&self) -> Result<()> {
        Ok(())
    }

    /// Drops feed rows older than `before` that the materialiser has seen; says how many.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn trim_feed(&self, before: Timestamp) -> Result<u64>;

    /// A reader of the change feed.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a handler whose rows live in the objects; else when the
    /// database does not answer.
    async fn feed(&self, start: FeedStart) -> Result<Box<dyn FeedReader>> {
        let _ = start;
        Err(no_feed(&self.describe()))
    }

    /// Writes a heartbeat, which every reader of the feed sees ([`FeedPoll::heartbeat`]), unless
    /// one that is younger than `unless_younger` stands already.
    ///
    /// # Errors
    /// As [`MetadataStore::feed`].
    ///
    /// [`FeedPoll::heartbeat`]: crate::FeedPoll::heartbeat
    async fn beat(&self, unless_younger: Duration) -> Result<()> {
        let _ = unless_younger;
        Err(no_feed(&self.describe()))
    }

    /// Tells every reader of the feed that something of these names may have changed, although no row
    /// did: each gets an [`FeedOp::Update`]. A name that ends with a slash stands for all below it.
    ///
    /// # Errors
    /// As [`MetadataStore::feed`]; some names may have been told then.
    ///
    /// [`FeedOp::Update`]: crate::FeedOp::Update
    async fn tell(&self, names: &[String]) -> Result<()> {
        let _ = names;
        Err(no_feed(&self.describe()))
    }

    /// Writes that a long-lived process is alive until `lease` from now, and forgets members whose
    /// lease ended longer than `remember` ago. Nothing for a handler whose rows live in the objects.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn announce(&self, member: &Member, lease: Duration, remember: Duration) -> Result<()> {
        let _ = (member, lease, remember);
        Ok(())
    }

    /// Forgets the member of that name, which has ended.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn leave(&self, name: &str) -> Result<()> {
        let _ = name;
        Ok(())
    }

    /// The members that are not forgotten, dead ones included, by name.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn members(&self) -> Result<Vec<MemberState>> {
        Ok(Vec::new())
    }

    /// Figures for `ezdfs status`; scans the table.
    ///
    /// # Errors
    /// When the database does not answer.
    async fn figures(&self) -> Result<Figures>;
}

fn no_feed(handler: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("{handler} has no change feed: its rows are derived from the objects"),
    )
}
