//! `scripts/torture`: nodes, commands and PHP nodes on one store, faults all the time, and at the
//! end the question whether every promise was kept (P1 to P8 of docs/SEMANTICS.md).
//!
//! | file | subject |
//! |---|---|
//! | `options` | the command line |
//! | `site` | the store: database, proxies, configuration |
//! | `objects` | where the bytes are: a directory, or a bucket |
//! | `node` | an `ezdfs serve` that is killed, stopped and started again |
//! | `process` | a command that is killed or stopped |
//! | `paths` | which paths there are, and what is promised of each |
//! | `plan` | what is done: drawn from the seed, and from nothing else |
//! | `board` | what everybody writes to: history, findings, counts |
//! | `doors` | how it is done: by a command, or a request to a node |
//! | `writers`, `php`, `readers` | who works on the files |
//! | `nemesis` | who breaks things |
//! | `verify` | the end: quiet, clean up, read everything, check |

// A test program: what it cannot do ends the run, and it talks to people.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod board;
mod doors;
mod http;
mod nemesis;
mod node;
mod objects;
mod options;
mod paths;
mod php;
mod plan;
mod process;
mod readers;
mod site;
mod verify;
mod writers;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use tokio::task::JoinSet;

use board::Board;
use options::Options;
use site::Site;

/// Those who write by commands and over HTTP, at once; PHP nodes that write; readers of each kind.
const WRITERS: usize = 4;
const PHP_WRITERS: usize = 2;

fn main() -> ExitCode {
    let options = Options::parse();
    // What a PHP node of this program panics with is an outcome, and is counted.
    std::panic::set_hook(Box::new(|panic| {
        if std::thread::current().name() == Some("main") {
            eprintln!("{panic}");
        }
    }));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let dir = tempfile::Builder::new().prefix("ezdfs-torture.").tempdir().unwrap();
    let starting = async {
        let mut site = Site::start(&options, dir.path()).await?;
        site.configure().await;
        Ok::<_, String>(Arc::new(site))
    };
    let site = match runtime.block_on(starting) {
        Ok(site) => site,
        Err(why) => {
            eprintln!("torture: {why}");
            return ExitCode::from(2);
        }
    };
    println!(
        "torture: --store {} --minutes {} --seed {}",
        options.store, options.minutes, options.seed
    );
    let board = Arc::new(Board::default());
    runtime.block_on(run(&options, &site, &board));
    let failed = board.report(&options);
    if failed {
        let into = board.keep(&options, dir.path());
        println!("history and logs: {}", into.display());
        println!(
            "again: scripts/torture --store {} --minutes {} --seed {}",
            options.store, options.minutes, options.seed
        );
    }
    drop(runtime);
    ExitCode::from(u8::from(failed))
}

async fn run(options: &Options, site: &Arc<Site>, board: &Arc<Board>) {
    site.start_nodes().await;
    let mut actors = JoinSet::new();
    for n in 0..WRITERS {
        actors.spawn(writers::run(n, options.seed, site.clone(), board.clone()));
    }
    for n in 0..PHP_WRITERS {
        actors.spawn(php::write(n, options.seed, site.clone(), board.clone()));
    }
    for n in 0..site::NODES {
        actors.spawn(readers::http(n, options.seed, site.clone(), board.clone()));
    }
    actors.spawn(readers::command(options.seed, site.clone(), board.clone()));
    actors.spawn(php::read(options.seed, site.clone(), board.clone()));
    actors.spawn(writers::clean(options.seed, site.clone(), board.clone()));
    actors.spawn(nemesis::run(options.seed, site.clone(), board.clone()));
    let minutes = Duration::from_secs_f64(options.minutes * 60.0);
    tokio::time::sleep(minutes).await;
    board.stop();
    println!("{:7.1} s: quiet; what is under way ends", board.history.now().as_secs_f64());
    while let Some(ended) = actors.join_next().await {
        if let Err(e) = ended {
            board.found("harness", format!("an actor broke off: {e}"));
        }
    }
    verify::run(site, board).await;
    site.stop_nodes().await;
}
