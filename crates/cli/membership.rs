//! `Membership`: a server tells the database that it lives, so that `status` shows it.

use std::time::Duration;

use ezdfs_config::this_process;
use ezdfs_core::{Entropy as _, OsEntropy};
use ezdfs_engine::FileService;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Between two heartbeats, and how much later at random. A third of a lease.
const EVERY: Duration = Duration::from_secs(4);
const JITTER: Duration = Duration::from_secs(1);

/// The task that writes heartbeats.
#[derive(Debug)]
pub(crate) struct Membership {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Membership {
    /// Starts it; the first heartbeat comes at once.
    pub(crate) fn start(service: &FileService) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(service.clone(), stop.clone()));
        Self { stop, task }
    }

    /// Ends it: this process is no member any more.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        if let Err(e) = self.task.await {
            tracing::error!(error = %e, "the heartbeat task broke off");
        }
    }
}

async fn run(service: FileService, stop: CancellationToken) {
    let name = this_process();
    let mut works = true;
    while !stop.is_cancelled() {
        match service.announce(&name, env!("CARGO_PKG_VERSION")).await {
            Ok(()) => works = true,
            Err(e) if std::mem::replace(&mut works, false) => {
                tracing::warn!(error = %e, "no heartbeat can be written: `status` will call this server dead");
            }
            Err(e) => tracing::debug!(error = %e, "no heartbeat can be written"),
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY + OsEntropy.jitter(JITTER)) => {}
            () = stop.cancelled() => {}
        }
    }
    if let Err(e) = service.metadata().leave(&name).await {
        tracing::debug!(error = %e, "the row of this server stays for an hour");
    }
}
