//! Names are bytes.

use ezdfs_core::{Change, ErrorKind, Op};

use super::{
    PREFIX, START_SECS, Setup, dir, entry, expect_kind, file, is_file, list, mkdir, name, path,
    publish, put, scan, version,
};
use crate::foreign_writer::{hash_of, ibexa_row};

/// Names that SQL, LIKE or a shell would misread.
const LITERAL: [&str; 12] = [
    "it's",
    "\"quoted\"",
    "100%",
    "a_b",
    "back\\slash",
    "😀.png",
    "x; DROP TABLE t;--",
    "trailing space ",
    " leading",
    "a?b#c",
    "null",
    "é",
];

/// Each is stored, loaded, listed, scanned and deleted as it is.
pub async fn literal_names(s: &Setup) {
    for (n, base) in LITERAL.iter().enumerate() {
        publish(&*s.store, &format!("lit/{base}"), version(u64::try_from(n).unwrap() + 1, 1)).await;
    }
    let mut sorted: Vec<String> = LITERAL.iter().map(|b| (*b).to_owned()).collect();
    sorted.sort();
    assert_eq!(list(&*s.store, "lit").await, sorted);
    let scanned: Vec<String> = sorted.iter().map(|b| format!("lit/{b}")).collect();
    assert_eq!(scan(&*s.store, "lit").await, scanned);
    for (n, base) in LITERAL.iter().enumerate() {
        let at = format!("lit/{base}");
        assert_eq!(file(&*s.store, &at).await.size, u64::try_from(n).unwrap() + 1, "{at}");
        let row = s.foreign.get(hash_of(&name(&at))).await.unwrap();
        assert_eq!(row.base.name, name(&at));
        s.store.apply(Change::new().op(Op::RemoveFile(path(&at)))).await.unwrap();
        assert!(!is_file(&*s.store, &at).await, "{at}");
        assert_eq!(list(&*s.store, "lit").await.len(), LITERAL.len() - n - 1, "{at}");
    }
    for base in LITERAL {
        mkdir(&*s.store, &format!("lit/{base}")).await.unwrap();
        publish(&*s.store, &format!("lit/{base}/f"), version(1, 1)).await;
        assert_eq!(list(&*s.store, &format!("lit/{base}")).await, ["f"], "{base}");
    }
}

/// Names that a collation, a normaliser or a prefix test would confuse.
pub async fn twins_are_distinct(s: &Setup) {
    let twins = ["A.png", "a.png", "\u{e9}", "e\u{301}", "e", "ß", "ss", "1", "10", "1 "];
    for (n, twin) in twins.iter().enumerate() {
        publish(&*s.store, &format!("tw/{twin}"), version(u64::try_from(n).unwrap() + 1, 1)).await;
    }
    for (n, twin) in twins.iter().enumerate() {
        let size = file(&*s.store, &format!("tw/{twin}")).await.size;
        assert_eq!(size, u64::try_from(n).unwrap() + 1, "{twin:?}");
    }
    assert_eq!(list(&*s.store, "tw").await.len(), twins.len());
    assert!(entry(&*s.store, "TW/a.png").await.is_none());
}

/// MD5 can be made to collide: a hit with another name is none, and nothing can be stored there.
pub async fn another_name_under_the_same_hash(s: &Setup) {
    let hash = hash_of(&name("c/a"));
    s.foreign.set(hash, &ibexa_row(&name("c/evil"), 1, START_SECS, "a/b")).await;
    let record = s.store.record(&path("c/a")).await.unwrap();
    assert!(record.collision && record.base.is_none());
    assert!(entry(&*s.store, "c/a").await.is_none());
    assert!(list(&*s.store, "c").await.is_empty());
    expect_kind(s.store.apply(put("c/a", version(1, 1))).await, ErrorKind::HashCollision);
    expect_kind(mkdir(&*s.store, "c/a").await, ErrorKind::HashCollision);
    s.store.apply(Change::new().op(Op::RemoveFile(path("c/a")))).await.unwrap();
    s.store.apply(Change::new().op(Op::HideFile(path("c/a")))).await.unwrap();
    let row = s.foreign.get(hash).await.unwrap();
    assert_eq!(row.base.name, name("c/evil"), "the other row is not ours to touch");
    assert!(!row.base.expired);
}

/// PHP can store names that no door serves; walks say so and go on.
pub async fn a_name_that_breaks_the_rules_is_reported_by_scans(s: &Setup) {
    for odd in ["s/x//y", "s/../z", "s/./z", "s/a\nb", "s/"] {
        s.foreign.store(&name(odd), 1, START_SECS, "a/b").await;
    }
    s.foreign.store(&format!("{PREFIX}/"), 1, START_SECS, "a/b").await;
    s.foreign.set(hash_of("whatever"), &ibexa_row(&name("s/wrong"), 1, START_SECS, "a/b")).await;
    publish(&*s.store, "s/good", version(1, 1)).await;
    assert_eq!(scan(&*s.store, "").await, ["s/good"]);
    assert_eq!(super::scan_by(&*s.store, "", 1).await, ["s/good"]);
    let page = s.store.scan(&dir(""), None, 100).await.unwrap();
    let bad: Vec<String> = page.rows.into_iter().filter_map(Result::err).map(|r| r.name).collect();
    assert_eq!(bad.len(), 7);
    assert!(bad.contains(&name("s/x//y")) && bad.contains(&name("s/wrong")));
    assert_eq!(list(&*s.store, "s").await, ["good"]);
}

/// Up to the longest path and the longest segment.
pub async fn long_paths(s: &Setup) {
    let segment = "ü".repeat(127) + "x";
    assert_eq!(segment.len(), 255);
    let deep = vec![segment.as_str(); 15].join("/") + "/" + &"y".repeat(255);
    assert_eq!(deep.len(), 4095);
    publish(&*s.store, &deep, version(3, 1)).await;
    assert_eq!(file(&*s.store, &deep).await.size, 3);
    assert_eq!(list(&*s.store, &segment).await, std::slice::from_ref(&segment));
    assert_eq!(scan(&*s.store, "").await, [deep]);
}
