//! `Plan`: what goes wrong, and when.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;

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

/// What happens to the calls of one process on both of its stores. Clones are one plan.
#[derive(Clone, Default)]
pub struct Plan(Arc<Shared>);

#[derive(Default)]
struct Shared {
    dead: AtomicBool,
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

    /// Every call fails from now on: an outage.
    pub fn go_down(&self) {
        self.0.dead.store(true, Ordering::SeqCst);
    }

    /// The end of [`Plan::go_down`].
    pub fn come_back(&self) {
        self.0.dead.store(false, Ordering::SeqCst);
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
        if self.0.dead.load(Ordering::SeqCst) {
            return Err(dead());
        }
        let (loss, interrupt) = self.begin(name, mutates);
        if loss == Some(Loss::Call) {
            return Err(dead());
        }
        let after = match interrupt {
            Some((When::Before, action)) => {
                action.await;
                None
            }
            Some((When::After, action)) => Some(action),
            None => None,
        };
        let answer = run.await;
        if loss == Some(Loss::Reply) {
            return Err(dead());
        }
        if let Some(action) = after {
            action.await;
        }
        answer
    }

    fn begin(
        &self,
        name: &'static str,
        mutates: bool,
    ) -> (Option<Loss>, Option<(When, BoxFuture<'static, ()>)>) {
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
        (crash.map(|(_, loss)| loss), interrupt.map(|(_, when, action)| (when, action)))
    }
}
