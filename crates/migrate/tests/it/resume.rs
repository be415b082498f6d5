//! Crashes at any point, journals torn at any byte, and journals of others.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use ezdfs_core::{ErrorKind, MetadataStore};
use ezdfs_migrate::{Ending, Filter, Migration, Options, Side, Summary, Verify};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::support::*;

const FILES: u64 = 250;
const JOBS: usize = 4;

fn fill(bench: &Bench) -> BTreeSet<String> {
    (0..FILES)
        .map(|n| {
            let path = format!("images/{}/{n}.png", n % 7);
            write(&bench.at("from"), &path, format!("picture {n}"));
            path
        })
        .collect()
}

/// Runs until `stop`, and drops the run then, as a crash would. What the dead run still writes may
/// hold its journal for a moment.
async fn run_until(
    source: &Side,
    target: &Side,
    options: &Options,
    stop: Option<Duration>,
) -> Option<Summary> {
    loop {
        let migration =
            Migration::new(source.clone(), target.clone(), options.clone()).await.unwrap();
        let run = migration.run();
        let ended = match stop {
            Some(stop) => match tokio::time::timeout(stop, run).await {
                Ok(ended) => ended,
                Err(_) => return None,
            },
            None => run.await,
        };
        match ended {
            Err(e) if e.kind() == ErrorKind::Busy => {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            other => return Some(other.unwrap()),
        }
    }
}

/// Says how often the run crashed.
async fn crash_and_resume(seed: u64) -> u64 {
    let mut rng = StdRng::seed_from_u64(seed);
    let bench = Bench::new();
    let (from, to) = (bench.local("from"), bench.local("to"));
    let paths = fill(&bench);
    let table: Arc<dyn MetadataStore> =
        if seed.is_multiple_of(6) { bench.sqlite("dfs.db").await } else { memory() };
    let delete_source = seed % 5 == 4;
    let tear = seed % 2 == 1;
    let (source, target) =
        (side("default,default", &derived(&from), &from), side("dfs,nfs", &table, &to));
    let options = Options { jobs: JOBS, bulk_count: 10, delete_source, ..bench.options() };
    let journal = options.journal.clone().unwrap();
    let original = files(&bench.at("from"), false);
    let mut crashes = 0;
    let mut ended = None;
    for _ in 0..3 {
        let stop = Duration::from_micros(rng.random_range(0..120_000));
        if let Some(summary) = run_until(&source, &target, &options, Some(stop)).await {
            ended = Some(summary);
            break;
        }
        crashes += 1;
        // What the dead run has under way comes to its end.
        tokio::time::sleep(Duration::from_millis(5)).await;
        if tear && let Ok(meta) = fs::metadata(&journal) {
            let file = fs::File::options().write(true).open(&journal).unwrap();
            let len = meta.len();
            // With --delete-source what was deleted is known to the journal alone.
            let keep = if delete_source { len } else { rng.random_range(0..=len) };
            file.set_len(keep).unwrap();
        }
    }
    let summary = match ended {
        Some(summary) => summary,
        None => run_until(&source, &target, &options, None).await.unwrap(),
    };
    assert_eq!(summary.ending, Ending::Complete, "seed {seed}");
    let counts = summary.counts;
    let mut why = Vec::new();
    summary
        .each_file(|done| {
            why.extend(done.why.clone());
            Ok(())
        })
        .unwrap();
    assert_eq!(counts.failed, 0, "seed {seed}: {counts:?} {why:?}");
    assert_eq!(files(&bench.at("to"), false), original, "seed {seed}: nothing is lost");
    let report: BTreeSet<_> = bench.report().into_keys().collect();
    assert_eq!(report, paths, "seed {seed}: the report covers all runs, one line per file");
    assert_eq!(counts.processed(), FILES, "seed {seed}");
    let most = FILES + crashes * u64::try_from(JOBS).unwrap();
    let writes = to.watch.writes();
    assert!(writes <= most, "seed {seed}: {writes} writes, {crashes} crashes");
    let expected_left = if delete_source { 0 } else { paths.len() };
    assert_eq!(files(&bench.at("from"), false).len(), expected_left, "seed {seed}");
    crashes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_at_random_points_lose_and_repeat_nothing() {
    let mut crashes = 0;
    for batch in 0..4 {
        let mut seeds = tokio::task::JoinSet::new();
        for seed in batch * 8..batch * 8 + 8 {
            seeds.spawn(crash_and_resume(seed));
        }
        crashes += seeds.join_all().await.iter().sum::<u64>();
    }
    assert!(crashes >= 16, "only {crashes} runs were cut off: the test proves little");
}

#[tokio::test]
async fn a_journal_cut_at_any_byte_is_resumed() {
    let bench = Bench::new();
    let (from, to) = (bench.local("from"), bench.local("to"));
    for n in 0..3 {
        write(&bench.at("from"), &format!("{n}.png"), "picture");
    }
    fs::write(bench.at("from/bad\nname"), "bad").unwrap();
    let (source, target) =
        (side("default,default", &derived(&from), &from), side("dfs,nfs", &memory(), &to));
    let options = bench.options();
    let journal = options.journal.clone().unwrap();
    run(&source, &target, &options).await;
    let whole = fs::read(&journal).unwrap();
    for cut in 0..whole.len() {
        fs::write(&journal, &whole[..cut]).unwrap();
        let summary = run(&source, &target, &options).await;
        assert_eq!(summary.counts.processed(), 4, "cut at {cut}");
        assert_eq!(bench.report().len(), 4, "cut at {cut}");
        assert_eq!(to.watch.writes(), 3, "cut at {cut}");
    }
}

/// A table goes on from ends of pages only; what finished behind them is remembered by name.
#[tokio::test]
async fn a_journal_of_a_table_cut_at_any_byte_is_resumed() {
    let bench = Bench::new();
    let (tree, from) = (bench.local("tree"), bench.local("from"));
    for n in 0..7 {
        write(&bench.at("tree"), &format!("{n}.png"), "picture");
    }
    let table = bench.sqlite("dfs.db").await;
    let source = side("dfs,nfs", &table, &from);
    let options = Options { restart: true, ..bench.options() };
    run(&side("default,default", &derived(&tree), &tree), &source, &options).await;

    let to = bench.local("to");
    let target = side("dfs,other", &table, &to);
    let options = Options { bulk_count: 3, jobs: 2, ..bench.options() };
    let journal = options.journal.clone().unwrap();
    run(&source, &target, &options).await;
    let whole = fs::read(&journal).unwrap();
    assert!(String::from_utf8_lossy(&whole).contains("\"upto\""), "there is a watermark");
    for cut in 0..whole.len() {
        fs::write(&journal, &whole[..cut]).unwrap();
        let summary = run(&source, &target, &options).await;
        assert_eq!(summary.counts.processed(), 7, "cut at {cut}");
        assert_eq!(bench.report().len(), 7, "cut at {cut}");
        assert_eq!(to.watch.writes(), 7, "cut at {cut}");
    }
}

#[tokio::test]
async fn finished_files_are_not_even_looked_at_again() {
    let bench = Bench::new();
    let (from, to) = (bench.local("from"), bench.local("to"));
    for n in 0..300 {
        write(&bench.at("from"), &format!("{n:03}.png"), "picture");
    }
    let (source, target) =
        (side("default,default", &derived(&from), &from), side("dfs,nfs", &memory(), &to));
    let options = bench.options();
    let journal = options.journal.clone().unwrap();
    run(&source, &target, &options).await;
    // As if the process had been killed before its last line.
    let text = fs::read_to_string(&journal).unwrap();
    let (kept, _) = text.trim_end().rsplit_once('\n').unwrap();
    fs::write(&journal, format!("{kept}\n")).unwrap();
    let reads = from.watch.reads();
    let summary = run(&source, &target, &options).await;
    assert!(summary.resumed);
    assert_eq!((summary.counts.copied, summary.counts.same), (300, 0));
    assert_eq!(from.watch.reads(), reads);
}

#[tokio::test]
async fn another_migration_is_refused_until_restarted() {
    let bench = Bench::new();
    let (from, to, other) = (bench.local("from"), bench.local("to"), bench.local("other"));
    write(&bench.at("from"), "images/a.png", "picture");
    let source = side("default,default", &derived(&from), &from);
    let target = side("dfs,nfs", &memory(), &to);
    let options = bench.options();
    let journal = options.journal.clone().unwrap();
    run(&source, &target, &options).await;
    // A finished journal keeps nobody out.
    let elsewhere = side("dfs,nfs", &memory(), &other);
    run(&source, &elsewhere, &options).await;
    let header = |text: &str| text.lines().next().unwrap().to_owned() + "\n";
    let unfinished = header(&fs::read_to_string(&journal).unwrap());
    for (target, changed, word) in [
        (&target, options.clone(), "--to"),
        (&elsewhere, Options { verify: Verify::Size, ..options.clone() }, "--verify"),
        (
            &elsewhere,
            Options { filter: Filter::new(vec!["x".into()], vec![]).unwrap(), ..options.clone() },
            "--include",
        ),
        (&elsewhere, Options { delete_source: true, ..options.clone() }, "--delete-source"),
    ] {
        fs::write(&journal, &unfinished).unwrap();
        let migration =
            Migration::new(source.clone(), target.clone(), changed.clone()).await.unwrap();
        let e = migration.run().await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Usage);
        assert!(e.message().contains(word) && e.message().contains("--restart"), "{e}");
        assert_eq!(fs::read_to_string(&journal).unwrap(), unfinished);
        let changed = Options { restart: true, delete_source: false, ..changed };
        let summary = run(&source, target, &changed).await;
        assert!(!summary.resumed);
    }
    fs::write(&journal, "my shopping list\n").unwrap();
    for restart in [false, true] {
        let options = Options { restart, ..options.clone() };
        let migration = Migration::new(source.clone(), target.clone(), options).await.unwrap();
        assert_eq!(migration.run().await.unwrap_err().kind(), ErrorKind::Usage);
        assert_eq!(fs::read_to_string(&journal).unwrap(), "my shopping list\n");
    }
}

#[tokio::test]
async fn two_runs_do_not_share_a_journal() {
    let bench = Bench::new();
    let (from, to) = (bench.local("from"), bench.local("to"));
    write(&bench.at("from"), "images/a.png", "picture");
    let (source, target) =
        (side("default,default", &derived(&from), &from), side("dfs,nfs", &memory(), &to));
    let options = bench.options();
    let journal = options.journal.clone().unwrap();
    fs::create_dir_all(journal.parent().unwrap()).unwrap();
    let held = fs::File::create(&journal).unwrap();
    held.lock().unwrap();
    let migration = Migration::new(source.clone(), target.clone(), options.clone()).await.unwrap();
    assert_eq!(migration.run().await.unwrap_err().kind(), ErrorKind::Busy);
    drop(held);
    assert_eq!(run(&source, &target, &options).await.counts.copied, 1);
}
