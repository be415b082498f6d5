//! What PHP leaves behind and fsck finds: the fsck part of check 21, soft deletes, purges, and
//! directory deletes by collation.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use ezdfs_engine::fsck::{Event, FsckOptions, Kind, Repairs, Summary};
use ezdfs_testkit::php::NewBinary;
use ezdfs_testkit::servers::ServerKind;
use ezdfs_testkit::{IbexaNode, PhpNode};

use super::site::{Site, name};

type Findings = BTreeMap<Kind, Vec<String>>;

async fn fsck(site: &Site, safe: bool) -> (Findings, Summary) {
    let repairs = Repairs { safe, ..Repairs::default() };
    let options = FsckOptions { age: Duration::ZERO, repairs, ..FsckOptions::default() };
    let mut findings = Findings::new();
    let summary = site
        .files
        .fsck(&options, &mut |event| {
            if let Event::Found(finding) = event {
                findings.entry(finding.kind).or_default().push(finding.path.clone());
            }
            Ok(())
        })
        .await
        .unwrap();
    (findings, summary)
}

/// Makes a file older than everything that a repair leaves alone.
fn make_old(site: &Site, id: &str) {
    let file = std::fs::File::options().write(true).open(site.file(id)).unwrap();
    let two_hours_ago =
        std::fs::metadata(site.file(id)).unwrap().modified().unwrap() - Duration::from_secs(7_200);
    assert!(two_hours_ago > SystemTime::UNIX_EPOCH);
    file.set_modified(two_hours_ago).unwrap();
}

pub(crate) async fn check_21_fsck_lists_bytes_without_a_row(site: &Site, php: &PhpNode) {
    site.put("images/good", b"good", "image/png").await;
    php.create("images/theirs", &NewBinary::new(b"good", "image/png")).await.unwrap();
    php.write_bytes("images/1/a.png", b"whole").await.unwrap();
    let (findings, summary) = fsck(site, false).await;
    assert_eq!(findings, Findings::from([(Kind::Orphan, vec!["images/1/a.png".to_owned()])]));
    assert_eq!(summary.orphan_bytes, 5);

    // Too young for a repair: PHP may be about to write the row.
    let (findings, _) = fsck(site, true).await;
    assert!(findings.is_empty(), "{findings:?}");
    make_old(site, "images/1/a.png");
    let (_, summary) = fsck(site, true).await;
    assert_eq!(summary.repaired, BTreeMap::from([(Kind::Orphan, 1)]));
    assert!(!site.file("images/1/a.png").exists());
    assert!(fsck(site, false).await.0.is_empty());
    // The editor tries again, and nothing of the old bytes comes back.
    php.create("images/1/a.png", &NewBinary::new(b"again", "image/png")).await.unwrap();
    assert_eq!(site.read_settled("images/1/a.png").await, b"again");
    assert_eq!(php.contents("images/1/a.png").await.unwrap(), b"again");
}

pub(crate) async fn fsck_after_soft_deletes_and_purges_by_php(site: &Site, php: &PhpNode) {
    let new = |bytes: &'static [u8]| NewBinary::new(bytes, "image/png");
    for id in ["images/kept", "images/deleted", "images/purged", "images/trap"] {
        php.create(id, &new(b"first")).await.unwrap();
    }
    for id in ["images/deleted", "images/purged", "images/trap"] {
        php.soft_delete(id).await.unwrap();
    }
    // Killed between row and bytes.
    assert!(site.rows.purge(&name("images/purged")).await);
    // Ibexa's create keeps the mark (ibexa-dfs.md §1.7).
    php.create("images/trap", &new(b"second")).await.unwrap();
    assert!(!php.exists("images/trap").await.unwrap());
    for id in ["images/purged", "images/trap"] {
        make_old(site, id);
    }
    let expected = Findings::from([
        (Kind::Orphan, vec!["images/purged".to_owned()]),
        (Kind::TombstoneTrap, vec!["images/trap".to_owned()]),
    ]);
    assert_eq!(fsck(site, false).await.0, expected);
    let (_, summary) = fsck(site, true).await;
    assert_eq!(summary.repaired.values().sum::<u64>(), 2, "{summary:?}");
    assert!(fsck(site, false).await.0.is_empty());
    assert_eq!(php.load("images/trap").await.unwrap().size, 6);
    assert_eq!(php.contents("images/trap").await.unwrap(), b"second");
    assert_eq!(site.read_settled("images/trap").await, b"second");
    // What eZ Publish deleted softly is its own to purge.
    assert_eq!(std::fs::read(site.file("images/deleted")).unwrap(), b"first");
    assert!(!site.file("images/purged").exists());
}

pub(crate) async fn fsck_after_a_directory_delete_by_collation(site: &Site, php: &PhpNode) {
    site.put("images/good", b"good", "image/png").await;
    for id in ["images/Dir/a", "images/dir/a"] {
        site.put(id, b"ours", "image/png").await;
    }
    php.delete_directory("images/Dir").await.unwrap();
    let (findings, _) = fsck(site, false).await;
    match site.kind() {
        ServerKind::Postgres => assert!(findings.is_empty(), "{findings:?}"),
        ServerKind::Mariadb => {
            let expected = Findings::from([(Kind::Orphan, vec!["images/dir/a".to_owned()])]);
            assert_eq!(findings, expected);
            make_old(site, "images/dir/a");
            fsck(site, true).await;
            assert!(fsck(site, false).await.0.is_empty());
            // Somebody wants it back.
            let restored = site.files.restore_quarantine().await.unwrap();
            assert_eq!((restored.restored, restored.kept), (1, 0));
            assert_eq!(std::fs::read(site.file("images/dir/a")).unwrap(), b"ours");
        }
    }
}

pub(crate) async fn fsck_makes_entries_that_are_missing(site: &Site, php: &PhpNode) {
    for id in ["images/a/1", "images/a/b/2"] {
        php.create(id, &NewBinary::new(b"theirs", "image/png")).await.unwrap();
    }
    site.put("images/c/3", b"ours", "image/png").await;
    let before = site.list("").await;
    site.database.run("DELETE FROM ezdfs_node");
    assert!(site.list("").await.is_empty());
    let (findings, _) = fsck(site, false).await;
    let mut all: Vec<String> = before.iter().map(|p| p.trim_end_matches('/').to_owned()).collect();
    all.sort();
    let mut found = findings[&Kind::NotListed].clone();
    found.sort();
    assert_eq!(found, all, "{findings:?}");
    let (_, summary) = fsck(site, true).await;
    assert_eq!(summary.repaired[&Kind::NotListed], u64::try_from(all.len()).unwrap());
    assert!(fsck(site, false).await.0.is_empty());
    assert_eq!(site.list("").await, before);
    assert_eq!(site.read_settled("images/c/3").await, b"ours");
    assert_eq!(php.contents("images/c/3").await.unwrap(), b"ours");
}

pub(crate) async fn fsck_removes_entries_without_a_row(site: &Site, php: &PhpNode) {
    php.create("images/good", &NewBinary::new(b"good", "image/png")).await.unwrap();
    site.put("images/gone", b"gone", "image/png").await;
    php.delete("images/gone").await.unwrap();
    // The log was emptied before anybody has seen it.
    site.database.run("DELETE FROM ezdfs_change");
    let (findings, _) = fsck(site, false).await;
    assert_eq!(findings[&Kind::StrayEntry], ["gone"], "{findings:?}");
    let (_, summary) = fsck(site, true).await;
    assert_eq!(summary.repaired[&Kind::StrayEntry], 1, "{summary:?}");
    let (findings, _) = fsck(site, true).await;
    assert!(findings.is_empty(), "{findings:?}");
    assert_eq!(site.list("images").await, ["images/good"]);
}
