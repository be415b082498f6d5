//! `Connection`: what all requests of one connection share, and the watch over those of HTTP/2.
//!
//! On HTTP/1 a client that takes nothing blocks the socket, which `StallGuard` sees. On HTTP/2 it may
//! keep the window of one stream closed while the connection goes on, so each answer is watched.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::stall::Pace;

/// How long an HTTP/2 connection may be without a request.
const IDLE: Duration = Duration::from_secs(60);

/// One connection.
#[derive(Debug)]
pub struct Connection {
    /// Who is at the other end.
    pub peer: SocketAddr,
    flights: Mutex<Vec<Weak<Flight>>>,
    /// Requests so far.
    requests: AtomicU64,
}

/// An answer that is under way on HTTP/2.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    /// Bytes that were handed to the connection.
    sent: AtomicU64,
    /// The last look found the store, and not the client, to be waited for.
    is_ours: AtomicBool,
}

impl Flight {
    /// The connection took so many bytes of the answer.
    pub(crate) fn sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
        self.is_ours.store(false, Ordering::Relaxed);
    }

    /// The next bytes are waited for.
    pub(crate) fn waits(&self) {
        self.is_ours.store(true, Ordering::Relaxed);
    }
}

impl Connection {
    pub(crate) fn new(peer: SocketAddr) -> Self {
        Self { peer, flights: Mutex::default(), requests: AtomicU64::new(0) }
    }

    /// A request on HTTP/2, whose answer is watched as long as the flight lives.
    pub(crate) fn begin(&self) -> Arc<Flight> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let flight = Arc::new(Flight::default());
        self.lock().push(Arc::downgrade(&flight));
        flight
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Flight>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends when the connection is to be closed, and says why: an answer was taken too slowly for a
    /// whole window, or nothing was asked for too long.
    pub(crate) async fn watch(&self, pace: Pace) -> &'static str {
        // What each answer had sent at the last look, those only that wait for the client.
        let mut before: Vec<(Weak<Flight>, u64)> = Vec::new();
        let mut requests = 0;
        let mut idle = Duration::ZERO;
        loop {
            tokio::time::sleep(pace.window).await;
            let now: Vec<_> = {
                let mut flights = self.lock();
                flights.retain(|flight| flight.strong_count() > 0);
                flights.clone()
            };
            let seen = self.requests.load(Ordering::Relaxed);
            let is_idle = now.is_empty() && seen == requests;
            idle = if is_idle { idle + pace.window } else { Duration::ZERO };
            if idle >= IDLE {
                return "nothing was asked for too long";
            }
            requests = seen;
            let waiting = now.into_iter().filter_map(|weak| {
                let flight = weak.upgrade()?;
                let is_ours = flight.is_ours.load(Ordering::Relaxed);
                (!is_ours).then(|| (weak, flight.sent.load(Ordering::Relaxed)))
            });
            let waiting: Vec<_> = waiting.collect();
            let is_slow = waiting.iter().any(|(flight, sent)| {
                before.iter().any(|(f, was)| f.ptr_eq(flight) && sent - was < pace.least)
            });
            if is_slow {
                return "an answer was taken too slowly";
            }
            before = waiting;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { window: Duration::from_secs(10), least: 100 };

    fn connection() -> Connection {
        Connection::new("192.0.2.1:1".parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_and_an_idle_connection_end_it() {
        let idle = connection();
        let start = tokio::time::Instant::now();
        assert_eq!(idle.watch(PACE).await, "nothing was asked for too long");
        assert_eq!(start.elapsed(), IDLE);

        let slow = connection();
        let flight = slow.begin();
        flight.sent(1000);
        assert_eq!(slow.watch(PACE).await, "an answer was taken too slowly");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_keeps_pace_and_a_slow_store_are_borne() {
        let connection = connection();
        let (steady, ours) = (connection.begin(), connection.begin());
        ours.waits();
        let sending = async {
            for _ in 0..100 {
                tokio::time::sleep(Duration::from_secs(5)).await;
                steady.sent(PACE.least);
            }
        };
        tokio::select! {
            why = connection.watch(PACE) => panic!("{why}"),
            () = sending => {}
        }
    }
}
