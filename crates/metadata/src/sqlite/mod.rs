//! `SqliteMetadata`: the embedded database. WAL, full synchronisation, one writer, several
//! processes at once.
//!
//! | file | subject |
//! |---|---|
//! | `connect` | connections, and where a database may live |
//! | `schema` | installation at first use, version, base table |
//! | `inspect` | `schema check` and `schema uninstall` |
//! | `sql` | the statements |
//! | `bind` | values as parameters |
//! | `decode` | rows as our types |
//! | `packed` | many rows that travel as one |
//! | `transaction` | what a change may do inside one write transaction |
//! | `writer` | the task that writes; group commit |
//! | `read` | queries on the read connections |
//! | `feed` | materialiser, backfill, trim |
//! | `follow` | readers of the change feed |

mod bind;
mod connect;
mod decode;
mod error;
mod feed;
mod follow;
mod inspect;
mod packed;
mod read;
mod schema;
mod sql;
mod transaction;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ezdfs_core::{
    Change, Clock, DirPath, Error, ErrorKind, FeedReader, FeedStart, Figures, FilePath, Hold,
    Intent, IntentState, Member, MemberState, MetadataStore, NamePrefix, Page, Progress, Record,
    Result, ScanPage, Stray, Timestamp, Token, Tombstone,
};
use sqlx::sqlite::SqlitePool;

pub use inspect::{Findings, check, uninstall};
pub use schema::ddl;

use sql::Sql;
use writer::{Answer, Owned, Task, Writer};

/// Base rows that one transaction of a backfill places.
const BACKFILL_AT_ONCE: u32 = 2_000;
/// Foreign changes that a listing materialises in one transaction.
const MATERIALISE_AT_ONCE: u32 = 1_000;
/// Transactions of that size before a listing answers with what there is: foreign writers may be
/// faster than it.
const MATERIALISE_ROUNDS: u32 = 64;

/// How a [`SqliteMetadata`] is opened.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// Base table.
    pub table: String,
    /// What stands before each path in the `name` column.
    pub prefix: NamePrefix,
    /// Which process this is, in the change feed.
    pub origin: String,
    /// Read connections.
    pub readers: u32,
    /// How long one statement waits for another process' lock.
    pub busy_timeout: Duration,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            table: "ezdfsfile".to_owned(),
            prefix: NamePrefix::default(),
            origin: format!("pid:{}", std::process::id()),
            readers: 4,
            busy_timeout: Duration::from_secs(5),
        }
    }
}

/// Metadata in a SQLite database.
#[derive(Debug)]
pub struct SqliteMetadata {
    file: PathBuf,
    options: SqliteOptions,
    sql: Arc<Sql>,
    clock: Arc<dyn Clock>,
    readers: SqlitePool,
    writer: Writer,
}

impl SqliteMetadata {
    /// Opens a database; makes it, or what it lacks, at first use. A table that was there before
    /// gets its entries now, in batches that a restart resumes.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a file on a shared file system, a table name that cannot be one,
    /// a second base table, or a newer schema; else what SQLite says.
    pub async fn open(
        file: impl AsRef<Path>,
        options: SqliteOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let file = file.as_ref().to_owned();
        crate::table::check(&options.table)?;
        connect::check_file_system(&file)?;
        let sql = Arc::new(Sql::new(&options.table));
        let mut conn = connect::writer(&file, &options).await?;
        schema::prepare(&mut conn, &file, &options.table, &sql).await?;
        connect::mark_own_changes(&mut conn, &file, &options.origin).await?;
        let backfilling = schema::is_backfilling(&mut conn, &file).await?;
        let writer = Writer::start(Owned {
            file: file.clone(),
            options: options.clone(),
            sql: Arc::clone(&sql),
            clock: Arc::clone(&clock),
            conn: Some(conn),
        });
        let readers = connect::readers(&file, &options);
        let store = Self { file, options, sql, clock, readers, writer };
        if backfilling {
            store.backfill().await?;
        }
        Ok(store)
    }

    async fn backfill(&self) -> Result<()> {
        let file = self.file.display();
        let mut placed = 0;
        loop {
            let done = self.progress(Task::Backfill { limit: BACKFILL_AT_ONCE }).await?;
            if placed == 0 && done.seen >= u64::from(BACKFILL_AT_ONCE) {
                tracing::warn!(%file, "rows that were there before ezdfs get their entries now; this happens once and takes a while for a large table");
            }
            placed += done.seen;
            if !done.more {
                tracing::info!(%file, rows = placed, "existing rows were given their entries");
                return Ok(());
            }
        }
    }

    /// The query plans of the hot statements, by name: for tests that they use an index.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn query_plans(&self) -> Result<Vec<(&'static str, Vec<String>)>> {
        let failed = |e| error::database(&self.file, "explain a query", e);
        let mut conn = self.readers.acquire().await.map_err(failed)?;
        let mut plans = Vec::new();
        for (name, statement) in self.sql.hot() {
            plans.push((name, schema::plan(&mut conn, &statement).await.map_err(failed)?));
        }
        Ok(plans)
    }

    async fn progress(&self, task: Task) -> Result<Progress> {
        match self.writer.ask(task).await? {
            Answer::Progress(progress) => Ok(progress),
            other => Err(mixed_up(&other)),
        }
    }

    async fn count(&self, task: Task) -> Result<u64> {
        match self.writer.ask(task).await? {
            Answer::Count(count) => Ok(count),
            other => Err(mixed_up(&other)),
        }
    }
}

fn mixed_up(answer: &Answer) -> Error {
    Error::new(ErrorKind::Internal, format!("the writer answered something else: {answer:?}"))
}

#[async_trait]
impl MetadataStore for SqliteMetadata {
    fn prefix(&self) -> &NamePrefix {
        &self.options.prefix
    }

    fn describe(&self) -> String {
        format!("sqlite {}, table {}", self.file.display(), self.options.table)
    }

    fn is_separate(&self) -> bool {
        true
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok(self.clock.now())
    }

    async fn record(&self, path: &FilePath) -> Result<Record> {
        self.read_record(path).await
    }

    async fn list(&self, dir: &DirPath, after: Option<&str>, limit: u32) -> Result<Page> {
        let mut rounds = 0;
        while rounds < MATERIALISE_ROUNDS && self.foreign_waits().await? {
            self.materialise(MATERIALISE_AT_ONCE).await?;
            rounds += 1;
        }
        self.read_list(dir, after, limit).await
    }

    async fn scan(&self, dir: &DirPath, after: Option<&str>, limit: u32) -> Result<ScanPage> {
        self.read_scan(dir, after, limit).await
    }

    async fn tombstones(
        &self,
        dir: &DirPath,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Tombstone>> {
        self.read_tombstones(dir, after, limit).await
    }

    async fn hold(&self, intents: &[Intent], lease: Duration) -> Result<Hold> {
        match self.writer.ask(Task::Hold { intents: intents.to_vec(), lease }).await? {
            Answer::Hold(hold) => Ok(hold),
            other => Err(mixed_up(&other)),
        }
    }

    async fn renew(&self, token: Token, lease: Duration) -> Result<bool> {
        Ok(self.count(Task::Renew { token, lease }).await? > 0)
    }

    async fn apply(&self, change: Change) -> Result<()> {
        match self.writer.ask(Task::Apply(change)).await? {
            Answer::Done => Ok(()),
            other => Err(mixed_up(&other)),
        }
    }

    async fn intents_on(&self, path: &FilePath) -> Result<Vec<Intent>> {
        self.read_intents_on(path).await
    }

    async fn intents_of(&self, token: Token) -> Result<Vec<Intent>> {
        self.read_intents_of(token).await
    }

    async fn due(&self, state: IntentState, before: Timestamp, limit: u32) -> Result<Vec<Intent>> {
        self.read_due(state, before, limit).await
    }

    async fn expired(&self, before: Timestamp, limit: u32) -> Result<Vec<(FilePath, Record)>> {
        self.read_expired(before, limit).await
    }

    async fn materialise(&self, limit: u32) -> Result<Progress> {
        // A write transaction costs other writers something; mostly nothing waits.
        if !self.foreign_waits().await? {
            return Ok(Progress::default());
        }
        self.progress(Task::Materialise { limit }).await
    }

    async fn strays(&self, after: Option<&str>, limit: u32) -> Result<Vec<Stray>> {
        self.read_strays(after, limit).await
    }

    async fn remove_strays(&self) -> Result<()> {
        self.count(Task::RemoveStrays).await.map(drop)
    }

    async fn trim_feed(&self, before: Timestamp) -> Result<u64> {
        let mut trimmed = 0;
        loop {
            let deleted = self.count(Task::Trim { before }).await?;
            trimmed += deleted;
            if !feed::trims_more(deleted) {
                return Ok(trimmed);
            }
        }
    }

    async fn feed(&self, start: FeedStart) -> Result<Box<dyn FeedReader>> {
        let clock = Arc::clone(&self.clock);
        let reader =
            follow::Reader::open(self.file.clone(), self.options.clone(), clock, start).await?;
        Ok(Box::new(reader))
    }

    /// Nothing: a reader of the one file needs no heartbeat of another process, see `follow`.
    async fn beat(&self, _unless_younger: Duration) -> Result<()> {
        Ok(())
    }

    async fn tell(&self, names: &[String]) -> Result<()> {
        self.count(Task::Tell { names: names.to_vec() }).await.map(drop)
    }

    async fn announce(&self, member: &Member, lease: Duration, remember: Duration) -> Result<()> {
        let member = member.clone();
        self.count(Task::Announce { member, lease, remember }).await.map(drop)
    }

    async fn leave(&self, name: &str) -> Result<()> {
        self.count(Task::Leave { name: name.to_owned() }).await.map(drop)
    }

    async fn members(&self) -> Result<Vec<MemberState>> {
        self.read_members().await
    }

    async fn figures(&self) -> Result<Figures> {
        self.read_figures().await
    }
}
