//! Copies and renames.

use ezdfs_core::Capabilities;
use object_store::{Error, ObjectStore, ObjectStoreExt as _};

use super::{exists, key, pattern, put, read};

/// Source and copy go their own ways, whichever is written next.
pub async fn a_copy_is_independent(store: &dyn ObjectStore, capabilities: &Capabilities) {
    let bytes = pattern(700_001, 6);
    put(store, "a", &bytes).await;
    store.copy(&key("a"), &key("new/b")).await.unwrap();
    assert!(read(store, "new/b").await == bytes);
    if capabilities.atomic_rename {
        // Elsewhere an etag may be that of the bytes, and two objects are never one.
        assert_ne!(
            store.head(&key("a")).await.unwrap().e_tag,
            store.head(&key("new/b")).await.unwrap().e_tag,
        );
    }
    put(store, "new/b", b"2").await;
    assert!(read(store, "a").await == bytes);
    store.copy(&key("a"), &key("new/b")).await.unwrap();
    put(store, "a", b"").await;
    assert!(read(store, "new/b").await == bytes);
    store.copy(&key("a"), &key("new/b")).await.unwrap();
    assert!(read(store, "new/b").await.is_empty());
}

/// `CopyMode::Create`, which S3 does by a conditional completion.
pub async fn a_copy_can_refuse_to_overwrite(store: &dyn ObjectStore, capabilities: &Capabilities) {
    put(store, "a", b"1").await;
    store.copy_if_not_exists(&key("a"), &key("b")).await.unwrap();
    put(store, "a", b"2").await;
    let again = store.copy_if_not_exists(&key("a"), &key("b")).await;
    if again.is_ok() && ignores_create(capabilities) {
        assert_eq!(read(store, "b").await, b"2".as_slice());
        return;
    }
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
    assert_eq!(read(store, "b").await, b"1".as_slice());
}

/// Parents of the target are made; where a rename is one step it keeps the pin.
pub async fn a_rename_moves_and_overwrites(store: &dyn ObjectStore, capabilities: &Capabilities) {
    let first = put(store, "a/b/c", b"1").await.e_tag;
    store.rename(&key("a/b/c"), &key("x/y/z/w")).await.unwrap();
    assert!(!exists(store, "a/b/c").await);
    assert_eq!(read(store, "x/y/z/w").await, b"1".as_slice());
    if capabilities.atomic_rename {
        assert_eq!(store.head(&key("x/y/z/w")).await.unwrap().e_tag, first);
    }
    put(store, "a/b/c", b"22").await;
    store.rename(&key("a/b/c"), &key("x/y/z/w")).await.unwrap();
    assert!(!exists(store, "a/b/c").await);
    assert_eq!(read(store, "x/y/z/w").await, b"22".as_slice());
}

/// Whether it may.
fn ignores_create(capabilities: &Capabilities) -> bool {
    capabilities.replace_slot && !capabilities.conditions.complete_absent
}

/// `RenameTargetMode::Create`.
pub async fn a_rename_can_refuse_to_overwrite(
    store: &dyn ObjectStore,
    capabilities: &Capabilities,
) {
    put(store, "a", b"1").await;
    store.rename_if_not_exists(&key("a"), &key("d/b")).await.unwrap();
    assert!(!exists(store, "a").await);
    put(store, "a", b"2").await;
    let again = store.rename_if_not_exists(&key("a"), &key("d/b")).await;
    if again.is_ok() && ignores_create(capabilities) {
        assert_eq!(read(store, "d/b").await, b"2".as_slice());
        return;
    }
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
    assert_eq!(read(store, "a").await, b"2".as_slice());
    assert_eq!(read(store, "d/b").await, b"1".as_slice());
}

/// Of a source that is not there, and of a directory, which is no object.
pub async fn moving_what_is_missing_is_not_found(store: &dyn ObjectStore, _: &Capabilities) {
    put(store, "d/a", b"1").await;
    for from in ["none", "no/ne", "d", "d/a/b"] {
        let copy = store.copy(&key(from), &key("to")).await;
        assert!(matches!(copy, Err(Error::NotFound { .. })), "{from}: {copy:?}");
        let rename = store.rename(&key(from), &key("to")).await;
        assert!(matches!(rename, Err(Error::NotFound { .. })), "{from}: {rename:?}");
    }
    assert!(exists(store, "d/a").await && !exists(store, "to").await);
}
