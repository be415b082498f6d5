//! The `default` metadata handler, over local files and over memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::sync::Arc;

use ezdfs_binarydata::{LocalOptions, ObjectsMetadata, Opened, file_url, open_url};
use ezdfs_core::{
    Change, DirPath, Entry, ErrorKind, FilePath, Guard, Hold, ManualClock, MetadataStore,
    NamePrefix, NodeKind, Op, Pin, Timestamp,
};
use object_store::path::Path as ObjectKey;
use object_store::{Attribute, Attributes, ObjectStore as _, ObjectStoreExt as _, PutOptions};

struct Side {
    objects: Opened,
    metadata: ObjectsMetadata,
    dir: Option<tempfile::TempDir>,
}

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

async fn side(dir: Option<tempfile::TempDir>, url: &str) -> Side {
    let objects = open_url(url, &LocalOptions::default()).await.unwrap();
    let names = NamePrefix::new("var/site/storage");
    let metadata = ObjectsMetadata::new(&objects, names, Arc::new(ManualClock::at(NOW)));
    Side { objects, metadata, dir }
}

async fn local() -> Side {
    let dir = tempfile::tempdir().unwrap();
    let url = file_url(dir.path());
    side(Some(dir), &url).await
}

async fn memory() -> Side {
    side(None, "memory:///pre/fix").await
}

impl Side {
    async fn put(&self, path: &str, bytes: &'static str) -> String {
        self.objects.store.put(&self.key(path), bytes.into()).await.unwrap().e_tag.unwrap()
    }

    fn key(&self, path: &str) -> ObjectKey {
        self.objects.prefix.key(&p(path), self.objects.capabilities.max_key_bytes).unwrap()
    }

    async fn names(&self, dir: &str, limit: u32) -> Vec<String> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = self.metadata.list(&d(dir), after.as_deref(), limit).await.unwrap();
            assert!(page.entries.len() <= usize::try_from(limit).unwrap());
            all.extend(page.entries.iter().map(|e| match e {
                Entry::File(f) => f.path.basename().to_owned(),
                Entry::Directory(_) => format!("{}/", e.basename()),
            }));
            let Some(next) = page.next else { return all };
            after = Some(next);
        }
    }

    async fn scan(&self, dir: &str, limit: u32) -> Vec<Result<String, String>> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = self.metadata.scan(&d(dir), after.as_deref(), limit).await.unwrap();
            all.extend(page.rows.into_iter().map(|row| match row {
                Ok((path, record)) => {
                    let base = record.base.unwrap();
                    assert_eq!(base.name, format!("var/site/storage/{path}"));
                    Ok(path.to_string())
                }
                Err(base) => Err(base.name),
            }));
            let Some(next) = page.next else { return all };
            after = Some(next);
        }
    }
}

fn p(path: &str) -> FilePath {
    path.parse().unwrap()
}

fn d(path: &str) -> DirPath {
    path.parse().unwrap()
}

fn make_dir(path: &str, exclusive: bool) -> Change {
    let path = p(path);
    Change::new().op(Op::MakeDir { path, exclusive, mode: None, uid: None, gid: None })
}

#[tokio::test]
async fn a_record_is_what_the_object_says() {
    for side in [local().await, memory().await] {
        let etag = side.put("images/1/a.png", "12345").await;
        let meta = side.objects.store.head(&side.key("images/1/a.png")).await.unwrap();
        let record = side.metadata.record(&p("images/1/a.png")).await.unwrap();
        let base = record.base.clone().unwrap();
        assert_eq!(base.name, "var/site/storage/images/1/a.png");
        assert_eq!((base.size, base.datatype.as_str()), (5, "image/png"));
        assert_eq!((base.scope.as_str(), base.expired), ("image", false));
        assert_eq!(base.mtime, meta.last_modified.timestamp());
        let Some(Entry::File(file)) = record.entry(&p("images/1/a.png"), NOW) else { panic!() };
        assert_eq!(file.pin, Pin::new(Some(&etag), None));
        assert_eq!(Some(file.mtime.nanos()), meta.last_modified.timestamp_nanos_opt());

        let dir = side.metadata.record(&p("images/1")).await.unwrap();
        assert_eq!(dir.node.as_ref().unwrap().kind, NodeKind::Directory);
        assert!(matches!(dir.entry(&p("images/1"), NOW), Some(Entry::Directory(_))));
        for missing in ["images/1/b.png", "image", "images/1/a.png/x", "images/10"] {
            let none = side.metadata.record(&p(missing)).await.unwrap();
            assert!(none.base.is_none() && none.node.is_none(), "{missing}");
        }
    }
}

#[tokio::test]
async fn type_and_token_come_from_the_object_where_it_has_them() {
    let side = memory().await;
    let mut attributes = Attributes::new();
    attributes.insert(Attribute::ContentType, "text/x-own".into());
    let token = "00112233445566778899aabbccddeeff";
    attributes.insert(Attribute::Metadata("ezdfs-token".into()), token.into());
    let options = PutOptions { attributes, ..PutOptions::default() };
    side.objects.store.put_opts(&side.key("d/a.png"), "1".into(), options).await.unwrap();

    let record = side.metadata.record(&p("d/a.png")).await.unwrap();
    let file = record.file(&p("d/a.png")).unwrap();
    assert_eq!(file.datatype, "text/x-own");
    assert_eq!(file.token.unwrap().to_string(), token);
    let scanned = side.metadata.scan(&d(""), None, 10).await.unwrap().rows;
    assert_eq!(scanned[0].as_ref().unwrap().1, record);
    let listed = side.metadata.list(&d("d"), None, 10).await.unwrap().entries;
    assert_eq!(listed, [Entry::File(file)]);
}

#[tokio::test]
async fn pages_and_walks_are_whole_and_in_order() {
    for side in [local().await, memory().await] {
        for path in ["a.b", "a/x", "a/y/z", "a0", "b", "c-/x", "é"] {
            side.put(path, "1").await;
        }
        // Deleted objects of ezdfs are no entries.
        let limbo = side.objects.prefix.reserved_key("limbo/x").unwrap();
        side.objects.store.put(&limbo, "1".into()).await.unwrap();
        for limit in [1, 2, 3, 100] {
            let names = side.names("", limit).await;
            assert_eq!(names, ["a/", "a.b", "a0", "b", "c-/", "é"]);
            assert_eq!(side.names("a", limit).await, ["x", "y/"]);
            assert_eq!(side.names("none", limit).await, Vec::<String>::new());
            let all = ["a.b", "a/x", "a/y/z", "a0", "b", "c-/x", "é"].map(|n| Ok(n.to_owned()));
            assert_eq!(side.scan("", limit).await, all);
            assert_eq!(side.scan("a", limit).await, all[1..3]);
        }
        let figures = side.metadata.figures().await.unwrap();
        assert_eq!((figures.files, figures.bytes, figures.directories), (7, 7, 3));
        assert_eq!((figures.hidden, figures.held, figures.reaps), (0, 0, 0));
    }
}

#[tokio::test]
async fn bad_names_are_rows_of_a_walk_and_do_not_end_it() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let side = local().await;
    let root = side.dir.as_ref().unwrap().path();
    side.put("d/a", "1").await;
    side.put("d/z", "1").await;
    for name in ["d/b\x07", "d/c\u{85}"] {
        std::fs::write(root.join(name), "1").unwrap();
    }
    std::fs::write(root.join(OsStr::from_bytes(b"d/n\xff")), "1").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", root.join("d/link")).unwrap();
    let expected = [
        Ok("d/a".to_owned()),
        Err("var/site/storage/d/b\x07".to_owned()),
        Err("var/site/storage/d/c\u{85}".to_owned()),
        Err("var/site/storage/d/link".to_owned()),
        Err("var/site/storage/d/n\u{fffd}".to_owned()),
        Ok("d/z".to_owned()),
    ];
    for limit in [4, 5, 100] {
        assert_eq!(side.scan("", limit).await, expected, "{limit}");
    }
    assert_eq!(side.names("d", 1).await, ["a", "z"]);
    assert_eq!(side.metadata.figures().await.unwrap().hidden, 4);
}

#[tokio::test]
async fn guards_look_at_the_object() {
    for side in [local().await, memory().await] {
        side.put("a", "1").await;
        let path = p("a");
        let witness = side.metadata.record(&path).await.unwrap().witness();
        let unchanged =
            |witness| Change::new().guard(Guard::Unchanged { path: path.clone(), witness });
        side.metadata.apply(unchanged(witness)).await.unwrap();
        let absent = side.metadata.apply(unchanged(None)).await.unwrap_err();
        assert_eq!(absent.kind(), ErrorKind::Stale);
        side.put("a", "22").await;
        let stale = side.metadata.apply(unchanged(witness)).await.unwrap_err();
        assert_eq!(stale.kind(), ErrorKind::Stale);
        assert_eq!(side.metadata.hold(&[], std::time::Duration::ZERO).await.unwrap(), Hold::Held);
        assert_eq!(side.metadata.now().await.unwrap(), NOW);
        assert!(!side.metadata.is_separate());
    }
}

#[tokio::test]
async fn a_local_store_has_directories_of_its_own() {
    let side = local().await;
    let apply = |change| side.metadata.apply(change);
    apply(make_dir("e/f", true)).await.unwrap();
    assert_eq!(side.names("", 10).await, ["e/"]);
    assert_eq!(side.names("e", 10).await, ["f/"]);
    apply(make_dir("e/f", false)).await.unwrap();
    assert_eq!(apply(make_dir("e/f", true)).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    side.put("e/file", "1").await;
    let over = apply(make_dir("e/file", false)).await.unwrap_err();
    assert_eq!(over.kind(), ErrorKind::AlreadyExists);
    let below = apply(make_dir("e/file/x", false)).await.unwrap_err();
    assert_eq!(below.kind(), ErrorKind::NotDirectory);

    let remove = |path: &str| side.metadata.apply(Change::new().op(Op::RemoveDir(p(path))));
    assert_eq!(remove("e").await.unwrap_err().kind(), ErrorKind::NotEmpty);
    assert_eq!(remove("e/file").await.unwrap_err().kind(), ErrorKind::NotDirectory);
    assert_eq!(remove("none").await.unwrap_err().kind(), ErrorKind::NotFound);
    remove("e/f").await.unwrap();

    apply(make_dir("t/a/b/c", true)).await.unwrap();
    apply(make_dir("t/x", true)).await.unwrap();
    side.put("t/x/keep", "1").await;
    apply(Change::new().op(Op::RemoveDirTree(d("t")))).await.unwrap();
    assert_eq!(side.names("t", 10).await, ["x/"]);
    apply(Change::new().op(Op::RemoveDirTree(d("")))).await.unwrap();
    assert_eq!(side.names("", 10).await, ["e/", "t/"]);
    assert!(side.dir.as_ref().unwrap().path().join(".ezdfs/staging").is_dir());
}

#[tokio::test]
async fn what_objects_cannot_do_is_refused_before_anything_is_done() {
    let side = memory().await;
    side.put("d/a", "1").await;
    let refused = side.metadata.apply(make_dir("e", true)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    for (path, kind) in
        [("d", ErrorKind::NotEmpty), ("d/a", ErrorKind::NotDirectory), ("x", ErrorKind::NotFound)]
    {
        let change = Change::new().op(Op::RemoveDir(p(path)));
        assert_eq!(side.metadata.apply(change).await.unwrap_err().kind(), kind);
    }
    let side = local().await;
    let half = make_dir("made", true).op(Op::HideFile(p("x")));
    assert_eq!(side.metadata.apply(half).await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(side.names("", 10).await, Vec::<String>::new());
}
