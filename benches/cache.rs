//! A warm hit in the file cache against the same file read from a local store.
//!
//! `cargo bench --bench cache`; what counts is the ratio, which docs/PERFORMANCE.md has.

#![allow(clippy::expect_used)] // A benchmark has nobody to report an error to.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use ezdfs_binarydata::{LocalOptions, LocalStore};
use ezdfs_cache::{FileCache, Options as FileCacheOptions};
use ezdfs_core::{
    Capabilities, FilePath, KeyPrefix, ManualClock, NamePrefix, OsEntropy, Timestamp,
};
use ezdfs_engine::{BinaryStore, FileService, Options, Parts, PublishOptions};
use ezdfs_metadata::MemoryMetadata;
use futures::StreamExt as _;

const SIZES: [(&str, usize); 2] = [("16 KiB", 16 << 10), ("16 MiB", 16 << 20)];

fn path(name: &str) -> FilePath {
    name.replace(' ', "-").parse().expect("a path")
}

/// Rows in memory, so that the bytes are what is measured; files in `dir`.
async fn local(dir: &Path) -> FileService {
    let root = dir.join("files");
    std::fs::create_dir_all(&root).expect("a directory");
    let clock = ManualClock::at(Timestamp::from_secs(1_700_000_000));
    let parts = Parts {
        metadata: Arc::new(MemoryMetadata::new(NamePrefix::new("var"), Arc::new(clock.clone()))),
        binary: BinaryStore {
            name: "local".to_owned(),
            store: Arc::new(LocalStore::open(&root, LocalOptions::default()).expect("a store")),
            prefix: KeyPrefix::default(),
            capabilities: Capabilities::LOCAL,
            io_timeout: Duration::from_secs(30),
        },
        clock: Arc::new(clock.clone()),
        entropy: Arc::new(OsEntropy),
    };
    let service = FileService::new(parts, Options::default());
    for (name, size) in SIZES {
        let body = futures::stream::iter([Ok(Bytes::from(vec![7; size]))]);
        service.publish(&path(name), body, PublishOptions::default()).await.expect("a file");
    }
    // Young versions are looked at in the store.
    clock.advance(Duration::from_secs(60));
    service
}

async fn read(service: &FileService, path: &FilePath, size: usize) {
    let (_, mut body) = service.open_whole(path).await.expect("a file");
    let mut len = 0;
    while let Some(piece) = body.next().await {
        len += piece.expect("bytes").len();
    }
    assert_eq!(len, size);
}

fn hits(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let dir = tempfile::tempdir_in("target").expect("a directory");
    let direct = runtime.block_on(local(dir.path()));
    let options = FileCacheOptions { dir: dir.path().join("cache"), size: 1 << 30, min_free: 0 };
    let cache = FileCache::new(options, Arc::clone(direct.clock()), Arc::new(OsEntropy));
    let cached = direct.with_file_cache(cache);
    for (name, size) in SIZES {
        let path = path(name);
        let mut group = c.benchmark_group(name);
        for (what, service) in [("local store", &direct), ("file cache, warm", &cached)] {
            runtime.block_on(read(service, &path, size));
            group.bench_function(what, |b| {
                b.iter(|| runtime.block_on(read(service, &path, size)));
            });
        }
        group.finish();
    }
    let state = cached.file_cache().expect("a cache").state();
    assert_eq!((state.misses, state.errors), (2, 0), "{state:?}");
}

criterion_group!(benches, hits);
criterion_main!(benches);
