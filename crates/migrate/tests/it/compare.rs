//! What counts as the same file.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ezdfs_core::{Change, Intent, IntentId, IntentState, Op, Timestamp, Token, Work};
use ezdfs_migrate::{Options, Verify};
use object_store::ObjectStoreExt as _;
use sha2::Digest as _;

use crate::support::*;

fn set_mtime(at: &std::path::Path, mtime: SystemTime) {
    fs::File::options().append(true).open(at).unwrap().set_modified(mtime).unwrap();
}

#[tokio::test]
async fn a_change_of_size_or_bytes_is_noticed() {
    for verify in [Verify::None, Verify::Size, Verify::Sha256] {
        let bench = Bench::new();
        let (from, to) = (bench.local("from"), bench.local("to"));
        for name in ["kept", "longer", "same-size"] {
            write(&bench.at("from"), name, "0123456789");
        }
        let (source, target) =
            (side("default,default", &derived(&from), &from), side("dfs,nfs", &memory(), &to));
        let options = Options { verify, ..bench.options() };
        run(&source, &target, &options).await;
        write(&bench.at("from"), "longer", "0123456789+");
        write(&bench.at("from"), "same-size", "9876543210");
        write(&bench.at("from"), "new", "n");
        let summary = run(&source, &target, &options).await;
        let report = bench.report();
        let symbols: String =
            ["kept", "longer", "same-size", "new"].map(|n| report[n]).iter().collect();
        assert_eq!(symbols, "=**+", "{verify:?}");
        assert_eq!(summary.exit_code(), 0);
        assert_eq!(files(&bench.at("from"), false), files(&bench.at("to"), false));
    }
}

#[tokio::test]
async fn sha256_notices_bytes_that_changed_under_the_same_size_and_mtime() {
    let bench = Bench::new();
    let (from, to) = (bench.local("from"), bench.local("to"));
    write(&bench.at("from"), "a", "0123456789");
    let mtime = UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    set_mtime(&bench.at("from/a"), mtime);
    let (source, target) =
        (side("default,default", &derived(&from), &from), side("dfs,nfs", &memory(), &to));
    run(&source, &target, &bench.options()).await;
    fs::write(bench.at("from/a"), "9876543210").unwrap();
    set_mtime(&bench.at("from/a"), mtime);
    // By mtime alone nothing happened: documented.
    let by_size = Options {
        verify: Verify::Size,
        journal: Some(bench.at("other-journal")),
        ..bench.options()
    };
    assert_eq!(run(&source, &target, &by_size).await.counts.same, 1);
    assert_eq!(run(&source, &target, &bench.options()).await.counts.replaced, 1);
    assert_eq!(fs::read(bench.at("to/a")).unwrap(), b"9876543210");
}

#[tokio::test]
async fn a_touched_file_with_the_same_bytes_is_the_same() {
    let bench = Bench::new();
    let (from, to) = (bench.local("from"), bench.local("to"));
    write(&bench.at("from"), "a", "0123456789");
    let (source, target) =
        (side("default,default", &derived(&from), &from), side("dfs,nfs", &memory(), &to));
    run(&source, &target, &bench.options()).await;
    set_mtime(&bench.at("from/a"), UNIX_EPOCH + Duration::from_secs(1_600_000_000));
    assert_eq!(run(&source, &target, &bench.options()).await.counts.same, 1);
}

#[tokio::test]
async fn a_target_that_lost_or_changed_its_bytes_is_mended() {
    let bench = Bench::new();
    let (from, to) = (bench.local("from"), bench.local("to"));
    for name in ["gone", "spoiled", "short"] {
        write(&bench.at("from"), name, "0123456789");
    }
    let (source, target) =
        (side("default,default", &derived(&from), &from), side("dfs,nfs", &memory(), &to));
    run(&source, &target, &bench.options()).await;
    fs::remove_file(bench.at("to/gone")).unwrap();
    fs::write(bench.at("to/spoiled"), "012345678X").unwrap();
    fs::write(bench.at("to/short"), "0").unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let summary = run(&source, &target, &bench.options()).await;
    assert_eq!(summary.counts.replaced, 3, "{:?}", bench.report());
    assert_eq!(files(&bench.at("from"), false), files(&bench.at("to"), false));
    assert_eq!(read(&target.service, "spoiled").await, b"0123456789");
}

#[tokio::test]
async fn the_source_is_never_repaired_though_it_is_read_as_a_reader_reads_it() {
    let bench = Bench::new();
    let (from, to) = (bench.local("from"), bench.local("to"));
    let table = bench.sqlite("from.db").await;
    let (source, target) = (side("dfs,nfs", &table, &from), side("dfs2,nfs2", &memory(), &to));
    publish(&source.service, "images/a.jpg", "published").await;
    // A foreign writer replaced the bytes and its row has not followed: a reader would adopt them.
    write(&bench.at("from"), "images/a.jpg", "replaced in place");
    tokio::time::sleep(Duration::from_millis(20)).await;
    let before = rows(&table).await;
    let summary = run(&source, &target, &bench.options()).await;
    assert_eq!(summary.counts.copied, 1, "{:?}", bench.report());
    assert_eq!(read(&target.service, "images/a.jpg").await, b"replaced in place");
    assert_eq!(rows(&table).await, before);
}

/// A publisher put its object in place and broke off before its row.
async fn broken_off(source: &ezdfs_migrate::Side, name: &str, bytes: &str) {
    let (metadata, binary) = (source.service.metadata(), source.service.binary());
    let key = binary.key(&path(name)).unwrap();
    binary.store.put(&key, bytes.to_owned().into()).await.unwrap();
    let object = binary.head(&key).await.unwrap().unwrap();
    let token = Token::from_bytes([7; 16]);
    let intent = Intent {
        id: IntentId(0),
        path: path(name),
        subtree: false,
        token,
        owner: "another node".to_owned(),
        state: IntentState::Held,
        lease_end: Timestamp::default(),
        work: Work::Publish {
            size: object.size,
            sha256: ezdfs_core::Sha256::from_bytes(sha2::Sha256::digest(bytes).into()),
            datatype: "image/webp".to_owned(),
            mtime: Timestamp::from_secs(1_700_000_000),
            expires: None,
            pin: object.pin,
        },
    };
    metadata.hold(&[intent], Duration::from_millis(1)).await.unwrap();
    metadata.apply(Change::new().op(Op::EndHold { token, keep: true })).await.unwrap();
}

#[tokio::test]
async fn work_that_broke_off_on_the_source_is_seen_and_left_to_the_source() {
    for dry_run in [true, false] {
        let bench = Bench::new();
        let (from, to) = (bench.local("from"), bench.local("to"));
        let table = bench.sqlite("from.db").await;
        let (source, target) = (side("dfs,nfs", &table, &from), side("dfs2,nfs2", &memory(), &to));
        publish(&source.service, "images/a", "old version").await;
        broken_off(&source, "images/a", "new version!").await;
        let state = |table: std::sync::Arc<dyn ezdfs_core::MetadataStore>| async move {
            (rows(&table).await, table.intents_on(&path("images/a")).await.unwrap())
        };
        let before = (state(table.clone()).await, files(&bench.at("from"), true));
        let options = Options { dry_run, ..bench.options() };
        let summary = run(&source, &target, &options).await;
        assert_eq!(summary.counts.copied, 1, "{:?}", bench.report());
        assert_eq!((state(table.clone()).await, files(&bench.at("from"), true)), before);
        if !dry_run {
            assert_eq!(read(&target.service, "images/a").await, b"new version!");
            let meta = target.service.load(&path("images/a")).await.unwrap();
            assert_eq!((meta.datatype.as_str(), meta.mtime.secs()), ("image/webp", 1_700_000_000));
        }
    }
}
