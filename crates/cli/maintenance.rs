//! `Maintenance`: what `serve` does in the background every few seconds.

use std::sync::Arc;
use std::time::Duration;

use ezdfs_binarydata::LocalStore;
use ezdfs_core::{Entropy as _, ErrorKind, OsEntropy, Result};
use ezdfs_engine::FileService;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::context::Store;

/// Between two rounds, and how much later at random, so that the nodes of a cluster spread.
const EVERY: Duration = Duration::from_secs(5);
const JITTER: Duration = Duration::from_secs(1);
/// Foreign changes of one transaction, and transactions of one round: foreign writers may be faster
/// than this task.
const FOREIGN_AT_ONCE: u32 = 1_000;
const FOREIGN_STEPS: u32 = 64;
/// Between two sweeps of staged files or of unfinished uploads, and how old they are then. On NFS
/// without locking, and in a cloud, the age alone tells an abandoned one from one that is being
/// written.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);
const STAGED_MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// The task that maintains a store.
#[derive(Debug)]
pub(crate) struct Maintenance {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Maintenance {
    /// Starts it; the first round comes at once.
    pub(crate) fn start(store: &Store) -> Self {
        let stop = CancellationToken::new();
        let (service, local) = (store.service.clone(), store.local.clone());
        let task = tokio::spawn(run(service, local, stop.clone()));
        Self { stop, task }
    }

    /// Stops it between two rounds.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        if let Err(e) = self.task.await {
            tracing::error!(error = %e, "the maintenance task broke off");
        }
    }
}

async fn run(service: FileService, local: Option<Arc<LocalStore>>, stop: CancellationToken) {
    let mut sweep_at = service.clock().boot();
    // Nodes that start together need not ask together.
    let mut abort_at = service.clock().boot() + OsEntropy.jitter(SWEEP_EVERY);
    while !stop.is_cancelled() {
        if let Err(e) = round(&service).await {
            tracing::error!(error = %e, "maintenance failed; it is tried again");
        }
        if let Some(local) = &local
            && service.clock().boot() >= sweep_at
        {
            sweep_at = service.clock().boot() + SWEEP_EVERY;
            sweep(&service, local).await;
        }
        if service.clock().boot() >= abort_at {
            abort_at = service.clock().boot() + SWEEP_EVERY;
            abort_uploads(&service).await;
        }
        let pause = EVERY + OsEntropy.jitter(JITTER);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
}

async fn round(service: &FileService) -> Result<()> {
    if service.metadata().is_separate() {
        let mut steps = 0;
        while steps < FOREIGN_STEPS && service.metadata().materialise(FOREIGN_AT_ONCE).await?.more {
            steps += 1;
        }
    }
    let done = service.maintain().await?;
    tracing::debug!(?done, "maintained");
    Ok(())
}

async fn abort_uploads(service: &FileService) {
    match service.abort_uploads(STAGED_MAX_AGE).await {
        // Each was told.
        Ok(_) => {}
        Err(e) if matches!(e.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied) => {
            tracing::debug!(error = %e, "unfinished uploads are not looked for");
        }
        Err(e) => {
            tracing::warn!(error = %e, "unfinished uploads cannot be aborted; it is tried again");
        }
    }
}

async fn sweep(service: &FileService, local: &LocalStore) {
    match local.sweep(service.clock().now().minus(STAGED_MAX_AGE)).await {
        Ok(swept) if swept.files > 0 => {
            tracing::info!(
                files = swept.files,
                bytes = swept.bytes,
                "abandoned staged files removed"
            );
        }
        Ok(_) => {}
        Err(e) => tracing::warn!(error = %e, "staged files cannot be swept; it is tried again"),
    }
}
