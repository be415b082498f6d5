//! What every binarydata handler must do, as plain async functions over `&dyn ObjectStore`.
//!
//! The function of a case takes an empty store and what the store says that it can do. The macro
//! [`object_store_suite!`](macro@crate::object_store_suite) makes one test of each:
//!
//! ```text
//! mod memory {
//!     ezdfs_testkit::object_store_suite!(fixture);
//!     fn fixture() -> ((), Arc<dyn ObjectStore>, Capabilities) { … }
//! }
//! ```

// A failed expectation is what a suite is for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod listing;
pub mod moves;
pub mod names;
pub mod reads;
pub mod uploads;
pub mod writes;

use std::sync::Arc;

use bytes::Bytes;
use ezdfs_core::Capabilities;
use futures::TryStreamExt as _;
use object_store::path::Path as ObjectKey;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _, PutPayload, PutResult};

/// One `#[tokio::test]` per case of the suite. Takes the name of a function that returns a guard
/// (a temporary directory, or nothing), an empty store and its capabilities.
#[macro_export]
macro_rules! object_store_suite {
    ($fixture:ident) => {
        $crate::object_store_suite! { @cases $fixture
            names::literal_names_round_trip
            names::twins_are_distinct
            names::reserved_keys_work
            writes::a_put_replaces_the_whole_object
            writes::every_overwrite_has_another_etag
            writes::create_mode_refuses_what_exists
            writes::update_mode_compares_the_etag
            writes::attributes_are_accepted
            writes::deleting_what_is_missing_succeeds
            writes::deletes_are_exact
            writes::concurrent_puts_leave_one_whole_version
            reads::conditions_are_checked
            reads::ranges_are_cut_or_refused
            reads::several_ranges_at_once
            reads::an_empty_object_can_be_read
            reads::a_large_object_streams
            reads::head_brings_no_bytes
            reads::what_is_missing_is_not_found
            listing::listings_are_sorted_by_bytes
            listing::an_offset_skips_what_comes_before
            listing::prefixes_are_whole_segments
            listing::a_delimiter_shows_one_level
            listing::listing_and_head_agree
            moves::a_copy_is_independent
            moves::a_copy_can_refuse_to_overwrite
            moves::a_rename_moves_and_overwrites
            moves::a_rename_can_refuse_to_overwrite
            moves::moving_what_is_missing_is_not_found
            uploads::parts_stand_in_order
            uploads::an_empty_upload_makes_an_empty_object
            uploads::an_aborted_upload_leaves_nothing
            uploads::a_dropped_upload_leaves_nothing
            uploads::nothing_shows_before_completion
            uploads::a_seal_tells_the_final_pin
        }
    };
    (@cases $fixture:ident $($module:ident :: $case:ident)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                use $crate::object_store_suite::Fixture as _;
                let Some((_guard, store, capabilities)) = $fixture().set_up() else { return };
                $crate::object_store_suite::$module::$case(&*store, &capabilities).await;
            }
        )+
    };
}

/// What a test of the suite is run on.
pub trait Fixture {
    /// Lives as long as the test.
    type Guard;

    /// `None` where there is no such store here, after saying so.
    fn set_up(self) -> Option<(Self::Guard, Arc<dyn ObjectStore>, Capabilities)>;
}

impl<G> Fixture for (G, Arc<dyn ObjectStore>, Capabilities) {
    type Guard = G;

    fn set_up(self) -> Option<Self> {
        Some(self)
    }
}

impl<G> Fixture for Option<(G, Arc<dyn ObjectStore>, Capabilities)> {
    type Guard = G;

    fn set_up(self) -> Self {
        self
    }
}

/// A key, literally.
#[must_use]
pub fn key(text: &str) -> ObjectKey {
    let key = ObjectKey::parse(text).unwrap();
    assert_eq!(key.as_ref(), text, "object_store changed the key");
    key
}

/// Puts bytes.
pub async fn put(store: &dyn ObjectStore, at: &str, bytes: &[u8]) -> PutResult {
    store.put(&key(at), PutPayload::from(Bytes::copy_from_slice(bytes))).await.unwrap()
}

/// The bytes of an object.
pub async fn read(store: &dyn ObjectStore, at: &str) -> Bytes {
    store.get(&key(at)).await.unwrap().bytes().await.unwrap()
}

/// The keys below a prefix, in the order of the store.
pub async fn keys(store: &dyn ObjectStore, below: Option<&str>) -> Vec<String> {
    let below = below.map(key);
    let found: Vec<ObjectMeta> = store.list(below.as_ref()).try_collect().await.unwrap();
    found.into_iter().map(|m| m.location.to_string()).collect()
}

/// Whether an object is there.
pub async fn exists(store: &dyn ObjectStore, at: &str) -> bool {
    match store.head(&key(at)).await {
        Ok(_) => true,
        Err(object_store::Error::NotFound { .. }) => false,
        Err(e) => panic!("head of `{at}`: {e}"),
    }
}

/// Bytes that differ from one position to the next, and from one seed to the next.
#[must_use]
pub fn pattern(len: usize, seed: u8) -> Vec<u8> {
    let mut state = u32::from(seed).wrapping_mul(0x9e37_79b9) | 1;
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
