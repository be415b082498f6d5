//! The rule, branch by branch.

use ezdfs_core::{
    Attrs, FilePath, Intent, IntentId, Name, NodeRow, Pin, Record, Sha256, Timestamp, Token, Work,
};

use super::*;

const NOW: i64 = 1_000_000;
const HOUR: Duration = Duration::from_secs(3600);
/// Old enough to be judged.
const OLD: i64 = NOW - 7_200;

fn path() -> FilePath {
    "images/a.png".parse().unwrap()
}

fn pin(n: u8) -> Pin {
    Pin::from_row(&format!("\"{n}\"|"))
}

/// A visible file of ours and its object: size 3, two hours old, pin 1, token 1, digest 1.
fn ours() -> Found {
    let mtime = Timestamp::from_secs(OLD);
    let name = Name::from_row("images/a.png");
    let base = BaseRow {
        name: name.as_str().to_owned(),
        datatype: "image/png".to_owned(),
        scope: "image".to_owned(),
        size: 3,
        mtime: OLD,
        expired: false,
    };
    let node = NodeRow {
        parent: Name::from_row("images").hash(),
        basename: "a.png".to_owned(),
        kind: NodeKind::File,
        attrs: Attrs { ino: 7, mode: None, uid: None, gid: None, ctime: mtime },
        mtime,
        pin: Some(pin(1)),
        token: Some(Token::from_bytes([1; 16])),
        sha256: Some(Sha256::from_bytes([1; 32])),
        expires: None,
        base_size: 3,
        base_mtime: OLD,
    };
    Found {
        path: path(),
        record: Record::new(name.as_str(), Some(base), Some(node)),
        object: Some(object(1, 3, OLD)),
        intents: Vec::new(),
        now: Timestamp::from_secs(NOW),
        settle: Duration::from_secs(5),
    }
}

fn object(n: u8, size: u64, mtime: i64) -> ObjectInfo {
    ObjectInfo { pin: Some(pin(n)), size, mtime: Timestamp::from_secs(mtime), token: None }
}

fn pending(state: IntentState, n: u8, work: Work) -> Intent {
    Intent {
        id: IntentId(1),
        path: path(),
        subtree: false,
        token: Token::from_bytes([n; 16]),
        owner: String::new(),
        state,
        lease_end: Timestamp::default(),
        work,
    }
}

fn reap(n: u8) -> Intent {
    let work =
        Work::Reap { key: String::new(), pin: Some(pin(n)), not_before: Timestamp::default() };
    pending(IntentState::Queued, n, work)
}

fn publish(n: u8, size: u64) -> Intent {
    let work = Work::Publish {
        size,
        sha256: Sha256::from_bytes([n; 32]),
        datatype: "image/png".to_owned(),
        mtime: Timestamp::from_secs(OLD),
        expires: None,
        pin: Some(pin(n)),
    };
    pending(IntentState::Ended, n, work)
}

fn base(found: &mut Found) -> &mut BaseRow {
    found.record.base.as_mut().unwrap()
}

fn node(found: &mut Found) -> &mut NodeRow {
    found.record.node.as_mut().unwrap()
}

fn verdict(found: &Found) -> Verdict {
    judge(found, false, HOUR)
}

#[track_caller]
fn finds(found: &Found, kinds: &[Kind]) -> Vec<Fault> {
    let Verdict::Judged(faults) = verdict(found) else { panic!("{:?}", verdict(found)) };
    assert_eq!(faults.iter().map(|f| f.kind).collect::<Vec<_>>(), kinds, "{faults:#?}");
    faults
}

#[test]
fn what_fits_is_no_finding() {
    finds(&ours(), &[]);
    let no_row = Found { record: Record::default(), object: None, ..ours() };
    finds(&no_row, &[]);
    // A row of PHP that nobody has read yet.
    let mut foreign = ours();
    node(&mut foreign).pin = None;
    node(&mut foreign).token = None;
    foreign.object = Some(object(9, 3, OLD));
    finds(&foreign, &[]);
}

#[test]
fn bytes_that_are_missing() {
    let mut found = Found { object: None, ..ours() };
    finds(&found, &[Kind::MissingObject]);
    base(&mut found).expired = true;
    base(&mut found).mtime = -OLD;
    finds(&found, &[]);
    // Deleted bytes that wait for their reap are not those of a newer row.
    let mut revived = ours();
    node(&mut revived).pin = Some(pin(2));
    node(&mut revived).token = None;
    revived.intents = vec![reap(1)];
    finds(&revived, &[Kind::MissingObject]);
    // A file whose time is over may be gone.
    let mut over = Found { object: None, ..ours() };
    node(&mut over).expires = Some(Timestamp::from_secs(NOW));
    finds(&over, &[]);
}

#[test]
fn bytes_without_a_row() {
    let mut found = Found { record: Record::default(), ..ours() };
    finds(&found, &[Kind::Orphan]);
    assert_eq!(judge(&found, true, HOUR), Verdict::Judged(Vec::new()), "a row of PHP claims it");
    found.intents = vec![reap(1)];
    finds(&found, &[]);
    found.intents = vec![publish(1, 3)];
    finds(&found, &[Kind::Late]);
    found.intents = Vec::new();
    found.object = Some(object(1, 3, NOW - 3_599));
    assert_eq!(verdict(&found), Verdict::Young);
    found.object = Some(object(1, 3, NOW - 3_600));
    finds(&found, &[Kind::Orphan]);
    // A soft-deleted file keeps its bytes.
    let mut hidden = ours();
    base(&mut hidden).expired = true;
    base(&mut hidden).mtime = -OLD;
    finds(&hidden, &[]);
}

#[test]
fn another_object_than_the_pinned_one() {
    let mut found = ours();
    found.object = Some(object(9, 3, OLD));
    assert!(finds(&found, &[Kind::Pin])[0].adoptable, "size and mtime are the row's");
    found.object = Some(object(9, 3, OLD + 1));
    assert!(!finds(&found, &[Kind::Pin])[0].adoptable);
    found.object = Some(object(9, 4, OLD));
    assert!(!finds(&found, &[Kind::Size])[0].adoptable);
    found.object = Some(object(9, 4, NOW - 60));
    assert_eq!(verdict(&found), Verdict::Young);
    // The token travels with the object: copied within the store.
    let token = Some(Token::from_bytes([1; 16]));
    found.object = Some(ObjectInfo { token, ..object(9, 3, OLD + 50) });
    assert!(finds(&found, &[Kind::Pin])[0].adoptable);
}

#[test]
fn work_in_progress_is_not_judged() {
    let mut found = Found { object: None, ..ours() };
    found.intents = vec![pending(IntentState::Held, 3, Work::Delete)];
    assert_eq!(verdict(&found), Verdict::Busy);
}

#[test]
fn marks_that_contradict_each_other() {
    let mut found = ours();
    base(&mut found).expired = true;
    finds(&found, &[Kind::TombstoneTrap]);
    let mut found = ours();
    base(&mut found).mtime = -OLD;
    finds(&found, &[Kind::HalfHidden]);
    base(&mut found).mtime = 0;
    node(&mut found).base_mtime = 0;
    finds(&found, &[Kind::HalfHidden]);
}

#[test]
fn entries_that_are_missing_or_stale() {
    let mut found = ours();
    found.record.node = None;
    finds(&found, &[Kind::NotListed]);
    let mut found = ours();
    node(&mut found).base_size = 2;
    found.object = Some(object(9, 3, OLD));
    finds(&found, &[Kind::StaleEntry]);
}

#[test]
fn a_file_beside_a_directory() {
    let mut found = ours();
    node(&mut found).kind = NodeKind::Directory;
    finds(&found, &[Kind::FileAndDirectory]);
    found.record.base = None;
    finds(&found, &[Kind::FileAndDirectory]);
    found.object = None;
    finds(&found, &[]);
}

#[test]
fn young_bytes_do_not_hide_old_faults_of_the_row() {
    let mut found = ours();
    base(&mut found).expired = true;
    found.object = Some(object(9, 3, NOW));
    finds(&found, &[Kind::TombstoneTrap]);
    let mut found = Found { object: Some(object(9, 4, NOW)), ..ours() };
    found.record.node = None;
    finds(&found, &[Kind::NotListed]);
}
