//! Taking paths, waiting for them, and taking over what a dead or stalled holder left.

use std::time::Duration;

use ezdfs_core::{
    Change, Error, ErrorKind, FilePath, Guard, Hold, Intent, IntentId, IntentState, Op, Result,
    Timestamp, Token, Work,
};

use crate::owner;
use crate::service::{FileService, Options};

/// First pause while another holder is waited for; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
/// How many abandoned holders are rolled forward even after the wait is over.
const ROLLS: u32 = 16;

/// A path, or both ends of a rename, held by this process until the lease ends.
///
/// Dropping it leaves the rows to whoever rolls them forward: nothing is lost, the path is only
/// blocked for the rest of the lease.
#[derive(Debug)]
#[must_use]
pub(crate) struct Held {
    pub(crate) token: Token,
    /// End of the lease on `CLOCK_BOOTTIME`, measured from before the row was written.
    lease_end: Duration,
}

impl FileService {
    /// A pending row of this process, not yet stored.
    pub(crate) fn intent(&self, path: &FilePath, token: Token, work: Work) -> Intent {
        Intent {
            id: IntentId(0),
            path: path.clone(),
            subtree: false,
            token,
            owner: self.inner.owner.as_str().to_owned(),
            state: IntentState::Held,
            lease_end: Timestamp::default(),
            work,
        }
    }

    /// Takes the paths of `intents` (all with the same token): waits for live holders up to
    /// `io_timeout`, rolls dead ones forward.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] when a live holder outlasts the wait.
    pub(crate) async fn hold(&self, intents: &[Intent]) -> Result<Held> {
        self.hold_as_of(|| intents.to_vec()).await
    }

    /// The same for rows that tell the time, which are made anew after each wait.
    ///
    /// # Errors
    /// As [`Self::hold`].
    pub(crate) async fn hold_as_of(
        &self,
        intents: impl Fn() -> Vec<Intent> + Send + Sync,
    ) -> Result<Held> {
        let deadline = self.inner.clock.boot() + self.inner.options.io_timeout;
        let mut pause = FIRST_PAUSE;
        let mut rolled = 0;
        loop {
            let taken_at = self.inner.clock.boot();
            let intents = intents();
            match self.inner.metadata.hold(&intents, self.inner.options.lease).await? {
                Hold::Held => {
                    let token =
                        intents.first().map_or_else(|| self.inner.entropy.token(), |i| i.token);
                    return Ok(Held { token, lease_end: taken_at + self.inner.options.lease });
                }
                Hold::Busy(holder) => {
                    let is_late = self.inner.clock.boot() >= deadline;
                    if self.is_abandoned(&holder).await? {
                        self.roll_forward(&holder).await?;
                        rolled += 1;
                        if !is_late || rolled < ROLLS {
                            continue;
                        }
                    }
                    if is_late {
                        return Err(busy(&holder));
                    }
                    tokio::time::sleep(pause + self.inner.entropy.jitter(pause)).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Whether a holder's work may be rolled forward: its process on this machine is dead, or its
    /// lease and the longest step that it can still be in have both passed.
    pub(crate) async fn is_abandoned(&self, holder: &Intent) -> Result<bool> {
        if owner::is_dead_here(&holder.owner) {
            return Ok(true);
        }
        let now = self.inner.metadata.now().await?;
        Ok(holder.lease_end.plus(self.inner.options.step_timeout) <= now)
    }

    /// Makes sure that more lease is left than the coming step may take.
    ///
    /// # Errors
    /// [`ErrorKind::LostHold`] when the rows are gone.
    pub(crate) async fn refresh(&self, held: &mut Held) -> Result<()> {
        let asked_at = self.inner.clock.boot();
        if asked_at + self.inner.options.step_timeout < held.lease_end {
            return Ok(());
        }
        if !self.inner.metadata.renew(held.token, self.inner.options.lease).await? {
            return Err(lost());
        }
        held.lease_end = asked_at + self.inner.options.lease;
        Ok(())
    }

    /// Does something that may take longer than a lease, such as reading a large object, and renews
    /// the lease meanwhile. A lease that is lost all the same is noticed by the change that comes
    /// after, which is guarded by it; what is under way with a store cannot be taken back anyway.
    pub(crate) async fn keeping<T>(&self, held: &Held, work: impl Future<Output = T>) -> T {
        let lease = self.inner.options.lease;
        let mut work = std::pin::pin!(work);
        loop {
            match tokio::time::timeout(lease / 3, &mut work).await {
                Ok(done) => return done,
                Err(_) => match self.inner.metadata.renew(held.token, lease).await {
                    Ok(true) => {}
                    Ok(false) => tracing::warn!("a hold was taken over during a long step"),
                    Err(e) => {
                        tracing::warn!(error = %e, "a hold could not be renewed during a long step; it is tried again")
                    }
                },
            }
        }
    }

    /// Does the step that nobody else may take meanwhile, as long as the lease can be renewed and no
    /// longer than `longest`. The step is dropped otherwise: a store may carry it out all the same.
    ///
    /// # Errors
    /// [`ErrorKind::LostHold`] when another node took the paths over, [`ErrorKind::TimedOut`] when
    /// the lease or the time is over.
    pub(crate) async fn while_held<T>(
        &self,
        held: &mut Held,
        longest: Duration,
        step: impl Future<Output = T>,
    ) -> Result<T> {
        let Options { lease, .. } = self.inner.options;
        let started = self.inner.clock.boot();
        let mut step = std::pin::pin!(step);
        loop {
            let end = held.lease_end.min(started + longest);
            let left = end.saturating_sub(self.inner.clock.boot());
            if let Ok(done) = tokio::time::timeout(left.min(lease / 3), &mut step).await {
                return Ok(done);
            }
            let asked_at = self.inner.clock.boot();
            let left = end.saturating_sub(asked_at);
            if left.is_zero() {
                let waited = asked_at.saturating_sub(started);
                let message = format!("no answer of the store in {waited:?}");
                return Err(Error::new(ErrorKind::TimedOut, message));
            }
            let renewing = tokio::time::timeout(left, self.inner.metadata.renew(held.token, lease));
            let renewed = tokio::select! {
                biased;
                done = &mut step => return Ok(done),
                renewed = renewing => renewed,
            };
            match renewed {
                Ok(Ok(true)) => held.lease_end = asked_at + lease,
                Ok(Ok(false)) => return Err(lost()),
                Ok(Err(e)) => {
                    tracing::warn!(error = %e, "a hold could not be renewed during a long step; it is tried again");
                }
                Err(_) => {}
            }
        }
    }

    /// Whether nobody has taken the paths over; then they are ours for another lease.
    pub(crate) async fn still_holds(&self, held: &Held) -> Result<bool> {
        self.inner.metadata.renew(held.token, self.inner.options.lease).await
    }

    /// Gives paths back. With `keep` the row stays for a day, so that an object that arrives late
    /// is recognised.
    pub(crate) async fn release(&self, held: Held, keep: bool) {
        let change = Change::new().op(Op::EndHold { token: held.token, keep });
        if let Err(e) = self.inner.metadata.apply(change).await {
            tracing::warn!(token = %held.token, error = %e, "a hold could not be given back; it is rolled forward when its lease has ended");
        }
    }

    /// Replaces the abandoned rows of `old` by a repair row of this process on `paths`.
    ///
    /// # Errors
    /// [`ErrorKind::LostHold`] when another node was faster.
    pub(crate) async fn take_over(&self, old: &Intent, rows: Vec<Intent>) -> Result<Held> {
        let taken_at = self.inner.clock.boot();
        let lease_end = self.inner.metadata.now().await?.plus(self.inner.options.lease);
        let token = rows.first().map_or_else(|| self.inner.entropy.token(), |i| i.token);
        let mut change = Change::new()
            .guard(Guard::Holds(old.token))
            .op(Op::EndHold { token: old.token, keep: true });
        for row in rows {
            change = change.op(Op::AddIntent(Intent { lease_end, ..row }));
        }
        self.inner.metadata.apply(change).await?;
        Ok(Held { token, lease_end: taken_at + self.inner.options.lease })
    }
}

fn lost() -> Error {
    Error::new(
        ErrorKind::LostHold,
        "the hold on the path was taken over after a pause longer than its lease",
    )
}

pub(crate) fn busy(holder: &Intent) -> Error {
    Error::new(
        ErrorKind::Busy,
        format!(
            "`{}` is held by another {} (process {}); try again later",
            holder.path,
            holder.work.kind().as_str(),
            holder.owner
        ),
    )
}
