//! `--delete-source`.

use std::sync::atomic::Ordering;

use ezdfs_core::ErrorKind;
use ezdfs_migrate::{Migration, Options, Verify};

use crate::support::*;

#[tokio::test]
async fn sources_go_after_their_copies_were_verified() {
    for table_source in [false, true] {
        let bench = Bench::new();
        let (from, to) = (bench.local("from"), bench.local("to"));
        let meta = if table_source { memory() } else { derived(&from) };
        let (source, target) = (side("dfs,nfs", &meta, &from), side("dfs2,nfs2", &memory(), &to));
        for n in 0..20 {
            publish(&source.service, &format!("images/{n}.png"), &format!("picture {n}")).await;
        }
        // There already, and the same.
        publish(&target.service, "images/3.png", "picture 3").await;
        let options = Options { delete_source: true, ..bench.options() };
        let summary = run(&source, &target, &options).await;
        assert_eq!((summary.counts.copied, summary.counts.same), (19, 1), "{:?}", bench.report());
        assert_eq!(files(&bench.at("from"), false).len(), 0);
        assert_eq!(files(&bench.at("to"), false).len(), 20);
        assert_eq!(bench.report().len(), 20);
        for n in 0..20 {
            let p = path(&format!("images/{n}.png"));
            assert!(!source.service.exists(&p).await.unwrap());
        }
    }
}

#[tokio::test]
async fn a_copy_that_fails_its_check_keeps_its_source_and_is_withdrawn() {
    for (delete_source, before) in [(true, None), (true, Some("picture")), (false, None)] {
        let bench = Bench::new();
        let (from, to) = (bench.local("from"), bench.local("to"));
        let (source, target) =
            (side("default,default", &derived(&from), &from), side("dfs,nfs", &memory(), &to));
        write(&bench.at("from"), "images/a.png", "picture");
        if let Some(same) = before {
            publish(&target.service, "images/a.png", same).await;
        }
        to.watch.spoil_reads.store(true, Ordering::SeqCst);
        let options = Options { delete_source, ..bench.options() };
        let summary = run(&source, &target, &options).await;
        assert_eq!(summary.counts.failed, 1);
        assert_eq!(summary.exit_code(), 1);
        assert_eq!(bench.report()["images/a.png"], '!');
        assert_eq!(std::fs::read(bench.at("from/images/a.png")).unwrap(), b"picture");
        to.watch.spoil_reads.store(false, Ordering::SeqCst);
        if before.is_none() {
            assert!(!target.service.exists(&path("images/a.png")).await.unwrap());
        }
        // A later run makes it good.
        let summary = run(&source, &target, &Options { delete_source: false, ..options }).await;
        assert_eq!(summary.exit_code(), 0);
        assert_eq!(read(&target.service, "images/a.png").await, b"picture");
    }
}

#[tokio::test]
async fn bytes_alone_leave_the_row_alone() {
    let bench = Bench::new();
    let (from, to) = (bench.local("from"), bench.local("to"));
    let table = memory();
    let (source, target) = (side("dfs,nfs", &table, &from), side("dfs,nfs2", &table, &to));
    publish(&source.service, "images/a.png", "picture").await;
    let before = rows(&table).await;
    let options = Options { delete_source: true, ..bench.options() };
    assert_eq!(run(&source, &target, &options).await.counts.copied, 1);
    assert_eq!(rows(&table).await, before);
    assert_eq!(files(&bench.at("from"), false).len(), 0);
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    assert_eq!(read(&target.service, "images/a.png").await, b"picture");
}

#[tokio::test]
async fn what_would_lose_files_is_refused() {
    let bench = Bench::new();
    let bytes = bench.local("nfs");
    let (source, target) =
        (side("nfsmeta,nfs", &derived(&bytes), &bytes), side("dfs,nfs", &memory(), &bytes));
    let options = Options { delete_source: true, ..bench.options() };
    let e = Migration::new(source, target, options.clone()).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Usage);
    let to = bench.local("to");
    let (source, target) =
        (side("default,default", &derived(&bytes), &bytes), side("dfs,nfs", &memory(), &to));
    let options = Options { verify: Verify::None, ..options };
    assert_eq!(Migration::new(source, target, options).await.unwrap_err().kind(), ErrorKind::Usage);
}
