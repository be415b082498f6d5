//! SIGINT, SIGTERM and SIGHUP.

use tokio::signal::unix::{Signal, SignalKind, signal};

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

/// Listens for SIGHUP from this call on. Without a handler the first one would end the process.
pub(crate) fn hangups() -> Hangups {
    Hangups(signal(SignalKind::hangup()).ok())
}

/// SIGHUPs.
#[derive(Debug)]
pub(crate) struct Hangups(Option<Signal>);

impl Hangups {
    /// Ends at the next one.
    pub(crate) async fn next(&mut self) {
        let received = match &mut self.0 {
            Some(signal) => signal.recv().await,
            None => None,
        };
        if received.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
