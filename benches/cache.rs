//! What the file cache costs: hits and fills against the same file read from a local store, whose
//! bytes are in the page cache in all cases. A real back end is slower by its network, which a hit
//! saves and a fill does not.
//!
//! `cargo bench --bench cache`; docs/PERFORMANCE.md has the figures.

#![allow(clippy::expect_used)] // A benchmark has nobody to report an error to.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ezdfs_binarydata::{LocalOptions, LocalStore};
use ezdfs_cache::{FileCache, Options as FileCacheOptions};
use ezdfs_core::{
    Capabilities, CloudSide, FilePath, KeyPrefix, ManualClock, NamePrefix, OsEntropy, Timestamp,
};
use ezdfs_engine::{BinaryStore, FileService, Options, Parts, PublishOptions};
use ezdfs_metadata::MemoryMetadata;
use futures::StreamExt as _;

const SIZES: [(&str, u64); 2] = [("16 KiB", 16 << 10), ("16 MiB", 16 << 20)];
/// A range in the middle of the large file, across two blocks of the cache.
const RANGE: Range<u64> = (8 << 20) - (64 << 10)..(8 << 20) + (64 << 10);

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
            side: CloudSide::default(),
            io_timeout: Duration::from_secs(30),
        },
        clock: Arc::new(clock.clone()),
        entropy: Arc::new(OsEntropy),
    };
    let service = FileService::new(parts, Options::default());
    for (name, size) in SIZES {
        let bytes = vec![7; usize::try_from(size).expect("a size")];
        let body = futures::stream::iter([Ok(Bytes::from(bytes))]);
        service.publish(&path(name), body, PublishOptions::default()).await.expect("a file");
    }
    // Young versions are looked at in the store.
    clock.advance(Duration::from_secs(60));
    service
}

/// Reads a range of exactly these bytes to its end.
async fn read(service: &FileService, path: &FilePath, range: Range<u64>) {
    let opened = service.open(path, |_| Some(range.clone())).await.expect("a file");
    let mut body = opened.body.expect("bytes");
    let mut len = 0;
    while let Some(piece) = body.next().await {
        len += piece.expect("bytes").len();
    }
    assert_eq!(u64::try_from(len).ok(), Some(range.end - range.start));
}

/// The same files through a cache in `dir`.
fn cached(direct: &FileService, dir: &Path) -> FileService {
    let options = FileCacheOptions { dir: dir.to_owned(), size: 1 << 30, min_free: 0 };
    let cache = FileCache::new(options, Arc::clone(direct.clock()), Arc::new(OsEntropy));
    direct.with_file_cache(cache)
}

fn all(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let dir = tempfile::tempdir_in("target").expect("a directory");
    let direct = runtime.block_on(local(dir.path()));
    let warm = cached(&direct, &dir.path().join("warm"));
    let mut cases: Vec<_> =
        SIZES.into_iter().map(|(name, size)| (name, path(name), 0..size)).collect();
    let (large, _) = SIZES[1];
    cases.push(("128 KiB of 16 MiB", path(large), RANGE));
    for (name, path, range) in cases {
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Bytes(range.end - range.start));
        for (what, service) in [("local store", &direct), ("hit", &warm)] {
            runtime.block_on(read(service, &path, range.clone()));
            group.bench_function(what, |b| {
                b.iter(|| runtime.block_on(read(service, &path, range.clone())));
            });
        }
        // Nothing is there: not even the directory.
        let empty = || {
            let dir = tempfile::tempdir_in(dir.path()).expect("a directory");
            (cached(&direct, &dir.path().join("cold")), dir)
        };
        group.sample_size(20);
        group.bench_function("fill", |b| {
            b.iter_batched(
                empty,
                |cold| {
                    runtime.block_on(read(&cold.0, &path, range.clone()));
                    cold
                },
                BatchSize::PerIteration,
            );
        });
        group.finish();
    }
    // Two files were fetched once each, and everything else was a hit.
    let state = warm.file_cache().expect("a cache").state();
    assert_eq!((state.misses, state.errors, state.bypassed), (2, 0, 0), "{state:?}");
}

criterion_group!(benches, all);
criterion_main!(benches);
