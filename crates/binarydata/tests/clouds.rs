//! What is above the trait `ObjectStore` on clouds: the probe, conditions, leftovers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod buckets;

use bytes::Bytes;
use ezdfs_binarydata::Opened;
use ezdfs_core::capabilities::TOKEN_ATTRIBUTE;
use ezdfs_core::{Conditions, Pin, ReplaceSlot, Replaces};
use ezdfs_testkit::object_store_suite::{exists, key, keys, pattern, put, read};
use ezdfs_testkit::{CarelessProxy, TestBucket};
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
    let Some(bucket) = TestBucket::s3() else { return };
    let opened = buckets::open(&bucket, bucket.endpoint());
    for len in [0, 10] {
        opened.store.delete(&key("a")).await.unwrap();
        let (old, new) = (pattern(len, 1), pattern(len + 1, 2));
        let first = put(&*opened.store, "a", b"first").await;
        let slot = ReplaceSlot::default();
        let mut upload = start(&opened, &slot, "1").await;
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
        let mut upload = start(&opened, &slot, "2").await;
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
        let mut upload = start(&opened, &slot, "3").await;
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

/// Attributes and token travel with one PUT and with parts alike.
#[tokio::test]
async fn attributes_travel_with_uploads_of_any_size() {
    for bucket in [TestBucket::s3(), TestBucket::careless_s3()].into_iter().flatten() {
        let opened = buckets::open(&bucket, bucket.endpoint());
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
