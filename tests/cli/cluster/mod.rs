//! Several processes of ezdfs and PHP nodes on one database server and one directory.
//!
//! | file | subject |
//! |---|---|
//! | `serving` | what servers show of what others do, with the database and without |
//! | `restart` | a database server that is killed and comes back |
//! | `following` | the change feed, with triggers and without |
//! | `killed` | publishers that die in the middle |
//! | `leases` | publishers of other machines that die or stand still |
//! | `nodes` | several that clean up at once; the list of servers |

mod following;
mod killed;
mod leases;
mod nodes;
mod restart;
mod serving;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use ezdfs_core::{Clock as _, SystemClock};
use ezdfs_testkit::php::NewBinary;
use ezdfs_testkit::servers::{ServerKind, TestDatabase};
use ezdfs_testkit::{IbexaNode as _, MariadbForeignWriter, PhpNode, PostgresForeignWriter};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::databases::{Site, on_both};
use super::serve::Serving;
use super::{Home, wait_for};
use crate::common::http;

const TABLE: &str = "ezdfsfile";
const PREFIX: &str = "var/site/storage";

/// `store.max_staleness` unless configured.
const MAX_STALENESS: Duration = Duration::from_secs(1);

/// A PHP node, and a runtime for it, since these tests are not async.
struct Php {
    runtime: Runtime,
    node: PhpNode,
}

impl Php {
    fn of(site: &Site) -> Self {
        let runtime = runtime();
        let database = &site.database;
        let rows: std::sync::Arc<dyn ezdfs_testkit::ForeignWriter> = runtime.block_on(async {
            match database.kind() {
                ServerKind::Mariadb => {
                    std::sync::Arc::new(MariadbForeignWriter::connect(database, TABLE).await) as _
                }
                ServerKind::Postgres => {
                    std::sync::Arc::new(PostgresForeignWriter::connect(database, TABLE).await) as _
                }
            }
        });
        let node = PhpNode::new(rows, site.home.path().join("ezdfs-data/files"), PREFIX);
        Self { runtime, node }
    }

    /// Bytes in place, then the row.
    fn create(&self, id: &str, bytes: &[u8]) {
        let file = NewBinary::new(bytes, "text/plain");
        self.runtime.block_on(self.node.create(id, &file)).unwrap();
    }

    fn delete(&self, id: &str) {
        self.runtime.block_on(self.node.delete(id)).unwrap();
    }

    /// As eZ Publish does: the bytes stay.
    fn soft_delete(&self, id: &str) {
        self.runtime.block_on(self.node.soft_delete(id)).unwrap();
    }

    /// The size that the row says.
    fn size(&self, id: &str) -> u64 {
        self.runtime.block_on(self.node.load(id)).unwrap().size
    }

    fn contents(&self, id: &str) -> Vec<u8> {
        self.runtime.block_on(self.node.contents(id)).unwrap()
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A connection of a program that is not ezdfs, for transactions.
enum Session {
    Mariadb(MariadbForeignWriter),
    Postgres(PostgresForeignWriter),
}

impl Session {
    async fn open(database: &TestDatabase) -> Self {
        match database.kind() {
            ServerKind::Mariadb => {
                Self::Mariadb(MariadbForeignWriter::connect(database, TABLE).await)
            }
            ServerKind::Postgres => {
                Self::Postgres(PostgresForeignWriter::connect(database, TABLE).await)
            }
        }
    }

    async fn run(&self, sql: &str) {
        match self {
            Self::Mariadb(writer) => writer.run(sql).await,
            Self::Postgres(writer) => writer.run(sql).await,
        }
    }

    async fn number(&self, sql: &str) -> i64 {
        match self {
            Self::Mariadb(writer) => writer.number(sql).await,
            Self::Postgres(writer) => writer.number(sql).await,
        }
    }
}

/// What a server answers to a `GET` of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Whole(Vec<u8>),
    Missing,
    /// 503, or the connection ended before the body did.
    Failed,
}

fn url(id: &str) -> String {
    format!("/{PREFIX}/{id}")
}

fn ask(node: &Serving, id: &str) -> Answer {
    let Some((status, body)) = exchange(node.assets, &url(id)) else { return Answer::Failed };
    match status {
        200 => Answer::Whole(body),
        404 => Answer::Missing,
        503 => Answer::Failed,
        other => panic!("{id}: {other}"),
    }
}

/// `None` when the connection ended before the answer did.
fn exchange(address: SocketAddr, target: &str) -> Option<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut raw = Vec::new();
    match stream.read_to_end(&mut raw) {
        Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => panic!("no answer in 20 s"),
        // What came before the reset shows below whether it is whole.
        Ok(_) | Err(_) => {}
    }
    let end = raw.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&raw[..end]).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let body = raw[end + 4..].to_vec();
    (body.len() == length.parse::<usize>().unwrap()).then(|| (head[9..12].parse().unwrap(), body))
}

/// `memory` of `/v1/status`.
fn memory(node: &Serving) -> Value {
    let answer = http::get(node.admin, "/v1/status");
    serde_json::from_slice::<Value>(&answer.body).unwrap()["memory"].clone()
}

/// Until the server answers this from memory.
fn warm(node: &Serving, id: &str, expected: &Answer) {
    let count = |memory: &Value, what: &str| memory[what].as_u64().unwrap();
    wait_for("a fresh feed", || memory(node)["fresh"] == true);
    wait_for("an answer without the database", || {
        let before = memory(node);
        assert_eq!(&ask(node, id), expected, "{id}");
        let after = memory(node);
        count(&after, "hits") > count(&before, "hits")
            && count(&after, "misses") == count(&before, "misses")
    });
}

fn now() -> Duration {
    SystemClock.boot()
}
