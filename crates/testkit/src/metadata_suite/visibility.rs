//! What a reader sees, and what a publish stores.

use std::time::Duration;

use ezdfs_core::{Change, NewFile, Op, Timestamp};

use super::{
    START_SECS, Setup, entry, file, is_dir, is_file, list, mkdir, name, path, pin, publish, token,
    version,
};
use crate::foreign_writer::{hash_of, ibexa_row};

/// `expired` false and `mtime > 0`; `status`, scope and datatype do not matter.
pub async fn every_combination_of_marks(s: &Setup) {
    for expired in [false, true] {
        for status in [false, true] {
            for mtime in [-5, 0, 1, i64::from(i32::MAX)] {
                for datatype in ["", "misc", "image/png"] {
                    let at = format!("m/{expired}-{status}-{mtime}-{}", datatype.len());
                    let mut row = ibexa_row(&name(&at), 7, mtime, datatype);
                    row.base.expired = expired;
                    row.status = status;
                    s.foreign.set(hash_of(&name(&at)), &row).await;
                    let visible = !expired && mtime > 0;
                    assert_eq!(is_file(&*s.store, &at).await, visible, "{at}");
                    let base = at.strip_prefix("m/").unwrap().to_owned();
                    assert_eq!(list(&*s.store, "m").await.contains(&base), visible, "{at}");
                }
            }
        }
    }
}

/// Only foreign writers can make both.
pub async fn a_directory_wins_over_a_file(s: &Setup) {
    mkdir(&*s.store, "both").await.unwrap();
    s.foreign.store(&name("both"), 1, START_SECS, "a/b").await;
    assert!(is_dir(&*s.store, "both").await);
    assert_eq!(list(&*s.store, "").await, ["both"]);
    s.foreign.store(&name("b2"), 1, START_SECS, "a/b").await;
    s.foreign.store(&name("b2/c"), 1, START_SECS, "a/b").await;
    assert_eq!(list(&*s.store, "b2").await, ["c"]);
    assert!(is_dir(&*s.store, "b2").await);
}

/// By the clock, before any sweep, in records and listings; precise to the millisecond.
pub async fn an_expiry_hides_by_the_clock(s: &Setup) {
    let at = Timestamp::from_millis(START_SECS * 1000 + 1_500);
    publish(&*s.store, "t/a", NewFile { expires: Some(at), ..version(1, 1) }).await;
    assert_eq!(file(&*s.store, "t/a").await.expires, Some(at));
    s.clock.advance(Duration::from_millis(1_499));
    assert_eq!(list(&*s.store, "t").await, ["a"]);
    s.clock.advance(Duration::from_millis(1));
    assert!(entry(&*s.store, "t/a").await.is_none());
    assert!(list(&*s.store, "t").await.is_empty());
    assert_eq!(s.store.figures().await.unwrap().files, 0);
    publish(&*s.store, "t/a", version(2, 2)).await;
    assert_eq!(file(&*s.store, "t/a").await.expires, None);
}

/// A publish resets `expired` and `status`, whoever deleted the file.
pub async fn a_soft_deleted_file_is_revived(s: &Setup) {
    publish(&*s.store, "a/x.jpg", version(5, 1)).await;
    s.store.apply(Change::new().op(Op::HideFile(path("a/x.jpg")))).await.unwrap();
    assert!(entry(&*s.store, "a/x.jpg").await.is_none());
    let hidden = s.foreign.get(hash_of(&name("a/x.jpg"))).await.unwrap();
    assert!(hidden.base.expired);
    assert_eq!(hidden.base.mtime, -START_SECS);
    // The version survives the soft delete, so that it can be restored as it was.
    let record = s.store.record(&path("a/x.jpg")).await.unwrap();
    assert_eq!(record.file(&path("a/x.jpg")).unwrap().token, Some(token(1)));

    publish(&*s.store, "a/x.jpg", version(6, 2)).await;
    assert_eq!(file(&*s.store, "a/x.jpg").await.size, 6);

    let mut row = s.foreign.get(hash_of(&name("a/x.jpg"))).await.unwrap();
    row.base.expired = true;
    row.base.mtime = -row.base.mtime;
    row.status = true;
    s.foreign.set(hash_of(&name("a/x.jpg")), &row).await;
    assert!(entry(&*s.store, "a/x.jpg").await.is_none());
    publish(&*s.store, "a/x.jpg", version(7, 3)).await;
    let row = s.foreign.get(hash_of(&name("a/x.jpg"))).await.unwrap();
    assert!(!row.base.expired && !row.status);
    assert_eq!(row.base.mtime, START_SECS);
    assert_eq!(list(&*s.store, "a").await, ["x.jpg"]);
}

/// Ibexa's own create leaves `expired` set, and readers agree that the file is not there.
pub async fn php_does_not_revive(s: &Setup) {
    publish(&*s.store, "a/x.jpg", version(5, 1)).await;
    s.foreign.soft_delete(&name("a/x.jpg")).await;
    s.foreign.store(&name("a/x.jpg"), 9, START_SECS + 9, "image/png").await;
    assert!(entry(&*s.store, "a/x.jpg").await.is_none());
    assert!(list(&*s.store, "a").await.is_empty());
}

/// Nothing is lost between a publish and a load.
pub async fn what_a_publish_stores_is_loaded(s: &Setup) {
    let wanted = NewFile {
        expires: Some(Timestamp::from_millis(START_SECS * 1000 + 60_007)),
        mode: Some(0o640),
        uid: Some(33),
        gid: Some(u32::MAX),
        ..version(1 << 40, 1)
    };
    publish(&*s.store, "images/1/a.jpg", wanted.clone()).await;
    let found = file(&*s.store, "images/1/a.jpg").await;
    assert_eq!(found.path, path("images/1/a.jpg"));
    assert_eq!(found.size, wanted.size);
    assert_eq!(found.mtime, wanted.mtime);
    assert_eq!(found.datatype, wanted.datatype);
    assert_eq!(found.sha256, wanted.sha256);
    assert_eq!(found.token, wanted.token);
    assert_eq!(found.pin, wanted.pin);
    assert_eq!(found.expires, wanted.expires);
    assert_eq!(found.attrs.mode, wanted.mode);
    assert_eq!(found.attrs.uid, wanted.uid);
    assert_eq!(found.attrs.gid, wanted.gid);
    assert_eq!(found.attrs.ctime, s.store.now().await.unwrap());
    let listed = s.store.list(&super::dir("images/1"), None, 10).await.unwrap();
    assert_eq!(listed.entries, [ezdfs_core::Entry::File(found)]);

    // The base row holds 32 bits of seconds above zero; the true time stays in the node row.
    for nanos in [-1, 0, i64::MAX] {
        let mtime = Timestamp::from_nanos(nanos);
        publish(&*s.store, "images/t", NewFile { mtime, ..version(1, 1) }).await;
        let found = file(&*s.store, "images/t").await;
        assert_eq!(found.mtime, mtime);
        let row = s.foreign.get(hash_of(&name("images/t"))).await.unwrap();
        assert_eq!(row.base.mtime, mtime.base_mtime());
    }
}

/// Mode and owner stay unless the new version names them; the inode number stays.
pub async fn an_overwrite_keeps_inode_and_owner(s: &Setup) {
    let first = NewFile { mode: Some(0o600), uid: Some(1), gid: Some(2), ..version(1, 1) };
    publish(&*s.store, "a/x", first).await;
    publish(&*s.store, "a/y", version(1, 2)).await;
    let before = file(&*s.store, "a/x").await.attrs;
    s.clock.advance(Duration::from_secs(5));
    publish(&*s.store, "a/x", NewFile { uid: Some(9), ..version(2, 3) }).await;
    let after = file(&*s.store, "a/x").await.attrs;
    assert_eq!((after.mode, after.uid, after.gid), (Some(0o600), Some(9), Some(2)));
    assert_eq!(after.ino, before.ino);
    assert!(after.ctime > before.ctime);
    let other = file(&*s.store, "a/y").await.attrs;
    assert_ne!(other.ino, before.ino);
    assert!(before.ino > 1 && other.ino > 1, "inode 1 is the root of a mount");

    // The number of a removed file is not given to the next one.
    s.store.apply(Change::new().op(Op::RemoveFile(path("a/y")))).await.unwrap();
    publish(&*s.store, "a/z", version(1, 4)).await;
    assert_ne!(file(&*s.store, "a/z").await.attrs.ino, other.ino);
}

/// What PHP finds in the base row.
pub async fn a_base_row_has_ibexas_columns(s: &Setup) {
    for (at, scope) in [
        ("images/a.jpg", "image"),
        ("original/a.bin", "binaryfile"),
        ("images-versioned/a.jpg", "UNKNOWN_SCOPE"),
        ("other/a", "UNKNOWN_SCOPE"),
    ] {
        publish(&*s.store, at, version(11, 1)).await;
        let row = s.foreign.get(hash_of(&name(at))).await.unwrap();
        assert_eq!(row, {
            let mut wanted = ibexa_row(&name(at), 11, START_SECS, "image/jpeg");
            wanted.base.scope = scope.to_owned();
            wanted
        });
    }
    // An overwrite leaves what Ibexa's UPDATE leaves.
    let mut row = s.foreign.get(hash_of(&name("other/a"))).await.unwrap();
    row.name_trunk = "trunk".to_owned();
    row.base.scope = "odd".to_owned();
    s.foreign.set(hash_of(&name("other/a")), &row).await;
    publish(&*s.store, "other/a", NewFile { pin: Some(pin("p")), ..version(12, 2) }).await;
    let row = s.foreign.get(hash_of(&name("other/a"))).await.unwrap();
    assert_eq!((row.name_trunk.as_str(), row.base.scope.as_str()), ("trunk", "UNKNOWN_SCOPE"));
}
