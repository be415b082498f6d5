//! Maintenance: one round of everything that any node may do at any time. `serve` runs it every
//! few seconds, `ezdfs gc` once.

use std::collections::HashSet;

use ezdfs_core::{Change, Intent, IntentState, Op, Result, Work};
use futures::StreamExt as _;

use crate::reap::Reaped;
use crate::service::FileService;

/// Rows of one batch.
const BATCH: u32 = 200;
/// Reaps under way at once: their small transactions share commits.
const REAPS_AT_ONCE: usize = 16;

/// Foreign changes of one transaction.
const MATERIALISE_AT_ONCE: u32 = 1_000;
/// Transactions of that size in one round: foreign writers may be faster than it.
const MATERIALISE_ROUNDS: u32 = 64;

/// What a round did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Maintained {
    /// Abandoned pieces of work that were rolled forward or dropped.
    pub rolled: u64,
    /// Deleted versions whose bytes are gone now.
    pub reaped: u64,
    /// Files that were hidden because their time was over.
    pub expired: u64,
    /// Ended pending rows that were forgotten.
    pub forgotten: u64,
    /// Feed rows that were trimmed.
    pub trimmed: u64,
    /// Pieces of work that failed and are tried again in a later round; each was logged.
    pub failed: u64,
}

impl FileService {
    /// One round: recovery, foreign changes, expiry, reaper, memory of ended work, feed.
    ///
    /// # Errors
    /// A database error. A piece of work that fails is counted and does not stop the round.
    pub async fn maintain(&self) -> Result<Maintained> {
        let mut done = Maintained::default();
        if !self.inner.metadata.is_separate() {
            return Ok(done);
        }
        self.recover(&mut done).await?;
        self.materialise().await?;
        self.sweep_expired(&mut done).await?;
        self.reap_due(&mut done).await?;
        self.forget_ended(&mut done).await?;
        let keep = self.inner.options.remember_ended;
        let now = self.inner.metadata.now().await?;
        done.trimmed = self.inner.metadata.trim_feed(now.minus(keep)).await?;
        Ok(done)
    }

    /// Rolls every abandoned piece of work forward, once.
    ///
    /// # Errors
    /// A database error.
    pub async fn recover(&self, done: &mut Maintained) -> Result<()> {
        let mut tried = HashSet::new();
        // Held rows of dead processes count before their lease ends, so all of them are looked at.
        let all = ezdfs_core::Timestamp::from_nanos(i64::MAX);
        loop {
            let held = self.inner.metadata.due(IntentState::Held, all, 10 * BATCH).await?;
            let mut progressed = false;
            for intent in held {
                if tried.contains(&intent.token) || !self.is_abandoned(&intent).await? {
                    continue;
                }
                tried.insert(intent.token);
                progressed = true;
                let rolled = self.roll_forward(&intent).await;
                done.count(rolled.map(|()| true), &intent, |d| &mut d.rolled);
            }
            if !progressed {
                return Ok(());
            }
        }
    }

    /// Hears of foreign changes, before anything is decided by what is known of a version: a file
    /// that PHP has written again in the same second looks like the one before.
    pub(crate) async fn materialise(&self) -> Result<()> {
        for _ in 0..MATERIALISE_ROUNDS {
            if !self.inner.metadata.materialise(MATERIALISE_AT_ONCE).await?.more {
                break;
            }
        }
        Ok(())
    }

    async fn sweep_expired(&self, done: &mut Maintained) -> Result<()> {
        loop {
            let now = self.inner.metadata.now().await?;
            let over = self.inner.metadata.expired(now, BATCH).await?;
            let mut progressed = false;
            for (path, record) in &over {
                if self.expire(path, record).await? {
                    done.expired += 1;
                    progressed = true;
                }
            }
            if !progressed {
                return Ok(());
            }
        }
    }

    async fn reap_due(&self, done: &mut Maintained) -> Result<()> {
        let mut tried = HashSet::new();
        loop {
            let now = self.inner.metadata.now().await?;
            // Reaps that cannot be carried out now must not hide those behind them.
            let limit = u32::try_from(tried.len()).unwrap_or(u32::MAX).saturating_add(BATCH);
            let due = self.inner.metadata.due(IntentState::Queued, now, limit).await?;
            // One reap of a path at once: they would wait for each other.
            let mut paths = HashSet::new();
            let fresh: Vec<_> = due
                .into_iter()
                .filter(|i| !tried.contains(&i.id) && paths.insert(i.path.clone()))
                .collect();
            if fresh.is_empty() {
                return Ok(());
            }
            let mut reaps = futures::stream::iter(fresh)
                .map(|intent| async move {
                    let reaped = self.reap(&intent).await;
                    (intent, reaped)
                })
                .buffer_unordered(REAPS_AT_ONCE);
            while let Some((intent, reaped)) = reaps.next().await {
                if !matches!(reaped, Ok(Reaped::Removed | Reaped::Kept)) {
                    tried.insert(intent.id);
                }
                done.count(reaped.map(|r| r == Reaped::Removed), &intent, |d| &mut d.reaped);
            }
        }
    }

    async fn forget_ended(&self, done: &mut Maintained) -> Result<()> {
        let mut tried = HashSet::new();
        loop {
            let before = self.inner.metadata.now().await?.minus(self.inner.options.remember_ended);
            let limit = u32::try_from(tried.len()).unwrap_or(u32::MAX).saturating_add(BATCH);
            let ended = self.inner.metadata.due(IntentState::Ended, before, limit).await?;
            let fresh: Vec<_> = ended.into_iter().filter(|i| !tried.contains(&i.id)).collect();
            if fresh.is_empty() {
                return Ok(());
            }
            for intent in &fresh {
                tried.insert(intent.id);
                let forgotten = self.forget_one(intent).await.map(|()| true);
                done.count(forgotten, intent, |d| &mut d.forgotten);
            }
        }
    }

    /// Forgets ended work, after a last look whether its object came late.
    async fn forget_one(&self, intent: &Intent) -> Result<()> {
        if matches!(intent.work, Work::Publish { .. }) {
            self.reconcile(&intent.path).await?;
        }
        let change = Change::new().op(Op::Forget(intent.id));
        self.inner.metadata.apply(change).await
    }
}

impl Maintained {
    fn count(
        &mut self,
        outcome: Result<bool>,
        intent: &Intent,
        counter: impl FnOnce(&mut Self) -> &mut u64,
    ) {
        match outcome {
            Ok(true) => *counter(self) += 1,
            Ok(false) => {}
            Err(e) => {
                tracing::warn!(path = %intent.path, work = intent.work.kind().as_str(), error = %e, "pending work failed; it is tried again");
                self.failed += 1;
            }
        }
    }
}
