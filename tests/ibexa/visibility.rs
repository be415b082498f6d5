//! Checks 9 to 14: which rows exist for a reader. The mount part of check 9 comes with the mount.

use ezdfs_core::BaseRow;
use ezdfs_metadata::memory::ForeignRow;
use ezdfs_testkit::IbexaNode;
use ezdfs_testkit::php::NewBinary;
use ezdfs_testkit::servers::ServerKind;

use super::site::{Site, name, path};

const ID: &str = "images/1/a.png";

/// A file of PHP; its row.
async fn file(site: &Site, php: &dyn IbexaNode) -> ForeignRow {
    php.create(ID, &NewBinary::new(b"bytes", "image/png")).await.unwrap();
    assert_eq!(site.read(ID).await.unwrap(), b"bytes");
    site.row(ID).await.unwrap()
}

/// Hides the file by these marks from both sides, and shows it again.
async fn assert_hidden(site: &Site, php: &dyn IbexaNode, expired: bool, mtime: i64) {
    let shown = file(site, php).await;
    let marked = BaseRow { expired, mtime, ..shown.base.clone() };
    site.set(&ForeignRow { base: marked, ..shown.clone() }).await;
    assert!(!php.exists(ID).await.unwrap());
    site.assert_absent(ID).await;
    assert_eq!(std::fs::read(site.file(ID)).unwrap(), b"bytes", "nobody touched them");

    site.set(&shown).await;
    assert!(php.exists(ID).await.unwrap());
    assert_eq!(site.read(ID).await.unwrap(), b"bytes");
    assert_eq!(site.list("images/1").await, [ID]);
    assert_eq!(site.get(ID).await.status, 200);
}

pub(crate) async fn check_09_expired_rows(site: &Site, php: &dyn IbexaNode) {
    assert_hidden(site, php, true, 1_700_000_000).await;
    if site.kind() == ServerKind::Mariadb {
        // A number there: only 1 is `true`.
        site.database.run(&format!("UPDATE {} SET expired = 2", site.table));
        assert!(php.exists(ID).await.unwrap());
        assert_eq!(site.read(ID).await.unwrap(), b"bytes");
        assert_eq!(site.list("images/1").await, [ID]);
    }
}

pub(crate) async fn check_10_negative_mtime(site: &Site, php: &dyn IbexaNode) {
    assert_hidden(site, php, false, -1_700_000_000).await;
}

pub(crate) async fn check_11_mtime_zero(site: &Site, php: &dyn IbexaNode) {
    assert_hidden(site, php, false, 0).await;
}

pub(crate) async fn check_12_legacy_tombstones(site: &Site, php: &dyn IbexaNode) {
    let row = file(site, php).await;
    php.soft_delete(ID).await.unwrap();
    let hidden = site.row(ID).await.unwrap();
    assert_eq!((hidden.base.mtime, hidden.base.expired), (-row.base.mtime, true));
    site.assert_absent(ID).await;
    assert_eq!(std::fs::read(site.file(ID)).unwrap(), b"bytes", "they remain");
    // eZ Publish stores it again, with one statement that clears both marks.
    site.rows.legacy_store(&name(ID), 5, row.base.mtime, "image/png").await;
    assert_eq!(site.read(ID).await.unwrap(), b"bytes");
}

pub(crate) async fn check_13_status_means_nothing(site: &Site, php: &dyn IbexaNode) {
    let row = file(site, php).await;
    site.set(&ForeignRow { status: true, ..row }).await;
    assert!(php.exists(ID).await.unwrap());
    assert_eq!(site.read(ID).await.unwrap(), b"bytes");
    assert_eq!(site.list("images/1").await, [ID]);
}

pub(crate) async fn check_14_unknown_scopes_and_legacy_types(site: &Site, php: &dyn IbexaNode) {
    let row = file(site, php).await;
    for scope in ["", "viewcache", "mediafile", "UNKNOWN_SCOPE"] {
        for (datatype, served) in [
            ("", "application/octet-stream"),
            ("misc", "application/octet-stream"),
            ("image/png", "image/png"),
        ] {
            let (scope, datatype) = (scope.to_owned(), datatype.to_owned());
            let base = BaseRow { scope, datatype, ..row.base.clone() };
            site.set(&ForeignRow { base: base.clone(), ..row.clone() }).await;
            assert_eq!(php.mime_type(ID).await.unwrap(), base.datatype);
            assert_eq!(site.files.load(&path(ID)).await.unwrap().datatype, base.datatype);
            let answer = site.get(ID).await;
            assert_eq!((answer.status, answer.body.as_slice()), (200, b"bytes".as_slice()));
            assert_eq!(answer.header("content-type"), Some(served), "{base:?}");
        }
    }
}
