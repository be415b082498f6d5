//! Settings of the listeners, as plain values.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use ezdfs_core::Result;
use ezdfs_engine::FileService;

use crate::access_log::Format;
use crate::admin::tokens::Tokens;
use crate::listener::Listener;
use crate::offload::Offload;
use crate::policies::Policies;
use crate::purge_hooks::PurgeHooks;
use crate::signature::SigningKeys;
use crate::tls::Tls;
use crate::url_prefix::UrlPrefix;

/// Where a listener listens.
#[derive(Debug)]
pub enum Listen {
    /// At this address; port 0 takes a free one.
    Address(SocketAddr),
    /// On a socket that somebody else bound.
    Socket(TcpListener),
}

impl Listen {
    /// Begins to; `key` is the configuration key of the address.
    ///
    /// # Errors
    /// As [`Listener::bind`] and [`Listener::adopt`].
    pub(crate) async fn start(self, key: &str, limits: Limits) -> Result<Listener> {
        match self {
            Self::Address(address) => Listener::bind(key, address, limits).await,
            Self::Socket(socket) => Listener::adopt(socket, limits),
        }
    }
}

/// One more site on the asset listener.
#[derive(Debug)]
pub struct SiteSettings {
    /// Its files.
    pub service: FileService,
    /// Where they are in the URL space.
    pub url_prefix: UrlPrefix,
    /// First path segments that anyone may read.
    pub public: Vec<String>,
}

/// The asset listener.
#[derive(Debug)]
pub struct ServeSettings {
    /// Where it listens.
    pub listen: Listen,
    /// Speaks TLS alone.
    pub tls: Option<Tls>,
    /// Where the assets are in the URL space.
    pub url_prefix: UrlPrefix,
    /// First path segments that anyone may read; everything else is 404 without a signature.
    pub public: Vec<String>,
    /// Further sites, each with a store of its own.
    pub sites: Vec<SiteSettings>,
    /// Whose signatures count.
    pub signing_keys: SigningKeys,
    /// What operators choose about answers.
    pub policies: Policies,
    /// Bytes of small files that are kept in memory, all sites together.
    pub memory: u64,
    /// Who sends large files of the main site.
    pub offload: Offload,
    /// `None` switches the access log off.
    pub access_log: Option<Format>,
    /// Limits of its connections.
    pub limits: Limits,
}

/// The admin listener. It speaks HTTP/1.1.
#[derive(Debug)]
pub struct AdminSettings {
    /// Where it listens.
    pub listen: Listen,
    /// Who may read and write files.
    pub tokens: Tokens,
    /// Most bytes of a file that a request may store.
    pub max_file: u64,
    /// What is told of a purge.
    pub hooks: PurgeHooks,
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
    /// Requests whose answer is under way; more are answered 503.
    pub requests: usize,
    /// Over how much waiting for a client its pace is judged: it is dropped when it took less than
    /// [`Self::min_rate`] of an answer, or sent less of a body, and at any rate when it was nothing.
    pub stall_timeout: Duration,
    /// Fewest bytes per second that a client takes or sends while it is waited for.
    pub min_rate: u64,
    /// Largest request head in bytes, at least 8,192; larger is 431. Also how much of an answer
    /// waits for the client before more is read.
    pub head_bytes: usize,
    /// Most fields of a request; more is 431.
    pub fields: usize,
    /// How long answers under way may take after shutdown began.
    pub drain: Duration,
    /// Whether HTTP/2 is spoken: with TLS when the client chooses it (ALPN), else when it begins
    /// with it (prior knowledge).
    pub http2: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            requests: 4096,
            head_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            min_rate: 1 << 10,
            head_bytes: 16 << 10,
            fields: 100,
            drain: Duration::from_secs(30),
            http2: true,
        }
    }
}
