//! fsck and gc on clouds: uploads in parts that nobody completed, listings of several pages.

use std::time::Duration;

use ezdfs_core::ErrorKind;
use ezdfs_engine::fsck::{Event, FsckOptions, Kind, Repairs, Summary};
use ezdfs_testkit::Trouble;
use object_store::path::Path as ObjectKey;
use object_store::{ObjectStoreExt as _, PutPayload};

use crate::world::{MEMORY, SQLITE_CARELESS_S3, SQLITE_S3, World, options, put};

const HOUR: Duration = Duration::from_secs(3_600);

/// Begins an upload, sends two parts, and dies.
async fn abandon(world: &World, at: &str) {
    let key = ObjectKey::parse(at).unwrap();
    let mut upload = world.objects.put_multipart(&key).await.unwrap();
    for _ in 0..2 {
        upload.put_part(PutPayload::from_static(b"part")).await.unwrap();
    }
    std::mem::forget(upload);
}

/// Summary, and paths of the uploads that were found.
async fn check(world: &World, repair: bool) -> (Summary, Vec<String>) {
    let repairs = Repairs { safe: repair, ..Repairs::default() };
    let options = FsckOptions { repairs, ..FsckOptions::default() };
    let mut found = Vec::new();
    let mut tell = |event: Event<'_>| {
        if let Event::Found(finding) = event {
            assert_eq!(finding.kind, Kind::Staging, "{finding:?}");
            found.push(finding.path.clone());
        }
        Ok(())
    };
    let summary = world.calm().fsck(&options, &mut tell).await.unwrap();
    (summary, found)
}

#[tokio::test]
async fn abandoned_uploads_are_found_and_a_repair_aborts_them() {
    for backend in [SQLITE_S3, SQLITE_CARELESS_S3] {
        let world = World::new(backend, options()).await;
        let fake = world.fake();
        put(&world.calm(), "kept", "text").await.unwrap();
        for n in 0..7 {
            abandon(&world, &format!("images/{n}")).await;
        }
        // What is young may be going on.
        assert_eq!(check(&world, true).await.1, Vec::<String>::new());
        assert_eq!(fake.unfinished_uploads(), 7);

        fake.age_uploads(2 * HOUR);
        abandon(&world, "images/young").await;
        // Dry run.
        let (summary, found) = check(&world, false).await;
        assert_eq!(found, (0..7).map(|n| format!("images/{n}")).collect::<Vec<_>>());
        assert_eq!((summary.of(Kind::Staging), summary.repairs()), (7, 0));
        assert_eq!(fake.unfinished_uploads(), 8);

        let (summary, _) = check(&world, true).await;
        assert_eq!((summary.repaired[&Kind::Staging], summary.failed), (7, 0));
        assert_eq!(fake.unfinished_uploads(), 1);
        assert_eq!(check(&world, false).await.1, Vec::<String>::new());
        assert_eq!(world.visible().await.len(), 1);
    }
}

/// An upload may last for hours: what counts is its last part.
#[tokio::test]
async fn an_upload_that_is_being_written_stays() {
    let world = World::new(SQLITE_S3, options()).await;
    let fake = world.fake();
    let key = ObjectKey::parse("images/large").unwrap();
    let mut live = world.objects.put_multipart(&key).await.unwrap();
    for _ in 0..4 {
        live.put_part(PutPayload::from_static(b"part")).await.unwrap();
    }
    fake.age_uploads(5 * HOUR);
    live.put_part(PutPayload::from_static(b"part")).await.unwrap();
    let service = world.calm();
    assert_eq!(check(&world, true).await.1, Vec::<String>::new());
    let done = service.abort_uploads(HOUR).await.unwrap();
    assert_eq!((done.aborted, done.kept), (0, 1));
    live.complete().await.unwrap();

    // The writer of one that was aborted gets an error, and nothing of it shows.
    let key = ObjectKey::parse("images/slow").unwrap();
    let mut slow = world.objects.put_multipart(&key).await.unwrap();
    for _ in 0..2 {
        slow.put_part(PutPayload::from_static(b"part")).await.unwrap();
    }
    fake.age_uploads(2 * HOUR);
    assert_eq!(service.abort_uploads(HOUR).await.unwrap().aborted, 1);
    assert!(slow.complete().await.is_err());
    assert!(world.objects.head(&key).await.is_err());
}

#[tokio::test]
async fn uploads_that_cannot_be_listed_are_said_to_be_unknown() {
    let world = World::new(SQLITE_S3, options()).await;
    let fake = world.fake();
    put(&world.calm(), "kept", "text").await.unwrap();
    assert_eq!(check(&world, false).await.0.uploads_unknown, None);
    fake.refuse_uploads(403);
    let (summary, found) = check(&world, true).await;
    assert!(summary.uploads_unknown.unwrap().contains("403"));
    assert_eq!(found, Vec::<String>::new());
    let refused = world.calm().abort_uploads(HOUR).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    // A store that fails is something else: half a view ends the run.
    fake.refuse_uploads(503);
    let options = FsckOptions::default();
    world.calm().fsck(&options, &mut |_| Ok(())).await.unwrap_err();
    fake.set(Trouble::None);

    let memory = World::new(MEMORY, crate::world::options()).await;
    assert_eq!(memory.calm().abort_uploads(HOUR).await.unwrap().aborted, 0);
}

/// A cloud lists a thousand objects at once. When the second page cannot be had nothing is known of
/// what would be on it.
#[tokio::test]
async fn a_listing_whose_second_page_fails_is_no_view() {
    let world = World::new(SQLITE_S3, options()).await;
    let fake = world.fake();
    let service = world.calm();
    put(&service, "zzz", "behind the first page").await.unwrap();
    for n in 0..1_000 {
        world.php_object(&format!("images/{n:04}"), "orphan").await;
    }
    world.clock.advance(2 * HOUR);
    let repairs = Repairs { safe: true, hide_missing: true, ..Repairs::default() };
    let max_suspects = "100%".parse().unwrap();
    let options = FsckOptions { repairs, max_suspects, ..FsckOptions::default() };
    fake.refuse_next_pages();
    let failed = service.fsck(&options, &mut |_| Ok(())).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Unavailable, "{failed}");
    assert_eq!(fake.objects(), 1_001);
    assert_eq!(world.visible().await.len(), 1);
}
