//! Queries. Each is one statement, so each sees one moment.

use ezdfs_core::{
    DirPath, Figures, FilePath, Intent, IntentState, Page, Record, Result, ScanPage, Stray,
    Timestamp, Token, Tombstone,
};

use super::Server;
use super::bind::{self, range};
use super::dialect::Dialect;
use super::statement::{Param, Statement, params};
use crate::decode::{self, Fields as _, state_text};
use crate::page::{LIST_AT_ONCE, listing, usable};
use crate::rows::Stored;

impl<D: Dialect> Server<D> {
    pub(super) async fn foreign_waits(&self) -> Result<bool> {
        let rows = self.query("read the change feed", &self.sql.foreign_waits, vec![]).await?;
        Ok(!rows.is_empty())
    }

    pub(super) async fn read_record(&self, path: &FilePath) -> Result<Record> {
        let name = self.options.prefix.name(path);
        let params = params![name.hash().to_hex()];
        let found =
            self.decode("load a file", &self.sql.record, params, |row| decode::stored(&row));
        let stored = found.await?.into_iter().next().unwrap_or_default();
        Ok(Record::new(name.as_str(), stored.base, stored.node))
    }

    pub(super) async fn read_list(
        &self,
        dir: &DirPath,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page> {
        let limit = limit.clamp(1, LIST_AT_ONCE);
        let now = self.database_time().await?;
        let prefix = &self.options.prefix;
        let params = params![
            prefix.dir_name(dir).hash().to_hex(),
            after.unwrap_or_default(),
            i64::from(limit)
        ];
        let rows = self.decode("list a directory", &self.sql.list, params, |row| {
            Ok((decode::text(&row, decode::BASENAME)?, decode::stored(&row)?))
        });
        Ok(listing(prefix, dir, rows.await?, limit, now))
    }

    /// In the order of hashes, the one order that every base table has an index for.
    pub(super) async fn read_scan(
        &self,
        dir: &DirPath,
        after: Option<&str>,
        limit: u32,
    ) -> Result<ScanPage> {
        let limit = limit.max(1);
        let after = after.unwrap_or_default();
        let dir = self.options.prefix.dir_name(dir);
        let (statement, params) = match range(dir.as_str()) {
            None => (&self.sql.scan_all, params![after, i64::from(limit)]),
            Some(range) => {
                (&self.sql.scan, params![after, range.low, range.high, range.dir, i64::from(limit)])
            }
        };
        let rows = self.decode("walk the table", statement, params, |row| {
            Ok((decode::text(&row, decode::BEHIND)?, decode::stored(&row)?))
        });
        let rows = rows.await?;
        let is_full = u32::try_from(rows.len()).is_ok_and(|n| n >= limit);
        let next = rows.last().filter(|_| is_full).and_then(|(hash, _)| hash.clone());
        let rows = rows.into_iter().filter_map(|(hash, Stored { base, node })| {
            Some(usable(&self.options.prefix, hash.as_deref(), base?, node))
        });
        Ok(ScanPage { rows: rows.collect(), next })
    }

    pub(super) async fn read_tombstones(
        &self,
        dir: &DirPath,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Tombstone>> {
        let limit = limit.max(1);
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let dir = self.options.prefix.dir_name(dir);
        let range = range(dir.as_str());
        let mut start = after.unwrap_or_default().to_owned();
        let mut tombstones = Vec::new();
        loop {
            let (statement, params) = match &range {
                None => (&self.sql.tombstones_all, params![start.as_str(), i64::from(limit)]),
                Some(range) => (
                    &self.sql.tombstones,
                    params![
                        start.as_str(),
                        range.low.as_str(),
                        range.high.as_str(),
                        range.dir.as_str(),
                        i64::from(limit)
                    ],
                ),
            };
            let rows = self.decode("list soft-deleted files", statement, params, |row| {
                Ok((decode::text(&row, decode::BEHIND)?, decode::stored(&row)?))
            });
            let rows = rows.await?;
            let is_full = rows.len() >= wanted;
            for (hash, Stored { base, node }) in rows {
                let Some(base) = base else { continue };
                start.clone_from(&base.name);
                let prefix = &self.options.prefix;
                if let Ok((path, record)) = usable(prefix, hash.as_deref(), base, node) {
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
        let range = range(self.options.prefix.as_str());
        let (is_bound, low, high) = match range {
            Some(range) => (true, range.low, range.high),
            None => (false, String::new(), String::new()),
        };
        let params = params![before.millis(), is_bound, low, high, i64::from(limit.max(1))];
        let rows = self.decode("look for expired files", &self.sql.expired, params, |row| {
            Ok((decode::text(&row, decode::BEHIND)?, decode::stored(&row)?))
        });
        let prefix = &self.options.prefix;
        let rows = rows.await?.into_iter().filter_map(|(hash, Stored { base, node })| {
            usable(prefix, hash.as_deref(), base?, node).ok()
        });
        Ok(rows.collect())
    }

    async fn intents(
        &self,
        what: &str,
        statement: &Statement,
        params: Vec<Param>,
    ) -> Result<Vec<Intent>> {
        self.query(what, statement, params).await?.iter().map(decode::intent).collect()
    }

    pub(super) async fn read_intents_on(&self, path: &FilePath) -> Result<Vec<Intent>> {
        let mut params = bind::place(&self.options.prefix, path, false);
        params.truncate(2);
        self.intents("look for pending work", &self.sql.intents_on, params).await
    }

    pub(super) async fn read_intents_of(&self, token: Token) -> Result<Vec<Intent>> {
        let params = params![token.to_string()];
        self.intents("look for pending work", &self.sql.intents_of, params).await
    }

    pub(super) async fn read_strays(&self, after: Option<&str>, limit: u32) -> Result<Vec<Stray>> {
        let params = params![after.unwrap_or_default(), i64::from(limit.max(1))];
        let strays = self.decode("read the entries", &self.sql.orphans, params, |row| {
            let text = |at| Ok::<_, sqlx::Error>(decode::text(&row, at)?.unwrap_or_default());
            Ok(Stray { hash: text(0)?, basename: text(1)? })
        });
        strays.await
    }

    pub(super) async fn read_due(
        &self,
        state: IntentState,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<Intent>> {
        let (prefix, before) = (self.options.prefix.as_str(), before.nanos());
        let limit = i64::from(limit.max(1));
        let (statement, params) = match state {
            IntentState::Held | IntentState::Ended => {
                (&self.sql.due_lease, params![prefix, state_text(state), before, limit])
            }
            IntentState::Queued => (&self.sql.due_queue, params![prefix, before, limit]),
        };
        self.intents("look for due work", statement, params).await
    }

    pub(super) async fn read_figures(&self) -> Result<Figures> {
        let now = self.database_time().await?;
        let prefix = self.options.prefix.as_str();
        let what = "count files";
        let (statement, params) = match range(prefix) {
            None => (&self.sql.figures_files_all, params![now.millis()]),
            Some(range) => {
                (&self.sql.figures_files, params![range.low, range.high, range.dir, now.millis()])
            }
        };
        let [rows, files, bytes] =
            self.numbers(what, &self.query(what, statement, params).await?)?;
        let what = "count directories";
        let root = self.options.prefix.dir_name(&DirPath::root()).hash().to_hex();
        let found = self.query(what, &self.sql.figures_dirs, params![root]).await?;
        let [directories] = self.numbers(what, &found)?;
        let what = "count pending work";
        let params = params![prefix, now.nanos()];
        let found = self.query(what, &self.sql.figures_pending, params).await?;
        let [held, overdue, reaps] = self.numbers(what, &found)?;
        let what = "count foreign changes";
        let found = self.query(what, &self.sql.foreign_count, vec![]).await?;
        let [feed_lag] = self.numbers(what, &found)?;
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

    /// A value of `ezdfs_meta`.
    pub(crate) async fn meta(&self, key: &str) -> Result<Option<String>> {
        let found = self.decode("read the schema", &self.sql.meta, params![key], |row| {
            Ok(row.bytes(0)?.map(|b| String::from_utf8_lossy(b).into_owned()))
        });
        Ok(found.await?.into_iter().next().flatten())
    }
}
