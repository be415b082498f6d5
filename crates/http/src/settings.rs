//! Settings of the listeners, as plain values.

use std::net::SocketAddr;
use std::time::Duration;

use crate::access_log::Format;
use crate::admin::tokens::Tokens;
use crate::policies::Policies;
use crate::signature::SigningKeys;
use crate::url_prefix::UrlPrefix;

/// The asset listener.
#[derive(Debug, Clone)]
pub struct ServeSettings {
    /// Address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the assets are in the URL space.
    pub url_prefix: UrlPrefix,
    /// First path segments that anyone may read; everything else is 404 without a signature.
    pub public: Vec<String>,
    /// Whose signatures count.
    pub signing_keys: SigningKeys,
    /// What operators choose about answers.
    pub policies: Policies,
    /// `None` switches the access log off.
    pub access_log: Option<Format>,
    /// Limits of its connections.
    pub limits: Limits,
}

/// The admin listener.
#[derive(Debug, Clone)]
pub struct AdminSettings {
    /// Address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Who may read and write files.
    pub tokens: Tokens,
    /// Most bytes of a file that a request may store.
    pub max_file: u64,
    /// Limits of its connections.
    pub limits: Limits,
}

/// What one listener takes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; others wait in the backlog of the socket.
    pub connections: usize,
    /// Longest wait for the whole head of a request, from the end of the answer before it: bounds
    /// slow senders as well as idle connections.
    pub head_timeout: Duration,
    /// Longest time in which a client takes no byte of an answer.
    pub stall_timeout: Duration,
    /// Largest request head in bytes, at least 8,192; larger is 431. Also how much of an answer
    /// waits for the client before more is read.
    pub head_bytes: usize,
    /// Most fields of a request; more is 431.
    pub fields: usize,
    /// How long answers under way may take after shutdown began.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            head_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            head_bytes: 16 << 10,
            fields: 100,
            drain: Duration::from_secs(30),
        }
    }
}
