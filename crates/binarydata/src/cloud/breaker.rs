//! `Breaker`: a store that does not answer is asked rarely, and everybody else is told so at once.
//!
//! Closed, it lets every request through. After [`TRIPS`] failures in a row it opens: requests fail
//! without being sent, until a pause is over. Then one request, a real one, is let through as a
//! trial. If it fails the next pause is twice as long; if it succeeds two are let through, then
//! four, until so many succeed at once that the store is as before. The pauses of several nodes are
//! spread by chance.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ezdfs_core::Entropy;
use tokio::time::Instant;

/// Failures in a row that open it.
const TRIPS: u32 = 5;
/// The first pause; half of it is chance.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest one.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Requests at once that end a trial.
const RECOVERED: u32 = 64;
/// A request that its caller gave up after so long counts as one that failed.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Breaker {
    name: String,
    entropy: Arc<dyn Entropy>,
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    phase: Phase,
    /// Counts changes of phase: what a request of an earlier phase says does not count.
    generation: u64,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Closed { failures: u32 },
    Open { until: Instant, pause: Duration },
    Trial { allowed: u32, under_way: u32, pause: Duration },
}

/// The request was not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IsOpen {
    name: String,
    /// When the store is asked again.
    retry_in: Duration,
}

impl fmt::Display for IsOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, ms) = (&self.name, self.retry_in.as_millis());
        write!(f, "`{name}` has not answered lately and is asked again in {ms} ms")
    }
}

impl std::error::Error for IsOpen {}

/// A request that was let through. Whoever drops it without a word gave up.
#[derive(Debug)]
pub(super) struct Pass {
    breaker: Arc<Breaker>,
    generation: u64,
    since: Instant,
    is_told: bool,
}

impl Breaker {
    pub(super) fn new(name: &str, io_timeout: Duration, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            name: name.to_owned(),
            entropy,
            patience: PATIENCE.min(io_timeout / 2),
            state: Mutex::new(State { phase: Phase::Closed { failures: 0 }, generation: 0 }),
        }
    }

    /// Lets a request through, or says when one will be.
    pub(super) fn enter(self: &Arc<Self>) -> Result<Pass, IsOpen> {
        let now = Instant::now();
        let mut state = self.lock();
        let refused = |retry_in| Err(IsOpen { name: self.name.clone(), retry_in });
        match &mut state.phase {
            Phase::Closed { .. } => {}
            Phase::Open { until, .. } if now < *until => return refused(*until - now),
            Phase::Open { pause, .. } => {
                let pause = *pause;
                state.turn(Phase::Trial { allowed: 1, under_way: 1, pause });
            }
            Phase::Trial { allowed, under_way, .. } => {
                if *under_way >= *allowed {
                    return refused(FIRST_PAUSE);
                }
                *under_way += 1;
            }
        }
        let generation = state.generation;
        Ok(Pass { breaker: Arc::clone(self), generation, since: now, is_told: false })
    }

    /// A body broke off after its request had succeeded.
    pub(super) fn broke_off(&self) {
        let generation = self.lock().generation;
        self.failed(generation, false);
    }

    fn succeeded(&self, generation: u64) {
        let mut state = self.lock();
        if state.generation != generation {
            return;
        }
        match &mut state.phase {
            Phase::Closed { failures } => *failures = 0,
            Phase::Open { .. } => {}
            Phase::Trial { allowed, under_way, .. } => {
                *under_way = under_way.saturating_sub(1);
                *allowed = allowed.saturating_mul(2);
                if *allowed > RECOVERED {
                    tracing::info!(handler = %self.name, "the store answers again");
                    state.turn(Phase::Closed { failures: 0 });
                }
            }
        }
    }

    /// `held`: the request holds a place in a trial.
    fn failed(&self, generation: u64, held: bool) {
        let mut state = self.lock();
        if state.generation != generation {
            return;
        }
        let pause = match &mut state.phase {
            Phase::Closed { failures } => {
                *failures += 1;
                if *failures < TRIPS {
                    return;
                }
                FIRST_PAUSE
            }
            Phase::Trial { pause, .. } if held => (*pause * 2).min(LONGEST_PAUSE),
            Phase::Trial { .. } | Phase::Open { .. } => return,
        };
        let until = Instant::now() + pause / 2 + self.entropy.jitter(pause / 2);
        tracing::warn!(handler = %self.name, "the store does not answer: requests fail at once until it does");
        state.turn(Phase::Open { until, pause });
    }

    fn gave_up(&self, generation: u64) {
        let mut state = self.lock();
        if state.generation == generation
            && let Phase::Trial { under_way, .. } = &mut state.phase
        {
            *under_way = under_way.saturating_sub(1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn turn(&mut self, phase: Phase) {
        self.phase = phase;
        self.generation += 1;
    }
}

impl Pass {
    /// The store answered, whatever it said.
    pub(super) fn succeeded(mut self) {
        self.is_told = true;
        self.breaker.succeeded(self.generation);
    }

    /// The store did not answer, or only that it cannot.
    pub(super) fn failed(mut self) {
        self.is_told = true;
        self.breaker.failed(self.generation, true);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.is_told {
            return;
        }
        if self.since.elapsed() >= self.breaker.patience {
            self.breaker.failed(self.generation, true);
        } else {
            self.breaker.gave_up(self.generation);
        }
    }
}

#[cfg(test)]
mod tests {
    use ezdfs_core::SeededEntropy;

    use super::*;

    fn breaker() -> Arc<Breaker> {
        let entropy = Arc::new(SeededEntropy::new(1));
        Arc::new(Breaker::new("aws_s3", Duration::from_secs(30), entropy))
    }

    fn fail(breaker: &Arc<Breaker>, times: u32) {
        for _ in 0..times {
            breaker.enter().unwrap().failed();
        }
    }

    async fn pass_time(time: Duration) {
        tokio::time::advance(time).await;
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_failures_in_a_row_and_says_when_it_asks_again() {
        let breaker = breaker();
        fail(&breaker, TRIPS - 1);
        breaker.enter().unwrap().succeeded();
        fail(&breaker, TRIPS);
        let refused = breaker.enter().unwrap_err();
        assert!(refused.to_string().starts_with("`aws_s3` has not answered lately"), "{refused}");
        assert!((FIRST_PAUSE / 2..=FIRST_PAUSE).contains(&refused.retry_in), "{refused:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_trial_then_two_then_four_until_it_is_closed() {
        let breaker = breaker();
        fail(&breaker, TRIPS);
        pass_time(FIRST_PAUSE).await;
        let mut allowed = 1;
        while allowed <= RECOVERED {
            let mut passes = Vec::new();
            while let Ok(pass) = breaker.enter() {
                passes.push(pass);
                assert!(passes.len() <= 1000, "closed too early");
            }
            assert_eq!(passes.len(), allowed as usize);
            // One success opens the gate further; the rest go without a word.
            passes.pop().unwrap().succeeded();
            allowed *= 2;
        }
        let all: Vec<_> = (0..1000).map(|_| breaker.enter().unwrap()).collect();
        drop(all);
        breaker.enter().unwrap().succeeded();
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_trial_doubles_the_pause_up_to_a_limit() {
        let breaker = breaker();
        fail(&breaker, TRIPS);
        let mut pause = FIRST_PAUSE;
        for _ in 0..8 {
            pass_time(pause).await;
            breaker.enter().unwrap().failed();
            pause = (pause * 2).min(LONGEST_PAUSE);
            let refused = breaker.enter().unwrap_err();
            assert!((pause / 2..=pause).contains(&refused.retry_in), "{refused:?} of {pause:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_gives_up_early_frees_its_place_and_late_counts_as_a_failure() {
        let breaker = breaker();
        fail(&breaker, TRIPS);
        pass_time(FIRST_PAUSE).await;
        drop(breaker.enter().unwrap());
        let trial = breaker.enter().expect("the place of the first trial is free again");
        pass_time(PATIENCE).await;
        drop(trial);
        breaker.enter().unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn answers_to_requests_of_an_earlier_phase_do_not_count() {
        let breaker = breaker();
        let (early, late) = (breaker.enter().unwrap(), breaker.enter().unwrap());
        fail(&breaker, TRIPS);
        early.succeeded();
        breaker.enter().unwrap_err();
        pass_time(FIRST_PAUSE).await;
        breaker.enter().unwrap().succeeded();
        late.failed();
        breaker.broke_off();
        breaker.enter().expect("still in trial");
    }
}
