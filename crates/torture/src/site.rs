//! `Site`: one store with its database, proxies, nodes and configuration.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ezdfs_testkit::proxy::Proxy;
use ezdfs_testkit::servers::{ServerKind, TestDatabase};
use ezdfs_testkit::skip::skipped;
use ezdfs_testkit::{
    ForeignWriter, MariadbForeignWriter, OwnServer, PhpNode, PostgresForeignWriter,
    SqliteForeignWriter,
};
use sha2::Digest as _;
use tokio::sync::RwLock;

use crate::node::Node;
use crate::objects::Objects;
use crate::options::Options;
use crate::paths::Class;

/// Nodes that serve.
pub(crate) const NODES: usize = 3;
/// The node that asks the database each time.
pub(crate) const STRICT_NODE: usize = 2;
/// The node that runs as if on another machine, where that is possible.
const NODE_ELSEWHERE: usize = 1;
/// Configuration and proxy of the commands.
pub(crate) const COMMANDS: usize = NODES;
/// What stands before each path in the table and in URLs.
pub(crate) const PREFIX: &str = "var/site/storage";
/// Of the admin API.
pub(crate) const TOKEN: &str = "torture";
const TABLE: &str = "ezdfsfile";
/// Data directories, or the beginning of their names.
const DATA: &str = "ezdfs-data";
/// `store.max_staleness`
pub(crate) const MAX_STALENESS: Duration = Duration::from_secs(1);
/// `store.delete_grace`: short, so that the reaper has work.
const DELETE_GRACE: &str = "2s";

#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) dir: PathBuf,
    pub(crate) ezdfs: PathBuf,
    pub(crate) nodes: Vec<Node>,
    /// The line between each node (and the commands) and the database.
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) objects: Objects,
    /// PHP on one side, commands on the other: of paths that take turns.
    pub(crate) turns: Vec<RwLock<()>>,
    /// PHP nodes write a path one after the other.
    pub(crate) php_paths: Vec<tokio::sync::Mutex<()>>,
    pub(crate) can_be_elsewhere: bool,
    // Dropped before its server.
    database: Option<TestDatabase>,
    server: Option<Mutex<OwnServer>>,
}

impl Site {
    pub(crate) async fn start(options: &Options, dir: &Path) -> Result<Self, String> {
        let ezdfs =
            options.ezdfs.canonicalize().map_err(|e| format!("{:?}: {e}", options.ezdfs))?;
        // The user of the server must get through.
        std::fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .map_err(|e| e.to_string())?;
        let (kind, at) = (options.store.database(), dir.join("servers"));
        let starting = tokio::task::spawn_blocking(move || {
            let server = kind.map(|kind| OwnServer::start(kind, &at)).transpose()?;
            Ok::<_, String>((server.as_ref().map(OwnServer::database), server))
        });
        let (database, server) = starting.await.map_err(|e| e.to_string())??;
        let objects = Objects::start(options.store.bytes(), dir, &dir.join(DATA)).await?;
        let can_be_elsewhere = crate::process::unshare()
            .arg("true")
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !can_be_elsewhere {
            skipped("the imitation of other machines", "unshare --pid is not allowed here");
        }
        let nodes =
            (0..NODES).map(|n| Node::new(n, can_be_elsewhere && n == NODE_ELSEWHERE)).collect();
        Ok(Self {
            dir: dir.to_owned(),
            ezdfs,
            nodes,
            proxies: Vec::new(),
            objects,
            turns: (0..Class::Turns.count()).map(|_| RwLock::default()).collect(),
            php_paths: (0..Class::Php.count()).map(|_| tokio::sync::Mutex::default()).collect(),
            can_be_elsewhere,
            database,
            server: server.map(Mutex::new),
        })
    }

    /// Proxies, configuration, schema.
    pub(crate) async fn configure(&mut self) {
        if let Some(database) = &self.database {
            for _ in 0..=NODES {
                self.proxies.push(Proxy::start(database.host(), database.port()).await);
            }
            std::fs::write(self.dir.join("password"), database.password()).unwrap();
        }
        for n in 0..=NODES {
            std::fs::write(self.config(n), self.settings(n)).unwrap();
        }
        let args = ["schema", "install"];
        if self.database.is_some() {
            let installed =
                crate::process::command(self, COMMANDS, false).args(args).output().await;
            let installed = installed.unwrap();
            assert!(installed.status.success(), "{installed:?}");
        }
    }

    fn settings(&self, n: usize) -> String {
        let freshness = if n == STRICT_NODE { "strict" } else { "feed" };
        let mut toml = format!(
            "[store]\ndelete_grace = \"{DELETE_GRACE}\"\n[serve]\nfreshness = \"{freshness}\"\n\
             access_log = \"off\"\n[[admin.tokens]]\nname = \"torture\"\nsha256 = \"{}\"\n\
             verbs = [\"get\", \"put\", \"delete\"]\nprefixes = [\"\"]\n",
            hex::encode(sha2::Sha256::digest(TOKEN))
        );
        if let Some(database) = &self.database {
            let scheme = match database.kind() {
                ServerKind::Mariadb => "mysql",
                ServerKind::Postgres => "postgresql",
            };
            toml += &format!(
                "[metadata_handlers.dfs]\nurl = \"{scheme}://{}@127.0.0.1:{}/{}\"\n\
                 password = {{ file = \"{}\" }}\ntable = \"{TABLE}\"\n",
                database.user(),
                self.proxies[n].port(),
                database.database(),
                self.dir.join("password").display(),
            );
        }
        toml + &self.objects.settings(n)
    }

    pub(crate) fn config(&self, n: usize) -> PathBuf {
        self.dir.join(format!("config-{n}.toml"))
    }

    /// The data directory of node or commands `n`. What is on this machine's disk is shared where
    /// it is the store itself; else each has its own, as on machines of their own.
    pub(crate) fn data(&self, n: usize, elsewhere: bool) -> PathBuf {
        match (self.objects.is_bucket(), elsewhere) {
            (false, _) => self.dir.join(DATA),
            (true, false) => self.dir.join(format!("{DATA}-{n}")),
            (true, true) => self.dir.join(format!("{DATA}-{n}-elsewhere")),
        }
    }

    pub(crate) fn has_server(&self) -> bool {
        self.server.is_some()
    }

    pub(crate) async fn start_nodes(&self) {
        futures::future::join_all(self.nodes.iter().map(|node| node.start(self))).await;
    }

    pub(crate) async fn stop_nodes(&self) {
        futures::future::join_all(self.nodes.iter().map(Node::kill)).await;
    }

    /// A PHP process of one request, with a connection of its own. Panics while the database is
    /// away.
    pub(crate) async fn php(&self) -> PhpNode {
        let rows: Arc<dyn ForeignWriter> = match &self.database {
            None => {
                let file = self.data(COMMANDS, false).join("ezdfs.db");
                Arc::new(SqliteForeignWriter::connect(&file, TABLE).await)
            }
            Some(database) => match database.kind() {
                ServerKind::Mariadb => {
                    Arc::new(MariadbForeignWriter::connect(database, TABLE).await)
                }
                ServerKind::Postgres => {
                    Arc::new(PostgresForeignWriter::connect(database, TABLE).await)
                }
            },
        };
        self.objects.php(rows)
    }

    /// Kills the database server, and starts it again after that time.
    pub(crate) async fn kill_database(self: &Arc<Self>, away: Duration) {
        let site = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let (Some(server), Some(database)) = (&site.server, &site.database) else { return };
            let mut server = server.lock().unwrap_or_else(PoisonError::into_inner);
            let again = server.kill();
            std::thread::sleep(away);
            server.revive(again, database);
        });
        done.await.unwrap();
    }
}
