//! Who breaks things, one after the other, and mends each.

use std::sync::Arc;
use std::time::Duration;

use ezdfs_testkit::proxy::Proxy;

use crate::board::Board;
use crate::plan::{self, Breakage, LineFault, Trouble};
use crate::site::{NODES, Site};

pub(crate) async fn run(seed: u64, site: Arc<Site>, board: Arc<Board>) {
    let mut rng = plan::of(seed, "nemesis");
    while !board.is_stopping() {
        let trouble = Trouble::draw(&mut rng, NODES, site.objects.is_bucket());
        board.pause(trouble.before).await;
        if board.is_stopping() {
            break;
        }
        bring(trouble, &site, &board).await;
    }
}

async fn bring(Trouble { breakage, lasting, .. }: Trouble, site: &Arc<Site>, board: &Board) {
    match breakage {
        Breakage::KillNode(n) => {
            board.fault("nodes killed");
            site.nodes[n].kill().await;
            tokio::time::sleep(lasting).await;
            site.nodes[n].start(site).await;
        }
        Breakage::StopNode(n) => {
            board.fault("nodes stopped");
            site.nodes[n].pause(lasting).await;
        }
        Breakage::KillDatabase if site.has_server() => {
            board.fault("database killed");
            site.kill_database(lasting).await;
        }
        // A file has no connections.
        Breakage::KillDatabase => {}
        Breakage::Line(_, _) if site.proxies.is_empty() => {}
        Breakage::Line(n, fault) => {
            board.fault(&format!("database {}", told(fault)));
            disturb(&site.proxies, n, fault, lasting).await;
        }
        Breakage::StoreLine(n, fault) => {
            board.fault(&format!("object store {}", told(fault)));
            disturb(site.objects.proxies(), n, fault, lasting).await;
        }
    }
}

fn told(fault: LineFault) -> &'static str {
    match fault {
        LineFault::Cut => "cut off",
        LineFault::Silence => "silent",
        LineFault::Refuse => "refuses",
        LineFault::Delay(_) => "slow to answer",
        LineFault::Throttle(_) => "at the end of a thin line",
    }
}

/// One of the lines, or all.
async fn disturb(lines: &[Proxy], n: usize, fault: LineFault, lasting: Duration) {
    let lines = lines.get(n).map_or(lines, std::slice::from_ref);
    for line in lines {
        match fault {
            LineFault::Cut => line.cut(),
            LineFault::Silence => line.silence(true),
            LineFault::Refuse => {
                line.refuse(true);
                line.cut();
            }
            LineFault::Delay(delay) => line.delay(delay),
            LineFault::Throttle(rate) => line.throttle(rate),
        }
    }
    tokio::time::sleep(lasting).await;
    for line in lines {
        line.heal();
        if fault == LineFault::Silence {
            // What was swallowed never comes.
            line.cut();
        }
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
}
