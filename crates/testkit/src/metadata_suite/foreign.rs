//! Foreign writers are first-class.

use std::time::Duration;

use ezdfs_core::{Change, ErrorKind, Guard, NewFile, Op, Progress, Timestamp};

use super::{
    PREFIX, START_SECS, Setup, entry, expect_kind, file, is_file, list, materialise, name, path,
    pin, publish, put, token, version,
};
use crate::foreign_writer::{hash_of, ibexa_row};

/// By path at once, and by the next listing, ancestors included.
pub async fn an_insert_is_listed(s: &Setup) {
    s.foreign.store(&name("images/1/2/a.jpg"), 42, START_SECS + 3, "image/jpeg").await;
    let found = file(&*s.store, "images/1/2/a.jpg").await;
    assert_eq!((found.size, found.mtime), (42, Timestamp::from_secs(START_SECS + 3)));
    assert_eq!((found.token, found.sha256, found.attrs.ino), (None, None, 0));
    assert_eq!(s.store.figures().await.unwrap().feed_lag, 1);
    assert_eq!(list(&*s.store, "").await, ["images"]);
    assert_eq!(s.store.figures().await.unwrap().feed_lag, 0);
    assert_eq!(list(&*s.store, "images/1").await, ["2"]);
    assert_eq!(list(&*s.store, "images/1/2").await, ["a.jpg"]);
    assert!(file(&*s.store, "images/1/2/a.jpg").await.attrs.ino > 1);
    // A hidden row makes no directories.
    let mut row = ibexa_row(&name("hid/den/x"), 1, START_SECS, "a/b");
    row.base.expired = true;
    s.foreign.set(hash_of(&name("hid/den/x")), &row).await;
    assert_eq!(list(&*s.store, "").await, ["images"]);
}

/// Everything that described the old bytes counts as unknown, before and after the materialiser.
pub async fn an_overwrite_voids_the_version(s: &Setup) {
    let full = NewFile {
        expires: Some(Timestamp::from_secs(START_SECS + 100)),
        mode: Some(0o600),
        uid: Some(5),
        ..version(10, 1)
    };
    publish(&*s.store, "v/a", full).await;
    s.foreign.store(&name("v/a"), 11, START_SECS + 7, "image/png").await;
    for step in ["before", "after"] {
        let found = file(&*s.store, "v/a").await;
        assert_eq!((found.size, found.datatype.as_str()), (11, "image/png"), "{step}");
        assert_eq!(found.mtime, Timestamp::from_secs(START_SECS + 7), "{step}");
        assert_eq!((found.token, found.sha256), (None, None), "{step}");
        assert_eq!((&found.pin, found.expires), (&None, None), "{step}");
        assert_eq!((found.attrs.mode, found.attrs.uid), (Some(0o600), Some(5)), "{step}");
        materialise(&*s.store).await;
    }
    assert_eq!(list(&*s.store, "v").await, ["a"]);
}

/// Size and second are the same: only the feed knows.
pub async fn an_overwrite_in_the_same_second_voids_the_version(s: &Setup) {
    publish(&*s.store, "v/same", version(10, 1)).await;
    materialise(&*s.store).await;
    s.foreign.store(&name("v/same"), 10, START_SECS, "image/jpeg").await;
    let progress = s.store.materialise(10).await.unwrap();
    assert_eq!((progress.seen, progress.more), (1, false));
    assert!(progress.changed >= 1);
    let found = file(&*s.store, "v/same").await;
    assert_eq!((found.token, found.sha256, found.pin), (None, None, None));
}

/// A change that one of us has overtaken says nothing of the present version.
pub async fn a_later_publish_is_not_voided(s: &Setup) {
    s.foreign.store(&name("v/later"), 10, START_SECS, "image/jpeg").await;
    publish(&*s.store, "v/later", version(10, 4)).await;
    materialise(&*s.store).await;
    assert_eq!(file(&*s.store, "v/later").await.token, Some(token(4)));

    s.foreign.delete(&name("v/later")).await;
    publish(&*s.store, "v/later", version(10, 5)).await;
    materialise(&*s.store).await;
    assert_eq!(file(&*s.store, "v/later").await.token, Some(token(5)));
}

/// At once by path, and from listings.
pub async fn a_delete_removes_the_entry(s: &Setup) {
    publish(&*s.store, "d/a", version(1, 1)).await;
    publish(&*s.store, "d/b", version(1, 2)).await;
    assert!(s.foreign.delete(&name("d/a")).await);
    assert!(entry(&*s.store, "d/a").await.is_none());
    assert_eq!(list(&*s.store, "d").await, ["b"]);
    assert!(s.store.record(&path("d/a")).await.unwrap().node.is_none(), "a row without a file");
    // Re-created by PHP it is a new file without the old one's version.
    s.foreign.store(&name("d/a"), 1, START_SECS, "image/jpeg").await;
    assert_eq!(list(&*s.store, "d").await, ["a", "b"]);
    assert_eq!(file(&*s.store, "d/a").await.token, None);
}

/// The legacy way.
pub async fn a_soft_delete_hides(s: &Setup) {
    publish(&*s.store, "d/soft", version(1, 1)).await;
    s.foreign.soft_delete(&name("d/soft")).await;
    assert!(entry(&*s.store, "d/soft").await.is_none());
    assert!(list(&*s.store, "d").await.is_empty());
    assert_eq!(s.store.tombstones(&super::dir("d"), None, 10).await.unwrap().len(), 1);
}

/// One statement of PHP's, many rows.
pub async fn a_directory_delete_is_followed(s: &Setup) {
    for at in ["x/_aliases/large/1", "x/_aliases/large/2/3", "x/_aliases/largeX/1"] {
        publish(&*s.store, at, version(1, 1)).await;
    }
    s.foreign.delete_directory(&name("x/_aliases/large")).await;
    assert!(list(&*s.store, "x/_aliases/large/2").await.is_empty());
    assert_eq!(list(&*s.store, "x/_aliases/large").await, ["2"], "directories stay");
    assert_eq!(list(&*s.store, "x/_aliases/largeX").await, ["1"]);
}

/// Twice the same is once.
pub async fn materialising_is_idempotent(s: &Setup) {
    for _ in 0..3 {
        s.foreign.store(&name("i/a"), 5, START_SECS, "a/b").await;
    }
    let progress = s.store.materialise(100).await.unwrap();
    assert_eq!(progress.seen, 3);
    // The file and the directories above it, once each.
    let above = u64::try_from(name("i/a").matches('/').count()).unwrap();
    assert_eq!(progress.changed, 1 + above);
    let before = file(&*s.store, "i/a").await;
    assert_eq!(s.store.materialise(100).await.unwrap(), Progress::default());
    s.foreign.store(&name("i/a"), 5, START_SECS, "a/b").await;
    s.clock.advance(Duration::from_secs(9));
    assert_eq!(s.store.materialise(100).await.unwrap().changed, 0, "nothing is known to void");
    assert_eq!(file(&*s.store, "i/a").await, before);
}

/// In pieces of the size that was asked for, each change once.
pub async fn materialising_goes_in_steps(s: &Setup) {
    for n in 0..10 {
        s.foreign.store(&name(&format!("st/f{n}")), 5, START_SECS, "a/b").await;
    }
    for left in [6, 2] {
        let progress = s.store.materialise(4).await.unwrap();
        assert_eq!((progress.seen, progress.more), (4, true));
        assert_eq!(s.store.figures().await.unwrap().feed_lag, left);
    }
    let progress = s.store.materialise(4).await.unwrap();
    assert_eq!((progress.seen, progress.changed, progress.more), (2, 2, false));
    assert_eq!(list(&*s.store, "st").await.len(), 10);
}

/// What we write needs no materialiser.
pub async fn own_changes_are_not_foreign(s: &Setup) {
    publish(&*s.store, "own/a", version(1, 1)).await;
    publish(&*s.neighbour, "own/a", version(1, 2)).await;
    s.store.apply(Change::new().op(Op::HideFile(path("own/a")))).await.unwrap();
    s.store.apply(Change::new().op(Op::RemoveFile(path("own/a")))).await.unwrap();
    assert_eq!(s.store.figures().await.unwrap().feed_lag, 0);
    assert_eq!(s.store.materialise(10).await.unwrap(), Progress::default());
}

/// Names that get no entry are passed, and what follows them is seen.
pub async fn odd_names_do_not_stop_the_materialiser(s: &Setup) {
    for odd in ["", "/", "//", "/var/site/storage/o", "a//b", "..", "var/../x"] {
        s.foreign.store(odd, 1, START_SECS, "a/b").await;
    }
    s.foreign.store(&name("o/a\u{0}b"), 1, START_SECS, "a/b").await;
    s.foreign.store(&name(&"x".repeat(5000)), 1, START_SECS, "a/b").await;
    s.foreign.store(&name(".ezdfs/x"), 1, START_SECS, "a/b").await;
    s.foreign.store(&name("o/good"), 1, START_SECS, "a/b").await;
    materialise(&*s.store).await;
    assert_eq!(list(&*s.store, "o").await, ["good"]);
    assert_eq!(list(&*s.store, "").await, ["o"]);
    expect_kind(s.store.apply(put("o", version(1, 1))).await, ErrorKind::IsDirectory);
    assert_eq!(s.store.figures().await.unwrap().feed_lag, 0);
}

/// Such a row is no file, for it can be loaded by no path.
pub async fn a_hash_that_is_not_the_names(s: &Setup) {
    s.foreign.set(hash_of("elsewhere"), &ibexa_row(&name("w/a"), 1, START_SECS, "a/b")).await;
    assert!(!is_file(&*s.store, "w/a").await);
    assert!(list(&*s.store, "w").await.is_empty());
    publish(&*s.store, "w/a", version(2, 1)).await;
    assert_eq!(file(&*s.store, "w/a").await.size, 2);
    assert_eq!(list(&*s.store, "w").await, ["a"]);
}

/// The pin of a foreign version, with the row's present fingerprint and nothing else.
pub async fn a_pin_is_remembered(s: &Setup) {
    let set = |at: &str, etag: &str| {
        s.store.apply(Change::new().op(Op::SetPin { path: path(at), pin: pin(etag) }))
    };
    expect_kind(set("p/none", "e").await, ErrorKind::Stale);
    s.foreign.store(&name("p/a"), 5, START_SECS, "a/b").await;
    set("p/a", "e1").await.unwrap();
    let found = file(&*s.store, "p/a").await;
    assert_eq!((found.pin, found.token, found.sha256), (Some(pin("e1")), None, None));
    assert_eq!(list(&*s.store, "p").await, ["a"]);

    // After a foreign overwrite the pin is void until it is set again.
    s.foreign.store(&name("p/a"), 6, START_SECS + 1, "a/b").await;
    assert_eq!(file(&*s.store, "p/a").await.pin, None);
    set("p/a", "e2").await.unwrap();
    assert_eq!(file(&*s.store, "p/a").await.pin, Some(pin("e2")));

    // Our own version keeps what is known of it.
    publish(&*s.store, "p/b", version(7, 3)).await;
    set("p/b", "e3").await.unwrap();
    let found = file(&*s.store, "p/b").await;
    assert_eq!((found.pin, found.token), (Some(pin("e3")), Some(token(3))));

    let witness = Some(file(&*s.store, "p/b").await.witness);
    publish(&*s.store, "p/b", version(7, 4)).await;
    let late = Change::new()
        .guard(Guard::Unchanged { path: path("p/b"), witness })
        .op(Op::SetPin { path: path("p/b"), pin: pin("late") });
    expect_kind(s.store.apply(late).await, ErrorKind::Stale);
}

/// What the materialiser has not seen stays, however old.
pub async fn the_feed_is_trimmed_behind_the_materialiser(s: &Setup) {
    let end_of_time = Timestamp::from_nanos(i64::MAX);
    publish(&*s.store, "f/own", version(1, 1)).await;
    s.foreign.store(&name("f/php"), 1, START_SECS, "a/b").await;
    publish(&*s.store, "f/own", version(1, 2)).await;
    assert_eq!(s.store.trim_feed(Timestamp::default()).await.unwrap(), 0, "nothing is so old");
    assert_eq!(s.store.trim_feed(end_of_time).await.unwrap(), 1);
    assert_eq!(s.store.figures().await.unwrap().feed_lag, 1);
    materialise(&*s.store).await;
    assert_eq!(s.store.trim_feed(end_of_time).await.unwrap(), 2);
    assert_eq!(s.store.trim_feed(end_of_time).await.unwrap(), 0);
    // The sequence goes on above the trimmed rows.
    s.foreign.store(&name("f/php2"), 1, START_SECS, &format!("x/{PREFIX}")).await;
    assert_eq!(list(&*s.store, "f").await, ["own", "php", "php2"]);
    expect_kind(s.store.apply(put("f", version(1, 1))).await, ErrorKind::IsDirectory);
}
