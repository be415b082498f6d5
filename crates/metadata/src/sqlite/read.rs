//! Queries on the read connections. Each is one statement, so each sees one moment.

use ezdfs_core::{
    BaseRow, DirPath, Figures, FilePath, Intent, IntentState, MemberState, Name, Page, Record,
    Result, ScanPage, Stray, Timestamp, Token, Tombstone,
};
use sqlx::Sqlite;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};

use super::bind::{bind_path, bounds, prepared};
use super::{SqliteMetadata, decode, error, feed, packed};
use crate::rows::Stored;

/// Most entries of one page: a page is held in memory at once.
const LIST_AT_ONCE: u32 = 10_000;

impl SqliteMetadata {
    async fn rows(
        &self,
        what: &str,
        query: Query<'_, Sqlite, SqliteArguments>,
    ) -> Result<Vec<SqliteRow>> {
        query.fetch_all(&self.readers).await.map_err(|e| error::database(&self.file, what, e))
    }

    fn decoded<T>(&self, what: &str, decoded: Result<T, sqlx::Error>) -> Result<T> {
        decoded.map_err(|e| error::database(&self.file, what, e))
    }

    /// The numbers of the first row.
    async fn numbers<const N: usize>(
        &self,
        what: &str,
        query: Query<'_, Sqlite, SqliteArguments>,
    ) -> Result<[u64; N]> {
        let mut numbers = [0; N];
        if let Some(row) = self.rows(what, query).await?.first() {
            for (at, number) in numbers.iter_mut().enumerate() {
                let found = self.decoded(what, decode::int(row, at))?.unwrap_or_default();
                *number = u64::try_from(found).unwrap_or_default();
            }
        }
        Ok(numbers)
    }

    pub(super) async fn foreign_waits(&self) -> Result<bool> {
        let [waits] =
            self.numbers("read the change feed", sqlx::query(feed::FOREIGN_WAITS)).await?;
        Ok(waits == 1)
    }

    pub(super) async fn read_record(&self, path: &FilePath) -> Result<Record> {
        let what = "load a file";
        let name = self.options.prefix.name(path);
        let query = prepared(&self.sql.record).bind(name.hash().to_hex());
        let row = query
            .fetch_optional(&self.readers)
            .await
            .map_err(|e| error::database(&self.file, what, e))?;
        let stored = match row {
            Some(row) => self.decoded(what, decode::stored(&row))?,
            None => Stored::default(),
        };
        Ok(Record::new(name.as_str(), stored.base, stored.node))
    }

    pub(super) async fn read_list(
        &self,
        dir: &DirPath,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page> {
        let what = "list a directory";
        let limit = limit.clamp(1, LIST_AT_ONCE);
        let now = self.clock.now();
        let query = prepared(&self.sql.list)
            .bind(self.options.prefix.dir_name(dir).hash().to_hex())
            .bind(after.unwrap_or_default().to_owned())
            .bind(limit);
        let mut rows = Vec::new();
        for row in self.rows(what, query).await? {
            rows.append(&mut self.decoded(what, packed::unpack(&row))?);
        }
        // SQLite aggregates in the order of the walk but does not promise it.
        rows.sort_by(|a, b| a.basename.cmp(&b.basename));
        let is_full = u32::try_from(rows.len()).is_ok_and(|n| n >= limit);
        let mut page = Page { entries: Vec::with_capacity(rows.len()), next: None };
        if is_full {
            page.next = rows.last().and_then(|row| row.basename.clone());
        }
        for row in rows {
            let (Some(basename), Some(_)) = (row.basename, &row.stored.node) else { continue };
            let path = match dir.join(&basename) {
                Ok(path) => path,
                Err(e) => {
                    tracing::warn!(%dir, basename, error = %e, "an entry with a name that cannot be served is passed over");
                    continue;
                }
            };
            let name = self.options.prefix.name(&path);
            let Stored { base, node } = row.stored;
            page.entries.extend(Record::new(name.as_str(), base, node).entry(&path, now));
        }
        Ok(page)
    }

    pub(super) async fn read_scan(
        &self,
        dir: &DirPath,
        after: Option<&str>,
        limit: u32,
    ) -> Result<ScanPage> {
        let what = "walk the table";
        let limit = limit.max(1);
        let (low, high) = bounds(self.options.prefix.dir_name(dir).as_str());
        let after = after.filter(|after| *after >= low.as_str());
        let text = match (&high, after) {
            (None, _) => &self.sql.scan_all,
            (Some(_), None) => &self.sql.scan_first,
            (Some(_), Some(_)) => &self.sql.scan_after,
        };
        let mut start = after.unwrap_or(&low).as_bytes().to_vec();
        let mut text = text;
        let mut page = ScanPage { rows: Vec::new(), next: None };
        loop {
            let query = prepared(text).bind(start).bind(high.clone()).bind(limit);
            let rows = self.rows(what, query).await?;
            let is_full = u32::try_from(rows.len()).is_ok_and(|n| n >= limit);
            for row in &rows {
                let stored = self.decoded(what, decode::stored(row))?;
                let hash = self.decoded(what, decode::text(row, decode::BEHIND))?;
                let Some(base) = stored.base else { continue };
                page.rows.push(self.usable(hash.as_deref(), base, stored.node));
            }
            let Some(last) = rows.last().filter(|_| is_full) else { return Ok(page) };
            start = self.decoded(what, decode::name_bytes(last))?;
            // A name that is no UTF-8 cannot be a cursor: the page goes on behind it.
            if let Ok(name) = std::str::from_utf8(&start) {
                page.next = Some(name.to_owned());
                return Ok(page);
            }
            if high.is_some() {
                text = &self.sql.scan_after;
            }
        }
    }

    /// A row that readers can reach: its path follows rules K and its hash is the name's.
    fn usable(
        &self,
        hash: Option<&str>,
        base: BaseRow,
        node: Option<ezdfs_core::NodeRow>,
    ) -> Result<(FilePath, Record), BaseRow> {
        let name = Name::from_row(&base.name);
        let path = self.options.prefix.path_of(&base.name).and_then(std::result::Result::ok);
        match path.filter(|_| hash == Some(name.hash().to_hex().as_str())) {
            Some(path) => Ok((path, Record::new(name.as_str(), Some(base), node))),
            None => Err(base),
        }
    }

    pub(super) async fn read_tombstones(
        &self,
        dir: &DirPath,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Tombstone>> {
        let what = "list soft-deleted files";
        let limit = limit.max(1);
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let (low, high) = bounds(self.options.prefix.dir_name(dir).as_str());
        let text = if high.is_some() { &self.sql.tombstones } else { &self.sql.tombstones_all };
        let after = after.filter(|after| *after >= low.as_str());
        let mut start = after.unwrap_or(&low).as_bytes().to_vec();
        let mut tombstones = Vec::new();
        loop {
            let query = prepared(text).bind(start.clone()).bind(high.clone()).bind(limit);
            let rows = self.rows(what, query).await?;
            let is_full = rows.len() >= wanted;
            for row in &rows {
                let stored = self.decoded(what, decode::stored(row))?;
                let hash = self.decoded(what, decode::text(row, decode::BEHIND))?;
                let Some(base) = stored.base else { continue };
                start = self.decoded(what, decode::name_bytes(row))?;
                if let Ok((path, record)) = self.usable(hash.as_deref(), base, stored.node) {
                    tombstones.push(Tombstone { path, record });
                }
                if tombstones.len() == wanted {
                    return Ok(tombstones);
                }
            }
            // Rows that cannot be used must not end the walk early.
            if !is_full {
                return Ok(tombstones);
            }
        }
    }

    pub(super) async fn read_expired(
        &self,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<(FilePath, Record)>> {
        let what = "look for expired files";
        let prefix = self.options.prefix.as_str();
        let (low, high) = bounds(prefix);
        let query = prepared(&self.sql.expired)
            .bind(before.millis())
            .bind(prefix.to_owned())
            .bind(low)
            .bind(high)
            .bind(limit.max(1));
        let mut found = Vec::new();
        for row in self.rows(what, query).await? {
            let stored = self.decoded(what, decode::stored(&row))?;
            let hash = self.decoded(what, decode::text(&row, decode::BEHIND))?;
            let Some(base) = stored.base else { continue };
            found.extend(self.usable(hash.as_deref(), base, stored.node).ok());
        }
        Ok(found)
    }

    async fn intents(
        &self,
        what: &str,
        query: Query<'_, Sqlite, SqliteArguments>,
    ) -> Result<Vec<Intent>> {
        self.rows(what, query).await?.iter().map(decode::intent).collect()
    }

    pub(super) async fn read_intents_on(&self, path: &FilePath) -> Result<Vec<Intent>> {
        let query = bind_path(prepared(&self.sql.intents_on), &self.options.prefix, path, false);
        self.intents("look for pending work", query).await
    }

    pub(super) async fn read_intents_of(&self, token: Token) -> Result<Vec<Intent>> {
        let query = prepared(&self.sql.intents_of).bind(token.to_string());
        self.intents("look for pending work", query).await
    }

    pub(super) async fn read_strays(&self, after: Option<&str>, limit: u32) -> Result<Vec<Stray>> {
        let what = "read the entries";
        let after = after.unwrap_or_default().to_owned();
        let query = prepared(&self.sql.strays).bind(after).bind(limit.max(1));
        let mut strays = Vec::new();
        for row in self.rows(what, query).await? {
            let text = |at| {
                let text = self.decoded(what, decode::text(&row, at))?;
                Ok::<_, ezdfs_core::Error>(text.unwrap_or_default())
            };
            strays.push(Stray { hash: text(0)?, basename: text(1)? });
        }
        Ok(strays)
    }

    pub(super) async fn read_due(
        &self,
        state: IntentState,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<Intent>> {
        let text = match state {
            IntentState::Held | IntentState::Ended => &self.sql.due_lease,
            IntentState::Queued => &self.sql.due_queue,
        };
        let query = prepared(text)
            .bind(self.options.prefix.as_str().to_owned())
            .bind(decode::state_text(state))
            .bind(before.nanos())
            .bind(limit.max(1));
        self.intents("look for due work", query).await
    }

    pub(super) async fn read_members(&self) -> Result<Vec<MemberState>> {
        let what = "list members";
        let rows = self.rows(what, sqlx::query(decode::MEMBERS)).await?;
        rows.iter().map(|row| self.decoded(what, decode::member(row))).collect()
    }

    pub(super) async fn read_figures(&self) -> Result<Figures> {
        let now = self.clock.now();
        let prefix = self.options.prefix.as_str();
        let (low, high) = bounds(prefix);
        let text =
            if high.is_some() { &self.sql.figures_files } else { &self.sql.figures_files_all };
        let query = prepared(text).bind(low).bind(high).bind(now.millis());
        let [rows, files, bytes] = self.numbers("count files", query).await?;
        let root = self.options.prefix.dir_name(&DirPath::root());
        let query = sqlx::query(
            "WITH RECURSIVE tree (hash) AS (SELECT ?1 UNION \
               SELECT n.path_hash FROM tree JOIN ezdfs_node n ON n.parent_hash = tree.hash \
               WHERE n.kind = 'dir') SELECT count(*) - 1 FROM tree",
        )
        .bind(root.hash().to_hex());
        let [directories] = self.numbers("count directories", query).await?;
        let query = sqlx::query(
            "SELECT coalesce(sum(state = 'held'), 0), \
             coalesce(sum(state = 'held' AND lease_end <= ?2), 0), \
             coalesce(sum(state = 'queued' AND kind = 'reap'), 0) \
             FROM ezdfs_pending WHERE prefix = ?1",
        )
        .bind(prefix.to_owned())
        .bind(now.nanos());
        let [held, overdue, reaps] = self.numbers("count pending work", query).await?;
        let [feed_lag] =
            self.numbers("count foreign changes", sqlx::query(feed::FOREIGN_COUNT)).await?;
        Ok(Figures {
            files,
            bytes,
            hidden: rows.saturating_sub(files),
            directories,
            held,
            overdue,
            reaps,
            feed_lag,
        })
    }
}
