//! `FaultyMetadata`: a metadata store whose calls follow a plan.

#![deny(clippy::missing_trait_methods)]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ezdfs_core::{
    Change, DirPath, Error, ErrorKind, FeedPoll, FeedReader, FeedStart, Figures, FilePath, Hold,
    Intent, IntentState, Member, MemberState, MetadataStore, NamePrefix, Page, Progress, Record,
    Result, ScanPage, Stray, Timestamp, Token, Tombstone,
};

use super::plan::Plan;

/// A metadata store whose calls follow a plan.
#[derive(Debug, Clone)]
pub struct FaultyMetadata {
    inner: Arc<dyn MetadataStore>,
    plan: Plan,
}

impl FaultyMetadata {
    /// Wraps a store.
    #[must_use]
    pub fn new(inner: Arc<dyn MetadataStore>, plan: Plan) -> Self {
        Self { inner, plan }
    }

    async fn read<T: Send>(
        &self,
        name: &'static str,
        run: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        self.plan.call(name, false, dead, run).await
    }

    async fn write<T, F>(&self, name: &'static str, run: impl Fn() -> F + Send + Sync) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
    {
        self.plan.call_again(name, dead, run).await
    }
}

fn dead() -> Error {
    Error::new(ErrorKind::Unavailable, "the process is dead")
}

#[async_trait]
impl MetadataStore for FaultyMetadata {
    fn prefix(&self) -> &NamePrefix {
        self.inner.prefix()
    }

    fn describe(&self) -> String {
        format!("faulty {}", self.inner.describe())
    }

    fn warnings(&self) -> Vec<String> {
        self.inner.warnings()
    }

    fn is_separate(&self) -> bool {
        self.inner.is_separate()
    }

    async fn now(&self) -> Result<Timestamp> {
        // The clock of the process, not a call that can be interrupted.
        self.inner.now().await
    }

    async fn record(&self, path: &FilePath) -> Result<Record> {
        self.read("record", self.inner.record(path)).await
    }

    async fn list(&self, dir: &DirPath, after: Option<&str>, limit: u32) -> Result<Page> {
        self.read("page", self.inner.list(dir, after, limit)).await
    }

    async fn scan(&self, dir: &DirPath, after: Option<&str>, limit: u32) -> Result<ScanPage> {
        self.read("scan", self.inner.scan(dir, after, limit)).await
    }

    async fn tombstones(
        &self,
        dir: &DirPath,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Tombstone>> {
        self.read("tombstones", self.inner.tombstones(dir, after, limit)).await
    }

    async fn hold(&self, intents: &[Intent], lease: Duration) -> Result<Hold> {
        self.write("hold", || self.inner.hold(intents, lease)).await
    }

    async fn renew(&self, token: Token, lease: Duration) -> Result<bool> {
        self.write("renew", || self.inner.renew(token, lease)).await
    }

    async fn apply(&self, change: Change) -> Result<()> {
        self.write("apply", || self.inner.apply(change.clone())).await
    }

    async fn intents_on(&self, path: &FilePath) -> Result<Vec<Intent>> {
        self.read("intents_on", self.inner.intents_on(path)).await
    }

    async fn intents_of(&self, token: Token) -> Result<Vec<Intent>> {
        self.read("intents_of", self.inner.intents_of(token)).await
    }

    async fn due(&self, state: IntentState, before: Timestamp, limit: u32) -> Result<Vec<Intent>> {
        self.read("due", self.inner.due(state, before, limit)).await
    }

    async fn expired(&self, before: Timestamp, limit: u32) -> Result<Vec<(FilePath, Record)>> {
        self.read("expired", self.inner.expired(before, limit)).await
    }

    async fn materialise(&self, limit: u32) -> Result<Progress> {
        self.write("materialise", || self.inner.materialise(limit)).await
    }

    async fn strays(&self, after: Option<&str>, limit: u32) -> Result<Vec<Stray>> {
        self.read("strays", self.inner.strays(after, limit)).await
    }

    async fn remove_strays(&self) -> Result<()> {
        self.write("remove_strays", || self.inner.remove_strays()).await
    }

    async fn trim_feed(&self, before: Timestamp) -> Result<u64> {
        self.write("trim_feed", || self.inner.trim_feed(before)).await
    }

    async fn feed(&self, start: FeedStart) -> Result<Box<dyn FeedReader>> {
        let inner = self.read("feed", self.inner.feed(start)).await?;
        Ok(Box::new(FaultyReader { inner, plan: self.plan.clone(), unheard: None }))
    }

    async fn beat(&self, unless_younger: Duration) -> Result<()> {
        self.write("beat", || self.inner.beat(unless_younger)).await
    }

    async fn tell(&self, names: &[String]) -> Result<()> {
        self.write("tell", || self.inner.tell(names)).await
    }

    async fn announce(&self, member: &Member, lease: Duration, remember: Duration) -> Result<()> {
        self.write("announce", || self.inner.announce(member, lease, remember)).await
    }

    async fn leave(&self, name: &str) -> Result<()> {
        self.write("leave", || self.inner.leave(name)).await
    }

    async fn members(&self) -> Result<Vec<MemberState>> {
        self.read("members", self.inner.members()).await
    }

    async fn figures(&self) -> Result<Figures> {
        self.read("figures", self.inner.figures()).await
    }
}

/// A reader of the feed whose polls follow the plan of its store.
#[derive(Debug)]
struct FaultyReader {
    inner: Box<dyn FeedReader>,
    plan: Plan,
    /// What a poll read whose answer was lost. The readers of databases go on behind what they have
    /// told, so they read it again.
    unheard: Option<FeedPoll>,
}

#[async_trait]
impl FeedReader for FaultyReader {
    async fn poll(&mut self, limit: u32) -> Result<FeedPoll> {
        let Self { inner, plan, unheard } = self;
        let read = async {
            if unheard.is_none() {
                *unheard = Some(inner.poll(limit).await?);
            }
            Ok(())
        };
        plan.call("poll", false, dead, read).await?;
        match unheard.take() {
            Some(poll) => Ok(poll),
            None => inner.poll(limit).await,
        }
    }
}
