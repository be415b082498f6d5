//! Sides that share a place are refused before anything is written.

use ezdfs_core::ErrorKind;
use ezdfs_migrate::{Migration, Options, Place, SourceMode};

use crate::support::*;

#[tokio::test]
async fn directories_inside_one_another_are_refused() {
    for (a, b) in [("tree", "tree"), ("tree", "tree/inner"), ("tree/inner", "tree")] {
        let bench = Bench::new();
        let outer = bench.local("tree");
        site(&bench.at("tree"));
        let (from, to) = (bench.local(a), bench.local(b));
        let before = files(&bench.at("tree"), true);
        drop(outer);
        let (source, target) =
            (side("default,default", &derived(&from), &from), side("dfs,nfs", &memory(), &to));
        let e = Migration::new(source, target, bench.options()).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Config, "{a} {b}");
        assert_eq!(files(&bench.at("tree"), true), before);
        assert!(!bench.at("state").exists());
    }
}

#[tokio::test]
async fn the_same_store_under_two_names_is_refused_without_any_hint() {
    let bench = Bench::new();
    let bytes = Bench::cloud("site");
    let (source, target) =
        (side("default,s3", &derived(&bytes), &bytes), side("dfs,s3b", &memory(), &bytes));
    let e = Migration::new(source.clone(), target.clone(), bench.options()).await.unwrap_err();
    assert!(e.kind() == ErrorKind::Config && e.message().contains("`s3b`"), "{e}");
    // The same table under two names.
    let (from, to) = (bench.local("from"), bench.local("to"));
    let table = memory();
    let (source, target) = (side("dfs,nfs", &table, &from), side("dfs2,nfs2", &table, &to));
    let e = Migration::new(source, target, bench.options()).await.unwrap_err();
    assert!(e.kind() == ErrorKind::Config && e.message().contains("`dfs2`"), "{e}");
}

#[tokio::test]
async fn tables_are_compared_by_what_the_caller_says_of_them() {
    let bench = Bench::new();
    let (from, to) = (bench.local("from"), bench.local("to"));
    let place = |prefix: &str| {
        Some(Place::Names { container: "mysql://db/ezdfs".into(), prefix: prefix.into() })
    };
    for (a, b, refused) in
        [("var/a", "var/a", true), ("var", "var/a", true), ("var/a", "var/b", false)]
    {
        let mut source = side("dfs,nfs", &memory(), &from);
        let mut target = side("dfs2,nfs2", &memory(), &to);
        source.places.rows = place(a);
        target.places.rows = place(b);
        let made = Migration::new(source, target, bench.options()).await;
        assert_eq!(made.is_err(), refused, "{a} {b}");
    }
}

#[tokio::test]
async fn listers_that_the_source_does_not_have_are_refused() {
    let bench = Bench::new();
    let (from, to) = (bench.local("from"), bench.local("to"));
    for (mode, kind) in
        [(SourceMode::Ibexa, ErrorKind::Unsupported), (SourceMode::Table, ErrorKind::Usage)]
    {
        let (source, target) =
            (side("default,default", &derived(&from), &from), side("dfs,nfs", &memory(), &to));
        let options = Options { source: Some(mode), ..bench.options() };
        assert_eq!(Migration::new(source, target, options).await.unwrap_err().kind(), kind);
    }
}

#[tokio::test]
async fn a_report_that_cannot_be_written_is_refused_at_the_start() {
    let bench = Bench::new();
    let (from, to) = (bench.local("from"), bench.local("to"));
    for place in [bench.at("missing/report"), bench.at("from"), "/".into()] {
        let (source, target) =
            (side("default,default", &derived(&from), &from), side("dfs,nfs", &memory(), &to));
        let options = Options { report: Some(place), ..bench.options() };
        let e = Migration::new(source, target, options).await.unwrap_err();
        assert!(e.kind() == ErrorKind::Usage && e.message().contains("--report"), "{e}");
    }
}
