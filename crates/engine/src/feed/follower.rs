//! `Follower`: the task that polls the change feed, writes the heartbeat, and tells of changes.

use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use ezdfs_core::{
    Clock, Entropy, Error, ErrorKind, FeedEvent, FeedReader, FeedStart, MetadataStore, Result,
};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use super::Listener;
use super::freshness::{Calibration, Freshness, told_until};
use super::state::{Counters, FeedState, add};
use super::subscription::{Subscription, Told};

/// Changes of one poll.
const BATCH: u32 = 512;
/// Between two polls, while changes come and when none have come for a while.
const BUSY: Duration = Duration::from_millis(20);
const IDLE: Duration = Duration::from_millis(100);
/// Longest wait for one answer of the database. What was under way is given up, and the feed is
/// entered anew.
const ANSWER: Duration = Duration::from_secs(10);
/// Between two tries while the database fails: doubled from the first to the last.
const RETRY: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// Foreign changes of one transaction of the materialiser.
const MATERIALISE_AT_ONCE: u32 = 1_000;
/// Transactions of that size in one go: foreign writers may be faster than this task.
const MATERIALISE_ROUNDS: u32 = 64;

/// How the feed is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowerOptions {
    /// How old an answer from memory may be.
    pub max_staleness: Duration,
    /// Polls whose changes wait for a subscriber; a slower one is told that it lost some.
    pub queue: usize,
}

impl Default for FollowerOptions {
    fn default() -> Self {
        Self { max_staleness: Duration::from_secs(1), queue: 64 }
    }
}

/// Follows the change feed of a store until it is dropped. One per process and store.
#[derive(Debug)]
pub struct Follower {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    metadata: Arc<dyn MetadataStore>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    options: FollowerOptions,
    freshness: Arc<Freshness>,
    calibration: Mutex<Option<Calibration>>,
    listeners: RwLock<Vec<Weak<dyn Listener>>>,
    told: broadcast::Sender<Told>,
    counters: Counters,
}

impl Follower {
    /// Starts the task. While the database does not answer it tries again, and nothing is fresh.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a handler whose rows live in the objects.
    pub fn start(
        metadata: Arc<dyn MetadataStore>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        options: FollowerOptions,
    ) -> Result<Self> {
        if !metadata.is_separate() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("{} has no change feed that could be followed", metadata.describe()),
            ));
        }
        let freshness = Arc::new(Freshness::new(Arc::clone(&clock), options.max_staleness));
        let shared = Arc::new(Shared {
            metadata,
            clock,
            entropy,
            options,
            freshness,
            calibration: Mutex::default(),
            listeners: RwLock::default(),
            told: broadcast::Sender::new(options.queue.max(1)),
            counters: Counters::default(),
        });
        let following = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            tokio::join!(Poller::new(&following).run(), following.beat_on());
        });
        Ok(Self { shared, task })
    }

    /// Until when what was told is fresh.
    #[must_use]
    pub fn freshness(&self) -> &Arc<Freshness> {
        &self.shared.freshness
    }

    /// Every change from now on, for a task of its own.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        self.shared.subscribe()
    }

    /// State and counts.
    #[must_use]
    pub fn state(&self) -> FeedState {
        self.shared.state()
    }

    /// Ends the task; nothing is told any more when this returns. Dropping the follower ends it a
    /// little later.
    pub async fn stop(mut self) {
        self.task.abort();
        match (&mut self.task).await {
            Err(e) if e.is_panic() => {
                tracing::error!(error = %e, "the task that follows the change feed broke off");
            }
            _ => {}
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    pub(crate) fn state(&self) -> FeedState {
        let told = self.freshness.told_until();
        self.counters.state(told.map(|at| self.clock.boot().saturating_sub(at)))
    }

    /// Every change from now on.
    pub(crate) fn subscribe(&self) -> Subscription {
        Subscription::new(self.told.subscribe())
    }

    /// Tells a listener as long as it lives.
    pub(crate) fn listen(&self, listener: Weak<dyn Listener>) {
        let mut listeners = self.listeners.write().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|l| l.strong_count() > 0);
        listeners.push(listener);
    }

    fn each_listener(&self, tell: impl Fn(&dyn Listener)) {
        let listeners = self.listeners.read().unwrap_or_else(PoisonError::into_inner);
        for listener in listeners.iter().filter_map(Weak::upgrade) {
            tell(&*listener);
        }
    }

    /// Everything in memory may be out of date, and that is worth a word.
    fn resync(&self, why: &str) {
        tracing::info!(why, "everything in memory is dropped");
        add(&self.counters.resyncs, 1);
        self.drop_everything();
    }

    fn drop_everything(&self) {
        self.each_listener(|l| l.lost());
        // Err: nobody subscribes.
        let _ = self.told.send(Told::Lost);
    }

    fn calibration(&self) -> Option<Calibration> {
        *self.calibration.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The heartbeat stands for the cluster: whoever looks first after it has aged writes it.
    async fn beat_on(&self) {
        let age = self.options.max_staleness / 3;
        let every = age / 2;
        let mut retry = Retry::new("the heartbeat cannot be written");
        loop {
            let pause = match self.beat(age).await {
                Ok(()) => {
                    retry.succeeded();
                    every
                }
                Err(e) => retry.failed(self, &e),
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn beat(&self, age: Duration) -> Result<()> {
        let boot = self.clock.boot();
        let database = bounded(self.metadata.now()).await?;
        *self.calibration.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Calibration { boot, database });
        bounded(self.metadata.beat(age)).await
    }

    /// Turns foreign changes into what readers find: until then the rows of an overtaken version
    /// still say what they said before.
    async fn materialise(&self) -> Result<()> {
        for _ in 0..MATERIALISE_ROUNDS {
            if !bounded(self.metadata.materialise(MATERIALISE_AT_ONCE)).await?.more {
                return Ok(());
            }
        }
        Err(Error::new(ErrorKind::Busy, "other programs write rows faster than they are followed"))
    }
}

/// The part that reads.
#[derive(Debug)]
struct Poller<'a> {
    shared: &'a Shared,
    /// `None` before the first, and after one that did not answer in time.
    reader: Option<Box<dyn FeedReader>>,
    /// There was one before.
    entered: bool,
    /// Foreign changes were told that are not materialised.
    unsettled: bool,
    pause: Duration,
}

impl<'a> Poller<'a> {
    fn new(shared: &'a Shared) -> Self {
        Self { shared, reader: None, entered: false, unsettled: false, pause: Duration::ZERO }
    }

    async fn run(mut self) {
        let mut retry = Retry::new("the change feed cannot be read");
        loop {
            let pause = match self.step().await {
                Ok(()) => {
                    retry.succeeded();
                    self.pause
                }
                Err(e) => retry.failed(self.shared, &e),
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// One poll. The feed is fresh up to it only when everybody has heard of its changes.
    async fn step(&mut self) -> Result<()> {
        let shared = self.shared;
        let began = shared.clock.boot();
        let reader = match &mut self.reader {
            Some(reader) => reader,
            None => {
                let reader = bounded(shared.metadata.feed(FeedStart::Now)).await?;
                // Nobody told what changed up to here.
                if std::mem::replace(&mut self.entered, true) {
                    shared.resync("the change feed was entered anew");
                } else {
                    shared.drop_everything();
                }
                self.reader.insert(reader)
            }
        };
        let poll = match bounded(reader.poll(BATCH)).await {
            Ok(poll) => poll,
            Err(e) => {
                if e.kind() == ErrorKind::TimedOut {
                    // Given up in the middle, so nobody knows where it stands.
                    self.reader = None;
                }
                return Err(e);
            }
        };
        if poll.lost {
            shared.resync("the change feed has a gap");
        } else if shared.freshness.lapse() {
            shared.resync("the change feed was silent for too long");
        }
        self.pause = pause_after(self.pause, &poll.events, poll.more, shared.options.max_staleness);
        if !poll.events.is_empty() {
            self.tell(poll.events).await?;
        }
        if self.unsettled {
            shared.materialise().await?;
            self.unsettled = false;
            shared.resync("foreign changes were settled late");
        }
        if let (Some(heartbeat), Some(calibration)) = (poll.heartbeat, shared.calibration()) {
            shared.freshness.extend(told_until(calibration, heartbeat, began));
        }
        Ok(())
    }

    async fn tell(&mut self, events: Vec<FeedEvent>) -> Result<()> {
        let shared = self.shared;
        if let Some(seq) = events.iter().map(|e| e.seq).max() {
            shared.counters.seq.fetch_max(seq, std::sync::atomic::Ordering::Relaxed);
        }
        add(&shared.counters.events, events.len());
        shared.each_listener(|l| l.changed(&events));
        let foreign: Vec<FeedEvent> =
            events.iter().filter(|e| e.origin.is_none()).cloned().collect();
        let settled = if foreign.is_empty() { Ok(()) } else { shared.materialise().await };
        if settled.is_ok() {
            // What was read in between may be of the version before.
            shared.each_listener(|l| l.changed(&foreign));
        } else {
            self.unsettled = true;
        }
        // Err: nobody subscribes.
        let _ = shared.told.send(Told::Changed(events.into()));
        settled
    }
}

/// How long to wait for the next poll: soon while changes come, then longer and longer; never so
/// long that freshness would run out between two polls.
fn pause_after(last: Duration, events: &[FeedEvent], more: bool, max: Duration) -> Duration {
    if more {
        Duration::ZERO
    } else if events.is_empty() {
        (last + last / 4).clamp(BUSY.min(max / 8), IDLE.min(max / 4))
    } else {
        BUSY.min(max / 8)
    }
}

/// Tries again, at first soon, and says so once.
#[derive(Debug)]
struct Retry {
    what: &'static str,
    pause: Option<Duration>,
}

impl Retry {
    fn new(what: &'static str) -> Self {
        Self { what, pause: None }
    }

    fn succeeded(&mut self) {
        if self.pause.take().is_some() {
            tracing::info!("it works again: {}", self.what);
        }
    }

    /// The pause before the next try.
    fn failed(&mut self, shared: &Shared, e: &Error) -> Duration {
        add(&shared.counters.errors, 1);
        let what = self.what;
        if self.pause.is_none() {
            tracing::warn!(error = %e, "{what}; answers come from the database until it works again");
        } else {
            tracing::debug!(error = %e, "{what}");
        }
        let pause = self.pause.map_or(RETRY, |p| (p * 2).min(RETRY_MAX));
        self.pause = Some(pause);
        pause / 2 + shared.entropy.jitter(pause)
    }
}

async fn bounded<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(ANSWER, call).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::new(
            ErrorKind::TimedOut,
            format!("the database gave no answer in {} s", ANSWER.as_secs()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_slow_down_when_nothing_comes_and_never_below_the_bound() {
        let second = Duration::from_secs(1);
        let mut pause = pause_after(Duration::ZERO, &[], false, second);
        assert_eq!(pause, BUSY);
        for _ in 0..20 {
            let next = pause_after(pause, &[], false, second);
            assert!(next >= pause);
            pause = next;
        }
        assert_eq!(pause, IDLE);
        assert_eq!(pause_after(IDLE, &[], true, second), Duration::ZERO);
        let least = Duration::from_millis(100);
        assert_eq!(pause_after(IDLE, &[], false, least), least / 4);
    }
}
