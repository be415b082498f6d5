//! No key leads out of the root (abuse-cases.md 61), with openat2 and without.

use std::os::unix::fs::symlink;

use object_store::{Error, ObjectStore as _, ObjectStoreExt as _};

use super::*;

fn plant(local: &Local) {
    let outside = local.root.parent().unwrap().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "secret").unwrap();
    std::fs::create_dir(local.root.join("d")).unwrap();
    std::fs::write(local.root.join("d/real"), "real").unwrap();
    for (target, link) in [
        ("../../outside", "d/dir"),
        ("../../outside/secret", "d/file"),
        ("/etc/passwd", "d/absolute"),
        ("nowhere", "d/dangling"),
        ("real", "d/inside"),
        (".", "self"),
        ("/proc/self/root", "magic"),
    ] {
        symlink(target, local.root.join(link)).unwrap();
    }
}

const BEHIND: [&str; 10] = [
    "d/dir/secret",
    "d/file",
    "d/absolute",
    "d/dangling",
    "d/inside",
    "self/d/real",
    "self",
    "d/dir",
    "magic/etc/passwd",
    "d/dangling/x",
];

#[tokio::test]
async fn nothing_behind_a_link_can_be_read() {
    for local in Local::both() {
        plant(&local);
        for name in BEHIND {
            let got = local.store.get(&key(name)).await;
            assert!(matches!(got, Err(Error::NotFound { .. })), "{name}: {got:?}");
            let head = local.store.head(&key(name)).await;
            assert!(matches!(head, Err(Error::NotFound { .. })), "{name}: {head:?}");
            let ranges = local.store.get_ranges(&key(name), &[0..1, 2..3]).await;
            assert!(matches!(ranges, Err(Error::NotFound { .. })), "{name}: {ranges:?}");
            for moved in [
                local.store.copy(&key(name), &key("stolen")).await,
                local.store.rename(&key(name), &key("stolen")).await,
            ] {
                assert!(matches!(moved, Err(Error::NotFound { .. })), "{name}: {moved:?}");
            }
        }
        assert!(!local.root.join("stolen").exists());
        assert_eq!(local.staged(), Vec::<PathBuf>::new());
    }
}

#[tokio::test]
async fn nothing_behind_a_link_can_be_written_or_deleted() {
    for local in Local::both() {
        plant(&local);
        let outside = local.root.parent().unwrap().join("outside");
        for name in ["d/dir/new", "d/dir/sub/new", "self/new", "d/dangling/new"] {
            let put = local.store.put(&key(name), "x".into()).await;
            assert!(matches!(put, Err(Error::PermissionDenied { .. })), "{name}: {put:?}");
            let moved = local.store.rename(&key("d/real"), &key(name)).await;
            assert!(matches!(moved, Err(Error::PermissionDenied { .. })), "{name}: {moved:?}");
        }
        let deleted = local.store.delete(&key("d/dir/secret")).await;
        assert!(matches!(deleted, Err(Error::PermissionDenied { .. })), "{deleted:?}");
        assert_eq!(files(&outside), [outside.join("secret")]);
        assert!(local.root.join("d/real").exists());

        // A link itself is no object: a delete leaves it, a put replaces it, never its target.
        local.store.delete(&key("d/file")).await.unwrap();
        assert!(local.root.join("d/file").is_symlink());
        local.put("d/file", "mine").await;
        assert!(!local.root.join("d/file").is_symlink());
        assert_eq!(std::fs::read(outside.join("secret")).unwrap(), b"secret");
        assert_eq!(local.staged(), Vec::<PathBuf>::new());
    }
}

#[tokio::test]
async fn a_link_in_place_of_the_staging_directory_takes_no_bytes() {
    for local in Local::both() {
        let outside = local.root.parent().unwrap().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::create_dir(local.root.join(".ezdfs")).unwrap();
        symlink(&outside, local.root.join(".ezdfs/staging")).unwrap();
        let put = local.store.put(&key("a"), "x".into()).await;
        assert!(matches!(put, Err(Error::PermissionDenied { .. })), "{put:?}");
        assert_eq!(files(&outside), Vec::<PathBuf>::new());
    }
}

#[test]
fn dot_segments_cannot_become_keys() {
    for name in ["..", "../x", "a/../../x", "a/./b", "."] {
        assert!(object_store::path::Path::parse(name).is_err(), "{name}");
    }
    // And if one did, neither way to resolve would leave the root.
    for local in Local::both() {
        let root = local.disk().root();
        let flags = rustix::fs::OFlags::RDONLY;
        for name in ["..", "../root", ".ezdfs/../../root"] {
            let opened = local.disk().open_below(&root, name, flags, rustix::fs::Mode::empty());
            assert!(opened.is_err(), "{name}");
        }
    }
}

#[tokio::test]
async fn pipes_and_sockets_are_no_objects_and_block_nobody() {
    for local in Local::both() {
        let mode = rustix::fs::Mode::from_raw_mode(0o644);
        let fifo = local.root.join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(local.root.join("socket")).unwrap();
        for name in ["fifo", "socket"] {
            let get = key(name);
            let got =
                tokio::time::timeout(std::time::Duration::from_secs(10), local.store.get(&get));
            let got = got.await.expect("blocked");
            assert!(matches!(got, Err(Error::NotFound { .. })), "{name}: {got:?}");
            local.store.delete(&key(name)).await.unwrap();
            assert!(local.root.join(name).symlink_metadata().is_ok());
        }
    }
}
