//! Load, page and publish on the embedded default, at 10 thousand and 1 million rows.
//!
//! `cargo bench --bench store`; figures and bars are in docs/PERFORMANCE.md. The databases are made
//! once below `target/bench-data` (a minute or two for the large one) and reused.

#![allow(clippy::expect_used)] // A benchmark has nobody to report an error to.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use ezdfs_binarydata::LocalOptions;
use ezdfs_core::{CloudSide, DirPath, FilePath, NamePrefix, OsEntropy, Scope, SystemClock};
use ezdfs_engine::{BinaryStore, FileService, Options, Parts, PublishOptions};
use ezdfs_metadata::{SqliteMetadata, SqliteOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, QueryBuilder};

const PREFIX: &str = "var/site/storage";
/// One row in five lies in one flat directory: 200,000 of a million.
const FLAT_SHARE: u32 = 5;
/// Rows of one INSERT.
const ROWS_AT_ONCE: u32 = 1_000;
const PAGE: u32 = 1_000;

/// The path of row `i`: every fifth in the flat directory, the others in an image tree.
fn path(i: u32) -> FilePath {
    let text = if i.is_multiple_of(FLAT_SHARE) {
        format!("original/flat/{i:08}.bin")
    } else {
        let [a, b, c, d] = [i % 10, i / 10 % 10, i / 100 % 10, i / 1000 % 10];
        format!("images/{a}/{b}/{c}/{d}/{i}-1-eng-GB/{:012x}-picture.jpg", u64::from(i) * 7919)
    };
    text.parse().expect("a path")
}

/// A base table with `rows` rows, as Ibexa would have left it; ezdfs makes its entries from it.
async fn fill(file: &Path, rows: u32) {
    let mut conn = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Off)
        .connect()
        .await
        .expect("a database");
    let base = include_str!("../schema/sqlite/base.sql").replace("{table}", "ezdfsfile");
    sqlx::raw_sql(sqlx::AssertSqlSafe(base)).execute(&mut conn).await.expect("the base table");
    let prefix = NamePrefix::new(PREFIX);
    for start in (0..rows).step_by(ROWS_AT_ONCE as usize) {
        let mut insert = QueryBuilder::new(
            "INSERT INTO ezdfsfile (name, name_trunk, name_hash, datatype, scope, size, mtime) ",
        );
        insert.push_values(start..(start + ROWS_AT_ONCE).min(rows), |mut row, i| {
            let path = path(i);
            let name = prefix.name(&path);
            row.push_bind(name.as_str().to_owned())
                .push_bind(name.as_str().to_owned())
                .push_bind(name.hash().to_hex())
                .push_bind("image/jpeg")
                .push_bind(Scope::of(&path).as_str())
                .push_bind(4096_i64)
                .push_bind(1_700_000_000_i64 + i64::from(i));
        });
        insert.build().execute(&mut conn).await.expect("rows");
    }
    conn.close().await.expect("the database closes");
}

async fn service(dir: &Path, rows: u32) -> FileService {
    let file = dir.join("ezdfs.db");
    let complete = dir.join("complete");
    if !complete.exists() {
        let _ = std::fs::remove_dir_all(dir);
        std::fs::create_dir_all(dir).expect("a directory");
        fill(&file, rows).await;
    }
    let clock = Arc::new(SystemClock);
    let options = SqliteOptions { prefix: NamePrefix::new(PREFIX), ..SqliteOptions::default() };
    let metadata = SqliteMetadata::open(&file, options, clock.clone()).await.expect("metadata");
    std::fs::write(&complete, b"").expect("a mark");
    // The figures are those of a warm page cache; a cold look-up costs what the disk costs.
    let mut cold = std::fs::File::open(&file).expect("the database");
    std::io::copy(&mut cold, &mut std::io::sink()).expect("the database is read");
    std::fs::create_dir_all(dir.join("files")).expect("a directory");
    let url = ezdfs_binarydata::file_url(&dir.join("files"));
    let opened = ezdfs_binarydata::open_url(&url, &LocalOptions::default()).await.expect("a store");
    let binary = BinaryStore {
        name: "nfs".to_owned(),
        store: opened.store,
        prefix: opened.prefix,
        capabilities: opened.capabilities,
        side: CloudSide::default(),
        io_timeout: Duration::from_secs(30),
    };
    let metadata = Arc::new(metadata);
    let parts = Parts { metadata, binary, clock, entropy: Arc::new(OsEntropy) };
    FileService::new(parts, Options::default())
}

fn bench(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/bench-data");
    for rows in [10_000_u32, 1_000_000] {
        let service = runtime.block_on(service(&data.join(rows.to_string()), rows));

        let mut i = 0_u32;
        c.bench_function(&format!("load by path/{rows} rows"), |b| {
            b.iter(|| {
                i = i.wrapping_add(7_919) % rows;
                runtime.block_on(service.load(&path(i))).expect("a file")
            });
        });

        let flat: DirPath = "original/flat".parse().expect("a directory");
        let middle = format!("{:08}.bin", rows / 2 / FLAT_SHARE * FLAT_SHARE);
        c.bench_function(
            &format!("page of {PAGE} in a flat directory of {}/{rows} rows", rows / FLAT_SHARE),
            |b| {
                b.iter(|| {
                    let page = runtime.block_on(service.list(&flat, Some(&middle), PAGE));
                    let page = page.expect("a page");
                    assert_eq!(page.entries.len(), PAGE as usize - usize::from(rows == 10_000));
                    page
                });
            },
        );

        let body = Bytes::from(vec![7_u8; 4096]);
        let mut n = 0_u32;
        c.bench_function(&format!("publish of 4 KiB/{rows} rows"), |b| {
            b.iter(|| {
                n = (n + 1) % 1_000;
                let path = format!("bench/{}/{n}.bin", n % 10).parse().expect("a path");
                let body = futures::stream::iter([Ok(body.clone())]);
                let published = service.publish(&path, body, PublishOptions::default());
                runtime.block_on(published).expect("published")
            });
        });
        let scratch = "bench".parse().expect("a path");
        runtime.block_on(service.mkdir(&scratch, false, None)).expect("a directory");
        runtime.block_on(service.delete_dir(&scratch, |_| {})).expect("clean");
    }
}

criterion_group! {
    name = store;
    config = Criterion::default().sample_size(30).warm_up_time(Duration::from_secs(1));
    targets = bench
}
criterion_main!(store);
