//! Listings of trees that other programs made.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;

use futures::StreamExt as _;
use object_store::ObjectStore as _;
use proptest::prelude::*;

use super::*;
use ezdfs_core::{BadEntries, BadEntry, BadReason};

/// Every item: a key, or the bad entry.
async fn items(local: &Local, below: Option<&str>, after: &str) -> Vec<Result<String, BadEntry>> {
    let below = below.map(key);
    let listing = if after.is_empty() {
        local.store.list(below.as_ref())
    } else {
        local.store.list_with_offset(below.as_ref(), &key(after))
    };
    listing
        .map(|item| match item {
            Ok(meta) => Ok(meta.location.to_string()),
            Err(e) => Err(BadEntry::of(&e).unwrap_or_else(|| panic!("{e}")).clone()),
        })
        .collect()
        .await
}

fn plant_bad_names(local: &Local) {
    let root = &local.root;
    std::fs::create_dir_all(root.join("d/sub")).unwrap();
    for name in ["d/a", "d/sub/x", "d/z", "e", "é"] {
        std::fs::write(root.join(name), "1").unwrap();
    }
    let raw = |name: &'static [u8]| root.join(OsStr::from_bytes(name));
    std::fs::write(raw(b"d/bad\xff"), "1").unwrap();
    std::fs::write(raw(b"d/con\x01trol"), "1").unwrap();
    std::fs::create_dir(raw(b"d/dir\xfe")).unwrap();
    std::fs::write(raw(b"d/dir\xfe/below"), "1").unwrap();
    std::os::unix::fs::symlink("a", root.join("d/link")).unwrap();
    std::os::unix::fs::symlink("sub", root.join("d/linkdir")).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    let fifo = root.join("d/pipe");
    rustix::fs::mknodat(rustix::fs::CWD, fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

#[tokio::test]
async fn bad_entries_are_reported_one_by_one_and_the_rest_is_listed() {
    for local in Local::both() {
        plant_bad_names(&local);
        let bad = |raw: &[u8], reason, subtree| Err(BadEntry::new(raw.to_vec(), reason, subtree));
        let good = |name: &str| Ok(name.to_owned());
        let expected = vec![
            good("d/a"),
            bad(b"d/bad\xff", BadReason::NotUtf8, false),
            bad(b"d/con\x01trol", BadReason::Control, false),
            bad(b"d/dir\xfe", BadReason::NotUtf8, true),
            bad(b"d/link", BadReason::Symlink, false),
            bad(b"d/linkdir", BadReason::Symlink, false),
            bad(b"d/pipe", BadReason::Special, false),
            good("d/sub/x"),
            good("d/z"),
            good("e"),
            good("é"),
        ];
        assert_eq!(items(&local, None, "").await, expected);
        assert_eq!(items(&local, Some("d"), "d/link").await, expected[5..9]);
        let text = expected[2].clone().unwrap_err().to_string();
        assert_eq!(text, r#""d/con\u{1}trol" is not an object: its name has a control character"#);

        let level = local.store.list_with_delimiter(Some(&key("d"))).await.unwrap();
        assert_eq!(level.objects.len(), 2);
        assert_eq!(level.common_prefixes, [key("d/sub")]);
        let BadEntries(bad) = level.extensions.get().unwrap();
        let all: Vec<_> = expected.into_iter().filter_map(Result::err).collect();
        assert_eq!(*bad, all);

        // A listing below a link is not silently empty.
        let link = items(&local, Some("d/linkdir/x"), "").await;
        assert_eq!(link, [Err(BadEntry::new(b"d/linkdir".to_vec(), BadReason::Symlink, true))]);
    }
}

#[tokio::test]
async fn trees_too_deep_for_any_key_are_reported() {
    let local = Local::new();
    local.put("z", "1").await;
    let name = "n".repeat(250);
    let mut at =
        rustix::fs::open(&local.root, rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty())
            .unwrap();
    for _ in 0..18 {
        let mode = rustix::fs::Mode::from_raw_mode(0o755);
        rustix::fs::mkdirat(&at, &name, mode).unwrap();
        let flags = rustix::fs::OFlags::DIRECTORY;
        at = rustix::fs::openat(&at, &name, flags, rustix::fs::Mode::empty()).unwrap();
    }
    let found = items(&local, None, "").await;
    assert_eq!(found.len(), 2);
    let bad = found[0].clone().unwrap_err();
    assert_eq!((bad.reason, bad.subtree), (BadReason::TooLong, true));
    assert_eq!(found[1], Ok("z".to_owned()));
}

#[tokio::test]
async fn the_folder_of_ezdfs_is_hidden_unless_it_is_asked_for() {
    let local = Local::new();
    local.put(".ezdfs/limbo/1", "1").await;
    local.put(".ezdfsx", "1").await;
    local.put("a/.ezdfs/b", "1").await;
    let names = [".ezdfsx", "a/.ezdfs/b"].map(|n| Ok(n.to_owned()));
    assert_eq!(items(&local, None, "").await, names);
    let own = [Ok(".ezdfs/limbo/1".to_owned())];
    assert_eq!(items(&local, Some(".ezdfs"), "").await, own);
    assert_eq!(items(&local, Some(".ezdfs/limbo"), "").await, own);
    let level = local.store.list_with_delimiter(None).await.unwrap();
    assert_eq!(level.common_prefixes, [key("a")]);
    assert!(level.extensions.get::<BadEntries>().is_none());
}

#[tokio::test]
async fn a_directory_that_cannot_be_read_ends_the_listing() {
    const TEST: &str = "local::tests::listing::a_directory_that_cannot_be_read_ends_the_listing";
    let Some(root) = std::env::var_os(CHILD) else {
        let dir = tempfile::tempdir().unwrap();
        if !rustix::process::geteuid().is_root() {
            again(TEST, dir.path(), |sh| {
                sh.arg("exec \"$0\" \"$@\"");
            });
            return;
        }
        // root reads everything: the child is somebody else, who can read the program.
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(dir.path(), open.clone()).unwrap();
        let copy = dir.path().join("program");
        std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
        std::fs::set_permissions(&copy, open).unwrap();
        again(TEST, dir.path(), |sh| {
            use std::os::unix::process::CommandExt as _;
            sh.uid(65_534).gid(65_534).current_dir("/");
            sh.arg(format!("shift; exec {} \"$@\"", copy.display())).arg("sh");
        });
        return;
    };
    let root = PathBuf::from(root).join("root");
    std::fs::create_dir(&root).unwrap();
    let store = LocalStore::open(&root, LocalOptions::default()).unwrap();
    for name in ["a", "b/x", "c"] {
        store.put(&key(name), "1".into()).await.unwrap();
    }
    std::fs::set_permissions(root.join("b"), std::fs::Permissions::from_mode(0o000)).unwrap();
    let found: Vec<_> = store.list(None).collect().await;
    std::fs::set_permissions(root.join("b"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let Some((Err(last), before)) = found.split_last() else { panic!("no error: {found:?}") };
    assert!(matches!(last, object_store::Error::PermissionDenied { .. }), "{last}");
    assert!(BadEntry::of(last).is_none());
    assert!(before.len() <= 1 && before.iter().all(Result::is_ok), "{before:?}");
    assert!(store.page(None, None, 10).await.is_ok());
}

/// Segments whose order depends on what stands behind them.
fn segment() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "a", "a!", "a-", "a.b", "a0", "aa", "A", "b", "0", "1", "10", "~", "é", "x#1", "a ", "😀",
    ])
    .prop_map(str::to_owned)
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(segment(), 1..4).prop_map(|s| s.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn listings_equal_the_sorted_keys(
        names in prop::collection::vec(path(), 0..40),
        offsets in prop::collection::vec(path(), 1..8),
        prefix in path(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let options = LocalOptions { fsync: false, ..LocalOptions::default() };
            let local = Local::with(options, None);
            let mut stored = BTreeSet::new();
            for name in names {
                match local.store.put(&key(&name), "1".into()).await {
                    Ok(_) => drop(stored.insert(name)),
                    // A file and a directory of one name.
                    Err(e) => {
                        let kind = kind(e);
                        let clash = [ErrorKind::IsDirectory, ErrorKind::NotDirectory];
                        assert!(clash.contains(&kind), "{kind:?}");
                    }
                }
            }
            let sorted: Vec<_> = stored.into_iter().map(Ok).collect();
            assert_eq!(items(&local, None, "").await, sorted);
            let below = format!("{prefix}/");
            let is_below = |k: &&Result<String, BadEntry>| k.as_ref().unwrap().starts_with(&below);
            let expected: Vec<_> = sorted.iter().filter(is_below).cloned().collect();
            assert_eq!(items(&local, Some(&prefix), "").await, expected);
            for offset in offsets {
                let after = |k: &&Result<String, BadEntry>| *k.as_ref().unwrap() > offset;
                let expected: Vec<_> = sorted.iter().filter(after).cloned().collect();
                assert_eq!(items(&local, None, &offset).await, expected, "after {offset}");
                let expected: Vec<_> = expected.iter().filter(is_below).cloned().collect();
                assert_eq!(items(&local, Some(&prefix), &offset).await, expected);
            }
        });
    }
}
