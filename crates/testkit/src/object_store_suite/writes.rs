//! Puts and deletes.

use std::collections::BTreeSet;

use bytes::Bytes;
use ezdfs_core::Capabilities;
use futures::StreamExt as _;
use object_store::{
    Attribute, Attributes, Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions,
    PutPayload, PutResult, UpdateVersion,
};

use super::{exists, key, keys, pattern, put, read};

/// Shorter, longer, empty: nothing of an earlier version stays.
pub async fn a_put_replaces_the_whole_object(store: &dyn ObjectStore, _: &Capabilities) {
    for len in [10, 300_000, 3, 0, 5] {
        let bytes = pattern(len, 1);
        put(store, "a/b", &bytes).await;
        assert_eq!(read(store, "a/b").await, bytes);
        let size = store.head(&key("a/b")).await.unwrap().size;
        assert_eq!(size, u64::try_from(len).unwrap());
    }
    // A payload of many pieces, some of them empty.
    let pieces: Vec<Bytes> = (0..300_u16)
        .map(|i| Bytes::from(pattern(usize::from(i % 7), i.to_le_bytes()[0])))
        .collect();
    let whole = pieces.concat();
    store.put(&key("a/b"), PutPayload::from_iter(pieces)).await.unwrap();
    assert_eq!(read(store, "a/b").await, whole);
}

/// A pin tells two versions apart, also when they have one size and come within one tick of the
/// file system's clock. put, head and get agree on it.
pub async fn every_overwrite_has_another_etag(
    store: &dyn ObjectStore,
    capabilities: &Capabilities,
) {
    let mut seen = BTreeSet::new();
    // A tick of a file system's clock is the hard case.
    let times = if capabilities.atomic_rename { 200 } else { 20 };
    for i in 0..times {
        let etag = put(store, "a", &[i]).await.e_tag.expect("no etag from put");
        assert_eq!(store.head(&key("a")).await.unwrap().e_tag.as_ref(), Some(&etag));
        assert_eq!(store.get(&key("a")).await.unwrap().meta.e_tag.as_ref(), Some(&etag));
        assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag} is not quoted");
        assert!(seen.insert(etag), "an etag came twice");
    }
}

/// `PutMode::Create`. A store that ignores it replaces.
pub async fn create_mode_refuses_what_exists(store: &dyn ObjectStore, capabilities: &Capabilities) {
    let create = || PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    store.put_opts(&key("n/a"), "1".into(), create()).await.unwrap();
    let again = store.put_opts(&key("n/a"), "2".into(), create()).await;
    if !capabilities.conditions.put_absent {
        again.unwrap();
        assert_eq!(read(store, "n/a").await, b"2".as_slice());
        return;
    }
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
    assert_eq!(read(store, "n/a").await, b"1".as_slice());
    store.delete(&key("n/a")).await.unwrap();
    store.put_opts(&key("n/a"), "3".into(), create()).await.unwrap();
    assert_eq!(read(store, "n/a").await, b"3".as_slice());
}

/// `PutMode::Update`. A store that ignores it replaces.
pub async fn update_mode_compares_the_etag(store: &dyn ObjectStore, capabilities: &Capabilities) {
    let update = |put: &PutResult| {
        let version = UpdateVersion { e_tag: put.e_tag.clone(), version: put.version.clone() };
        PutOptions { mode: PutMode::Update(version), ..PutOptions::default() }
    };
    let first = put(store, "u", b"1").await;
    let second = store.put_opts(&key("u"), "2".into(), update(&first)).await.unwrap();
    let late = store.put_opts(&key("u"), "3".into(), update(&first)).await;
    if !capabilities.conditions.put_match {
        late.unwrap();
        assert_eq!(read(store, "u").await, b"3".as_slice());
        return;
    }
    assert!(matches!(late, Err(Error::Precondition { .. })), "{late:?}");
    assert_eq!(read(store, "u").await, b"2".as_slice());
    store.delete(&key("u")).await.unwrap();
    let gone = store.put_opts(&key("u"), "4".into(), update(&second)).await;
    assert!(matches!(gone, Err(Error::Precondition { .. })), "{gone:?}");
    assert!(!exists(store, "u").await);
}

/// Attributes never make a put fail; they come back where the store says that it keeps them.
pub async fn attributes_are_accepted(store: &dyn ObjectStore, capabilities: &Capabilities) {
    let mut attributes = Attributes::new();
    attributes.insert(Attribute::ContentType, "image/png".into());
    attributes.insert(Attribute::Metadata("ezdfs-token".into()), "0011".into());
    let options = PutOptions { attributes: attributes.clone(), ..PutOptions::default() };
    store.put_opts(&key("a"), "1".into(), options).await.unwrap();
    let got = store.get(&key("a")).await.unwrap().attributes;
    if capabilities.attributes {
        assert_eq!(got, attributes);
    } else {
        assert!(got.is_empty());
    }
}

/// A second delete is no error.
pub async fn deleting_what_is_missing_succeeds(store: &dyn ObjectStore, _: &Capabilities) {
    put(store, "d/a", b"1").await;
    store.delete(&key("d/a")).await.unwrap();
    store.delete(&key("d/a")).await.unwrap();
    store.delete(&key("never/was")).await.unwrap();
    // Below a file.
    put(store, "f", b"1").await;
    store.delete(&key("f/g")).await.unwrap();
    assert!(exists(store, "f").await);
}

/// A delete removes one key and nothing that looks like it or lies below it.
pub async fn deletes_are_exact(store: &dyn ObjectStore, _: &Capabilities) {
    for name in ["d/a", "d/a.b", "d/ab", "d/A", "e/a/b", "e/a/c", "p%c", "pxc"] {
        put(store, name, b"1").await;
    }
    let gone = ["d/a", "e/a", "p%c"].map(|k| Ok(key(k)));
    let done: Vec<_> = store.delete_stream(futures::stream::iter(gone).boxed()).collect().await;
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    assert_eq!(keys(store, None).await, ["d/A", "d/a.b", "d/ab", "e/a/b", "e/a/c", "pxc"]);
}

/// Whoever is last wins, whole; the etag that stays is one that a put returned.
pub async fn concurrent_puts_leave_one_whole_version(store: &dyn ObjectStore, _: &Capabilities) {
    let puts = (0..16_u8).map(|i| {
        let bytes = vec![i; 100_000 + usize::from(i)];
        async move { (put(store, "deep/er/a", &bytes).await.e_tag, bytes) }
    });
    let versions = futures::future::join_all(puts).await;
    let got = store.get(&key("deep/er/a")).await.unwrap();
    let etag = got.meta.e_tag.clone();
    let bytes = got.bytes().await.unwrap();
    let winner = versions.iter().find(|(e, _)| *e == etag).expect("the etag of no put");
    assert!(winner.1 == bytes, "bytes of another version");
    assert_eq!(keys(store, None).await, ["deep/er/a"]);
}
