//! Ibexa nodes: the same cases in Rust and in PHP, on both databases.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ezdfs_core::{Clock as _, ManualClock, Name, NamePrefix, SystemClock, Timestamp};
use ezdfs_metadata::MemoryMetadata;
use ezdfs_testkit::php::{BinaryPathError, LoadedBinary, NewBinary, NodeError};
use ezdfs_testkit::servers::{BaseTable, MariaVariant, PostgresVariant};
use ezdfs_testkit::{
    ForeignWriter, IbexaNode, MariadbForeignWriter, PdoNode, PhpNode, PostgresForeignWriter,
    TestDatabase,
};
use futures::TryStreamExt as _;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectKey;
use object_store::{Attribute, ObjectStore, ObjectStoreExt as _};
use tempfile::TempDir;

const PREFIX: &str = "var/site/storage";
const THEN: i64 = 1_700_000_000;

/// One table, one directory, and all kinds of nodes on them.
struct Site {
    what: &'static str,
    nodes: Vec<Arc<dyn IbexaNode>>,
    rust: PhpNode,
    rows: Arc<dyn ForeignWriter>,
    directory: TempDir,
    database: TestDatabase,
}

impl Site {
    fn file(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    fn root(&self) -> PathBuf {
        root(self.directory.path())
    }

    async fn is_row(&self, id: &str) -> bool {
        let name = format!("{PREFIX}/{id}");
        self.rows.get(Name::from_row(&name).hash()).await.is_some()
    }

    async fn php(&self) -> Option<PdoNode> {
        PdoNode::start(&self.database, "ezdfsfile", &self.root(), PREFIX).await
    }
}

fn root(mount: &Path) -> PathBuf {
    mount.join(PREFIX)
}

async fn sites() -> Vec<Site> {
    let mut sites = Vec::new();
    if let Some(database) = TestDatabase::mariadb(MariaVariant::default()) {
        database.create_base_table(BaseTable::Ibexa, "ezdfsfile");
        let rows = Arc::new(MariadbForeignWriter::connect(&database, "ezdfsfile").await);
        sites.push(site("MariaDB", database, rows).await);
    }
    if let Some(database) = TestDatabase::postgres(PostgresVariant::default()) {
        database.create_base_table(BaseTable::Ibexa, "ezdfsfile");
        let rows = Arc::new(PostgresForeignWriter::connect(&database, "ezdfsfile").await);
        sites.push(site("PostgreSQL", database, rows).await);
    }
    sites
}

async fn site(what: &'static str, database: TestDatabase, rows: Arc<dyn ForeignWriter>) -> Site {
    let directory = tempfile::tempdir().unwrap();
    let rust = PhpNode::new(rows.clone(), root(directory.path()), PREFIX);
    let mut site =
        Site { what, nodes: vec![Arc::new(rust.clone())], rust, rows, directory, database };
    if let Some(php) = site.php().await {
        site.nodes.push(Arc::new(php));
    }
    site
}

#[tokio::test]
async fn a_file_from_birth_to_death() {
    for site in sites().await {
        for node in &site.nodes {
            let what = format!("{} {node:?}", site.what);
            let before = SystemClock.now().secs();
            node.create("images/1/2/a.png", &NewBinary::new(b"bytes", "image/png")).await.unwrap();
            let file = site.file("images/1/2/a.png");
            assert_eq!(std::fs::read(&file).unwrap(), b"bytes", "{what}");
            let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
            assert_eq!(mode(&file), 0o644, "{what}");
            assert_eq!(mode(&site.file("images/1")), 0o755, "{what}");

            let name = "var/site/storage/images/1/2/a.png";
            let row = site.rows.load(name).await.unwrap();
            assert_eq!((row.base.name.as_str(), row.name_trunk.as_str()), (name, name), "{what}");
            assert_eq!((row.base.scope.as_str(), row.base.size), ("image", 5), "{what}");
            assert!((0..=5).contains(&(row.base.mtime - before)), "{what}: now");
            let loaded = node.load("/images/1/2/a.png/").await.unwrap();
            assert_eq!(loaded, LoadedBinary { size: 5, mtime: row.base.mtime }, "{what}");
            assert_eq!(node.mime_type("images/1/2/a.png").await.unwrap(), "image/png", "{what}");
            assert_eq!(node.contents("images/1/2/a.png").await.unwrap(), b"bytes", "{what}");
            assert!(node.exists("images/1/2/a.png").await.unwrap(), "{what}");

            // In place: the same inode.
            let inode = file.metadata().unwrap().ino();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
            let new = NewBinary::new(b"new", "image/gif").size(99).mtime(THEN);
            node.create("images/1/2/a.png", &new).await.unwrap();
            assert_eq!((file.metadata().unwrap().ino(), mode(&file)), (inode, 0o644), "{what}");
            assert_eq!(node.contents("images/1/2/a.png").await.unwrap(), b"new", "{what}");
            let loaded = node.load("images/1/2/a.png").await.unwrap();
            assert_eq!(loaded, LoadedBinary { size: 99, mtime: THEN }, "{what}: the caller's");

            node.delete("images/1/2/a.png").await.unwrap();
            assert!(!file.exists(), "{what}");
            assert!(site.file("images/1/2").exists(), "{what}: empty directories stay");
            for gone in [
                node.load("images/1/2/a.png").await.map(drop),
                node.mime_type("images/1/2/a.png").await.map(drop),
                node.contents("images/1/2/a.png").await.map(drop),
                node.delete("images/1/2/a.png").await,
            ] {
                assert!(matches!(gone, Err(NodeError::NotFound)), "{what}: {gone:?}");
            }
            assert!(!node.exists("images/1/2/a.png").await.unwrap(), "{what}");
        }
    }
}

#[tokio::test]
async fn rows_and_bytes_have_lives_of_their_own() {
    for site in sites().await {
        for node in &site.nodes {
            let what = format!("{} {node:?}", site.what);
            // Killed between bytes and row.
            site.rust.write_bytes("images/orphan", b"x").await.unwrap();
            assert!(!node.exists("images/orphan").await.unwrap(), "{what}");
            assert_eq!(node.contents("images/orphan").await.unwrap(), b"x", "{what}");
            let gone = node.delete("images/orphan").await;
            assert!(matches!(gone, Err(NodeError::NotFound)), "{what}");
            assert!(!site.file("images/orphan").exists(), "{what}: the bytes go all the same");

            site.rust.write_row("images/bare", &NewBinary::new(b"x", "a/b")).await.unwrap();
            assert!(node.exists("images/bare").await.unwrap(), "{what}");
            assert!(node.contents("images/bare").await.is_err(), "{what}");
            node.delete("images/bare").await.unwrap();

            let new = NewBinary::new(b"x", "a/b");
            node.create("images/soft", &new).await.unwrap();
            node.soft_delete("images/soft").await.unwrap();
            assert!(!node.exists("images/soft").await.unwrap(), "{what}");
            assert!(
                site.is_row("images/soft").await && site.file("images/soft").exists(),
                "{what}"
            );
            // A create does not bring it back.
            node.create("images/soft", &new).await.unwrap();
            assert!(!node.exists("images/soft").await.unwrap(), "{what}");
            node.delete("images/soft").await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_directory_delete_removes_rows_and_tree() {
    for site in sites().await {
        for node in &site.nodes {
            let what = format!("{} {node:?}", site.what);
            for id in ["images/d_1/a", "images/d_1/b/c", "images/dX1/a", "images/d_10"] {
                node.create(id, &NewBinary::new(b"x", "a/b")).await.unwrap();
            }
            std::os::unix::fs::symlink("/", site.file("images/d_1/link")).unwrap();
            node.delete_directory("images/d_1/").await.unwrap();
            node.delete_directory("images/none").await.unwrap();
            assert!(!site.file("images/d_1").exists(), "{what}");
            for (id, there) in
                [("d_1/a", false), ("d_1/b/c", false), ("dX1/a", true), ("d_10", true)]
            {
                let id = format!("images/{id}");
                assert_eq!(site.is_row(&id).await, there, "{what}: {id}");
                assert_eq!(site.file(&id).exists(), there, "{what}: {id}");
            }
        }
    }
}

#[tokio::test]
async fn ids_are_rows_by_letter_and_bytes_by_place() {
    for site in sites().await {
        for node in &site.nodes {
            let what = format!("{} {node:?}", site.what);
            for id in ["x/y.png", "x//y.png", "x/./y.png", r"x\y.png"] {
                node.create(id, &NewBinary::new(id.as_bytes(), "a/b")).await.unwrap();
                assert_eq!(node.contents("x/y.png").await.unwrap(), id.as_bytes(), "{what}");
            }
            for id in ["x/y.png", "x//y.png", "x/./y.png", r"x\y.png"] {
                assert!(site.is_row(id).await, "{what}: {id}");
                // The first takes the bytes of all.
                node.delete(id).await.unwrap();
            }
            node.create("images/../esc.png", &NewBinary::new(b"", "a/b")).await.unwrap();
            assert!(site.file("esc.png").exists(), "{what}: out of the service, not of the root");
            assert!(site.is_row("images/../esc.png").await, "{what}");
            for (id, error) in [
                ("../a", BinaryPathError::Traversal),
                ("a/../../b", BinaryPathError::Traversal),
                ("a\nb", BinaryPathError::Corrupted),
                ("a\0b", BinaryPathError::Corrupted),
                ("a\u{200b}b", BinaryPathError::Corrupted),
                ("a\u{e000}b", BinaryPathError::Corrupted),
            ] {
                let refused = node.create(id, &NewBinary::new(b"x", "a/b")).await;
                assert!(matches!(refused, Err(NodeError::Path(e)) if e == error), "{what}: {id:?}");
                assert!(!site.is_row(id).await, "{what}: {id:?}");
            }
        }
    }
}

/// A file in place of a directory: no row is written.
#[tokio::test]
async fn a_failed_write_leaves_no_row() {
    for site in sites().await {
        for node in &site.nodes {
            node.create("images/f", &NewBinary::new(b"x", "a/b")).await.unwrap();
            let refused = node.create("images/f/below", &NewBinary::new(b"x", "a/b")).await;
            assert!(matches!(refused, Err(NodeError::Io(_))), "{node:?}: {refused:?}");
            assert!(!site.is_row("images/f/below").await, "{node:?}");
        }
    }
}

#[tokio::test]
async fn a_refused_row_leaves_the_bytes() {
    for site in sites().await {
        for node in &site.nodes {
            let long = "x".repeat(256);
            let done = node.create("images/long", &NewBinary::new(b"x", &long)).await;
            // The one says it, the other does not.
            let says_so = matches!(done, Err(NodeError::Database(_)));
            assert_eq!(says_so, site.what == "PostgreSQL", "{node:?}: {done:?}");
            assert!(!site.is_row("images/long").await, "{node:?}");
            assert!(site.file("images/long").exists(), "{node:?}");
        }
    }
}

#[tokio::test]
async fn the_time_may_be_a_tests() {
    for site in sites().await {
        let clock = ManualClock::at(Timestamp::from_secs(THEN));
        let node = site.rust.clone().with_clock(Arc::new(clock.clone()));
        clock.advance(Duration::from_secs(7));
        node.create("images/a", &NewBinary::new(b"x", "a/b")).await.unwrap();
        assert_eq!(node.load("images/a").await.unwrap().mtime, THEN + 7);
    }
}

/// Readers see the middle of a write; other writers wait for the lock, PHP's as well as ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_in_place_is_seen_and_locked() {
    for site in sites().await {
        for node in &site.nodes {
            let what = format!("{} {node:?}", site.what);
            node.create("images/a", &NewBinary::new(b"old bytes", "a/b")).await.unwrap();
            let mut write = site.rust.open_in_place("images/a").await.unwrap();
            assert_eq!(node.contents("images/a").await.unwrap(), b"", "{what}");
            write.append(b"half").unwrap();
            assert_eq!(node.contents("images/a").await.unwrap(), b"half", "{what}");
            assert_eq!(node.load("images/a").await.unwrap().size, 9, "{what}: still the old row");
            let other = node.clone();
            let waiting = tokio::spawn(async move {
                other.create("images/a", &NewBinary::new(b"next", "a/b")).await
            });
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(!waiting.is_finished(), "{what}: the file is locked");
            assert_eq!(std::fs::read(site.file("images/a")).unwrap(), b"half", "{what}");
            write.append(b" done").unwrap();
            write.finish().unwrap();
            waiting.await.unwrap().unwrap();
            assert_eq!(node.contents("images/a").await.unwrap(), b"next", "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_nodes_create_one_file() {
    for site in sites().await {
        let mut nodes = site.nodes.clone();
        for _ in 0..3 {
            if let Some(php) = site.php().await {
                nodes.push(Arc::new(php));
            }
        }
        let tasks = (0..20_u8).map(|n| {
            let node = nodes[usize::from(n) % nodes.len()].clone();
            tokio::spawn(async move {
                let bytes = vec![n; 100_000];
                node.create("images/one", &NewBinary::new(&bytes, "a/b")).await
            })
        });
        for done in futures::future::join_all(tasks).await {
            done.unwrap().unwrap();
        }
        assert_eq!(site.rust.load("images/one").await.unwrap().size, 100_000);
        let bytes = site.rust.contents("images/one").await.unwrap();
        assert_eq!(bytes.len(), 100_000);
        assert!(bytes.iter().all(|b| *b == bytes[0]), "{}: bytes of two writers", site.what);
    }
}

#[tokio::test]
async fn bytes_may_lie_in_a_bucket() {
    let metadata = MemoryMetadata::new(NamePrefix::new(PREFIX), Arc::new(SystemClock));
    let rows: Arc<dyn ForeignWriter> = Arc::new(metadata.foreign());
    let bucket: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let node = PhpNode::on_bucket(rows.clone(), bucket.clone(), PREFIX);
    let id = "images/1/a b.png";
    node.create(id, &NewBinary::new(b"bytes", "image/png")).await.unwrap();
    assert_eq!(node.contents(id).await.unwrap(), b"bytes");
    let stored = bucket.get(&ObjectKey::parse(id).unwrap()).await.unwrap();
    assert_eq!(stored.attributes.get(&Attribute::ContentType).unwrap().as_ref(), "image/png");
    assert_eq!(rows.load(&node.name(id)).await.unwrap().base.size, 5);
    node.delete(id).await.unwrap();
    assert!(matches!(node.contents(id).await, Err(NodeError::NotFound)));
    assert!(matches!(node.delete(id).await, Err(NodeError::NotFound)), "no bytes are no error");
    for id in ["images/d/a", "images/d/b/c", "images/e"] {
        node.create(id, &NewBinary::new(b"x", "image/png")).await.unwrap();
    }
    node.delete_directory("images/d").await.unwrap();
    let left: Vec<_> =
        bucket.list(None).map_ok(|o| o.location.to_string()).try_collect().await.unwrap();
    assert_eq!(left, ["images/e"]);
    assert!(node.file("images/e").is_err());
}
