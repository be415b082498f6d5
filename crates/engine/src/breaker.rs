//! `Breaker`: while the database is away, calls fail at once.
//!
//! Without it each call waits for the database as long as it may, and when the database comes back
//! everybody asks at once. A call that fails although the database answered nobody since it began
//! opens the breaker for a moment; then one call tries, and the others are let in when it was
//! answered. What ends work that is under way (`apply`, `renew`) is always tried: refusing it
//! would make an outage worse than it is.

#![deny(clippy::missing_trait_methods)]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ezdfs_core::{
    Change, Clock, DirPath, Entropy, Error, ErrorKind, FeedReader, FeedStart, Figures, FilePath,
    Hold, Intent, IntentState, Member, MemberState, MetadataStore, NamePrefix, Page, Progress,
    Record, Result, ScanPage, Stray, Timestamp, Token, Tombstone,
};

/// Shortest time for which calls are refused, and how much longer at random: nodes spread.
const PAUSE: Duration = Duration::from_millis(500);

/// Passes calls on while the database answers.
#[derive(Debug)]
pub(crate) struct Breaker {
    inner: Arc<dyn MetadataStore>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    health: Mutex<Health>,
}

#[derive(Debug, Default)]
struct Health {
    /// Answers so far.
    answers: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Closed,
    /// Calls are refused until then, in time since boot.
    Open(Duration),
    /// One call tries.
    Probing,
}

/// Whether an error says that the database is away.
pub(crate) fn is_away(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Unavailable | ErrorKind::TimedOut)
}

/// A call that was let in.
struct Turn<'a> {
    breaker: &'a Breaker,
    /// Answers when it began.
    answers: u64,
    is_probe: bool,
    is_over: bool,
}

impl Turn<'_> {
    fn end<T>(mut self, result: &Result<T>) {
        self.is_over = true;
        let mut health = self.breaker.lock();
        match result {
            Err(e) if is_away(e.kind()) => {
                let is_news = health.state == State::Closed && health.answers == self.answers;
                if self.is_probe || is_news {
                    self.breaker.open(&mut health);
                }
            }
            _ => {
                health.answers += 1;
                if std::mem::take(&mut health.state) != State::Closed {
                    tracing::info!("the database answers again");
                }
            }
        }
    }
}

impl Drop for Turn<'_> {
    /// Whoever asked has gone, and nobody knows what the answer would have been.
    fn drop(&mut self) {
        if self.is_probe && !self.is_over {
            let mut health = self.breaker.lock();
            if health.state == State::Probing {
                self.breaker.open(&mut health);
            }
        }
    }
}

impl Breaker {
    pub(crate) fn new(
        inner: Arc<dyn MetadataStore>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { inner, clock, entropy, health: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, health: &mut Health) {
        if health.state == State::Closed {
            tracing::warn!("the database is away; calls fail at once until it answers again");
        }
        health.state = State::Open(self.clock.boot() + PAUSE + self.entropy.jitter(PAUSE));
    }

    /// Lets a call in, or refuses it.
    fn enter(&self) -> Result<Turn<'_>> {
        let now = self.clock.boot();
        let mut health = self.lock();
        let is_probe = match health.state {
            State::Closed => false,
            State::Open(until) if now >= until => {
                health.state = State::Probing;
                true
            }
            State::Open(_) | State::Probing => {
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    "the database did not answer a moment ago; it is asked again soon",
                ));
            }
        };
        Ok(Turn { breaker: self, answers: health.answers, is_probe, is_over: false })
    }

    async fn guarded<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let turn = self.enter()?;
        let result = call.await;
        turn.end(&result);
        result
    }

    /// Tried in any case; what comes of it counts.
    async fn observed<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let answers = self.lock().answers;
        let turn = Turn { breaker: self, answers, is_probe: false, is_over: false };
        let result = call.await;
        turn.end(&result);
        result
    }
}

#[async_trait]
impl MetadataStore for Breaker {
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
        self.guarded(self.inner.now()).await
    }

    async fn record(&self, path: &FilePath) -> Result<Record> {
        self.guarded(self.inner.record(path)).await
    }

    async fn list(&self, dir: &DirPath, after: Option<&str>, limit: u32) -> Result<Page> {
        self.guarded(self.inner.list(dir, after, limit)).await
    }

    async fn scan(&self, dir: &DirPath, after: Option<&str>, limit: u32) -> Result<ScanPage> {
        self.guarded(self.inner.scan(dir, after, limit)).await
    }

    async fn tombstones(
        &self,
        dir: &DirPath,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Tombstone>> {
        self.guarded(self.inner.tombstones(dir, after, limit)).await
    }

    async fn hold(&self, intents: &[Intent], lease: Duration) -> Result<Hold> {
        self.guarded(self.inner.hold(intents, lease)).await
    }

    async fn renew(&self, token: Token, lease: Duration) -> Result<bool> {
        self.observed(self.inner.renew(token, lease)).await
    }

    async fn apply(&self, change: Change) -> Result<()> {
        self.observed(self.inner.apply(change)).await
    }

    async fn intents_on(&self, path: &FilePath) -> Result<Vec<Intent>> {
        self.guarded(self.inner.intents_on(path)).await
    }

    async fn intents_of(&self, token: Token) -> Result<Vec<Intent>> {
        self.guarded(self.inner.intents_of(token)).await
    }

    async fn due(&self, state: IntentState, before: Timestamp, limit: u32) -> Result<Vec<Intent>> {
        self.guarded(self.inner.due(state, before, limit)).await
    }

    async fn expired(&self, before: Timestamp, limit: u32) -> Result<Vec<(FilePath, Record)>> {
        self.guarded(self.inner.expired(before, limit)).await
    }

    async fn materialise(&self, limit: u32) -> Result<Progress> {
        self.guarded(self.inner.materialise(limit)).await
    }

    async fn strays(&self, after: Option<&str>, limit: u32) -> Result<Vec<Stray>> {
        self.guarded(self.inner.strays(after, limit)).await
    }

    async fn remove_strays(&self) -> Result<()> {
        self.guarded(self.inner.remove_strays()).await
    }

    async fn trim_feed(&self, before: Timestamp) -> Result<u64> {
        self.guarded(self.inner.trim_feed(before)).await
    }

    async fn feed(&self, start: FeedStart) -> Result<Box<dyn FeedReader>> {
        self.guarded(self.inner.feed(start)).await
    }

    async fn beat(&self, unless_younger: Duration) -> Result<()> {
        self.guarded(self.inner.beat(unless_younger)).await
    }

    async fn tell(&self, names: &[String]) -> Result<()> {
        self.guarded(self.inner.tell(names)).await
    }

    async fn announce(&self, member: &Member, lease: Duration, remember: Duration) -> Result<()> {
        self.guarded(self.inner.announce(member, lease, remember)).await
    }

    async fn leave(&self, name: &str) -> Result<()> {
        self.guarded(self.inner.leave(name)).await
    }

    async fn members(&self) -> Result<Vec<MemberState>> {
        self.guarded(self.inner.members()).await
    }

    async fn figures(&self) -> Result<Figures> {
        self.guarded(self.inner.figures()).await
    }
}
