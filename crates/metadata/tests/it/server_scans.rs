//! What the servers have in common where scans stand in for a trigger.

use std::sync::Arc;
use std::time::Duration;

use ezdfs_core::MetadataStore;
use ezdfs_testkit::ForeignWriter;
use ezdfs_testkit::metadata_suite::{START_SECS, file, list, materialise, name, publish, version};

/// A walk rests for some time after each, however short.
pub(crate) async fn expect_list(store: &dyn MetadataStore, at: &str, expected: &[&str]) {
    for _ in 0..200 {
        if list(store, at).await == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(list(store, at).await, expected);
}

/// One process publishes over what PHP wrote, another one scans all the time.
pub(crate) async fn publish_among_scans(
    store: Arc<dyn MetadataStore>,
    neighbour: Arc<dyn MetadataStore>,
    php: &dyn ForeignWriter,
) {
    let scanning = tokio::spawn(async move {
        loop {
            materialise(&*neighbour).await;
            list(&*neighbour, "s").await;
        }
    });
    for round in 0..60_u8 {
        let at = format!("s/f{}", round % 10);
        php.store(&name(&at), 1_000 + u64::from(round), START_SECS + 5, "a/b").await;
        tokio::time::sleep(Duration::from_millis(u64::from(round) % 7 * 5)).await;
        publish(&*store, &at, version(u64::from(round), round)).await;
        php.delete(&name("s/gone")).await;
        php.store(&name("s/gone"), 1, START_SECS, "a/b").await;
    }
    // What is still on its way.
    tokio::time::sleep(Duration::from_secs(1)).await;
    scanning.abort();
    materialise(&*store).await;
    for n in 0..10 {
        let found = file(&*store, &format!("s/f{n}")).await;
        assert!(found.token.is_some(), "{n}: {found:?}");
    }
    assert_eq!(list(&*store, "s").await.len(), 12);
}
