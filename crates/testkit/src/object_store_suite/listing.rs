//! Listings.

use ezdfs_core::Capabilities;
use futures::TryStreamExt as _;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _};

use super::{key, keys, put};

/// Names whose order changes when a directory is compared by its bare name.
const TREE: &[&str] = &[
    "a!/x", "a", "a-/x", "a.b", "a0", "b/1", "b/10/x", "b/2", "b.c/x", "b!", "b0/x/y/z", "c/d/e/f",
    "c/d.e", "c/d0", "Z", "é/x", "~", "0",
];

async fn plant(store: &dyn ObjectStore) -> Vec<String> {
    let mut all = Vec::new();
    for name in TREE {
        put(store, name, name.as_bytes()).await;
        all.push((*name).to_owned());
    }
    all.sort_unstable();
    all
}

/// Sorted by the bytes of the whole key.
pub async fn listings_are_sorted_by_bytes(store: &dyn ObjectStore, _: &Capabilities) {
    assert_eq!(keys(store, None).await, Vec::<String>::new());
    let all = plant(store).await;
    assert_eq!(keys(store, None).await, all);
}

/// Every key, and keys that are not there, as an offset.
pub async fn an_offset_skips_what_comes_before(store: &dyn ObjectStore, _: &Capabilities) {
    let all = plant(store).await;
    let mut offsets = all.clone();
    offsets.extend(
        ["b", "b/", "b/10", "b/10/", "b0/x", "c/d", "a/", "\u{10ffff}", "!"].map(String::from),
    );
    for offset in offsets {
        // object_store cannot say a key with a slash at its end; the bare name comes before it.
        let at = key(offset.trim_end_matches('/'));
        for prefix in [None, Some("b"), Some("c/d")] {
            let below = prefix.map(key);
            let found: Vec<ObjectMeta> =
                store.list_with_offset(below.as_ref(), &at).try_collect().await.unwrap();
            let found: Vec<_> = found.iter().map(|m| m.location.as_ref()).collect();
            let expected: Vec<_> = all
                .iter()
                .filter(|k| prefix.is_none_or(|p| k.starts_with(&format!("{p}/"))))
                .filter(|k| k.as_str() > at.as_ref())
                .collect();
            assert_eq!(found, expected, "below {prefix:?} after {at}");
        }
    }
}

/// `1` is no prefix of `10`; an object is not below itself; nothing is below what is missing.
pub async fn prefixes_are_whole_segments(store: &dyn ObjectStore, _: &Capabilities) {
    for name in ["i/1/a", "i/10/a", "i/1.b", "i/1", "i%/1", "j"].iter().filter(|n| **n != "i/1") {
        put(store, name, b"1").await;
    }
    assert_eq!(keys(store, Some("i/1")).await, ["i/1/a"]);
    assert_eq!(keys(store, Some("i")).await, ["i/1.b", "i/1/a", "i/10/a"]);
    assert_eq!(keys(store, Some("j")).await, Vec::<String>::new());
    assert_eq!(keys(store, Some("j/k")).await, Vec::<String>::new());
    assert_eq!(keys(store, Some("none")).await, Vec::<String>::new());
}

/// Objects and prefixes of one level.
pub async fn a_delimiter_shows_one_level(store: &dyn ObjectStore, _: &Capabilities) {
    plant(store).await;
    let root = store.list_with_delimiter(None).await.unwrap();
    let names = |list: &[ObjectMeta]| {
        let mut names: Vec<_> = list.iter().map(|m| m.location.to_string()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(names(&root.objects), ["0", "Z", "a", "a.b", "a0", "b!", "~"]);
    let mut prefixes: Vec<_> = root.common_prefixes.iter().map(ToString::to_string).collect();
    prefixes.sort_unstable();
    assert_eq!(prefixes, ["a!", "a-", "b", "b.c", "b0", "c", "é"]);
    let below = store.list_with_delimiter(Some(&key("b"))).await.unwrap();
    assert_eq!(names(&below.objects), ["b/1", "b/2"]);
    assert_eq!(below.common_prefixes, [key("b/10")]);
    let none = store.list_with_delimiter(Some(&key("none"))).await.unwrap();
    assert!(none.objects.is_empty() && none.common_prefixes.is_empty());
}

/// Size, date and etag of a listing are those of head; clouds do not list versions.
pub async fn listing_and_head_agree(store: &dyn ObjectStore, _: &Capabilities) {
    plant(store).await;
    let found: Vec<ObjectMeta> = store.list(None).try_collect().await.unwrap();
    for meta in found {
        let mut head = store.head(&meta.location).await.unwrap();
        if meta.version.is_none() {
            head.version = None;
        }
        assert_eq!(head, meta);
    }
}
