//! Several stores in one table, several callers at once.

use std::sync::Arc;
use std::time::Duration;

use ezdfs_core::{Change, Hold, Intent, IntentState, Op, Timestamp, Work};

use super::{
    LEASE, NEIGHBOUR_PREFIX, START_SECS, Setup, dir, file, hold, intent, is_file, list, path,
    publish, put, scan, token, version,
};

/// Whatever one store does, the other one's rows stay.
pub async fn a_neighbour_is_untouched(s: &Setup) {
    publish(&*s.neighbour, "images/a.jpg", version(9, 9)).await;
    publish(&*s.store, "images/a.jpg", version(1, 1)).await;
    let php = format!("{NEIGHBOUR_PREFIX}/images/php.jpg");
    s.foreign.store(&php, 3, START_SECS, "a/b").await;
    assert_eq!(list(&*s.store, "images").await, ["a.jpg"]);
    assert_eq!(scan(&*s.store, "").await, ["images/a.jpg"]);
    assert_eq!(list(&*s.neighbour, "images").await, ["a.jpg", "php.jpg"]);
    let all = Change::new().op(Op::HideFile(path("images/a.jpg"))).op(Op::RemoveDirTree(dir("")));
    s.store.apply(all).await.unwrap();
    assert_eq!(s.store.tombstones(&dir(""), None, 10).await.unwrap().len(), 1);
    assert!(s.neighbour.tombstones(&dir(""), None, 10).await.unwrap().is_empty());
    s.store.apply(Change::new().op(Op::RemoveFile(path("images/a.jpg")))).await.unwrap();
    assert_eq!(file(&*s.neighbour, "images/a.jpg").await.token, Some(token(9)));
    assert_eq!(list(&*s.neighbour, "").await, ["images"]);
    assert_eq!(s.neighbour.figures().await.unwrap().files, 2);
    assert_eq!(s.store.figures().await.unwrap().files, 0);
}

/// Paths, subtrees and due work belong to one store.
pub async fn a_neighbours_holds_do_not_block(s: &Setup) {
    let tree = Intent { subtree: true, ..intent("images", token(1), Work::Delete) };
    assert_eq!(s.neighbour.hold(&[tree], LEASE).await.unwrap(), Hold::Held);
    assert_eq!(hold(&*s.store, "images/a", 2).await, Hold::Held);
    assert_eq!(hold(&*s.store, "images", 3).await, Hold::Held);
    assert!(s.store.intents_on(&path("images/b")).await.unwrap().is_empty());
    let end = Timestamp::from_secs(START_SECS + 3600);
    assert_eq!(s.store.due(IntentState::Held, end, 10).await.unwrap().len(), 2);
    assert_eq!(s.neighbour.due(IntentState::Held, end, 10).await.unwrap().len(), 1);
    assert_eq!(s.neighbour.figures().await.unwrap().held, 1);
}

/// The whole protocol, eight at a time: nothing is lost, nothing fails.
pub async fn concurrent_publishers(s: &Setup) {
    let mut publishers = tokio::task::JoinSet::new();
    for n in 0..8_u8 {
        let store = Arc::clone(&s.store);
        publishers.spawn(async move {
            for round in 0..12_u8 {
                let at = format!("c/{}/f{n}-{round}", round % 3);
                let own = token(n * 16 + round);
                let shared = intent("c/shared", own, Work::Repair);
                let held = loop {
                    // Two paths each time, one of which everybody wants.
                    let own_path = intent(&at, own, Work::Repair);
                    match store.hold(&[own_path, shared.clone()], LEASE).await.unwrap() {
                        Hold::Held => break own,
                        Hold::Busy(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                    }
                };
                let change = put(&at, version(u64::from(round), n))
                    .guard(ezdfs_core::Guard::Holds(held))
                    .op(Op::PutFile { path: path("c/shared"), file: version(1, n) })
                    .op(Op::EndHold { token: held, keep: false });
                store.apply(change).await.unwrap();
            }
        });
    }
    for n in 0..20 {
        let at = super::name(&format!("c/php{n}"));
        s.foreign.store(&at, 1, START_SECS, "a/b").await;
    }
    publishers.join_all().await;
    let figures = s.store.figures().await.unwrap();
    assert_eq!((figures.files, figures.held), (8 * 12 + 1 + 20, 0));
    let mut listed = 0;
    for sub in 0..3 {
        listed += super::list_by(&*s.store, &format!("c/{sub}"), 5).await.len();
    }
    assert_eq!(listed, 8 * 12);
    assert_eq!(list(&*s.store, "c").await.len(), 3 + 1 + 20);
}

/// A caller may go away at any moment; what it asked for happens whole or not at all.
pub async fn a_dropped_call_breaks_nothing(s: &Setup) {
    for n in 0..40_u64 {
        let at = format!("x/f{n}");
        let both = put(&at, version(1, 1))
            .op(Op::PutFile { path: path(&format!("{at}-twin")), file: version(1, 1) });
        let call = s.store.apply(both);
        let _ = tokio::time::timeout(Duration::from_micros(n * 20), call).await;
    }
    publish(&*s.store, "x/last", version(1, 1)).await;
    // What was asked for may still be under way; then it is done whole a moment later.
    let begin = tokio::time::Instant::now();
    for n in 0..40 {
        loop {
            let twin = is_file(&*s.store, &format!("x/f{n}-twin")).await;
            if is_file(&*s.store, &format!("x/f{n}")).await == twin {
                break;
            }
            assert!(begin.elapsed() < Duration::from_secs(5), "f{n} is there in part");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
