use ezdfs_core::entry::OCTET_STREAM;
use ezdfs_core::{
    Attrs, DirMeta, DirPath, ETag, Entry, FileMeta, Sha256, Timestamp, Token, Witness,
};

fn file(datatype: &str) -> FileMeta {
    FileMeta {
        path: "images/a.png".parse().unwrap(),
        size: 0x1000,
        mtime: Timestamp::from_nanos(0x10_000_000_001),
        datatype: datatype.to_owned(),
        sha256: None,
        token: None,
        pin: None,
        expires: None,
        attrs: Attrs { ino: 0, mode: None, uid: None, gid: None, ctime: Timestamp::default() },
        witness: Witness {
            size: 0x1000,
            mtime: 1,
            expired: false,
            token: None,
            modified: Timestamp::from_secs(1),
            expires: None,
        },
    }
}

#[test]
fn media_types_are_served_and_anything_else_is_octet_stream() {
    for served in [
        "image/png",
        "image/svg+xml",
        "text/html; charset=utf-8",
        "text/html;charset=utf-8",
        "application/vnd.oasis.opendocument.text",
    ] {
        assert_eq!(file(served).media_type(), served);
    }
    // ibexa-dfs.md check 14, and what must never become a header field.
    for other in [
        "",
        "misc",
        "php",
        "image/",
        "/png",
        "/",
        "image/png\r\nX: y",
        "image/pñg",
        "image/p\u{7f}",
        "image/a b",
        "image/a/b",
        " ; a/b",
    ] {
        assert_eq!(file(other).media_type(), OCTET_STREAM, "{other:?}");
    }
}

#[test]
fn etags_are_strong_from_digest_or_token_and_weak_otherwise() {
    let mut meta = file("image/png");
    assert_eq!(meta.etag(), ETag::Weak(format!("{:x}-1000", meta.mtime.secs())));
    meta.token = Some(Token::from_bytes([0xab; 16]));
    assert_eq!(meta.etag(), ETag::Strong(format!("t-{}", "ab".repeat(16))));
    meta.sha256 = Some(Sha256::from_bytes([0xcd; 32]));
    assert_eq!(meta.etag(), ETag::Strong("cd".repeat(32)));
    meta.token = None;
    assert_eq!(meta.etag(), ETag::Strong("cd".repeat(32)));
}

#[test]
fn a_weak_etag_changes_with_size_and_second() {
    let meta = file("image/png");
    let (mut larger, mut later) = (meta.clone(), meta.clone());
    larger.size += 1;
    later.mtime = Timestamp::from_secs(meta.mtime.secs() + 1);
    assert!(!meta.etag().weak_eq(&larger.etag()));
    assert!(!meta.etag().weak_eq(&later.etag()));
}

#[test]
fn entries_name_themselves() {
    let meta = file("image/png");
    let dir = |path: DirPath| {
        Entry::Directory(DirMeta {
            path,
            mtime: Timestamp::from_secs(3),
            attrs: meta.attrs.clone(),
        })
    };
    for (entry, path, basename, mtime) in [
        (Entry::File(meta.clone()), "images/a.png", "a.png", meta.mtime),
        (dir("images/1".parse().unwrap()), "images/1", "1", Timestamp::from_secs(3)),
        (dir(DirPath::root()), "", "", Timestamp::from_secs(3)),
    ] {
        assert_eq!((entry.path(), entry.basename(), entry.mtime()), (path, basename, mtime));
    }
}
