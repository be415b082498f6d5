//! `ServerMetadata`: rows in a database on a server, which other nodes and PHP share.
//!
//! What a change means is written once (`change`, `materialise`); what a server must be asked is
//! written once here; how it is asked is the dialect's.
//!
//! | file | subject |
//! |---|---|
//! | `address` | where a server is, and how it is spoken to |
//! | `tls` | encryption, and whom to believe |
//! | `statement` | texts and parameters in one notation |
//! | `sql` | which statements there are |
//! | `bind` | values as parameters |
//! | `dialect` | what differs between the servers |
//! | `connect` | connections |
//! | `time` | database time |
//! | `write` | write transactions, run again when others are in the way |
//! | `transaction` | what a change may do inside one |
//! | `publish` | a publish in one round trip |
//! | `read` | queries |
//! | `feed` | materialiser, backfill, trim |
//! | `scan` | what stands in for the feed's trigger |
//! | `members` | long-lived processes |
//! | `limits` | names that the base table cannot hold |
//! | `installed` | whether the schema is there |
//! | `schema` | installing, checking and removing it |
//! | `findings` | what is amiss with it |
//! | `columns` | what its tables are made of |

mod address;
pub(crate) mod bind;
pub(crate) mod columns;
pub(crate) mod connect;
pub(crate) mod dialect;
mod feed;
mod findings;
pub(crate) mod installed;
pub(crate) mod limits;
mod members;
mod publish;
mod read;
mod scan;
pub(crate) mod schema;
pub(crate) mod sql;
pub(crate) mod statement;
mod time;
mod tls;
mod transaction;
mod write;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ezdfs_core::{
    Change, DirPath, Error, ErrorKind, FeedReader, FeedStart, Figures, FilePath, Hold, Intent,
    IntentState, Member, MemberState, MetadataStore, NamePrefix, Page, Progress, Record, Result,
    ScanPage, Stray, Timestamp, Token, Tombstone,
};

pub use address::{Host, Password, ServerOptions, TimeSource};
pub use findings::{Finding, Findings, Weight};
pub use schema::{FeedChoice, FeedKind, InstallStep, Installed};
pub use tls::{Authorities, Tls};

use connect::Connections;
use dialect::Dialect;
use sql::Sql;
use time::DatabaseTime;
use write::{Answer, Task};

/// Foreign changes that a listing materialises in one transaction.
const MATERIALISE_AT_ONCE: u32 = 1_000;
/// Transactions of that size before a listing answers with what there is: foreign writers may be
/// faster than it.
const MATERIALISE_ROUNDS: u32 = 64;

/// Metadata in a database on a server.
#[derive(Debug)]
pub(crate) struct ServerMetadata<D: Dialect> {
    server: Arc<Server<D>>,
}

/// What calls share with the transactions that outlive them.
#[derive(Debug)]
pub(crate) struct Server<D: Dialect> {
    pub(crate) options: Arc<ServerOptions>,
    pub(crate) connections: Connections<D>,
    pub(crate) sql: Sql,
    time: DatabaseTime,
    scan_turn: scan::Turn,
    /// No trigger feeds the log: own changes are written by hand, foreign ones found by a scan.
    is_degraded: bool,
}

impl<D: Dialect> ServerMetadata<D> {
    /// Opens a database on which `ezdfs schema install` was run. Changes nothing in it.
    ///
    /// # Errors
    /// [`ezdfs_core::ErrorKind::Config`] when the schema is not there, or is another version's or
    /// another table's; else what the server says.
    pub(crate) async fn open(options: ServerOptions) -> Result<Self> {
        let (server, installed) = Server::<D>::open(options).await?;
        if installed.is_backfilling {
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "{} {}: rows that were there before ezdfs have no entries yet; run `ezdfs schema install`, which goes on where it stopped",
                    D::KIND,
                    server.options.place()
                ),
            ));
        }
        if server.is_degraded {
            tracing::warn!(
                place = server.options.place(),
                "no trigger tells of changes by other programs (degraded): they are found by scans and show late; see `ezdfs schema check`"
            );
        }
        Ok(Self { server: Arc::new(server) })
    }
}

impl<D: Dialect> Server<D> {
    async fn open(options: ServerOptions) -> Result<(Self, installed::Installed)> {
        let options = Arc::new(options);
        crate::table::check(&options.table)?;
        let connections = Connections::<D>::new(Arc::clone(&options))?;
        let mut lent = connections.lend().await?;
        let failed = |e| connections.failed("read the schema", e);
        lent.is_dirty = true;
        let installed = installed::check::<D>(&mut lent.conn, &options, &connections).await?;
        let sql = D::sql(&mut lent.conn, &options.table).await.map_err(failed)?;
        lent.is_dirty = false;
        drop(lent);
        let server = Server {
            options,
            connections,
            sql,
            time: DatabaseTime::default(),
            scan_turn: scan::Turn::default(),
            is_degraded: installed.is_degraded,
        };
        Ok((server, installed))
    }

    /// Whether no trigger feeds the log.
    pub(crate) fn is_degraded(&self) -> bool {
        self.is_degraded
    }
}

#[async_trait]
impl<D: Dialect> MetadataStore for ServerMetadata<D> {
    fn prefix(&self) -> &NamePrefix {
        &self.server.options.prefix
    }

    fn describe(&self) -> String {
        let options = &self.server.options;
        format!("{} {}, table {}", D::KIND, options.place(), options.table)
    }

    fn warnings(&self) -> Vec<String> {
        if !self.server.is_degraded {
            return Vec::new();
        }
        vec![format!("degraded, no trigger feeds the log of changes: {}", schema::DEGRADED)]
    }

    fn is_separate(&self) -> bool {
        true
    }

    async fn now(&self) -> Result<Timestamp> {
        self.server.database_time().await
    }

    async fn record(&self, path: &FilePath) -> Result<Record> {
        self.server.read_record(path).await
    }

    async fn list(&self, dir: &DirPath, after: Option<&str>, limit: u32) -> Result<Page> {
        if self.server.is_degraded {
            self.server.scan_if_due().await?;
        }
        let mut rounds = 0;
        while rounds < MATERIALISE_ROUNDS && self.server.foreign_waits().await? {
            if !self.server.materialise(MATERIALISE_AT_ONCE).await?.more {
                break;
            }
            rounds += 1;
        }
        self.server.read_list(dir, after, limit).await
    }

    async fn scan(&self, dir: &DirPath, after: Option<&str>, limit: u32) -> Result<ScanPage> {
        self.server.read_scan(dir, after, limit).await
    }

    async fn tombstones(
        &self,
        dir: &DirPath,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Tombstone>> {
        self.server.read_tombstones(dir, after, limit).await
    }

    async fn hold(&self, intents: &[Intent], lease: Duration) -> Result<Hold> {
        match self.server.write(Task::Hold { intents: intents.to_vec(), lease }).await? {
            Answer::Hold(hold) => Ok(hold),
            other => Err(write::mixed_up(&other)),
        }
    }

    async fn renew(&self, token: Token, lease: Duration) -> Result<bool> {
        self.server.renew(token, lease).await
    }

    async fn apply(&self, change: Change) -> Result<()> {
        self.server.write(Task::Apply(change)).await.map(drop)
    }

    async fn intents_on(&self, path: &FilePath) -> Result<Vec<Intent>> {
        self.server.read_intents_on(path).await
    }

    async fn intents_of(&self, token: Token) -> Result<Vec<Intent>> {
        self.server.read_intents_of(token).await
    }

    async fn due(&self, state: IntentState, before: Timestamp, limit: u32) -> Result<Vec<Intent>> {
        self.server.read_due(state, before, limit).await
    }

    async fn expired(&self, before: Timestamp, limit: u32) -> Result<Vec<(FilePath, Record)>> {
        self.server.read_expired(before, limit).await
    }

    async fn strays(&self, after: Option<&str>, limit: u32) -> Result<Vec<Stray>> {
        self.server.read_strays(after, limit).await
    }

    /// By the walk that stands in for the trigger.
    async fn remove_strays(&self) -> Result<()> {
        self.server.scan_all().await.map(drop)
    }

    async fn materialise(&self, limit: u32) -> Result<Progress> {
        self.server.scan_if_due().await?;
        // A write transaction costs other writers something; mostly nothing waits.
        if !self.server.foreign_waits().await? {
            return Ok(Progress::default());
        }
        self.server.materialise(limit).await
    }

    async fn trim_feed(&self, before: Timestamp) -> Result<u64> {
        self.server.trim(before).await
    }

    async fn feed(&self, start: FeedStart) -> Result<Box<dyn FeedReader>> {
        D::feed(Arc::clone(&self.server), start).await
    }

    async fn beat(&self, unless_younger: Duration) -> Result<()> {
        self.server.beat(unless_younger).await
    }

    async fn tell(&self, names: &[String]) -> Result<()> {
        self.server.tell(names).await
    }

    async fn announce(&self, member: &Member, lease: Duration, remember: Duration) -> Result<()> {
        self.server.announce(member, lease, remember).await
    }

    async fn leave(&self, name: &str) -> Result<()> {
        self.server.leave(name).await
    }

    async fn members(&self) -> Result<Vec<MemberState>> {
        self.server.read_members().await
    }

    async fn figures(&self) -> Result<Figures> {
        self.server.read_figures().await
    }
}
