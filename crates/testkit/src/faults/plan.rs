//! `Plan`: what goes wrong, and when.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::still::Still;

/// What a crash takes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The call: it is never carried out.
    Call,
    /// Its reply: it is carried out, and nobody hears of it.
    Reply,
}

/// On which side of a call somebody acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Before it is carried out.
    Before,
    /// After it was carried out, before its reply arrives.
    After,
}

/// Of a thousand calls, how many are hit by what. Each call is hit by one thing at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chances {
    /// Never carried out; the caller gets an error.
    pub call_lost: u32,
    /// Carried out; the caller gets an error.
    pub reply_lost: u32,
    /// Carried out twice, where that can be; the caller gets the first answer.
    pub twice: u32,
    /// Carried out a little later or answered a little later.
    pub delayed: u32,
    /// The longest of these delays.
    pub delay: Duration,
    /// Carried out or answered much later, as of a process that stands still.
    pub stalled: u32,
    /// The longest of these.
    pub stall: Duration,
}

/// How often each kind of fault took place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Injected {
    /// Calls that were never carried out.
    pub calls_lost: u64,
    /// Calls whose answer was lost.
    pub replies_lost: u64,
    /// Calls that were carried out twice.
    pub twice: u64,
    /// Calls that came or were answered later.
    pub delayed: u64,
}

/// What happens to the calls of one process on both of its stores. Clones are one plan.
#[derive(Clone, Default)]
pub struct Plan(Arc<Shared>);

#[derive(Default)]
struct Shared {
    dead: AtomicBool,
    in_vain: AtomicU64,
    is_elsewhere: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Calls that change something.
    mutations: u64,
    /// Every call by name, in order.
    calls: Vec<&'static str>,
    crash: Option<(u64, Loss)>,
    /// The process survives the failing call.
    survives: bool,
    interrupt: Option<(u64, When, BoxFuture<'static, ()>)>,
    fired: bool,
    random: Option<(StdRng, Chances)>,
    injected: Injected,
}

/// What happens to one call.
#[derive(Default)]
pub(super) struct Fate {
    loss: Option<Loss>,
    interrupt: Option<(When, BoxFuture<'static, ()>)>,
    twice: bool,
    delay: Option<(When, Duration)>,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("calls", &self.lock().calls).finish()
    }
}

impl Plan {
    /// Nothing happens; calls are counted.
    #[must_use]
    pub fn calm() -> Self {
        Self::default()
    }

    /// The process dies at its `at`-th (from 1) call that changes something.
    #[must_use]
    pub fn crash_at(at: u64, loss: Loss) -> Self {
        let plan = Self::default();
        plan.lock().crash = Some((at, loss));
        plan
    }

    /// One call fails, the `at`-th (from 1) that changes something, and the process goes on.
    #[must_use]
    pub fn fail_at(at: u64, loss: Loss) -> Self {
        let plan = Self::crash_at(at, loss);
        plan.lock().survives = true;
        plan
    }

    /// The process pauses at its `at`-th (from 1) call of any kind while `action` takes place.
    #[must_use]
    pub fn interrupt_at(
        at: u64,
        when: When,
        action: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let plan = Self::default();
        plan.lock().interrupt = Some((at, when, Box::pin(action)));
        plan
    }

    /// The process also dies, as with [`Plan::crash_at`].
    #[must_use]
    pub fn and_crash_at(self, at: u64, loss: Loss) -> Self {
        self.lock().crash = Some((at, loss));
        self
    }

    /// Faults at random, drawn from the seed: the same calls in the same order meet the same ones.
    /// Delays are those of the runtime's clock.
    #[must_use]
    pub fn random(seed: u64, chances: Chances) -> Self {
        let plan = Self::default();
        plan.lock().random = Some((StdRng::seed_from_u64(seed), chances));
        plan
    }

    /// The calls are carried out on threads that the runtime knows nothing of: its simulated time
    /// stands still meanwhile.
    #[must_use]
    pub fn on_threads(self) -> Self {
        self.0.is_elsewhere.store(true, Ordering::SeqCst);
        self
    }

    /// Nothing is drawn any more.
    pub fn calm_down(&self) {
        self.lock().random = None;
    }

    /// What was drawn so far.
    #[must_use]
    pub fn injected(&self) -> Injected {
        self.lock().injected
    }

    /// Every call fails from now on: an outage.
    pub fn go_down(&self) {
        self.0.dead.store(true, Ordering::SeqCst);
    }

    /// The end of [`Plan::go_down`].
    pub fn come_back(&self) {
        self.0.dead.store(false, Ordering::SeqCst);
    }

    /// Calls so far that were made during an outage or after a crash.
    #[must_use]
    pub fn in_vain(&self) -> u64 {
        self.0.in_vain.load(Ordering::SeqCst)
    }

    /// Whether crash or pause took place.
    #[must_use]
    pub fn fired(&self) -> bool {
        self.lock().fired
    }

    /// Names of all calls so far, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<&'static str> {
        self.lock().calls.clone()
    }

    /// Calls so far that changed something, or tried to.
    #[must_use]
    pub fn mutations(&self) -> u64 {
        self.lock().mutations
    }

    /// Forgets the calls so far.
    pub fn reset(&self) {
        let mut state = self.lock();
        state.calls.clear();
        state.mutations = 0;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries a call out as the plan says; `dead` makes the error of a dead process.
    pub(super) async fn call<T, E>(
        &self,
        name: &'static str,
        mutates: bool,
        dead: impl Fn() -> E + Send,
        run: impl Future<Output = Result<T, E>> + Send,
    ) -> Result<T, E>
    where
        T: Send,
        E: Send,
    {
        let Some(fate) = self.begin(name, mutates) else { return Err(dead()) };
        carry_out(fate, dead, self.timed(run)).await
    }

    /// The same for a call that may be carried out twice.
    pub(super) async fn call_again<T, E, F>(
        &self,
        name: &'static str,
        dead: impl Fn() -> E + Send,
        run: impl Fn() -> F + Send + Sync,
    ) -> Result<T, E>
    where
        T: Send,
        E: Send,
        F: Future<Output = Result<T, E>> + Send,
    {
        let Some(fate) = self.begin(name, true) else { return Err(dead()) };
        let twice = fate.twice;
        self.lock().injected.twice += u64::from(twice);
        let run = async {
            let answer = run().await;
            if twice {
                drop(run().await);
            }
            answer
        };
        carry_out(fate, dead, self.timed(run)).await
    }

    async fn timed<T>(&self, run: impl Future<Output = T> + Send) -> T {
        let _still = self.0.is_elsewhere.load(Ordering::SeqCst).then(Still::new);
        run.await
    }

    /// `None` for a dead process.
    fn begin(&self, name: &'static str, mutates: bool) -> Option<Fate> {
        if self.0.dead.load(Ordering::SeqCst) {
            self.0.in_vain.fetch_add(1, Ordering::SeqCst);
            return None;
        }
        let mut state = self.lock();
        state.calls.push(name);
        state.mutations += u64::from(mutates);
        let (calls, mutations) = (state.calls.len(), state.mutations);
        let crash = state.crash.filter(|(at, _)| mutates && *at == mutations);
        let is_here =
            state.interrupt.as_ref().is_some_and(|(at, ..)| usize::try_from(*at) == Ok(calls));
        let interrupt = if is_here { state.interrupt.take() } else { None };
        state.fired |= crash.is_some() || interrupt.is_some();
        if crash.is_some() && !state.survives {
            self.0.dead.store(true, Ordering::SeqCst);
        }
        let mut fate = state.draw();
        fate.loss = crash.map(|(_, loss)| loss).or(fate.loss);
        fate.interrupt = interrupt.map(|(_, when, action)| (when, action));
        Some(fate)
    }
}

impl State {
    fn draw(&mut self) -> Fate {
        let mut fate = Fate::default();
        let Some((rng, chances)) = &mut self.random else { return fate };
        // Always as many draws, so that one call's fate does not change those after it.
        let (mut drawn, share) = (rng.random_range(0..1_000), rng.random::<f64>());
        let when = if rng.random() { When::Before } else { When::After };
        let mut is_hit_by = |chance: u32| {
            let is_hit = drawn < chance;
            drawn = if is_hit { u32::MAX } else { drawn.saturating_sub(chance) };
            is_hit
        };
        let injected = &mut self.injected;
        if is_hit_by(chances.call_lost) {
            fate.loss = Some(Loss::Call);
            injected.calls_lost += 1;
        } else if is_hit_by(chances.reply_lost) {
            fate.loss = Some(Loss::Reply);
            injected.replies_lost += 1;
        } else if is_hit_by(chances.twice) {
            fate.twice = true;
        } else if is_hit_by(chances.delayed) {
            fate.delay = Some((when, chances.delay.mul_f64(share)));
            injected.delayed += 1;
        } else if is_hit_by(chances.stalled) {
            fate.delay = Some((when, chances.stall.mul_f64(share)));
            injected.delayed += 1;
        }
        fate
    }
}

async fn carry_out<T: Send, E: Send>(
    fate: Fate,
    dead: impl Fn() -> E + Send,
    run: impl Future<Output = Result<T, E>> + Send,
) -> Result<T, E> {
    if fate.loss == Some(Loss::Call) {
        return Err(dead());
    }
    if let Some((When::Before, delay)) = fate.delay {
        tokio::time::sleep(delay).await;
    }
    let after = match fate.interrupt {
        Some((When::Before, action)) => {
            action.await;
            None
        }
        Some((When::After, action)) => Some(action),
        None => None,
    };
    let answer = run.await;
    if fate.loss == Some(Loss::Reply) {
        return Err(dead());
    }
    if let Some(action) = after {
        action.await;
    }
    if let Some((When::After, delay)) = fate.delay {
        tokio::time::sleep(delay).await;
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANCES: Chances = Chances {
        call_lost: 50,
        reply_lost: 50,
        twice: 100,
        delayed: 0,
        delay: Duration::ZERO,
        stalled: 0,
        stall: Duration::ZERO,
    };

    /// For each call: how often it was carried out, and whether its caller heard of it.
    async fn fates(seed: u64) -> (Vec<(u32, bool)>, Injected) {
        let plan = Plan::random(seed, CHANCES);
        let mut fates = Vec::new();
        for _ in 0..1_000 {
            let count = std::sync::atomic::AtomicU32::new(0);
            let run = || async {
                count.fetch_add(1, Ordering::SeqCst);
                Ok(())
            };
            let answer: Result<(), ()> = plan.call_again("call", || (), run).await;
            fates.push((count.load(Ordering::SeqCst), answer.is_ok()));
        }
        (fates, plan.injected())
    }

    #[tokio::test]
    async fn a_seed_repeats_its_faults() {
        let (fates_of_one, injected) = fates(1).await;
        assert_eq!(fates(1).await, (fates_of_one.clone(), injected));
        assert_ne!(fates(2).await.0, fates_of_one);
        let count = |fate| fates_of_one.iter().filter(|f| **f == fate).count() as u64;
        assert_eq!(count((0, false)), injected.calls_lost);
        assert_eq!(count((1, false)), injected.replies_lost);
        assert_eq!(count((2, true)), injected.twice);
        for (count, expected) in
            [(injected.calls_lost, 50), (injected.replies_lost, 50), (injected.twice, 100)]
        {
            assert!((expected / 2..expected * 2).contains(&count), "{injected:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn stalls_take_the_time_of_the_runtime() {
        let chances = Chances { stalled: 1_000, stall: Duration::from_secs(60), ..CHANCES };
        let plan = Plan::random(1, Chances { call_lost: 0, reply_lost: 0, twice: 0, ..chances });
        let started = tokio::time::Instant::now();
        let answer: Result<(), ()> = plan.call("call", false, || (), async { Ok(()) }).await;
        assert!(answer.is_ok() && started.elapsed() > Duration::from_secs(1));
        plan.calm_down();
        let calm = tokio::time::Instant::now();
        let answer: Result<(), ()> = plan.call("call", false, || (), async { Ok(()) }).await;
        assert!(answer.is_ok() && calm.elapsed().is_zero());
    }
}
