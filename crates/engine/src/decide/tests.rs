//! The rule, branch by branch, and what holds for whatever is found.

use ezdfs_core::{Attrs, DirPath, IntentState, Name, NodeKind, NodeRow, Sha256, Timestamp, Token};
use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_000_000;
const SETTLE: Duration = Duration::from_secs(5);

fn path() -> FilePath {
    "images/a.png".parse().unwrap()
}

fn pin(n: u8) -> Pin {
    Pin::from_row(&format!("\"{n}\"|"))
}

fn token(n: u8) -> Token {
    Token::from_bytes([n; 16])
}

fn digest(n: u8) -> Sha256 {
    Sha256::from_bytes([n; 32])
}

/// A visible file of our own: size 3, mtime an hour ago, token 1, pin 1, digest 1.
fn ours() -> Record {
    let mtime = Timestamp::from_secs(NOW - 3600);
    let name = Name::from_row("images/a.png");
    let base = BaseRow {
        name: name.as_str().to_owned(),
        datatype: "image/png".to_owned(),
        scope: "image".to_owned(),
        size: 3,
        mtime: mtime.secs(),
        expired: false,
    };
    let node = NodeRow {
        parent: Name::from_row("images").hash(),
        basename: "a.png".to_owned(),
        kind: NodeKind::File,
        attrs: Attrs { ino: 7, mode: Some(0o600), uid: None, gid: None, ctime: mtime },
        mtime,
        pin: Some(pin(1)),
        token: Some(token(1)),
        sha256: Some(digest(1)),
        expires: None,
        base_size: 3,
        base_mtime: mtime.secs(),
    };
    Record::new(name.as_str(), Some(base), Some(node))
}

fn base(record: &mut Record) -> &mut BaseRow {
    record.base.as_mut().unwrap()
}

fn node(record: &mut Record) -> &mut NodeRow {
    record.node.as_mut().unwrap()
}

/// The same row as PHP makes it.
fn foreign_row() -> Record {
    Record { node: None, ..ours() }
}

fn hidden(mut record: Record) -> Record {
    base(&mut record).mtime *= -1;
    base(&mut record).expired = true;
    record
}

fn none() -> Record {
    Record::default()
}

/// The object of [`ours`].
fn its_object() -> ObjectInfo {
    ObjectInfo {
        pin: Some(pin(1)),
        size: 3,
        mtime: Timestamp::from_secs(NOW - 3600),
        token: Some(token(1)),
    }
}

/// What PHP puts in its place.
fn replaced(size: u64, age: i64) -> ObjectInfo {
    ObjectInfo { pin: Some(pin(9)), size, mtime: Timestamp::from_secs(NOW - age), token: None }
}

fn publish(n: u8, size: u64, pin: Option<Pin>) -> Intent {
    Intent {
        id: IntentId(i64::from(n)),
        path: path(),
        subtree: false,
        token: token(n),
        owner: String::new(),
        state: IntentState::Ended,
        lease_end: Timestamp::default(),
        work: Work::Publish {
            size,
            sha256: digest(n),
            datatype: "image/webp".to_owned(),
            mtime: Timestamp::from_secs(NOW - 20),
            expires: Some(Timestamp::from_secs(NOW + 99)),
            pin,
        },
    }
}

fn reap(n: u8) -> Intent {
    let work = Work::Reap {
        key: "images/a.png".to_owned(),
        pin: Some(pin(n)),
        not_before: Timestamp::default(),
    };
    Intent { state: IntentState::Queued, work, ..publish(100 + n, 0, None) }
}

fn found(record: Record, object: Option<ObjectInfo>, intents: Vec<Intent>) -> Found {
    let now = Timestamp::from_secs(NOW);
    Found { path: path(), record, object, intents, now, settle: SETTLE }
}

fn decided(record: Record, object: ObjectInfo, intents: Vec<Intent>) -> Decision {
    decide(&found(record, Some(object), intents))
}

fn rolled_forward(decision: Decision) -> (NewFile, i64) {
    match decision {
        Decision::RollForward(file, IntentId(id)) => (*file, id),
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_an_object_there_is_nothing_to_adopt() {
    for record in [ours(), foreign_row(), hidden(ours()), none()] {
        let decision = decide(&found(record, None, vec![publish(2, 3, None), reap(1)]));
        assert_eq!(decision, Decision::Leave);
    }
}

#[test]
fn a_row_with_the_pin_of_its_object_is_left_alone() {
    assert_eq!(decided(ours(), its_object(), vec![]), Decision::Leave);
    assert_eq!(decided(hidden(ours()), its_object(), vec![]), Decision::Leave);
    // Even if a deleted version had the same pin: S3 makes etags of the bytes.
    assert_eq!(decided(ours(), its_object(), vec![reap(1)]), Decision::Leave);
}

#[test]
fn a_version_under_a_new_pin_keeps_everything_else() {
    let copied = ObjectInfo { pin: Some(pin(2)), ..its_object() };
    assert_eq!(decided(ours(), copied.clone(), vec![]), Decision::Repin(pin(2)));
    // A soft-deleted row is not revived by it.
    assert_eq!(decided(hidden(ours()), copied, vec![]), Decision::Leave);
    let file = repinned(&ours().file(&path()).unwrap(), pin(2));
    assert_eq!((file.size, file.sha256, file.token), (3, Some(digest(1)), Some(token(1))));
    assert_eq!((file.pin, file.datatype.as_str()), (Some(pin(2)), "image/png"));
}

#[test]
fn a_publish_is_rolled_forward_by_its_token() {
    let arrived = ObjectInfo { token: Some(token(2)), ..replaced(5, 0) };
    for record in [ours(), foreign_row(), hidden(ours()), none()] {
        let decision = decided(record, arrived.clone(), vec![reap(3), publish(2, 5, None)]);
        let (file, told_by) = rolled_forward(decision);
        assert_eq!((file.size, file.sha256, file.token), (5, Some(digest(2)), Some(token(2))));
        assert_eq!((file.pin, file.datatype.as_str()), (Some(pin(9)), "image/webp"));
        assert_eq!(file.mtime, Timestamp::from_secs(NOW - 20));
        assert_eq!(file.expires, Some(Timestamp::from_secs(NOW + 99)));
        assert_eq!(told_by, 2);
    }
    // The token tells a version from a deleted one of the same bytes, so of the same etag.
    let same_etag = ObjectInfo { pin: Some(pin(3)), ..arrived.clone() };
    rolled_forward(decided(none(), same_etag, vec![reap(3), publish(2, 5, None)]));
    // Another size is another object, whatever it says.
    assert_eq!(decided(none(), arrived, vec![publish(2, 6, None)]), Decision::Leave);
}

#[test]
fn a_publish_is_rolled_forward_by_the_pin_of_its_staged_file() {
    let staged = publish(2, 5, Some(pin(9)));
    for record in [ours(), foreign_row(), hidden(ours()), none()] {
        let (file, _) = rolled_forward(decided(record, replaced(5, 0), vec![staged.clone()]));
        assert_eq!((file.size, file.token, file.pin), (5, Some(token(2)), Some(pin(9))));
    }
    assert_eq!(decided(none(), replaced(5, 0), vec![staged.clone(), reap(9)]), Decision::Doomed);
    assert_eq!(decided(none(), replaced(6, 0), vec![staged]), Decision::Leave);
}

#[test]
fn a_version_that_is_rolled_forward_does_not_step_back_in_time() {
    let mut record = ours();
    for (old, new) in [(NOW - 19, NOW - 18), (NOW - 3600, NOW - 20), (NOW + 3600, NOW - 20)] {
        node(&mut record).mtime = Timestamp::from_secs(old);
        base(&mut record).mtime = old;
        node(&mut record).base_mtime = old;
        let arrived = ObjectInfo { token: Some(token(2)), ..replaced(5, 0) };
        let (file, _) = rolled_forward(decided(record.clone(), arrived, vec![publish(2, 5, None)]));
        assert_eq!(file.mtime, Timestamp::from_secs(new), "{old}");
    }
}

#[test]
fn bytes_of_a_deleted_version_are_left_to_their_reap() {
    let doomed = replaced(3, 3600);
    for record in [ours(), hidden(ours()), hidden(foreign_row()), none()] {
        assert_eq!(decided(record, doomed.clone(), vec![reap(9)]), Decision::Doomed);
    }
    // Unless PHP has revived the row: then they are its bytes again.
    assert_eq!(decided(foreign_row(), doomed.clone(), vec![reap(9)]), Decision::Repin(pin(9)));
    // A row of another size is not about them.
    let other = ObjectInfo { size: 4, ..doomed };
    assert_eq!(decided(foreign_row(), other, vec![reap(9)]), Decision::Doomed);
}

#[test]
fn an_object_without_a_visible_row_is_left_to_its_writer_and_to_fsck() {
    for record in [none(), hidden(ours()), hidden(foreign_row())] {
        for age in [0, 3600] {
            assert_eq!(decided(record.clone(), replaced(3, age), vec![]), Decision::Leave);
        }
    }
}

#[test]
fn a_directory_is_never_changed() {
    let mut record = none();
    let dir = NodeRow { kind: NodeKind::Directory, ..ours().node.unwrap() };
    record.node = Some(dir);
    assert!(
        matches!(record.entry(&path(), Timestamp::from_secs(NOW)), Some(Entry::Directory(d)) if d.path == DirPath::from(path()))
    );
    let arrived = ObjectInfo { token: Some(token(2)), ..replaced(5, 0) };
    assert_eq!(decided(record, arrived, vec![publish(2, 5, None)]), Decision::Leave);
}

#[test]
fn a_foreign_row_takes_the_object_of_its_size() {
    // At once: PHP writes the row last, so there is nothing to wait for.
    for age in [0, 3600] {
        assert_eq!(decided(foreign_row(), replaced(3, age), vec![]), Decision::Repin(pin(9)));
    }
}

#[test]
fn a_replaced_object_gets_time_to_get_its_row() {
    for size in [3, 4] {
        for (age, settled) in [(0, false), (4, false), (5, true), (3600, true)] {
            let decision = decided(ours(), replaced(size, age), vec![]);
            assert_eq!(decision == Decision::NotSettled, !settled, "{size} {age}");
        }
    }
    // Also from a clock that runs a little ahead; but nobody waits for a date far in the future.
    assert_eq!(decided(ours(), replaced(4, -5), vec![]), Decision::NotSettled);
    assert_ne!(decided(ours(), replaced(4, -6), vec![]), Decision::NotSettled);
    assert_eq!(decided(foreign_row(), replaced(4, 0), vec![]), Decision::NotSettled);
}

#[test]
fn a_settled_object_of_another_size_is_adopted_as_it_is() {
    for record in [ours(), foreign_row()] {
        let Decision::Adopt(file) = decided(record, replaced(4, 60), vec![]) else { panic!() };
        assert_eq!((file.size, file.mtime), (4, Timestamp::from_secs(NOW - 60)));
        assert_eq!((file.sha256, file.token, file.expires), (None, None, None));
        assert_eq!((file.pin, file.datatype.as_str()), (Some(pin(9)), "image/png"));
    }
    let mut untyped = foreign_row();
    base(&mut untyped).datatype.clear();
    let Decision::Adopt(file) = decided(untyped, replaced(4, 60), vec![]) else { panic!() };
    assert_eq!(file.datatype, "image/png");
}

#[test]
fn the_digest_decides_about_a_settled_object_of_the_same_size() {
    assert_eq!(decided(ours(), replaced(3, 60), vec![]), Decision::Compare(pin(9)));
    // Without a digest the time does: after a restore every pin differs, size and time do not.
    let mut undigested = ours();
    node(&mut undigested).sha256 = None;
    assert_eq!(decided(undigested.clone(), replaced(3, 3600), vec![]), Decision::Repin(pin(9)));
    assert!(matches!(decided(undigested, replaced(3, 60), vec![]), Decision::Adopt(_)));
}

#[test]
fn an_overtaken_node_row_says_nothing_of_the_version() {
    let mut record = ours();
    base(&mut record).mtime += 1;
    // Pin, token and digest are those of the version before.
    assert_eq!(decided(record, its_object(), vec![]), Decision::Repin(pin(1)));
}

fn any_record() -> impl Strategy<Value = Record> {
    let visible = prop_oneof![
        Just(ours()),
        Just(foreign_row()),
        (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
            |(p, t, s, expired)| {
                let mut record = ours();
                let node = node(&mut record);
                node.pin = node.pin.take().filter(|_| p);
                node.token = node.token.filter(|_| t);
                node.sha256 = node.sha256.filter(|_| s);
                node.expires = expired.then(|| Timestamp::from_secs(NOW - 1));
                record
            }
        ),
    ];
    prop_oneof![
        4 => visible.clone(),
        2 => visible.prop_map(hidden),
        1 => Just(none()),
    ]
}

prop_compose! {
    fn any_object()(
        pin_of in proptest::option::of(1..4_u8),
        size in 2..5_u64,
        age in -10..4000_i64,
        token_of in proptest::option::of(1..4_u8),
    ) -> ObjectInfo {
        let mtime = Timestamp::from_secs(NOW - age);
        ObjectInfo { pin: pin_of.map(pin), size, mtime, token: token_of.map(token) }
    }
}

fn any_intent() -> impl Strategy<Value = Intent> {
    prop_oneof![
        (2..4_u8, 2..5_u64, proptest::option::of(2..4_u8)).prop_map(|(n, size, of)| publish(
            n,
            size,
            of.map(pin)
        )),
        (1..4_u8).prop_map(reap),
        Just(Intent { work: Work::Repair, ..publish(50, 0, None) }),
        Just(Intent { work: Work::Rename { to: None }, ..publish(51, 0, None) }),
    ]
}

proptest! {
    #[test]
    fn whatever_is_found_is_treated_safely(
        record in any_record(),
        object in proptest::option::weighted(0.9, any_object()),
        intents in proptest::collection::vec(any_intent(), 0..4),
    ) {
        let found = found(record, object, intents);
        let decision = decide(&found);
        let row = found.record.file(&found.path);
        let visible = found.record.base.as_ref().is_some_and(BaseRow::visible);
        let Some(object) = &found.object else {
            prop_assert_eq!(decision, Decision::Leave);
            return Ok(());
        };
        // Rows and object that agree are left alone, hidden ones too.
        if row.as_ref().is_some_and(|r| r.pin.is_some() && r.pin == object.pin) {
            prop_assert_eq!(&decision, &Decision::Leave);
        }
        let known = |n: &NewFile, id: &IntentId| found.intents.iter().any(|i| {
            matches!(&i.work, Work::Publish { sha256, size, pin, .. }
                if Some(*sha256) == n.sha256
                    && *size == object.size
                    && (object.token == Some(i.token) || (pin.is_some() && *pin == object.pin)))
                && i.id == *id && Some(i.token) == n.token
        });
        let is_doomed = found.intents.iter().any(|i| is_reap_of(i, object));
        match &decision {
            // Only a publish makes an invisible row visible, and only with its own bytes.
            Decision::RollForward(file, id) => {
                prop_assert!(known(file, id));
                prop_assert_eq!(&file.pin, &object.pin);
                prop_assert_eq!(file.size, object.size);
                // Doomed bytes only if the token proves that they are a newer version.
                prop_assert!(!is_doomed || object.token == file.token);
            }
            Decision::Repin(_) | Decision::Compare(_) | Decision::Adopt(_) | Decision::NotSettled => {
                prop_assert!(visible);
                let row = row.as_ref().unwrap();
                prop_assert!(row.pin.is_none() || row.pin != object.pin);
                if let Decision::Adopt(file) = &decision {
                    prop_assert!(!is_doomed, "bytes of a deleted version were adopted");
                    let is_future = object.mtime > found.now.plus(SETTLE);
                    prop_assert!(is_future || found.now.since(object.mtime) >= SETTLE);
                    prop_assert_eq!((file.size, file.sha256, file.token), (object.size, None, None));
                }
                if let Decision::Repin(pin) = &decision {
                    prop_assert_eq!(Some(pin), object.pin.as_ref());
                    // A pin never ties a row to bytes of another size, unless the token says so.
                    prop_assert!(row.size == object.size || row.token == object.token);
                }
                if is_doomed {
                    prop_assert!(matches!(decision, Decision::Repin(_)));
                }
            }
            Decision::Doomed => prop_assert!(is_doomed),
            Decision::Leave => {}
        }
    }
}
