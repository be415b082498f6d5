//! `Reader`: a file service that reads as any reader of the store does and writes nothing.
//!
//! A reader of the engine may write: it remembers the pins of foreign rows, and reconciles rows
//! with an object that a foreign writer replaced. A migration must leave its source as it found
//! it, and a dry run its target too. So writes end in an overlay that holds what a reconciled row
//! would be, for the file at hand only.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ezdfs_core::{
    Attrs, BaseRow, Change, DirPath, Error, ErrorKind, Figures, FilePath, Hold, Intent,
    IntentState, MetadataStore, NamePrefix, NewFile, NodeKind, NodeRow, Op, OsEntropy, Page,
    Progress, Record, Result, ScanPage, Scope, Timestamp, Token, Tombstone,
};
use ezdfs_engine::{FileService, Parts};

/// A file service without effects.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    service: FileService,
    overlay: Arc<Overlay>,
}

impl Reader {
    /// Reads what `service` reads.
    pub(crate) fn of(service: &FileService) -> Self {
        let overlay =
            Arc::new(Overlay { rows: service.metadata().clone(), adopted: Mutex::default() });
        let mut binary = service.binary().clone();
        // Without it a reconcile moves no bytes to limbo.
        binary.capabilities.atomic_rename = false;
        let parts = Parts {
            metadata: overlay.clone(),
            binary,
            clock: service.clock().clone(),
            entropy: Arc::new(OsEntropy),
        };
        Self { service: FileService::new(parts, *service.options()), overlay }
    }

    /// The service to read with.
    pub(crate) fn service(&self) -> &FileService {
        &self.service
    }

    /// Work on `path` is over.
    pub(crate) fn forget(&self, path: &FilePath) {
        self.overlay.adopted().remove(path);
    }
}

struct Overlay {
    rows: Arc<dyn MetadataStore>,
    /// Rows that a reconcile would have written, of the files in flight.
    adopted: Mutex<HashMap<FilePath, Record>>,
}

impl Overlay {
    fn adopted(&self) -> std::sync::MutexGuard<'_, HashMap<FilePath, Record>> {
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

fn read_only<T>() -> Result<T> {
    Err(Error::new(ErrorKind::ReadOnly, "this side of the migration is only read"))
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
                Op::EndHold { .. } => {}
                _ => return read_only(),
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
        read_only()
    }

    async fn trim_feed(&self, _before: Timestamp) -> Result<u64> {
        read_only()
    }

    async fn figures(&self) -> Result<Figures> {
        self.rows.figures().await
    }
}
