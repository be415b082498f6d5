//! SIGINT and SIGTERM.

use tokio::signal::unix::{SignalKind, signal};

/// Waits for SIGINT or SIGTERM. Where no handler can be installed the default action stays in
/// force, and this never returns.
pub(crate) async fn shutdown() {
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        _ => std::future::pending().await,
    }
}
