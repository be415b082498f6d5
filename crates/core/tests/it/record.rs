use ezdfs_core::{
    Attrs, BaseRow, Entry, FilePath, IntentKind, NamePrefix, NodeKind, NodeRow, Pin, Record,
    Sha256, Timestamp, Token,
};
use proptest::prelude::*;

const NAME: &str = "var/site/storage/images/a.png";
const MTIME: i64 = 1_700_000_000;
const NOW: Timestamp = Timestamp::from_secs(1_700_000_100);

fn path() -> FilePath {
    "images/a.png".parse().unwrap()
}

fn base() -> BaseRow {
    BaseRow {
        name: NAME.to_owned(),
        datatype: "image/png".to_owned(),
        scope: "image".to_owned(),
        size: 10,
        mtime: MTIME,
        expired: false,
    }
}

fn node(kind: NodeKind) -> NodeRow {
    let prefix = NamePrefix::new("var/site/storage");
    NodeRow {
        parent: prefix.dir_name(&path().parent()).hash(),
        basename: "a.png".to_owned(),
        kind,
        attrs: Attrs {
            ino: 7,
            mode: Some(0o640),
            uid: Some(33),
            gid: Some(44),
            ctime: Timestamp::from_secs(5),
        },
        mtime: Timestamp::from_nanos(MTIME * 1_000_000_000 + 123),
        pin: Pin::new(Some("\"e\""), None),
        token: Some(Token::from_bytes([1; 16])),
        sha256: Some(Sha256::from_bytes([2; 32])),
        expires: Some(NOW.plus(std::time::Duration::from_secs(60))),
        base_size: 10,
        base_mtime: MTIME,
    }
}

#[test]
fn visibility_table() {
    // ibexa-dfs.md checks 9 to 12. `status` is no part of a row that we read (check 13).
    for (expired, mtime, visible) in [
        (false, MTIME, true),
        (false, 1, true),
        (false, i64::from(i32::MAX), true),
        (false, i64::MAX, true),
        (false, 0, false),
        (false, -1, false),
        (false, -MTIME, false),
        (false, i64::MIN, false),
        (true, MTIME, false),
        (true, 1, false),
        (true, 0, false),
        (true, -MTIME, false),
        (true, i64::MIN, false),
    ] {
        let row = BaseRow { mtime, expired, ..base() };
        assert_eq!(row.visible(), visible, "expired={expired} mtime={mtime}");
        let record = Record::new(NAME, Some(row), None);
        assert_eq!(
            record.entry(&path(), NOW).is_some(),
            visible,
            "expired={expired} mtime={mtime}"
        );
        assert!(record.file(&path()).is_some(), "hidden files can be restored");
        assert_eq!(record.witness().map(|w| (w.mtime, w.expired)), Some((mtime, expired)));
    }
}

#[test]
fn a_row_that_php_wrote_has_the_defaults() {
    let record = Record::new(NAME, Some(base()), None);
    let meta = record.file(&path()).unwrap();
    assert_eq!(meta.mtime, Timestamp::from_secs(MTIME));
    assert_eq!(meta.attrs.ctime, Timestamp::from_secs(MTIME));
    assert_eq!(
        (meta.attrs.ino, meta.attrs.mode, meta.attrs.uid, meta.attrs.gid),
        (0, None, None, None)
    );
    assert_eq!((meta.sha256, meta.token, meta.pin.clone(), meta.expires), (None, None, None, None));
    assert_eq!((meta.size, &*meta.datatype), (10, "image/png"));
    assert_eq!(record.entry(&path(), NOW), Some(Entry::File(meta)));
}

#[test]
fn a_node_row_that_belongs_to_the_base_row_tells_everything() {
    let record = Record::new(NAME, Some(base()), Some(node(NodeKind::File)));
    let meta = record.file(&path()).unwrap();
    let own = node(NodeKind::File);
    assert_eq!((meta.mtime, meta.pin, meta.token), (own.mtime, own.pin, own.token));
    assert_eq!((meta.sha256, meta.expires, meta.attrs), (own.sha256, own.expires, own.attrs));
    let witness = record.witness().unwrap();
    assert_eq!(witness.token, own.token);
    // A touch within one second, and a prolonged expiry, change nothing else.
    assert_eq!((witness.modified, witness.expires), (own.mtime, own.expires));
}

#[test]
fn an_overtaken_node_row_keeps_its_attributes_only() {
    let rows = [
        BaseRow { size: 11, ..base() },
        BaseRow { mtime: MTIME + 1, ..base() },
        BaseRow { mtime: MTIME - 1, ..base() },
    ];
    for row in rows {
        let record = Record::new(NAME, Some(row.clone()), Some(node(NodeKind::File)));
        let meta = record.file(&path()).unwrap();
        assert_eq!(meta.mtime, Timestamp::from_secs(row.mtime));
        assert_eq!((meta.pin, meta.token, meta.sha256, meta.expires), (None, None, None, None));
        assert_eq!(meta.attrs, node(NodeKind::File).attrs);
        let witness = record.witness().unwrap();
        assert_eq!((witness.token, witness.expires), (None, None));
        assert_eq!(witness.modified, Timestamp::from_secs(row.mtime));
    }
}

#[test]
fn a_soft_deleted_row_still_belongs_to_its_node_row() {
    let hidden = BaseRow { mtime: -MTIME, expired: true, ..base() };
    let record = Record::new(NAME, Some(hidden), Some(node(NodeKind::File)));
    let meta = record.file(&path()).unwrap();
    assert_eq!(meta.token, node(NodeKind::File).token, "a restore finds the version again");
    assert_eq!(record.entry(&path(), NOW), None);
}

#[test]
fn expiry_goes_by_the_clock() {
    let at = Timestamp::from_secs(1_700_000_050);
    let record = Record::new(
        NAME,
        Some(base()),
        Some(NodeRow { expires: Some(at), ..node(NodeKind::File) }),
    );
    for (now, visible) in [
        (Timestamp::from_nanos(at.nanos() - 1), true),
        (at, false),
        (Timestamp::from_nanos(at.nanos() + 1), false),
    ] {
        assert_eq!(record.entry(&path(), now).is_some(), visible, "{now:?}");
    }
    assert!(record.file(&path()).is_some());
    // A foreign overwrite takes the expiry away.
    let overtaken = Record { base: Some(BaseRow { size: 11, ..base() }), ..record };
    assert!(overtaken.entry(&path(), at).is_some());
}

#[test]
fn a_hash_hit_of_another_name_is_not_a_hit() {
    let other = BaseRow { name: "var/site/storage/images/b.png".to_owned(), ..base() };
    let record = Record::new(NAME, Some(other), Some(node(NodeKind::File)));
    assert!(record.collision);
    assert_eq!(record.base, None);
    assert_eq!(record.entry(&path(), NOW), None);
    assert_eq!(record.file(&path()), None);
    assert_eq!(record.witness(), None);
    // Names are compared by bytes, so a case or accent twin is another name.
    for twin in ["var/site/storage/images/A.png", "var/site/storage/images/a.png ", ""] {
        assert!(
            Record::new(NAME, Some(BaseRow { name: twin.to_owned(), ..base() }), None).collision
        );
    }
    assert!(!Record::new(NAME, Some(base()), None).collision);
}

#[test]
fn a_directory_wins_over_a_file() {
    for row in [None, Some(base()), Some(BaseRow { expired: true, ..base() })] {
        let record = Record::new(NAME, row, Some(node(NodeKind::Directory)));
        match record.entry(&path(), NOW) {
            Some(Entry::Directory(dir)) => {
                assert_eq!(dir.path.as_str(), "images/a.png");
                assert_eq!(dir.mtime, node(NodeKind::Directory).mtime);
                assert_eq!(dir.attrs, node(NodeKind::Directory).attrs);
            }
            other => panic!("{other:?}"),
        }
    }
    // What a directory's node row holds never describes the file below it.
    let record = Record::new(NAME, Some(base()), Some(node(NodeKind::Directory)));
    let meta = record.file(&path()).unwrap();
    assert_eq!((meta.token, meta.attrs.mode), (None, None));
}

#[test]
fn a_file_node_without_a_base_row_is_nothing() {
    let record = Record::new(NAME, None, Some(node(NodeKind::File)));
    assert_eq!(record.entry(&path(), NOW), None);
    assert_eq!(record.witness(), None);
    assert_eq!(Record::default().entry(&path(), NOW), None);
}

#[test]
fn words_of_the_tables_round_trip() {
    for kind in [NodeKind::File, NodeKind::Directory] {
        assert_eq!(NodeKind::from_row(kind.as_str()), Some(kind));
    }
    assert_eq!(NodeKind::from_row("symlink"), None);
    for kind in [
        IntentKind::Publish,
        IntentKind::Rename,
        IntentKind::Delete,
        IntentKind::Reap,
        IntentKind::Repair,
    ] {
        assert_eq!(IntentKind::from_row(kind.as_str()), Some(kind));
    }
    assert_eq!(IntentKind::from_row("Publish"), None);
}

proptest! {
    #[test]
    fn any_row_is_read_without_panic_and_by_the_rule(
        size in any::<u64>(), mtime in any::<i64>(), expired in any::<bool>(),
        base_size in any::<u64>(), base_mtime in any::<i64>(), same in any::<bool>(),
        now in any::<i64>(), expires in prop::option::of(any::<i64>()),
    ) {
        let row = BaseRow { size, mtime, expired, ..base() };
        let mut own = NodeRow {
            base_size, base_mtime, expires: expires.map(Timestamp::from_nanos), ..node(NodeKind::File)
        };
        if same {
            (own.base_size, own.base_mtime) = (size, mtime.saturating_abs());
        }
        let belongs = own.belongs_to(&row);
        prop_assert_eq!(belongs, own.base_size == size && own.base_mtime == mtime.saturating_abs());
        let record = Record::new(NAME, Some(row), Some(own));
        let seen = record.entry(&path(), Timestamp::from_nanos(now)).is_some();
        let past = belongs && expires.is_some_and(|at| at <= now);
        prop_assert_eq!(seen, !expired && mtime > 0 && !past);
        let meta = record.file(&path()).unwrap();
        prop_assert_eq!(meta.token.is_some(), belongs);
        prop_assert_eq!(meta.witness, record.witness().unwrap());
    }
}
