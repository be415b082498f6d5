//! Who breaks things, one after the other, and mends each.

use std::sync::Arc;
use std::time::Duration;

use crate::board::Board;
use crate::plan::{self, Breakage, Trouble};
use crate::site::{NODES, Site};

pub(crate) async fn run(seed: u64, site: Arc<Site>, board: Arc<Board>) {
    let mut rng = plan::of(seed, "nemesis");
    while !board.is_stopping() {
        let trouble = Trouble::draw(&mut rng, NODES);
        board.pause(trouble.before).await;
        if board.is_stopping() {
            break;
        }
        bring(trouble, &site, &board).await;
    }
}

async fn bring(Trouble { breakage, lasting, .. }: Trouble, site: &Arc<Site>, board: &Board) {
    let (what, proxy) = match breakage {
        Breakage::KillNode(n) => {
            board.fault("nodes killed");
            site.nodes[n].kill().await;
            tokio::time::sleep(lasting).await;
            return site.nodes[n].start(site).await;
        }
        Breakage::StopNode(n) => {
            board.fault("nodes stopped");
            return site.nodes[n].pause(lasting).await;
        }
        Breakage::KillDatabase if site.has_server() => {
            board.fault("database killed");
            return site.kill_database(lasting).await;
        }
        // A file has no connections.
        _ if !site.has_server() => return,
        Breakage::KillDatabase => return,
        Breakage::Cut(n) => ("connections cut", n),
        Breakage::Silence(n) => ("database silent", n),
        Breakage::Refuse(n) => ("database refuses", n),
        Breakage::Delay(n, _) => ("database slow to answer", n),
        Breakage::Throttle(n, _) => ("database at the end of a thin line", n),
    };
    board.fault(what);
    let proxy = &site.proxies[proxy];
    match breakage {
        Breakage::Silence(_) => proxy.silence(true),
        Breakage::Refuse(_) => {
            proxy.refuse(true);
            proxy.cut();
        }
        Breakage::Delay(_, delay) => proxy.delay(delay),
        Breakage::Throttle(_, rate) => proxy.throttle(rate),
        _ => proxy.cut(),
    }
    tokio::time::sleep(lasting).await;
    proxy.heal();
    if matches!(breakage, Breakage::Silence(_)) {
        // What was swallowed never comes.
        proxy.cut();
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
}
