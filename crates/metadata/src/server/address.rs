//! Where a database server is, and how it is spoken to.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ezdfs_core::{Clock, NamePrefix};

use super::tls::Tls;

/// A host of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Name or address; one of IPv6 without brackets.
    pub name: String,
    /// Port; `None` for the usual one.
    pub port: Option<u16>,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]", self.name)?;
        } else {
            f.write_str(&self.name)?;
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// A password, which no output ever shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Wraps a password.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Which time leases and expiry are measured with.
#[derive(Debug, Clone, Default)]
pub enum TimeSource {
    /// The database's, which all nodes share.
    #[default]
    Database,
    /// A clock that a test moves.
    Clock(Arc<dyn Clock>),
}

/// How a database on a server is opened.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Tried in this order when a connection is made; at least one. A host that takes no writes is
    /// passed over when there are others.
    pub hosts: Vec<Host>,
    /// User.
    pub user: String,
    /// Its password.
    pub password: Option<Password>,
    /// Database.
    pub database: String,
    /// Encryption.
    pub tls: Tls,
    /// Base table.
    pub table: String,
    /// What stands before each path in the `name` column.
    pub prefix: NamePrefix,
    /// Which process this is, in the change feed.
    pub origin: String,
    /// Most connections at once.
    pub connections: usize,
    /// Longest time of one statement, and of the wait for a connection.
    pub io_timeout: Duration,
    /// Where no trigger tells of changes: shortest pause between two walks over the table.
    pub scan_pause: Duration,
    /// Time.
    pub time: TimeSource,
}

impl ServerOptions {
    /// Most connections unless told otherwise: what a web node's share of a server with the usual
    /// limit of about 150 connections can be.
    pub const CONNECTIONS: usize = 8;

    /// Pause between two walks unless told otherwise.
    pub const SCAN_PAUSE: Duration = Duration::from_secs(5);

    /// A database with everything else as usual.
    #[must_use]
    pub fn new(host: Host, user: impl Into<String>, database: impl Into<String>) -> Self {
        Self {
            hosts: vec![host],
            user: user.into(),
            password: None,
            database: database.into(),
            tls: Tls::default(),
            table: "ezdfsfile".to_owned(),
            prefix: NamePrefix::default(),
            origin: format!("pid:{}", std::process::id()),
            connections: Self::CONNECTIONS,
            io_timeout: Duration::from_secs(30),
            scan_pause: Self::SCAN_PAUSE,
            time: TimeSource::default(),
        }
    }

    /// For messages: hosts and database, without user and password.
    #[must_use]
    pub fn place(&self) -> String {
        let hosts: Vec<String> = self.hosts.iter().map(ToString::to_string).collect();
        format!("{}/{}", hosts.join(","), self.database)
    }
}
