//! `Voiding`: the metadata store of a service that keeps rows in memory. What this process changes
//! is forgotten before the change is acknowledged, so that a caller reads its own writes; the feed
//! would tell of it a moment later.

#![deny(clippy::missing_trait_methods)]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ezdfs_core::{
    Change, DirPath, FeedReader, FeedStart, Figures, FilePath, Hold, Intent, IntentState, Member,
    MemberState, MetadataStore, NamePrefix, Op, Page, Progress, Record, Result, ScanPage, Stray,
    Timestamp, Token, Tombstone,
};

use crate::cache::MetadataCache;

/// Passes everything on, and voids what was changed.
#[derive(Debug)]
pub(crate) struct Voiding {
    inner: Arc<dyn MetadataStore>,
    cache: Arc<MetadataCache>,
}

impl Voiding {
    pub(crate) fn new(inner: Arc<dyn MetadataStore>, cache: Arc<MetadataCache>) -> Self {
        Self { inner, cache }
    }
}

/// Voids when it goes, however the change ended: a failed one may have been applied all the same,
/// and so may one whose caller went away.
struct Changed<'a> {
    cache: &'a MetadataCache,
    paths: Vec<FilePath>,
}

impl Drop for Changed<'_> {
    fn drop(&mut self) {
        self.paths.iter().for_each(|path| self.cache.void(path));
    }
}

/// The path whose record a step changes.
fn path_of(op: &Op) -> Option<&FilePath> {
    match op {
        Op::PutFile { path, .. }
        | Op::SetPin { path, .. }
        | Op::MakeDir { path, .. }
        | Op::RemoveFile(path)
        | Op::HideFile(path)
        | Op::RemoveDir(path) => Some(path),
        // Directories are not kept in memory.
        Op::RemoveDirTree(_) | Op::AddIntent(_) | Op::EndHold { .. } | Op::Forget(_) => None,
    }
}

#[async_trait]
impl MetadataStore for Voiding {
    fn prefix(&self) -> &NamePrefix {
        self.inner.prefix()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn warnings(&self) -> Vec<String> {
        self.inner.warnings()
    }

    fn is_separate(&self) -> bool {
        self.inner.is_separate()
    }

    async fn now(&self) -> Result<Timestamp> {
        self.inner.now().await
    }

    async fn record(&self, path: &FilePath) -> Result<Record> {
        self.inner.record(path).await
    }

    async fn list(&self, dir: &DirPath, after: Option<&str>, limit: u32) -> Result<Page> {
        self.inner.list(dir, after, limit).await
    }

    async fn scan(&self, dir: &DirPath, after: Option<&str>, limit: u32) -> Result<ScanPage> {
        self.inner.scan(dir, after, limit).await
    }

    async fn tombstones(
        &self,
        dir: &DirPath,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Tombstone>> {
        self.inner.tombstones(dir, after, limit).await
    }

    async fn hold(&self, intents: &[Intent], lease: Duration) -> Result<Hold> {
        self.inner.hold(intents, lease).await
    }

    async fn renew(&self, token: Token, lease: Duration) -> Result<bool> {
        self.inner.renew(token, lease).await
    }

    async fn apply(&self, change: Change) -> Result<()> {
        let paths = change.ops.iter().filter_map(path_of).cloned().collect();
        let _changed = Changed { cache: &self.cache, paths };
        self.inner.apply(change).await
    }

    async fn intents_on(&self, path: &FilePath) -> Result<Vec<Intent>> {
        self.inner.intents_on(path).await
    }

    async fn intents_of(&self, token: Token) -> Result<Vec<Intent>> {
        self.inner.intents_of(token).await
    }

    async fn due(&self, state: IntentState, before: Timestamp, limit: u32) -> Result<Vec<Intent>> {
        self.inner.due(state, before, limit).await
    }

    async fn expired(&self, before: Timestamp, limit: u32) -> Result<Vec<(FilePath, Record)>> {
        self.inner.expired(before, limit).await
    }

    async fn materialise(&self, limit: u32) -> Result<Progress> {
        self.inner.materialise(limit).await
    }

    async fn strays(&self, after: Option<&str>, limit: u32) -> Result<Vec<Stray>> {
        self.inner.strays(after, limit).await
    }

    async fn remove_strays(&self) -> Result<()> {
        self.inner.remove_strays().await
    }

    async fn trim_feed(&self, before: Timestamp) -> Result<u64> {
        self.inner.trim_feed(before).await
    }

    async fn feed(&self, start: FeedStart) -> Result<Box<dyn FeedReader>> {
        self.inner.feed(start).await
    }

    async fn beat(&self, unless_younger: Duration) -> Result<()> {
        self.inner.beat(unless_younger).await
    }

    async fn tell(&self, names: &[String]) -> Result<()> {
        self.inner.tell(names).await
    }

    async fn announce(&self, member: &Member, lease: Duration, remember: Duration) -> Result<()> {
        self.inner.announce(member, lease, remember).await
    }

    async fn leave(&self, name: &str) -> Result<()> {
        self.inner.leave(name).await
    }

    async fn members(&self) -> Result<Vec<MemberState>> {
        self.inner.members().await
    }

    async fn figures(&self) -> Result<Figures> {
        self.inner.figures().await
    }
}
