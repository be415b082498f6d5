//! Where bytes go, with which modes, and what stands in their way.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ezdfs_testkit::object_store_suite::pattern;
use object_store::{CopyOptions, ObjectStore as _, RenameOptions, RenameTargetMode};

use super::*;

fn mode(path: &std::path::Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn modes_do_not_depend_on_the_umask() {
    let options = LocalOptions { file_mode: 0o664, dir_mode: 0o2775, ..LocalOptions::default() };
    let Some(root) = std::env::var_os(CHILD) else {
        for umask in ["000", "022", "077", "777"] {
            let dir = tempfile::tempdir().unwrap();
            again("local::tests::writing::modes_do_not_depend_on_the_umask", dir.path(), |sh| {
                sh.arg(format!("umask {umask}; exec \"$0\" \"$@\""));
            });
        }
        return;
    };
    let root = PathBuf::from(root);
    let store = LocalStore::open(&root, options).unwrap();
    store.put(&key("a/b/put"), "1".into()).await.unwrap();
    store.copy(&key("a/b/put"), &key("c/copy")).await.unwrap();
    store.rename(&key("a/b/put"), &key("d/renamed")).await.unwrap();
    store.copy(&key("c/copy"), &key(".ezdfs/limbo/1")).await.unwrap();
    store.put_multipart(&key("e/parts")).await.unwrap().complete().await.unwrap();
    store.make_dir(&key("f/g"), true).await.unwrap();
    for file in ["c/copy", "d/renamed", "e/parts"] {
        assert_eq!(mode(&root.join(file)), 0o664, "{file}");
    }
    for dir in ["a", "a/b", "c", "d", "e", "f", "f/g", ".ezdfs", ".ezdfs/staging", ".ezdfs/limbo"] {
        assert_eq!(mode(&root.join(dir)), 0o2775, "{dir}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_ever_stands_beside_the_asset() {
    let local = Local::new();
    local.put("d/a", "1").await;
    let (dir, stop) = (local.root.join("d"), std::sync::Arc::new(AtomicBool::new(false)));
    let watch = std::thread::spawn({
        let stop = stop.clone();
        move || {
            let mut looks = 0_u32;
            while !stop.load(Ordering::SeqCst) {
                for path in files(&dir) {
                    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                    assert!(["a", "b"].contains(&name.as_str()), "{name} beside the asset");
                }
                looks += 1;
            }
            looks
        }
    });
    for i in 0..40 {
        local.put("d/a", pattern(200_000, i)).await;
        let mut upload = local.store.put_multipart(&key("d/a")).await.unwrap();
        upload.put_part(pattern(100_000, i).into()).await.unwrap();
        upload.complete().await.unwrap();
        local.store.copy(&key("d/a"), &key("d/b")).await.unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    assert!(watch.join().unwrap() > 10);
    assert_eq!(local.staged(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_copy_shares_no_inode_with_its_source() {
    let local = Local::new();
    local.put("a", pattern(300_000, 1)).await;
    local.store.copy(&key("a"), &key("b")).await.unwrap();
    let (a, b) = (local.root.join("a"), local.root.join("b"));
    assert_ne!(a.metadata().unwrap().ino(), b.metadata().unwrap().ino());
    assert_eq!((a.metadata().unwrap().nlink(), b.metadata().unwrap().nlink()), (1, 1));
    // As PHP does: append in place to the copy.
    let mut copy = std::fs::OpenOptions::new().append(true).open(&b).unwrap();
    std::io::Write::write_all(&mut copy, b"more").unwrap();
    assert!(std::fs::read(&a).unwrap() == pattern(300_000, 1));
}

#[tokio::test]
async fn files_and_directories_do_not_replace_each_other() {
    for local in Local::both() {
        local.put("d/file", "1").await;
        let put = |name: &'static str| async { local.store.put(&key(name), "2".into()).await };
        assert_eq!(kind(put("d").await.unwrap_err()), ErrorKind::IsDirectory);
        assert_eq!(kind(put("d/file/x").await.unwrap_err()), ErrorKind::NotDirectory);
        assert_eq!(kind(put("d/file/x/y").await.unwrap_err()), ErrorKind::NotDirectory);
        let over = local.store.rename(&key("d/file"), &key("d")).await.unwrap_err();
        assert_eq!(kind(over), ErrorKind::IsDirectory);
        let long = key(&"n".repeat(256));
        let long = local.store.put(&long, "1".into()).await.unwrap_err();
        assert_eq!(kind(long), ErrorKind::NameTooLong);
        let empty = local.store.put(&object_store::path::Path::ROOT, "1".into()).await;
        assert_eq!(kind(empty.unwrap_err()), ErrorKind::InvalidPath);
        assert_eq!(std::fs::read(local.root.join("d/file")).unwrap(), b"1");
        assert_eq!(local.staged(), Vec::<PathBuf>::new());
    }
}

#[tokio::test]
async fn a_rename_onto_a_hard_link_of_itself_still_removes_the_source() {
    let local = Local::new();
    local.put("a", "1").await;
    std::fs::hard_link(local.root.join("a"), local.root.join("b")).unwrap();
    local.store.rename(&key("a"), &key("b")).await.unwrap();
    assert!(!local.root.join("a").exists());
    assert_eq!(std::fs::read(local.root.join("b")).unwrap(), b"1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parents_may_vanish_at_any_time() {
    let options = LocalOptions { fsync: false, ..LocalOptions::default() };
    for resolver in [Resolver::Kernel, Resolver::Stepwise] {
        let local = Local::with(options.clone(), Some(resolver));
        let (root, stop) = (local.root.clone(), std::sync::Arc::new(AtomicBool::new(false)));
        let rival = std::thread::spawn({
            let stop = stop.clone();
            move || {
                while !stop.load(Ordering::SeqCst) {
                    for dir in ["p/q/r", "p/q", "p"] {
                        let _ = std::fs::remove_dir(root.join(dir));
                    }
                    std::thread::sleep(Duration::from_millis(3));
                }
            }
        });
        for i in 0..400_u32 {
            let bytes = i.to_le_bytes().to_vec();
            local.put("p/q/r/s", bytes.clone()).await;
            assert_eq!(std::fs::read(local.root.join("p/q/r/s")).unwrap(), bytes);
            local.store.rename(&key("p/q/r/s"), &key("t")).await.unwrap();
            local.store.copy_opts(&key("t"), &key("p/q/r/s"), CopyOptions::new()).await.unwrap();
            local.store.delete(&key("p/q/r/s")).await.unwrap();
        }
        stop.store(true, Ordering::SeqCst);
        rival.join().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_creates_one_wins() {
    for round in 0..10 {
        let local = Local::new();
        let at = key("d/e/a");
        for i in 0..16 {
            local.put(&format!("src/{i}"), format!("{i}").into_bytes()).await;
        }
        let renames = (0..16).map(|i| {
            let (store, at) = (local.store.clone(), at.clone());
            let options = RenameOptions::new().with_target_mode(RenameTargetMode::Create);
            async move { store.rename_opts(&key(&format!("src/{i}")), &at, options).await.is_ok() }
        });
        let won = futures::future::join_all(renames).await;
        assert_eq!(won.iter().filter(|w| **w).count(), 1, "round {round}: {won:?}");
        let winner = won.iter().position(|w| *w).unwrap().to_string();
        assert_eq!(std::fs::read(local.root.join("d/e/a")).unwrap(), winner.as_bytes());
        assert_eq!(files(&local.root.join("src")).len(), 15);
    }
}

#[tokio::test]
async fn empty_directories_stay_after_a_delete() {
    let local = Local::new();
    local.put("a/b/c", "1").await;
    local.store.delete(&key("a/b/c")).await.unwrap();
    assert!(local.root.join("a/b").is_dir());
    local.store.delete(&key("a/b")).await.unwrap();
    assert!(local.root.join("a/b").is_dir(), "a directory is no object");
}

#[tokio::test]
async fn empty_directories_that_deletes_left_behind_are_in_nobodys_way() {
    let local = Local::new();
    for at in ["d/e/f", "other/x"] {
        local.put(at, "old").await;
    }
    local.store.delete(&key("d/e/f")).await.unwrap();
    assert!(local.root.join("d/e").is_dir());
    local.put("d", "a file where a directory was").await;
    assert!(local.root.join("d").is_file());

    local.put("source", "moved").await;
    local.store.delete(&key("other/x")).await.unwrap();
    local.store.rename(&key("source"), &key("other")).await.unwrap();
    assert_eq!(std::fs::read(local.root.join("other")).unwrap(), b"moved");
}
