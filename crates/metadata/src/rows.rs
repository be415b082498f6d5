//! `Rows`: what a store must be able to do inside one write transaction. What changes mean is
//! written once, over this trait, in `change` and `materialise`.

use std::future::Future;

use ezdfs_core::{
    BaseRow, FilePath, Intent, IntentId, Name, NameHash, NodeKind, NodeRow, Record, Result,
    Timestamp, Token,
};

/// The rows of one hash.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stored {
    pub(crate) base: Option<BaseRow>,
    pub(crate) node: Option<NodeRow>,
}

impl Stored {
    pub(crate) fn is_dir(&self) -> bool {
        self.node.as_ref().is_some_and(|n| n.kind == NodeKind::Directory)
    }

    pub(crate) fn record(&self, name: &Name) -> Record {
        Record::new(name.as_str(), self.base.clone(), self.node.clone())
    }
}

/// What a change is about to do with the rows that it looks for. A store whose transactions run
/// side by side locks them accordingly, so that what was found stays true until the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intend {
    /// Change the node row of each of them.
    ChangeAll,
    /// Change the first, or compare it; the others are the directories above it, which must stay.
    ChangeFirst,
    /// Change none; they are directories, which must stay.
    Keep,
}

/// Answer to [`Rows::find`].
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// In the order of the names asked for.
    pub(crate) rows: Vec<Stored>,
    /// Whether a base row that is not hidden, and that no node row tells of yet, stands below the
    /// first name: then it is a directory all the same. Rows that have their entries may count or
    /// not.
    pub(crate) below: bool,
}

/// A page of base rows.
#[derive(Debug, Default)]
pub(crate) struct BasePage {
    pub(crate) rows: Vec<(BaseRow, Option<NodeRow>)>,
    /// Where the next page starts; `None` at the end. Bytes: a foreign name need not be UTF-8.
    pub(crate) next: Option<Vec<u8>>,
}

/// What becomes of a token's held rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HoldCount {
    /// Rows that hold their path.
    pub(crate) held: u64,
    /// Rows that somebody ended.
    pub(crate) ended: u64,
}

/// One write transaction. Rows are addressed by name hash; nothing here decides anything.
pub(crate) trait Rows: Send {
    /// Rows of several names in one query; with `below` also whether something visible stands
    /// below the first.
    fn find(
        &mut self,
        names: &[Name],
        intend: Intend,
        below: bool,
    ) -> impl Future<Output = Result<Found>> + Send;

    /// A page of base rows below a name, in byte order, after the name `after`: those excepted
    /// that are hidden or stand under a hash that is not theirs. Rows in a directory further down
    /// that has a node row may be left out.
    fn unhidden_below(
        &mut self,
        name: &Name,
        after: Option<&[u8]>,
    ) -> impl Future<Output = Result<BasePage>> + Send;

    /// Upsert. `name` and `name_trunk` of an existing row stay; `expired` and `status` are reset.
    fn put_base(
        &mut self,
        hash: NameHash,
        row: &BaseRow,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Soft delete the legacy way, if the row has that name.
    fn hide_base(&mut self, name: &Name) -> impl Future<Output = Result<()>> + Send;

    /// Deletes the base row if it has that name, and the node row if it is that file's.
    fn delete_file(&mut self, name: &Name) -> impl Future<Output = Result<()>> + Send;

    /// Upserts. `attrs.ino` is ignored: an existing row keeps its number, a new one gets a number
    /// that was never given out.
    fn put_nodes(
        &mut self,
        nodes: &[(NameHash, NodeRow)],
    ) -> impl Future<Output = Result<()>> + Send;

    /// Deletes node rows.
    fn delete_nodes(&mut self, hashes: &[NameHash]) -> impl Future<Output = Result<()>> + Send;

    /// Deletes the directory rows below `hash`, at any depth. Those that lead to a file which is
    /// not hidden may stay.
    fn delete_dirs_below(&mut self, hash: NameHash) -> impl Future<Output = Result<()>> + Send;

    /// Whether the directory has an entry that is not a file.
    fn has_subdir(&mut self, hash: NameHash) -> impl Future<Output = Result<bool>> + Send;

    /// Sets mtime and ctime of directories to `now`, where mtime lies at least a second back; now
    /// or right after the commit.
    fn touch_dirs(
        &mut self,
        hashes: &[NameHash],
        now: Timestamp,
    ) -> impl Future<Output = Result<()>> + Send;

    /// How many rows of a token hold, and how many were ended.
    fn count_holds(&mut self, token: Token) -> impl Future<Output = Result<HoldCount>> + Send;

    /// The row that keeps `path` from being held: on the path itself, a subtree row on an
    /// ancestor, or, with `subtree`, any held row below.
    fn blocker(
        &mut self,
        path: &FilePath,
        subtree: bool,
    ) -> impl Future<Output = Result<Option<Intent>>> + Send;

    /// Stores a pending row; `false` when it would hold a path that is not free.
    fn add_intent(&mut self, intent: &Intent) -> impl Future<Output = Result<bool>> + Send;

    /// Ends the held rows of a token.
    fn end_hold(&mut self, token: Token, keep: bool) -> impl Future<Output = Result<()>> + Send;

    /// Extends the lease of the held rows of a token; says how many there are.
    fn renew(
        &mut self,
        token: Token,
        lease_end: Timestamp,
    ) -> impl Future<Output = Result<u64>> + Send;

    /// Deletes a pending row.
    fn forget(&mut self, id: IntentId) -> impl Future<Output = Result<()>> + Send;
}
