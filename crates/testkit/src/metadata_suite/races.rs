//! What must stay true while several processes change the same places. Stores run transactions side
//! by side, so each of these fails now and then where a lock is missing.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ezdfs_core::{
    Change, ErrorKind, Guard, Hold, Intent, MetadataStore, NodeKind, Op, Result, Work,
};
use tokio::task::JoinSet;

use super::{
    LEASE, Setup, intent, is_dir, is_file, list, materialise, mkdir, name, path, put, scan, token,
    version,
};
use crate::foreign_writer::hash_of;

/// Who works on what: paths, and whether everything below counts.
#[derive(Debug, Default)]
struct Workers(Mutex<Vec<(String, bool)>>);

impl Workers {
    fn enter(&self, at: &str, subtree: bool) {
        let mut all = self.0.lock().unwrap();
        for (other, whole) in &*all {
            let below = |a: &str, b: &str| a == b || a.starts_with(&format!("{b}/"));
            let clash =
                other == at || (*whole && below(at, other)) || (subtree && below(other, at));
            assert!(!clash, "`{at}` (subtree: {subtree}) and `{other}` ({whole}) are both held");
        }
        all.push((at.to_owned(), subtree));
    }

    fn leave(&self, at: &str) {
        let mut all = self.0.lock().unwrap();
        let found = all.iter().position(|(held, _)| held == at).unwrap();
        all.swap_remove(found);
    }
}

/// A subtree and what lies in it are never held by two.
pub async fn a_subtree_and_its_paths_exclude_each_other(s: &Setup) {
    let workers = Arc::new(Workers::default());
    let mut tasks = JoinSet::new();
    for n in 0..8_u8 {
        let (store, workers) = (Arc::clone(&s.store), Arc::clone(&workers));
        tasks.spawn(async move {
            for round in 0..10_u8 {
                let (at, subtree) = match (n + round) % 4 {
                    0 => ("g/d", true),
                    1 => ("g", true),
                    2 => ("g/d/x", false),
                    _ => ("g/d/y", false),
                };
                let own = token(n * 16 + round);
                let wanted = Intent { subtree, ..intent(at, own, Work::Repair) };
                while store.hold(std::slice::from_ref(&wanted), LEASE).await.unwrap() != Hold::Held
                {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                workers.enter(at, subtree);
                tokio::time::sleep(Duration::from_millis(1)).await;
                workers.leave(at);
                let end = Change::new().op(Op::EndHold { token: own, keep: false });
                store.apply(end).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(s.store.figures().await.unwrap().held, 0);
}

/// Refusals that a race may end in; anything else is a defect.
fn is_refusal(outcome: &Result<()>) -> bool {
    outcome.as_ref().is_err_and(|e| {
        matches!(
            e.kind(),
            ErrorKind::IsDirectory
                | ErrorKind::NotDirectory
                | ErrorKind::AlreadyExists
                | ErrorKind::NotEmpty
                | ErrorKind::NotFound
                | ErrorKind::Busy
        )
    })
}

async fn settle(outcome: Result<()>) {
    assert!(outcome.is_ok() || is_refusal(&outcome), "{outcome:?}");
}

fn rmdir(at: &str) -> Change {
    Change::new().guard(Guard::Free { path: path(at), subtree: true }).op(Op::RemoveDir(path(at)))
}

/// A file that is stored while its directory is removed has a directory in the end.
pub async fn a_file_is_always_listed(s: &Setup) {
    let mut tasks = JoinSet::new();
    for n in 0..6_u8 {
        let store = Arc::clone(&s.store);
        tasks.spawn(async move {
            for round in 0..12_u8 {
                let at = format!("r/d/e/f{n}");
                match n % 3 {
                    0 => {
                        let own = token(n * 16 + round);
                        let held = intent(&at, own, Work::Repair);
                        if store.hold(&[held], LEASE).await.unwrap() != Hold::Held {
                            continue;
                        }
                        let change = put(&at, version(1, n))
                            .guard(Guard::Holds(own))
                            .op(Op::EndHold { token: own, keep: false });
                        store.apply(change).await.unwrap();
                        if round < 11 {
                            let gone = Change::new().op(Op::RemoveFile(path(&at)));
                            store.apply(gone).await.unwrap();
                        }
                    }
                    1 => {
                        settle(store.apply(rmdir("r/d/e")).await).await;
                        settle(store.apply(rmdir("r/d")).await).await;
                    }
                    _ => settle(mkdir(&*store, "r/d/e").await).await,
                }
            }
        });
    }
    tasks.join_all().await;
    for at in scan(&*s.store, "r").await {
        let (dir, base) = at.rsplit_once('/').unwrap();
        assert!(list(&*s.store, dir).await.contains(&base.to_owned()), "`{at}` is not listed");
        assert!(is_dir(&*s.store, "r/d/e").await && is_dir(&*s.store, "r/d").await);
    }
    assert_eq!(scan(&*s.store, "r").await.len(), 2, "what was acknowledged last is there");
}

/// A path is a file or a directory, whoever asks for what at the same time.
pub async fn a_path_is_one_thing(s: &Setup) {
    for round in 0..8_u8 {
        let at = format!("o/x{round}");
        let mut tasks = JoinSet::new();
        for n in 0..6_u8 {
            let store: Arc<dyn MetadataStore> = Arc::clone(&s.store);
            let at = at.clone();
            tasks.spawn(async move {
                let outcome = match n % 3 {
                    0 => {
                        let own = token(n * 16 + round);
                        let held = intent(&at, own, Work::Repair);
                        if store.hold(&[held], LEASE).await.unwrap() != Hold::Held {
                            return;
                        }
                        let change = put(&at, version(1, n))
                            .guard(Guard::Holds(own))
                            .op(Op::EndHold { token: own, keep: false });
                        let outcome = store.apply(change).await;
                        let end = Change::new().op(Op::EndHold { token: own, keep: false });
                        store.apply(end).await.unwrap();
                        outcome
                    }
                    1 => mkdir(&*store, &at).await,
                    _ => store.apply(put(&format!("{at}/below"), version(1, n))).await,
                };
                settle(outcome).await;
            });
        }
        tasks.join_all().await;
        let row = s.foreign.get(hash_of(&name(&at))).await;
        let record = s.store.record(&path(&at)).await.unwrap();
        let kind = record.node.map(|n| n.kind);
        match kind {
            Some(NodeKind::Directory) => assert!(row.is_none(), "`{at}` is a file as well"),
            Some(NodeKind::File) => {
                assert!(row.is_some(), "`{at}` has no row");
                assert!(!is_file(&*s.store, &format!("{at}/below")).await);
            }
            None => panic!("`{at}` is nothing"),
        }
    }
}

/// Several materialisers and publishers, while PHP writes: every entry appears, and no version of
/// ours is taken for a foreign one.
pub async fn materialisers_and_publishers(s: &Setup) {
    let mut tasks = JoinSet::new();
    for n in 0..4_u8 {
        let (store, neighbour) = (Arc::clone(&s.store), Arc::clone(&s.neighbour));
        tasks.spawn(async move {
            for round in 0..15_u8 {
                if n < 2 {
                    let at = format!("m/{}/own{n}-{round}", round % 4);
                    store.apply(put(&at, version(5, n + 1))).await.unwrap();
                } else {
                    let node = if n == 2 { &store } else { &neighbour };
                    node.materialise(7).await.unwrap();
                }
            }
        });
    }
    for n in 0..40 {
        let at = name(&format!("m/{}/php{n}", n % 5));
        s.foreign.store(&at, 3, super::START_SECS, "a/b").await;
    }
    tasks.join_all().await;
    materialise(&*s.store).await;
    let mut found = 0;
    for dir in list(&*s.store, "m").await {
        for base in list(&*s.store, &format!("m/{dir}")).await {
            let file = super::file(&*s.store, &format!("m/{dir}/{base}")).await;
            let ours = base.starts_with("own");
            assert_eq!((file.token.is_some(), file.sha256.is_some()), (ours, ours), "{base}");
            found += 1;
        }
    }
    assert_eq!(found, 2 * 15 + 40);
}

/// What one of us has published over a foreign version stays known, also when a materialiser looks at
/// the foreign change in that very moment.
pub async fn a_publish_beside_a_materialiser(s: &Setup) {
    for n in 1..=60_u8 {
        s.foreign.store(&name("p/a"), 5, super::START_SECS, "a/b").await;
        let (store, neighbour) = (Arc::clone(&s.store), Arc::clone(&s.neighbour));
        let publish = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_micros(u64::from(n % 8) * 150)).await;
            store.apply(put("p/a", version(5, n))).await.unwrap();
        });
        let place =
            tokio::spawn(async move { while neighbour.materialise(10).await.unwrap().more {} });
        publish.await.unwrap();
        place.await.unwrap();
        materialise(&*s.store).await;
        let file = super::file(&*s.store, "p/a").await;
        assert_eq!(file.token, Some(token(n)), "round {n}: {file:?}");
    }
}

/// Whoever asks after a foreign change was committed sees it, whoever else is at work on it.
pub async fn what_another_materialises_is_waited_for(s: &Setup) {
    for n in 0..15 {
        for k in 0..20 {
            s.foreign.store(&name(&format!("q/{n}/f{k:02}")), 1, super::START_SECS, "a/b").await;
        }
        let neighbour = Arc::clone(&s.neighbour);
        let other = tokio::spawn(async move { neighbour.materialise(1_000).await.unwrap() });
        let listed = list(&*s.store, &format!("q/{n}")).await;
        assert_eq!(listed.len(), 20, "round {n}: {listed:?}");
        other.await.unwrap();
    }
}
