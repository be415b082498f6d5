//! The reader of the change feed on MySQL: by numbers, with what is missing among them.
//!
//! Numbers are given out before transactions commit. A reader goes by the highest number that it
//! has seen, and looks again for those below it that were not there ([`super::holes`]).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ezdfs_core::{
    Clock as _, FeedEvent, FeedOp, FeedPoll, FeedReader, FeedStart, Result, SystemClock, Timestamp,
};
use sqlx::mysql::MySqlRow;

use super::Mysql;
use super::holes::{self, Holes};
use crate::decode;
use crate::server::Server;
use crate::server::statement::{Param, Statement, params};

/// Holes that a poll asks for one by one. When there are more, as where the server counts in steps,
/// it reads the numbers between the first and the last of them.
const ASK_FOR: usize = 256;
/// Numbers that are read at once.
const NUMBERS_AT_ONCE: u32 = 8_192;
/// Pages of them that a new reader looks back at most.
const PAGES_BACK: u32 = 8;
/// Events whose rows are asked for by number.
const ROWS_AT_ONCE: usize = 512;

const WHAT: &str = "read the change feed";

/// A change: 1, number, time, NULL, operation, name, origin.
const CHANGE: &str = "SELECT 1, seq, at, NULL, op, name, origin FROM ezdfs_change";

/// What the log says of itself: 0, heartbeat, highest number trimmed, highest number, what feeds it.
const LOG: &str = "SELECT 0, \
     (SELECT CAST(`value` AS SIGNED) FROM ezdfs_meta WHERE `key` = 'heartbeat'), \
     (SELECT CAST(`value` AS SIGNED) FROM ezdfs_meta WHERE `key` = 'trimmed'), \
     (SELECT MAX(seq) FROM ezdfs_change), \
     (SELECT `value` FROM ezdfs_meta WHERE `key` = 'feed'), NULL, NULL";

/// ?1 up to which number, ?2 limit. Number, time, present time; highest number first.
const BACK: &str = "SELECT seq, at, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000 \
     FROM ezdfs_change WHERE seq <= ?1 ORDER BY seq DESC LIMIT ?2";

/// ?1 base table.
const TRIGGERS: &str = "SELECT COUNT(*) FROM information_schema.TRIGGERS \
     WHERE EVENT_OBJECT_SCHEMA = DATABASE() AND EVENT_OBJECT_TABLE = ?1 \
     AND TRIGGER_NAME LIKE 'ezdfs|_feed|_%' ESCAPE '|'";

/// How often the triggers are looked for: it is no cheap question.
const LOOK_AT_TRIGGERS: Duration = Duration::from_secs(10);

/// ?1 and ?2 ends, ?3 limit. Highest number first.
const BETWEEN: &str =
    "SELECT seq FROM ezdfs_change WHERE seq BETWEEN ?1 AND ?2 ORDER BY seq DESC LIMIT ?3";

/// One statement, so one moment: a heartbeat covers all rows of the same answer, and what was
/// trimmed was trimmed before it. ?1 above which number, ?2 limit, then both ends of each hole.
fn poll(holes: usize) -> String {
    let above = format!("({CHANGE} WHERE seq > ?1 ORDER BY seq LIMIT ?2)");
    if holes == 0 {
        return format!("{LOG} UNION ALL {above}");
    }
    let missing: Vec<String> =
        (0..holes).map(|n| format!("seq BETWEEN ?{} AND ?{}", 2 * n + 3, 2 * n + 4)).collect();
    let missing = missing.join(" OR ");
    format!("{LOG} UNION ALL {above} UNION ALL ({CHANGE} WHERE {missing} ORDER BY seq LIMIT ?2)")
}

/// How many holes the statement for `count` of them has room for: few different texts are prepared.
fn room(count: usize) -> usize {
    if count == 0 { 0 } else { count.next_power_of_two() }
}

/// The answer to a poll.
#[derive(Debug, Default)]
struct Answer {
    heartbeat: Option<i64>,
    trimmed: i64,
    /// `None`: the log is empty.
    highest: Option<i64>,
    is_fed: bool,
    events: Vec<FeedEvent>,
}

#[derive(Debug)]
pub(super) struct Reader {
    server: Arc<Server<Mysql>>,
    /// By how many holes they have room for, as powers of two.
    polls: Vec<(usize, Statement)>,
    /// Highest number that was read.
    high: i64,
    /// Highest number that was told, or given up.
    told: i64,
    holes: Holes,
    triggers: Option<Triggers>,
}

/// A look at the triggers.
#[derive(Debug)]
struct Triggers {
    at: Duration,
    count: u64,
    /// Most that were ever seen.
    most: u64,
}

impl Reader {
    pub(super) async fn open(server: Arc<Server<Mysql>>, start: FeedStart) -> Result<Self> {
        let mut sizes = vec![0];
        sizes.extend((0..).map(|n| 1 << n).take_while(|n| *n <= ASK_FOR));
        let polls = sizes.into_iter().map(|n| (n, Statement::pieces(&poll(n)))).collect();
        let mut reader =
            Self { server, polls, high: 0, told: 0, holes: Holes::default(), triggers: None };
        match start {
            FeedStart::Now => reader.begin().await?,
            FeedStart::After(seq) => {
                reader.high = i64::try_from(seq).unwrap_or(i64::MAX);
                reader.told = reader.high;
            }
        }
        Ok(reader)
    }

    async fn rows(&self, statement: &Statement, params: Vec<Param>) -> Result<Vec<MySqlRow>> {
        self.server.query(WHAT, statement, params).await
    }

    fn failed(&self, e: sqlx::Error) -> ezdfs_core::Error {
        self.server.connections.failed(WHAT, e)
    }

    /// Begins with the present. What is under way has a number that is missing now: one that was
    /// given out after the last row from before the window.
    async fn begin(&mut self) -> Result<()> {
        let boot = SystemClock.boot();
        // First: what is trimmed after this look is told as a gap, and never passed over.
        let log = self.answer(&Statement::pieces(LOG), Vec::new()).await?;
        let back = Statement::pieces(BACK);
        let window = i64::try_from(holes::WINDOW.as_millis()).unwrap_or(i64::MAX);
        let mut numbers: Vec<i64> = Vec::new();
        let mut is_all = false;
        for _ in 0..PAGES_BACK {
            let from = numbers.last().map_or(i64::MAX, |lowest| lowest - 1);
            let page = self.rows(&back, params![from, i64::from(NUMBERS_AT_ONCE)]).await?;
            is_all = u32::try_from(page.len()).is_ok_and(|n| n < NUMBERS_AT_ONCE);
            let mut is_old = false;
            for row in &page {
                let number = |at| decode::int(row, at).map(Option::unwrap_or_default);
                let (seq, at, now) = (number(0), number(1), number(2));
                numbers.push(seq.map_err(|e| self.failed(e))?);
                let at = at.map_err(|e| self.failed(e))?;
                is_old = at < now.map_err(|e| self.failed(e))?.saturating_sub(window);
            }
            if is_all || is_old {
                break;
            }
        }
        let rows_back = i64::from(holes::WINDOW_ROWS);
        self.high = numbers.first().copied().unwrap_or(log.trimmed);
        self.told = self.high.max(log.trimmed);
        let floor = match numbers.last() {
            // Below it there are others.
            Some(lowest) if !is_all => *lowest,
            Some(lowest) => lowest.saturating_sub(rows_back),
            None => self.high.saturating_sub(rows_back),
        };
        self.holes = Holes::default();
        for (first, last) in holes::between(floor.max(1), self.high, &numbers) {
            self.holes.miss(first, last, boot);
        }
        Ok(())
    }

    async fn answer(&self, statement: &Statement, params: Vec<Param>) -> Result<Answer> {
        let rows = self.rows(statement, params).await?;
        let decoded: Result<Answer, sqlx::Error> = (|| {
            let mut answer = Answer::default();
            for row in &rows {
                let number = |at| decode::int(row, at);
                if number(0)? == Some(0) {
                    answer.heartbeat = number(1)?;
                    answer.trimmed = number(2)?.unwrap_or_default();
                    answer.highest = number(3)?;
                    answer.is_fed = decode::text(row, 4)?.as_deref() == Some("trigger");
                } else {
                    answer.events.push(event(row)?);
                }
            }
            Ok(answer)
        })();
        decoded.map_err(|e| self.failed(e))
    }

    /// What shows by now of many holes: the lowest `limit` of it. Read from the highest number down,
    /// so that of a transaction which commits meanwhile the first changes are told first.
    async fn filled(&self, limit: usize) -> Result<Vec<FeedEvent>> {
        let Some((from, mut to)) = self.holes.span() else { return Ok(Vec::new()) };
        let between = Statement::pieces(BETWEEN);
        let mut found: VecDeque<i64> = VecDeque::new();
        while from <= to {
            let page = self.rows(&between, params![from, to, i64::from(NUMBERS_AT_ONCE)]).await?;
            for row in &page {
                to = decode::int(row, 0).map_err(|e| self.failed(e))?.unwrap_or_default();
                if self.holes.contains(to) {
                    found.push_front(to);
                }
            }
            found.truncate(limit);
            if u32::try_from(page.len()).is_ok_and(|n| n < NUMBERS_AT_ONCE) {
                break;
            }
            to = to.saturating_sub(1);
        }
        let found = Vec::from(found);
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let rows = Statement::pieces(&format!("{CHANGE} WHERE seq @in(?1) ORDER BY seq"));
        Ok(self.answer(&rows, params![found]).await?.events)
    }

    /// Whether the triggers are still there, as of a few seconds ago: tools that alter a table by
    /// copying it leave them behind. A user without the privilege TRIGGER sees none; then nothing is
    /// known, and `ezdfs schema check` is what finds out.
    async fn has_triggers(&mut self, boot: Duration) -> Result<bool> {
        let is_known = |seen: &Triggers| boot.saturating_sub(seen.at) < LOOK_AT_TRIGGERS;
        if let Some(seen) = self.triggers.as_ref().filter(|seen| is_known(seen)) {
            return Ok(seen.count >= seen.most);
        }
        let params = params![self.server.options.table.as_str()];
        let rows = self.rows(&Statement::pieces(TRIGGERS), params).await?;
        let [count] = self.server.numbers(WHAT, &rows)?;
        let most = self.triggers.as_ref().map_or(count, |seen| seen.most.max(count));
        self.triggers = Some(Triggers { at: boot, count, most });
        Ok(count >= most)
    }

    /// The log was emptied: its numbers begin again.
    fn is_another(&self, answer: &Answer) -> bool {
        match answer.highest {
            Some(highest) => highest < self.high,
            None => answer.trimmed < self.high,
        }
    }

    /// Notes that these events, which are in the order of their numbers, are told.
    fn note(&mut self, events: &[FeedEvent], boot: Duration) {
        for event in events {
            let seq = i64::try_from(event.seq).unwrap_or(i64::MAX);
            if seq > self.high {
                self.holes.miss(self.high.saturating_add(1), seq - 1, boot);
                self.high = seq;
                self.holes.tell();
            } else {
                self.holes.fill(seq);
            }
        }
        self.holes.forget(boot);
    }
}

fn event(row: &MySqlRow) -> Result<FeedEvent, sqlx::Error> {
    let seq = decode::int(row, 1)?.unwrap_or_default();
    Ok(FeedEvent {
        seq: u64::try_from(seq).unwrap_or_default(),
        at: Timestamp::from_millis(decode::int(row, 2)?.unwrap_or_default()),
        op: FeedOp::from_row(&decode::text(row, 4)?.unwrap_or_default()),
        name: decode::text(row, 5)?.unwrap_or_default(),
        origin: decode::text(row, 6)?,
    })
}

#[async_trait]
impl FeedReader for Reader {
    async fn poll(&mut self, limit: u32) -> Result<FeedPoll> {
        let limit = limit.max(1);
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let boot = SystemClock.boot();
        let asked_for = self.holes.ranges(ASK_FOR);
        let ranges = asked_for.clone().unwrap_or_default();
        let room = room(ranges.len());
        let Some((_, statement)) = self.polls.iter().find(|(size, _)| *size == room) else {
            return Ok(FeedPoll::default());
        };
        let mut params = params![self.high, i64::from(limit)];
        for n in 0..room {
            // What is left of the room asks for the last one again.
            if let Some((first, last)) = ranges.get(n).or(ranges.last()) {
                params.extend(params![*first, *last]);
            }
        }
        let mut answer = self.answer(statement, params).await?;
        if self.is_another(&answer) {
            self.begin().await?;
            return Ok(FeedPoll { lost: true, more: true, ..FeedPoll::default() });
        }
        let mut events = std::mem::take(&mut answer.events);
        // Each of the two parts of the answer was limited.
        let is_late = |e: &FeedEvent| i64::try_from(e.seq).is_ok_and(|seq| seq <= self.high);
        let late = events.iter().filter(|e| is_late(e)).count();
        let mut more = late >= wanted || events.len() - late >= wanted;
        if asked_for.is_none() {
            // After the heartbeat was read, so nothing that it covers is left out.
            let late = self.filled(wanted.min(ROWS_AT_ONCE)).await?;
            if let Some(last) = late.last().filter(|_| late.len() >= wanted.min(ROWS_AT_ONCE)) {
                // Of a transaction that was cut off here, nothing that comes later is told yet.
                more = true;
                events.retain(|e| e.seq <= last.seq);
            }
            events.extend(late);
        }
        events.sort_unstable_by_key(|e| e.seq);
        more |= events.len() > wanted;
        events.truncate(wanted);
        self.note(&events, boot);

        // Rows are trimmed long after they became visible: what was trimmed above all that was told
        // was never told.
        let lost = answer.trimmed > self.told;
        self.told = self.told.max(self.high).max(answer.trimmed);
        let is_fed = answer.is_fed && self.has_triggers(boot).await? && !self.server.is_degraded();
        let heartbeat = answer.heartbeat.filter(|_| is_fed && !more);
        Ok(FeedPoll { events, more, lost, heartbeat: heartbeat.map(Timestamp::from_nanos) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_has_room_for_holes() {
        assert_eq!((room(0), room(1), room(3), room(ASK_FOR)), (0, 1, 4, ASK_FOR));
        assert!(!poll(0).contains("?3"));
        let two = poll(2);
        assert!(two.contains("seq BETWEEN ?3 AND ?4 OR seq BETWEEN ?5 AND ?6 ORDER"), "{two}");
    }
}
