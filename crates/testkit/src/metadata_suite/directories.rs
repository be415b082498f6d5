//! Directories.

use std::time::Duration;

use ezdfs_core::{Change, Entry, ErrorKind, Op, Result, Timestamp};

use super::{
    START_SECS, Setup, dir, entry, expect_kind, file, is_dir, is_file, list, mkdir, name, path,
    publish, put, version,
};

async fn rmdir(s: &Setup, at: &str) -> Result<()> {
    s.store.apply(Change::new().op(Op::RemoveDir(path(at)))).await
}

/// By files and by directories, at any depth.
pub async fn missing_ancestors_are_made(s: &Setup) {
    publish(&*s.store, "a/b/c/d.jpg", version(1, 1)).await;
    for (at, below) in [("", "a"), ("a", "b"), ("a/b", "c"), ("a/b/c", "d.jpg")] {
        assert_eq!(list(&*s.store, at).await, [below]);
    }
    mkdir(&*s.store, "x/y/z").await.unwrap();
    assert!(is_dir(&*s.store, "x/y").await);
    assert!(list(&*s.store, "x/y/z").await.is_empty());
    assert_eq!(s.store.figures().await.unwrap().directories, 6);
    // Directories stay when their files go.
    s.store.apply(Change::new().op(Op::RemoveFile(path("a/b/c/d.jpg")))).await.unwrap();
    assert!(is_dir(&*s.store, "a/b/c").await);
    assert!(list(&*s.store, "a/b/c").await.is_empty());
    // An entry has a number of its own.
    let Some(Entry::Directory(x)) = entry(&*s.store, "x").await else { panic!() };
    let Some(Entry::Directory(z)) = entry(&*s.store, "x/y/z").await else { panic!() };
    assert!(x.attrs.ino > 1 && x.attrs.ino != z.attrs.ino);
    assert_eq!(z.attrs.mode, Some(0o750));
}

/// Nothing can be stored below a visible file; below a hidden one it can.
pub async fn a_file_is_no_directory(s: &Setup) {
    publish(&*s.store, "n/f", version(1, 1)).await;
    for below in ["n/f/x", "n/f/x/y/z"] {
        expect_kind(s.store.apply(put(below, version(1, 2))).await, ErrorKind::NotDirectory);
        expect_kind(mkdir(&*s.store, below).await, ErrorKind::NotDirectory);
    }
    expect_kind(mkdir(&*s.store, "n/f").await, ErrorKind::AlreadyExists);
    let lenient =
        Op::MakeDir { path: path("n/f"), exclusive: false, mode: None, uid: None, gid: None };
    expect_kind(s.store.apply(Change::new().op(lenient)).await, ErrorKind::AlreadyExists);
    expect_kind(rmdir(s, "n/f").await, ErrorKind::NotDirectory);
    assert_eq!(list(&*s.store, "n").await, ["f"]);

    // A foreign file counts before the materialiser has seen it.
    s.foreign.store(&name("n/php"), 1, START_SECS, "a/b").await;
    expect_kind(s.store.apply(put("n/php/x", version(1, 2))).await, ErrorKind::NotDirectory);

    s.store.apply(Change::new().op(Op::HideFile(path("n/f")))).await.unwrap();
    publish(&*s.store, "n/f/x", version(1, 2)).await;
    assert!(is_dir(&*s.store, "n/f").await);
    assert_eq!(list(&*s.store, "n/f").await, ["x"]);
    s.store.apply(Change::new().op(Op::HideFile(path("n/php")))).await.unwrap();
    mkdir(&*s.store, "n/php").await.unwrap();
    assert_eq!(list(&*s.store, "n").await, ["f", "php"]);
}

/// A directory cannot be overwritten by a file, not even one that no row tells of yet.
pub async fn a_directory_is_no_file(s: &Setup) {
    mkdir(&*s.store, "d").await.unwrap();
    expect_kind(s.store.apply(put("d", version(1, 1))).await, ErrorKind::IsDirectory);
    s.foreign.store(&name("p/q/f"), 1, START_SECS, "a/b").await;
    for unseen in ["p", "p/q"] {
        expect_kind(s.store.apply(put(unseen, version(1, 1))).await, ErrorKind::IsDirectory);
        expect_kind(mkdir(&*s.store, unseen).await, ErrorKind::AlreadyExists);
    }
    publish(&*s.store, "p/q-", version(1, 1)).await;
    assert_eq!(list(&*s.store, "p").await, ["q", "q-"]);
    assert!(s.foreign.get(crate::foreign_writer::hash_of(&name("p"))).await.is_none());
}

/// mkdir and rmdir as on a disk.
pub async fn making_and_removing(s: &Setup) {
    mkdir(&*s.store, "m/a").await.unwrap();
    expect_kind(mkdir(&*s.store, "m/a").await, ErrorKind::AlreadyExists);
    let lenient = || Op::MakeDir {
        path: path("m/a"),
        exclusive: false,
        mode: Some(0o777),
        uid: None,
        gid: None,
    };
    s.store.apply(Change::new().op(lenient())).await.unwrap();
    let Some(Entry::Directory(a)) = entry(&*s.store, "m/a").await else { panic!() };
    assert_eq!(a.attrs.mode, Some(0o750), "an existing directory stays as it is");

    expect_kind(rmdir(s, "m").await, ErrorKind::NotEmpty);
    expect_kind(rmdir(s, "m/none").await, ErrorKind::NotFound);
    publish(&*s.store, "m/a/f", version(1, 1)).await;
    expect_kind(rmdir(s, "m/a").await, ErrorKind::NotEmpty);
    s.store.apply(Change::new().op(Op::RemoveFile(path("m/a/f")))).await.unwrap();
    rmdir(s, "m/a").await.unwrap();
    expect_kind(rmdir(s, "m/a").await, ErrorKind::NotFound);
    assert!(list(&*s.store, "m").await.is_empty());
    rmdir(s, "m").await.unwrap();
    assert!(entry(&*s.store, "m").await.is_none());
    // A removed directory's name is free for a file.
    publish(&*s.store, "m", version(1, 1)).await;
    assert!(is_file(&*s.store, "m").await);
}

/// What no reader sees keeps no directory.
pub async fn a_soft_deleted_file_does_not_count(s: &Setup) {
    publish(&*s.store, "s/d/f", version(1, 1)).await;
    s.store.apply(Change::new().op(Op::HideFile(path("s/d/f")))).await.unwrap();
    rmdir(s, "s/d").await.unwrap();
    assert!(!is_dir(&*s.store, "s/d").await);
    // Restoring it brings the directory back.
    publish(&*s.store, "s/d/f", version(1, 2)).await;
    assert_eq!(list(&*s.store, "s/d").await, ["f"]);

    let expires = Some(Timestamp::from_secs(START_SECS + 1));
    publish(&*s.store, "s/e/f", ezdfs_core::NewFile { expires, ..version(1, 1) }).await;
    expect_kind(rmdir(s, "s/e").await, ErrorKind::NotEmpty);
    s.clock.advance(Duration::from_secs(1));
    rmdir(s, "s/e").await.unwrap();
}

/// A file of PHP's keeps its directory at once.
pub async fn an_unseen_foreign_file_counts(s: &Setup) {
    mkdir(&*s.store, "u/d").await.unwrap();
    s.foreign.store(&name("u/d/x/f"), 1, START_SECS, "a/b").await;
    expect_kind(rmdir(s, "u/d").await, ErrorKind::NotEmpty);
    expect_kind(rmdir(s, "u/d/x").await, ErrorKind::NotEmpty);
    s.foreign.delete(&name("u/d/x/f")).await;
    rmdir(s, "u/d").await.unwrap();

    for (twin, other) in [("a_b", "aXb"), ("p%c", "pqc"), ("1", "10"), ("Dir", "dir")] {
        mkdir(&*s.store, &format!("u/{twin}")).await.unwrap();
        s.foreign.store(&name(&format!("u/{other}/f")), 1, START_SECS, "a/b").await;
        rmdir(s, &format!("u/{twin}")).await.unwrap();
    }
}

/// Directory rows at and below, no file, no twin.
pub async fn removing_a_tree_is_exact(s: &Setup) {
    let tree = |at: &str| s.store.apply(Change::new().op(Op::RemoveDirTree(dir(at))));
    for (at, twin) in [("a_b", "aXb"), ("p%c", "pqc"), ("1", "10"), ("Dir", "dir"), ("é", "e")] {
        for d in [at, twin] {
            mkdir(&*s.store, &format!("t/{d}/x/y")).await.unwrap();
            mkdir(&*s.store, &format!("t/{d}/z")).await.unwrap();
        }
        tree(&format!("t/{at}")).await.unwrap();
        assert!(!is_dir(&*s.store, &format!("t/{at}")).await, "{at}");
        assert!(!is_dir(&*s.store, &format!("t/{at}/x/y")).await, "{at}");
        assert_eq!(list(&*s.store, &format!("t/{twin}")).await, ["x", "z"], "{twin}");
        assert!(is_dir(&*s.store, &format!("t/{twin}/x/y")).await, "{twin}");
    }
    publish(&*s.store, "top", version(1, 1)).await;
    mkdir(&*s.neighbour, "t/mine").await.unwrap();
    tree("unknown").await.unwrap();
    tree("").await.unwrap();
    assert_eq!(list(&*s.store, "").await, ["top"]);
    assert_eq!(s.store.figures().await.unwrap().directories, 0);
    assert_eq!(list(&*s.neighbour, "t").await, ["mine"]);
}

/// A file that appears while a directory is being deleted stays reachable by listings.
pub async fn a_tree_with_foreign_files_keeps_their_directories(s: &Setup) {
    mkdir(&*s.store, "k/empty").await.unwrap();
    for n in 0..40 {
        s.foreign.store(&name(&format!("k/a/b{n}/f")), 1, START_SECS, "a/b").await;
    }
    super::materialise(&*s.store).await;
    s.store.apply(Change::new().op(Op::RemoveDirTree(dir("k")))).await.unwrap();
    assert_eq!(list(&*s.store, "k").await, ["a"]);
    assert_eq!(list(&*s.store, "k/a").await.len(), 40);
    assert_eq!(list(&*s.store, "k/a/b7").await, ["f"]);
}

/// When entries come and go, at most once a second; not when a file is overwritten.
pub async fn the_mtime_of_a_directory_moves(s: &Setup) {
    let mtime = async || match entry(&*s.store, "d").await {
        Some(Entry::Directory(d)) => d.mtime,
        other => panic!("{other:?}"),
    };
    mkdir(&*s.store, "d").await.unwrap();
    let made = s.store.now().await.unwrap();
    assert_eq!(mtime().await, made);
    s.clock.advance(Duration::from_millis(999));
    publish(&*s.store, "d/a", version(1, 1)).await;
    assert_eq!(mtime().await, made, "at most once a second");
    let steps: [(&str, Change, bool); 6] = [
        ("create", put("d/b", version(1, 1)), true),
        ("overwrite", put("d/b", version(2, 2)), false),
        ("delete", Change::new().op(Op::RemoveFile(path("d/b"))), true),
        ("hide", Change::new().op(Op::HideFile(path("d/a"))), true),
        (
            "mkdir",
            Change::new().op(Op::MakeDir {
                path: path("d/s"),
                exclusive: true,
                mode: None,
                uid: None,
                gid: None,
            }),
            true,
        ),
        ("rmdir", Change::new().op(Op::RemoveDir(path("d/s"))), true),
    ];
    for (what, change, moves) in steps {
        s.clock.advance(Duration::from_secs(1));
        let before = mtime().await;
        s.store.apply(change).await.unwrap();
        let expected = if moves { s.store.now().await.unwrap() } else { before };
        assert_eq!(mtime().await, expected, "{what}");
    }
    s.clock.advance(Duration::from_secs(1));
    s.foreign.store(&name("d/php"), 1, START_SECS, "a/b").await;
    super::materialise(&*s.store).await;
    assert_eq!(mtime().await, s.store.now().await.unwrap(), "a foreign file");
    assert_eq!(file(&*s.store, "d/php").await.mtime, Timestamp::from_secs(START_SECS));
}
