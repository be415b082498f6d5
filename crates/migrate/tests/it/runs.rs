//! Whole runs: what comes out, and what a second one does.

use ezdfs_core::{NameHash, Timestamp};
use ezdfs_migrate::{Ending, Filter, Migration, SourceMode, Verify};

use crate::support::*;

#[tokio::test]
async fn a_site_arrives_with_bytes_mtimes_types_and_names() {
    let bench = Bench::new();
    let (from, to) = (bench.local("from"), bench.local("to"));
    let root = from.root.clone().unwrap();
    let paths = site(&root);
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_500_000_000_250);
    let file = std::fs::File::options().append(true).open(root.join("images/a b.jpg")).unwrap();
    file.set_modified(old).unwrap();
    let table = bench.sqlite("dfs.db").await;
    let (source, target) =
        (side("default,default", &derived(&from), &from), side("dfs,nfs", &table, &to));
    let before = files(&root, true);

    let migration = Migration::new(source.clone(), target.clone(), bench.options()).await.unwrap();
    assert_eq!(migration.mode(), SourceMode::Tree);
    let total = u64::try_from(paths.len()).unwrap();
    assert_eq!(migration.count().await.unwrap(), total);
    let summary = migration.run().await.unwrap();

    assert_eq!(summary.ending, Ending::Complete);
    assert_eq!((summary.counts.copied, summary.counts.processed()), (total, total));
    assert_eq!(summary.exit_code(), 0);
    assert_eq!(files(&root, true), before, "the source is untouched");
    assert_eq!(files(&root, false), files(&to.root.clone().unwrap(), false));
    assert!(paths.iter().all(|p| bench.report()[p] == '+') && bench.report().len() == paths.len());

    let meta = target.service.load(&path("images/a b.jpg")).await.unwrap();
    assert_eq!(meta.mtime, Timestamp::from_millis(1_500_000_000_250));
    assert_eq!(meta.datatype, "image/jpeg");
    assert!(meta.sha256.is_some());
    let record = table.record(&path("images/a b.jpg")).await.unwrap().base.unwrap();
    assert_eq!(
        (record.name.as_str(), record.scope.as_str()),
        ("var/site/storage/images/a b.jpg", "image")
    );
    assert_eq!((record.mtime, record.size), (1_500_000_000, 23));
    let _: NameHash = table.prefix().name(&meta.path).hash();
    for p in &paths {
        assert_eq!(read(&target.service, p).await, std::fs::read(root.join(p)).unwrap(), "{p}");
    }
}

#[tokio::test]
async fn a_second_run_copies_nothing_at_every_level_of_verification() {
    for verify in [Verify::None, Verify::Size, Verify::Sha256] {
        for to_derived in [false, true] {
            let bench = Bench::new();
            let (from, to) = (bench.local("from"), bench.local("to"));
            let paths = site(from.root.as_ref().unwrap());
            let total = u64::try_from(paths.len()).unwrap();
            let table = memory();
            // Forth into rows, or back from rows into a plain tree.
            let (source, target) = if to_derived {
                let fill = side("default,default", &derived(&from), &from);
                let moved = bench.local("moved");
                let rows = side("dfs,nfs", &table, &moved);
                let options =
                    ezdfs_migrate::Options { journal: Some(bench.at("fill")), ..bench.options() };
                assert_eq!(run(&fill, &rows, &options).await.counts.copied, total);
                (rows, side("default,default", &derived(&to), &to))
            } else {
                (side("default,default", &derived(&from), &from), side("dfs,nfs", &table, &to))
            };
            let options = ezdfs_migrate::Options { verify, ..bench.options() };
            let first = run(&source, &target, &options).await;
            assert_eq!(first.counts.copied, total, "{verify:?} {to_derived}");
            let (writes, rows_before) = (to.watch.writes(), rows(&table).await);
            drop(first);
            let second = run(&source, &target, &options).await;
            assert_eq!(second.counts.same, total, "{verify:?} {to_derived}");
            assert_eq!(second.counts.bytes, 0);
            assert_eq!(to.watch.writes(), writes, "{verify:?} {to_derived}");
            assert_eq!(rows(&table).await, rows_before);
            assert!(!second.resumed, "a finished journal is followed by a fresh pass");
        }
    }
}

#[tokio::test]
async fn a_source_with_digests_is_not_read_again() {
    let bench = Bench::new();
    let (from, to) = (bench.local("from"), bench.local("to"));
    let (a, b) = (memory(), memory());
    let (source, target) = (side("dfs,nfs", &a, &from), side("dfs2,nfs2", &b, &to));
    for n in 0..5 {
        publish(&source.service, &format!("images/{n}.png"), "same size").await;
    }
    assert_eq!(run(&source, &target, &bench.options()).await.counts.copied, 5);
    let (reads, back) = (from.watch.reads(), to.watch.reads());
    assert_eq!(run(&source, &target, &bench.options()).await.counts.same, 5);
    assert_eq!((from.watch.reads(), to.watch.reads()), (reads, back));
}

#[tokio::test]
async fn a_dry_run_reports_the_same_and_writes_nothing() {
    let bench = Bench::new();
    let (from, to) = (bench.local("from"), bench.local("to"));
    let paths = site(from.root.as_ref().unwrap());
    let table = bench.sqlite("dfs.db").await;
    let (source, target) =
        (side("default,default", &derived(&from), &from), side("dfs,nfs", &table, &to));
    // One file is there already, one is there with other bytes.
    publish(&target.service, "images/a b.jpg", "other").await;
    publish(&target.service, "x", "bytes of x").await;
    let state = |table: std::sync::Arc<dyn ezdfs_core::MetadataStore>| async move {
        (rows(&table).await, table.figures().await.unwrap())
    };
    let before = (files(bench.dir.path(), true).len(), files(&bench.at("to"), true));
    let rows_before = state(table.clone()).await;
    let writes = to.watch.writes();
    let database = std::fs::read(bench.at("dfs.db")).unwrap();

    let options = ezdfs_migrate::Options { dry_run: true, report: None, ..bench.options() };
    let dry = run(&source, &target, &options).await;
    assert!(dry.dry_run);
    let after = (files(bench.dir.path(), true).len(), files(&bench.at("to"), true));
    assert_eq!(after, before);
    assert_eq!(state(table.clone()).await, rows_before);
    assert_eq!(std::fs::read(bench.at("dfs.db")).unwrap(), database);
    assert_eq!(to.watch.writes(), writes);
    assert!(!bench.at("state").exists(), "a dry run has no journal");

    let mut told = Vec::new();
    dry.each_file(|done| {
        told.push(done.to_string());
        Ok(())
    })
    .unwrap();
    let wet = run(&source, &target, &bench.options()).await;
    assert_eq!(wet.counts, dry.counts);
    let mut lines: Vec<_> = bench.report().iter().map(|(p, s)| format!("{s} {p}")).collect();
    told.sort();
    lines.sort();
    assert_eq!(told, lines);
    let total = u64::try_from(paths.len()).unwrap();
    assert_eq!((wet.counts.same, wet.counts.replaced, wet.counts.copied), (1, 1, total - 2));
}

#[tokio::test]
async fn include_and_exclude_choose_files_and_the_total_counts_only_those() {
    let bench = Bench::new();
    let (from, to) = (bench.local("from"), bench.local("to"));
    site(from.root.as_ref().unwrap());
    let filter = Filter::new(vec!["images/**".into()], vec!["images/_aliases/**".into()]).unwrap();
    let options = ezdfs_migrate::Options { filter, ..bench.options() };
    let (source, target) =
        (side("default,default", &derived(&from), &from), side("dfs,nfs", &memory(), &to));
    let migration = Migration::new(source, target, options).await.unwrap();
    let total = migration.count().await.unwrap();
    assert_eq!(migration.run().await.unwrap().counts.copied, total);
    let there = files(&bench.at("to"), false);
    assert_eq!(u64::try_from(there.len()).unwrap(), total);
    assert!(there.keys().all(|p| p.starts_with("images/") && !p.contains("_aliases")));
    assert!(there.contains_key("images/a b.jpg"));
}

#[tokio::test]
async fn pages_and_jobs_of_any_size_find_every_file() {
    let bench = Bench::new();
    let from = bench.local("from");
    let paths = site(from.root.as_ref().unwrap());
    let total = u64::try_from(paths.len()).unwrap();
    for (bulk_count, jobs) in [(1, 1), (1, 16), (3, 2), (1_000_000, 5)] {
        let to = Bench::cloud("p/q");
        let options = ezdfs_migrate::Options { bulk_count, jobs, ..bench.options() };
        let (source, target) =
            (side("default,default", &derived(&from), &from), side("dfs,s3", &memory(), &to));
        assert_eq!(run(&source, &target, &options).await.counts.copied, total);
        // And back from the table, in the same pages.
        let back = Bench::cloud("");
        let again = side("dfs2,s32", &memory(), &back);
        let options = ezdfs_migrate::Options { journal: Some(bench.at("back")), ..options.clone() };
        let migration = Migration::new(target, again, options).await.unwrap();
        assert_eq!(migration.mode(), SourceMode::Table);
        assert_eq!(migration.count().await.unwrap(), total);
        assert_eq!(migration.run().await.unwrap().counts.copied, total);
    }
}

#[tokio::test]
async fn there_and_back_restores_every_byte() {
    let bench = Bench::new();
    let (from, mid, back) = (bench.local("from"), bench.local("mid"), bench.local("back"));
    site(from.root.as_ref().unwrap());
    let table = bench.sqlite("dfs.db").await;
    let middle = side("dfs,nfs", &table, &mid);
    run(&side("default,default", &derived(&from), &from), &middle, &bench.options()).await;
    let end = side("default,default", &derived(&back), &back);
    let options =
        ezdfs_migrate::Options { journal: Some(bench.at("back-journal")), ..bench.options() };
    let summary = run(&middle, &end, &options).await;
    assert_eq!(summary.exit_code(), 0);
    assert_eq!(files(&bench.at("from"), false), files(&bench.at("back"), false));
}

#[tokio::test]
async fn a_bandwidth_limit_slows_a_run_down() {
    let bench = Bench::new();
    let (from, to) = (bench.local("from"), bench.local("to"));
    write(&bench.at("from"), "images/a.jpg", vec![7; 300_000]);
    let options = ezdfs_migrate::Options {
        bwlimit: Some("100K".parse().unwrap()),
        verify: Verify::Size,
        ..bench.options()
    };
    let (source, target) =
        (side("default,default", &derived(&from), &from), side("dfs,nfs", &memory(), &to));
    let start = tokio::time::Instant::now();
    run(&source, &target, &options).await;
    let took = start.elapsed();
    assert!(took >= std::time::Duration::from_millis(1500), "{took:?}");
}
