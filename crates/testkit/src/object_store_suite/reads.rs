//! Gets.

use ezdfs_core::Capabilities;
use futures::TryStreamExt as _;
use object_store::{Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt as _};

use super::{key, pattern, put, read};

/// If-Match, If-None-Match and the dates. A store that ignores them answers with what is there.
pub async fn conditions_are_checked(store: &dyn ObjectStore, capabilities: &Capabilities) {
    let old = put(store, "a", b"1").await.e_tag;
    let new = put(store, "a", b"2").await.e_tag;
    let date = store.head(&key("a")).await.unwrap().last_modified;
    let get = |options: GetOptions| async move { store.get_opts(&key("a"), options).await };

    let pinned = get(GetOptions::new().with_if_match(new.clone())).await.unwrap();
    assert_eq!(pinned.bytes().await.unwrap(), b"2".as_slice());
    let stale = get(GetOptions::new().with_if_match(old.clone())).await;
    if !capabilities.conditions.get_match {
        assert_eq!(stale.unwrap().meta.e_tag, new);
        return;
    }
    assert!(matches!(stale, Err(Error::Precondition { .. })), "{stale:?}");
    let same = get(GetOptions::new().with_if_none_match(new)).await;
    assert!(matches!(same, Err(Error::NotModified { .. })), "{same:?}");
    assert!(get(GetOptions::new().with_if_none_match(old)).await.is_ok());

    let same = get(GetOptions::new().with_if_modified_since(Some(date))).await;
    assert!(matches!(same, Err(Error::NotModified { .. })), "{same:?}");
    assert!(get(GetOptions::new().with_if_unmodified_since(Some(date))).await.is_ok());
    let before = date - std::time::Duration::from_secs(60);
    assert!(get(GetOptions::new().with_if_modified_since(Some(before))).await.is_ok());
    let newer = get(GetOptions::new().with_if_unmodified_since(Some(before))).await;
    assert!(matches!(newer, Err(Error::Precondition { .. })), "{newer:?}");
}

/// An end behind the end is cut; a start behind the end, or an empty range, is an error.
pub async fn ranges_are_cut_or_refused(store: &dyn ObjectStore, _: &Capabilities) {
    let bytes = pattern(1_000_000, 3);
    put(store, "a", &bytes).await;
    let get = |range: GetRange| async move {
        let got = store.get_opts(&key("a"), GetOptions::new().with_range(Some(range))).await?;
        assert_eq!(got.meta.size, 1_000_000);
        let range = got.range.clone();
        got.bytes().await.map(|b| (range, b))
    };
    let good = [
        (GetRange::Bounded(0..1), 0..1),
        (GetRange::Bounded(5..700_000), 5..700_000),
        (GetRange::Bounded(262_143..262_145), 262_143..262_145),
        (GetRange::Bounded(999_999..1_000_000), 999_999..1_000_000),
        (GetRange::Bounded(999_990..5_000_000), 999_990..1_000_000),
        (GetRange::Bounded(0..u64::MAX), 0..1_000_000),
        (GetRange::Offset(262_144), 262_144..1_000_000),
        (GetRange::Suffix(10), 999_990..1_000_000),
        (GetRange::Suffix(u64::MAX), 0..1_000_000),
    ];
    for (range, expected) in good {
        let (got, part) = get(range.clone()).await.unwrap();
        assert_eq!(got, expected, "{range:?}");
        let at = |n: u64| usize::try_from(n).unwrap();
        assert!(part == bytes[at(expected.start)..at(expected.end)], "{range:?}");
    }
    let bad = [
        GetRange::Bounded(1_000_000..1_000_001),
        GetRange::Bounded(u64::MAX - 1..u64::MAX),
        GetRange::Bounded(5..5),
        GetRange::Offset(1_000_000),
        GetRange::Offset(u64::MAX),
    ];
    for range in bad {
        let got = get(range.clone()).await;
        assert!(matches!(got, Err(Error::Generic { .. })), "{range:?}: {got:?}");
    }
}

/// `get_ranges` keeps the order that was asked for.
pub async fn several_ranges_at_once(store: &dyn ObjectStore, _: &Capabilities) {
    let bytes = pattern(600_000, 4);
    put(store, "a", &bytes).await;
    let ranges = [500_000..600_000, 0..3, 1..2, 299_999..300_001];
    let parts = store.get_ranges(&key("a"), &ranges).await.unwrap();
    assert_eq!(parts.len(), ranges.len());
    for (part, range) in parts.iter().zip(ranges) {
        let at = |n: u64| usize::try_from(n).unwrap();
        assert!(*part == bytes[at(range.start)..at(range.end)]);
    }
    assert!(store.get_ranges(&key("a"), &[0..1, 600_000..600_001]).await.is_err());
    assert!(store.get_ranges(&key("none"), &[0..1, 2..3]).await.is_err());
}

/// No bytes, no error; but any range is behind its end.
pub async fn an_empty_object_can_be_read(store: &dyn ObjectStore, _: &Capabilities) {
    put(store, "e", b"").await;
    assert!(read(store, "e").await.is_empty());
    let got = store.get(&key("e")).await.unwrap();
    assert_eq!((got.range.clone(), got.meta.size), (0..0, 0));
    let pieces: Vec<_> = got.into_stream().try_collect().await.unwrap();
    assert_eq!(pieces.iter().map(bytes::Bytes::len).sum::<usize>(), 0);
    let range = GetOptions::new().with_range(Some(GetRange::Bounded(0..1)));
    assert!(store.get_opts(&key("e"), range).await.is_err());
}

/// A stream ends after exactly the bytes of the object, and can be dropped half-way.
pub async fn a_large_object_streams(store: &dyn ObjectStore, _: &Capabilities) {
    let bytes = pattern(9 * 1024 * 1024 + 17, 5);
    put(store, "big", &bytes).await;
    let mut stream = store.get(&key("big")).await.unwrap().into_stream();
    let mut at = 0;
    while let Some(piece) = stream.try_next().await.unwrap() {
        assert!(piece == bytes[at..at + piece.len()], "wrong bytes after {at}");
        at += piece.len();
    }
    assert_eq!(at, bytes.len());
    let mut half = store.get(&key("big")).await.unwrap().into_stream();
    half.try_next().await.unwrap().unwrap();
    drop(half);
    assert_eq!(read(store, "big").await.len(), bytes.len());
}

/// `head` says what get says.
pub async fn head_brings_no_bytes(store: &dyn ObjectStore, _: &Capabilities) {
    put(store, "a", b"12345").await;
    let options = GetOptions { head: true, ..GetOptions::default() };
    let head = store.get_opts(&key("a"), options).await.unwrap();
    let meta = store.get(&key("a")).await.unwrap().meta;
    assert_eq!(head.meta, meta);
    assert_eq!(meta.size, 5);
    assert!(meta.last_modified.timestamp() > 1_000_000_000);
}

/// A directory, a key below a file, and a name that never was.
pub async fn what_is_missing_is_not_found(store: &dyn ObjectStore, _: &Capabilities) {
    put(store, "d/a", b"1").await;
    for name in ["d", "d/a/b", "d/a/b/c", "x", "x/y", "d/A"] {
        let got = store.get(&key(name)).await;
        assert!(matches!(got, Err(Error::NotFound { .. })), "{name}: {got:?}");
        let head = store.head(&key(name)).await;
        assert!(matches!(head, Err(Error::NotFound { .. })), "{name}: {head:?}");
    }
}
