//! SIGINT and SIGTERM.

use tokio::signal::unix::{SignalKind, signal};

/// Listens for SIGINT and SIGTERM from this call on; the future ends at the first one, even if that
/// came before it was polled. Where no handler can be installed the default action stays in force,
/// and the future never ends.
pub(crate) fn shutdown() -> impl Future<Output = ()> {
    let listening = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    async move {
        match listening {
            (Ok(mut interrupt), Ok(mut terminate)) => {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            }
            _ => std::future::pending().await,
        }
    }
}
