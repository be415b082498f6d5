//! fsck: what it finds, and what a running site may do without being one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ezdfs_binarydata::{LocalOptions, ObjectsMetadata, open_url};
use ezdfs_core::{ErrorKind, Name, NamePrefix};
use ezdfs_engine::fsck::{Event, FsckOptions, Kind, MaxSuspects, Summary};
use ezdfs_testkit::faults::{Loss, Plan, When};
use ezdfs_testkit::foreign_writer::ibexa_row;

use crate::world::*;

pub(crate) type Findings = BTreeMap<Kind, Vec<String>>;

/// Runs fsck and gives the paths of its findings by kind.
pub(crate) async fn fsck(
    service: &ezdfs_engine::FileService,
    options: &FsckOptions,
) -> Result<(Findings, Summary), ezdfs_core::Error> {
    let mut findings = Findings::new();
    let summary = service
        .fsck(options, &mut |event| {
            if let Event::Found(finding) = event {
                findings.entry(finding.kind).or_default().push(finding.path.clone());
            }
            Ok(())
        })
        .await?;
    let counted: Vec<u64> = findings.values().map(|v| u64::try_from(v.len()).unwrap()).collect();
    assert_eq!(summary.found.values().copied().collect::<Vec<_>>(), counted);
    Ok((findings, summary))
}

fn found(expected: &[(Kind, &[&str])]) -> Findings {
    expected
        .iter()
        .map(|(kind, paths)| (*kind, paths.iter().map(|p| (*p).to_owned()).collect()))
        .collect()
}

pub(crate) fn an_hour(world: &World) {
    world.clock.advance(ezdfs_engine::fsck::AGE + SECOND);
}

/// Every kind that a test can make on any store, at once; and nothing else is told.
#[tokio::test]
async fn every_fault_is_found_and_nothing_else() {
    for backend in [MEMORY, MEMORY_LOCAL, SQLITE_CLOUD, SQLITE_LOCAL] {
        let world = World::new(backend, options()).await;
        let service = world.calm();
        for n in 0..20 {
            put(&service, &format!("good/{n}"), "fine").await.unwrap();
            world.php_create(&format!("php/{n}"), "fine").await;
        }
        put(&service, "bad/missing", "gone").await.unwrap();
        world.php_create("bad/php-missing", "gone").await;
        for at in ["bad/missing", "bad/php-missing"] {
            world.remove_object(at).await;
        }
        world.php_object("bad/orphan", "nobody's").await;
        put(&service, "bad/size", "four").await.unwrap();
        world.php_object("bad/size", "seven..").await;
        put(&service, "bad/replaced", "four").await.unwrap();
        world.clock.advance(SECOND * 10);
        world.php_object("bad/replaced", "FOUR").await;
        // Ibexa's create over a soft-deleted row (ibexa-dfs.md §1.7).
        world.php_create("bad/trap", "old").await;
        world.foreign.soft_delete(&format!("{PREFIX}/bad/trap")).await;
        world.php_create("bad/trap", "new.").await;
        put(&service, "twins/A", "").await.unwrap();
        put(&service, "twins/a", "").await.unwrap();
        put(&service, "twins/\u{e9}", "").await.unwrap();
        put(&service, "twins/e\u{301}", "").await.unwrap();
        let name = format!("{PREFIX}/bad/hash");
        let other = Name::from_row("something else").hash();
        world.foreign.set(other, &ibexa_row(&name, 3, START, "text/plain")).await;
        let name = format!("{PREFIX}/bad//name");
        world.foreign.store(&name, 3, START, "text/plain").await;
        world.php_object("bad/name", "its").await;
        let half = ibexa_row(&format!("{PREFIX}/bad/half"), 4, -START, "text/plain");
        world.foreign.set(Name::from_row(&half.base.name).hash(), &half).await;
        world.php_object("bad/half", "half").await;
        an_hour(&world);

        let (findings, summary) = fsck(&service, &FsckOptions::default()).await.unwrap();
        let nfd = "twins/e\u{301}";
        let mut expected = found(&[
            (Kind::MissingObject, &["bad/missing", "bad/php-missing"]),
            (Kind::Orphan, &["bad/orphan"]),
            (Kind::Size, &["bad/size"]),
            (Kind::Pin, &["bad/replaced"]),
            (Kind::TombstoneTrap, &["bad/trap"]),
            (Kind::HalfHidden, &["bad/half"]),
            (Kind::CaseTwin, &["twins/A"]),
            (Kind::UnicodeTwin, &[nfd]),
            (Kind::Hash, &[&format!("{PREFIX}/bad/hash")]),
            (Kind::BadName, &[&format!("{PREFIX}/bad//name")]),
        ]);
        assert_eq!(findings, expected, "{backend:?}");
        assert_eq!(summary.refused, None, "{backend:?}");
        assert_eq!(summary.orphan_bytes, 8);

        // Only what lies below a prefix, or the file itself.
        let options = |prefix: &str| FsckOptions {
            prefix: prefix.parse().unwrap(),
            jobs: 1,
            ..FsckOptions::default()
        };
        let (below, _) = fsck(&service, &options("bad")).await.unwrap();
        expected.remove(&Kind::CaseTwin);
        expected.remove(&Kind::UnicodeTwin);
        assert_eq!(below, expected, "{backend:?}");
        let (one, _) = fsck(&service, &options("bad/size")).await.unwrap();
        assert_eq!(one, found(&[(Kind::Size, &["bad/size"])]), "{backend:?}");
        assert!(fsck(&service, &options("ba")).await.unwrap().0.is_empty());
    }
}

#[tokio::test]
async fn only_deep_finds_bytes_that_changed_in_place() {
    for backend in [MEMORY_LOCAL, SQLITE_LOCAL] {
        let world = World::new(backend, options()).await;
        let service = world.calm();
        put(&service, "a", "good").await.unwrap();
        put(&service, "rotten", "good").await.unwrap();
        world.php_create("php", "good").await;
        an_hour(&world);
        world.rot("rotten", "evil");
        let deep = FsckOptions { deep: true, ..FsckOptions::default() };
        assert!(fsck(&service, &FsckOptions::default()).await.unwrap().0.is_empty());
        let (findings, summary) = fsck(&service, &deep).await.unwrap();
        assert_eq!(findings, found(&[(Kind::Digest, &["rotten"])]), "{backend:?}");
        assert_eq!(summary.read, 3);
    }
}

#[tokio::test]
async fn what_is_young_or_in_progress_is_no_finding() {
    for backend in [MEMORY, SQLITE_LOCAL] {
        let world = World::new(backend, options()).await;
        let service = world.calm();
        put(&service, "kept", "k").await.unwrap();
        put(&service, "deleted", "d").await.unwrap();
        an_hour(&world);
        // PHP is between bytes and row; a delete waits for its reap; a writer holds a path.
        world.php_object("creating", "c").await;
        world.php_object("kept", "replaced").await;
        service.delete(&path("deleted"), &ezdfs_engine::Precondition::None).await.unwrap();
        let crashing = world.node(&Plan::crash_at(4, Loss::Call));
        assert!(put(&crashing, "held", "h").await.is_err());
        let (findings, summary) = fsck(&service, &FsckOptions::default()).await.unwrap();
        assert!(findings.is_empty(), "{backend:?}: {findings:?}");
        assert!(summary.young >= 2, "{summary:?}");
        // Who asks for it sees them, as far as nobody is at work.
        let now = FsckOptions { age: Duration::ZERO, ..FsckOptions::default() };
        let (findings, _) = fsck(&service, &now).await.unwrap();
        assert_eq!(findings.get(&Kind::Orphan), Some(&vec!["creating".to_owned()]));
        // And much later nobody has finished the work.
        an_hour(&world);
        let (findings, _) = fsck(&service, &now).await.unwrap();
        let overdue = vec!["held".to_owned(), "deleted".to_owned()];
        assert_eq!(findings.get(&Kind::Overdue), Some(&overdue), "{findings:?}");
    }
}

/// A row of PHP that PHP's own store puts elsewhere keeps those bytes from being orphans.
#[tokio::test]
async fn bytes_of_names_that_php_normalises_are_no_orphans() {
    let world = World::new(SQLITE_LOCAL, options()).await;
    let service = world.calm();
    put(&service, "good", "g").await.unwrap();
    for (id, place) in [("a//b", "a/b"), ("c/./d", "c/d"), ("e\\f", "e/f")] {
        world.foreign.store(&format!("{PREFIX}/{id}"), 1, START, "text/plain").await;
        world.php_object(place, "x").await;
    }
    an_hour(&world);
    let (findings, _) = fsck(&service, &FsckOptions::default()).await.unwrap();
    assert!(!findings.contains_key(&Kind::Orphan), "{findings:?}");
    assert_eq!(findings.get(&Kind::BadName).map(Vec::len), Some(2), "{findings:?}");
}

#[tokio::test]
async fn a_view_that_must_be_wrong_is_told_as_such() {
    let world = World::new(SQLITE_LOCAL, options()).await;
    let service = world.calm();
    // Nothing mounted: every row lacks its object.
    world.php_row("a", 1).await;
    an_hour(&world);
    let (findings, summary) = fsck(&service, &FsckOptions::default()).await.unwrap();
    assert_eq!(findings, found(&[(Kind::MissingObject, &["a"])]));
    assert!(summary.refused.unwrap().contains("mounted"));
    // Somebody who knows better.
    let trusted = FsckOptions { max_suspects: MaxSuspects::Count(1), ..FsckOptions::default() };
    assert_eq!(fsck(&service, &trusted).await.unwrap().1.refused, None);

    // A wrong prefix: no object has its row.
    let world = World::new(MEMORY, options()).await;
    world.php_object("a", "x").await;
    an_hour(&world);
    let (_, summary) = fsck(&world.calm(), &FsckOptions::default()).await.unwrap();
    assert!(summary.refused.unwrap().contains("name prefix"));

    // Many, but not all.
    let world = World::new(MEMORY, options()).await;
    let service = world.calm();
    for n in 0..150 {
        put(&service, &format!("good/{n}"), "").await.unwrap();
        world.php_object(&format!("bad/{n}"), "").await;
    }
    an_hour(&world);
    let (_, summary) = fsck(&service, &FsckOptions::default()).await.unwrap();
    assert!(summary.refused.unwrap().contains("150 of 300 objects have no row"));
    let half = FsckOptions { max_suspects: "50%".parse().unwrap(), ..FsckOptions::default() };
    assert_eq!(fsck(&service, &half).await.unwrap().1.refused, None);
}

#[tokio::test]
async fn a_partial_listing_or_a_failing_database_is_an_error() {
    let world = World::new(MEMORY, options()).await;
    let service = world.calm();
    for n in 0..10 {
        put(&service, &format!("{n}"), "").await.unwrap();
    }
    an_hour(&world);
    let partial = world.with_listing_cut_after(4);
    let e = fsck(&partial, &FsckOptions::default()).await.unwrap_err();
    assert!(e.to_string().contains("cannot be listed"), "{e}");

    world.remove_object("3").await;
    // Materialise, scan, and the second look at the missing one.
    for call in ["materialise", "scan", "record", "intents_on", "head"] {
        let plan = Plan::calm();
        fsck(&world.node(&plan), &FsckOptions::default()).await.unwrap();
        let before = plan.calls().iter().position(|c| *c == call).unwrap();
        let plan = outage_after(before);
        let e = fsck(&world.node(&plan), &FsckOptions::default()).await.unwrap_err();
        assert_ne!(e.kind(), ErrorKind::Internal, "{call}: {e}");
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_read_is_named() {
    let world = World::new(MEMORY, options()).await;
    let service = world.calm();
    for at in ["a/1", "b/1", "b/c/1", "d/1"] {
        put(&service, at, "").await.unwrap();
    }
    an_hour(&world);
    let denied = world.without_right_to_read("b/c", 2);
    let e = fsck(&denied, &FsckOptions::default()).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::PermissionDenied);
    assert!(e.to_string().contains("the directory `b/c` of `test` cannot be read"), "{e}");
}

#[tokio::test]
async fn metadata_that_comes_from_the_objects_has_nothing_to_compare() {
    let world = World::new(MEMORY, options()).await;
    let objects = open_url("memory:", &LocalOptions::default()).await.unwrap();
    let clock = Arc::new(world.clock.clone());
    let parts = ezdfs_engine::Parts {
        metadata: Arc::new(ObjectsMetadata::new(&objects, NamePrefix::new(PREFIX), clock.clone())),
        binary: world.calm().binary().clone(),
        clock,
        entropy: Arc::new(ezdfs_core::SeededEntropy::new(1)),
    };
    let service = ezdfs_engine::FileService::new(parts, options());
    let (_, summary) = fsck(&service, &FsckOptions::default()).await.unwrap();
    assert!(summary.nothing_to_compare);
}

/// An outage that begins after so many calls.
fn outage_after(calls: usize) -> Plan {
    let (now, later) = tokio::sync::oneshot::channel::<Plan>();
    let plan = match u64::try_from(calls).unwrap() {
        0 => {
            let plan = Plan::calm();
            plan.go_down();
            return plan;
        }
        calls => Plan::interrupt_at(calls, When::After, async move {
            if let Ok(plan) = later.await {
                plan.go_down();
            }
        }),
    };
    now.send(plan.clone()).unwrap();
    plan
}
