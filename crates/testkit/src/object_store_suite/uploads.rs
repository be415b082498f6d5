//! Multipart uploads.

use bytes::Bytes;
use ezdfs_core::{Capabilities, Pin, SealSlot};
use object_store::{ObjectStore, ObjectStoreExt as _, PutMultipartOptions, PutPayload};

use super::{exists, key, keys, pattern, put, read};

/// Large enough for stores that want 5 MiB per part.
const PART: usize = 5 * 1024 * 1024;

fn payload(bytes: &[u8]) -> PutPayload {
    PutPayload::from(Bytes::copy_from_slice(bytes))
}

/// Parts that are awaited one by one, and parts that are awaited in reverse.
pub async fn parts_stand_in_order(store: &dyn ObjectStore, _: &Capabilities) {
    let bytes = pattern(2 * PART + 11, 7);
    let mut upload = store.put_multipart(&key("u/one")).await.unwrap();
    for part in bytes.chunks(PART) {
        upload.put_part(payload(part)).await.unwrap();
    }
    let put = upload.complete().await.unwrap();
    assert!(read(store, "u/one").await == bytes);
    assert_eq!(store.head(&key("u/one")).await.unwrap().e_tag, put.e_tag);

    let mut upload = store.put_multipart(&key("u/two")).await.unwrap();
    let mut parts: Vec<_> = bytes.chunks(PART).map(|p| upload.put_part(payload(p))).collect();
    while let Some(part) = parts.pop() {
        part.await.unwrap();
    }
    upload.complete().await.unwrap();
    assert!(read(store, "u/two").await == bytes);
}

/// No part at all.
pub async fn an_empty_upload_makes_an_empty_object(store: &dyn ObjectStore, _: &Capabilities) {
    put(store, "a", b"before").await;
    let mut upload = store.put_multipart(&key("a")).await.unwrap();
    upload.complete().await.unwrap();
    assert!(read(store, "a").await.is_empty());
}

/// An abort, also after an earlier version.
pub async fn an_aborted_upload_leaves_nothing(store: &dyn ObjectStore, _: &Capabilities) {
    put(store, "a", b"1").await;
    for name in ["a", "n/b"] {
        let mut upload = store.put_multipart(&key(name)).await.unwrap();
        upload.put_part(payload(&pattern(1000, 1))).await.unwrap();
        upload.abort().await.unwrap();
    }
    assert_eq!(keys(store, None).await, ["a"]);
    assert_eq!(read(store, "a").await, b"1".as_slice());
}

/// An upload whose task was cancelled, also with a part on its way.
pub async fn a_dropped_upload_leaves_nothing(store: &dyn ObjectStore, _: &Capabilities) {
    let mut upload = store.put_multipart(&key("n/b")).await.unwrap();
    upload.put_part(payload(&pattern(1000, 1))).await.unwrap();
    let part = upload.put_part(payload(&pattern(1000, 2)));
    drop(upload);
    drop(part);
    assert!(!exists(store, "n/b").await);
    assert_eq!(keys(store, None).await, Vec::<String>::new());
}

/// Readers see the earlier version, or none, until the upload is complete.
pub async fn nothing_shows_before_completion(store: &dyn ObjectStore, _: &Capabilities) {
    put(store, "a", b"old").await;
    let mut over = store.put_multipart(&key("a")).await.unwrap();
    let mut new = store.put_multipart(&key("d/b")).await.unwrap();
    over.put_part(payload(b"new")).await.unwrap();
    new.put_part(payload(b"new")).await.unwrap();
    assert_eq!(read(store, "a").await, b"old".as_slice());
    assert!(!exists(store, "d/b").await);
    assert_eq!(keys(store, None).await, ["a"]);
    over.complete().await.unwrap();
    new.complete().await.unwrap();
    assert_eq!(read(store, "a").await, b"new".as_slice());
    assert_eq!(keys(store, None).await, ["a", "d/b"]);
}

/// Where a rename keeps the pin, the pin is known before the object is: the pending row needs it.
/// Elsewhere the slot stays empty.
pub async fn a_seal_tells_the_final_pin(store: &dyn ObjectStore, capabilities: &Capabilities) {
    let slot = SealSlot::default();
    let mut options = PutMultipartOptions::default();
    options.extensions.insert(slot.clone());
    let mut upload = store.put_multipart_opts(&key("s/a"), options).await.unwrap();
    upload.put_part(payload(&pattern(300_000, 8))).await.unwrap();
    let seal = slot.get();
    assert_eq!(seal.is_some(), capabilities.atomic_rename);
    let sealed = match &seal {
        Some(seal) => Some(seal.seal().await.unwrap()),
        None => None,
    };
    assert!(!exists(store, "s/a").await, "a seal publishes nothing");
    if let Some(seal) = &seal {
        assert_eq!(Some(seal.seal().await.unwrap()), sealed, "a second seal says the same");
        upload.put_part(payload(b"late")).await.expect_err("a part after the seal");
    }
    let put = upload.complete().await.unwrap();
    let meta = store.head(&key("s/a")).await.unwrap();
    assert_eq!(put.e_tag, meta.e_tag);
    assert_eq!(meta.size, 300_000);
    if sealed.is_some() {
        assert_eq!(sealed, Pin::new(meta.e_tag.as_deref(), meta.version.as_deref()));
    }
}
