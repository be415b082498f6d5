//! A store in memory for unit tests.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ezdfs_cache::FileCache;
use ezdfs_core::{Capabilities, CloudSide, KeyPrefix, NamePrefix, OsEntropy, SystemClock};
use ezdfs_engine::{BinaryStore, FileService, Options, Parts, PublishOptions};
use ezdfs_metadata::MemoryMetadata;

/// An empty store.
pub(crate) fn memory() -> FileService {
    with(Options::default())
}

/// An empty store whose deletes are soft.
pub(crate) fn memory_with_trash() -> FileService {
    with(Options { trash: Duration::from_secs(3600), ..Options::default() })
}

/// An empty store whose bytes are cached in that directory.
pub(crate) fn cached(dir: &std::path::Path) -> FileService {
    let options = ezdfs_cache::Options { dir: dir.to_owned(), size: 16 << 20, min_free: 0 };
    let cache = FileCache::new(options, Arc::new(SystemClock), Arc::new(OsEntropy));
    memory().with_file_cache(cache)
}

fn with(options: Options) -> FileService {
    let clock = Arc::new(SystemClock);
    let parts = Parts {
        metadata: Arc::new(MemoryMetadata::new(NamePrefix::new("var"), clock.clone())),
        binary: BinaryStore {
            name: "memory".to_owned(),
            store: Arc::new(object_store::memory::InMemory::new()),
            prefix: KeyPrefix::default(),
            capabilities: Capabilities::MEMORY,
            side: CloudSide::default(),
            io_timeout: Duration::from_secs(5),
        },
        clock,
        entropy: Arc::new(OsEntropy),
    };
    FileService::new(parts, options)
}

/// Publishes a small file.
pub(crate) async fn put(service: &FileService, path: &str, bytes: &'static str) {
    let body = futures::stream::iter([Ok(Bytes::from_static(bytes.as_bytes()))]);
    service.publish(&path.parse().unwrap(), body, PublishOptions::default()).await.unwrap();
}
