//! Names are literal.

use ezdfs_core::Capabilities;
use object_store::{ObjectStore, ObjectStoreExt as _};

use super::{exists, key, keys, put, read};

/// Names that other stores rewrite, refuse or skip (abuse-cases.md 9, 15, 16, 18, 56).
pub const AWKWARD: &[&str] = &[
    "x#123",
    "100%.jpg",
    "50%25.jpg",
    "a%2Fb",
    "%2e%2e",
    "~a",
    "~",
    "back\\slash",
    "trailing.",
    "trailing ",
    " leading",
    "C:x",
    "CON",
    "a.jpg::$DATA",
    "quote'\"quote",
    "semi;--colon",
    "a_b%c",
    "q?a=b&c=d#f",
    "*[x]{y}|<z>^`",
    "..a",
    "a..b",
    ".hidden",
    "emoji 😀🏳️‍🌈",
    "nfc é",
    "nfd e\u{301}",
    "rtl \u{202e}gpj.exe",
    "zero\u{200b}width",
    "日本語.png",
    "+plus +",
    "-rf",
];

/// Put, get, head, list and delete take every name as it is, as a file and as a directory.
pub async fn literal_names_round_trip(store: &dyn ObjectStore, _: &Capabilities) {
    let mut all: Vec<String> = AWKWARD.iter().map(|n| format!("d/{n}")).collect();
    all.extend(AWKWARD.iter().map(|n| format!("e/{n}/f")));
    all.push(format!("d/{}", "n".repeat(255)));
    all.push(format!("d/{}", "é".repeat(127)));
    for name in &all {
        put(store, name, name.as_bytes()).await;
    }
    for name in &all {
        assert_eq!(read(store, name).await, name.as_bytes(), "{name}");
        let meta = store.head(&key(name)).await.unwrap();
        assert_eq!(meta.location.as_ref(), name);
        assert_eq!(meta.size, u64::try_from(name.len()).unwrap());
    }
    let mut sorted = all.clone();
    sorted.sort_unstable();
    assert_eq!(keys(store, None).await, sorted);
    for name in &all {
        store.delete(&key(name)).await.unwrap();
        assert!(!exists(store, name).await, "{name}");
    }
    assert_eq!(keys(store, None).await, Vec::<String>::new());
}

/// Neither case nor normalisation makes two names one (abuse-cases.md 16, 17).
pub async fn twins_are_distinct(store: &dyn ObjectStore, _: &Capabilities) {
    let twins = ["IMAGES/A.JPG", "images/a.jpg", "u/\u{e9}", "u/e\u{301}", "v/a ", "v/a", "v/a."];
    for name in twins {
        put(store, name, name.as_bytes()).await;
    }
    for name in twins {
        assert_eq!(read(store, name).await, name.as_bytes());
    }
    store.delete(&key("IMAGES/A.JPG")).await.unwrap();
    assert!(exists(store, "images/a.jpg").await);
}

/// ezdfs keeps deleted objects below `.ezdfs/limbo`, by the same calls.
pub async fn reserved_keys_work(store: &dyn ObjectStore, _: &Capabilities) {
    put(store, "a/b", b"1").await;
    store.rename(&key("a/b"), &key(".ezdfs/limbo/0123")).await.unwrap();
    assert_eq!(read(store, ".ezdfs/limbo/0123").await, b"1".as_slice());
    assert_eq!(keys(store, Some(".ezdfs/limbo")).await, [".ezdfs/limbo/0123"]);
    store.rename(&key(".ezdfs/limbo/0123"), &key("a/b")).await.unwrap();
    assert_eq!(read(store, "a/b").await, b"1".as_slice());
    assert_eq!(keys(store, Some(".ezdfs/limbo")).await, Vec::<String>::new());
}
