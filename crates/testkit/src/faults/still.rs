//! `Still`: simulated time stands still.

use std::sync::mpsc;

/// While it lives, the paused clock of a runtime of one thread does not go on by itself, though
/// nothing of the runtime has anything to do: a store's own threads do.
#[derive(Debug)]
pub struct Still {
    _end: mpsc::Sender<()>,
}

impl Still {
    /// From now on.
    #[must_use]
    pub fn new() -> Self {
        let (end, ended) = mpsc::channel();
        // The runtime waits for its blocking tasks before it lets time go on.
        drop(tokio::task::spawn_blocking(move || ended.recv().is_ok()));
        Self { _end: end }
    }
}

impl Default for Still {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::Still;

    /// Ends after a while of real time, on a thread of its own.
    async fn work_elsewhere() {
        let (done, wait) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            done.send(()).unwrap();
        });
        wait.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn time_goes_on_when_the_work_is_done() {
        let started = Instant::now();
        let still = Still::new();
        tokio::select! {
            () = work_elsewhere() => {}
            () = sleep(Duration::from_secs(1)) => panic!("time went on"),
        }
        assert!(started.elapsed().is_zero());
        drop(still);
        tokio::select! {
            () = work_elsewhere() => panic!("time stands still"),
            () = sleep(Duration::from_secs(1)) => {}
        }
    }
}
