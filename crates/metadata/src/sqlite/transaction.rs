//! `Rows` on SQLite: one write transaction on the writer's connection.

use std::path::Path;

use ezdfs_core::{
    BaseRow, FilePath, Intent, IntentId, IntentState, Member, Name, NameHash, NamePrefix, NodeKind,
    NodeRow, Result, Timestamp, Token,
};
use sqlx::Sqlite;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};

use super::bind::{bind_node, bind_path, bind_work, bounds, clamp, json_hashes, prepared};
use super::sql::{NODES_AT_ONCE, Sql};
use super::{decode, error, packed};
use crate::change::TOUCH_EVERY;
use crate::place::{Place, below};
use crate::rows::{BasePage, Found, HoldCount, Intend, Rows};

/// Base rows in a page of `unhidden_below`.
const PAGE: u32 = 256;

/// A running write transaction.
pub(super) struct Transaction<'a> {
    pub(super) conn: &'a mut SqliteConnection,
    pub(super) sql: &'a Sql,
    pub(super) prefix: &'a NamePrefix,
    pub(super) file: &'a Path,
    /// A statement failed: SQLite may have ended the transaction, so nothing of it can be kept.
    /// `Some(true)` when the connection is of no further use.
    pub(super) failed: Option<bool>,
}

impl Transaction<'_> {
    fn fail(&mut self, what: &str, e: sqlx::Error) -> ezdfs_core::Error {
        self.failed = Some(error::is_broken(&e) || self.failed == Some(true));
        error::database(self.file, what, e)
    }

    pub(super) async fn run(
        &mut self,
        what: &str,
        query: Query<'_, Sqlite, SqliteArguments>,
    ) -> Result<u64> {
        match query.execute(&mut *self.conn).await {
            Ok(done) => Ok(done.rows_affected()),
            Err(e) => Err(self.fail(what, e)),
        }
    }

    /// Writes that a member is alive, and forgets those whose lease ended before `forget`.
    pub(super) async fn announce(
        &mut self,
        member: &Member,
        now: Timestamp,
        lease_end: Timestamp,
        forget: Timestamp,
    ) -> Result<u64> {
        for text in [decode::RENEW_MEMBER, decode::ADD_MEMBER] {
            let query = sqlx::query(text)
                .bind(member.name.clone())
                .bind(member.owner.clone())
                .bind(lease_end.nanos())
                .bind(now.nanos())
                .bind(decode::feed_seq(member))
                .bind(member.version.clone());
            if self.run("announce a member", query).await? > 0 {
                break;
            }
        }
        let query = sqlx::query(decode::FORGET_MEMBERS).bind(forget.nanos());
        self.run("forget members", query).await
    }

    pub(super) async fn rows<T>(
        &mut self,
        what: &str,
        query: Query<'_, Sqlite, SqliteArguments>,
        decode: impl Fn(&SqliteRow) -> Result<T, sqlx::Error>,
    ) -> Result<Vec<T>> {
        let rows = match query.fetch_all(&mut *self.conn).await {
            Ok(rows) => rows,
            Err(e) => return Err(self.fail(what, e)),
        };
        rows.iter()
            .map(decode)
            .collect::<Result<Vec<T>, _>>()
            .map_err(|e| error::database(self.file, what, e))
    }

    /// The first column of the first row.
    pub(super) async fn number(
        &mut self,
        what: &str,
        query: Query<'_, Sqlite, SqliteArguments>,
    ) -> Result<i64> {
        let found = self.rows(what, query, |r| decode::int(r, 0)).await?;
        Ok(found.into_iter().flatten().next().unwrap_or_default())
    }
}

impl Rows for Transaction<'_> {
    async fn find(&mut self, names: &[Name], _: Intend, with_below: bool) -> Result<Found> {
        let hashes: Vec<NameHash> = names.iter().map(Name::hash).collect();
        let range =
            names.first().filter(|_| with_below).and_then(|name| below(name.as_str())).unzip();
        let sql = self.sql;
        let query =
            prepared(&sql.find).bind(json_hashes(hashes.iter())).bind(range.0).bind(range.1);
        let decoded = self
            .rows("look up rows", query, |row| {
                Ok((packed::unpack(row)?, decode::int(row, 1)? == Some(1)))
            })
            .await?;
        let mut found = Found::default();
        found.rows.resize_with(names.len(), Default::default);
        for (rows, below) in decoded {
            found.below = below;
            for row in rows {
                if let Some(slot) = found.rows.get_mut(row.key) {
                    *slot = row.stored;
                }
            }
        }
        Ok(found)
    }

    async fn unhidden_below(&mut self, name: &Name, after: Option<&[u8]>) -> Result<BasePage> {
        let (low, high) = bounds(name.as_str());
        let sql = self.sql;
        let text = match (&high, after) {
            (None, _) => &sql.unhidden_all,
            (Some(_), None) => &sql.unhidden_first,
            (Some(_), Some(_)) => &sql.unhidden_after,
        };
        let start = after.map_or(low.into_bytes(), <[u8]>::to_vec);
        let query = prepared(text).bind(start).bind(high).bind(PAGE);
        let page = self
            .rows("read a directory", query, |row| {
                let hash = decode::text(row, decode::BEHIND)?;
                Ok((decode::stored(row)?, hash, decode::name_bytes(row)?))
            })
            .await?;
        let is_full = u32::try_from(page.len()).is_ok_and(|n| n >= PAGE);
        let last = page.last().map(|(_, _, name)| name.clone());
        let rows = page
            .into_iter()
            .filter_map(|(stored, hash, _)| {
                let base = stored.base?;
                (hash? == Name::from_row(&base.name).hash().to_hex()).then_some((base, stored.node))
            })
            .collect();
        Ok(BasePage { rows, next: last.filter(|_| is_full) })
    }

    async fn put_base(&mut self, hash: NameHash, row: &BaseRow) -> Result<()> {
        let sql = self.sql;
        let query = prepared(&sql.put_base)
            .bind(hash.to_hex())
            .bind(row.name.clone())
            .bind(row.datatype.clone())
            .bind(row.scope.clone())
            .bind(clamp(row.size))
            .bind(row.mtime);
        self.run("write a row", query).await.map(drop)
    }

    async fn hide_base(&mut self, name: &Name) -> Result<()> {
        let sql = self.sql;
        let query =
            prepared(&sql.hide_base).bind(name.hash().to_hex()).bind(name.as_str().to_owned());
        self.run("soft-delete a row", query).await.map(drop)
    }

    async fn delete_file(&mut self, name: &Name) -> Result<()> {
        let hash = name.hash().to_hex();
        let place = Place::of(name.as_str());
        let sql = self.sql;
        let query = prepared(&sql.delete_base).bind(hash.clone()).bind(name.as_str().to_owned());
        self.run("delete a row", query).await?;
        let query = sqlx::query(
            "DELETE FROM ezdfs_node WHERE path_hash = ? AND kind = ? AND parent_hash = ? AND basename = ?",
        )
        .bind(hash)
        .bind(NodeKind::File.as_str())
        .bind(place.parent.to_hex())
        .bind(place.basename.to_owned());
        self.run("delete an entry", query).await.map(drop)
    }

    async fn put_nodes(&mut self, nodes: &[(NameHash, NodeRow)]) -> Result<()> {
        let sql = self.sql;
        for chunk in nodes.chunks(NODES_AT_ONCE) {
            if chunk.len() == NODES_AT_ONCE {
                let query = chunk
                    .iter()
                    .fold(prepared(&sql.put_nodes), |q, (hash, node)| bind_node(q, hash, node));
                self.run("write entries", query).await?;
            } else {
                for (hash, node) in chunk {
                    let query = bind_node(prepared(&sql.put_node), hash, node);
                    self.run("write an entry", query).await?;
                }
            }
        }
        Ok(())
    }

    async fn delete_nodes(&mut self, hashes: &[NameHash]) -> Result<()> {
        let query = sqlx::query(
            "DELETE FROM ezdfs_node WHERE path_hash IN (SELECT value FROM json_each(?))",
        )
        .bind(json_hashes(hashes.iter()));
        self.run("delete entries", query).await.map(drop)
    }

    async fn delete_dirs_below(&mut self, hash: NameHash) -> Result<()> {
        let query = sqlx::query(
            "WITH RECURSIVE tree (hash) AS ( \
               SELECT path_hash FROM ezdfs_node WHERE parent_hash = ?1 AND kind = 'dir' \
               UNION \
               SELECT n.path_hash FROM tree JOIN ezdfs_node n ON n.parent_hash = tree.hash \
               WHERE n.kind = 'dir') \
             DELETE FROM ezdfs_node WHERE path_hash IN (SELECT hash FROM tree)",
        )
        .bind(hash.to_hex());
        self.run("delete directories", query).await.map(drop)
    }

    async fn has_subdir(&mut self, hash: NameHash) -> Result<bool> {
        let query = sqlx::query(
            "SELECT EXISTS (SELECT 1 FROM ezdfs_node WHERE parent_hash = ? AND kind <> 'file')",
        )
        .bind(hash.to_hex());
        Ok(self.number("look for directories", query).await? == 1)
    }

    async fn touch_dirs(&mut self, hashes: &[NameHash], now: Timestamp) -> Result<()> {
        let query = sqlx::query(
            "UPDATE ezdfs_node SET mtime_ns = ?2, ctime_ns = ?2 \
             WHERE path_hash IN (SELECT value FROM json_each(?1)) AND kind = 'dir' \
             AND mtime_ns <= ?3",
        )
        .bind(json_hashes(hashes.iter()))
        .bind(now.nanos())
        .bind(now.minus(TOUCH_EVERY).nanos());
        self.run("touch directories", query).await.map(drop)
    }

    async fn count_holds(&mut self, token: Token) -> Result<HoldCount> {
        // By index: a directory delete queues thousands of reaps under the token of its hold.
        let query = sqlx::query(
            "SELECT (SELECT count(*) FROM ezdfs_pending WHERE token = ?1 AND state = 'held'), \
             EXISTS (SELECT 1 FROM ezdfs_pending WHERE token = ?1 AND state = 'ended')",
        )
        .bind(token.to_string());
        let counts = self
            .rows("check a hold", query, |row| {
                let count = |at| {
                    Ok::<_, sqlx::Error>(
                        decode::int(row, at)?.and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
                    )
                };
                Ok(HoldCount { held: count(0)?, ended: count(1)? })
            })
            .await?;
        Ok(counts.into_iter().next().unwrap_or(HoldCount { held: 0, ended: 0 }))
    }

    async fn blocker(&mut self, path: &FilePath, subtree: bool) -> Result<Option<Intent>> {
        let sql = self.sql;
        let query = bind_path(prepared(&sql.blocker), self.prefix, path, subtree);
        let found = self.rows("look for holders", query, |row| Ok(decode::intent(row))).await?;
        found.into_iter().next().transpose()
    }

    async fn add_intent(&mut self, intent: &Intent) -> Result<bool> {
        let hold = (intent.state == IntentState::Held)
            .then(|| self.prefix.name(&intent.path).hash().to_hex());
        let sql = self.sql;
        let path = bind_path(prepared(&sql.add_intent), self.prefix, &intent.path, intent.subtree);
        let query = path
            .bind(intent.path.as_str().to_owned())
            .bind(intent.work.kind().as_str())
            .bind(intent.token.to_string())
            .bind(intent.owner.clone())
            .bind(decode::state_text(intent.state))
            .bind(hold)
            .bind(intent.lease_end.nanos());
        let added = self.run("store pending work", bind_work(query, intent)).await?;
        Ok(added == 1)
    }

    async fn end_hold(&mut self, token: Token, keep: bool) -> Result<()> {
        let query = if keep {
            sqlx::query(
                "UPDATE ezdfs_pending SET state = 'ended', hold = NULL \
                 WHERE token = ? AND state = 'held'",
            )
        } else {
            sqlx::query("DELETE FROM ezdfs_pending WHERE token = ? AND state = 'held'")
        };
        self.run("end a hold", query.bind(token.to_string())).await.map(drop)
    }

    async fn renew(&mut self, token: Token, lease_end: Timestamp) -> Result<u64> {
        let query = sqlx::query(
            "UPDATE ezdfs_pending SET lease_end = ? WHERE token = ? AND state = 'held'",
        )
        .bind(lease_end.nanos())
        .bind(token.to_string());
        self.run("renew a lease", query).await
    }

    async fn forget(&mut self, id: IntentId) -> Result<()> {
        let query = sqlx::query("DELETE FROM ezdfs_pending WHERE id = ?").bind(id.0);
        self.run("forget pending work", query).await.map(drop)
    }
}
