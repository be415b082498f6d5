//! The conformance suite of the `ObjectStore` trait, over every store of this build.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

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
