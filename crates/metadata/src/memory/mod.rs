//! `MemoryMetadata`: a complete metadata store in memory. For tests: nothing is durable.

mod feed;
mod foreign;
mod read;
mod rows;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ezdfs_core::{
    Change, Clock, DirPath, Error, ErrorKind, FeedOp, FeedReader, FeedStart, Figures, FilePath,
    Hold, Intent, IntentState, Member, MemberState, MetadataStore, Name, NamePrefix, Page,
    Progress, Record, Result, ScanPage, Timestamp, Token, Tombstone,
};
use futures::FutureExt as _;

pub use foreign::{ForeignRow, ForeignTable};

use crate::change;
use state::State;

/// A metadata store in memory.
///
/// Clones of [`MemoryMetadata::sibling`] share the table, as several stores of one database do.
#[derive(Debug)]
pub struct MemoryMetadata {
    table: Arc<Mutex<State>>,
    prefix: NamePrefix,
    clock: Arc<dyn Clock>,
}

impl MemoryMetadata {
    /// An empty table.
    #[must_use]
    pub fn new(prefix: NamePrefix, clock: Arc<dyn Clock>) -> Self {
        Self { table: Arc::default(), prefix, clock }
    }

    /// A store with another prefix on the same table.
    #[must_use]
    pub fn sibling(&self, prefix: NamePrefix) -> Self {
        Self { table: Arc::clone(&self.table), prefix, clock: Arc::clone(&self.clock) }
    }

    /// The table as a foreign writer sees it.
    #[must_use]
    pub fn foreign(&self) -> ForeignTable {
        ForeignTable::new(Arc::clone(&self.table))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.table)
    }

    /// Runs one write transaction: `Err`, or an answer that is not kept, changes nothing.
    fn transaction<T>(
        &self,
        run: impl AsyncFnOnce(&mut rows::Transaction<'_>) -> Result<T>,
        keep: impl FnOnce(&T) -> bool,
    ) -> Result<T> {
        let mut state = self.lock();
        let mut transaction = rows::Transaction::begin(&mut state, &self.prefix);
        // Rows in memory never wait, so the future is done at its first poll and the lock is not
        // held across one.
        let outcome = run(&mut transaction).now_or_never().unwrap_or_else(|| {
            Err(Error::new(ErrorKind::Internal, "the memory store waited for something"))
        });
        if !outcome.as_ref().is_ok_and(keep) {
            transaction.roll_back();
        }
        outcome
    }
}

fn lock(table: &Mutex<State>) -> MutexGuard<'_, State> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl MetadataStore for MemoryMetadata {
    fn prefix(&self) -> &NamePrefix {
        &self.prefix
    }

    fn describe(&self) -> String {
        "memory".to_owned()
    }

    fn is_separate(&self) -> bool {
        true
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok(self.clock.now())
    }

    async fn record(&self, path: &FilePath) -> Result<Record> {
        Ok(read::record(&self.lock(), &self.prefix, path))
    }

    async fn list(&self, dir: &DirPath, after: Option<&str>, limit: u32) -> Result<Page> {
        while self.lock().feed_lag() > 0 {
            self.materialise(u32::MAX).await?;
        }
        Ok(read::list(&self.lock(), &self.prefix, self.clock.now(), dir, after, limit))
    }

    async fn scan(&self, dir: &DirPath, after: Option<&str>, limit: u32) -> Result<ScanPage> {
        Ok(read::scan(&self.lock(), &self.prefix, dir, after, limit))
    }

    async fn tombstones(
        &self,
        dir: &DirPath,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Tombstone>> {
        Ok(read::tombstones(&self.lock(), &self.prefix, dir, after, limit))
    }

    async fn hold(&self, intents: &[Intent], lease: Duration) -> Result<Hold> {
        let now = self.clock.now();
        self.transaction(
            async |rows| change::hold(rows, &self.prefix, now, intents, lease).await,
            |hold| matches!(hold, Hold::Held),
        )
    }

    async fn renew(&self, token: Token, lease: Duration) -> Result<bool> {
        let lease_end = self.clock.now().plus(lease);
        self.transaction(
            async |rows| Ok(crate::rows::Rows::renew(rows, token, lease_end).await? > 0),
            |_| true,
        )
    }

    async fn apply(&self, change: Change) -> Result<()> {
        let now = self.clock.now();
        self.transaction(
            async |rows| {
                let mut scope = change::Scope { rows, prefix: &self.prefix, now };
                change::apply(&mut scope, &change).await
            },
            |()| true,
        )
    }

    async fn intents_on(&self, path: &FilePath) -> Result<Vec<Intent>> {
        Ok(read::intents_on(&self.lock(), &self.prefix, path))
    }

    async fn intents_of(&self, token: Token) -> Result<Vec<Intent>> {
        Ok(read::intents_of(&self.lock(), token))
    }

    async fn due(&self, state: IntentState, before: Timestamp, limit: u32) -> Result<Vec<Intent>> {
        Ok(read::due(&self.lock(), &self.prefix, state, before, limit))
    }

    async fn expired(&self, before: Timestamp, limit: u32) -> Result<Vec<(FilePath, Record)>> {
        Ok(read::expired(&self.lock(), &self.prefix, before, limit))
    }

    async fn materialise(&self, limit: u32) -> Result<Progress> {
        let now = self.clock.now();
        self.transaction(async |rows| feed::materialise(rows, now, limit).await, |_| true)
    }

    async fn trim_feed(&self, before: Timestamp) -> Result<u64> {
        Ok(feed::trim(&mut self.lock(), before))
    }

    async fn feed(&self, start: FeedStart) -> Result<Box<dyn FeedReader>> {
        Ok(Box::new(feed::Reader::new(Arc::clone(&self.table), start)))
    }

    async fn beat(&self, unless_younger: Duration) -> Result<()> {
        feed::beat(&mut self.lock(), self.clock.now(), unless_younger);
        Ok(())
    }

    async fn tell(&self, names: &[String]) -> Result<()> {
        let mut state = self.lock();
        for name in names {
            state.append_feed(FeedOp::Update, Name::from_row(name).hash(), name, false);
        }
        Ok(())
    }

    async fn announce(&self, member: &Member, lease: Duration, remember: Duration) -> Result<()> {
        let now = self.clock.now();
        let mut state = self.lock();
        let alive = MemberState {
            member: member.clone(),
            heartbeat: now,
            lease_end: now.plus(lease),
            feed_lag: None,
        };
        state.members.insert(member.name.clone(), alive);
        state.members.retain(|_, known| known.lease_end >= now.minus(remember));
        Ok(())
    }

    async fn leave(&self, name: &str) -> Result<()> {
        self.lock().members.remove(name);
        Ok(())
    }

    async fn members(&self) -> Result<Vec<MemberState>> {
        let state = self.lock();
        let last = u64::try_from(state.last_seq).unwrap_or_default();
        let lag = |known: &MemberState| known.member.feed_seq.map(|seq| last.saturating_sub(seq));
        let with_lag = |known: &MemberState| MemberState { feed_lag: lag(known), ..known.clone() };
        Ok(state.members.values().map(with_lag).collect())
    }

    async fn figures(&self) -> Result<Figures> {
        Ok(read::figures(&self.lock(), &self.prefix, self.clock.now()))
    }
}
