//! The conformance suite of the `ObjectStore` trait, over every store of this build.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod buckets;

use std::sync::Arc;

use ezdfs_core::Capabilities;
use object_store::ObjectStore;

mod local {
    use super::*;
    use ezdfs_binarydata::{LocalOptions, LocalStore};

    ezdfs_testkit::object_store_suite!(fixture);

    fn fixture() -> (tempfile::TempDir, Arc<dyn ObjectStore>, Capabilities) {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path(), LocalOptions::default()).unwrap();
        (dir, Arc::new(store), Capabilities::LOCAL)
    }
}

mod local_without_fsync {
    use super::*;
    use ezdfs_binarydata::{LocalOptions, LocalStore};

    ezdfs_testkit::object_store_suite!(fixture);

    fn fixture() -> (tempfile::TempDir, Arc<dyn ObjectStore>, Capabilities) {
        let dir = tempfile::tempdir().unwrap();
        let options = LocalOptions { fsync: false, ..LocalOptions::default() };
        let store = LocalStore::open(dir.path(), options).unwrap();
        (dir, Arc::new(store), Capabilities::LOCAL)
    }
}

mod memory {
    use super::*;
    use object_store::memory::InMemory;

    ezdfs_testkit::object_store_suite!(fixture);

    fn fixture() -> ((), Arc<dyn ObjectStore>, Capabilities) {
        ((), Arc::new(InMemory::new()), Capabilities::MEMORY)
    }
}

/// moto, which honours every condition but `If-Match` on completion.
mod s3 {
    use super::*;
    use ezdfs_core::Conditions;
    use ezdfs_testkit::TestBucket;

    ezdfs_testkit::object_store_suite!(fixture);

    fn fixture() -> Option<((), Arc<dyn ObjectStore>, Capabilities)> {
        let bucket = TestBucket::s3()?;
        let conditions = Conditions { complete_absent: true, ..Conditions::WHOLE };
        let capabilities = Capabilities { conditions, ..Capabilities::CLOUD };
        Some(((), buckets::open(&bucket, bucket.endpoint()).store, capabilities))
    }
}

/// The same behind a proxy that takes the conditions away.
mod s3_without_conditions {
    use super::*;
    use ezdfs_testkit::{CarelessProxy, TestBucket};

    ezdfs_testkit::object_store_suite!(fixture);

    fn fixture() -> Option<(CarelessProxy, Arc<dyn ObjectStore>, Capabilities)> {
        let bucket = TestBucket::s3()?;
        let start = CarelessProxy::start(bucket.host(), bucket.port());
        let runtime = tokio::runtime::Handle::current();
        let proxy = tokio::task::block_in_place(|| runtime.block_on(start));
        let store = buckets::open(&bucket, proxy.endpoint()).store;
        Some((proxy, store, Capabilities::CLOUD))
    }
}

/// `rclone serve s3`, an independent server that ignores conditions by itself. It is files on a
/// disk, so a key cannot lie below another one, and a directory is a key that cannot be deleted. An
/// upload in parts gets another etag than the object has afterwards. Two PUTs of one key at once,
/// and a body that is dropped half-way, block it for good. Those cases run on the store above only.
mod rclone {
    use super::*;
    use ezdfs_testkit::TestBucket;

    ezdfs_testkit::object_store_suite! { @cases fixture
        names::twins_are_distinct
        writes::a_put_replaces_the_whole_object
        writes::every_overwrite_has_another_etag
        writes::create_mode_refuses_what_exists
        writes::update_mode_compares_the_etag
        writes::attributes_are_accepted
        reads::conditions_are_checked
        reads::several_ranges_at_once
        reads::an_empty_object_can_be_read
        reads::head_brings_no_bytes
        listing::a_delimiter_shows_one_level
        moves::a_copy_is_independent
        moves::a_rename_moves_and_overwrites
        uploads::an_empty_upload_makes_an_empty_object
        uploads::an_aborted_upload_leaves_nothing
        uploads::a_dropped_upload_leaves_nothing
        uploads::nothing_shows_before_completion
        uploads::a_seal_tells_the_final_pin
    }

    fn fixture() -> Option<((), Arc<dyn ObjectStore>, Capabilities)> {
        let bucket = TestBucket::careless_s3()?;
        Some(((), buckets::open(&bucket, bucket.endpoint()).store, Capabilities::CLOUD))
    }
}

/// Google Cloud Storage, as a fake of testkit knows its XML API: no emulator works with
/// object_store's client.
mod gcs_fake {
    use super::*;
    use ezdfs_core::Conditions;
    use ezdfs_testkit::FakeCloud;

    ezdfs_testkit::object_store_suite!(fixture);

    fn fixture() -> (FakeCloud, Arc<dyn ObjectStore>, Capabilities) {
        let fake = buckets::fake();
        let store = buckets::open_gcs_fake(&fake).store;
        let conditions = Conditions { versions: true, ..Conditions::WHOLE };
        (fake, store, Capabilities { conditions, ..Capabilities::CLOUD })
    }
}

/// Azure Blob Storage, on Azurite. It makes slashes of backslashes, so that names with one are
/// refused; the other names are tried here.
mod azure {
    use super::*;
    use ezdfs_core::Conditions;
    use ezdfs_testkit::TestContainer;
    use ezdfs_testkit::object_store_suite::names::AWKWARD;
    use ezdfs_testkit::object_store_suite::{exists, key, keys, put, read};
    use object_store::ObjectStoreExt as _;

    ezdfs_testkit::object_store_suite! { @cases fixture
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

    fn fixture() -> Option<((), Arc<dyn ObjectStore>, Capabilities)> {
        let container = TestContainer::azure()?;
        let capabilities = Capabilities { conditions: Conditions::WHOLE, ..Capabilities::CLOUD };
        Some(((), buckets::open_container(&container).store, capabilities))
    }

    #[tokio::test]
    async fn names_are_literal_or_refused() {
        let Some((_, store, _)) = fixture() else { return };
        let mut stored = Vec::new();
        for name in AWKWARD {
            for name in [format!("d/{name}"), format!("e/{name}/f")] {
                if name.contains('\\') {
                    let refused = store.put(&key(&name), "x".into()).await.unwrap_err();
                    let kind = ezdfs_core::Error::from(refused).kind();
                    assert_eq!(kind, ezdfs_core::ErrorKind::InvalidPath, "{name}");
                    let (to, from) = (key(&name), key("source"));
                    store.put(&from, "x".into()).await.unwrap();
                    assert!(store.copy(&from, &to).await.is_err());
                    assert!(!exists(&*store, &name).await);
                    store.delete(&from).await.unwrap();
                    continue;
                }
                put(&*store, &name, name.as_bytes()).await;
                stored.push(name);
            }
        }
        stored.sort_unstable();
        assert_eq!(keys(&*store, None).await, stored);
        for name in &stored {
            assert_eq!(read(&*store, name).await, name.as_bytes(), "{name}");
            store.delete(&key(name)).await.unwrap();
        }
        assert_eq!(keys(&*store, None).await, Vec::<String>::new());
    }
}
