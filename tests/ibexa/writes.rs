//! Checks 15 to 21: writes and deletes of files, by both at once. The fsck part of check 21 is in
//! `fsck`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use ezdfs_core::{BaseRow, Entropy as _, ErrorKind, OsEntropy};
use ezdfs_engine::Precondition;
use ezdfs_metadata::memory::ForeignRow;
use ezdfs_testkit::php::{NewBinary, NodeError};
use ezdfs_testkit::servers::ServerKind;
use ezdfs_testkit::{IbexaNode, PdoNode, PhpNode};
use tokio::time::{Duration, sleep};

use super::site::{PREFIX, SETTLE, Site, name, path, put, writer};

const ID: &str = "images/1/a.png";

pub(crate) async fn check_15_php_creates_again(site: &Site, php: &dyn IbexaNode) {
    let ids = ["images/ours", "images/theirs"];
    site.put(ids[0], b"first", "image/png").await;
    php.create(ids[1], &NewBinary::new(b"first", "image/png")).await.unwrap();
    for id in ids {
        assert_eq!(site.read(id).await.unwrap(), b"first");
        php.create(id, &NewBinary::new(b"second", "image/gif")).await.unwrap();
        assert_eq!(site.read(id).await.unwrap(), b"second", "at once: the size tells");
        assert_eq!(site.files.load(&path(id)).await.unwrap().datatype, "image/gif");
    }
    // Nothing but the bytes differs, within one second too: never the old ones.
    for bytes in [b"third!", b"fourth"] {
        for id in ids {
            php.create(id, &NewBinary::new(bytes, "image/gif")).await.unwrap();
        }
        for id in ids {
            assert_eq!(site.read_settled(id).await, bytes, "{id}");
            let row = site.row(id).await.unwrap();
            assert_eq!((row.base.name.as_str(), row.base.size), (name(id).as_str(), 6));
            assert_eq!(php.contents(id).await.unwrap(), bytes, "{id}");
        }
    }
    assert_eq!(site.list("images").await, ids);
}

pub(crate) async fn check_15_ezdfs_creates_again(site: &Site, php: &dyn IbexaNode) {
    php.create(ID, &NewBinary::new(b"first", "image/png").mtime(1_700_000_000)).await.unwrap();
    let first = site.row(ID).await.unwrap();
    let published = site.put(ID, b"second", "image/gif").await;

    let row = site.row(ID).await.unwrap();
    let expected = BaseRow {
        size: 6,
        mtime: published.mtime.base_mtime(),
        datatype: "image/gif".to_owned(),
        ..first.base.clone()
    };
    assert_eq!(row, ForeignRow { base: expected, ..first });
    assert!(!published.created);
    assert!(row.base.mtime > 1_700_000_000);
    assert_eq!(php.load(ID).await.unwrap().size, 6);
    assert_eq!(php.mime_type(ID).await.unwrap(), "image/gif");
    assert_eq!(php.contents(ID).await.unwrap(), b"second");
    assert_eq!(site.list("images/1").await, [ID]);
}

/// Deviation: Ibexa itself leaves the file invisible.
pub(crate) async fn check_16_ezdfs_creates_over_a_tombstone(site: &Site, php: &dyn IbexaNode) {
    php.create(ID, &NewBinary::new(b"first", "image/png")).await.unwrap();
    php.soft_delete(ID).await.unwrap();
    php.create(ID, &NewBinary::new(b"by php", "image/png")).await.unwrap();
    assert!(!php.exists(ID).await.unwrap(), "the trap");
    site.assert_absent(ID).await;

    site.put(ID, b"by ezdfs", "image/png").await;
    assert!(php.exists(ID).await.unwrap());
    assert_eq!(php.load(ID).await.unwrap().size, 8);
    assert_eq!(php.contents(ID).await.unwrap(), b"by ezdfs");
    assert_eq!(site.read(ID).await.unwrap(), b"by ezdfs");

    // With one mark only, as other tools leave it.
    for (expired, mtime) in [(true, 1_700_000_000), (false, -1_700_000_000), (false, 0)] {
        let row = site.row(ID).await.unwrap();
        let base = BaseRow { expired, mtime, ..row.base.clone() };
        site.set(&ForeignRow { base, ..row }).await;
        site.put(ID, b"again", "image/png").await;
        assert!(php.exists(ID).await.unwrap());
        assert_eq!(php.contents(ID).await.unwrap(), b"again");
    }
}

/// PHP's sessions decide here: Ibexa writes rows inside of content transactions when both use one
/// connection.
pub(crate) async fn check_17_failed_statements_and_transactions(site: &Site, php: &PdoNode) {
    // A statement that fails in PHP's transaction.
    site.put(ID, b"ours", "image/png").await;
    php.begin().await;
    let again = php.create(ID, &NewBinary::new(b"in vain", "image/png")).await;
    match (site.kind(), again) {
        (ServerKind::Mariadb, Ok(())) => {}
        (ServerKind::Postgres, Err(NodeError::Database(e))) => {
            assert_eq!(e.sqlstate.as_deref(), Some("25P02"), "{e}");
        }
        (_, other) => panic!("{other:?}"),
    }
    php.rollback().await;
    // The bytes were replaced before the row was not.
    assert_eq!(site.read_settled(ID).await, b"in vain");
    // ezdfs creates again, of which an INSERT fails or meets a row.
    for bytes in [b"once".as_slice(), b"and again"] {
        site.put(ID, bytes, "image/png").await;
        assert_eq!(php.contents(ID).await.unwrap(), bytes);
        assert_eq!(site.read(ID).await.unwrap(), bytes);
    }

    // ezdfs waits for a transaction of PHP that creates the same path, and comes after it.
    for (id, commits) in [("images/1/committed", true), ("images/1/rolled-back", false)] {
        php.begin().await;
        php.create(id, &NewBinary::new(b"first", "image/png")).await.unwrap();
        let files = site.files.clone();
        let putting =
            tokio::spawn(async move { put(&files, id, b"second by ezdfs", "image/gif").await });
        sleep(Duration::from_millis(300)).await;
        assert!(!putting.is_finished(), "{id}: PHP has the row");
        if commits {
            php.commit().await
        } else {
            php.rollback().await
        }
        putting.await.unwrap().unwrap();
        assert_eq!(php.load(id).await.unwrap().size, 15, "{id}");
        assert_eq!(php.mime_type(id).await.unwrap(), "image/gif", "{id}");
        assert_eq!(php.contents(id).await.unwrap(), b"second by ezdfs", "{id}");
        assert_eq!(site.read(id).await.unwrap(), b"second by ezdfs", "{id}");
    }
}

/// A kind of node of which several can work at once.
pub(crate) trait Several: IbexaNode + Sized + 'static {
    /// How many share 25 creates. One does one thing at a time, as a worker of PHP does.
    const NODES: u8;
    async fn another(site: &Site) -> Self;
}

impl Several for PhpNode {
    const NODES: u8 = 25;

    async fn another(site: &Site) -> Self {
        Self::new(writer(&site.database, site.table).await, site.root(), PREFIX)
    }
}

impl Several for PdoNode {
    const NODES: u8 = 5;

    async fn another(site: &Site) -> Self {
        site.pdo().await.expect("there is one")
    }
}

pub(crate) async fn check_18_fifty_creates_of_one_path<N: Several>(site: &Site, php: &N) {
    const EACH: u8 = 25;
    /// Larger than what PHP copies at a time.
    const LEAST: usize = 20_000;

    let mut nodes = Vec::new();
    for _ in 0..N::NODES {
        nodes.push(Arc::new(N::another(site).await));
    }
    // ezdfs creates one after the other, and takes longer than PHP: it wins a race that all begin
    // at once. So in the other rounds PHP's creates are spread over those of ezdfs. Sizes are equal
    // or of one writer only.
    let rounds = [(false, false), (true, false), (true, true)];
    for (spread, of_all_sizes) in rounds {
        let bytes = move |by: u8| vec![by; LEAST + usize::from(if of_all_sizes { by } else { 0 })];
        let id = "images/1/a.bin";
        let published = Arc::new(AtomicU8::new(0));
        let mut creating = tokio::task::JoinSet::new();
        for (by, node) in (0..N::NODES).zip(&nodes) {
            let (node, published) = (Arc::clone(node), Arc::clone(&published));
            creating.spawn(async move {
                for by in (by..EACH).step_by(N::NODES.into()) {
                    while spread && published.load(Ordering::Acquire) < by {
                        sleep(Duration::from_millis(1)).await;
                    }
                    if spread {
                        sleep(OsEntropy.jitter(Duration::from_millis(8))).await;
                    }
                    let bytes = bytes(by);
                    let new = NewBinary::new(&bytes, "by/php");
                    node.create(id, &new).await.unwrap_or_else(|e| panic!("PHP {by}: {e}"));
                }
            });
        }
        for by in EACH..2 * EACH {
            let (files, published) = (site.files.clone(), Arc::clone(&published));
            creating.spawn(async move {
                let done = put(&files, id, &bytes(by), "by/ezdfs").await;
                done.unwrap_or_else(|e| panic!("ezdfs {by}: {e}"));
                published.fetch_add(1, Ordering::AcqRel);
            });
        }
        while let Some(done) = creating.join_next().await {
            done.unwrap();
        }

        let stored = site.read_settled(id).await;
        let by = stored[0];
        let what = format!("{spread} {of_all_sizes}: {} bytes by {by}", stored.len());
        assert!(by < 2 * EACH && stored == bytes(by), "{what}");
        assert_eq!(php.load(id).await.unwrap().size, u64::try_from(stored.len()).unwrap());
        assert_eq!(php.contents(id).await.unwrap(), stored, "{what}");
        assert_eq!(site.list("images/1").await, [id], "one row");
    }
}

pub(crate) async fn check_19_a_delete_by_ezdfs(site: &Site, php: &dyn IbexaNode) {
    for by_ezdfs in [true, false] {
        if by_ezdfs {
            site.put(ID, b"bytes", "image/png").await;
        } else {
            php.create(ID, &NewBinary::new(b"bytes", "image/png")).await.unwrap();
        }
        site.files.delete(&path(ID), &Precondition::None).await.unwrap();
        assert_eq!(site.row(ID).await, None);
        assert!(!site.file(ID).exists());
        assert!(!php.exists(ID).await.unwrap());
        assert!(matches!(php.load(ID).await, Err(NodeError::NotFound)));
        assert!(matches!(php.contents(ID).await, Err(NodeError::NotFound)));
        assert!(matches!(php.delete(ID).await, Err(NodeError::NotFound)));
        site.assert_absent(ID).await;
    }
}

pub(crate) async fn check_19_a_delete_by_php_shows_at_once(site: &Site, php: &dyn IbexaNode) {
    for by_ezdfs in [true, false] {
        if by_ezdfs {
            site.put(ID, b"bytes", "image/png").await;
        } else {
            php.create(ID, &NewBinary::new(b"bytes", "image/png")).await.unwrap();
        }
        assert_eq!(site.read(ID).await.unwrap(), b"bytes");
        assert_eq!(site.list("images/1").await, [ID]);
        php.delete(ID).await.unwrap();
        site.assert_absent(ID).await;
        let again = site.files.delete(&path(ID), &Precondition::None).await;
        assert_eq!(again.unwrap_err().kind(), ErrorKind::NotFound);
    }
    // Nothing of the past is in the way.
    site.put(ID, b"new", "image/png").await;
    assert_eq!(php.contents(ID).await.unwrap(), b"new");
}

pub(crate) async fn check_20_half_files_are_deleted(site: &Site, php: &PhpNode) {
    php.write_row(ID, &NewBinary::new(b"none", "image/png")).await.unwrap();
    assert!(php.exists(ID).await.unwrap());
    assert_eq!(site.read(ID).await.unwrap_err().kind(), ErrorKind::MissingBytes);
    assert_eq!(site.get(ID).await.status, 404);
    site.files.delete(&path(ID), &Precondition::None).await.unwrap();
    assert_eq!(site.row(ID).await, None);

    php.write_bytes(ID, b"bytes without a row").await.unwrap();
    let delete = || async {
        let deleted = site.files.delete(&path(ID), &Precondition::None).await;
        assert_eq!(deleted.unwrap_err().kind(), ErrorKind::NotFound);
    };
    // Deviation: PHP may be about to write the row of bytes so young.
    delete().await;
    assert!(site.file(ID).exists());
    sleep(SETTLE).await;
    delete().await;
    assert!(!site.file(ID).exists());
}

pub(crate) async fn check_21_bytes_without_a_row(site: &Site, php: &PhpNode) {
    // Killed in the middle of the bytes, and between bytes and row.
    let mut write = php.open_in_place("images/1/half").await.unwrap();
    write.append(b"half of ").unwrap();
    site.assert_absent("images/1/half").await;
    drop(write);
    php.write_bytes(ID, b"whole").await.unwrap();

    for id in ["images/1/half", ID] {
        site.assert_absent(id).await;
        assert!(site.file(id).exists(), "{id}: bytes of unknown origin are nobody's to delete");
    }
    assert_eq!(site.list("").await, [""; 0]);
    site.files.maintain().await.unwrap();
    assert!(site.file(ID).exists());

    // The editor tries again.
    php.create("images/1/half", &NewBinary::new(b"half of it", "image/png")).await.unwrap();
    assert_eq!(site.read("images/1/half").await.unwrap(), b"half of it");
    site.put(ID, b"by ezdfs", "image/png").await;
    assert_eq!(php.contents(ID).await.unwrap(), b"by ezdfs");
}
