//! One bad file, a broken listing, a cancelled run.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ezdfs_core::{Change, Op};
use ezdfs_migrate::{
    CancellationToken, Counts, Ending, FileDone, Migration, Options, Progress, SourceMode,
};

use crate::support::*;

#[tokio::test]
async fn a_whole_page_of_missing_bytes_does_not_end_the_run() {
    let bench = Bench::new();
    let (from, to) = (bench.local("from"), bench.local("to"));
    let table = bench.sqlite("from.db").await;
    let (source, target) = (side("dfs,nfs", &table, &from), side("dfs2,nfs2", &memory(), &to));
    for n in 0..30 {
        publish(&source.service, &format!("images/{n:02}.png"), "picture").await;
        if (5..25).contains(&n) {
            fs::remove_file(bench.at(&format!("from/images/{n:02}.png"))).unwrap();
        }
    }
    let before = rows(&table).await;
    let options = Options { bulk_count: 5, ..bench.options() };
    let summary = run(&source, &target, &options).await;
    assert_eq!((summary.counts.copied, summary.counts.missing), (10, 20));
    assert_eq!(summary.exit_code(), 3);
    assert_eq!(bench.report()["images/10.png"], '-');
    assert_eq!(rows(&table).await, before);
}

#[tokio::test]
async fn a_tree_with_rows_skips_files_without_a_row() {
    let bench = Bench::new();
    let (from, to) = (bench.local("from"), bench.local("to"));
    let (source, target) = (side("dfs,nfs", &memory(), &from), side("dfs2,nfs2", &memory(), &to));
    publish(&source.service, "images/a.png", "picture").await;
    write(&bench.at("from"), "images/orphan.png", "no row");
    let options = Options { source: Some(SourceMode::Tree), ..bench.options() };
    run(&source, &target, &options).await;
    assert_eq!(
        bench.report().into_iter().collect::<Vec<_>>(),
        [("images/a.png".to_owned(), '+'), ("images/orphan.png".to_owned(), '-')]
    );
}

#[tokio::test]
async fn a_failing_file_is_named_and_the_rest_arrives() {
    let bench = Bench::new();
    let (from, to) = (bench.local("from"), bench.local("to"));
    let paths = site(&bench.at("from"));
    let table = memory();
    let (source, target) =
        (side("default,default", &derived(&from), &from), side("dfs,nfs", &table, &to));
    // A directory stands in the way of one file.
    let op = Op::MakeDir {
        path: path("images/a b.jpg"),
        exclusive: false,
        mode: None,
        uid: None,
        gid: None,
    };
    table.apply(Change::new().op(op)).await.unwrap();
    let summary = run(&source, &target, &bench.options()).await;
    assert_eq!(summary.counts.failed, 1);
    assert_eq!(summary.counts.copied, u64::try_from(paths.len()).unwrap() - 1);
    assert_eq!(summary.exit_code(), 3);
    assert_eq!(bench.report()["images/a b.jpg"], '!');
    let mut why = None;
    summary
        .each_file(|done| {
            why = why.take().or(done.why.clone());
            Ok(())
        })
        .unwrap();
    assert!(why.unwrap().contains("is a directory"));
}

#[tokio::test]
async fn a_source_whose_bytes_belie_their_digest_is_not_published() {
    let bench = Bench::new();
    let (from, to) = (bench.local("from"), bench.local("to"));
    let (source, target) = (side("dfs,nfs", &memory(), &from), side("dfs2,nfs2", &memory(), &to));
    publish(&source.service, "images/a.png", "picture").await;
    from.watch.spoil_reads.store(true, Ordering::SeqCst);
    let summary = run(&source, &target, &bench.options()).await;
    assert_eq!((summary.counts.failed, summary.exit_code()), (1, 1));
    assert!(!target.service.exists(&path("images/a.png")).await.unwrap());
    assert_eq!(files(&bench.at("to"), false).len(), 0);
}

#[tokio::test]
async fn a_fault_that_passes_is_tried_again() {
    let bench = Bench::new();
    let (from, to) = (bench.local("from"), bench.local("to"));
    let (source, target) =
        (side("default,default", &derived(&from), &from), side("dfs,nfs", &memory(), &to));
    write(&bench.at("from"), "a", "picture");
    from.watch.refuse_reads.store(1, Ordering::SeqCst);
    let summary = run(&source, &target, &bench.options()).await;
    assert_eq!(summary.counts.copied, 1, "{:?}", bench.report());
}

#[tokio::test]
async fn a_listing_that_breaks_off_fails_the_run_and_the_next_one_goes_on() {
    let bench = Bench::new();
    let (from, to) = (bench.local("from"), bench.local("to"));
    let paths = site(&bench.at("from"));
    let (source, target) =
        (side("default,default", &derived(&from), &from), side("dfs,nfs", &memory(), &to));
    from.watch.break_list_after.store(10, Ordering::SeqCst);
    let options = Options { bulk_count: 3, ..bench.options() };
    let migration = Migration::new(source.clone(), target.clone(), options.clone()).await.unwrap();
    assert!(migration.count().await.is_err());
    let e = migration.run().await.unwrap_err();
    assert!(e.message().contains("broke off"), "{e}");
    from.watch.break_list_after.store(0, Ordering::SeqCst);
    let summary = run(&source, &target, &options).await;
    assert!(summary.resumed);
    assert_eq!(summary.counts.copied, u64::try_from(paths.len()).unwrap());
    assert_eq!(bench.report().len(), paths.len());
}

#[tokio::test]
async fn fail_fast_stops_and_the_failed_file_is_tried_again() {
    let bench = Bench::new();
    let (from, to) = (bench.local("from"), bench.local("to"));
    for n in 0..40 {
        write(&bench.at("from"), &format!("images/{n:02}.png"), "picture");
    }
    let blocked = bench.at("to/images/20.png");
    write(&blocked, "a file", "in the way");
    let (source, target) =
        (side("default,default", &derived(&from), &from), side("dfs,nfs", &memory(), &to));
    let options = Options { fail_fast: true, jobs: 1, ..bench.options() };
    let summary = run(&source, &target, &options).await;
    assert_eq!(summary.ending, Ending::FailedFast);
    assert_eq!((summary.counts.copied, summary.counts.failed), (20, 1));
    assert_eq!(summary.exit_code(), 3);
    assert_eq!(bench.report()["images/20.png"], '!');
    fs::remove_dir_all(&blocked).unwrap();
    let summary = run(&source, &target, &options).await;
    assert!(summary.resumed && summary.ending == Ending::Complete);
    assert_eq!((summary.counts.copied, summary.counts.failed), (40, 0));
    assert_eq!(bench.report()["images/20.png"], '+');
}

/// Cancels after some files.
struct CancelAfter(u64, CancellationToken);

impl Progress for CancelAfter {
    fn finished(&self, _: &FileDone, counts: &Counts) {
        if counts.processed() >= self.0 {
            self.1.cancel();
        }
    }
}

#[tokio::test]
async fn a_cancelled_run_finishes_what_is_in_flight_and_is_resumed() {
    let bench = Bench::new();
    let (from, to) = (bench.local("from"), bench.local("to"));
    for n in 0..60 {
        write(&bench.at("from"), &format!("images/{n:02}.png"), "picture");
    }
    let (source, target) =
        (side("default,default", &derived(&from), &from), side("dfs,nfs", &memory(), &to));
    let cancel = CancellationToken::new();
    let options = Options { jobs: 4, ..bench.options() };
    let summary = Migration::new(source.clone(), target.clone(), options.clone())
        .await
        .unwrap()
        .with_progress(Arc::new(CancelAfter(10, cancel.clone())))
        .with_cancel(cancel)
        .run()
        .await
        .unwrap();
    assert_eq!((summary.ending, summary.exit_code()), (Ending::Cancelled, 3));
    let done = summary.counts.copied;
    assert!((10..=20).contains(&done), "{done}");
    assert_eq!(to.watch.writes(), done, "nothing was begun and left");
    let summary = run(&source, &target, &options).await;
    assert!(summary.resumed);
    assert_eq!((summary.counts.copied, to.watch.writes()), (60, 60));
}

#[tokio::test]
async fn an_unreadable_directory_fails_the_run_instead_of_hiding_its_files() {
    // Root reads everything.
    if rustix_is_root() {
        return;
    }
    let bench = Bench::new();
    let (from, to) = (bench.local("from"), bench.local("to"));
    site(&bench.at("from"));
    let closed = bench.at("from/original");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let (source, target) =
        (side("default,default", &derived(&from), &from), side("dfs,nfs", &memory(), &to));
    let migration = Migration::new(source, target, bench.options()).await.unwrap();
    let ended = migration.run().await;
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(ended.is_err());
}

fn rustix_is_root() -> bool {
    fs::read_dir("/root").is_ok()
}

#[tokio::test]
async fn a_check_that_is_answered_late_still_tells_a_copy() {
    let bench = Bench::new();
    let (from, to) = (bench.local("from"), bench.local("to"));
    let (source, target) =
        (side("default,default", &derived(&from), &from), side("dfs,nfs", &memory(), &to));
    write(&bench.at("from"), "a", "picture");
    // The copy is there; reading it back fails once.
    to.watch.refuse_reads.store(1, Ordering::SeqCst);
    let summary = run(&source, &target, &bench.options()).await;
    assert_eq!((summary.counts.copied, summary.counts.bytes), (1, 7), "{:?}", bench.report());
    assert_eq!(to.watch.writes(), 1);
}
