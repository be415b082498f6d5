//! What is above the trait `ObjectStore` on clouds: the probe, conditions, leftovers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod buckets;

use std::time::Duration;

use bytes::Bytes;
use ezdfs_binarydata::Opened;
use ezdfs_core::capabilities::TOKEN_ATTRIBUTE;
use ezdfs_core::{Conditions, Error as EzdfsError, ErrorKind, Pin, ReplaceSlot, Replaces, Upload};
use ezdfs_testkit::object_store_suite::{exists, key, keys, pattern, put, read};
use ezdfs_testkit::{CarelessProxy, FakeCloud, TestBucket, TestContainer, Trouble};
use object_store::{
    Attribute, Attributes, Error, MultipartUpload, ObjectStoreExt as _, PutMultipartOptions,
    PutPayload, PutResult,
};

/// The size of a part.
const PART: usize = 5 << 20;

async fn probed(opened: &Opened) -> Conditions {
    let found = opened.cloud.as_ref().unwrap().probe().await.unwrap();
    assert_eq!(keys(&*opened.store, None).await, Vec::<String>::new(), "the probe leaves keys");
    found
}

#[tokio::test]
async fn a_probe_finds_what_a_store_honours() {
    let Some(bucket) = TestBucket::s3() else { return };
    let found = probed(&buckets::open(&bucket, bucket.endpoint())).await;
    assert_eq!(found, Conditions { complete_absent: true, ..Conditions::WHOLE });
}

/// Without any condition on completion; blocks that were never committed are not listed.
#[tokio::test]
async fn a_probe_of_azure_finds_what_it_honours() {
    let Some(container) = TestContainer::azure() else { return };
    let opened = buckets::open_container(&container);
    assert_eq!(probed(&opened).await, Conditions::WHOLE);
    assert!(opened.side.uploads.is_none());
}

#[tokio::test]
async fn a_probe_is_not_taken_in_by_stores_that_accept_conditions_and_ignore_them() {
    let nothing = Conditions { known: true, ..Conditions::NONE };
    if let Some(bucket) = TestBucket::s3() {
        let proxy = CarelessProxy::start(bucket.host(), bucket.port()).await;
        assert_eq!(probed(&buckets::open(&bucket, proxy.endpoint())).await, nothing);
    }
    if let Some(bucket) = TestBucket::careless_s3() {
        assert_eq!(probed(&buckets::open(&bucket, bucket.endpoint())).await, nothing);
    }
}

async fn start(opened: &Opened, slot: &ReplaceSlot, token: &str) -> Box<dyn MultipartUpload> {
    let mut attributes = Attributes::new();
    let name = Attribute::Metadata(TOKEN_ATTRIBUTE.into());
    attributes.insert(name, token.to_owned().into());
    let mut options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
    options.extensions.insert(slot.clone());
    opened.store.put_multipart_opts(&key("a"), options).await.unwrap()
}

async fn send(upload: &mut dyn MultipartUpload, bytes: &[u8]) {
    for part in bytes.chunks(PART) {
        upload.put_part(PutPayload::from(Bytes::copy_from_slice(part))).await.unwrap();
    }
}

fn pin(put: &PutResult) -> Replaces {
    Replaces::Version(Pin::new(put.e_tag.as_deref(), put.version.as_deref()).unwrap())
}

/// A large one, which is completed. No server here heeds `If-Match` then.
#[tokio::test]
async fn a_large_upload_replaces_nothing_if_its_slot_says_so() {
    let Some(bucket) = TestBucket::s3() else { return };
    let opened = buckets::open(&bucket, bucket.endpoint());
    let bytes = pattern(PART + 10, 1);
    put(&*opened.store, "a", b"first").await;
    let slot = ReplaceSlot::default();
    let mut upload = start(&opened, &slot, "1").await;
    send(&mut *upload, &bytes).await;
    slot.set(Replaces::Nothing);
    let refused = upload.complete().await.unwrap_err();
    assert!(matches!(refused, Error::Precondition { .. }), "{refused:?}");
    assert_eq!(read(&*opened.store, "a").await, b"first".as_slice());
    // A publish looks what is there and tries again.
    opened.store.delete(&key("a")).await.unwrap();
    upload.complete().await.unwrap();
    assert!(read(&*opened.store, "a").await == bytes);
}

/// A small one, which becomes one PUT.
#[tokio::test]
async fn a_small_upload_replaces_what_its_slot_says_and_nothing_else() {
    let s3 = TestBucket::s3().map(|bucket| buckets::open(&bucket, bucket.endpoint()));
    let azure = TestContainer::azure().map(|container| buckets::open_container(&container));
    for opened in [s3, azure].into_iter().flatten() {
        small_uploads(&opened).await;
    }
}

async fn small_uploads(opened: &Opened) {
    for len in [0, 10] {
        opened.store.delete(&key("a")).await.unwrap();
        let (old, new) = (pattern(len, 1), pattern(len + 1, 2));
        let first = put(&*opened.store, "a", b"first").await;
        let slot = ReplaceSlot::default();
        let mut upload = start(opened, &slot, "1").await;
        send(&mut *upload, &old).await;
        slot.set(Replaces::Nothing);
        let refused = upload.complete().await.unwrap_err();
        assert!(matches!(refused, Error::Precondition { .. }), "{len}: {refused:?}");
        assert_eq!(read(&*opened.store, "a").await, b"first".as_slice());
        // A publish looks what is there and tries again.
        slot.set(pin(&first));
        let second = upload.complete().await.unwrap();
        assert!(read(&*opened.store, "a").await == old);

        let slot = ReplaceSlot::default();
        let mut upload = start(opened, &slot, "2").await;
        send(&mut *upload, &new).await;
        slot.set(pin(&first));
        let refused = upload.complete().await.unwrap_err();
        assert!(matches!(refused, Error::Precondition { .. }), "{len}: {refused:?}");
        assert!(read(&*opened.store, "a").await == old);
        slot.set(pin(&second));
        upload.complete().await.unwrap();
        assert!(read(&*opened.store, "a").await == new);

        // What must be there is not there any more.
        let there = opened.store.head(&key("a")).await.unwrap();
        let slot = ReplaceSlot::default();
        let mut upload = start(opened, &slot, "3").await;
        send(&mut *upload, &old).await;
        opened.store.delete(&key("a")).await.unwrap();
        slot.set(Replaces::Version(
            Pin::new(there.e_tag.as_deref(), there.version.as_deref()).unwrap(),
        ));
        upload.complete().await.unwrap_err();
        assert!(!exists(&*opened.store, "a").await);
        upload.abort().await.unwrap();
    }
}

/// Also where an upload was completed in place of nothing, which nobody looks at again.
#[tokio::test]
async fn an_upload_tells_the_identity_that_reads_find() {
    let s3 = TestBucket::s3().map(|bucket| buckets::open(&bucket, bucket.endpoint()));
    let azure = TestContainer::azure().map(|container| buckets::open_container(&container));
    for opened in s3.into_iter().chain(azure) {
        for len in [10, PART + 10] {
            opened.store.delete(&key("a")).await.unwrap();
            let slot = ReplaceSlot::default();
            let mut upload = start(&opened, &slot, "1").await;
            send(&mut *upload, &pattern(len, 1)).await;
            slot.set(Replaces::Nothing);
            let told = pin(&upload.complete().await.unwrap());
            let head = opened.store.head(&key("a")).await.unwrap();
            let found = Pin::new(head.e_tag.as_deref(), head.version.as_deref()).unwrap();
            assert_eq!(told, Replaces::Version(found), "{len}");
        }
    }
}

/// Attributes and token travel with one PUT and with parts alike.
#[tokio::test]
async fn attributes_travel_with_uploads_of_any_size() {
    let s3 = [TestBucket::s3(), TestBucket::careless_s3()].into_iter().flatten();
    let s3 = s3.map(|bucket| buckets::open(&bucket, bucket.endpoint()));
    let azure = TestContainer::azure().map(|container| buckets::open_container(&container));
    for opened in s3.chain(azure) {
        for len in [0, 10, PART, PART + 10] {
            let mut upload = start(&opened, &ReplaceSlot::default(), "0123").await;
            send(&mut *upload, &pattern(len, 1)).await;
            upload.complete().await.unwrap();
            let got = opened.store.get(&key("a")).await.unwrap();
            let token = got.attributes.get(&Attribute::Metadata(TOKEN_ATTRIBUTE.into()));
            assert_eq!(token.map(|t| &**t), Some("0123"), "{len}");
            assert!(got.bytes().await.unwrap() == pattern(len, 1));
        }
    }
}

/// object_store's own listings panic there.
#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_is_asked_again_at_its_end_has_ended() {
    use futures::StreamExt as _;
    let fake = FakeCloud::start().await;
    let store = buckets::open_s3_fake(&fake, Duration::from_secs(5)).store;
    put(&*store, "a", b"1").await;
    for mut listing in [store.list(None), store.list_with_offset(None, &key("0"))] {
        assert!(listing.next().await.unwrap().is_ok());
        for _ in 0..3 {
            assert!(listing.next().await.is_none());
        }
    }
}

/// Begins an upload, sends so many parts, and dies.
async fn abandon(opened: &Opened, at: &str, parts: usize) {
    let mut upload = opened.store.put_multipart(&key(at)).await.unwrap();
    for _ in 0..parts {
        upload.put_part(PutPayload::from_static(b"part")).await.unwrap();
    }
    std::mem::forget(upload);
}

async fn uploads(opened: &Opened) -> Result<Vec<Upload>, EzdfsError> {
    let uploads = opened.side.uploads.as_ref().unwrap();
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = uploads.page(after.as_ref()).await?;
        all.extend(page.uploads);
        match page.next {
            None => return Ok(all),
            next => after = next,
        }
        assert!(all.len() < 100, "pages without end");
    }
}

/// What a process that was killed leaves on a real server is found, told from one that is being
/// written, and aborted; also with a signature that is checked.
#[tokio::test]
async fn uploads_that_nobody_completed_are_found_and_aborted() {
    for bucket in [TestBucket::s3(), TestBucket::careless_s3()].into_iter().flatten() {
        let opened = buckets::open_below(&bucket, "p q/r");
        let beside = buckets::open(&bucket, bucket.endpoint());
        for at in ["p q/r/a b+c%20d &é.txt", "p q/r/1/2"] {
            abandon(&beside, at, 2).await;
        }
        for foreign in ["other", "p q/rs", "p q/r/.ezdfs/staging/x"] {
            abandon(&beside, foreign, 2).await;
        }
        let found = uploads(&opened).await.unwrap();
        let mut keys: Vec<_> = found.iter().map(|upload| upload.key.as_ref()).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["p q/r/1/2", "p q/r/a b+c%20d &é.txt"]);
        let side = opened.side.uploads.as_ref().unwrap();
        for upload in &found {
            let idle = side.idle(upload).await.unwrap().expect("it is there");
            assert!(idle < Duration::from_secs(60), "its parts are new: {idle:?}");
            side.abort(upload).await.unwrap();
            assert_eq!(side.idle(upload).await.unwrap(), None);
            side.abort(upload).await.unwrap();
        }
        assert_eq!(uploads(&opened).await.unwrap(), []);
        assert_eq!(uploads(&beside).await.unwrap().len(), 4 - 1, "those of others stay");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_uploads_and_parts_are_followed() {
    let fake = FakeCloud::start().await;
    for opened in
        [buckets::open_s3_fake(&fake, Duration::from_secs(5)), buckets::open_gcs_fake(&fake)]
    {
        for n in 0..7 {
            abandon(&opened, &format!("images/{}/{n}", n % 2), 5).await;
        }
        fake.age_uploads(Duration::from_secs(3_600));
        let found = uploads(&opened).await.unwrap();
        assert_eq!(found.len(), 7);
        let side = opened.side.uploads.as_ref().unwrap();
        for upload in &found {
            let idle = side.idle(upload).await.unwrap().unwrap();
            for age in [upload.age, idle] {
                assert!((3_590..3_700).contains(&age.as_secs()), "{age:?}");
            }
            side.abort(upload).await.unwrap();
        }
        assert_eq!(fake.unfinished_uploads(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_tell_of_uploads_says_so() {
    let fake = FakeCloud::start().await;
    let opened = buckets::open_s3_fake(&fake, Duration::from_secs(5));
    for (status, kind) in [
        (403, ErrorKind::PermissionDenied),
        (501, ErrorKind::Unsupported),
        (404, ErrorKind::NotFound),
        (503, ErrorKind::Unavailable),
    ] {
        fake.set(Trouble::Status(status));
        assert_eq!(uploads(&opened).await.unwrap_err().kind(), kind, "{status}");
    }
    fake.set(Trouble::Cut(50));
    let broken = uploads(&opened).await.unwrap_err();
    assert_eq!(broken.kind(), ErrorKind::Unavailable, "half an answer is none: {broken}");
}
