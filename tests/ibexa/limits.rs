//! Checks 26 to 29: lengths, interrupted writes, traversal, empty files.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use ezdfs_core::{DirPath, ErrorKind, FilePath};
use ezdfs_testkit::php::{BinaryPathError, LoadedBinary, NewBinary, NodeError};
use ezdfs_testkit::servers::ServerKind;
use ezdfs_testkit::{IbexaNode, PhpNode};

use super::site::{Site, name, path, put};

const ID: &str = "images/1/a.png";

pub(crate) async fn check_26_what_is_too_long_is_refused_before_any_byte(
    site: &Site,
    php: &PhpNode,
) {
    let long_type = format!("image/{}", "x".repeat(250));
    assert_eq!(long_type.len(), 256);
    let refused = put(&site.files, ID, b"bytes", &long_type).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidArgument, "{refused}");
    assert_nothing(site, ID).await;
    // PHP: bytes are there all the same, and on MariaDB a success is reported.
    let theirs = php.create("images/1/php.png", &NewBinary::new(b"bytes", &long_type)).await;
    assert_eq!(theirs.is_ok(), site.kind() == ServerKind::Mariadb, "{theirs:?}");
    assert!(site.file("images/1/php.png").exists());
    site.assert_absent("images/1/php.png").await;
    site.put(ID, b"bytes", &long_type[..255]).await;
    assert_eq!(php.mime_type(ID).await.unwrap(), long_type[..255]);

    let segment = "s".repeat(256);
    let deep = "d/".repeat(2048) + "x";
    for id in [&segment, &deep] {
        assert_eq!(id.parse::<FilePath>().unwrap_err().kind(), ErrorKind::NameTooLong);
    }
    site.put(&segment[..255], b"bytes", "a/b").await;
    assert_eq!(php.contents(&segment[..255]).await.unwrap(), b"bytes");

    // An index of PostgreSQL takes 2,704 bytes.
    let long = incompressible(3_500);
    let created = put(&site.files, &long, b"bytes", "a/b").await;
    match site.kind() {
        ServerKind::Mariadb => {
            created.unwrap();
            assert_eq!(php.contents(&long).await.unwrap(), b"bytes");
            assert_eq!(site.read(&long).await.unwrap(), b"bytes");
        }
        ServerKind::Postgres => {
            let refused = created.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::NameTooLong, "{refused}");
            assert_nothing(site, &long).await;
        }
    }
}

/// Tables that eZ Publish made hold characters of three bytes at most.
pub(crate) async fn check_26_an_old_table_refuses_four_byte_characters(
    site: &Site,
    _php: &PhpNode,
) {
    if site.kind() == ServerKind::Postgres {
        return;
    }
    let Some(site) = Site::legacy(site.table).await else { return };
    let php = site.node();
    let elephant = "images/\u{1f418}.png";
    let refused = put(&site.files, elephant, b"bytes", "image/png").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidPath, "{refused}");
    assert_nothing(&site, elephant).await;
    site.put("images/\u{20ac}.png", b"three bytes", "image/png").await;
    assert_eq!(php.contents("images/\u{20ac}.png").await.unwrap(), b"three bytes");
    php.create("images/\u{e9}.png", &NewBinary::new(b"two", "image/png")).await.unwrap();
    assert_eq!(site.read("images/\u{e9}.png").await.unwrap(), b"two");
}

/// Nothing of a refused file is anywhere.
async fn assert_nothing(site: &Site, id: &str) {
    assert_eq!(site.row(id).await, None, "{id}");
    assert!(!site.file(id).exists(), "{id}");
    assert_eq!(staged(site), 0, "{id}");
    assert!(site.files.metadata().intents_on(&path(id)).await.unwrap().is_empty(), "{id}");
}

fn staged(site: &Site) -> usize {
    std::fs::read_dir(site.file(".ezdfs/staging")).map_or(0, Iterator::count)
}

/// A path of about that many bytes in which nothing repeats.
fn incompressible(len: usize) -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut text = String::new();
    while text.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push_str(&format!("{state:016x}"));
        if text.len() % 200 < 16 {
            text.push('/');
        }
    }
    text.push('x');
    text
}

pub(crate) async fn check_27_interrupted_writes_show_nothing(site: &Site, php: &dyn IbexaNode) {
    // A new file, given up in the middle.
    let mut upload = site.files.stage(&path(ID), Some("image/png")).await.unwrap();
    upload.write(Bytes::from(vec![b'x'; 600_000])).await.unwrap();
    assert!(!php.exists(ID).await.unwrap());
    assert!(matches!(php.contents(ID).await, Err(NodeError::NotFound)));
    site.assert_absent(ID).await;
    drop(upload);
    assert!(!site.file(ID).exists());

    // An existing one.
    site.put(ID, b"old", "image/png").await;
    let mut upload = site.files.stage(&path(ID), Some("image/png")).await.unwrap();
    upload.write(Bytes::from(vec![b'x'; 600_000])).await.unwrap();
    assert_eq!(php.contents(ID).await.unwrap(), b"old");
    assert_eq!(site.read(ID).await.unwrap(), b"old");
    upload.abort().await;
    assert_eq!(php.contents(ID).await.unwrap(), b"old");
    assert_eq!(site.read(ID).await.unwrap(), b"old");

    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&site.file(ID)), 0o644);
    assert_eq!(mode(&site.file("images/1")), 0o755);
    assert_eq!(mode(&site.file("images")), 0o755);

    // PHP reads while ezdfs writes: whole versions only.
    let writing = Arc::new(AtomicBool::new(true));
    let publish = {
        let (files, writing) = (site.files.clone(), Arc::clone(&writing));
        async move {
            for version in 0..20_u8 {
                let bytes = vec![version; 300_000 + usize::from(version)];
                put(&files, ID, &bytes, "image/png").await.unwrap();
            }
            writing.store(false, Ordering::Release);
        }
    };
    let publishing = tokio::spawn(publish);
    while writing.load(Ordering::Acquire) {
        let bytes = php.contents(ID).await.unwrap();
        let version = bytes[0];
        assert!(
            bytes == b"old" || bytes == vec![version; 300_000 + usize::from(version)],
            "{} bytes that begin with {version}",
            bytes.len()
        );
    }
    publishing.await.unwrap();
}

pub(crate) async fn check_28_nobody_leaves_the_directory(site: &Site, php: &PhpNode) {
    for id in [
        "..",
        "../a",
        "images/../../a",
        "images/..",
        "images/./a",
        "/etc/passwd",
        "images/a\0",
        "images/a\n",
        "images/\u{7f}",
        "images/\u{85}",
    ] {
        let refused = id.parse::<FilePath>().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidPath, "{id:?}");
    }
    assert_eq!(".ezdfs/x".parse::<FilePath>().unwrap_err().kind(), ErrorKind::Reserved);

    // PHP stays inside as well, but not below the service's directory.
    for id in ["../a", "images/../../a"] {
        let refused = php.create(id, &NewBinary::new(b"x", "a/b")).await;
        assert!(matches!(refused, Err(NodeError::Path(BinaryPathError::Traversal))), "{id}");
    }
    let refused = php.create("images/a\u{85}", &NewBinary::new(b"x", "a/b")).await;
    assert!(matches!(refused, Err(NodeError::Path(BinaryPathError::Corrupted))));
    assert!(!site.root().parent().unwrap().join("a").exists());
    let odd = "images/../escaped.png";
    php.create(odd, &NewBinary::new(b"escaped", "image/png")).await.unwrap();
    assert!(site.file("escaped.png").exists());

    // What such a row names does not exist for ezdfs: not under its name, and not where it lies.
    site.assert_absent("escaped.png").await;
    assert_eq!(site.list("").await.iter().filter(|p| p.contains("escaped")).count(), 0);
    for target in
        [odd, "images/%2e%2e/escaped.png", "images/..%2fescaped.png", "images//etc/passwd"]
    {
        let status = site.get_raw(target).await.status;
        assert!((400..500).contains(&status), "{target}: {status}");
    }
    // A walk over the rows names it.
    let page = site.files.metadata().scan(&DirPath::root(), None, 100).await.unwrap();
    let unreachable: Vec<_> = page.rows.into_iter().filter_map(Result::err).collect();
    assert_eq!(unreachable.len(), 1, "{unreachable:?}");
    assert_eq!(unreachable[0].name, name(odd));
}

/// Deviation: PHP's store refuses invisible and unassigned characters, ezdfs only controls.
pub(crate) async fn check_28_invisible_characters(site: &Site, php: &PhpNode) {
    let id = "images/zero\u{200b}width.png";
    site.put(id, b"bytes", "image/png").await;
    assert_eq!(site.read(id).await.unwrap(), b"bytes");
    assert!(php.exists(id).await.unwrap(), "the row");
    assert!(php.contents(id).await.is_err(), "the bytes");
    assert!(matches!(
        php.create(id, &NewBinary::new(b"x", "a/b")).await,
        Err(NodeError::Path(BinaryPathError::Corrupted))
    ));
    assert_eq!(site.read(id).await.unwrap(), b"bytes");
}

pub(crate) async fn check_29_empty_files(site: &Site, php: &dyn IbexaNode) {
    let published = site.put("images/ours", b"", "image/png").await;
    let expected = LoadedBinary { size: 0, mtime: published.mtime.base_mtime() };
    assert_eq!(php.load("images/ours").await.unwrap(), expected);
    assert_eq!(php.contents("images/ours").await.unwrap(), b"");
    // Ibexa 4.6 makes them; 5.0 only loads them.
    php.create("images/theirs", &NewBinary::new(b"", "image/png")).await.unwrap();
    for id in ["images/ours", "images/theirs"] {
        assert_eq!(site.read(id).await.unwrap(), b"", "{id}");
        let answer = site.get(id).await;
        assert_eq!((answer.status, answer.header("content-length")), (200, Some("0")), "{id}");
    }
}
