//! The memory store.

use std::sync::Arc;

use ezdfs_core::NamePrefix;
use ezdfs_metadata::MemoryMetadata;
use ezdfs_testkit::metadata_suite::{NEIGHBOUR_PREFIX, PREFIX, Setup, clock};

async fn setup() -> Setup {
    let clock = clock();
    let store = MemoryMetadata::new(NamePrefix::new(PREFIX), Arc::new(clock.clone()));
    Setup {
        neighbour: Arc::new(store.sibling(NamePrefix::new(NEIGHBOUR_PREFIX))),
        foreign: Arc::new(store.foreign()),
        store: Arc::new(store),
        clock,
        guard: Box::new(()),
    }
}

ezdfs_testkit::metadata_suite!(setup);
