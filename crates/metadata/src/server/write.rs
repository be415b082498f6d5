//! Write transactions: run to their end whatever becomes of the caller, and run again when others
//! were in the way.

use std::sync::Arc;
use std::time::Duration;

use ezdfs_core::{
    Change, Clock as _, Entropy as _, Error, ErrorKind, Guard, Hold, Intent, IntentState, Op,
    OsEntropy, Progress, Result, SystemClock, Timestamp, Token,
};

use super::connect::State;
use super::dialect::{Dialect, Fault};
use super::statement::{Param, Statement, params};
use super::transaction::Transaction;
use super::{Server, bind, feed, scan};
use crate::change;
use crate::decode;
use crate::decode::Fields;
use crate::rows::Rows as _;

/// How often a transaction is run again when others were in the way, or its connection was gone or
/// its host became read-only.
const TRIES: u32 = 20;
/// Longest pause before the first of these; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(4);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// What a transaction is to do. Plain data, so that it can be run again.
#[derive(Debug)]
pub(super) enum Task {
    Hold { intents: Vec<Intent>, lease: Duration },
    Apply(Change),
    Materialise { limit: u32 },
    Backfill { limit: u32 },
    Trim { before: Timestamp },
    Scan { limit: u32, start: scan::Start },
}

#[derive(Debug)]
pub(super) enum Answer {
    Hold(Hold),
    Done,
    Count(u64),
    Progress(Progress),
}

pub(super) fn mixed_up(answer: &Answer) -> Error {
    Error::new(ErrorKind::Internal, format!("a transaction answered something else: {answer:?}"))
}

/// How long and how often something is tried again.
struct Patience {
    tries: u32,
    pause: Duration,
    until: Duration,
}

impl Patience {
    fn new(longest: Duration) -> Self {
        Self { tries: 0, pause: FIRST_PAUSE, until: SystemClock.boot() + longest }
    }

    /// Waits a moment, longer each time; `false` when it is over.
    async fn pause(&mut self) -> bool {
        if self.tries == TRIES || SystemClock.boot() >= self.until {
            return false;
        }
        self.tries += 1;
        tokio::time::sleep(OsEntropy.jitter(self.pause)).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }
}

/// How a transaction ended.
enum Attempt {
    /// For good, one way or the other.
    Ended(Result<Answer>),
    /// Nothing of it stays.
    Again(Error),
}

/// What takes paths, or needs them to be free, passes the gate first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gate {
    None,
    Shared,
    Alone,
}

impl Gate {
    fn of(task: &Task) -> Self {
        let takes = |intent: &Intent| match (intent.state, intent.subtree) {
            (IntentState::Held, true) => Self::Alone,
            (IntentState::Held, false) => Self::Shared,
            _ => Self::None,
        };
        let gates: Vec<Self> = match task {
            Task::Hold { intents, .. } => {
                intents.iter().map(|i| if i.subtree { Self::Alone } else { Self::Shared }).collect()
            }
            Task::Apply(change) => {
                let free = change.guards.iter().map(|g| match g {
                    Guard::Free { .. } => Self::Shared,
                    _ => Self::None,
                });
                let added = change.ops.iter().map(|op| match op {
                    Op::AddIntent(intent) => takes(intent),
                    _ => Self::None,
                });
                free.chain(added).collect()
            }
            _ => Vec::new(),
        };
        match gates {
            all if all.contains(&Self::Alone) => Self::Alone,
            all if all.contains(&Self::Shared) => Self::Shared,
            _ => Self::None,
        }
    }
}

impl<D: Dialect> Server<D> {
    /// Runs a transaction. It goes on when the caller goes away, so that no connection is left in
    /// the middle of one.
    pub(super) async fn write(self: &Arc<Self>, task: Task) -> Result<Answer> {
        if let Task::Hold { intents, .. } = &task {
            self.sql.names.check_all(&self.options.prefix, intents)?;
        }
        let server = Arc::clone(self);
        let running = tokio::spawn(async move { server.run(&task).await });
        running.await.map_err(|e| {
            Error::new(ErrorKind::Internal, "a transaction was cut off").with_source(e)
        })?
    }

    async fn run(&self, task: &Task) -> Result<Answer> {
        let mut patience = Patience::new(self.options.io_timeout);
        let mut is_retry = false;
        loop {
            match self.attempt(task, is_retry).await {
                Attempt::Ended(answer) => return answer,
                Attempt::Again(e) => {
                    if !patience.pause().await {
                        return Err(e);
                    }
                    tracing::debug!(error = %e, "a transaction is run again");
                    is_retry = true;
                }
            }
        }
    }

    async fn attempt(&self, task: &Task, is_retry: bool) -> Attempt {
        let now = match self.database_time().await {
            Ok(now) => now,
            Err(e) => return Attempt::Ended(Err(e)),
        };
        let mut lent = match self.connections.lend().await {
            Ok(lent) => lent,
            Err(e) => return Attempt::Ended(Err(e)),
        };
        lent.is_dirty = true;
        let attempt = self.attempt_on(&mut lent.conn, task, is_retry, now);
        match tokio::time::timeout(self.options.io_timeout, attempt).await {
            Ok((attempt, state)) => {
                self.connections.settle(lent, state);
                attempt
            }
            Err(_) => {
                self.connections.settle(lent, State::Gone);
                Attempt::Ended(Err(self.connections.too_late("finish a transaction")))
            }
        }
    }

    /// Also says what the connection is good for.
    async fn attempt_on(
        &self,
        conn: &mut D::Conn,
        task: &Task,
        is_retry: bool,
        now: Timestamp,
    ) -> (Attempt, State) {
        if let Some(done) = self.in_one_statement(conn, task, now).await {
            return done;
        }
        if let Err(e) = D::run(conn, "BEGIN").await {
            return self.broken("begin a transaction", e);
        }
        let mut transaction = Transaction::new(self, conn, now);
        let answer = transaction.task(task, Gate::of(task), is_retry).await;
        let Transaction { failed, touched, .. } = transaction;
        match (answer, failed) {
            (Ok(answer), None) if answer.keeps() => match D::run(conn, "COMMIT").await {
                Ok(()) => {
                    let state = self.touch(conn, touched, now).await;
                    (Attempt::Ended(Ok(answer)), state)
                }
                Err(e) => {
                    let fault = D::fault(&e);
                    let e = self.connections.failed("commit", e);
                    match (fault, self.connections.state(fault)) {
                        (Fault::Again, _) => (Attempt::Again(e), State::Gone),
                        // MySQL refuses the commit itself, and rolls back.
                        (_, State::ReadOnly) => (Attempt::Again(e), State::ReadOnly),
                        // Unknown whether it was committed.
                        _ => (Attempt::Ended(Err(e)), State::Gone),
                    }
                }
            },
            (Err(e), Some(Fault::Again | Fault::Duplicate)) => {
                (Attempt::Again(e), Self::roll_back(conn).await)
            }
            (answer, failed) => {
                let state = failed.map_or(State::Usable, |fault| self.connections.state(fault));
                match (answer, state) {
                    (answer, State::Usable) => {
                        (Attempt::Ended(answer), Self::roll_back(conn).await)
                    }
                    // Nothing was committed.
                    (Err(e), state) => (Attempt::Again(e), state),
                    (answer, state) => (Attempt::Ended(answer), state),
                }
            }
        }
    }

    async fn roll_back(conn: &mut D::Conn) -> State {
        match D::run(conn, "ROLLBACK").await {
            Ok(()) => State::Usable,
            Err(_) => State::Gone,
        }
    }

    /// What the dialect can do without a transaction of several statements.
    async fn in_one_statement(
        &self,
        conn: &mut D::Conn,
        task: &Task,
        now: Timestamp,
    ) -> Option<(Attempt, State)> {
        match task {
            Task::Hold { intents, lease } if D::INSERT_PASSES_GATE => {
                let [intent] = intents.as_slice() else { return None };
                if intent.subtree {
                    return None;
                }
                let intent = Intent {
                    state: IntentState::Held,
                    lease_end: now.plus(*lease),
                    ..intent.clone()
                };
                let params = bind::intent(&self.options.prefix, &intent);
                match D::execute(conn, &self.sql.add_intent, params).await {
                    Ok(0) => None,
                    Ok(_) => Some((Attempt::Ended(Ok(Answer::Hold(Hold::Held))), State::Usable)),
                    Err(e) => Some(self.broken("take a path", e)),
                }
            }
            Task::Apply(change) => match self.publish(conn, change, now).await {
                Ok(false) => None,
                Ok(true) => Some((Attempt::Ended(Ok(Answer::Done)), State::Usable)),
                Err(e) if self.connections.state(D::fault(&e)) != State::Usable => {
                    Some(self.broken("publish", e))
                }
                // The longer way finds out what it was, and says so.
                Err(e) => {
                    tracing::debug!(error = %e, "a publish takes the longer way");
                    None
                }
            },
            _ => None,
        }
    }

    /// After a statement that stood alone.
    fn broken(&self, what: &str, e: sqlx::Error) -> (Attempt, State) {
        let fault = D::fault(&e);
        let e = self.connections.failed(what, e);
        match (fault, self.connections.state(fault)) {
            (Fault::Again | Fault::Duplicate, _) => (Attempt::Again(e), State::Usable),
            (_, State::Usable) => (Attempt::Ended(Err(e)), State::Gone),
            // A connection that was idle for long is often gone. Each of these statements may be
            // run twice: a path that is ours is taken, a publish whose hold has ended is looked at.
            (_, state) => (Attempt::Again(e), state),
        }
    }

    /// The mtime of directories is not part of any promise of a transaction, and not worth that
    /// everybody who writes into one waits for its row.
    async fn touch(&self, conn: &mut D::Conn, dirs: Vec<String>, now: Timestamp) -> State {
        if dirs.is_empty() {
            return State::Usable;
        }
        let params = params![dirs, now.nanos(), now.minus(change::TOUCH_EVERY).nanos()];
        match D::execute(conn, &self.sql.touch_dirs, params).await {
            Ok(_) => State::Usable,
            Err(e) => {
                tracing::debug!(error = %e, "the mtime of a directory stays behind");
                self.connections.state(D::fault(&e))
            }
        }
    }

    /// Runs a query outside of any transaction.
    pub(crate) async fn query(
        &self,
        what: &str,
        statement: &Statement,
        params: Vec<Param>,
    ) -> Result<Vec<D::Row>> {
        self.decode(what, statement, params, Ok).await
    }

    /// The same, each row decoded as it comes.
    pub(super) async fn decode<T: Send>(
        &self,
        what: &str,
        statement: &Statement,
        params: Vec<Param>,
        decode: impl Fn(D::Row) -> Result<T, sqlx::Error> + Send + Sync,
    ) -> Result<Vec<T>> {
        self.alone(what, statement, params, Some(decode)).await.map(|(rows, _)| rows)
    }

    /// Runs a statement outside of any transaction that may be run twice.
    pub(super) async fn change(
        &self,
        what: &str,
        statement: &Statement,
        params: Vec<Param>,
    ) -> Result<u64> {
        let no_query = None::<fn(D::Row) -> Result<(), sqlx::Error>>;
        self.alone(what, statement, params, no_query).await.map(|(_, count)| count)
    }

    /// Rows of a query, or how many rows a statement changed. Runs again when others were in the
    /// way, the connection was gone or its host became read-only.
    async fn alone<T: Send>(
        &self,
        what: &str,
        statement: &Statement,
        params: Vec<Param>,
        query: Option<impl Fn(D::Row) -> Result<T, sqlx::Error> + Send + Sync>,
    ) -> Result<(Vec<T>, u64)> {
        let mut patience = Patience::new(self.options.io_timeout);
        loop {
            let mut lent = self.connections.lend().await?;
            lent.is_dirty = true;
            let conn = &mut lent.conn;
            let params = params.clone();
            let query = query.as_ref();
            let run = async move {
                match query {
                    Some(decode) => {
                        D::decode(conn, statement, params, decode).await.map(|rows| (rows, 0))
                    }
                    None => {
                        D::execute(conn, statement, params).await.map(|count| (Vec::new(), count))
                    }
                }
            };
            let e = match tokio::time::timeout(self.options.io_timeout, run).await {
                Err(_) => {
                    self.connections.settle(lent, State::Gone);
                    return Err(self.connections.too_late(what));
                }
                Ok(Ok(answer)) => {
                    lent.is_dirty = false;
                    return Ok(answer);
                }
                Ok(Err(e)) => e,
            };
            let fault = D::fault(&e);
            let state = self.connections.state(fault);
            self.connections.settle(lent, state);
            let may_retry = state != State::Usable || fault == Fault::Again;
            if !may_retry || !patience.pause().await {
                return Err(self.connections.failed(what, e));
            }
        }
    }

    pub(super) async fn renew(&self, token: Token, lease: Duration) -> Result<bool> {
        let lease_end = self.database_time().await?.plus(lease).nanos();
        let params = params![token.to_string(), lease_end];
        Ok(self.change("renew a lease", &self.sql.renew, params).await? > 0)
    }

    /// The numbers of the first row; 0 for each without one.
    pub(crate) fn numbers<const N: usize>(&self, what: &str, rows: &[D::Row]) -> Result<[u64; N]> {
        let mut numbers = [0; N];
        if let Some(row) = rows.first() {
            for (at, number) in numbers.iter_mut().enumerate() {
                let found = row.int(at).map_err(|e| self.connections.failed(what, e))?;
                *number = u64::try_from(found.unwrap_or_default()).unwrap_or_default();
            }
        }
        Ok(numbers)
    }
}

impl Answer {
    /// Whether the task's writes are to stay.
    fn keeps(&self) -> bool {
        !matches!(self, Self::Hold(Hold::Busy(_)))
    }
}

impl<D: Dialect> Transaction<'_, D> {
    async fn task(&mut self, task: &Task, gate: Gate, is_retry: bool) -> Result<Answer> {
        let server = self.server;
        let prefix = &server.options.prefix;
        let now = self.now;
        match gate {
            Gate::None => {}
            Gate::Shared => {
                self.run("pass the gate", &server.sql.gate_shared, vec![]).await.map(drop)?
            }
            Gate::Alone => {
                self.run("pass the gate", &server.sql.gate_alone, vec![]).await.map(drop)?
            }
        }
        match task {
            Task::Hold { intents, lease } => {
                let hold = change::hold(self, prefix, now, intents, *lease).await?;
                // Taken by an attempt whose answer was lost.
                let is_ours = |holder: &Intent| intents.iter().any(|i| i.token == holder.token);
                Ok(Answer::Hold(match hold {
                    Hold::Busy(holder) if is_retry && is_ours(&holder) => {
                        self.held_before(intents).await?
                    }
                    other => other,
                }))
            }
            Task::Apply(wanted) => {
                let mut scope = change::Scope { rows: self, prefix, now };
                change::apply(&mut scope, wanted).await.map(|()| Answer::Done)
            }
            Task::Materialise { limit } => {
                feed::materialise(self, *limit).await.map(Answer::Progress)
            }
            Task::Backfill { limit } => feed::backfill(self, *limit).await.map(Answer::Progress),
            Task::Trim { before } => feed::trim(self, *before).await.map(Answer::Count),
            Task::Scan { limit, start } => {
                scan::step(self, *limit, *start).await.map(Answer::Progress)
            }
        }
    }

    /// All or none were taken by the attempt before.
    async fn held_before(&mut self, intents: &[Intent]) -> Result<Hold> {
        let Some(first) = intents.first() else { return Ok(Hold::Held) };
        let wanted = u64::try_from(intents.len()).unwrap_or(u64::MAX);
        let count = self.count_holds(first.token).await?;
        if count.held == wanted && count.ended == 0 {
            return Ok(Hold::Held);
        }
        Err(Error::new(ErrorKind::Internal, "a token was used twice"))
    }
}

/// A number of a row.
pub(super) fn number(row: &impl Fields, at: usize) -> Result<i64, sqlx::Error> {
    Ok(decode::int(row, at)?.unwrap_or_default())
}
