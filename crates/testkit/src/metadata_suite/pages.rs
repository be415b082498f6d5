//! Listings and walks.

use ezdfs_core::{Change, Op};

use super::{
    START_SECS, Setup, dir, list, list_by, mkdir, name, path, publish, scan, scan_by, version,
};

/// Byte order: upper case first, `10` before `9`, multi-byte last; files and directories mixed.
pub async fn listings_are_ordered_by_bytes(s: &Setup) {
    for base in ["b", "a", "B", "é", "10", "9", "a b", "a-b", "a.b", "ab", "😀", "~"] {
        publish(&*s.store, &format!("o/{base}"), version(1, 1)).await;
    }
    mkdir(&*s.store, "o/a!").await.unwrap();
    publish(&*s.store, "o/d/below", version(1, 1)).await;
    let wanted = ["10", "9", "B", "a", "a b", "a!", "a-b", "a.b", "ab", "b", "d", "~", "é", "😀"];
    assert_eq!(list(&*s.store, "o").await, wanted);
    assert_eq!(list_by(&*s.store, "o", 1).await, wanted);
    let page = s.store.list(&dir("o"), Some("a "), 2).await.unwrap();
    let names: Vec<&str> = page.entries.iter().map(|e| e.basename()).collect();
    assert_eq!(names, ["a b", "a!"]);
    assert_eq!(page.next.as_deref(), Some("a!"));
    assert_eq!(list(&*s.store, "").await, ["o"]);
    assert!(list(&*s.store, "unknown").await.is_empty());
    assert!(list(&*s.store, "o/a").await.is_empty());
}

/// Any page size gives the same list.
pub async fn pages_have_no_gap_and_no_double(s: &Setup) {
    let mut change = Change::new();
    let mut wanted = Vec::new();
    for n in 0..53 {
        let base = format!("f{n:03}");
        change = change.op(Op::PutFile { path: path(&format!("p/{base}")), file: version(1, 1) });
        wanted.push(base);
    }
    s.store.apply(change).await.unwrap();
    for limit in [1, 2, 7, 52, 53, 54, 1000] {
        assert_eq!(list_by(&*s.store, "p", limit).await, wanted, "pages of {limit}");
    }
    let end = s.store.list(&dir("p"), Some("f052"), 10).await.unwrap();
    assert!(end.entries.is_empty() && end.next.is_none());
}

/// A page may be empty and have a successor.
pub async fn invisible_rows_are_passed_over(s: &Setup) {
    for n in 0..30 {
        publish(&*s.store, &format!("i/f{n:02}"), version(1, 1)).await;
        if n % 10 != 9 {
            s.store
                .apply(Change::new().op(Op::HideFile(path(&format!("i/f{n:02}")))))
                .await
                .unwrap();
        }
    }
    for limit in [1, 3, 100] {
        assert_eq!(list_by(&*s.store, "i", limit).await, ["f09", "f19", "f29"], "by {limit}");
    }
}

/// A walk over a directory that grows shows everything that was there from start to end, once.
pub async fn pages_over_concurrent_inserts(s: &Setup) {
    for n in 0..40 {
        publish(&*s.store, &format!("g/f{n:02}"), version(1, 1)).await;
    }
    let store = std::sync::Arc::clone(&s.store);
    let grow = tokio::spawn(async move {
        for n in 0..40 {
            publish(&*store, &format!("g/f{n:02}x"), version(1, 1)).await;
            publish(&*store, &format!("g/e{n:02}"), version(1, 1)).await;
        }
    });
    let seen = list_by(&*s.store, "g", 3).await;
    grow.await.unwrap();
    let mut unique = seen.clone();
    unique.dedup();
    assert_eq!(unique, seen, "a double");
    for n in 0..40 {
        assert!(seen.contains(&format!("f{n:02}")), "f{n:02} is missing");
    }
    assert_eq!(list_by(&*s.store, "g", 7).await.len(), 120);
}

/// A walk of one directory shows nothing of its twins.
pub async fn scans_are_exact(s: &Setup) {
    let twins = [
        ("a_b", "aXb"),
        ("p%c", "pqc"),
        ("1", "10"),
        ("Dir", "dir"),
        ("\u{e9}", "e"),
        ("d", "d.x"),
        ("d", "d-x"),
        ("d", "d0"),
    ];
    for (one, other) in twins {
        publish(&*s.store, &format!("{one}/f"), version(1, 1)).await;
        publish(&*s.store, &format!("{other}/f"), version(1, 1)).await;
    }
    for (one, other) in twins {
        assert_eq!(scan(&*s.store, one).await, [format!("{one}/f")], "{one} against {other}");
    }
    // A file of the directory's own name lies beside it, not below.
    s.foreign.store(&name("d"), 1, START_SECS, "a/b").await;
    assert_eq!(scan(&*s.store, "d").await, ["d/f"]);
}

/// Whole, at any page size, invisible rows included.
pub async fn scans_page(s: &Setup) {
    let mut wanted = Vec::new();
    for at in ["w/a", "w/a/b", "w/a.b", "w/a0", "w/b", "w/z/1", "w/z/2"] {
        s.foreign.store(&name(at), 1, START_SECS, "a/b").await;
        wanted.push(at.to_owned());
    }
    s.foreign.soft_delete(&name("w/b")).await;
    wanted.sort();
    for limit in [1, 2, 6, 7, 8] {
        assert_eq!(scan_by(&*s.store, "w", limit).await, wanted, "pages of {limit}");
        assert_eq!(scan_by(&*s.store, "", limit).await, wanted, "pages of {limit} of the root");
    }
}

/// Whatever hides a row makes it a tombstone.
pub async fn tombstones_are_listed(s: &Setup) {
    for at in ["t/a", "t/b", "t/c", "t/d", "tt/e"] {
        publish(&*s.store, at, version(1, 1)).await;
    }
    s.store.apply(Change::new().op(Op::HideFile(path("t/c")))).await.unwrap();
    s.foreign.soft_delete(&name("t/a")).await;
    s.foreign.store(&name("t/d"), 1, 0, "a/b").await;
    s.foreign.soft_delete(&name("tt/e")).await;
    for limit in [1, 2, 10] {
        let mut found = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = s.store.tombstones(&dir("t"), after.as_deref(), limit).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(name(last.path.as_str()));
            assert!(page.iter().all(|t| !t.record.base.as_ref().unwrap().visible()));
            found.extend(page.into_iter().map(|t| t.path.to_string()));
        }
        assert_eq!(found, ["t/a", "t/c", "t/d"], "pages of {limit}");
    }
    assert_eq!(s.store.tombstones(&dir(""), None, 10).await.unwrap().len(), 4);
}
