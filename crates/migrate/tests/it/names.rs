//! Bad names are reported one by one, and the walk goes on.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use ezdfs_core::{MetadataStore, NamePrefix, SystemClock};
use ezdfs_metadata::MemoryMetadata;
use ezdfs_migrate::{Migration, Symbol};
use ezdfs_testkit::ForeignWriter as _;

use crate::support::*;

#[tokio::test]
async fn bad_names_of_a_tree_do_not_stop_it() {
    let bench = Bench::new();
    let (from, to) = (bench.local("from"), bench.local("to"));
    let root = bench.at("from");
    let paths = site(&root);
    fs::write(root.join(OsStr::from_bytes(b"images/caf\xe9.jpg")), "latin-1").unwrap();
    fs::write(root.join("images/new\nline.jpg"), "control").unwrap();
    fs::create_dir(root.join(OsStr::from_bytes(b"images/d\xff"))).unwrap();
    fs::write(root.join(OsStr::from_bytes(b"images/d\xff/hidden.jpg")), "below").unwrap();
    symlink("/etc/passwd", root.join("images/link.jpg")).unwrap();
    let (source, target) =
        (side("default,default", &derived(&from), &from), side("dfs,nfs", &memory(), &to));
    let told = Arc::new(Told::default());
    let migration =
        Migration::new(source, target, bench.options()).await.unwrap().with_progress(told.clone());
    let total = migration.count().await.unwrap();
    let summary = migration.run().await.unwrap();
    let good = u64::try_from(paths.len()).unwrap();
    assert_eq!((summary.counts.copied, summary.counts.failed), (good, 4));
    assert_eq!(total, summary.counts.processed());
    assert_eq!(summary.exit_code(), 3, "in part");
    let report = bench.report();
    for bad in ["images/caf\\xe9.jpg", "images/new\\nline.jpg", "images/d\\xff", "images/link.jpg"]
    {
        assert_eq!(report.get(bad), Some(&'!'), "{bad}: {report:?}");
    }
    let told = told.0.lock().unwrap();
    let failed: Vec<_> = told.iter().filter(|d| d.symbol == Symbol::Failed).collect();
    assert_eq!(failed.len(), 4);
    assert!(failed.iter().all(|d| d.why.as_ref().is_some_and(|w| !w.contains('\n'))));
    let there = files(&bench.at("to"), false);
    assert_eq!(there.len(), paths.len());
}

#[tokio::test]
async fn bad_rows_are_reported_and_invisible_ones_passed_over() {
    let bench = Bench::new();
    let (from, to) = (bench.local("from"), bench.local("to"));
    let own = Arc::new(MemoryMetadata::new(NamePrefix::new(PREFIX), Arc::new(SystemClock)));
    let table: Arc<dyn MetadataStore> = own.clone();
    let (source, target) = (side("dfs,nfs", &table, &from), side("dfs2,nfs2", &memory(), &to));
    let php = own.foreign();
    write(&bench.at("from"), "images/php.jpg", "written by PHP");
    php.store("var/site/storage/images/php.jpg", 14, 1_600_000_000, "image/jpeg").await;
    php.store("var/site/storage/images//double.jpg", 3, 1_600_000_000, "image/jpeg").await;
    php.store("var/site/storage/images/../up.jpg", 3, 1_600_000_000, "image/jpeg").await;
    php.store("var/site/storage/images/no-bytes.jpg", 3, 1_600_000_000, "image/jpeg").await;
    php.store("var/site/storage/images/hidden.jpg", 3, 1_600_000_000, "image/jpeg").await;
    php.soft_delete("var/site/storage/images/hidden.jpg").await;
    php.store("var/site/storage/images/zero.jpg", 3, 0, "image/jpeg").await;
    php.store("var/othersite/storage/images/x.jpg", 3, 1_600_000_000, "image/jpeg").await;
    let migration = Migration::new(source, target.clone(), bench.options()).await.unwrap();
    assert_eq!(migration.count().await.unwrap(), 4);
    let summary = migration.run().await.unwrap();
    let report = bench.report();
    let found: Vec<_> = report.iter().map(|(p, s)| format!("{s} {p}")).collect();
    assert_eq!(
        found,
        ["! images/../up.jpg", "! images//double.jpg", "- images/no-bytes.jpg", "+ images/php.jpg",]
    );
    assert_eq!(summary.exit_code(), 3);
    let meta = target.service.load(&path("images/php.jpg")).await.unwrap();
    assert_eq!((meta.mtime.secs(), meta.datatype.as_str()), (1_600_000_000, "image/jpeg"));
}
