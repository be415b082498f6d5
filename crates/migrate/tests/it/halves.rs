//! The half whose handler is the same on both sides is skipped.

use ezdfs_migrate::{Halves, Migration, Options, Verify};
use object_store::ObjectStoreExt as _;

use crate::support::*;

#[tokio::test]
async fn metadata_only_writes_rows_and_copies_no_bytes() {
    for verify in [Verify::Size, Verify::Sha256] {
        let bench = Bench::new();
        let bytes = bench.local("nfs");
        let paths = site(&bench.at("nfs"));
        let total = u64::try_from(paths.len()).unwrap();
        let table = bench.sqlite("dfs.db").await;
        // The very same store on both sides: not an overlap.
        let (source, target) =
            (side("nfsmeta,nfs", &derived(&bytes), &bytes), side("dfs,nfs", &table, &bytes));
        let before = files(&bench.at("nfs"), true);
        let options = Options { verify, ..bench.options() };
        let migration =
            Migration::new(source.clone(), target.clone(), options.clone()).await.unwrap();
        assert_eq!(migration.halves(), Halves::MetadataOnly);
        let summary = migration.run().await.unwrap();
        assert_eq!((summary.counts.copied, summary.counts.bytes), (total, 0));
        assert_eq!(bytes.watch.writes(), 0);
        assert_eq!(files(&bench.at("nfs"), true), before);
        for p in &paths {
            let meta = target.service.load(&path(p)).await.unwrap();
            assert_eq!(meta.sha256.is_some(), verify == Verify::Sha256);
            assert!(meta.pin.is_some());
            assert_eq!(
                read(&target.service, p).await,
                std::fs::read(bench.at("nfs").join(p)).unwrap()
            );
        }
        let reads = bytes.watch.reads();
        let rows_before = rows(&table).await;
        assert_eq!(run(&source, &target, &options).await.counts.same, total);
        assert_eq!(bytes.watch.reads(), reads, "a second run asks for no bytes");
        assert_eq!(rows(&table).await, rows_before);
        // A replaced file is noticed by its pin.
        write(&bench.at("nfs"), "x", "BYTES OF X");
        let summary = run(&source, &target, &options).await;
        assert_eq!((summary.counts.replaced, summary.counts.same), (1, total - 1));
        assert_eq!(read(&target.service, "x").await, b"BYTES OF X");
    }
}

#[tokio::test]
async fn binary_only_copies_bytes_and_touches_no_row() {
    for cloud in [false, true] {
        let bench = Bench::new();
        let from = if cloud { Bench::cloud("a") } else { bench.local("from") };
        let to = if cloud { Bench::cloud("b") } else { bench.local("to") };
        let table = bench.sqlite("dfs.db").await;
        let (source, target) = (side("dfs,nfs", &table, &from), side("dfs,s3", &table, &to));
        for n in 0..6 {
            publish(&source.service, &format!("images/{n}.png"), &format!("picture {n}")).await;
        }
        // A row as PHP makes it: without a pin.
        let key = source.service.binary().key(&path("images/php.gif")).unwrap();
        from.opened.store.put(&key, "gif".into()).await.unwrap();
        let php =
            ezdfs_testkit::SqliteForeignWriter::connect(&bench.at("dfs.db"), "ezdfsfile").await;
        ezdfs_testkit::ForeignWriter::store(
            &php,
            "var/site/storage/images/php.gif",
            3,
            1_600_000_000,
            "image/gif",
        )
        .await;
        let before = rows(&table).await;
        let migration =
            Migration::new(source.clone(), target.clone(), bench.options()).await.unwrap();
        assert_eq!(migration.halves(), Halves::BinaryOnly);
        let summary = migration.run().await.unwrap();
        assert_eq!(summary.counts.copied, 7, "{:?}", bench.report());
        let writes = to.watch.writes();
        assert_eq!(run(&source, &target, &bench.options()).await.counts.same, 7);
        assert_eq!(to.watch.writes(), writes);
        assert_eq!(rows(&table).await, before);
        // Once the site has switched, every file reads from its new place, under its old row.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        for n in 0..6 {
            let p = format!("images/{n}.png");
            let old = source.service.load(&path(&p)).await.unwrap();
            assert_eq!(read(&target.service, &p).await, format!("picture {n}").as_bytes());
            let new = target.service.load(&path(&p)).await.unwrap();
            assert_eq!((new.sha256, new.mtime, new.token), (old.sha256, old.mtime, old.token));
        }
        assert_eq!(read(&target.service, "images/php.gif").await, b"gif");
        let php_row = target.service.load(&path("images/php.gif")).await.unwrap();
        assert_eq!(php_row.mtime.secs(), 1_600_000_000);
        php.close().await;
    }
}

#[tokio::test]
async fn identical_sides_are_refused() {
    let bench = Bench::new();
    let bytes = bench.local("nfs");
    let a = side("default,nfs", &derived(&bytes), &bytes);
    let e = Migration::new(a.clone(), a, bench.options()).await.unwrap_err();
    assert_eq!(e.message(), ezdfs_migrate::texts::NOTHING_TO_DO);
}
