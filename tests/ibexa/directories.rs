//! Checks 22 to 24: deletes of directories.

use ezdfs_core::ErrorKind;
use ezdfs_testkit::IbexaNode;
use ezdfs_testkit::php::NewBinary;
use ezdfs_testkit::servers::ServerKind;

use super::site::{Site, path};

/// A file of each side in each directory.
async fn fill(site: &Site, php: &dyn IbexaNode, directories: &[&str]) {
    for dir in directories {
        site.put(&format!("{dir}/ours"), b"ours", "a/b").await;
        php.create(&format!("{dir}/theirs"), &NewBinary::new(b"theirs", "a/b")).await.unwrap();
    }
}

/// Both files of a directory are there for both sides.
async fn assert_full(site: &Site, php: &dyn IbexaNode, dir: &str) {
    for (file, bytes) in [("ours", b"ours".as_slice()), ("theirs", b"theirs")] {
        let id = format!("{dir}/{file}");
        assert_eq!(site.read(&id).await.unwrap(), bytes, "{id}");
        assert!(php.exists(&id).await.unwrap(), "{id}");
        assert_eq!(php.contents(&id).await.unwrap(), bytes, "{id}");
    }
    assert_eq!(site.list(dir).await, [format!("{dir}/ours"), format!("{dir}/theirs")]);
}

/// Neither side finds a row.
async fn assert_no_rows(site: &Site, php: &dyn IbexaNode, dir: &str) {
    for file in ["ours", "theirs"] {
        let id = format!("{dir}/{file}");
        assert_eq!(site.row(&id).await, None, "{id}");
        assert!(!php.exists(&id).await.unwrap(), "{id}");
        site.assert_absent(&id).await;
    }
}

async fn assert_no_files(site: &Site, dir: &str) {
    let mut left = site.list(dir).await;
    left.retain(|path| !path.ends_with('/'));
    assert_eq!(left, [""; 0]);
}

fn assert_no_bytes(site: &Site, dir: &str) {
    for file in ["ours", "theirs"] {
        assert!(!site.file(&format!("{dir}/{file}")).exists(), "{dir}/{file}");
    }
}

pub(crate) async fn check_22_a_directory_delete_is_exact(site: &Site, php: &dyn IbexaNode) {
    let deleted = ["images/a_b", "images/p%c", "images/1"];
    let kept = ["images/aXb", "images/pqc", "images/10"];
    for by_ezdfs in [true, false] {
        fill(site, php, &[deleted, kept].concat()).await;
        for dir in deleted {
            if by_ezdfs {
                let done = site.files.delete_dir(&path(dir), |_| {}).await.unwrap();
                assert_eq!((done.files, done.skipped_count), (2, 0), "{dir}");
            } else {
                php.delete_directory(dir).await.unwrap();
            }
            assert_no_rows(site, php, dir).await;
            assert_no_bytes(site, dir);
        }
        for dir in kept {
            assert_full(site, php, dir).await;
        }
    }
}

/// Deviation on MariaDB: PHP's LIKE follows the collation, and leaves the bytes of the twins.
pub(crate) async fn check_23_twins_of_a_deleted_directory_stay(site: &Site, php: &dyn IbexaNode) {
    for (deleted, twin) in [("images/Dir", "images/dir"), ("images/\u{e9}", "images/e")] {
        fill(site, php, &[deleted, twin]).await;
        let done = site.files.delete_dir(&path(deleted), |_| {}).await.unwrap();
        assert_eq!(done.files, 2, "{deleted}");
        assert_no_rows(site, php, deleted).await;
        assert_no_bytes(site, deleted);
        assert_full(site, php, twin).await;

        fill(site, php, &[deleted]).await;
        php.delete_directory(deleted).await.unwrap();
        assert_no_rows(site, php, deleted).await;
        assert_no_bytes(site, deleted);
        match site.kind() {
            ServerKind::Postgres => assert_full(site, php, twin).await,
            ServerKind::Mariadb => {
                assert_no_rows(site, php, twin).await;
                let orphan = std::fs::read(site.file(&format!("{twin}/ours"))).unwrap();
                assert_eq!(orphan, b"ours", "{twin}: nobody served them, nobody took them away");
            }
        }
    }
}

pub(crate) async fn check_24_a_purge_by_php(site: &Site, php: &dyn IbexaNode) {
    let (purged, kept) = ["images/_aliases/large", "images/_aliases/small"].into();
    let below = [format!("{purged}/1/2"), format!("{kept}/1/2")];
    fill(site, php, &[purged, &below[0], kept, &below[1]]).await;
    assert_full(site, php, &below[0]).await;

    php.delete_directory(purged).await.unwrap();
    // At once, and without a restart.
    assert_no_files(site, purged).await;
    assert_no_rows(site, php, purged).await;
    assert_no_rows(site, php, &below[0]).await;
    assert_full(site, php, &below[1]).await;

    // The next page view makes the variation anew.
    fill(site, php, &[&below[0]]).await;
    assert_full(site, php, &below[0]).await;

    // Deviation: directories of ezdfs stay until they are removed, for one may have made them.
    php.delete_directory(purged).await.unwrap();
    assert_no_files(site, purged).await;
    let done = site.files.delete_dir(&path(purged), |_| {}).await.unwrap();
    assert_eq!(done.files, 0);
    let gone = site.files.entry(&path(purged).into()).await;
    assert_eq!(gone.unwrap_err().kind(), ErrorKind::NotFound);
}
