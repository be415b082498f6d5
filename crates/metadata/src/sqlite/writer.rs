//! The writer: one task owns the one connection that writes. What waits in its queue shares a
//! transaction, and so an fsync.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ezdfs_core::{
    Change, Clock, Error, ErrorKind, Hold, Intent, Member, Progress, Result, Timestamp, Token,
};
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{mpsc, oneshot};

use super::bind::prepared;
use super::sql::Sql;
use super::transaction::Transaction;
use super::{SqliteOptions, connect, decode, error, feed};
use crate::change;
use crate::rows::Rows as _;

/// Writes that may wait; more callers wait for a place.
const QUEUE: usize = 256;
/// Writes that share one transaction.
const BATCH: usize = 64;

/// What the writer is asked to do. Plain data, so that it can be run again after a rollback.
#[derive(Debug)]
pub(super) enum Task {
    Hold { intents: Vec<Intent>, lease: Duration },
    Renew { token: Token, lease: Duration },
    Apply(Change),
    Materialise { limit: u32 },
    Backfill { limit: u32 },
    Trim { before: Timestamp },
    Announce { member: Member, lease: Duration, remember: Duration },
    Leave { name: String },
    RemoveStrays,
    Tell { names: Vec<String> },
}

#[derive(Debug)]
pub(super) enum Answer {
    Hold(Hold),
    Done,
    Count(u64),
    Progress(Progress),
}

impl Answer {
    /// Whether the task's writes are to stay.
    fn keeps(&self) -> bool {
        !matches!(self, Self::Hold(Hold::Busy(_)))
    }
}

#[derive(Debug)]
struct Job {
    task: Task,
    reply: oneshot::Sender<Result<Answer>>,
}

/// The way to the writer. The task ends when the last handle is gone.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
    file: PathBuf,
}

/// What the writer task owns.
pub(super) struct Owned {
    pub(super) file: PathBuf,
    pub(super) options: SqliteOptions,
    pub(super) sql: Arc<Sql>,
    pub(super) clock: Arc<dyn Clock>,
    /// `None` after the connection broke, until the next batch.
    pub(super) conn: Option<SqliteConnection>,
}

impl Writer {
    pub(super) fn start(owned: Owned) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let file = owned.file.clone();
        tokio::spawn(owned.run(queue));
        Self { jobs, file }
    }

    /// Has a task done. When the caller goes away before its turn the task is not begun; later it
    /// is finished and its answer dropped.
    pub(super) async fn ask(&self, task: Task) -> Result<Answer> {
        let stopped = || {
            Error::new(
                ErrorKind::Unavailable,
                format!("database {}: the writer has stopped", self.file.display()),
            )
        };
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job { task, reply }).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

impl Owned {
    async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.recv().await {
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(job) = queue.try_recv()
            {
                batch.push(job);
            }
            batch.retain(|job| !job.reply.is_closed());
            self.commit(batch).await;
        }
        if let Some(conn) = self.conn
            && let Err(e) = sqlx::Connection::close(conn).await
        {
            tracing::warn!(file = %self.file.display(), error = %e, "the database was not closed cleanly");
        }
    }

    /// Runs the jobs in one transaction. A job that its guards or steps refuse is undone alone.
    /// After a database error SQLite may have ended the transaction, so the others run again
    /// without the job that met it.
    async fn commit(&mut self, mut batch: Vec<Job>) {
        while !batch.is_empty() {
            match self.attempt(&batch).await {
                Attempt::Committed(answers) => {
                    for (job, answer) in batch.into_iter().zip(answers) {
                        reply(job, answer);
                    }
                    return;
                }
                Attempt::Failed { job, error } => reply(batch.remove(job), Err(error)),
                Attempt::Lost(error) => {
                    for job in batch {
                        reply(job, Err(Error::new(error.kind(), error.to_string())));
                    }
                    return;
                }
            }
        }
    }

    async fn attempt(&mut self, batch: &[Job]) -> Attempt {
        let mut conn = match self.connection().await {
            Ok(conn) => conn,
            Err(e) => return Attempt::Lost(e),
        };
        let outcome = self.attempt_on(&mut conn, batch).await;
        match outcome {
            (attempt, Health::Good) => {
                self.conn = Some(conn);
                attempt
            }
            (attempt, Health::RollBack) => {
                connect::roll_back(&mut conn).await;
                self.conn = Some(conn);
                attempt
            }
            (attempt, Health::Broken) => attempt,
        }
    }

    async fn attempt_on(&self, conn: &mut SqliteConnection, batch: &[Job]) -> (Attempt, Health) {
        if let Err(e) = connect::begin(conn, &self.file).await {
            return (Attempt::Lost(e), Health::RollBack);
        }
        // A job that is alone needs no savepoint: it is rolled back as a whole.
        let alone = batch.len() == 1;
        let mut answers = Vec::with_capacity(batch.len());
        for (at, job) in batch.iter().enumerate() {
            let mut transaction = Transaction {
                conn: &mut *conn,
                sql: &self.sql,
                prefix: &self.options.prefix,
                file: &self.file,
                failed: None,
            };
            let answer = self.run_job(&mut transaction, &job.task, alone).await;
            if let Some(broken) = transaction.failed {
                let error = match answer {
                    Err(e) => e,
                    Ok(_) => Error::new(ErrorKind::Internal, "a failed statement went unnoticed"),
                };
                let health = if broken { Health::Broken } else { Health::RollBack };
                return (Attempt::Failed { job: at, error }, health);
            }
            if alone && !answer.as_ref().is_ok_and(Answer::keeps) {
                return (Attempt::Committed(vec![answer]), Health::RollBack);
            }
            answers.push(answer);
        }
        match sqlx::query("COMMIT").execute(&mut *conn).await {
            Ok(_) => (Attempt::Committed(answers), Health::Good),
            Err(e) => {
                let health = if error::is_broken(&e) { Health::Broken } else { Health::RollBack };
                (Attempt::Lost(error::database(&self.file, "commit", e)), health)
            }
        }
    }

    async fn run_job(
        &self,
        transaction: &mut Transaction<'_>,
        task: &Task,
        alone: bool,
    ) -> Result<Answer> {
        if alone {
            return self.run_task(transaction, task).await;
        }
        transaction.run("begin a step", sqlx::query("SAVEPOINT job")).await?;
        let answer = self.run_task(transaction, task).await;
        if transaction.failed.is_some() {
            return answer;
        }
        if !answer.as_ref().is_ok_and(Answer::keeps) {
            transaction.run("undo a step", sqlx::query("ROLLBACK TO job")).await?;
        }
        transaction.run("end a step", sqlx::query("RELEASE job")).await?;
        answer
    }

    async fn run_task(&self, transaction: &mut Transaction<'_>, task: &Task) -> Result<Answer> {
        let now = self.clock.now();
        let prefix = &self.options.prefix;
        match task {
            Task::Hold { intents, lease } => {
                change::hold(transaction, prefix, now, intents, *lease).await.map(Answer::Hold)
            }
            Task::Renew { token, lease } => {
                transaction.renew(*token, now.plus(*lease)).await.map(Answer::Count)
            }
            Task::Apply(wanted) => {
                let mut scope = change::Scope { rows: transaction, prefix, now };
                change::apply(&mut scope, wanted).await.map(|()| Answer::Done)
            }
            Task::Materialise { limit } => {
                feed::materialise(transaction, now, *limit).await.map(Answer::Progress)
            }
            Task::Backfill { limit } => {
                feed::backfill(transaction, now, *limit).await.map(Answer::Progress)
            }
            Task::Trim { before } => feed::trim(transaction, *before).await.map(Answer::Count),
            Task::Announce { member, lease, remember } => {
                let (lease_end, forget) = (now.plus(*lease), now.minus(*remember));
                let announced = transaction.announce(member, now, lease_end, forget);
                announced.await.map(Answer::Count)
            }
            Task::Leave { name } => {
                let query = sqlx::query(decode::LEAVE).bind(name.clone());
                transaction.run("leave", query).await.map(Answer::Count)
            }
            Task::Tell { names } => feed::tell(transaction, now, names).await.map(Answer::Count),
            Task::RemoveStrays => {
                let query = prepared(&self.sql.remove_strays);
                transaction.run("remove entries without a row", query).await.map(Answer::Count)
            }
        }
    }

    async fn connection(&mut self) -> Result<SqliteConnection> {
        if let Some(conn) = self.conn.take() {
            return Ok(conn);
        }
        let mut conn = connect::writer(&self.file, &self.options).await?;
        connect::mark_own_changes(&mut conn, &self.file, &self.options.origin).await?;
        Ok(conn)
    }
}

fn reply(job: Job, answer: Result<Answer>) {
    if job.reply.send(answer).is_err() {
        tracing::debug!("the caller of a write went away");
    }
}

enum Attempt {
    Committed(Vec<Result<Answer>>),
    /// One job met a database error; nothing was kept.
    Failed {
        job: usize,
        error: Error,
    },
    /// Nothing can be said of any job.
    Lost(Error),
}

/// What the connection needs before it is used again.
enum Health {
    Good,
    RollBack,
    Broken,
}
