//! `Rows` on a server: one write transaction.
//!
//! Others write at the same time. What was found stays true until the commit because it is locked:
//! rows that are about to be changed for us alone, directories above them so that nobody removes
//! them. Rows that are not there cannot be locked: they are inserted, never updated, and if
//! somebody was faster the whole transaction runs again. Node rows are locked before base rows, in
//! the order of their hashes. Base rows are locked only where one is compared or replaced, so that
//! a PHP node hardly ever waits for us.

use std::collections::{BTreeMap, BTreeSet};

use ezdfs_core::{
    BaseRow, FilePath, Intent, IntentId, IntentState, Name, NameHash, NodeKind, NodeRow, Result,
    Timestamp, Token,
};

use super::bind::{self, hexes};
use super::dialect::{Dialect, Fault};
use super::sql::NODES_AT_ONCE;
use super::statement::{Param, Statement, params};
use super::{Server, write};
use crate::decode;
use crate::place::Place;
use crate::rows::{BasePage, Found, HoldCount, Intend, Rows, Stored};

/// Base rows in a page of `unhidden_below`.
const PAGE: u32 = 256;
/// Hashes of one statement.
const AT_ONCE: usize = 512;
/// Behind every name.
const HIGHEST: &str = "\u{10ffff}";

/// A running write transaction.
pub(super) struct Transaction<'a, D: Dialect> {
    pub(super) server: &'a Server<D>,
    conn: &'a mut D::Conn,
    pub(super) now: Timestamp,
    /// Names whose node row was looked for, and whether there is one.
    seen: BTreeMap<NameHash, bool>,
    /// Directories whose mtime moves right after the commit.
    pub(super) touched: Vec<String>,
    /// The first statement that failed: the transaction cannot go on.
    pub(super) failed: Option<Fault>,
}

impl<'a, D: Dialect> Transaction<'a, D> {
    pub(super) fn new(server: &'a Server<D>, conn: &'a mut D::Conn, now: Timestamp) -> Self {
        Self { server, conn, now, seen: BTreeMap::new(), touched: Vec::new(), failed: None }
    }

    fn fail(&mut self, what: &str, e: sqlx::Error) -> ezdfs_core::Error {
        self.failed.get_or_insert(D::fault(&e));
        self.server.connections.failed(what, e)
    }

    pub(super) async fn rows<T>(
        &mut self,
        what: &str,
        statement: &Statement,
        params: Vec<Param>,
        decode: impl Fn(&D::Row) -> Result<T, sqlx::Error>,
    ) -> Result<Vec<T>> {
        let rows = D::fetch(self.conn, statement, params).await.map_err(|e| self.fail(what, e))?;
        rows.iter().map(decode).collect::<Result<_, _>>().map_err(|e| self.fail(what, e))
    }

    pub(super) async fn run(
        &mut self,
        what: &str,
        statement: &Statement,
        params: Vec<Param>,
    ) -> Result<u64> {
        D::execute(self.conn, statement, params).await.map_err(|e| self.fail(what, e))
    }

    async fn exists(
        &mut self,
        what: &str,
        statement: &Statement,
        params: Vec<Param>,
    ) -> Result<bool> {
        Ok(!self.rows(what, statement, params, |_| Ok(())).await?.is_empty())
    }

    /// Rows of a statement whose hash stands behind the columns.
    async fn by_hash(
        &mut self,
        statement: &Statement,
        hashes: &[String],
    ) -> Result<BTreeMap<String, Stored>> {
        let mut all = BTreeMap::new();
        for some in hashes.chunks(AT_ONCE) {
            let rows = self
                .rows("read rows", statement, params![some.to_vec()], |row| {
                    let hash = decode::text(row, decode::BEHIND)?.unwrap_or_default();
                    Ok((hash, decode::stored(row)?))
                })
                .await?;
            all.extend(rows);
        }
        Ok(all)
    }

    /// Node rows by hash, locked.
    async fn nodes(&mut self, names: &[Name], intend: Intend) -> Result<BTreeMap<String, Stored>> {
        let server = self.server;
        let (change, keep) = match intend {
            Intend::ChangeAll => (names, &names[..0]),
            Intend::ChangeFirst => names.split_at(names.len().min(1)),
            Intend::Keep => (&names[..0], names),
        };
        let mut found = BTreeMap::new();
        for (names, statement) in
            [(change, &server.sql.nodes_change), (keep, &server.sql.nodes_keep)]
        {
            let mut hashes = hexes(names.iter().map(Name::hash).collect::<BTreeSet<_>>().iter());
            if hashes.is_empty() {
                continue;
            }
            hashes.dedup();
            found.append(&mut self.by_hash(statement, &hashes).await?);
        }
        for name in names {
            self.seen.insert(name.hash(), found.contains_key(&name.hash().to_hex()));
        }
        Ok(found)
    }

    /// Waits for whoever changes one of these entries, and keeps others from it.
    pub(super) async fn lock_nodes(&mut self, names: &[Name]) -> Result<()> {
        self.nodes(names, Intend::ChangeAll).await.map(drop)
    }

    /// Base rows by hash; the first locked if it is about to be changed.
    async fn bases(&mut self, names: &[Name], intend: Intend) -> Result<BTreeMap<String, Stored>> {
        let server = self.server;
        let first = usize::from(intend == Intend::ChangeFirst).min(names.len());
        let mut found = BTreeMap::new();
        for (names, statement) in
            [(&names[..first], &server.sql.bases_change), (&names[first..], &server.sql.bases)]
        {
            if !names.is_empty() {
                let hashes = hexes(names.iter().map(Name::hash).collect::<Vec<_>>().iter());
                found.append(&mut self.by_hash(statement, &hashes).await?);
            }
        }
        Ok(found)
    }

    /// Rows of names that the materialiser has not seen yet, below a name.
    async fn unseen_below(&mut self, name: &Name, after: &str, limit: u32) -> Result<Part> {
        let (low, high) = bind::range(name.as_str())
            .map_or((String::new(), HIGHEST.to_owned()), |range| (range.low, range.high));
        let server = self.server;
        let params = params![low, high, after, i64::from(limit)];
        let rows = self.rows("read a directory", &server.sql.unseen_below, params, with_hash);
        Ok(Part::of(rows.await?))
    }

    /// Where no trigger does so, tells the feed of a change of our own.
    async fn tell(&mut self, op: &str, name: &Name) -> Result<()> {
        let server = self.server;
        if !server.is_degraded {
            return Ok(());
        }
        let params = params![
            op,
            name.hash().to_hex(),
            name.as_str(),
            Some(server.options.origin.clone()),
            self.now.millis()
        ];
        self.run("write to the change feed", &server.sql.tell, params).await.map(drop)
    }
}

type HashedRow = (Stored, Option<String>);

fn with_hash(row: &impl decode::Fields) -> Result<HashedRow, sqlx::Error> {
    Ok((decode::stored(row)?, decode::text(row, decode::BEHIND)?))
}

/// A base row that stands under the hash of its name.
fn own_hash((stored, hash): HashedRow) -> Option<(BaseRow, Option<NodeRow>)> {
    let base = stored.base?;
    (hash? == Name::from_row(&base.name).hash().to_hex()).then_some((base, stored.node))
}

impl<D: Dialect> Rows for Transaction<'_, D> {
    async fn find(&mut self, names: &[Name], intend: Intend, below: bool) -> Result<Found> {
        let Some(first) = names.first() else { return Ok(Found::default()) };
        let mut nodes = self.nodes(names, intend).await?;
        let mut bases = self.bases(names, intend).await?;
        let rows: Vec<Stored> = names
            .iter()
            .map(|name| {
                let hash = name.hash().to_hex();
                Stored {
                    base: bases.remove(&hash).and_then(|s| s.base),
                    node: nodes.remove(&hash).and_then(|s| s.node),
                }
            })
            .collect();
        let is_known = rows.first().is_some_and(|first| first.node.is_some());
        let below = below && !is_known && !self.unseen_below(first, "", 1).await?.rows.is_empty();
        Ok(Found { rows, below })
    }

    async fn unhidden_below(&mut self, name: &Name, after: Option<&[u8]>) -> Result<BasePage> {
        let after = String::from_utf8_lossy(after.unwrap_or_default()).into_owned();
        let server = self.server;
        let params = params![name.hash().to_hex(), after.as_str(), i64::from(PAGE)];
        let direct = self.rows("read a directory", &server.sql.files_in, params, with_hash).await?;
        let unseen = self.unseen_below(name, &after, PAGE).await?;
        Ok(merge(Part::of(direct), unseen))
    }

    async fn put_base(&mut self, hash: NameHash, row: &BaseRow) -> Result<()> {
        let server = self.server;
        let params = params![
            hash.to_hex(),
            row.name.clone(),
            row.datatype.clone(),
            row.scope.clone(),
            bind::clamp(row.size),
            row.mtime,
        ];
        self.run("write a row", &server.sql.put_base, params).await?;
        self.tell("update", &Name::from_row(&row.name)).await
    }

    async fn hide_base(&mut self, name: &Name) -> Result<()> {
        let server = self.server;
        let params = params![name.hash().to_hex(), name.as_str()];
        if self.run("soft-delete a row", &server.sql.hide_base, params).await? > 0 {
            self.tell("update", name).await?;
        }
        Ok(())
    }

    async fn delete_file(&mut self, name: &Name) -> Result<()> {
        let server = self.server;
        let place = Place::of(name.as_str());
        let params = params![
            name.hash().to_hex(),
            NodeKind::File.as_str(),
            place.parent.to_hex(),
            place.basename
        ];
        self.run("delete an entry", &server.sql.delete_node_of, params).await?;
        self.seen.remove(&name.hash());
        let params = params![name.hash().to_hex(), name.as_str()];
        if self.run("delete a row", &server.sql.delete_base, params).await? > 0 {
            self.tell("delete", name).await?;
        }
        Ok(())
    }

    async fn put_nodes(&mut self, nodes: &[(NameHash, NodeRow)]) -> Result<()> {
        let server = self.server;
        let mut nodes: Vec<&(NameHash, NodeRow)> = nodes.iter().collect();
        nodes.sort_by_key(|(hash, _)| *hash);
        nodes.dedup_by_key(|(hash, _)| *hash);
        let is_new = |(hash, _): &&(NameHash, NodeRow)| self.seen.get(hash) == Some(&false);
        let (new, others): (Vec<_>, Vec<_>) = nodes.into_iter().partition(is_new);
        let mut new = new.chunks_exact(NODES_AT_ONCE);
        for some in &mut new {
            let params = some.iter().flat_map(|(hash, node)| bind::node(*hash, node)).collect();
            self.run("write entries", &server.sql.insert_nodes, params).await?;
            self.seen.extend(some.iter().map(|(hash, _)| (*hash, true)));
        }
        for (hash, node) in new.remainder().iter().copied().chain(others) {
            let statement = match self.seen.get(hash) {
                Some(true) => &server.sql.update_node,
                Some(false) => &server.sql.insert_node,
                None => &server.sql.upsert_node,
            };
            self.run("write an entry", statement, bind::node(*hash, node)).await?;
            self.seen.insert(*hash, true);
        }
        Ok(())
    }

    async fn delete_nodes(&mut self, hashes: &[NameHash]) -> Result<()> {
        let server = self.server;
        for some in hashes.chunks(AT_ONCE) {
            self.run("delete entries", &server.sql.delete_nodes, params![hexes(some)]).await?;
        }
        self.seen.extend(hashes.iter().map(|hash| (*hash, false)));
        Ok(())
    }

    async fn delete_dirs_below(&mut self, hash: NameHash) -> Result<()> {
        let server = self.server;
        // From the leaves up: what leads to a file that is not hidden stays.
        loop {
            let params = params![hash.to_hex()];
            let empty = self.rows("look for directories", &server.sql.empty_dirs, params, |row| {
                Ok(decode::text(row, 0)?.unwrap_or_default())
            });
            let empty = empty.await?;
            if empty.is_empty() {
                return Ok(());
            }
            for some in empty.chunks(AT_ONCE) {
                let params = params![some.to_vec()];
                self.run("delete directories", &server.sql.delete_nodes, params).await?;
            }
            self.seen.clear();
        }
    }

    async fn has_subdir(&mut self, hash: NameHash) -> Result<bool> {
        let server = self.server;
        self.exists("look for directories", &server.sql.has_subdir, params![hash.to_hex()]).await
    }

    async fn touch_dirs(&mut self, hashes: &[NameHash], _now: Timestamp) -> Result<()> {
        for hash in hexes(hashes) {
            if !self.touched.contains(&hash) {
                self.touched.push(hash);
            }
        }
        Ok(())
    }

    async fn count_holds(&mut self, token: Token) -> Result<HoldCount> {
        let server = self.server;
        // By index: a directory delete queues thousands of reaps under the token of its hold.
        let states = vec!["held".to_owned(), "ended".to_owned()];
        let params = params![token.to_string(), states];
        let counts = self.rows("check a hold", &server.sql.count_holds, params, |row| {
            let count =
                |at| Ok::<_, sqlx::Error>(u64::try_from(write::number(row, at)?).unwrap_or(0));
            Ok(HoldCount { held: count(0)?, ended: count(1)? })
        });
        Ok(counts.await?.into_iter().next().unwrap_or(HoldCount { held: 0, ended: 0 }))
    }

    async fn blocker(&mut self, path: &FilePath, subtree: bool) -> Result<Option<Intent>> {
        let server = self.server;
        let params = bind::place(&server.options.prefix, path, subtree);
        let found = self
            .rows("look for holders", &server.sql.blocker, params, |row| Ok(decode::intent(row)))
            .await?;
        found.into_iter().next().transpose()
    }

    async fn add_intent(&mut self, intent: &Intent) -> Result<bool> {
        let server = self.server;
        let looks = !D::INSERT_LOOKS && intent.state == IntentState::Held;
        if looks && self.blocker(&intent.path, intent.subtree).await?.is_some() {
            return Ok(false);
        }
        let params = bind::intent(&server.options.prefix, intent);
        match D::execute(self.conn, &server.sql.add_intent, params).await {
            Ok(added) => Ok(added == 1),
            Err(e) if D::SURVIVES_FAILURE && D::fault(&e) == Fault::Duplicate => Ok(false),
            Err(e) => Err(self.fail("store pending work", e)),
        }
    }

    async fn end_hold(&mut self, token: Token, keep: bool) -> Result<()> {
        let server = self.server;
        let statement = if keep { &server.sql.keep_hold } else { &server.sql.end_hold };
        self.run("end a hold", statement, params![token.to_string()]).await.map(drop)
    }

    async fn renew(&mut self, token: Token, lease_end: Timestamp) -> Result<u64> {
        let server = self.server;
        let params = params![token.to_string(), lease_end.nanos()];
        self.run("renew a lease", &server.sql.renew, params).await
    }

    async fn forget(&mut self, id: IntentId) -> Result<()> {
        let server = self.server;
        self.run("forget pending work", &server.sql.forget, params![id.0]).await.map(drop)
    }
}

/// A page of one kind of rows, in byte order of names.
struct Part {
    rows: Vec<(BaseRow, Option<NodeRow>)>,
    /// The last name, if the page was cut off there.
    end: Option<String>,
}

impl Part {
    fn of(rows: Vec<HashedRow>) -> Self {
        let is_full = rows.len() >= usize::try_from(PAGE).unwrap_or(usize::MAX);
        let last = rows.last().and_then(|(stored, _)| stored.base.as_ref());
        let end = last.filter(|_| is_full).map(|base| base.name.clone());
        Self { rows: rows.into_iter().filter_map(own_hash).collect(), end }
    }
}

/// Two pages as one. It ends where either of them was cut off.
fn merge(one: Part, other: Part) -> BasePage {
    let end = [one.end, other.end].into_iter().flatten().min();
    let mut rows: BTreeMap<String, (BaseRow, Option<NodeRow>)> = BTreeMap::new();
    for row in one.rows.into_iter().chain(other.rows) {
        if end.as_ref().is_none_or(|end| row.0.name <= *end) {
            rows.insert(row.0.name.clone(), row);
        }
    }
    BasePage { rows: rows.into_values().collect(), next: end.map(String::into_bytes) }
}
