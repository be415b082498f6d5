//! The figures of a shared database: load, page and publish at 10 thousand and 1 million rows, the
//! cost of the trigger for PHP, the backfill, and how soon `ezdfs watch` tells of a foreign change.
//!
//! `cargo bench --bench servers`, with EZDFS_TEST_MARIADB_URL and EZDFS_TEST_POSTGRES_URL set to
//! servers with durable settings (`EZDFS_TEST_SERVERS=durable scripts/test-servers start DIR`).
//! Prints Markdown tables. `EZDFS_BENCH_ROWS=10000` leaves the large table out.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)] // Nobody to report an error to.
#![allow(clippy::print_stdout)] // The tables are the result.
#![allow(clippy::disallowed_methods)] // It measures real time.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ezdfs_binarydata::LocalOptions;
use ezdfs_core::{CloudSide, DirPath, FilePath, MetadataStore, NamePrefix, OsEntropy, SystemClock};
use ezdfs_engine::{BinaryStore, FileService, Options, Parts, PublishOptions};
use ezdfs_metadata::server::{FeedChoice, Host, InstallStep, Password, ServerOptions, Tls};
use ezdfs_metadata::{mysql, postgres};
use ezdfs_testkit::servers::{BaseTable, MariaVariant, PostgresVariant, ServerKind, TestDatabase};
use ezdfs_testkit::{ForeignWriter, MariadbForeignWriter, PostgresForeignWriter};

const PREFIX: &str = "var/site/storage";
const TABLE: &str = "ezdfsfile";
const PAGE: u32 = 1_000;
/// Rows that one statement makes.
const ROWS_AT_ONCE: usize = 50_000;
/// One row in five lies in one flat directory.
const FLAT_SHARE: u32 = 5;

fn main() {
    // `cargo bench` passes its own flags; `cargo test --benches` only wants to know that it runs.
    if std::env::args().any(|a| a == "--test") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let most: u32 = std::env::var("EZDFS_BENCH_ROWS").map_or(1_000_000, |n| n.parse().unwrap());
    for kind in [ServerKind::Mariadb, ServerKind::Postgres] {
        runtime.block_on(server(kind, most));
    }
}

async fn server(kind: ServerKind, most: u32) {
    println!("\n## {kind:?}\n");
    println!("| rows | backfill, rows/s | load, µs | page of {PAGE}, ms | publish 4 KiB, ms |");
    println!("|---|---|---|---|---|");
    for rows in [10_000, 1_000_000].into_iter().filter(|n| *n <= most) {
        let Some(database) = database(kind) else { return };
        database.create_base_table(BaseTable::Ibexa, TABLE);
        for start in (0..rows).step_by(ROWS_AT_ONCE) {
            let end = rows.min(start + u32::try_from(ROWS_AT_ONCE).unwrap());
            database.run(&fill(kind, start..end));
        }
        if kind == ServerKind::Postgres {
            database.run("ANALYZE");
        }
        let begin = Instant::now();
        install(&database).await;
        let backfill = f64::from(rows) / begin.elapsed().as_secs_f64();
        let files = tempfile::tempdir().expect("a directory");
        let service = service(&database, files.path()).await;
        let load = load(&service, rows).await;
        let page = page(&service, rows).await;
        let publish = publish(&service).await;
        println!(
            "| {rows} | {backfill:.0} | {} | {} | {} |",
            spread(&load, 1e6),
            spread(&page, 1e3),
            spread(&publish, 1e3)
        );
    }
    trigger_cost(kind).await;
    watch(kind).await;
}

fn database(kind: ServerKind) -> Option<TestDatabase> {
    match kind {
        ServerKind::Mariadb => TestDatabase::mariadb(MariaVariant::default()),
        ServerKind::Postgres => TestDatabase::postgres(PostgresVariant::default()),
    }
}

fn options(database: &TestDatabase) -> ServerOptions {
    let host = Host { name: database.host().to_owned(), port: Some(database.port()) };
    ServerOptions {
        password: Some(Password::new(database.password())),
        prefix: NamePrefix::new(PREFIX),
        tls: Tls::Off,
        ..ServerOptions::new(host, database.user(), database.database())
    }
}

async fn install(database: &TestDatabase) {
    let options = options(database);
    let mut quiet = |_: InstallStep| {};
    match database.kind() {
        ServerKind::Mariadb => mysql::install(&options, FeedChoice::Trigger, &mut quiet).await,
        ServerKind::Postgres => postgres::install(&options, FeedChoice::Trigger, &mut quiet).await,
    }
    .expect("installed");
}

async fn metadata(database: &TestDatabase) -> Arc<dyn MetadataStore> {
    let options = options(database);
    match database.kind() {
        ServerKind::Mariadb => mysql::open(options).await,
        ServerKind::Postgres => postgres::open(options).await,
    }
    .expect("opened")
}

/// Rows as Ibexa would have left them, made by the server itself. The same as [`path`].
fn fill(kind: ServerKind, rows: std::ops::Range<u32>) -> String {
    let (path, from) = match kind {
        ServerKind::Postgres => (
            "CASE WHEN i % 5 = 0 THEN 'original/flat/' || lpad(i::text, 8, '0') || '.bin' \
             ELSE 'images/' || i % 10 || '/' || i / 10 % 10 || '/' || i / 100 % 10 || '/' \
             || i / 1000 % 10 || '/' || i || '-1-eng-GB/' \
             || lpad(to_hex(i::bigint * 7919), 12, '0') || '-picture.jpg' END",
            format!("generate_series({}, {}) i", rows.start, rows.end - 1),
        ),
        ServerKind::Mariadb => (
            "CASE WHEN i % 5 = 0 THEN CONCAT('original/flat/', LPAD(i, 8, '0'), '.bin') \
             ELSE CONCAT('images/', i % 10, '/', i DIV 10 % 10, '/', i DIV 100 % 10, '/', \
             i DIV 1000 % 10, '/', i, '-1-eng-GB/', LPAD(LOWER(HEX(i * 7919)), 12, '0'), \
             '-picture.jpg') END",
            format!("(SELECT seq AS i FROM seq_{}_to_{}) s", rows.start, rows.end - 1),
        ),
    };
    let name = match kind {
        ServerKind::Postgres => format!("'{PREFIX}/' || {path}"),
        ServerKind::Mariadb => format!("CONCAT('{PREFIX}/', {path})"),
    };
    format!(
        "INSERT INTO {TABLE} (name, name_trunk, name_hash, datatype, scope, size, mtime) \
         SELECT n, n, md5(n), 'image/jpeg', 'image', 4096, 1700000000 \
         FROM (SELECT {name} AS n FROM {from}) x"
    )
}

/// The path of row `i`.
fn path(i: u32) -> FilePath {
    let text = if i.is_multiple_of(FLAT_SHARE) {
        format!("original/flat/{i:08}.bin")
    } else {
        let [a, b, c, d] = [i % 10, i / 10 % 10, i / 100 % 10, i / 1000 % 10];
        format!("images/{a}/{b}/{c}/{d}/{i}-1-eng-GB/{:012x}-picture.jpg", u64::from(i) * 7919)
    };
    text.parse().expect("a path")
}

async fn service(database: &TestDatabase, files: &Path) -> FileService {
    let url = ezdfs_binarydata::file_url(files);
    let opened = ezdfs_binarydata::open_url(&url, &LocalOptions::default()).await.expect("a store");
    let binary = BinaryStore {
        name: "nfs".to_owned(),
        store: opened.store,
        prefix: opened.prefix,
        capabilities: opened.capabilities,
        side: CloudSide::default(),
        io_timeout: Duration::from_secs(30),
    };
    let parts = Parts {
        metadata: metadata(database).await,
        binary,
        clock: Arc::new(SystemClock),
        entropy: Arc::new(OsEntropy),
    };
    FileService::new(parts, Options::default())
}

async fn load(service: &FileService, rows: u32) -> Vec<Duration> {
    let mut times = Vec::new();
    for n in 0..3_000_u32 {
        let i = n.wrapping_mul(7_919) % rows;
        let begin = Instant::now();
        service.load(&path(i)).await.expect("a file");
        times.push(begin.elapsed());
    }
    // The first ones warm what is asked for.
    times.split_off(500)
}

async fn page(service: &FileService, rows: u32) -> Vec<Duration> {
    let flat: DirPath = "original/flat".parse().expect("a directory");
    let middle = format!("{:08}.bin", rows / 2 / FLAT_SHARE * FLAT_SHARE - FLAT_SHARE);
    let mut times = Vec::new();
    for _ in 0..60 {
        let begin = Instant::now();
        let page = service.list(&flat, Some(&middle), PAGE).await.expect("a page");
        times.push(begin.elapsed());
        assert_eq!(page.entries.len(), PAGE as usize);
    }
    times.split_off(10)
}

async fn publish(service: &FileService) -> Vec<Duration> {
    let body = Bytes::from(vec![7_u8; 4096]);
    let mut times = Vec::new();
    for n in 0..330 {
        let path = format!("bench/{}/{n}.bin", n % 10).parse().expect("a path");
        let body = futures::stream::iter([Ok(body.clone())]);
        let begin = Instant::now();
        service.publish(&path, body, PublishOptions::default()).await.expect("published");
        times.push(begin.elapsed());
    }
    times.split_off(30)
}

/// Median and 99th percentile.
fn spread(times: &[Duration], unit: f64) -> String {
    let mut sorted: Vec<f64> = times.iter().map(|t| t.as_secs_f64() * unit).collect();
    sorted.sort_by(f64::total_cmp);
    let at = |share: usize| sorted[(sorted.len() * share / 100).min(sorted.len() - 1)];
    format!("{:.2} (p99 {:.2})", at(50), at(99))
}

/// What PHP's statements cost with and without the trigger: each on its own, and many in one
/// transaction, where the disk does not hide it.
async fn trigger_cost(kind: ServerKind) {
    println!("\n| PHP's INSERT | without trigger | with trigger |");
    println!("|---|---|---|");
    let mut alone = Vec::new();
    let mut together = Vec::new();
    for installed in [false, true] {
        let Some(database) = database(kind) else { return };
        database.create_base_table(BaseTable::Ibexa, TABLE);
        if installed {
            install(&database).await;
        }
        let writer = writer(&database).await;
        let mut times = Vec::new();
        for n in 0..1_000 {
            let name = format!("{PREFIX}/images/{}/{n}.jpg", n % 50);
            let begin = Instant::now();
            writer.store(&name, 4096, 1_700_000_000, "image/jpeg").await;
            times.push(begin.elapsed());
        }
        alone.push(spread(&times, 1e3));
        let rows = 20_000;
        let begin = Instant::now();
        database.run(&fill(kind, 0..rows));
        together.push(begin.elapsed().as_secs_f64() * 1e6 / f64::from(rows));
    }
    println!("| alone, ms | {} | {} |", alone[0], alone[1]);
    println!("| 20,000 in one statement, µs each | {:.1} | {:.1} |", together[0], together[1]);
}

async fn writer(database: &TestDatabase) -> Box<dyn ForeignWriter> {
    match database.kind() {
        ServerKind::Mariadb => Box::new(MariadbForeignWriter::connect(database, TABLE).await),
        ServerKind::Postgres => Box::new(PostgresForeignWriter::connect(database, TABLE).await),
    }
}

/// From the commit of PHP's statement to the line of `ezdfs watch`, at about 45 writes a second.
async fn watch(kind: ServerKind) {
    let Some(database) = database(kind) else { return };
    database.create_base_table(BaseTable::Ibexa, TABLE);
    install(&database).await;
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("ezdfs.toml");
    let settings = format!(
        "[metadata_handlers.dfs]\nurl = \"{}\"\npassword = {{ env = \"BENCH_PASSWORD\" }}\n\
         [binarydata_handlers.nfs]\nurl = \"file:files\"\n",
        database.url_without_password()
    );
    std::fs::write(&config, settings).expect("a configuration");
    let mut child = Command::new(env!("CARGO_BIN_EXE_ezdfs"))
        .args(["watch", "--config"])
        .arg(&config)
        .arg("--data-dir")
        .arg(dir.path())
        .env("BENCH_PASSWORD", database.password())
        .stdout(Stdio::piped())
        .spawn()
        .expect("ezdfs watch");
    let out = child.stdout.take().expect("its output");
    let reader = std::thread::spawn(move || {
        let mut seen = Vec::new();
        for line in BufReader::new(out).lines() {
            let now = Instant::now();
            let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            let path = line["path"].as_str().unwrap_or_default().to_owned();
            if path == "end" {
                break;
            }
            seen.push((path, now));
        }
        seen
    });
    let writer = writer(&database).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut written = Vec::new();
    for n in 0..1_000_u64 {
        writer.store(&format!("{PREFIX}/w/{n}"), 1, 1_700_000_000, "image/jpeg").await;
        written.push(Instant::now());
        tokio::time::sleep(Duration::from_millis(5 + n * 7 % 31)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    writer.store(&format!("{PREFIX}/end"), 1, 1_700_000_000, "image/jpeg").await;
    let seen = reader.join().expect("the reader");
    child.kill().expect("ended");
    child.wait().expect("ended");
    assert_eq!(seen.len(), written.len(), "each change once");
    let times: Vec<Duration> = seen
        .iter()
        .map(|(path, at)| {
            let n: usize = path.strip_prefix("w/").unwrap().parse().unwrap();
            at.saturating_duration_since(written[n])
        })
        .collect();
    println!("\nForeign change to `ezdfs watch`: {} ms", spread(&times, 1e3));
}
