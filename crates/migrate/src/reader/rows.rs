//! `Overlay`: the rows of a side that is only read.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ezdfs_core::{
    Attrs, BaseRow, Change, DirPath, FeedReader, FeedStart, Figures, FilePath, Hold, Intent,
    IntentState, MetadataStore, NamePrefix, NewFile, NodeKind, NodeRow, Op, Page, Progress, Record,
    Result, ScanPage, Scope, Timestamp, Token, Tombstone,
};

use super::read_only;

/// Rows that nobody writes, and what a reconcile would have made of some.
pub(super) struct Overlay {
    rows: Arc<dyn MetadataStore>,
    /// Rows that a reconcile would have written, of the files in flight.
    adopted: Mutex<HashMap<FilePath, Record>>,
}

impl Overlay {
    pub(super) fn over(rows: Arc<dyn MetadataStore>) -> Self {
        Self { rows, adopted: Mutex::default() }
    }

    /// Drops what was adopted for a file.
    pub(super) fn forget(&self, path: &FilePath) {
        self.adopted().remove(path);
    }

    fn adopted(&self) -> MutexGuard<'_, HashMap<FilePath, Record>> {
        self.adopted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record_of(&self, path: &FilePath, file: NewFile) -> Record {
        let prefix = self.rows.prefix();
        let base = BaseRow {
            name: prefix.name(path).to_string(),
            datatype: file.datatype,
            scope: Scope::of(path).as_str().to_owned(),
            size: file.size,
            mtime: file.mtime.base_mtime(),
            expired: false,
        };
        let node = NodeRow {
            parent: prefix.dir_name(&path.parent()).hash(),
            basename: path.basename().to_owned(),
            kind: NodeKind::File,
            attrs: Attrs {
                ino: 0,
                mode: file.mode,
                uid: file.uid,
                gid: file.gid,
                ctime: file.mtime,
            },
            mtime: file.mtime,
            pin: file.pin,
            token: file.token,
            sha256: file.sha256,
            expires: file.expires,
            base_size: base.size,
            base_mtime: base.mtime,
        };
        Record { base: Some(base), node: Some(node), collision: false }
    }
}

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "read-only {:?}", self.rows)
    }
}

#[async_trait]
impl MetadataStore for Overlay {
    fn prefix(&self) -> &NamePrefix {
        self.rows.prefix()
    }

    fn describe(&self) -> String {
        self.rows.describe()
    }

    fn is_separate(&self) -> bool {
        self.rows.is_separate()
    }

    async fn now(&self) -> Result<Timestamp> {
        self.rows.now().await
    }

    async fn record(&self, path: &FilePath) -> Result<Record> {
        let adopted = self.adopted().get(path).cloned();
        match adopted {
            Some(record) => Ok(record),
            None => self.rows.record(path).await,
        }
    }

    async fn list(&self, dir: &DirPath, after: Option<&str>, limit: u32) -> Result<Page> {
        self.rows.list(dir, after, limit).await
    }

    async fn scan(&self, dir: &DirPath, after: Option<&str>, limit: u32) -> Result<ScanPage> {
        self.rows.scan(dir, after, limit).await
    }

    async fn tombstones(
        &self,
        dir: &DirPath,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Tombstone>> {
        self.rows.tombstones(dir, after, limit).await
    }

    /// Granted without a row: what is done under the hold has no effect outside this process.
    async fn hold(&self, _intents: &[Intent], _lease: Duration) -> Result<Hold> {
        Ok(Hold::Held)
    }

    async fn renew(&self, _token: Token, _lease: Duration) -> Result<bool> {
        Ok(true)
    }

    async fn apply(&self, change: Change) -> Result<()> {
        for op in change.ops {
            match op {
                Op::PutFile { path, file } => {
                    // Mode and owner are not part of what a reconcile knows.
                    let attrs = self.record(&path).await?.file(&path).map(|f| f.attrs);
                    let mut record = self.record_of(&path, file);
                    if let (Some(node), Some(attrs)) = (&mut record.node, attrs) {
                        node.attrs = attrs;
                    }
                    self.adopted().insert(path, record);
                }
                // Of holds that have no row, and of work that stays for the side's own processes.
                Op::EndHold { .. } | Op::Forget(_) => {}
                _ => return Err(read_only()),
            }
        }
        Ok(())
    }

    async fn intents_on(&self, path: &FilePath) -> Result<Vec<Intent>> {
        self.rows.intents_on(path).await
    }

    async fn due(&self, state: IntentState, before: Timestamp, limit: u32) -> Result<Vec<Intent>> {
        self.rows.due(state, before, limit).await
    }

    async fn expired(&self, before: Timestamp, limit: u32) -> Result<Vec<(FilePath, Record)>> {
        self.rows.expired(before, limit).await
    }

    async fn materialise(&self, _limit: u32) -> Result<Progress> {
        Err(read_only())
    }

    async fn trim_feed(&self, _before: Timestamp) -> Result<u64> {
        Err(read_only())
    }

    async fn feed(&self, start: FeedStart) -> Result<Box<dyn FeedReader>> {
        self.rows.feed(start).await
    }

    async fn beat(&self, _unless_younger: Duration) -> Result<()> {
        Err(read_only())
    }

    async fn figures(&self) -> Result<Figures> {
        self.rows.figures().await
    }
}
